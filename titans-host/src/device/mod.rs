//! The list of operations that is the contract between models and machines.
//!
//! Buffers live on the device and cross only through [`Device::upload`] and [`Device::download`]; operations are
//! enqueued in order and may still run when a call returns. Models, the tape and training are written once against
//! [`Device`] and never name a device.
//!
//! Conventions, for every operation: activations are row-major and token-major (`[batch, time, …]`); outputs and
//! gradients of activations are overwritten; gradients of parameters (named `d_…` with "+=" in their description)
//! are added to. A `vjp` takes the operation's inputs and the cotangent of its output.

mod attention;
pub mod cpu;
pub mod cuda;
mod memory;
mod operation;
mod optimiser;
pub mod plan;
mod repeat;
pub(crate) mod room;
mod rows;
mod segments;
mod usage;

pub use attention::{AttentionGradients, AttentionInputs, AttentionOp, Span};
pub use memory::{Boundaries, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
pub use operation::{Operation, OperationKind};
pub use optimiser::{AdamW, Updates};
pub use repeat::{ClippedBy, RepeatedStep};
pub(crate) use rows::next_parts;
pub use rows::{Cut, MoveRows, PARTS, Place};
pub use segments::{SegmentsGradients, SegmentsInputs, SegmentsMade, SegmentsOp, SegmentsWeights};
pub use titans_kernel::ops::dropout::DropMask;
pub use usage::{MemoryUse, PoolUsage};

use crate::error::Result;
use operation::{methods, operand, operations, returned};
use titans_kernel::Store;
use titans_kernel::arch::{Simd, SimdScalar};

pub use titans_kernel::ops::cross_entropy::IGNORE;

/// Sizes of a linear map of `rows` row vectors.
///
/// ```
/// use titans_host::device::{Device, LinearDims, cpu::Cpu};
///
/// let cpu = Cpu::<f32>::new(Some(1))?;
/// let (x, w, mut y) = (cpu.upload(&[1.0, 2.0])?, cpu.upload(&[1.0, 0.0, 0.0, 3.0])?, cpu.zeros(2)?);
/// let dims = LinearDims { rows: 1, inputs: 2, outputs: 2, transposed: false };
/// cpu.linear(dims, &x, &w, None, &mut y)?;
/// assert_eq!(cpu.download(&y)?, [1.0, 6.0]); // x W
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearDims {
    /// Row vectors.
    pub rows: usize,
    /// Width of x.
    pub inputs: usize,
    /// Width of y.
    pub outputs: usize,
    /// The weight is stored `[outputs, inputs]` (a head tied to its embedding) instead of `[inputs, outputs]`.
    pub transposed: bool,
}

/// Where the gradient of an input goes.
#[derive(Debug)]
pub enum InputGradient<'a, B: ?Sized> {
    /// In the place of what is there.
    Set(&'a mut B),
    /// Added to what is there; on the CPU as if the sums had begun with it.
    Add(&'a mut B),
}

impl<'a, B: ?Sized> InputGradient<'a, B> {
    /// What the product does, and the buffer.
    pub(crate) fn parts(self) -> (Store, &'a mut B) {
        match self {
            Self::Set(d_x) => (Store::Set, d_x),
            Self::Add(d_x) => (Store::Add, d_x),
        }
    }
}

/// Where the gradients of a linear map go.
#[derive(Debug)]
pub struct LinearGradients<'a, B: ?Sized> {
    /// Of x, on request.
    pub d_x: Option<InputGradient<'a, B>>,
    /// Of the weight, added to.
    pub d_w: &'a mut B,
    /// Of the bias, on request; added to.
    pub d_bias: Option<&'a mut B>,
}

/// Where the gradients of a convolution go.
#[derive(Debug)]
pub struct ConvGradients<'a, B: ?Sized> {
    /// Of x, overwritten.
    pub d_x: &'a mut B,
    /// Of the taps, added to.
    pub d_w: &'a mut B,
    /// Of the bias, added to.
    pub d_bias: &'a mut B,
    /// Of the tail, on request; overwritten.
    pub d_tail: Option<&'a mut B>,
}

/// Sizes of a causal depth-wise convolution over `[batch, time, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvDims {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub time: usize,
    /// Channels, each with its own filter.
    pub channels: usize,
    /// Taps of a filter; the last one meets the current token.
    pub width: usize,
}

impl ConvDims {
    /// Rows a sequence has in a tail of `len` elements: at least as many as the taps before the last one.
    ///
    /// # Errors
    /// [`Error::Shape`](titans_kernel::Error::Shape) when these are no whole rows, or too few.
    pub(crate) fn tail_rows(&self, len: usize) -> titans_kernel::Result<usize> {
        let (behind, row) = (self.width.saturating_sub(1), self.batch.saturating_mul(self.channels));
        let rows = len.checked_div(row).unwrap_or(0).max(behind);
        titans_kernel::error::expect_len("tail", row.saturating_mul(rows), len)?;
        Ok(rows)
    }
}

/// A machine that holds buffers and runs the operations.
///
/// It has one method for whatever computes, [`Device::run`], so that a device is one match over [`Operation`], and one
/// that times, counts or forwards another is one method. The methods with an operation's name only write the value.
/// All else manages: names, memory, copies to and from the host, waiting, and what a caller may ask of.
///
/// ```
/// use titans_host::device::Device;
/// use titans_host::device::cpu::Cpu;
///
/// /// Written once, for every device.
/// fn twice<D: Device>(device: &D, x: &D::Buffer) -> titans_host::Result<D::Buffer> {
///     let mut y = device.alloc(device.len(x))?;
///     device.add(x, x, &mut y)?; // writes `Operation::Add { a: x, b: x, y: &mut y }` and runs it
///     Ok(y)
/// }
///
/// let cpu = Cpu::<f64>::new(Some(1))?;
/// let y = twice(&cpu, &cpu.upload(&[1.0, 2.5])?)?;
/// assert_eq!(cpu.download(&y)?, [2.0, 5.0]);
/// # Ok::<(), titans_host::Error>(())
/// ```
pub trait Device: Send + Sync + 'static {
    /// The number it computes with.
    type Elem: SimdScalar;
    /// Numbers on the device. Dropping gives the space back (to a pool, if the device keeps one).
    type Buffer: Send + Sync + std::fmt::Debug;
    /// `u32`s on the device: token ids, targets, masks.
    type Indices: Send + Sync + std::fmt::Debug;
    /// What it keeps for the owner of steps that it [repeats](Device::repeat).
    type RecordedSteps: Default + Send + Sync + std::fmt::Debug;

    /// For people and logs, e.g. `cpu: 2 threads, avx512`.
    fn describe(&self) -> String;
    /// The arithmetic of streams, which run on this machine's processor whatever the device is.
    fn arithmetic(&self) -> Simd;
    /// How its memory is used, where it has one of its own and can be asked.
    fn memory_use(&self) -> Option<MemoryUse>;

    // Movement.

    /// `len` elements of unspecified content.
    fn alloc(&self, len: usize) -> Result<Self::Buffer>;
    /// `len` zeros.
    fn zeros(&self, len: usize) -> Result<Self::Buffer>;
    /// Elements of a buffer.
    fn len(&self, x: &Self::Buffer) -> usize;
    /// Copies from the host.
    fn upload(&self, x: &[Self::Elem]) -> Result<Self::Buffer>;
    /// Copies from the host into a buffer of the same length.
    fn write(&self, x: &[Self::Elem], out: &mut Self::Buffer) -> Result<()>;
    /// Copies `u32`s from the host.
    fn upload_indices(&self, x: &[u32]) -> Result<Self::Indices>;
    /// The same into indices that are not needed any more, whatever their length.
    fn write_indices(&self, x: &[u32], out: &mut Self::Indices) -> Result<()>;
    /// Waits for all enqueued operations and copies to the host.
    fn download(&self, x: &Self::Buffer) -> Result<Vec<Self::Elem>>;
    /// The same into the caller's space, of the buffer's length.
    fn read(&self, x: &Self::Buffer, out: &mut [Self::Elem]) -> Result<()>;
    /// Waits for all enqueued operations.
    fn synchronize(&self) -> Result<()>;

    // What it can do.

    /// Whether [`Device::ask_vjp`] works from the state at the start, so that no boundary need be kept for it.
    fn asks_state(&self, op: &MemoryOp) -> bool;
    /// Whether [`Device::segments`] is there for walks of these sizes.
    fn walks_segments(&self, op: &SegmentsOp) -> bool;

    // The operations.

    /// Runs one operation, or enqueues it. Returns how many tokens' gradients a [`Operation::Memory`] clipped, and 0
    /// for every other.
    ///
    /// # Errors
    /// A buffer whose length does not fit the operation, by name; what the device reports.
    fn run(&self, operation: Operation<'_, Self::Buffer, Self::Indices>) -> Result<u64>;

    operations!(methods);

    // Steps that are repeated. A device may record what one enqueues.

    /// Whether [`Device::repeat`] and [`Device::adamw_clipped`] are there.
    fn repeats(&self) -> bool {
        false
    }

    /// Does `work`, a training step, or has it done by what was recorded of one before: then `work` does not run, and
    /// buffers have the bits that it would have left. It may also run more than once. `kept` is the step's owner's.
    ///
    /// # Errors
    /// What `work` and the device report.
    fn repeat(
        &self,
        _kept: &mut Self::RecordedSteps,
        _step: &RepeatedStep<'_, Self::Indices>,
        work: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        work()
    }
}
