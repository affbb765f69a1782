//! Training by one process or several: how they find each other, agree on how it begins, and end.

use super::Args;
use super::begin::Begun;
use crate::cli::Failure;
use crate::device::cpu::Isa;
use crate::error::{Error, Result, counted};
use crate::train::ranks::launch::{Launch, Transport};
use crate::train::ranks::tcp::Tcp;
use crate::train::ranks::{Alone, Collective, leads, share};
use std::ffi::OsString;
use titans_kernel::Choice;

/// Runs `train` as the process that the environment says this is.
///
/// # Errors
/// Those of `train`; of a build without the feature `mpi`, that MPI's launcher started several processes.
pub(super) fn run(
    train: impl Fn(&dyn Collective) -> std::result::Result<(), Failure>,
) -> std::result::Result<(), Failure> {
    let launch = Launch::of_environment()?;
    match launch.over {
        _ if launch.size == 1 => train(&Alone),
        Transport::Tcp => {
            let ranks = Tcp::join(&launch, |code| std::process::exit(code.into()))?;
            let trained = together(&ranks, train)?;
            ranks.end();
            trained
        }
        Transport::Mpi => over_mpi(&launch, train),
    }
}

#[cfg(not(feature = "mpi"))]
fn over_mpi(
    launch: &Launch,
    _train: impl Fn(&dyn Collective) -> std::result::Result<(), Failure>,
) -> std::result::Result<(), Failure> {
    Ok(launch.expect_alone()?)
}

#[cfg(feature = "mpi")]
fn over_mpi(
    launch: &Launch,
    train: impl Fn(&dyn Collective) -> std::result::Result<(), Failure>,
) -> std::result::Result<(), Failure> {
    let ranks = crate::train::ranks::mpi::Mpi::join(launch)?;
    let trained = together(&ranks, train)?;
    ranks.end();
    trained
}

/// Whoever fails says why, and takes all others with it; all others wait until rank 0 has done the rest, and may leave
/// in order then, with what training ended with.
fn together(
    ranks: &dyn Collective,
    train: impl Fn(&dyn Collective) -> std::result::Result<(), Failure>,
) -> std::result::Result<std::result::Result<(), Failure>, Failure> {
    match train(ranks) {
        Err(failure) if !failure.in_order() => {
            let code = failure.of_process(ranks.rank(), ranks.size()).report();
            ranks.abort(code as u8);
            Err(Failure::told(code))
        }
        in_order => {
            ranks.meet()?;
            Ok(in_order)
        }
    }
}

/// What all processes come to before they train: where some fail, the first of them says why, and the others are
/// silent.
///
/// # Errors
/// This process's own failure; [`Failure::told`] where another one speaks.
pub(super) fn agree<T>(
    ranks: &dyn Collective,
    mine: std::result::Result<T, Failure>,
) -> std::result::Result<T, Failure> {
    if ranks.size() == 1 {
        return mine;
    }
    let failed = share::counts(ranks, [u64::from(mine.is_err())])?.iter().position(|&[failed]| failed != 0);
    match failed {
        Some(first) if first != ranks.rank() => {
            // That one ends this process while it waits.
            ranks.meet()?;
            Err(Failure::failed("another process failed"))
        }
        _ => mine,
    }
}

impl Args {
    /// What the run is, as rank 0 has it: others neither look into the run's folder nor write there.
    ///
    /// # Errors
    /// As [`Args::begin`]; what the other processes report.
    pub(super) fn begin_together(&self, ranks: &dyn Collective, device: &str) -> Result<Begun> {
        if ranks.size() == 1 {
            return self.begin(1);
        }
        let program = format!(
            "titans {} on {device}, {}, {}, command {:08x}",
            env!("CARGO_PKG_VERSION"),
            instruction_set()?,
            self.on.precision.name(),
            command(std::env::args_os())
        );
        if let Err(error) = share::expect_alike(ranks, &program) {
            if !leads(ranks) {
                ranks.meet()?; // all know it, and rank 0 says it, which ends this process
            }
            return Err(error);
        }
        let begun = leads(ranks).then(|| self.begin(ranks.size() as u64)).transpose()?;
        let config = share::json(ranks, &begun.as_ref().map(|begun| begun.config.clone()))?;
        match (begun, config) {
            (Some(begun), _) => Ok(begun),
            (None, Some(config)) => Ok(Begun::told(config)),
            (None, None) => Err(Error::usage("rank 0 says nothing of the run; start one program in all processes")),
        }
    }
}

/// With what the model is updated: all but one give the same bits (`docs/NUMERICS.md`).
fn instruction_set() -> Result<&'static str> {
    let isa = crate::cli::options::instruction_set(None).map_err(|failure| Error::usage(failure.to_string()))?;
    Ok(if isa == Isa::Portable { "portable" } else { "avx512, avx2 or neon" })
}

/// A checksum of the command's words, but for those that say where this process computes.
fn command(words: impl Iterator<Item = OsString>) -> u32 {
    let (mut hash, mut words) = (crc32fast::Hasher::new(), words.skip(1));
    while let Some(word) = words.next() {
        let place = ["--device", "--threads"].iter().find(|option| word.to_string_lossy().starts_with(*option));
        match place {
            Some(option) if word == **option => drop(words.next()),
            Some(_) => {}
            None => {
                hash.update(word.as_encoded_bytes());
                hash.update(&[0]);
            }
        }
    }
    hash.finalize()
}

/// `, 2 processes`, where there are several.
pub(super) fn among(ranks: &dyn Collective) -> String {
    match ranks.size() {
        1 => String::new(),
        size => format!(", {}", counted(size, "process")),
    }
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn commands_are_alike_but_for_the_place() {
        let of = |text: &str| command(text.split(' ').map(Into::into));
        assert_eq!(of("titans train --seed 1"), of("/bin/titans train --device cuda:1 --seed 1 --threads=3"));
        assert_ne!(of("titans train --seed 1"), of("titans train --seed 2"));
        assert_ne!(of("titans train --out ab"), of("titans train --out a b"));
    }
}
