//! Processes that speak MPI, as mpirun and srun start them.
//!
//! Only bytes are exchanged; the sums are our own ([`super::sum`]). MPI ends all processes when one of them is gone, and
//! [`Mpi`] never says that it is done (`MPI_Finalize`) but in [`Mpi::end`]: a process that leaves in any other way, a panic
//! for one, takes the others with it instead of leaving them to wait.

use super::launch::Launch;
use super::{Collective, expect_rows};
use crate::{Error, Result};
use ::mpi::Threading;
use ::mpi::environment::Universe;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Root};
use std::fmt;
use std::time::{Duration, Instant};

/// For so long a process looks again and again whether the others have come; then it looks now and then, for they may
/// validate for minutes on processors that they share with it.
const EAGER: Duration = Duration::from_millis(2);
const PAUSE: Duration = Duration::from_micros(200);

/// All processes that were started with this one.
pub struct Mpi {
    /// There until the end.
    universe: Option<Universe>,
    rank: usize,
    size: usize,
}

impl Mpi {
    /// Joins the processes that `launch` is one of.
    ///
    /// # Errors
    /// [`Error::Usage`] when MPI was started before, or knows other processes than the launcher says: it was another
    /// MPI's launcher, or none of MPI's.
    pub fn join(launch: &Launch) -> Result<Self> {
        let started = ::mpi::initialize_with_threading(Threading::Funneled);
        let (universe, _) = started.ok_or_else(|| Error::usage("MPI: it is started already; once a process is all"))?;
        let world = universe.world();
        let of = |number: i32| usize::try_from(number).unwrap_or_default();
        let joined = Self { rank: of(world.rank()), size: of(world.size()), universe: Some(universe) };
        if (joined.rank, joined.size) != (launch.rank, launch.size) {
            return Err(Error::usage(format!(
                "MPI: expected number {} of {} processes, as {} says, found {} of {}: it does not know that launcher; start with \
                 the mpirun of the MPI that titans was built with, or with srun --mpi=pmix",
                launch.rank, launch.size, launch.by, joined.rank, joined.size
            )));
        }
        Ok(joined)
    }

    /// Leaves in order, after the others have come as far too.
    pub fn end(mut self) {
        drop(self.universe.take());
    }

    fn universe(&self) -> Result<&Universe> {
        self.universe.as_ref().ok_or_else(|| Error::usage("MPI: it has ended"))
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // Ending MPI would wait for the others, who wait for this process.
        std::mem::forget(self.universe.take());
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank).field("size", &self.size).finish_non_exhaustive()
    }
}

/// MPI counts in 32 bits.
fn expect_message(bytes: usize) -> Result<()> {
    match i32::try_from(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::usage(format!(
            "MPI: expected a message of {} bytes at most, found {bytes}: the model's largest parameter is too large for so many \
             processes",
            i32::MAX
        ))),
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn meet(&self) -> Result<()> {
        let begun = Instant::now();
        let mut request = self.universe()?.world().immediate_barrier();
        while let Err(waiting) = request.test() {
            request = waiting;
            if begun.elapsed() > EAGER {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<()> {
        expect_message(bytes.len())?;
        self.universe()?.world().process_at_rank(0).broadcast_into(bytes);
        Ok(())
    }

    fn all_gather(&self, mine: &[u8], all: &mut [u8]) -> Result<()> {
        expect_rows(self.size, mine.len(), all.len())?;
        expect_message(all.len())?;
        self.universe()?.world().all_gather_into(mine, all);
        Ok(())
    }

    fn exchange(&self, mine: &[u8], theirs: &mut [u8]) -> Result<()> {
        expect_rows(self.size, mine.len() / self.size, mine.len())?;
        expect_rows(1, mine.len(), theirs.len())?;
        expect_message(mine.len())?;
        self.universe()?.world().all_to_all_into(mine, theirs);
        Ok(())
    }

    fn abort(&self, code: u8) {
        if let Ok(universe) = self.universe() {
            universe.world().abort(i32::from(code));
        }
    }
}
