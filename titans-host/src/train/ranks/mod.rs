//! Several processes that train one model: their ranks, and what they do together.
//!
//! A step's batch has `accumulate` parts, numbered through; of `size` processes the one of rank r computes the parts r,
//! r + size, r + 2 size and so on. Gradients and losses of all parts are added in the order of the parts, whoever
//! computed them, so that the number of processes changes no bit of a run ([`sum`]). Rank 0 decides, writes and talks;
//! the others follow it ([`mod@super::follow`]).
//!
//! A [`Collective`] moves bytes and knows nothing of numbers: [`Alone`] is a process by itself, [`tcp::Tcp`] several
//! that torchrun started, `Mpi` (feature `mpi`) several that mpirun or srun started. Which of them a process is, its
//! launcher says in its environment ([`launch`]).

pub mod launch;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod share;
pub mod sum;
pub mod tcp;

use crate::error::counted;
use crate::{Error, Result};
use std::fmt;

/// Processes that train together. Every method but [`Collective::abort`] must be called by all of them, in the same
/// order and with the same lengths; it returns when all have. All of them run on machines of one byte order.
pub trait Collective: fmt::Debug {
    /// This process's number, 0 to size − 1.
    fn rank(&self) -> usize;

    /// How many there are, at least 1.
    fn size(&self) -> usize;

    /// Waits for all, for however long, and without taking the processor from those that work.
    ///
    /// # Errors
    /// [`Error::Usage`] when the others cannot be reached.
    fn meet(&self) -> Result<()>;

    /// Rank 0's bytes become everybody's.
    ///
    /// # Errors
    /// As [`Collective::start_exchange`].
    fn broadcast(&self, bytes: &mut [u8]) -> Result<()>;

    /// Everybody's bytes to all, in the order of the ranks: `all` is `[size, mine.len()]`.
    ///
    /// # Errors
    /// As [`Collective::start_exchange`].
    fn all_gather(&self, mine: &[u8], all: &mut [u8]) -> Result<()>;

    /// Begins an exchange: row j of `mine` goes to rank j, row i of `theirs` comes from rank i, both of them `[size,
    /// n]`. It may return at once, and so be on its way while other work is done.
    ///
    /// # Errors
    /// [`Error::Usage`] for lengths that do not fit or are too large for one message, or when the others cannot be
    /// reached.
    fn start_exchange(&self, mine: Vec<u64>, theirs: Vec<u64>) -> Result<()>;

    /// Waits for the exchange that was begun first of those that are under way, and gives back `mine` and `theirs`.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none, or when the others cannot be reached.
    fn finish_exchange(&self) -> Result<[Vec<u64>; 2]>;

    /// Ends all processes at once with this exit code, wherever they are. It may return where there is nobody else.
    fn abort(&self, code: u8);
}

/// A process by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn meet(&self) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, _bytes: &mut [u8]) -> Result<()> {
        Ok(())
    }

    fn all_gather(&self, mine: &[u8], all: &mut [u8]) -> Result<()> {
        expect_rows(1, mine.len(), all.len())?;
        all.copy_from_slice(mine);
        Ok(())
    }

    fn start_exchange(&self, _mine: Vec<u64>, _theirs: Vec<u64>) -> Result<()> {
        Err(Error::usage("a process by itself: expected another one to exchange with"))
    }

    fn finish_exchange(&self) -> Result<[Vec<u64>; 2]> {
        Err(Error::usage("a process by itself: no exchange is under way"))
    }

    fn abort(&self, _code: u8) {}
}

/// Checks that `found` items are `size` rows of `row` items.
pub(super) fn expect_rows(size: usize, row: usize, found: usize) -> Result<()> {
    match row.checked_mul(size) {
        Some(expected) if expected == found => Ok(()),
        _ => Err(Error::usage(format!(
            "processes that train together: expected {size} rows of {row} items, found {found}"
        ))),
    }
}

/// Expects a part of every step for each of `size` processes.
///
/// # Errors
/// [`Error::Usage`] when there are fewer.
pub fn expect_parts(size: u64, parts: u64) -> Result<()> {
    if parts >= size {
        return Ok(());
    }
    Err(Error::usage(format!(
        "train.accumulate: expected {size} or more, a part of every step's batch for each of {}, found {parts}; start fewer \
         processes, or begin a run of more parts",
        counted(size, "process")
    )))
}

/// The numbers of the parts that a process computes of a step of `parts`.
///
/// # Errors
/// As [`expect_parts`].
pub fn parts_of(ranks: &dyn Collective, parts: u64) -> Result<impl Iterator<Item = u64> + Clone + use<>> {
    expect_parts(ranks.size() as u64, parts)?;
    Ok((ranks.rank() as u64..parts).step_by(ranks.size()))
}

/// Whether this is the process that decides, writes and talks.
pub fn leads(ranks: &dyn Collective) -> bool {
    ranks.rank() == 0
}

#[cfg(test)]
mod tests {
    use super::{Alone, Collective, parts_of};

    #[test]
    fn a_process_by_itself_has_every_part() {
        let mut all = [0; 3];
        Alone.all_gather(&[1, 2, 3], &mut all).unwrap();
        assert_eq!(all, [1, 2, 3]);
        assert!(Alone.all_gather(&[1, 2], &mut all).unwrap_err().to_string().contains("1 rows of 2 items, found 3"));
        assert!(Alone.start_exchange(Vec::new(), Vec::new()).is_err() && Alone.finish_exchange().is_err());
        assert_eq!(parts_of(&Alone, 3).unwrap().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(parts_of(&Alone, 0).is_err());
    }
}
