//! Processes that speak MPI, as mpirun and srun start them.
//!
//! Only bytes are exchanged; the sums are our own ([`super::sum`]). A thread of its own speaks MPI, so that gradients
//! are on their way while the backward goes on. MPI ends all processes when one of them is gone, and [`Mpi`] never says
//! that it is done (`MPI_Finalize`) but in [`Mpi::end`]: a process that leaves in any other way, a panic for one, takes
//! the others with it instead of leaving them to wait.

use super::launch::Launch;
use super::{Collective, expect_rows};
use crate::{Error, Result};
use ::mpi::Threading;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Root};
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// For so long a process looks again and again whether the others have come; then it looks now and then, for they may
/// validate for minutes on processors that they share with it.
const EAGER: Duration = Duration::from_millis(2);
const PAUSE: Duration = Duration::from_micros(200);
/// So long is waited for the end of all; a thread that waits for others itself does not bring it.
const LAST: Duration = Duration::from_secs(2);

/// What the speaking thread is asked for.
enum Job {
    Meet,
    Broadcast(Vec<u8>),
    Gather(Vec<u8>),
    Exchange([Vec<u64>; 2]),
    Abort(i32),
    End,
}

/// All processes that were started with this one.
pub struct Mpi {
    jobs: Sender<Job>,
    /// Answers to all jobs but exchanges, in their order.
    done: Receiver<Vec<u8>>,
    exchanged: Receiver<[Vec<u64>; 2]>,
    rank: usize,
    size: usize,
}

impl Mpi {
    /// Joins the processes that `launch` is one of.
    ///
    /// # Errors
    /// [`Error::Usage`] when MPI was started before, or knows other processes than the launcher says: it was another
    /// MPI's launcher, or none of MPI's. [`Error::Io`] when the system gives no thread.
    pub fn join(launch: &Launch) -> Result<Self> {
        let (jobs, asked) = channel();
        let (answer, done) = channel();
        let (answer_exchange, exchanged) = channel();
        let (say, joined) = channel();
        let speak = move || {
            let Some((universe, _)) = ::mpi::initialize_with_threading(Threading::Funneled) else { return };
            let world = universe.world();
            let told = say.send([world.rank(), world.size()]);
            if told.is_ok() && serve(&world, &asked, &answer, &answer_exchange) {
                drop((world, universe));
                let _ = answer.send(Vec::new());
            } else {
                // Ending MPI would wait for the others, who wait for this process.
                std::mem::forget(universe);
            }
        };
        let thread = std::thread::Builder::new().name("titans-mpi".into()).spawn(speak);
        thread.map_err(|e| Error::io("MPI", "starting its thread", e))?;
        let found = joined.recv().map_err(|_| Error::usage("MPI: expected it to start, and it was started before"))?;
        let [rank, size] = found.map(|number| usize::try_from(number).unwrap_or_default());
        if (rank, size) != (launch.rank, launch.size) {
            return Err(Error::usage(format!(
                "MPI: expected number {} of {} processes, as {} says, found {rank} of {size}: it does not know that launcher; \
                 start with the mpirun of the MPI that titans was built with, or with srun --mpi=pmix",
                launch.rank, launch.size, launch.by
            )));
        }
        Ok(Self { jobs, done, exchanged, rank, size })
    }

    /// Leaves in order, after the others have come as far too.
    pub fn end(self) {
        let _ = self.ask(Job::End);
    }

    fn ask(&self, job: Job) -> Result<Vec<u8>> {
        self.start(job)?;
        self.done.recv().map_err(|_| gone())
    }

    fn start(&self, job: Job) -> Result<()> {
        self.jobs.send(job).map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::usage("MPI: its thread has ended; the other processes cannot be reached")
}

/// Does what is asked for until nobody can ask any more; whether the end was asked for.
fn serve(
    world: &SimpleCommunicator,
    asked: &Receiver<Job>,
    answer: &Sender<Vec<u8>>,
    answer_exchange: &Sender<[Vec<u64>; 2]>,
) -> bool {
    let size = usize::try_from(world.size()).unwrap_or_default();
    while let Ok(job) = asked.recv() {
        let heard = match job {
            Job::Meet => {
                meet(world);
                answer.send(Vec::new()).is_ok()
            }
            Job::Broadcast(mut bytes) => {
                world.process_at_rank(0).broadcast_into(&mut bytes[..]);
                answer.send(bytes).is_ok()
            }
            Job::Gather(mine) => {
                let mut all = vec![0; mine.len() * size];
                world.all_gather_into(&mine[..], &mut all[..]);
                answer.send(all).is_ok()
            }
            Job::Exchange([mine, mut theirs]) => {
                world.all_to_all_into(&mine[..], &mut theirs[..]);
                answer_exchange.send([mine, theirs]).is_ok()
            }
            Job::Abort(code) => world.abort(code),
            Job::End => return true,
        };
        if !heard {
            return false;
        }
    }
    false
}

fn meet(world: &SimpleCommunicator) {
    let begun = Instant::now();
    let mut request = world.immediate_barrier();
    while let Err(waiting) = request.test() {
        request = waiting;
        if begun.elapsed() > EAGER {
            std::thread::sleep(PAUSE);
        }
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank).field("size", &self.size).finish_non_exhaustive()
    }
}

/// MPI counts in 32 bits.
fn expect_message(count: usize) -> Result<()> {
    match i32::try_from(count) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::usage(format!(
            "MPI: expected a message of {} items at most, found {count}: the model's largest parameter is too large for it",
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
        self.ask(Job::Meet).map(drop)
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<()> {
        expect_message(bytes.len())?;
        let said = self.ask(Job::Broadcast(bytes.to_vec()))?;
        expect_rows(1, bytes.len(), said.len())?;
        bytes.copy_from_slice(&said);
        Ok(())
    }

    fn all_gather(&self, mine: &[u8], all: &mut [u8]) -> Result<()> {
        expect_rows(self.size, mine.len(), all.len())?;
        expect_message(all.len())?;
        let said = self.ask(Job::Gather(mine.to_vec()))?;
        expect_rows(1, all.len(), said.len())?;
        all.copy_from_slice(&said);
        Ok(())
    }

    fn start_exchange(&self, mine: Vec<u64>, theirs: Vec<u64>) -> Result<()> {
        expect_rows(self.size, mine.len() / self.size, mine.len())?;
        expect_rows(1, mine.len(), theirs.len())?;
        expect_message(mine.len())?;
        self.start(Job::Exchange([mine, theirs]))
    }

    fn finish_exchange(&self) -> Result<[Vec<u64>; 2]> {
        self.exchanged.recv().map_err(|_| gone())
    }

    fn abort(&self, code: u8) {
        if self.start(Job::Abort(i32::from(code))).is_ok() {
            // The process ends meanwhile, or here; the launcher ends those whose fellow left without a word.
            let _ = self.done.recv_timeout(LAST);
        }
    }
}
