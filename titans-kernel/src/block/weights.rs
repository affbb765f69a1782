//! The parameters of a block: their names, shapes and order, said once for streams, for who trains them and for files.

use super::spec::BlockSpec;
use crate::error::{Error, Result};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::Mat;
use core::convert::Infallible;

/// A parameter of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name behind `blocks.{i}.`, or the whole one of those outside of the blocks.
    pub name: &'static str,
    /// Of a vector 1.
    pub rows: usize,
    /// Numbers lie row after row.
    pub cols: usize,
    /// Whether its shape is `[cols]`, not `[rows, cols]`.
    pub vector: bool,
}

impl Tensor {
    /// Its numbers; `usize::MAX` where they are more than that.
    pub const fn numbers(&self) -> usize {
        self.rows.saturating_mul(self.cols)
    }

    const fn vector(name: &'static str, cols: usize) -> Self {
        Self { name, rows: 1, cols, vector: true }
    }

    const fn matrix(name: &'static str, rows: usize, cols: usize) -> Self {
        Self { name, rows, cols, vector: false }
    }
}

/// Whoever answers for the parameters of a model, asked for one after another in their order. Where a model has none
/// the default stands.
pub trait WeightSource {
    /// What stands for the matrix of a linear map.
    type Matrix: Default;
    /// What stands for numbers that are used without a shape: vectors, filters, the memories' initial weights.
    type Numbers: Default;
    /// Why there is none.
    type Error;

    /// The next parameter, a matrix.
    ///
    /// # Errors
    /// Its own.
    fn matrix(&mut self, tensor: Tensor) -> Result<Self::Matrix, Self::Error>;

    /// The next parameter, numbers.
    ///
    /// # Errors
    /// Its own.
    fn numbers(&mut self, tensor: Tensor) -> Result<Self::Numbers, Self::Error>;
}

/// Parameters that lie one after another.
pub(crate) struct Numbers<'a, T>(pub(crate) &'a [T]);

impl<'a, T: Scalar> WeightSource for Numbers<'a, T> {
    type Matrix = Mat<'a, T>;
    type Numbers = &'a [T];
    type Error = Error;

    fn matrix(&mut self, tensor: Tensor) -> Result<Mat<'a, T>> {
        Mat::new(self.numbers(tensor)?, tensor.rows, tensor.cols)
    }

    fn numbers(&mut self, tensor: Tensor) -> Result<&'a [T]> {
        let (needed, given) = (tensor.numbers(), self.0.len());
        if needed > given {
            return Err(Error::Buffer { what: "parameters", needed, given });
        }
        let (head, rest) = self.0.halves(needed);
        self.0 = rest;
        Ok(head)
    }
}

/// Calls a function for each parameter.
pub(crate) struct Visit<F>(pub(crate) F);

impl<F: FnMut(Tensor)> WeightSource for Visit<F> {
    type Matrix = ();
    type Numbers = ();
    type Error = Infallible;

    fn matrix(&mut self, tensor: Tensor) -> Result<(), Infallible> {
        (self.0)(tensor);
        Ok(())
    }

    fn numbers(&mut self, tensor: Tensor) -> Result<(), Infallible> {
        self.matrix(tensor)
    }
}

/// A linear map and its convolution.
#[derive(Clone, Copy, Debug)]
pub struct Projection<M, N> {
    /// W.
    pub weight: M,
    /// Filters `[outputs, K]`; none without a convolution.
    pub conv: N,
    /// Of the convolution.
    pub bias: N,
}

/// All parameters of a block: matrices M and numbers N of a [`WeightSource`]. A kind of block has some of them.
#[derive(Clone, Copy, Debug)]
pub struct BlockWeights<M, N> {
    /// Of the rows that the mixer sees.
    pub norm: N,
    /// P `[N_p, w]`.
    pub persistent: M,
    /// MAC: queries of the context.
    pub context_q: Projection<M, N>,
    /// MAC: of what the memories answer them, head by head.
    pub context_norm: N,
    /// MAC: from there to the context h `[I, w]`.
    pub context_out: M,
    /// MAL: of the rows that attention sees.
    pub attention_norm: N,
    /// Queries, keys and values of attention.
    pub attention: [Projection<M, N>; 3],
    /// Of what attention gives, head by head.
    pub attention_read_norm: N,
    /// Of attention's gate `[w, I]`.
    pub attention_gate: M,
    /// MAC: from attention to the stream `[I, w]`.
    pub attention_out: M,
    /// MAC: of the rows that the memories are fed.
    pub memory_norm: N,
    /// q, k, v of the memories.
    pub memory: [Projection<M, N>; 3],
    /// To the logits of α, θ, η.
    pub gates: M,
    /// `[3, H L]`.
    pub gates_bias: N,
    /// Initial weights of the memories `[H, P_mem]`.
    pub w0: N,
    /// Of what the memories answer, head by head.
    pub read_norm: N,
    /// Of their gate `[w, I]`.
    pub gate: M,
    /// MAL: from the memories to what attention sees `[I, w]`.
    pub memory_out: M,
    /// Scales of attention and memory before they are combined.
    pub combine: [N; 2],
    /// From the mixer to the stream `[I, w]`.
    pub out: M,
    /// Of the rows that the feed-forward sees.
    pub ff_norm: N,
    /// `[w, hidden]`.
    pub up: M,
    /// `[w, hidden]`.
    pub ff_gate: M,
    /// `[hidden, w]`.
    pub down: M,
}

/// Takes parameters from a source, and none for the parts that are not there.
pub(crate) struct Taking<'s, S>(pub(crate) &'s mut S);

impl<S: WeightSource> Taking<'_, S> {
    pub(crate) fn mat(
        &mut self,
        is: bool,
        name: &'static str,
        rows: usize,
        cols: usize,
    ) -> Result<S::Matrix, S::Error> {
        if is && rows > 0 && cols > 0 {
            self.0.matrix(Tensor::matrix(name, rows, cols))
        } else {
            Ok(S::Matrix::default())
        }
    }

    fn numbers(&mut self, is: bool, tensor: Tensor) -> Result<S::Numbers, S::Error> {
        if is && tensor.numbers() > 0 { self.0.numbers(tensor) } else { Ok(S::Numbers::default()) }
    }

    pub(crate) fn row(&mut self, is: bool, name: &'static str, cols: usize) -> Result<S::Numbers, S::Error> {
        self.numbers(is, Tensor::vector(name, cols))
    }

    /// `names`: of the weight, the filters and their bias; rows, columns and taps.
    fn projection(
        &mut self,
        is: bool,
        names: [&'static str; 3],
        [inputs, outputs, taps]: [usize; 3],
    ) -> Result<Projection<S::Matrix, S::Numbers>, S::Error> {
        Ok(Projection {
            weight: self.mat(is, names[0], inputs, outputs)?,
            conv: self.numbers(is, Tensor::matrix(names[1], outputs, taps))?,
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

impl BlockSpec {
    /// All parameters of the block in a model of this width, asked for in the order in which they lie in a model's
    /// weights.
    ///
    /// # Errors
    /// The source's.
    pub fn weights<S: WeightSource>(
        &self,
        width: usize,
        source: &mut S,
    ) -> Result<BlockWeights<S::Matrix, S::Numbers>, S::Error> {
        let (kind, inner, heads) = (self.kind, self.inner(), self.heads);
        let (mac, mal) = (kind.has_context(), kind.attends_to_answers());
        let (attends, remembers) = (kind.has_attention(), kind.has_memory());
        let (adds, combines, reads_out) = (self.adds_attention(), self.combines(), self.reads_out());
        let (input, kv, hidden) = (self.memory_input(width), self.kv_width(), self.feed_forward);
        let (asks, sees) = ([width, inner, self.conv_width], [input, inner, self.conv_width]);
        let attention = |outputs: usize| [width, outputs, self.attention_taps()];
        let mut t = Taking(source);
        Ok(BlockWeights {
            norm: t.row(true, "norm.weight", width)?,
            persistent: t.mat(true, "mixer.persistent", self.persistent, width)?,
            context_q: t.projection(mac, projection!("mixer.context.q"), asks)?,
            context_norm: t.row(mac, "mixer.context.norm.weight", self.head_width)?,
            context_out: t.mat(mac, "mixer.context.out.weight", inner, width)?,
            attention_norm: t.row(mal, "mixer.attention.norm.weight", width)?,
            attention: [
                t.projection(attends, projection!("mixer.attention.q"), attention(inner))?,
                t.projection(attends, projection!("mixer.attention.k"), attention(kv))?,
                t.projection(attends, projection!("mixer.attention.v"), attention(kv))?,
            ],
            attention_read_norm: t.row(
                self.norms_attention(),
                "mixer.attention.read.norm.weight",
                self.attention_width(),
            )?,
            attention_gate: t.mat(self.gates_attention(), "mixer.attention.gate.weight", width, inner)?,
            attention_out: t.mat(adds, "mixer.attention.out.weight", inner, width)?,
            memory_norm: t.row(adds, "mixer.memory.norm.weight", width)?,
            memory: [
                t.projection(remembers, projection!("mixer.q"), sees)?,
                t.projection(remembers, projection!("mixer.k"), sees)?,
                t.projection(remembers, projection!("mixer.v"), sees)?,
            ],
            gates: t.mat(remembers, "mixer.gates.weight", input, self.gates())?,
            gates_bias: t.numbers(remembers, Tensor::matrix("mixer.gates.bias", 3, self.gate_columns()))?,
            w0: t.numbers(remembers, Tensor::matrix("mixer.memory.w0", heads, self.memory.params()))?,
            read_norm: t.row(reads_out, "mixer.norm.weight", self.head_width)?,
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

    /// Calls `visit` with every parameter of the block in a model of this width, in the order in which they lie in a
    /// model's weights.
    pub fn tensors(&self, width: usize, visit: impl FnMut(Tensor)) {
        let Ok(_) = self.weights(width, &mut Visit(visit));
    }

    /// Numbers in all parameters of the block; `usize::MAX` where they are more than that.
    pub fn parameters(&self, width: usize) -> usize {
        let mut sum = 0usize;
        self.tensors(width, |tensor| sum = sum.saturating_add(tensor.numbers()));
        sum
    }
}
