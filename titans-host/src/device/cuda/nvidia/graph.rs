//! Recordings as CUDA graphs: the stream is captured, and what it would have run is launched as one.

use super::Nvidia;
use crate::device::cuda::driver::Recording;
use crate::device::cuda::symbols::Handle;
use crate::error::Result;
use std::ffi::{c_int, c_void};
use std::sync::PoisonError;

/// Of `cuStreamBeginCapture`: only what this thread calls may break the capture off.
const THREAD_LOCAL: c_int = 1;
/// What cuBLAS takes for itself where it is not given a workspace: from compute capability 9.0 on, and before. Another
/// size might let it choose other products.
const WORKSPACE: usize = 32 << 20;
const SMALL_WORKSPACE: usize = 4 << 20;

impl Nvidia {
    /// Begins a capture of the stream.
    pub(super) fn begin_graph(&self) -> Result<()> {
        self.give_workspace()?;
        self.call("beginning to record a step", |driver| {
            // SAFETY: the stream is alive.
            unsafe { (driver.calls.begin_capture)(self.stream.0, THREAD_LOCAL) }
        })
    }

    /// Ends it, and makes what was captured ready to be launched.
    pub(super) fn end_graph(&self) -> Result<Recording> {
        let (mut graph, mut executable): (Handle, Handle) = (std::ptr::null_mut(), std::ptr::null_mut());
        self.call("recording a step", |driver| {
            // SAFETY: the stream is alive; an address for the answer.
            unsafe { (driver.calls.end_capture)(self.stream.0, &mut graph) }
        })?;
        let made = self.call("making a recorded step ready", |driver| {
            // SAFETY: an address for the answer, and the graph of above; no flags.
            unsafe { (driver.calls.instantiate)(&mut executable, graph, 0) }
        });
        // SAFETY: made above, given up once; the executable has a copy of its own.
        let given_up = self.call("giving up a graph", |driver| unsafe { (driver.calls.destroy_graph)(graph) });
        made.and(given_up).map(|()| Recording(executable as u64))
    }

    /// Launches a recorded step.
    ///
    /// # Safety
    /// As of [`Driver::replay`](crate::device::cuda::Driver::replay).
    pub(super) unsafe fn launch_graph(&self, recording: Recording) -> Result<()> {
        self.call("launching a recorded step", |driver| {
            // SAFETY: the caller promises that `end_graph` made it and that its memory is as it was.
            unsafe { (driver.calls.launch_graph)(recording.0 as Handle, self.stream.0) }
        })
    }

    /// Gives a recorded step up. A failure is not reported: the next operation will fail.
    ///
    /// # Safety
    /// As of [`Driver::forget`](crate::device::cuda::Driver::forget).
    pub(super) unsafe fn destroy_graph(&self, recording: Recording) {
        let _ = self.call("giving up a recorded step", |driver| {
            // SAFETY: the caller gives up what `end_graph` made; the driver keeps it until its launches are done.
            unsafe { (driver.calls.destroy_executable)(recording.0 as Handle) }
        });
    }

    /// Memory for products, which outlives all recordings.
    fn give_workspace(&self) -> Result<()> {
        let mut workspace = self.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        if workspace.is_some() {
            return Ok(());
        }
        let bytes = if self.large_workspace { WORKSPACE } else { SMALL_WORKSPACE };
        let mut address = 0;
        self.call("reserving memory for products", |driver| {
            // SAFETY: an address for the answer.
            unsafe { (driver.calls.alloc)(&mut address, bytes) }
        })?;
        *workspace = Some(address);
        let blas = self.blas.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the handle is alive, and so is the memory until after it; `call` has made the context current.
        let status = unsafe { (self.cublas.0.set_workspace)(blas.0, address as *mut c_void, bytes) };
        self.product_call("giving cuBLAS memory", status)
    }
}
