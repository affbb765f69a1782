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
pub(crate) mod room;
mod rows;

pub use attention::{AttentionGradients, AttentionInputs, AttentionOp, Span};
pub use memory::{Boundaries, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
pub use rows::{MoveRows, Place};
pub use titans_kernel::ops::dropout::DropMask;

use crate::error::Result;
use titans_kernel::Store;
use titans_kernel::arch::{Simd, SimdScalar};

/// Target of a row that has none: the row's loss and gradient are 0.
pub const IGNORE: u32 = u32::MAX;

/// Sizes of a linear map of `rows` row vectors.
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

/// One step of AdamW with decoupled weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled decay, times the learning rate; 0 for vectors and gates.
    pub weight_decay: f64,
    /// The gradient is multiplied by this first (global-norm clip, accumulation).
    pub gradient_scale: f64,
    /// This step's number, from 1, for the bias corrections.
    pub step: u64,
}

/// A machine that holds buffers and runs the operations.
pub trait Device: Send + Sync + 'static {
    /// The number it computes with.
    type Elem: SimdScalar;
    /// Numbers on the device. Dropping gives the space back (to a pool, if the device keeps one).
    type Buffer: Send + Sync + std::fmt::Debug;
    /// `u32`s on the device: token ids, targets, masks.
    type Indices: Send + Sync + std::fmt::Debug;

    /// For people and logs, e.g. `cpu: 2 threads, avx512`.
    fn describe(&self) -> String;
    /// The arithmetic of streams, which run on this machine's processor whatever the device is.
    fn arithmetic(&self) -> Simd {
        Simd::best()
    }

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
    /// `y = x` for buffers of one length.
    fn copy(&self, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// Every element becomes `value`.
    fn fill(&self, value: f64, x: &mut Self::Buffer) -> Result<()>;

    // Element by element; all buffers of one length.

    /// `y = a + b`.
    fn add(&self, a: &Self::Buffer, b: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// `y += scale · x`.
    fn add_scaled(&self, scale: f64, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// `y = silu(x) = x σ(x)`.
    fn silu(&self, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// Backward of [`Device::silu`].
    fn silu_vjp(&self, x: &Self::Buffer, d_y: &Self::Buffer, d_x: &mut Self::Buffer) -> Result<()>;
    /// `y = a ∘ silu(g)`: the gate of SwiGLU and of the mixer's output.
    fn silu_gate(&self, a: &Self::Buffer, g: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// Backward of [`Device::silu_gate`].
    fn silu_gate_vjp(
        &self,
        a: &Self::Buffer,
        g: &Self::Buffer,
        d_y: &Self::Buffer,
        d_a: &mut Self::Buffer,
        d_g: &mut Self::Buffer,
    ) -> Result<()>;

    /// `y = a ∘ σ(g)`.
    fn sigmoid_gate(&self, a: &Self::Buffer, g: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// Backward of [`Device::sigmoid_gate`].
    fn sigmoid_gate_vjp(
        &self,
        a: &Self::Buffer,
        g: &Self::Buffer,
        d_y: &Self::Buffer,
        d_a: &mut Self::Buffer,
        d_g: &mut Self::Buffer,
    ) -> Result<()>;
    /// `y = x / (1 − P)` where the mask keeps, else 0; its backward is itself, of the cotangent. Every device has the mask
    /// to the bit.
    fn dropout(&self, mask: &DropMask, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;

    // Maps of rows.

    /// Copies or adds rows from their places in `x` to theirs in `y`; all other rows of `y` stay. See [`MoveRows`].
    fn move_rows(&self, op: &MoveRows, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// `y = x W + bias`, rows of `inputs` to rows of `outputs`.
    fn linear(
        &self,
        dims: LinearDims,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
    ) -> Result<()>;
    /// Backward of [`Device::linear`]: `d_x` (on request, set or added to), `d_w` += and `d_bias` += (on request).
    fn linear_vjp(
        &self,
        dims: LinearDims,
        x: &Self::Buffer,
        w: &Self::Buffer,
        d_y: &Self::Buffer,
        gradients: LinearGradients<'_, Self::Buffer>,
    ) -> Result<()>;
    /// `y = x / rms(x) ∘ weight`, rms over rows of `width` (the weight's length), eps 1e-6.
    fn rms_norm(&self, width: usize, x: &Self::Buffer, weight: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// Backward of [`Device::rms_norm`]: `d_x`, and `d_weight` +=.
    fn rms_norm_vjp(
        &self,
        width: usize,
        x: &Self::Buffer,
        weight: &Self::Buffer,
        d_y: &Self::Buffer,
        d_x: &mut Self::Buffer,
        d_weight: &mut Self::Buffer,
    ) -> Result<()>;
    /// `y = x / sqrt(‖x‖² + 1e-6)` over rows of `width`.
    fn l2_norm(&self, width: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// Backward of [`Device::l2_norm`].
    fn l2_norm_vjp(&self, width: usize, x: &Self::Buffer, d_y: &Self::Buffer, d_x: &mut Self::Buffer) -> Result<()>;

    // Over time.

    /// Causal depth-wise convolution: `y[b,t,c] = bias[c] + Σ_j w[c,j] x[b, t − width + 1 + j, c]`; tokens before the
    /// first come from `tail` `[batch, width − 1, channels]` (zeros without one).
    fn conv(
        &self,
        dims: ConvDims,
        x: &Self::Buffer,
        tail: Option<&Self::Buffer>,
        w: &Self::Buffer,
        bias: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()>;
    /// Backward of [`Device::conv`]: `d_x`, `d_w` +=, `d_bias` +=. The tail is a constant.
    fn conv_vjp(
        &self,
        dims: ConvDims,
        x: &Self::Buffer,
        tail: Option<&Self::Buffer>,
        w: &Self::Buffer,
        d_y: &Self::Buffer,
        gradients: ConvGradients<'_, Self::Buffer>,
    ) -> Result<()>;
    /// The last `width − 1` tokens of `tail` followed by `x`: the tail of the next segment.
    fn conv_tail(
        &self,
        dims: ConvDims,
        x: &Self::Buffer,
        tail: Option<&Self::Buffer>,
        next: &mut Self::Buffer,
    ) -> Result<()>;

    /// Attention of every query to the keys in its reach (`docs/MATH.md` section 6): `y [batch, time, heads, width]`, and
    /// for the backward `log_sum [batch, time, heads]`, the logarithm of each softmax's denominator.
    fn attention(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &mut Self::Buffer,
        log_sum: Option<&mut Self::Buffer>,
    ) -> Result<()>;
    /// Backward of [`Device::attention`] from its output `y` and its `log_sum`.
    fn attention_vjp(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &Self::Buffer,
        log_sum: &Self::Buffer,
        d_y: &Self::Buffer,
        gradients: AttentionGradients<'_, Self>,
    ) -> Result<()>;

    // The memory.

    /// Gates from logits, `[rows, 3, heads]`: `y[r,g,h] = scale[g] σ(x[r,g,h])` for g = α, θ, η.
    fn gates(&self, heads: usize, scale: [f64; 3], x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// Backward of [`Device::gates`], from the output `y`.
    fn gates_vjp(
        &self,
        heads: usize,
        scale: [f64; 3],
        y: &Self::Buffer,
        d_y: &Self::Buffer,
        d_x: &mut Self::Buffer,
    ) -> Result<()>;
    /// The state that every sequence starts with: weights `w0 [heads, P]`, momentum 0, to `[batch, heads, 2 P]`.
    fn memory_start(&self, batch: usize, heads: usize, w0: &Self::Buffer, state: &mut Self::Buffer) -> Result<()>;
    /// Backward of [`Device::memory_start`]: `d_w0` += the sum over the batch.
    fn memory_start_vjp(
        &self,
        batch: usize,
        heads: usize,
        d_state: &Self::Buffer,
        d_w0: &mut Self::Buffer,
    ) -> Result<()>;
    /// Writes and reads the memories (paper, equations 9 to 18; `titans_kernel::memory`). Returns how many tokens'
    /// gradients were clipped, 0 where no clip is configured.
    fn memory(&self, op: &MemoryOp, inputs: MemoryInputs<'_, Self>, outputs: MemoryOutputs<'_, Self>) -> Result<u64>;
    /// Backward of [`Device::memory`] from its boundaries and the cotangents of `y` and of the final state.
    fn memory_vjp(
        &self,
        op: &MemoryOp,
        inputs: MemoryInputs<'_, Self>,
        boundaries: &Self::Buffer,
        d_y: Option<&Self::Buffer>,
        d_final: Option<&Self::Buffer>,
        gradients: MemoryGradients<'_, Self>,
    ) -> Result<()>;

    // Ends of the model.

    /// `y[r] = table[ids[r]]`, rows of `width`; an id beyond the table is an error.
    fn embedding(&self, width: usize, ids: &Self::Indices, table: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
    /// Backward of [`Device::embedding`]: `d_table` +=.
    fn embedding_vjp(
        &self,
        width: usize,
        ids: &Self::Indices,
        d_y: &Self::Buffer,
        d_table: &mut Self::Buffer,
    ) -> Result<()>;
    /// `losses[r] = −log softmax(logits[r])[targets[r]]` in nats, 0 for [`IGNORE`].
    fn cross_entropy(
        &self,
        classes: usize,
        logits: &Self::Buffer,
        targets: &Self::Indices,
        losses: &mut Self::Buffer,
    ) -> Result<()>;
    /// `d_logits = scale · (softmax − one-hot)`, 0 for ignored rows.
    fn cross_entropy_vjp(
        &self,
        classes: usize,
        logits: &Self::Buffer,
        targets: &Self::Indices,
        scale: f64,
        d_logits: &mut Self::Buffer,
    ) -> Result<()>;

    /// `losses[r] = mean_c (x[r, c] − target[r, c])²` over rows of `width`.
    fn squared_error(
        &self,
        width: usize,
        x: &Self::Buffer,
        target: &Self::Buffer,
        losses: &mut Self::Buffer,
    ) -> Result<()>;
    /// `d_x = scale · 2 (x − target) / width`.
    fn squared_error_vjp(
        &self,
        width: usize,
        x: &Self::Buffer,
        target: &Self::Buffer,
        scale: f64,
        d_x: &mut Self::Buffer,
    ) -> Result<()>;

    // Training.

    /// `total[0] += Σ x²`, in a fixed order.
    fn sum_squares(&self, x: &Self::Buffer, total: &mut Self::Buffer) -> Result<()>;
    /// `total[0] += Σ x`, in a fixed order.
    fn sum(&self, x: &Self::Buffer, total: &mut Self::Buffer) -> Result<()>;
    /// One AdamW step on a parameter and its two moments.
    fn adamw(
        &self,
        step: &AdamW,
        gradient: &Self::Buffer,
        parameter: &mut Self::Buffer,
        moment1: &mut Self::Buffer,
        moment2: &mut Self::Buffer,
    ) -> Result<()>;
}
