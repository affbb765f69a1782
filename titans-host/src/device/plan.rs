//! A device that computes nothing and counts what a [`Cpu`](super::cpu::Cpu) or a [`Cuda`](super::cuda::Cuda) would
//! hold: memory by formula, before anything runs.
//!
//! Whatever runs on a [`Device`](super::Device) runs on a [`Plan`]. Its buffers have lengths and no numbers: of the
//! CPU rounded up to the size classes of its pool, of CUDA as they are. Its operations take the scratch that the
//! device's take, on the CPU for the same number of threads.

mod ops;
pub(in crate::device) use ops::takes_no_scratch;

use super::{Operation, cpu, cuda};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use titans_kernel::{Choice, choice};

choice! {
    /// What a buffer is for: the last operation that wrote it decides.
    pub enum BufferKind: "kind of buffer" {
        /// Uploaded or zeroed: parameters, gradients, moments.
        Given = 0, "given";
        /// Outputs of linear maps, the embedding and the head's among them.
        Linear = 1, "linear";
        /// Outputs of norms.
        Norm = 2, "norms";
        /// Outputs of convolutions.
        Conv = 3, "convolutions";
        /// Sums, gates, SiLU and SwiGLU products.
        Elementwise = 4, "elementwise";
        /// Outputs of attention.
        Attention = 5, "attention";
        /// The memories' read-outs and states.
        Memory = 6, "memories";
        /// The memories' states at chunk boundaries.
        Boundaries = 7, "boundaries";
        /// Losses, cotangents and scratch: all else.
        Other = 8, "other";
    }
}

/// Bytes by [`BufferKind`].
pub type BytesByKind = [usize; BufferKind::ALL.len()];

/// The device that only counts, for `f32`.
///
/// ```
/// use std::sync::Arc;
/// use titans_host::device::Device;
/// use titans_host::device::plan::Plan;
/// use titans_host::model::{Input, Model, ModelConfig};
/// use titans_host::tape::Tape;
///
/// let plan = Plan::new(2)?; // of a CPU of two threads
/// let model = Model::blank(&plan, ModelConfig::default())?;
/// let parameters = plan.peak(); // bytes
/// let ids = Arc::new(plan.upload_indices(&[0; 512])?);
/// let mut tape = Tape::inference(&plan, &model.params);
/// model.forward(&mut tape, Input::new(&ids, 1, 512))?; // of one sequence; nothing is computed
/// assert!(plan.peak() > parameters);
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    of: Planned,
    count: Arc<Mutex<Count>>,
}

/// Whose memory is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planned {
    /// A CPU of so many threads.
    Cpu { threads: usize },
    /// A CUDA device.
    Cuda,
}

#[derive(Debug, Default)]
struct Count {
    live: BytesByKind,
    peak: usize,
    kept: BytesByKind,
}

impl Plan {
    /// A plan of a CPU of `threads` threads.
    ///
    /// # Errors
    /// [`Error::Usage`] for 0 threads.
    pub fn new(threads: usize) -> Result<Self> {
        if threads == 0 {
            return Err(Error::usage("threads: expected 1 or more, found 0"));
        }
        Ok(Self { of: Planned::Cpu { threads }, count: Arc::default() })
    }

    /// A plan of a CUDA device, ids and targets among what it holds; none need be there.
    pub fn cuda() -> Self {
        Self { of: Planned::Cuda, count: Arc::default() }
    }

    /// Bytes in buffers now.
    pub fn live(&self) -> BytesByKind {
        lock(&self.count).live
    }

    /// The most bytes in buffers at once.
    pub fn peak(&self) -> usize {
        lock(&self.count).peak
    }

    /// Bytes in buffers when a loss was last differentiated: what the forward left for the backward.
    pub fn kept(&self) -> BytesByKind {
        lock(&self.count).kept
    }

    fn take(&self, kind: BufferKind, len: usize) -> Result<PlanBuffer> {
        let len_held = if self.of == Planned::Cuda { len } else { cpu::size_class(len) };
        let bytes = len_held.saturating_mul(size_of::<f32>());
        let mut count = lock(&self.count);
        let total = count.live.iter().try_fold(bytes, |sum, &x| sum.checked_add(x));
        let Some(total) = total.filter(|&total| total <= isize::MAX as usize) else {
            return Err(Error::usage(
                "plan: more bytes than any machine can address; make the batch or the model smaller",
            ));
        };
        count.live[kind as usize] += bytes;
        count.peak = count.peak.max(total);
        Ok(PlanBuffer { len, bytes, kind, count: Arc::clone(&self.count) })
    }

    /// Lengths of the buffers that the operation takes, has at once and gives back at its end.
    fn scratch(&self, operation: &Operation<'_, PlanBuffer, Option<PlanBuffer>>) -> Result<Vec<usize>> {
        match self.of {
            Planned::Cpu { threads } => cpu::scratch(threads, operation, |buffer| buffer.len),
            Planned::Cuda => cuda::scratch(operation, |buffer| buffer.len),
        }
    }

    /// Space that an operation takes all at once and gives back at its end.
    fn pass(&self, lens: &[usize]) -> Result<()> {
        let held: Vec<_> = lens.iter().map(|&len| self.take(BufferKind::Other, len)).collect::<Result<_>>()?;
        drop(held);
        Ok(())
    }
}

/// A buffer without numbers.
#[derive(Debug)]
pub struct PlanBuffer {
    len: usize,
    bytes: usize,
    kind: BufferKind,
    count: Arc<Mutex<Count>>,
}

impl PlanBuffer {
    /// The buffer is written by an operation of that kind.
    fn is(&mut self, kind: BufferKind) {
        let mut count = lock(&self.count);
        count.live[self.kind as usize] -= self.bytes;
        count.live[kind as usize] += self.bytes;
        self.kind = kind;
    }
}

impl Drop for PlanBuffer {
    fn drop(&mut self) {
        lock(&self.count).live[self.kind as usize] -= self.bytes;
    }
}

fn lock(count: &Mutex<Count>) -> MutexGuard<'_, Count> {
    count.lock().unwrap_or_else(PoisonError::into_inner)
}
