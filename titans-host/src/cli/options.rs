//! Options that several verbs share.

use super::Failure;
use crate::device::cpu::{Cpu, Isa, SimdScalar, isa_named};
use crate::model::Choice;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

/// Where to compute.
#[derive(Args, Clone, Copy, Debug)]
pub struct DeviceArgs {
    /// Where to compute; `auto` takes CUDA where it works and the CPU elsewhere
    #[arg(long, value_enum, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,

    /// CPU threads [default: all of this machine's]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
}

/// The devices by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceChoice {
    /// This machine's processor.
    Cpu,
    /// The first CUDA device.
    Cuda,
    /// CUDA where it works, the CPU elsewhere.
    Auto,
}

impl DeviceArgs {
    /// Whether to use CUDA. Asking for it where there is none is an error that says what is missing.
    pub fn cuda(&self) -> Result<bool, Failure> {
        match (self.device, super::devices::cuda_absent()) {
            (DeviceChoice::Cpu, _) | (DeviceChoice::Auto, Some(_)) => Ok(false),
            (_, None) => Ok(true),
            (DeviceChoice::Cuda, Some(reason)) => Err(Failure::input(format!(
                "--device cuda: {reason}; `titans devices` says more, --device auto falls back to the CPU"
            ))),
        }
    }
}

/// The CPU with `threads` threads and the instruction set of [`instruction_set`].
pub fn cpu<T: SimdScalar>(threads: Option<usize>) -> Result<Cpu<T>, Failure> {
    Ok(Cpu::with_instruction_set(threads, instruction_set(None)?)?)
}

/// The instruction set that an option `--isa` asks for, else the environment variable `TITANS_ISA` (empty is as good as not set), else the best one of
/// this processor. A name that is none, or a set that this processor lacks, is bad input: exit code 2.
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
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

/// The same for what is counted in memory: tokens, steps, lengths.
pub fn count(text: &str) -> Result<usize, String> {
    between(text, 0, usize::MAX)
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
    PossibleValuesParser::new(T::ALL.iter().map(|choice| choice.name()))
        .try_map(|name| T::of_name(&name).ok_or("not one of the names"))
}

/// How the memory is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormName {
    /// Token by token: the weights after each token are built (the definition)
    Token,
    /// A chunk at a time by matrix products: the same numbers, faster
    Chunk,
}

/// Floating-point types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DtypeName {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// Runs `$body` with `$device`, the `f32` device that `$args` ask for.
macro_rules! on_device {
    ($args:expr, $device:ident => $body:expr) => {
        if $args.cuda()? {
            let $device = $crate::device::cuda::Cuda::new(0)?;
            $body
        } else {
            let $device = $crate::cli::options::cpu::<f32>($args.threads)?;
            $body
        }
    };
}
pub(super) use on_device;
