//! Options that several verbs share.

use super::{Failure, output};
use crate::device::cpu::{Cpu, Isa, SimdScalar, isa_named};
use crate::device::cuda::{Cuda, Precision, probe};
use crate::error::Error;
use crate::model::Choice;
use crate::train::ranks::launch::Launch;
use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;

/// Where to compute.
#[derive(Args, Clone, Copy, Debug)]
pub struct DeviceArgs {
    /// Where to compute: cpu, cuda (that of LOCAL_RANK, else the first that can be used), cuda:N, or auto: cuda where
    /// it works and the CPU elsewhere
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceChoice,

    /// CPU threads [default: all of this machine's]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,

    /// On CUDA, what factors of models' linear maps may be rounded to: all else, parameters and sums included, is f32
    #[arg(long, default_value = "f32", value_parser = named::<Precision>())]
    pub precision: Precision,

    /// Whether CUDA launches a training step as one: an option of `train` and `bench train` alone.
    #[arg(skip)]
    pub graph: bool,
}

/// The devices by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// This machine's processor.
    Cpu,
    /// A CUDA device: one by its number, or the first that can be used.
    Cuda(Option<usize>),
    /// CUDA where it works, the CPU elsewhere.
    Auto,
}

/// A device by its name.
fn device(text: &str) -> Result<DeviceChoice, String> {
    let wrong = || "expected cpu, cuda, cuda:N (a number from 0) or auto".to_owned();
    match text {
        "cpu" => Ok(DeviceChoice::Cpu),
        "cuda" => Ok(DeviceChoice::Cuda(None)),
        "auto" => Ok(DeviceChoice::Auto),
        _ => {
            let number = text.strip_prefix("cuda:").ok_or_else(wrong)?;
            number.parse().map(|number| DeviceChoice::Cuda(Some(number))).map_err(|_| wrong())
        }
    }
}

/// The number that torchrun, mpirun and their like give each process of a machine.
fn local_rank() -> Result<Option<usize>, Failure> {
    let Some(text) = std::env::var_os("LOCAL_RANK").filter(|text| !text.is_empty()) else {
        // A launcher may also show each process a device of its own, which is number 0 then.
        let visible = probe().devices.len().max(1);
        return Ok(Launch::of_environment()?.local.map(|local| local % visible));
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    let wrong = || Failure::input(format!("LOCAL_RANK: expected a whole number from 0, found {text:?}"));
    number.map(Some).ok_or_else(wrong)
}

impl DeviceArgs {
    /// Whether to use CUDA. Asking for it where there is none is an error that says what is missing. Nothing is looked
    /// for if the CPU is asked for.
    pub fn cuda(&self) -> Result<bool, Failure> {
        match self.device {
            DeviceChoice::Cpu if self.precision != Precision::F32 => {
                let name = self.precision.name();
                Err(Failure::input(format!("--precision {name} is for --device cuda: the CPU computes in f32")))
            }
            DeviceChoice::Cpu if self.graph => {
                Err(Failure::input("--graph on is for --device cuda: the CPU launches nothing"))
            }
            DeviceChoice::Cpu => Ok(false),
            DeviceChoice::Auto => Ok(super::devices::cuda_absent().is_none()),
            DeviceChoice::Cuda(_) => match super::devices::cuda_absent() {
                None => Ok(true),
                Some(reason) => Err(Failure::input(format!(
                    "--device cuda: {reason}; `titans devices` says more, --device auto falls back to the CPU"
                ))),
            },
        }
    }

    /// Refuses a precision that `what` makes no use of.
    pub fn expect_f32(&self, what: &str) -> Result<(), Failure> {
        match self.precision {
            Precision::F32 => Ok(()),
            other => {
                let name = other.name();
                Err(Failure::input(format!("--precision {name} is for models' linear maps; {what} computes in f32")))
            }
        }
    }

    /// The CUDA device that is asked for. Where none is named, those that cannot be used are passed over, and standard
    /// error says why.
    pub fn open_cuda(&self) -> Result<Cuda, Failure> {
        let number = match self.device {
            DeviceChoice::Cuda(Some(number)) => Some(number),
            DeviceChoice::Cuda(None) | DeviceChoice::Cpu | DeviceChoice::Auto => local_rank()?,
        };
        let Some(number) = number else {
            let (device, skipped) = Cuda::first()?;
            output::tell(&skipped);
            return Ok(device.with_precision(self.precision).with_graph(self.graph));
        };
        let device = Cuda::new(number).map_err(|error| Failure::input(error.to_string()))?;
        Ok(device.with_precision(self.precision).with_graph(self.graph))
    }
}

/// Refuses what is said twice in one option.
///
/// # Errors
/// [`Error::Usage`] with the option and what it says again.
pub fn expect_once<T: PartialEq + std::fmt::Display>(option: &str, said: &[T]) -> Result<(), Error> {
    match said.iter().enumerate().find(|(i, one)| said[..*i].contains(one)) {
        None => Ok(()),
        Some((_, again)) => {
            Err(Error::usage(format!("{option}: expected each once, found {again} again; leave it out")))
        }
    }
}

/// The CPU with `threads` threads and the instruction set of [`instruction_set`].
pub fn cpu<T: SimdScalar>(threads: Option<usize>) -> Result<Cpu<T>, Failure> {
    Ok(Cpu::with_instruction_set(threads, instruction_set(None)?)?)
}

/// The instruction set that an option `--isa` asks for, else the environment variable `TITANS_ISA` (empty is as good as
/// not set), else the best one of this processor. A name that is none, or a set that this processor lacks, is bad
/// input: exit code 2.
pub fn instruction_set(asked: Option<Isa>) -> Result<Isa, Failure> {
    let (by, isa) = match (asked, forced_by_environment()) {
        (Some(isa), _) => ("--isa", isa),
        (None, Some(name)) => {
            let isa = isa_named(&name.to_string_lossy()).map_err(|e| Failure::input(format!("TITANS_ISA: {e}")))?;
            ("TITANS_ISA", isa)
        }
        (None, None) => return Ok(Isa::best()),
    };
    if isa.available() {
        return Ok(isa);
    }
    let has: Vec<_> = Isa::ALL.into_iter().filter(|isa| isa.available()).map(Isa::name).collect();
    Err(Failure::input(format!("{by}: this processor has no {}; choose of {}", isa.name(), has.join(", "))))
}

/// What `TITANS_ISA` says, if it says anything.
pub fn forced_by_environment() -> Option<std::ffi::OsString> {
    std::env::var_os("TITANS_ISA").filter(|name| !name.is_empty())
}

/// The name of an instruction set.
pub fn isa(text: &str) -> Result<Isa, String> {
    isa_named(text).map_err(|e| e.to_string())
}

/// A number of threads: 1 to 1024.
pub fn threads(text: &str) -> Result<usize, String> {
    between(text, 1, 1024)
}

/// A whole number from 1 to 2²⁰: widths, chunks, heads.
pub fn size(text: &str) -> Result<usize, String> {
    between(text, 1, 1 << 20)
}

/// A whole number that is not negative: seeds.
pub fn whole(text: &str) -> Result<u64, String> {
    at_least(0, text)
}

/// A whole number from 1: steps.
pub fn positive(text: &str) -> Result<u64, String> {
    at_least(1, text)
}

/// A whole number that may be any from `low` on: the largest one is told to who went beyond it.
fn at_least(low: u64, text: &str) -> Result<u64, String> {
    let large = text.len() > 1 && text.bytes().all(|b| b.is_ascii_digit());
    let most = if large { format!(" to {}", u64::MAX) } else { String::new() };
    text.parse().ok().filter(|n| *n >= low).ok_or_else(|| format!("expected a whole number from {low}{most}"))
}

/// The same for what is counted in memory: tokens, steps, lengths.
pub fn count(text: &str) -> Result<usize, String> {
    at_least(0, text)
        .and_then(|n| usize::try_from(n).map_err(|_| format!("expected a whole number from 0 to {}", usize::MAX)))
}

/// A file for a picture, which is SVG whatever it is called: another ending would say something else.
pub fn svg() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|name| {
        let path = PathBuf::from(name);
        match path.extension().filter(|end| !end.eq_ignore_ascii_case("svg")) {
            None => Ok(path),
            Some(end) => Err(format!("expected a name that ends in .svg, as pictures are, found .{}", end.display())),
        }
    })
}

/// What is on or off.
pub fn switch() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["off", "on"]).map(|said| said == "on")
}

/// A number, whose range the verb knows.
pub fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "expected a number".into())
}

fn between(text: &str, low: usize, high: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(format!("expected a whole number from {low} to {high}")),
    }
}

/// The choices of `T` by their names.
pub fn named<T: Choice + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|choice| choice.name())).try_map(of_name)
}

fn of_name<T: Choice>(name: String) -> Result<T, &'static str> {
    T::of_name(&name).ok_or("not one of the names")
}

/// The same, and what is said of each of them in the long help.
pub fn explained<T: Choice + Send + Sync>(about: fn(T) -> &'static str) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|&choice| PossibleValue::new(choice.name()).help(about(choice))))
        .try_map(of_name)
}

/// The same, of some of the names.
pub fn one_of<T: Choice + Send + Sync>(some: &[T]) -> impl TypedValueParser<Value = T> + use<T> {
    PossibleValuesParser::new(some.iter().map(|choice| choice.name())).try_map(of_name)
}

/// Runs `$body` with `$device`, the `f32` device that `$args` ask for.
macro_rules! on_device {
    ($args:expr, $device:ident => $body:expr) => {
        if $args.cuda()? {
            let $device = $args.open_cuda()?;
            $body
        } else {
            let $device = $crate::cli::options::cpu::<f32>($args.threads)?;
            $body
        }
    };
}
pub(super) use on_device;

#[cfg(test)]
mod tests {
    use super::{count, expect_once, positive, whole};

    #[test]
    fn the_largest_number_is_told_to_who_went_beyond_it() {
        assert_eq!((whole("7"), count("7"), positive("7")), (Ok(7), Ok(7), Ok(7)));
        for text in ["-1", "x", "", "0.5"] {
            assert_eq!(whole(text).unwrap_err(), "expected a whole number from 0", "{text}");
            assert_eq!(count(text).unwrap_err(), "expected a whole number from 0", "{text}");
        }
        assert_eq!(positive("0").unwrap_err(), "expected a whole number from 1");
        assert!(whole("99999999999999999999").unwrap_err().ends_with(" to 18446744073709551615"));
    }

    #[test]
    fn what_is_said_twice_is_named() {
        expect_once("--lengths", &[512, 1024]).unwrap();
        expect_once::<f64>("--depths", &[]).unwrap();
        let error = expect_once("--depths", &[0.0, 50.0, 25.0, 50.0]).unwrap_err().to_string();
        assert!(error.contains("--depths: expected each once, found 50 again"), "{error}");
    }
}
