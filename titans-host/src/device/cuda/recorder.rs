//! Recordings of machines that are none: what is enqueued is a list, and replaying it runs the list.

use super::driver::{Address, Arg, BatchedGemm, Driver, Grid, Recording};
use super::probe::failed;
use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An operation that a machine was asked for.
#[derive(Clone, Debug)]
pub(super) enum Enqueued {
    Copy { from: Address, to: Address, bytes: usize },
    Clear { at: Address, bytes: usize },
    Product(BatchedGemm),
    Threads { kernel: &'static str, threads: i64, args: Vec<Arg> },
    Blocks { kernel: &'static str, grid: Grid, args: Vec<Arg> },
}

impl Enqueued {
    /// Asks a machine for it.
    ///
    /// # Safety
    /// As of the [`Driver`]'s method: all addresses are those of live memory.
    pub unsafe fn run<R: Driver>(&self, machine: &R) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Copy { from, to, bytes } => machine.copy(*from, *to, *bytes),
                Self::Clear { at, bytes } => machine.clear(*at, *bytes),
                Self::Product(gemm) => machine.gemm(gemm),
                Self::Threads { kernel, threads, args } => machine.launch(kernel, *threads, args),
                Self::Blocks { kernel, grid, args } => machine.launch_blocks(kernel, *grid, args),
            }
        }
    }
}

/// Recordings, and the one that is being made.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Recordings>);

#[derive(Debug, Default)]
struct Recordings {
    open: Option<Vec<Enqueued>>,
    /// Something was asked meanwhile that cannot be kept.
    broken: bool,
    made: u64,
    kept: BTreeMap<u64, Arc<Vec<Enqueued>>>,
    replays: u64,
    refuses: bool,
    /// Arguments that every recorded launch of a kernel gets in the place of its own.
    planted: Vec<(&'static str, usize, Arg)>,
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Recordings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one.
    pub fn begin(&self) -> Result<()> {
        let mut all = self.lock();
        if all.open.is_some() {
            return Err(failed("a recording in a recording"));
        }
        (all.open, all.broken) = (Some(Vec::new()), false);
        Ok(())
    }

    /// Whether an operation was kept, and shall not run.
    pub fn keeps(&self, operation: impl FnOnce() -> Enqueued) -> bool {
        let mut all = self.lock();
        let Recordings { open: Some(open), planted, .. } = &mut *all else { return false };
        let mut operation = operation();
        if let Enqueued::Threads { kernel, args, .. } | Enqueued::Blocks { kernel, args, .. } = &mut operation {
            for (_, argument, stale) in planted.iter().filter(|(of, ..)| of == kernel) {
                if let Some(arg) = args.get_mut(*argument) {
                    *arg = *stale;
                }
            }
        }
        open.push(operation);
        true
    }

    /// What cannot be kept ends a recording in an error, as it does on the real machine.
    pub fn expect_none(&self, what: &str) -> Result<()> {
        let mut all = self.lock();
        if all.open.is_none() {
            return Ok(());
        }
        all.broken = true;
        Err(failed(format!("{what} cannot be recorded")))
    }

    /// Ends it.
    pub fn end(&self) -> Result<Recording> {
        let mut all = self.lock();
        match (all.open.take(), all.broken) {
            (Some(operations), false) => {
                all.made += 1;
                let number = all.made;
                all.kept.insert(number, Arc::new(operations));
                Ok(Recording(number))
            }
            (Some(_), true) => Err(failed("the recording was broken off")),
            (None, _) => Err(failed("nothing is being recorded")),
        }
    }

    /// What one holds, which is about to be replayed.
    pub fn operations(&self, recording: Recording) -> Result<Arc<Vec<Enqueued>>> {
        let mut all = self.lock();
        if all.refuses {
            return Err(failed("no replay now"));
        }
        let found = all.kept.get(&recording.0).cloned();
        all.replays += u64::from(found.is_some());
        found.ok_or_else(|| failed(format!("there is no recording {}", recording.0)))
    }

    /// Gives one up.
    pub fn forget(&self, recording: Recording) {
        self.lock().kept.remove(&recording.0);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().kept.len()
    }

    /// How often one was replayed.
    pub fn replays(&self) -> u64 {
        self.lock().replays
    }

    /// Whether replays are errors from now on.
    pub fn refuse(&self, replays: bool) {
        self.lock().refuses = replays;
    }

    /// Plants an argument; none: takes all of them away.
    pub fn plant(&self, stale: Option<(&'static str, usize, Arg)>) {
        let planted = &mut self.lock().planted;
        match stale {
            Some(stale) => planted.push(stale),
            None => planted.clear(),
        }
    }
}
