//! The backward of MAC's walk over segments: twelve launches a segment, from the last to the first, and what is a sum
//! over all tokens once for all segments.

use super::linear::LinearMemory;
use super::linear_backward::LinearRun;
use super::segments::{JoinedWeights, MadeBuffers, SegmentWalk, SegmentsBackward, WalkPlace, summed};
use super::space::Sizes;
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::columns::slices;
use crate::device::cuda::compile::TILE;
use crate::device::cuda::product::{Matrix, args};
use crate::device::cuda::{Cuda, Driver};
use crate::device::{MemoryGradients, MemoryInputs, SegmentsGradients, SegmentsInputs, SegmentsOp, SegmentsWeights};
use crate::error::Result;
use titans_kernel::error::expect_len;

/// What a backward works with: cotangents have the names of what they are of.
struct WalkBack<'a, R: Driver> {
    made: MadeBuffers<'a, R>,
    boundaries: &'a DeviceBuffer<R>,
    stream: &'a DeviceBuffer<R>,
    y: &'a DeviceBuffer<R>,
    q: &'a DeviceBuffer<R>,
    k: &'a DeviceBuffer<R>,
    attention_v: &'a DeviceBuffer<R>,
    gate: &'a DeviceBuffer<R>,
    context_q: &'a DeviceBuffer<R>,
    state: &'a DeviceBuffer<R>,
    joined: &'a JoinedWeights<R>,
    v: &'a DeviceBuffer<R>,
    gates: &'a DeviceBuffer<R>,
    fed: &'a DeviceBuffer<R>,
    convolved: &'a DeviceBuffer<R>,
    read: &'a DeviceBuffer<R>,
    attended: &'a DeviceBuffer<R>,
    along: &'a DeviceBuffer<R>,
    context: &'a DeviceBuffer<R>,
    normed: &'a DeviceBuffer<R>,
    inverse: &'a [DeviceBuffer<R>; 3],
}

impl<R: Driver> Cuda<R> {
    /// The walk of [`Cuda::segments_forward`] from the last segment to the first, each step the vjp of its forward,
    /// derived at its kernel. Cotangents flow from a segment to the one before through the memories' state and through
    /// the convolution's tokens alone; the gradients of weights are sums over all tokens, and made at the end.
    pub(in crate::device::cuda) fn segments_backward(
        &self,
        op: &SegmentsOp,
        inputs: SegmentsInputs<&DeviceBuffer<R>>,
        weights: SegmentsWeights<&DeviceBuffer<R>>,
        (made, boundaries): (MadeBuffers<'_, R>, &DeviceBuffer<R>),
        gradients: SegmentsGradients<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        let walk = SegmentWalk { cuda: self, op, inputs, weights };
        walk.check(&made)?;
        expect_len("boundaries", op.memory.boundaries_len(), boundaries.len())?;
        let SegmentsGradients { stream, y, answers, inputs: of_inputs, weights: d_weights } = gradients;
        let lens = op.inputs_len().array();
        for (x, expected) in of_inputs.iter().zip(&lens[1..]) {
            expect_len("a gradient of segments", *expected, x.len())?;
        }
        for (x, expected) in d_weights.each_ref().array().iter().zip(op.weights_len().array()) {
            expect_len("a weight's gradient of segments", expected, x.len())?;
        }
        for (found, expected) in [(stream.len(), made.stream.len()), (y.len(), made.y.len())] {
            expect_len("a cotangent of segments", expected, found)?;
        }
        expect_len("the answers' cotangent", made.answers.len(), answers.len())?;

        let space = SegmentsBackward::new(self, op)?;
        let SegmentsBackward { mut memory, mut v, mut gates, rows, partial, .. } = space;
        walk.join(&space.joined)?;
        let [q, k, attention_v, gate, context_q, memory_q, memory_k, state] = of_inputs;
        let given = MemoryInputs {
            k: inputs.memory_k,
            v: made.v,
            q: inputs.memory_q,
            gates: made.gates,
            state: inputs.state,
            mask: None,
        };
        let of_memory =
            MemoryGradients { d_k: memory_k, d_v: &mut v, d_q: memory_q, d_gates: &mut gates, d_state: state };
        let run = LinearRun { inputs: given, boundaries, d_y: Some(answers), d_final: None, gradients: of_memory };
        let back = WalkBack {
            made,
            boundaries,
            stream,
            y,
            q,
            k,
            attention_v,
            gate,
            context_q,
            state: &*run.gradients.d_state,
            joined: &space.joined,
            v: &*run.gradients.d_v,
            gates: &*run.gradients.d_gates,
            fed: &space.fed,
            convolved: &space.convolved,
            read: &space.read,
            attended: &space.attended,
            along: &space.along,
            context: &space.context,
            normed: &space.normed,
            inverse: &space.inverse,
        };
        let linear = LinearMemory { cuda: self, sizes: Sizes::new(&op.memory) };
        linear.prepare_all(&mut memory, &run.inputs)?;
        for (i, at) in walk.places().rev().enumerate() {
            let last = (i > 0).then_some(back.state);
            linear.backward_span(&mut memory, &run, walk.pieces(at), last)?;
            walk.feed_vjp(&back, at)?;
            walk.attend_vjp(&back, at)?;
            walk.ask_vjp(&back, at)?;
        }
        walk.weights_vjp(&back, &rows, &d_weights)?;
        walk.sums_vjp(&back, &partial, &d_weights)?;
        if op.attention.rotary.is_some() {
            let (heads, kv_heads) = (op.attention.heads, op.attention.kv_heads);
            self.rotate(-1.0, &op.attention, [(heads, back.q, back.q), (kv_heads, back.k, back.k)], None)?;
        }
        Ok(())
    }
}

impl<'w, R: Driver> SegmentWalk<'w, R> {
    /// From the cotangents of values and gates to that of the stream: fed = y [values | gates], so d_y += d_fed
    /// [values | gates]ᵀ, and through the norm to the stream's, to which it is added.
    fn feed_vjp(&self, back: &WalkBack<'_, R>, at: WalkPlace) -> Result<()> {
        let (op, cuda, memory, w) = (self.op, self.cuda, &self.op.memory, &self.weights);
        let (width, all) = (op.width, op.inner() + op.logits());
        let given = args![back.made.fed, w.taps, w.taps_bias, back.made.gates, back.v, back.gates];
        let args = [&self.feed_args(at)[..], given, args![back.fed, back.convolved]].concat();
        cuda.launch("segment_feed_vjp", memory.batch * at.rows * all, &args)?;
        let feed = Matrix::new(back.joined.feed.view(), width, all).every(0);
        let (from, to) = (self.tokens(back.fed, at, all), self.tokens(back.y, at, width));
        cuda.linear_products(memory.batch, from, feed.t(), 1.0, to)?;
        let rows = |x: &DeviceBuffer<R>| x.from(at.from * width);
        let (x, d_y, d_x) = (rows(back.made.stream), rows(back.y), rows(back.stream));
        let inverse = back.inverse[0].from(at.from);
        let args = args![at.rows, memory.time, width, x, w.memory_norm, d_y, d_x, inverse];
        cuda.launch_rows("segment_norm_vjp", memory.batch * at.rows, args)
    }

    /// From the stream's cotangent, which is also that of what attention adds, read out: d_read = d_stream outᵀ, then
    /// through gate, norm and attention.
    fn attend_vjp(&self, back: &WalkBack<'_, R>, at: WalkPlace) -> Result<()> {
        let (op, cuda, memory, attention) = (self.op, self.cuda, &self.op.memory, &self.op.attention);
        let (width, inner, kv, heads) = (op.width, op.inner(), op.kv(), attention.heads);
        let out = Matrix::new(self.weights.out.view(), inner, width).every(0);
        let (from, to) = (self.tokens(back.stream, at, width), self.tokens(back.read, at, inner));
        cuda.linear_products(memory.batch, from, out.t(), 0.0, to)?;

        let rows = |x: &DeviceBuffer<R>, width: usize| x.from(at.from * width);
        let sizes = args![at.rows, memory.time, heads, attention.width];
        let given = args![
            rows(back.made.attended, inner),
            rows(self.inputs.gate, inner),
            self.weights.read_norm,
            rows(back.read, inner),
            rows(back.attended, inner),
            rows(back.gate, inner),
            rows(back.along, heads),
            rows(&back.inverse[1], heads)
        ];
        cuda.launch_rows("segment_read_vjp", memory.batch * at.rows * heads, &[&sizes[..], given].concat())?;

        let (q, k) = match attention.rotary {
            Some(_) => (back.made.q, back.made.k),
            None => (self.inputs.q, self.inputs.k),
        };
        let sizes = args![at.rows, memory.time, heads, attention.kv_heads, attention.width];
        let given = args![
            rows(q, inner),
            rows(k, kv),
            rows(self.inputs.v, kv),
            self.packed_view(back.made.context, at, 2 * kv),
            rows(back.made.log_sum, heads),
            rows(back.along, heads),
            rows(back.attended, inner),
            rows(back.q, inner),
            rows(back.k, kv),
            rows(back.attention_v, kv),
            self.packed_view(back.context, at, 2 * kv)
        ];
        let units = memory.batch * at.rows.div_ceil(TILE) * (heads + 2 * attention.kv_heads);
        cuda.launch_blocks("segment_attention_vjp", units, &[&sizes[..], given].concat())?;
        self.turn_context(-1.0, at, back.context)
    }

    /// From the context's keys and values to the question and the state: d_normed = d_context (context_out [k | v])ᵀ,
    /// then through the norm and M(q).
    fn ask_vjp(&self, back: &WalkBack<'_, R>, at: WalkPlace) -> Result<()> {
        let (op, cuda, memory) = (self.op, self.cuda, &self.op.memory);
        let (inner, kv, state) = (op.inner(), op.kv(), memory.spec.state_len());
        let context = Matrix::new(back.joined.context.view(), inner, 2 * kv);
        let (from, to) = (self.packed(back.context, at, 2 * kv), self.packed(back.normed, at, inner));
        cuda.linear_product(from, context.t(), 0.0, to)?;
        // The state at the segment's start is kept, memory after memory.
        let start = back.boundaries.from(self.pieces(at).start * state);
        let stride = memory.spec.boundaries_len(memory.time);
        let sizes = args![memory.heads, at.rows, memory.time, memory.spec.key_width(), stride];
        let given = args![
            self.inputs.context_q.from(at.from * inner),
            start,
            self.weights.context_norm,
            self.packed_view(back.made.h, at, inner),
            self.packed_view(back.normed, at, inner),
            back.context_q.from(at.from * inner),
            back.state,
            self.packed_view(&back.inverse[2], at, memory.heads)
        ];
        cuda.launch_blocks("segment_ask_vjp", memory.batch * memory.heads, &[&sizes[..], given].concat())
    }

    /// The gradients of the maps: d_W += xᵀ d_y of all tokens. The context's rows c = normed · context_out, which the
    /// forward never made, have d_c = d_k kᵀ + d_v vᵀ.
    fn weights_vjp(
        &self,
        back: &WalkBack<'_, R>,
        [c, d_c]: &[DeviceBuffer<R>; 2],
        d: &SegmentsWeights<&mut DeviceBuffer<R>>,
    ) -> Result<()> {
        let (op, cuda, w, made) = (self.op, self.cuda, &self.weights, &back.made);
        let (width, inner, kv, logits) = (op.width, op.inner(), op.kv(), op.logits());
        let (rows, all) = (op.rows(), inner + logits);
        let d_stream = self.all(back.stream, width);
        cuda.linear_product(self.all(made.read, inner).t(), d_stream, 1.0, Matrix::new(d.out.view(), inner, width))?;

        let (normed, c, d_c) = (self.all(made.normed, inner), self.all(c, width), self.all(d_c, width));
        cuda.linear_product(normed, Matrix::new(w.context_out.view(), inner, width), 0.0, c)?;
        for (i, (map, d_map)) in [(w.k, &d.k), (w.v, &d.v)].into_iter().enumerate() {
            let d_y = Matrix::new(back.context.from(i * kv), rows, kv).of_rows(2 * kv);
            cuda.linear_product(c.t(), d_y, 1.0, Matrix::new(d_map.view(), width, kv))?;
            cuda.linear_product(d_y, Matrix::new(map.view(), width, kv).t(), i as f64, d_c)?;
        }
        cuda.linear_product(normed.t(), d_c, 1.0, Matrix::new(d.context_out.view(), inner, width))?;

        let y = self.all(made.y, width);
        for (from, outputs, d_map) in [(0, inner, &d.values), (inner, logits, &d.gates)] {
            let d_fed = Matrix::new(back.fed.from(from), rows, outputs).of_rows(all);
            cuda.linear_product(y.t(), d_fed, 1.0, Matrix::new(d_map.view(), width, outputs))?;
        }
        Ok(())
    }

    /// The gradients of norms, taps and biases, added: derived at their kernel.
    fn sums_vjp(
        &self,
        back: &WalkBack<'_, R>,
        partial: &DeviceBuffer<R>,
        d: &SegmentsWeights<&mut DeviceBuffer<R>>,
    ) -> Result<()> {
        let (op, cuda, made, [of_stream, of_read, of_h]) = (self.op, self.cuda, &back.made, back.inverse);
        let (slices, tiles, memory) = (slices(op.rows()), summed(op).div_ceil(32), &op.memory);
        let columns = args![op.width, op.inner(), op.taps, op.logits(), op.attention.width, memory.spec.key_width()];
        let sizes = args![slices, memory.batch, memory.time, op.attention.heads, memory.heads];
        let of_rows = args![made.stream, back.y, of_stream, made.fed, back.convolved, back.fed];
        let of_heads = args![made.attended, self.inputs.gate, back.read, of_read, made.h, back.normed, of_h, partial];
        let args = [&sizes[..], columns, of_rows, of_heads].concat();
        cuda.launch_blocks("segment_sums", slices * tiles, &args)?;
        let to = args![&*d.memory_norm, &*d.taps, &*d.taps_bias, &*d.gates_bias, &*d.read_norm, &*d.context_norm];
        let args = [&args![slices][..], columns, args![partial], to].concat();
        cuda.launch_blocks("segment_add", tiles, &args)
    }
}
