//! MAC's walk over segments: what its forward and its backward share.
//!
//! Arrays of tokens stay as they are, `[batch, time, …]`: a segment's rows are a product's batch, a sequence each. What
//! is made for the context lies segment after segment, `[batch, rows, …]` of each (packed).

use super::linear;
use super::linear_backward::LinearBackward;
use super::linear_forward::LinearForward;
use super::space::Sizes;
use crate::device::cuda::attention::logarithm;
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::columns::slices;
use crate::device::cuda::compile::TILE;
use crate::device::cuda::driver::Arg;
use crate::device::cuda::product::{Matrix, args};
use crate::device::cuda::{Cuda, Driver};
use crate::device::{MemoryOp, SegmentsInputs, SegmentsMade, SegmentsOp, SegmentsWeights, Span};
use crate::error::Result;
use titans_kernel::error::expect_len;

/// Does a walk take this path?
pub(in crate::device) fn walks(op: &SegmentsOp) -> bool {
    let (spec, segment) = (&op.memory.spec, op.segment());
    let (period, width) = (spec.period_len(), spec.key_width());
    let ends_with_pieces = period > 0 && (segment.is_multiple_of(period) || segment == op.memory.time);
    let heads = width == spec.value_width() && op.memory.heads * width == op.inner();
    linear::fits(spec)
        && spec.keep_every == 1
        && spec.gate_sets() == 1
        && ends_with_pieces
        && heads
        && width <= TILE
        && op.attention.width <= TILE
        && op.attention.persistent == 0
        && matches!(op.attention.span, Span::Segment(_))
        && op.taps > 0
        && op.rows() > 0
}

/// A segment: its number, first token and tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalkPlace {
    pub number: usize,
    pub from: usize,
    pub rows: usize,
}

/// Weights that are made of others: from what the memories say to attention's keys and values beside one another
/// `[inner, 2 kv]`, and from the fed rows to values and gates beside one another `[width, inner + logits]`.
pub(super) struct JoinedWeights<R: Driver> {
    pub context: DeviceBuffer<R>,
    pub feed: DeviceBuffer<R>,
}

impl<R: Driver> JoinedWeights<R> {
    fn new(cuda: &Cuda<R>, op: &SegmentsOp) -> Result<Self> {
        Ok(Self {
            context: DeviceBuffer::alloc(&cuda.driver, op.inner() * 2 * op.kv())?,
            feed: DeviceBuffer::alloc(&cuda.driver, op.width * (op.inner() + op.logits()))?,
        })
    }
}

/// The memories of one segment: what the forward's space is made for.
fn of_segment(op: &SegmentsOp) -> MemoryOp {
    MemoryOp { time: op.segment(), ..op.memory.clone() }
}

/// What a forward takes.
pub(in crate::device::cuda) struct SegmentsForward<R: Driver> {
    pub(super) joined: JoinedWeights<R>,
    pub(super) memory: LinearForward<R>,
}

impl<R: Driver> SegmentsForward<R> {
    pub fn new(cuda: &Cuda<R>, op: &SegmentsOp, kept: bool) -> Result<Self> {
        let of_segment = of_segment(op);
        Ok(Self {
            joined: JoinedWeights::new(cuda, op)?,
            memory: LinearForward::new(cuda, Sizes::new(&of_segment), true, kept)?,
        })
    }
}

/// What a backward takes: cotangents have the names of what they are of.
pub(in crate::device::cuda) struct SegmentsBackward<R: Driver> {
    pub(super) joined: JoinedWeights<R>,
    pub(super) memory: LinearBackward<R>,
    pub(super) v: DeviceBuffer<R>,
    pub(super) gates: DeviceBuffer<R>,
    pub(super) fed: DeviceBuffer<R>,
    pub(super) convolved: DeviceBuffer<R>,
    pub(super) read: DeviceBuffer<R>,
    pub(super) attended: DeviceBuffer<R>,
    pub(super) along: DeviceBuffer<R>,
    pub(super) context: DeviceBuffer<R>,
    pub(super) normed: DeviceBuffer<R>,
    /// Inverse norms of the stream's rows, of what attention gives and of what the memories say.
    pub(super) inverse: [DeviceBuffer<R>; 3],
    /// The context's rows before attention's keys and values, and their cotangents.
    pub(super) rows: [DeviceBuffer<R>; 2],
    /// Sums of slices.
    pub(super) partial: DeviceBuffer<R>,
}

impl<R: Driver> SegmentsBackward<R> {
    pub fn new(cuda: &Cuda<R>, op: &SegmentsOp) -> Result<Self> {
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        let (rows, inner, logits) = (op.rows(), op.inner(), op.logits());
        Ok(Self {
            joined: JoinedWeights::new(cuda, op)?,
            memory: LinearBackward::new(cuda, Sizes::new(&op.memory))?,
            v: buffer(rows * inner)?,
            gates: buffer(rows * logits)?,
            fed: buffer(rows * (inner + logits))?,
            convolved: buffer(rows * inner)?,
            read: buffer(rows * inner)?,
            attended: buffer(rows * inner)?,
            along: buffer(rows * op.attention.heads)?,
            context: buffer(rows * 2 * op.kv())?,
            normed: buffer(rows * inner)?,
            inverse: [buffer(rows)?, buffer(rows * op.attention.heads)?, buffer(rows * op.memory.heads)?],
            rows: [buffer(rows * op.width)?, buffer(rows * op.width)?],
            partial: buffer(slices(rows) * summed(op))?,
        })
    }
}

/// Columns of the parameters whose gradients are sums over rows.
pub(super) fn summed(op: &SegmentsOp) -> usize {
    let len = op.weights_len();
    len.memory_norm + len.taps + len.taps_bias + len.gates_bias + len.read_norm + len.context_norm
}

/// What is made, for kernels, which write through it.
pub(super) type MadeBuffers<'a, R> = SegmentsMade<&'a DeviceBuffer<R>>;

/// A walk at work.
pub(super) struct SegmentWalk<'a, R: Driver> {
    pub cuda: &'a Cuda<R>,
    pub op: &'a SegmentsOp,
    pub inputs: SegmentsInputs<&'a DeviceBuffer<R>>,
    pub weights: SegmentsWeights<&'a DeviceBuffer<R>>,
}

impl<'w, R: Driver> SegmentWalk<'w, R> {
    /// The segments in their order.
    pub fn places(&self) -> impl DoubleEndedIterator<Item = WalkPlace> + use<R> {
        let (time, segment) = (self.op.memory.time, self.op.segment());
        (0..time.div_ceil(segment)).map(move |number| {
            let from = number * segment;
            WalkPlace { number, from, rows: segment.min(time - from) }
        })
    }

    /// Pieces of a segment.
    pub fn pieces(&self, at: WalkPlace) -> std::ops::Range<usize> {
        let spec = &self.op.memory.spec;
        let (each, all) = (spec.periods(self.op.segment()), spec.periods(self.op.memory.time));
        at.number * each..all.min((at.number + 1) * each)
    }

    /// Whether every operand is as long as it should be.
    pub fn check(&self, made: &MadeBuffers<'_, R>) -> Result<()> {
        let lens = |found: Vec<usize>, expected: Vec<usize>, what| {
            found.into_iter().zip(expected).try_for_each(|(found, expected)| expect_len(what, expected, found))
        };
        let (inputs, weights) = (self.inputs.array(), self.weights.array());
        lens(inputs.map(|x| x.len()).to_vec(), self.op.inputs_len().array().to_vec(), "an input of segments")?;
        lens(weights.map(|x| x.len()).to_vec(), self.op.weights_len().array().to_vec(), "a weight of segments")?;
        lens(made.array().map(|x| x.len()).to_vec(), self.op.made_len().array().to_vec(), "what segments make")?;
        self.op.memory.spec.validate()?;
        Ok(self.op.attention.sizes().map(drop)?)
    }

    /// The segment's rows of every sequence, `width` wide.
    pub fn tokens(&self, x: &DeviceBuffer<R>, at: WalkPlace, width: usize) -> Matrix {
        Matrix::new(x.from(at.from * width), at.rows, width).every(self.op.memory.time * width)
    }

    /// The same where they are packed: all sequences' in one matrix.
    pub fn packed(&self, x: &DeviceBuffer<R>, at: WalkPlace, width: usize) -> Matrix {
        Matrix::new(self.packed_view(x, at, width), self.op.memory.batch * at.rows, width)
    }

    /// Where the packed rows of a segment begin.
    pub fn packed_view(&self, x: &DeviceBuffer<R>, at: WalkPlace, width: usize) -> View {
        x.from(self.op.memory.batch * at.from * width)
    }

    /// All rows, `width` wide.
    pub fn all(&self, x: &DeviceBuffer<R>, width: usize) -> Matrix {
        Matrix::new(x.view(), self.op.rows(), width)
    }

    /// Makes the joined weights. What the context's rows become is `normed · context_out · [k | v]`, and the first two
    /// factors of a product may be multiplied last.
    pub fn join(&self, joined: &JoinedWeights<R>) -> Result<()> {
        let (op, w) = (self.op, &self.weights);
        let (width, inner, kv, logits) = (op.width, op.inner(), op.kv(), op.logits());
        for (i, map) in [w.k, w.v].into_iter().enumerate() {
            let (out, map) = (Matrix::new(w.context_out.view(), inner, width), Matrix::new(map.view(), width, kv));
            let to = Matrix::new(joined.context.from(i * kv), inner, kv).of_rows(2 * kv);
            self.cuda.product(1, 1.0, out, map, 0.0, to)?;
        }
        let args = args![inner, logits, w.values, w.gates, &joined.feed];
        self.cuda.launch("join_columns", joined.feed.len(), args)
    }

    /// Turns the packed keys of a context in their places.
    pub fn turn_context(&self, turn: f64, at: WalkPlace, context: &DeviceBuffer<R>) -> Result<()> {
        let (op, attention) = (self.op, &self.op.attention);
        let Some(rotary) = attention.context_rotary() else { return Ok(()) };
        let [high, low] = logarithm(rotary.base);
        let view = self.packed_view(context, at, 2 * op.kv());
        let args =
            args![at.rows, attention.kv_heads, attention.width, 2 * op.kv(), rotary.shift, high, low, turn, view];
        self.cuda.launch("segment_rotary", op.memory.batch * at.rows * op.kv() / 2, args)
    }

    /// Queries and keys, rotated where they have positions.
    pub fn turned(&self, made: &MadeBuffers<'w, R>) -> (&'w DeviceBuffer<R>, &'w DeviceBuffer<R>) {
        match self.op.attention.rotary {
            Some(_) => (made.q, made.k),
            None => (self.inputs.q, self.inputs.k),
        }
    }

    /// What the kernels are told first of what a segment is fed.
    pub fn feed_args(&self, at: WalkPlace) -> Vec<Arg> {
        let (op, [alpha, theta, eta]) = (self.op, self.op.gates);
        let (time, heads) = (op.memory.time, op.memory.heads);
        args![at.rows, time, at.from, op.inner(), op.taps, heads, alpha, theta, eta].to_vec()
    }
}
