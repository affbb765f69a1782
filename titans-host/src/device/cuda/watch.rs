//! What a repeated step asks of the machine: whether it is the same as the time before, and on whose memory it works.

use super::arena::Arena;
use super::driver::{Address, Arg, BatchedGemm, Driver, Factor, Grid};
use super::probe::failed;
use crate::error::Result;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{MutexGuard, PoisonError};

/// A step's numbers in the machine's memory, and what they are: an operation that wants another one is not repeated.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StepNumbers {
    /// Where they are: the cotangent of every loss; the step's row of the report; what the gradients are multiplied by,
    /// found on the device; the two corrections of AdamW's moments; of each parameter its rate and its decay.
    pub at: Address,
    /// Their values; that of the third is not known.
    pub values: Vec<f32>,
}

/// What the largest of some whole numbers was held against, by the address of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Rows of a table.
    Ids(usize),
    /// Tokens of a sequence.
    Lengths(usize),
    /// Classes.
    Targets(usize),
}

/// A step as it goes.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub numbers: StepNumbers,
    /// Whether the machine keeps what is enqueued instead of running it.
    pub recording: bool,
    /// Why it cannot be repeated.
    pub obstacle: Option<&'static str>,
    pub bounds: Vec<(Address, Bound)>,
    /// Every address that something is done to.
    pub places: BTreeSet<Address>,
    /// Memory that was lent since it began.
    pub lent: BTreeSet<Address>,
    /// Of everything that is enqueued but addresses: those of scratch are others each time.
    digest: DefaultHasher,
}

impl Watch {
    pub fn new(numbers: StepNumbers, recording: bool) -> Self {
        Self { numbers, recording, ..Self::default() }
    }

    /// Equal for steps that enqueue the same.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// The address of a number of the step, if it is this one.
    pub fn number(&mut self, i: usize, value: f32) -> Option<Address> {
        if self.numbers.values.get(i).map(|x| x.to_bits()) == Some(value.to_bits()) {
            return Some(self.numbers.at + 4 * i as u64);
        }
        self.obstacle = Some("an operation wants another number than the step's");
        None
    }

    fn args(&mut self, args: &[Arg]) {
        for arg in args {
            match arg {
                Arg::Address(at) => {
                    // Whether an array is there matters.
                    (*at != 0).hash(&mut self.digest);
                    if *at != 0 {
                        self.places.insert(*at);
                    }
                }
                Arg::Int(x) => x.hash(&mut self.digest),
                Arg::Float(x) => x.to_bits().hash(&mut self.digest),
            }
        }
    }

    fn product(&mut self, g: &BatchedGemm) {
        for Factor { address, ld, stride, transposed } in [g.a, g.b, g.c] {
            self.places.insert(address);
            (ld, stride, transposed).hash(&mut self.digest);
        }
        (g.precision as u8, g.m, g.n, g.k, g.batch, g.alpha.to_bits(), g.beta.to_bits()).hash(&mut self.digest);
    }
}

/// What a machine is asked, seen by the [`Watch`] where there is one.
impl<R: Driver> Arena<R> {
    /// The step that is watched.
    pub fn watch(&self) -> MutexGuard<'_, Option<Watch>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy from or to the host, or a wait, does not go into a recording.
    fn expect_running(&self, what: &'static str) -> Result<()> {
        match &mut *self.watch() {
            Some(watch) if watch.recording => {
                watch.obstacle = Some(what);
                Err(failed(format!("a step that is recorded has {what}")))
            }
            _ => Ok(()),
        }
    }

    fn see(&self, note: impl FnOnce(&mut Watch)) {
        if let Some(watch) = &mut *self.watch() {
            note(watch);
        }
    }

    /// As [`Driver::upload`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn upload(&self, host: &[u8], to: Address) -> Result<()> {
        self.expect_running("a copy from the host")?;
        // SAFETY: the caller's promise.
        unsafe { self.machine.upload(host, to) }
    }

    /// As [`Driver::download`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn download(&self, from: Address, host: &mut [u8]) -> Result<()> {
        self.expect_running("a copy to the host")?;
        // SAFETY: the caller's promise.
        unsafe { self.machine.download(from, host) }
    }

    /// As [`Driver::synchronize`].
    pub fn synchronize(&self) -> Result<()> {
        self.expect_running("a wait for the device")?;
        self.machine.synchronize()
    }

    /// As [`Driver::copy`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        self.see(|watch| {
            ("copy", bytes).hash(&mut watch.digest);
            watch.places.extend([from, to]);
        });
        // SAFETY: the caller's promise.
        unsafe { self.machine.copy(from, to, bytes) }
    }

    /// As [`Driver::clear`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        self.see(|watch| {
            ("clear", bytes).hash(&mut watch.digest);
            watch.places.insert(at);
        });
        // SAFETY: the caller's promise.
        unsafe { self.machine.clear(at, bytes) }
    }

    /// As [`Driver::gemm`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn gemm(&self, gemm: &BatchedGemm) -> Result<()> {
        self.see(|watch| watch.product(gemm));
        // SAFETY: the caller's promise.
        unsafe { self.machine.gemm(gemm) }
    }

    /// As [`Driver::launch`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn launch(&self, kernel: &'static str, threads: i64, args: &[Arg]) -> Result<()> {
        self.see(|watch| {
            (kernel, threads).hash(&mut watch.digest);
            watch.args(args);
        });
        // SAFETY: the caller's promise.
        unsafe { self.machine.launch(kernel, threads, args) }
    }

    /// As [`Driver::launch_blocks`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn launch_blocks(&self, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        self.see(|watch| {
            (kernel, grid.blocks, grid.threads).hash(&mut watch.digest);
            watch.args(args);
        });
        // SAFETY: the caller's promise.
        unsafe { self.machine.launch_blocks(kernel, grid, args) }
    }
}
