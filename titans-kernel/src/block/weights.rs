//! The parameters of a block: their order, their shapes, and views of them. Parts that a kind does not have are empty.

use super::spec::{BlockSpec, Combine, Kind};
use crate::error::{Error, Result};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::Mat;

/// Whoever answers for the next parameter of a block, by its name behind `blocks.{i}.` and its rows and columns.
pub(crate) trait WeightSource<'a, T> {
    fn tensor(&mut self, name: &'static str, rows: usize, cols: usize) -> Result<Mat<'a, T>>;
}

/// Parameters one after another.
pub(crate) struct Numbers<'a, T>(pub(crate) &'a [T]);

impl<'a, T: Scalar> WeightSource<'a, T> for Numbers<'a, T> {
    fn tensor(&mut self, _: &'static str, rows: usize, cols: usize) -> Result<Mat<'a, T>> {
        let (needed, given) = (rows.saturating_mul(cols), self.0.len());
        if needed > given {
            return Err(Error::Buffer { what: "parameters", needed, given });
        }
        let (head, rest) = self.0.halves(needed);
        self.0 = rest;
        Mat::new(head, rows, cols)
    }
}

/// Calls a function for each parameter; the views are empty.
pub(crate) struct Visit<F>(pub(crate) F);

impl<'a, T: Scalar, F: FnMut(&'static str, usize, usize)> WeightSource<'a, T> for Visit<F> {
    fn tensor(&mut self, name: &'static str, rows: usize, cols: usize) -> Result<Mat<'a, T>> {
        (self.0)(name, rows, cols);
        Mat::new(&[], 0, 0)
    }
}

/// A linear map and its convolution.
#[derive(Clone, Copy)]
pub(crate) struct Projection<'a, T> {
    pub(crate) weight: Mat<'a, T>,
    /// Filters `[I, K]`, empty without a convolution.
    pub(crate) conv: &'a [T],
    pub(crate) bias: &'a [T],
}

/// All parameters of a block.
pub(crate) struct Weights<'a, T> {
    pub(crate) norm: &'a [T],
    /// P `[N_p, w]`.
    pub(crate) persistent: Mat<'a, T>,
    pub(crate) context_q: Projection<'a, T>,
    pub(crate) context_norm: &'a [T],
    pub(crate) context_out: Mat<'a, T>,
    pub(crate) attention_norm: &'a [T],
    /// Queries, keys and values of attention.
    pub(crate) attention: [Projection<'a, T>; 3],
    /// The norm of its heads, and the map of its gate.
    pub(crate) attention_read_norm: &'a [T],
    pub(crate) attention_gate: Mat<'a, T>,
    pub(crate) attention_out: Mat<'a, T>,
    /// Of the rows that MAC's memories are fed.
    pub(crate) memory_norm: &'a [T],
    /// q, k, v of the memories.
    pub(crate) memory: [Projection<'a, T>; 3],
    pub(crate) gates: Mat<'a, T>,
    pub(crate) gates_bias: &'a [T],
    /// Initial weights of the memories `[H, P_mem]`.
    pub(crate) w0: &'a [T],
    pub(crate) read_norm: &'a [T],
    pub(crate) gate: Mat<'a, T>,
    pub(crate) memory_out: Mat<'a, T>,
    /// Scales of attention and memory before they are combined.
    pub(crate) combine: [&'a [T]; 2],
    pub(crate) out: Mat<'a, T>,
    pub(crate) ff_norm: &'a [T],
    pub(crate) up: Mat<'a, T>,
    pub(crate) ff_gate: Mat<'a, T>,
    pub(crate) down: Mat<'a, T>,
}

/// Takes parameters from a source, and none for the parts that are not there.
struct Taking<'s, S>(&'s mut S);

impl<S> Taking<'_, S> {
    fn mat<'a, T: Scalar>(&mut self, is: bool, name: &'static str, rows: usize, cols: usize) -> Result<Mat<'a, T>>
    where
        S: WeightSource<'a, T>,
    {
        if is && rows > 0 && cols > 0 { self.0.tensor(name, rows, cols) } else { Mat::new(&[], 0, 0) }
    }

    fn row<'a, T: Scalar>(&mut self, is: bool, name: &'static str, cols: usize) -> Result<&'a [T]>
    where
        S: WeightSource<'a, T>,
    {
        Ok(self.mat(is, name, 1, cols)?.data())
    }

    /// `names`: of the weight, the filters and their bias; rows, columns and taps.
    fn projection<'a, T: Scalar>(
        &mut self,
        is: bool,
        names: [&'static str; 3],
        [inputs, outputs, taps]: [usize; 3],
    ) -> Result<Projection<'a, T>>
    where
        S: WeightSource<'a, T>,
    {
        Ok(Projection {
            weight: self.mat(is, names[0], inputs, outputs)?,
            conv: self.mat(is, names[1], outputs, taps)?.data(),
            bias: self.row(is && taps > 0, names[2], outputs)?,
        })
    }
}

/// The three parameters of a projection.
macro_rules! projection {
    ($name:literal) => {
        [concat!($name, ".weight"), concat!($name, ".conv.weight"), concat!($name, ".conv.bias")]
    };
}

impl<'a, T: Scalar> Weights<'a, T> {
    /// Takes them in order, for a model of this width.
    pub(crate) fn take<S: WeightSource<'a, T>>(spec: &BlockSpec, width: usize, source: &mut S) -> Result<Self> {
        let (kind, inner, heads) = (spec.kind, spec.inner(), spec.heads);
        let (mac, mal, lmm) = (kind == Kind::Mac, kind == Kind::Mal, kind == Kind::Lmm);
        let (attends, remembers, residual) = (kind.attends(), kind.remembers(), spec.residual());
        let (input, kv, hidden) = (spec.memory_input(width), spec.kv_width(), spec.feed_forward);
        let (asks, sees) = ([width, inner, spec.conv_width], [input, inner, spec.conv_width]);
        let attention = |outputs: usize| [width, outputs, spec.attention_taps()];
        // In MAG one gate may serve both.
        let gates_itself = attends && residual && !(kind == Kind::Mag && spec.combine == Combine::Gated);
        let reads_out = lmm || mal || residual && remembers;
        let combines = !residual && (mac || kind == Kind::Mag);
        let mut t = Taking(source);
        Ok(Self {
            norm: t.row(true, "norm.weight", width)?,
            persistent: t.mat(true, "mixer.persistent", spec.persistent, width)?,
            context_q: t.projection(mac, projection!("mixer.context.q"), asks)?,
            context_norm: t.row(mac, "mixer.context.norm.weight", spec.head_width)?,
            context_out: t.mat(mac, "mixer.context.out.weight", inner, width)?,
            attention_norm: t.row(mal, "mixer.attention.norm.weight", width)?,
            attention: [
                t.projection(attends, projection!("mixer.attention.q"), attention(inner))?,
                t.projection(attends, projection!("mixer.attention.k"), attention(kv))?,
                t.projection(attends, projection!("mixer.attention.v"), attention(kv))?,
            ],
            attention_read_norm: t.row(
                attends && residual,
                "mixer.attention.read.norm.weight",
                spec.attention_width(),
            )?,
            attention_gate: t.mat(gates_itself, "mixer.attention.gate.weight", width, inner)?,
            attention_out: t.mat(mac && residual, "mixer.attention.out.weight", inner, width)?,
            memory_norm: t.row(mac && residual, "mixer.memory.norm.weight", width)?,
            memory: [
                t.projection(remembers, projection!("mixer.q"), sees)?,
                t.projection(remembers, projection!("mixer.k"), sees)?,
                t.projection(remembers, projection!("mixer.v"), sees)?,
            ],
            gates: t.mat(remembers, "mixer.gates.weight", input, spec.gates())?,
            gates_bias: t.mat(remembers, "mixer.gates.bias", 3, spec.gate_columns())?.data(),
            w0: t.mat(remembers, "mixer.memory.w0", heads, spec.memory.params())?.data(),
            read_norm: t.row(reads_out, "mixer.norm.weight", spec.head_width)?,
            gate: t.mat(reads_out, "mixer.gate.weight", width, inner)?,
            memory_out: t.mat(mal, "mixer.memory.out.weight", inner, width)?,
            combine: [
                t.row(combines, "mixer.combine.attention.weight", inner)?,
                t.row(combines, "mixer.combine.memory.weight", inner)?,
            ],
            out: t.mat(true, "mixer.out.weight", inner, width)?,
            ff_norm: t.row(true, "feed_forward.norm.weight", width)?,
            up: t.mat(true, "feed_forward.up.weight", width, hidden)?,
            ff_gate: t.mat(true, "feed_forward.gate.weight", width, hidden)?,
            down: t.mat(true, "feed_forward.down.weight", hidden, width)?,
        })
    }
}

impl BlockSpec {
    /// Calls `visit` with the name (behind `blocks.{i}.`), rows and columns of every parameter of the block in a model
    /// of this width, in the order in which they lie in a model's weights. Vectors have one row.
    pub fn tensors(&self, width: usize, visit: impl FnMut(&'static str, usize, usize)) {
        // Nothing is taken, so nothing can be missing.
        let _ = Weights::<f32>::take(self, width, &mut Visit(visit));
    }

    /// Numbers in all parameters of the block; `usize::MAX` where they are more than that.
    pub fn parameters(&self, width: usize) -> usize {
        let mut sum = 0usize;
        self.tensors(width, |_, rows, cols| sum = sum.saturating_add(rows.saturating_mul(cols)));
        sum
    }
}
