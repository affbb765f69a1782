//! MAC's walk over the segments of its sequences as one operation, for devices that have it: what the memory says of a
//! segment, attention to it, the writes of what attention gives, segment after segment (residual wiring, values and
//! gates from behind attention, answers after the writes).

use super::{AttentionOp, MemoryOp, Span};
use crate::error::{Error, Result};

/// Sizes of a walk.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentsOp {
    /// The memories, over all tokens.
    pub memory: MemoryOp,
    /// Attention, over all tokens, within segments; no persistent keys.
    pub attention: AttentionOp,
    /// Width of the stream.
    pub width: usize,
    /// Taps of the values' convolution.
    pub taps: usize,
    /// The largest α, θ and η.
    pub gates: [f64; 3],
}

macro_rules! parts {
    ($(#[$doc:meta])* $name:ident, $count:literal { $($(#[$of:meta])* $part:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T> { $($(#[$of])* pub $part: T),+ }

        impl<T> $name<T> {
            /// In their order.
            pub fn array(self) -> [T; $count] {
                [$(self.$part),+]
            }

            /// From their order.
            pub fn of([$($part),+]: [T; $count]) -> Self {
                Self { $($part),+ }
            }

            /// The same parts of something else.
            ///
            /// # Errors
            /// What `part` says.
            pub fn try_map<U>(self, mut part: impl FnMut(T) -> Result<U>) -> Result<$name<U>> {
                Ok($name { $($part: part(self.$part)?),+ })
            }

            /// Each part borrowed.
            pub fn each_ref(&self) -> $name<&T> {
                $name { $($part: &self.$part),+ }
            }

            /// Each part borrowed, to change.
            pub fn each_mut(&mut self) -> $name<&mut T> {
                $name { $($part: &mut self.$part),+ }
            }
        }
    };
}

parts! {
    /// The parameters of a walk.
    SegmentsWeights, 12 {
        /// Of what the memories say of the context, head by head.
        context_norm,
        /// From there to the context `[inner, width]`.
        context_out,
        /// Attention's keys `[width, kv]`.
        k,
        /// Attention's values `[width, kv]`.
        v,
        /// Of what attention gives, head by head.
        read_norm,
        /// From attention to the stream `[inner, width]`.
        out,
        /// Of the rows that the memories are fed.
        memory_norm,
        /// The memories' values `[width, inner]`.
        values,
        /// Taps of their convolution `[inner, taps]`.
        taps,
        /// Its biases.
        taps_bias,
        /// To the logits of the gates `[width, 3 heads]`.
        gates,
        /// Their biases.
        gates_bias,
    }
}

parts! {
    /// What a walk reads that changes from step to step: `[batch, time, …]` each, but for the state.
    SegmentsInputs, 9 {
        /// The stream.
        x,
        /// Attention's queries, keys and values.
        q,
        /// Keys.
        k,
        /// Values.
        v,
        /// Logits of attention's gate.
        gate,
        /// Queries of the context, normalised.
        context_q,
        /// The memories' queries, normalised.
        memory_q,
        /// Their keys, normalised.
        memory_k,
        /// The memories at the start `[batch, heads, 2 P]`.
        state,
    }
}

parts! {
    /// What a walk makes: the first four are for others, the rest is for its backward.
    SegmentsMade, 15 {
        /// The stream with what attention adds.
        stream,
        /// Its norm, which the memories are fed.
        y,
        /// The memories' answers.
        answers,
        /// The memories at the end.
        state,
        /// What the memories say of the context, and its norm.
        h,
        /// The norm.
        normed,
        /// Keys and values of the context.
        context,
        /// Rotated queries.
        q,
        /// Rotated keys.
        k,
        /// What attention gives, and the logarithms of its sums.
        attended,
        /// The logarithms.
        log_sum,
        /// Attention's norm, gated.
        read,
        /// The values before their convolution, and the gates' logits.
        fed,
        /// The memories' values.
        v,
        /// Their gates.
        gates,
    }
}

impl SegmentsOp {
    /// Tokens of a segment, the last of which may be shorter.
    pub fn segment(&self) -> usize {
        let (Span::Window(rows) | Span::Segment(rows)) = self.attention.span;
        rows.clamp(1, self.memory.time.max(1))
    }

    /// Tokens of all sequences.
    pub fn rows(&self) -> usize {
        self.memory.batch.saturating_mul(self.memory.time)
    }

    /// Numbers of all heads.
    pub fn inner(&self) -> usize {
        self.attention.heads.saturating_mul(self.attention.width)
    }

    /// Numbers of attention's keys, and values.
    pub fn kv(&self) -> usize {
        self.attention.kv_heads.saturating_mul(self.attention.width)
    }

    /// Logits of gates.
    pub fn logits(&self) -> usize {
        self.memory.heads.saturating_mul(3)
    }

    /// Lengths of the parameters.
    pub fn weights_len(&self) -> SegmentsWeights<usize> {
        let (width, inner, kv, logits) = (self.width, self.inner(), self.kv(), self.logits());
        SegmentsWeights {
            context_norm: self.memory.spec.key_width(),
            context_out: inner * width,
            k: width * kv,
            v: width * kv,
            read_norm: self.attention.width,
            out: inner * width,
            memory_norm: width,
            values: width * inner,
            taps: inner * self.taps,
            taps_bias: inner,
            gates: width * logits,
            gates_bias: logits,
        }
    }

    /// Lengths of what is read.
    pub fn inputs_len(&self) -> SegmentsInputs<usize> {
        let (rows, inner, kv) = (self.rows(), self.inner(), self.kv());
        let state = self.memory.state_len();
        SegmentsInputs::of([
            rows * self.width,
            rows * inner,
            rows * kv,
            rows * kv,
            rows * inner,
            rows * inner,
            rows * inner,
            rows * inner,
            state,
        ])
    }

    /// Lengths of what is made.
    pub fn made_len(&self) -> SegmentsMade<usize> {
        let (rows, inner, kv, logits) = (self.rows(), self.inner(), self.kv(), self.logits());
        let turned = usize::from(self.attention.rotary.is_some());
        SegmentsMade {
            stream: rows * self.width,
            y: rows * self.width,
            answers: rows * inner,
            state: self.memory.state_len(),
            h: rows * inner,
            normed: rows * inner,
            context: rows * 2 * kv,
            q: turned * rows * inner,
            k: turned * rows * kv,
            attended: rows * inner,
            log_sum: rows * self.attention.heads,
            read: rows * inner,
            fed: rows * (inner + logits),
            v: rows * inner,
            gates: rows * logits,
        }
    }
}

/// What the backward of a walk is given and gives: every gradient of an input is overwritten, those of parameters are
/// added to.
#[derive(Debug)]
pub struct SegmentsGradients<'a, B> {
    /// The cotangent of the stream, which becomes that of the stream before.
    pub stream: &'a mut B,
    /// The cotangent of its norm, which is worked in.
    pub y: &'a mut B,
    /// The cotangent of the answers.
    pub answers: &'a B,
    /// Of the inputs behind the stream, in their order.
    pub inputs: [&'a mut B; 8],
    /// Of the parameters.
    pub weights: SegmentsWeights<&'a mut B>,
}

/// The error of a device that has no such walk.
pub(super) fn no_walk(describe: &str) -> Error {
    Error::usage(format!("{describe}: no walk over segments as one operation; ask walks_segments first"))
}
