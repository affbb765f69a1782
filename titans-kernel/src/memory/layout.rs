//! Where the rows of every layer lie inside one slab, and the slabs of a chunk.

use super::spec::MemorySpec;
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// Offsets into slabs that hold `rows` rows of every layer's input (`inputs`: d_0 … d_{L−1}) or output (d_1 … d_L).
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'s> {
    pub spec: &'s MemorySpec,
    pub rows: usize,
}

impl<'s> Layout<'s> {
    pub const fn new(spec: &'s MemorySpec, rows: usize) -> Self {
        Self { spec, rows }
    }

    /// Elements of a slab of inputs.
    pub fn inputs(&self) -> usize {
        self.input(self.spec.layers())
    }

    /// Elements of a slab of outputs.
    pub fn outputs(&self) -> usize {
        self.output(self.spec.layers())
    }

    /// Start of layer l's inputs.
    pub fn input(&self, l: usize) -> usize {
        self.rows * self.spec.widths.get(..l).map_or(0, |w| w.iter().sum::<usize>())
    }

    /// Start of layer l's outputs.
    pub fn output(&self, l: usize) -> usize {
        self.rows * self.spec.widths.get(1..=l).map_or(0, |w| w.iter().sum::<usize>())
    }

    /// Elements of `rows` rows of γ's width.
    pub fn gammas(&self) -> usize {
        self.rows * self.spec.gamma_len()
    }

    /// Elements of `rows` rows of the widest layer.
    pub fn widest(&self) -> usize {
        self.rows * self.spec.widths.iter().copied().max().unwrap_or(0)
    }

    /// Rows `from .. from + n` of layer l's inputs.
    pub fn input_rows<'x, T: Scalar>(&self, slab: &'x [T], l: usize, from: usize, n: usize) -> Result<Mat<'x, T>> {
        let w = self.spec.widths[l];
        Mat::new(&slab[self.input(l) + from * w..], n, w)
    }

    /// The same, to write.
    pub fn input_rows_mut<'x, T: Scalar>(
        &self,
        slab: &'x mut [T],
        l: usize,
        from: usize,
        n: usize,
    ) -> Result<MatMut<'x, T>> {
        let w = self.spec.widths[l];
        MatMut::new(&mut slab[self.input(l) + from * w..][..n * w], n, w)
    }

    /// Rows `from .. from + n` of layer l's outputs.
    pub fn output_rows<'x, T: Scalar>(&self, slab: &'x [T], l: usize, from: usize, n: usize) -> Result<Mat<'x, T>> {
        let w = self.spec.widths[l + 1];
        Mat::new(&slab[self.output(l) + from * w..][..n * w], n, w)
    }

    /// The same, to write.
    pub fn output_rows_mut<'x, T: Scalar>(
        &self,
        slab: &'x mut [T],
        l: usize,
        from: usize,
        n: usize,
    ) -> Result<MatMut<'x, T>> {
        let w = self.spec.widths[l + 1];
        MatMut::new(&mut slab[self.output(l) + from * w..][..n * w], n, w)
    }

    /// W^l of a block of parameters.
    pub fn weights<'x, T: Scalar>(&self, params: &'x [T], l: usize) -> Result<Mat<'x, T>> {
        let (i, o) = self.spec.layer(l);
        Mat::new(&params[self.spec.layer_offset(l)..], i, o)
    }

    /// The same, to write.
    pub fn weights_mut<'x, T: Scalar>(&self, params: &'x mut [T], l: usize) -> Result<MatMut<'x, T>> {
        let (i, o) = self.spec.layer(l);
        MatMut::new(&mut params[self.spec.layer_offset(l)..][..i * o], i, o)
    }

    /// γ of a block of parameters; empty in plain networks.
    pub fn gamma<'x, T>(&self, params: &'x [T]) -> &'x [T] {
        &params[self.spec.params() - self.spec.gamma_len()..self.spec.params()]
    }
}

/// What a chunk must remember of its tokens until it closes.
#[derive(Debug)]
pub(super) struct Open<'a, T> {
    /// H: inputs of every layer for the keys.
    pub h: &'a mut [T],
    /// Δ: back-propagated residuals of every layer.
    pub delta: &'a mut [T],
    /// Gradients of γ, rows of d_L.
    pub g_gamma: &'a mut [T],
    /// θ of every token times its clip factor; 0 for tokens that do not write.
    pub rate: &'a mut [T],
}

/// [`Open`], to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a, T> {
    pub h: &'a [T],
    pub delta: &'a [T],
    pub g_gamma: &'a [T],
    pub rate: &'a [T],
}

impl<'a, T: Scalar> Seen<'a, T> {
    /// From the block that [`Open::take`] split.
    pub fn split(block: &'a [T], lay: Layout<'_>) -> Self {
        let (h, rest) = block.split_at(lay.inputs());
        let (delta, rest) = rest.split_at(lay.outputs());
        let (g_gamma, rate) = rest.split_at(lay.gammas());
        Self { h, delta, g_gamma, rate }
    }
}

impl<'a, T: Scalar> Open<'a, T> {
    pub fn seen(&self) -> Seen<'_, T> {
        Seen { h: self.h, delta: self.delta, g_gamma: self.g_gamma, rate: self.rate }
    }

    pub fn len(lay: Layout<'_>) -> usize {
        lay.inputs() + lay.outputs() + lay.gammas() + lay.rows
    }

    pub fn take(scratch: &mut Scratch<'a, T>, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            h: scratch.take(lay.inputs())?,
            delta: scratch.take(lay.outputs())?,
            g_gamma: scratch.take(lay.gammas())?,
            rate: scratch.take(lay.rows)?,
        })
    }
}

/// What the write path leaves behind for the backward, and works in.
#[derive(Debug)]
pub(super) struct Written<'a, T> {
    /// Pre-activations z of every layer.
    pub z: &'a mut [T],
    /// δ^{l+1} Wᵀ at the place of layer l's outputs.
    pub d_a: &'a mut [T],
    /// Residual: x̂ of z^L.
    pub x_hat: &'a mut [T],
    /// Residual: cotangents of the network's output, 2c (M(k) − v).
    pub e: &'a mut [T],
    /// Residual: 1 / deviation.
    pub r: &'a mut [T],
    /// Squared norm of every token's gradient (with a clip).
    pub norm2: &'a mut [T],
    /// Clip factor of every token.
    pub factor: &'a mut [T],
    /// One row.
    pub row: &'a mut [T],
}

impl<'a, T: Scalar> Written<'a, T> {
    pub fn len(lay: Layout<'_>) -> usize {
        2 * lay.outputs() + 2 * lay.gammas() + 3 * lay.rows + lay.spec.value_width()
    }

    pub fn take(scratch: &mut Scratch<'a, T>, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            z: scratch.take(lay.outputs())?,
            d_a: scratch.take(lay.outputs())?,
            x_hat: scratch.take(lay.gammas())?,
            e: scratch.take(lay.gammas())?,
            r: scratch.take(lay.rows)?,
            norm2: scratch.take(lay.rows)?,
            factor: scratch.take(lay.rows)?,
            row: scratch.take(lay.spec.value_width())?,
        })
    }
}

/// What the read path leaves behind for the backward, and works in.
#[derive(Debug)]
pub(super) struct Reading<'a, T> {
    /// X: inputs of every layer for the queries.
    pub x: &'a mut [T],
    /// Z of every layer.
    pub z: &'a mut [T],
    /// X W of every layer.
    pub xw: &'a mut [T],
    /// X S of every layer.
    pub xs: &'a mut [T],
    /// Masked scores, rows × rows.
    pub scores: &'a mut [T],
    /// Residual: x̂ of z^L.
    pub x_hat: &'a mut [T],
    /// Residual: γ_t of every query.
    pub gamma: &'a mut [T],
    /// Residual: 1 / deviation.
    pub r: &'a mut [T],
}

impl<'a, T: Scalar> Reading<'a, T> {
    pub fn len(lay: Layout<'_>) -> usize {
        lay.inputs() + 3 * lay.outputs() + lay.rows * lay.rows + 2 * lay.gammas() + lay.rows
    }

    pub fn take(scratch: &mut Scratch<'a, T>, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            x: scratch.take(lay.inputs())?,
            z: scratch.take(lay.outputs())?,
            xw: scratch.take(lay.outputs())?,
            xs: scratch.take(lay.outputs())?,
            scores: scratch.take(lay.rows * lay.rows)?,
            x_hat: scratch.take(lay.gammas())?,
            gamma: scratch.take(lay.gammas())?,
            r: scratch.take(lay.rows)?,
        })
    }
}
