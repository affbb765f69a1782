//! What the write path and the read path leave behind for the backward, and work in.

use super::layout::Layout;
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::Mat;

/// What the write path leaves behind for the backward, and works in.
#[derive(Debug)]
pub(super) struct Written<'a, T> {
    /// Pre-activations z of every layer.
    pub z: &'a mut [T],
    /// φ′(z) of every layer but the last.
    pub slope: &'a mut [T],
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
    /// How many of n tokens from `from` on were clipped.
    pub fn clipped(&self, from: usize, n: usize) -> u64 {
        self.factor[from..from + n].iter().filter(|&&f| f != T::ONE).count() as u64
    }

    pub fn len(lay: Layout<'_>) -> usize {
        3 * lay.outputs() + 2 * lay.gammas() + 3 * lay.rows + lay.spec.value_width()
    }

    pub fn take(scratch: &mut Scratch<'a, T>, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            z: scratch.take(lay.outputs())?,
            slope: scratch.take(lay.outputs())?,
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
    /// X: inputs of every layer but the first for the queries, which are their own first inputs.
    pub x: &'a mut [T],
    /// Z of every layer.
    pub z: &'a mut [T],
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
    /// X of layer l for queries `q`.
    pub fn inputs<'x>(&'x self, lay: Layout<'_>, l: usize, q: Mat<'x, T>) -> Result<Mat<'x, T>> {
        if l == 0 { Ok(q) } else { lay.input_rows(self.x, l, 0, q.rows()) }
    }

    pub fn len(lay: Layout<'_>) -> usize {
        lay.inputs() + lay.outputs() + lay.rows * lay.rows + 2 * lay.gammas() + lay.rows
    }

    pub fn take(scratch: &mut Scratch<'a, T>, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            x: scratch.take(lay.inputs())?,
            z: scratch.take(lay.outputs())?,
            scores: scratch.take(lay.rows * lay.rows)?,
            x_hat: scratch.take(lay.gammas())?,
            gamma: scratch.take(lay.gammas())?,
            r: scratch.take(lay.rows)?,
        })
    }
}
