//! Every operation, once: a variant of [`Operation`], which a device runs, and a method of its name in
//! [`Device`](super::Device).

use super::{
    AdamW, AttentionGradients, AttentionInputs, AttentionOp, ClippedBy, ConvDims, ConvGradients, Cut, DropMask,
    InputGradient, LinearDims, LinearGradients, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs, MoveRows,
    PARTS, SegmentsGradients, SegmentsInputs, SegmentsMade, SegmentsOp, SegmentsWeights, Updates,
};
use titans_kernel::choice;

/// The type of an operand: of a buffer that is read or written, one that may be left out, several of them, or what the
/// word says.
macro_rules! operand {
    ($l:lifetime, $b:ty, $i:ty, read) => { &$l $b };
    ($l:lifetime, $b:ty, $i:ty, write) => { &$l mut $b };
    ($l:lifetime, $b:ty, $i:ty, may_read) => { Option<&$l $b> };
    ($l:lifetime, $b:ty, $i:ty, may_write) => { Option<&$l mut $b> };
    ($l:lifetime, $b:ty, $i:ty, read_all) => { &$l [$b] };
    ($l:lifetime, $b:ty, $i:ty, write_all) => { &$l mut [$b] };
    ($l:lifetime, $b:ty, $i:ty, read_parts) => { [Option<&$l $b>; PARTS] };
    ($l:lifetime, $b:ty, $i:ty, write_parts) => { [Option<&$l mut $b>; PARTS] };
    ($l:lifetime, $b:ty, $i:ty, indices) => { &$l $i };
    ($l:lifetime, $b:ty, $i:ty, scale_of_gates) => { [f64; 3] };
    ($l:lifetime, $b:ty, $i:ty, usize) => { usize };
    ($l:lifetime, $b:ty, $i:ty, f64) => { f64 };
    ($l:lifetime, $b:ty, $i:ty, LinearDims) => { LinearDims };
    ($l:lifetime, $b:ty, $i:ty, ConvDims) => { ConvDims };
    ($l:lifetime, $b:ty, $i:ty, InputGradient) => { InputGradient<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, ClippedBy) => { ClippedBy<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, Updates) => { Updates<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, MemoryInputs) => { MemoryInputs<$l, $b, $i> };
    ($l:lifetime, $b:ty, $i:ty, LinearGradients) => { LinearGradients<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, ConvGradients) => { ConvGradients<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, AttentionInputs) => { AttentionInputs<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, AttentionGradients) => { AttentionGradients<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, MemoryOutputs) => { MemoryOutputs<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, MemoryGradients) => { MemoryGradients<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, SegmentsInputs) => { SegmentsInputs<&$l $b> };
    ($l:lifetime, $b:ty, $i:ty, SegmentsWeights) => { SegmentsWeights<&$l $b> };
    ($l:lifetime, $b:ty, $i:ty, read_made) => { SegmentsMade<&$l $b> };
    ($l:lifetime, $b:ty, $i:ty, write_made) => { SegmentsMade<&$l mut $b> };
    ($l:lifetime, $b:ty, $i:ty, SegmentsGradients) => { SegmentsGradients<$l, $b> };
    ($l:lifetime, $b:ty, $i:ty, $sizes:ident) => { &$l $sizes };
}

/// What an operation's method returns of the number that [`Device::run`] does.
macro_rules! returned {
    () => {
        ()
    };
    ($out:ident) => {
        $out
    };
    ($result:expr;) => {
        $result.map(drop)
    };
    ($result:expr; $out:ident) => {
        $result
    };
}

/// The list of operations, given to another macro: kind, name, variant, operands, and what is returned if not nothing.
macro_rules! operations {
    ($then:ident) => { $then! {
        /// `y = x` for buffers of one length.
        Elementwise copy Copy { x: read, y: write };
        /// Every element becomes `value`.
        Elementwise fill Fill { value: f64, x: write };

        // Element by element; all buffers of one length.

        /// `y = a + b`.
        Elementwise add Add { a: read, b: read, y: write };
        /// `y += scale · x`.
        Elementwise add_scaled AddScaled { scale: f64, x: read, y: write };
        /// `y = silu(x) = x σ(x)`.
        Elementwise silu Silu { x: read, y: write };
        /// Backward of [`Device::silu`](crate::device::Device::silu): `d_x = d_y ∘ silu′(x)`.
        Elementwise silu_vjp SiluVjp { x: read, d_y: read, d_x: write };
        /// `y = a ∘ silu(g)`: the gate of SwiGLU and of the mixer's output.
        Elementwise silu_gate SiluGate { a: read, g: read, y: write };
        /// Backward of [`Device::silu_gate`]: `d_a = d_y ∘ silu(g)`, `d_g = d_y ∘ a ∘ silu′(g)`.
        Elementwise silu_gate_vjp SiluGateVjp { a: read, g: read, d_y: read, d_a: write, d_g: write };
        /// `y = a ∘ σ(g)`.
        Elementwise sigmoid_gate SigmoidGate { a: read, g: read, y: write };
        /// Backward of [`Device::sigmoid_gate`]: `d_a = d_y ∘ σ(g)`, `d_g = d_y ∘ a ∘ σ(g) (1 − σ(g))`.
        Elementwise sigmoid_gate_vjp SigmoidGateVjp { a: read, g: read, d_y: read, d_a: write, d_g: write };
        /// `y = x / (1 − P)` where the mask keeps, else 0; its backward is itself, of the cotangent. Every device has
        /// the mask to the bit.
        Elementwise dropout Dropout { mask: DropMask, x: read, y: write };

        // Maps of rows.

        /// Copies or adds rows from their places in `x` to theirs in `y`; all other rows of `y` stay. See [`MoveRows`].
        Elementwise move_rows MoveRows { op: MoveRows, x: read, y: write };
        /// Copies the given ones of parts `first`, `first` + 1, … out of the whole that `cut` describes.
        Elementwise split Split { cut: Cut, first: usize, x: read, parts: write_parts };
        /// [`Device::split`]'s reverse: copies the given ones of parts `first`, `first` + 1, … to their places in `y`;
        /// rows of parts that are not given stay.
        Elementwise join Join { cut: Cut, first: usize, parts: read_parts, y: write };
        /// `y = x W + bias`, rows of `inputs` to rows of `outputs`.
        Linear linear Linear { dims: LinearDims, x: read, w: read, bias: may_read, y: write };
        /// Backward of [`Device::linear`]: `d_x = d_y Wᵀ` (on request, set or added to), `d_w += xᵀ d_y` and
        /// `d_bias += Σ_r d_y[r]` (on request).
        Linear linear_vjp LinearVjp { dims: LinearDims, x: read, w: read, d_y: read, gradients: LinearGradients };
        /// `y = x / rms(x) ∘ weight`, rms over rows of `width` (the weight's length), eps 1e-6.
        Norms rms_norm RmsNorm { width: usize, x: read, weight: read, y: write };
        /// Backward of [`Device::rms_norm`]: with ρ = 1 / rms(x) and e = `d_y ∘ weight`,
        /// `d_x = ρ (e − x ρ² (e·x) / width)`, `d_weight += Σ_r d_y ∘ x ρ`.
        Norms rms_norm_vjp RmsNormVjp { width: usize, x: read, weight: read, d_y: read, d_x: write, d_weight: write };
        /// `y = x / sqrt(‖x‖² + 1e-6)` over rows of `width`.
        Norms l2_norm L2Norm { width: usize, x: read, y: write };
        /// Backward of [`Device::l2_norm`]: with ρ the inverse norm, `d_x = ρ (d_y − x ρ² (d_y·x))`.
        Norms l2_norm_vjp L2NormVjp { width: usize, x: read, d_y: read, d_x: write };

        // Over time.

        /// Causal depth-wise convolution: `y[b,t,c] = bias[c] + Σ_j w[c,j] x[b, t − width + 1 + j, c]`; tokens before
        /// the first are the last ones of `tail` `[batch, width − 1 or more, channels]` (zeros without one).
        Convolution conv Conv { dims: ConvDims, x: read, tail: may_read, w: read, bias: read, y: write };
        /// Backward of [`Device::conv`]: `d_x[s] = Σ_j w[j] d_y[s + width − 1 − j]`, and on request `d_tail`, the same
        /// of the tokens before; `d_w[j] += Σ_t d_y[t] x[t − width + 1 + j]`, `d_bias += Σ_t d_y[t]`.
        Convolution conv_vjp ConvVjp {
            dims: ConvDims, x: read, tail: may_read, w: read, d_y: read, gradients: ConvGradients
        };
        /// The last `width − 1` tokens of `tail` `[batch, width − 1, channels]` followed by `x`: the tail of the next
        /// segment.
        Convolution conv_tail ConvTail { dims: ConvDims, x: read, tail: may_read, next: write };
        /// Attention of every query to the keys in its reach (`docs/MATH.md` section 6): `y [batch, time, heads,
        /// width]`, and for the backward `log_sum [batch, time, heads]`, the log-sum-exp of each softmax.
        Attention attention Attention { op: AttentionOp, inputs: AttentionInputs, y: write, log_sum: may_write };
        /// Backward of [`Device::attention`] from its output `y` and its `log_sum`: with S = q kᵀ / √c, P =
        /// e^(S − `log_sum`), `d_v = Pᵀ d_y`, `d_S = P ∘ (d_y vᵀ − d_y·y)`, `d_q = d_S k / √c`, `d_k = d_Sᵀ q / √c`.
        Attention attention_vjp AttentionVjp {
            op: AttentionOp, inputs: AttentionInputs, y: read, log_sum: read, d_y: read, gradients: AttentionGradients
        };

        // The memory.

        /// Gates from logits, `[rows, 3, heads]`: `y[r,g,h] = scale[g] σ(x[r,g,h])` for g = α, θ, η.
        Elementwise gates Gates { heads: usize, scale: scale_of_gates, x: read, y: write };
        /// Backward of [`Device::gates`], from the output `y`: `d_x = d_y ∘ y (1 − y / scale)`.
        Elementwise gates_vjp GatesVjp { heads: usize, scale: scale_of_gates, y: read, d_y: read, d_x: write };
        /// The state that every sequence starts with: weights `w0 [heads, P]`, momentum 0, to `[batch, heads, 2 P]`.
        Memory memory_start MemoryStart { batch: usize, heads: usize, w0: read, state: write };
        /// Backward of [`Device::memory_start`]: `d_w0[h] += Σ_b d_state[b, h]`, of the weights.
        Memory memory_start_vjp MemoryStartVjp { batch: usize, heads: usize, d_state: read, d_w0: write };
        /// Writes and reads the memories (paper, equations 9 to 18; `titans_kernel::memory`). Returns how many tokens'
        /// gradients were clipped, 0 where no clip is configured.
        Memory memory Memory { op: MemoryOp, inputs: MemoryInputs, outputs: MemoryOutputs } -> u64;
        /// Backward of [`Device::memory`] from its boundaries and the cotangents of `y` and of the final state
        /// (`docs/MATH.md` section 4).
        Memory memory_vjp MemoryVjp {
            op: MemoryOp, inputs: MemoryInputs, boundaries: read, d_y: may_read, d_final: may_read,
            gradients: MemoryGradients
        };
        /// Backward of a read-only [`Device::memory`] of one chunk from its boundary (or the state, where the device
        /// [asks it](Device::asks_state)): as y_t = M(q_t) by weights W that no token changes,
        /// `d_q[t] = (∂M/∂q)ᵀ d_y[t]` and, set or added to, `d_state`, of W `Σ_t (∂M/∂W)ᵀ d_y[t]`. Nothing reaches S,
        /// keys, values and gates.
        Memory ask_vjp AskVjp {
            op: MemoryOp, inputs: MemoryInputs, boundaries: read, d_y: read, d_q: write, d_state: InputGradient
        };
        /// MAC's walk over the segments of sequences, for devices that [have it](Device::walks_segments) for these
        /// sizes: an error of all others. `boundaries` for the backward ([`MemoryOp::boundaries_len`] of all tokens).
        Memory segments Segments {
            op: SegmentsOp, inputs: SegmentsInputs, weights: SegmentsWeights, made: write_made, boundaries: may_write
        };
        /// Backward of [`Device::segments`] from what it made, its steps' backwards from the last segment to the first.
        Memory segments_vjp SegmentsVjp {
            op: SegmentsOp, inputs: SegmentsInputs, weights: SegmentsWeights, made: read_made, boundaries: read,
            gradients: SegmentsGradients
        };

        // Ends of the model.

        /// `y[r] = table[ids[r]]`, rows of `width`; an id beyond the table is an error.
        Ends embedding Embedding { width: usize, ids: indices, table: read, y: write };
        /// Backward of [`Device::embedding`]: `d_table[ids[r]] += d_y[r]`.
        Ends embedding_vjp EmbeddingVjp { width: usize, ids: indices, d_y: read, d_table: write };
        /// `y[b] = mean_{t < lengths[b]} x[b, t]` of sequences of `time` rows of `width`; a length above `time` is an
        /// error, the mean of none 0.
        Ends pool Pool { time: usize, width: usize, lengths: indices, x: read, y: write };
        /// Backward of [`Device::pool`]: `d_x[b, t] = d_y[b] / lengths[b]`, 0 in what is behind a sequence's length.
        Ends pool_vjp PoolVjp { time: usize, width: usize, lengths: indices, d_y: read, d_x: write };
        /// `losses[r] = −log softmax(logits[r])[targets[r]]` in nats, 0 for [`IGNORE`](crate::device::IGNORE).
        Ends cross_entropy CrossEntropy { classes: usize, logits: read, targets: indices, losses: write };
        /// Backward of [`Device::cross_entropy`] for the cotangent `scale` of every loss:
        /// `d_logits = scale · (softmax − one-hot)`, 0 for ignored rows.
        Ends cross_entropy_vjp CrossEntropyVjp {
            classes: usize, logits: read, targets: indices, scale: f64, d_logits: write
        };
        /// `losses[r] = mean_c (x[r, c] − target[r, c])²` over rows of `width`.
        Ends squared_error SquaredError { width: usize, x: read, target: read, losses: write };
        /// Backward of [`Device::squared_error`] for the cotangent `scale` of every loss:
        /// `d_x = scale · 2 (x − target) / width`.
        Ends squared_error_vjp SquaredErrorVjp { width: usize, x: read, target: read, scale: f64, d_x: write };

        // Training.

        /// `total[0] += Σ x²`, in a fixed order.
        Optimiser sum_squares SumSquares { x: read, total: write };
        /// `total[0] += Σ x`, in a fixed order.
        Ends sum Sum { x: read, total: write };
        /// One AdamW step on a parameter and its two moments.
        Optimiser adamw AdamW { step: AdamW, gradient: read, parameter: write, moment1: write, moment2: write };
        /// Every element of all of them becomes 0.
        Elementwise clear_all ClearAll { xs: write_all };
        /// `total[0] += Σ x²` over all of them, in a fixed order.
        Optimiser sum_squares_all SumSquaresAll { xs: read_all, total: write };
        /// One AdamW step on every parameter. Only rates and decays differ.
        Optimiser adamw_all AdamWAll { updates: Updates };
        /// [`Device::adamw_all`] in a step that is [repeated](Device::repeat), with the gradients scaled to a norm of
        /// `by.clip` at the most, whatever scale `updates` name. Where the loss or the norm is not finite, nothing
        /// changes but the report. An error of devices that [repeat](Device::repeats) nothing.
        Optimiser adamw_clipped AdamWClipped { by: ClippedBy, updates: Updates };
    } };
}

macro_rules! declare {
    ($($(#[$doc:meta])* $kind:ident $name:ident $op:ident { $($arg:ident: $type:ident),* } $(-> $out:ident)?;)+) => {
        /// An operation with its operands: buffers `B` and indices `I` of a device. The method of
        /// [`Device`](super::Device) that has its name says what it does and what its operands are.
        ///
        /// ```
        /// use titans_host::device::cpu::Cpu;
        /// use titans_host::device::{Device, Operation, OperationKind};
        ///
        /// let cpu = Cpu::<f64>::new(Some(1))?;
        /// let (x, mut y) = (cpu.upload(&[2.0])?, cpu.upload(&[1.0])?);
        /// let operation = Operation::AddScaled { scale: 3.0, x: &x, y: &mut y };
        /// assert_eq!((operation.name(), operation.kind()), ("add_scaled", OperationKind::Elementwise));
        /// cpu.run(operation)?;
        /// assert_eq!(cpu.download(&y)?, [7.0]);
        /// # Ok::<(), titans_host::Error>(())
        /// ```
        #[allow(missing_docs)]
        pub enum Operation<'a, B, I> {
            $(#[doc = concat!("[`", stringify!($name), "`](super::Device::", stringify!($name), ").")]
            $op { $($arg: operand!('a, B, I, $type)),* },)+
        }

        impl<B, I> Operation<'_, B, I> {
            /// What it is to somebody who asks where the time goes.
            pub const fn kind(&self) -> OperationKind {
                match self {
                    $(Self::$op { .. } => OperationKind::$kind,)+
                }
            }

            /// The name of its method.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$op { .. } => stringify!($name),)+
                }
            }
        }
    };
}

operations!(declare);

impl<B, I> std::fmt::Debug for Operation<'_, B, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(self.name()).finish_non_exhaustive()
    }
}

/// Inside the trait [`Device`](super::Device): for every operation the method that runs it.
macro_rules! methods {
    ($($(#[$doc:meta])* $kind:ident $name:ident $op:ident { $($arg:ident: $type:ident),* } $(-> $out:ident)?;)+) => {
        $($(#[$doc])*
        fn $name(
            &self, $($arg: operand!('_, Self::Buffer, Self::Indices, $type)),*
        ) -> Result<returned!($($out)?)> {
            returned!(self.run(Operation::$op { $($arg),* }); $($out)?)
        })+
    };
}

pub(super) use {methods, operand, operations, returned};

choice! {
    /// Kinds of operations, as `titans bench train` reports their time; the byte of each is its place in the list.
    pub enum OperationKind: "kind of operation" {
        /// Linear maps.
        Linear = 0, "linear";
        /// Attention.
        Attention = 1, "attention";
        /// Memories.
        Memory = 2, "memory";
        /// Convolutions over time.
        Convolution = 3, "convolution";
        /// Norms of rows.
        Norms = 4, "norms";
        /// Element by element, gates, rows that move.
        Elementwise = 5, "elementwise";
        /// Embedding and losses.
        Ends = 6, "ends";
        /// The optimiser, and the sum for its clip.
        Optimiser = 7, "optimiser";
    }
}
