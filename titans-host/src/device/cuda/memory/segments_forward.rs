//! The forward of MAC's walk over segments: ten launches a segment.

use super::linear::LinearMemory;
use super::linear_forward::LinearOutputs;
use super::segments::{JoinedWeights, MadeBuffers, SegmentWalk, SegmentsForward, WalkPlace};
use super::space::Sizes;
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::compile::TILE;
use crate::device::cuda::product::{Matrix, args};
use crate::device::cuda::{Cuda, Driver};
use crate::device::{MemoryInputs, SegmentsInputs, SegmentsOp, SegmentsWeights};
use crate::error::Result;
use titans_kernel::error::expect_len;

impl<R: Driver> Cuda<R> {
    pub(in crate::device::cuda) fn segments_forward(
        &self,
        op: &SegmentsOp,
        inputs: SegmentsInputs<&DeviceBuffer<R>>,
        weights: SegmentsWeights<&DeviceBuffer<R>>,
        made: MadeBuffers<'_, R>,
        boundaries: Option<&DeviceBuffer<R>>,
    ) -> Result<()> {
        let walk = SegmentWalk { cuda: self, op, inputs, weights };
        walk.check(&made)?;
        if let Some(boundaries) = boundaries {
            expect_len("boundaries", op.memory.boundaries_len(), boundaries.len())?;
        }
        let SegmentsForward { joined, mut memory } = SegmentsForward::new(self, op, boundaries.is_some())?;
        walk.join(&joined)?;
        made.stream.copy_from(inputs.x)?;
        if op.attention.rotary.is_some() {
            let (heads, kv_heads) = (op.attention.heads, op.attention.kv_heads);
            self.rotate(1.0, &op.attention, [(heads, inputs.q, made.q), (kv_heads, inputs.k, made.k)], None)?;
        }
        let linear = LinearMemory { cuda: self, sizes: Sizes::new(&op.memory) };
        let given = MemoryInputs {
            k: inputs.memory_k,
            v: made.v,
            q: inputs.memory_q,
            gates: made.gates,
            state: inputs.state,
            mask: None,
        };
        let outputs = LinearOutputs { y: made.answers, surprise: None, state: Some(made.state), boundaries };
        for at in walk.places() {
            let start = if at.number == 0 { inputs.state } else { made.state };
            walk.attend(&made, &joined, at, start)?;
            walk.feed(&made, &joined, at)?;
            linear.forward_span(&mut memory, &given, &outputs, walk.pieces(at), start)?;
        }
        Ok(())
    }
}

impl<'w, R: Driver> SegmentWalk<'w, R> {
    /// The segment's rows of the stream, with what attention adds: h = M(q) by the state at the segment's start, the
    /// context's keys and values from its norm, attention to both, its norm, its gate and its map.
    fn attend(
        &self,
        made: &MadeBuffers<'w, R>,
        joined: &JoinedWeights<R>,
        at: WalkPlace,
        start: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (op, cuda, inputs, attention) = (self.op, self.cuda, &self.inputs, &self.op.attention);
        let (width, inner, kv, memory) = (op.width, op.inner(), op.kv(), &op.memory);
        let (h, normed) = (self.packed_view(made.h, at, inner), self.packed_view(made.normed, at, inner));
        let d = memory.spec.key_width();
        let sizes = args![memory.heads, at.rows, memory.time, d, memory.spec.state_len()];
        let given = args![inputs.context_q.from(at.from * inner), start, self.weights.context_norm, h, normed];
        let units = memory.batch * memory.heads * at.rows.div_ceil(TILE);
        cuda.launch_blocks("segment_ask", units, &[&sizes[..], given].concat())?;

        let context = Matrix::new(joined.context.view(), inner, 2 * kv);
        let (from, to) = (self.packed(made.normed, at, inner), self.packed(made.context, at, 2 * kv));
        cuda.linear_product(from, context, 0.0, to)?;
        self.turn_context(1.0, at, made.context)?;

        let (q, k) = self.turned(made);
        let sizes = args![at.rows, memory.time, attention.heads, attention.kv_heads, attention.width];
        let given = args![
            q.from(at.from * inner),
            k.from(at.from * kv),
            inputs.v.from(at.from * kv),
            self.packed_view(made.context, at, 2 * kv),
            inputs.gate.from(at.from * inner),
            self.weights.read_norm,
            made.attended.from(at.from * inner),
            made.read.from(at.from * inner),
            made.log_sum.from(at.from * attention.heads)
        ];
        let units = memory.batch * attention.heads * at.rows.div_ceil(TILE);
        cuda.launch_blocks("segment_attention", units, &[&sizes[..], given].concat())?;

        let out = Matrix::new(self.weights.out.view(), inner, width).every(0);
        let (from, to) = (self.tokens(made.read, at, inner), self.tokens(made.stream, at, width));
        cuda.linear_products(memory.batch, from, out, 1.0, to)
    }

    /// What the memories are fed of the segment: y, the norm of the stream, and from there values and gates.
    fn feed(&self, made: &MadeBuffers<'w, R>, joined: &JoinedWeights<R>, at: WalkPlace) -> Result<()> {
        let (op, cuda, memory) = (self.op, self.cuda, &self.op.memory);
        let (width, all) = (op.width, op.inner() + op.logits());
        let (x, y) = (made.stream.from(at.from * width), made.y.from(at.from * width));
        let args = args![at.rows, memory.time, width, x, self.weights.memory_norm, y];
        cuda.launch_rows("segment_norm", memory.batch * at.rows, args)?;
        let feed = Matrix::new(joined.feed.view(), width, all).every(0);
        let (from, to) = (self.tokens(made.y, at, width), self.tokens(made.fed, at, all));
        cuda.linear_products(memory.batch, from, feed, 0.0, to)?;
        let given = args![made.fed, self.weights.taps, self.weights.taps_bias, self.weights.gates_bias];
        let args = [&self.feed_args(at)[..], given, args![made.v, made.gates]].concat();
        cuda.launch("segment_feed", memory.batch * at.rows * all, &args)
    }
}
