//! A machine that computes nothing and counts what it is asked: launches, products, memory, bytes. Downloads give
//! zeros.
//!
//! What a step costs in calls is known with it without a GPU; numbers are not.

mod bytes;
mod linear;
mod segments;

use super::driver::{Address, Arg, BatchedGemm, Driver, Grid, Recording};
use super::probe::failed;
use super::recorder::{Enqueued, Recorder};
use crate::device::MemoryUse;
use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a [`Counting`] was asked so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DriverCounts {
    /// Launches of each kernel.
    pub kernels: BTreeMap<&'static str, u64>,
    /// Batched matrix products.
    pub products: u64,
    /// Ranges set to 0.
    pub clears: u64,
    /// Copies inside the machine.
    pub copies: u64,
    /// Recordings that were enqueued; what they hold is not among kernels, products, clears and copies.
    pub replays: u64,
    /// Reservations of memory.
    pub allocations: u64,
    /// Reservations given back.
    pub frees: u64,
    /// Copies from the host.
    pub uploads: u64,
    /// Bytes of these.
    pub uploaded: u64,
    /// Copies to the host.
    pub downloads: u64,
    /// Bytes that kernels, products, copies and clears read and write, if each touches once what it needs
    /// (of kernels that walk a clip's chunks, and of those not in the list, an element of every array a thread).
    pub moved: u64,
    /// Bytes reserved now.
    pub live: usize,
    /// The most bytes reserved at once.
    pub peak: usize,
}

impl DriverCounts {
    /// All that was enqueued: kernels, products, clears, copies inside the machine, and recordings, each as one.
    pub fn launches(&self) -> u64 {
        self.kernels.values().sum::<u64>() + self.products + self.clears + self.copies + self.replays
    }
}

/// The machine that counts.
#[derive(Debug)]
pub struct Counting {
    room: usize,
    state: Mutex<CountingState>,
    recorder: Recorder,
}

#[derive(Debug, Default)]
struct CountingState {
    counts: DriverCounts,
    reserved: BTreeMap<Address, usize>,
    /// Where the last reservation ended.
    end: Address,
}

impl Default for Counting {
    /// One with room for everything.
    fn default() -> Self {
        Self::with_room(usize::MAX)
    }
}

impl Counting {
    /// One with room for so many bytes.
    pub fn with_room(bytes: usize) -> Self {
        Self { room: bytes, state: Mutex::default(), recorder: Recorder::default() }
    }

    /// What it was asked so far.
    pub fn counts(&self) -> DriverCounts {
        self.state().counts.clone()
    }

    /// Counts from 0 again; what is reserved stays.
    pub fn restart(&self) {
        let mut state = self.state();
        let live = state.counts.live;
        state.counts = DriverCounts { live, peak: live, ..DriverCounts::default() };
    }

    fn state(&self) -> MutexGuard<'_, CountingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for Counting {
    fn describe(&self) -> String {
        "cuda: counted, not computed".to_owned()
    }

    fn memory(&self) -> Option<MemoryUse> {
        let (used, total) = (self.state().counts.live as u64, self.room as u64);
        Some(MemoryUse { used, free: total - used, total })
    }

    fn alloc(&self, bytes: usize) -> Result<Address> {
        /// Of every address: a machine's are of this kind, and none is 0.
        const ALIGNED: u64 = 512;
        self.recorder.expect_none("reserving memory")?;
        let mut state = self.state();
        let left = self.room - state.counts.live;
        if bytes > left {
            return Err(failed(format!("no room for {bytes} bytes: {left} are left")));
        }
        let at = state.end.next_multiple_of(ALIGNED).max(ALIGNED);
        state.end = at.saturating_add(bytes as u64);
        state.reserved.insert(at, bytes);
        let counts = &mut state.counts;
        counts.allocations += 1;
        counts.live += bytes;
        counts.peak = counts.peak.max(counts.live);
        Ok(at)
    }

    unsafe fn free(&self, address: Address) {
        let mut state = self.state();
        let bytes = state.reserved.remove(&address).unwrap_or_default();
        state.counts.live -= bytes;
        state.counts.frees += 1;
    }

    unsafe fn upload(&self, host: &[u8], _: Address) -> Result<()> {
        self.recorder.expect_none("a copy from the host")?;
        let counts = &mut self.state().counts;
        counts.uploads += 1;
        counts.uploaded += host.len() as u64;
        Ok(())
    }

    unsafe fn download(&self, _: Address, host: &mut [u8]) -> Result<()> {
        self.recorder.expect_none("a copy to the host")?;
        host.fill(0);
        self.state().counts.downloads += 1;
        Ok(())
    }

    unsafe fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Copy { from, to, bytes }) {
            return Ok(());
        }
        let counts = &mut self.state().counts;
        counts.copies += 1;
        counts.moved += 2 * bytes as u64;
        Ok(())
    }

    unsafe fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Clear { at, bytes }) {
            return Ok(());
        }
        let counts = &mut self.state().counts;
        counts.clears += 1;
        counts.moved += bytes as u64;
        Ok(())
    }

    unsafe fn gemm(&self, gemm: &BatchedGemm) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Product(*gemm)) {
            return Ok(());
        }
        let counts = &mut self.state().counts;
        counts.products += 1;
        counts.moved += bytes::of_product(gemm);
        Ok(())
    }

    unsafe fn launch(&self, kernel: &'static str, threads: i64, args: &[Arg]) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Threads { kernel, threads, args: args.to_vec() }) {
            return Ok(());
        }
        let counts = &mut self.state().counts;
        *counts.kernels.entry(kernel).or_default() += 1;
        counts.moved += bytes::of_kernel(kernel, threads.max(0) as u64, args);
        Ok(())
    }

    unsafe fn launch_blocks(&self, kernel: &'static str, _: Grid, args: &[Arg]) -> Result<()> {
        // The first argument is the number of rows or units.
        let n = match args.first() {
            Some(Arg::Int(n)) => *n,
            _ => 0,
        };
        // SAFETY: nothing is run.
        unsafe { self.launch(kernel, n, args) }
    }

    fn synchronize(&self) -> Result<()> {
        self.recorder.expect_none("a wait for the device")
    }

    fn begin_recording(&self) -> Result<()> {
        self.recorder.begin()
    }

    fn end_recording(&self) -> Result<Recording> {
        self.recorder.end()
    }

    unsafe fn replay(&self, recording: Recording) -> Result<()> {
        let operations = self.recorder.operations(recording)?;
        let mut state = self.state();
        let before = state.counts.clone();
        drop(state);
        // SAFETY: nothing is run.
        operations.iter().try_for_each(|operation| unsafe { operation.run(self) })?;
        state = self.state();
        // Of what they hold, the bytes alone are counted.
        state.counts = DriverCounts { moved: state.counts.moved, replays: before.replays + 1, ..before };
        Ok(())
    }

    unsafe fn forget(&self, recording: Recording) {
        self.recorder.forget(recording);
    }
}
