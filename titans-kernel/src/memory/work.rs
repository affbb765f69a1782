//! What the write path and the read path leave behind for the backward, and work in.

use super::close::close_scratch;
use super::layout::Layout;
use super::open::Open;
use super::sets::Sets;
use crate::error::Result;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Count, Room};
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
        self.factor.part(from..from + n).iter().filter(|&&f| f != T::ONE).count() as u64
    }

    /// Takes the space; nothing is written.
    #[inline(always)]
    pub fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            z: room.take(lay.output_slab_len())?,
            slope: room.take(lay.output_slab_len())?,
            d_a: room.take(lay.output_slab_len())?,
            x_hat: room.take(lay.gamma_slab_len())?,
            e: room.take(lay.gamma_slab_len())?,
            r: room.take(lay.rows)?,
            norm2: room.take(lay.rows)?,
            factor: room.take(lay.rows)?,
            row: room.take(lay.spec.value_width())?,
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

    /// Takes the space; nothing is written.
    #[inline(always)]
    pub fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            x: room.take(lay.input_slab_len())?,
            z: room.take(lay.output_slab_len())?,
            scores: room.area(lay.rows, lay.rows)?,
            x_hat: room.take(lay.gamma_slab_len())?,
            gamma: room.take(lay.gamma_slab_len())?,
            r: room.take(lay.rows)?,
        })
    }
}

/// What the write path fills: the open piece's slabs, and what lies beside them.
#[derive(Debug)]
pub(super) struct Writing<'a, T> {
    pub open: Open<'a, T>,
    pub written: Written<'a, T>,
}

impl<'a, T: Scalar> Writing<'a, T> {
    /// Takes the space; nothing is written.
    #[inline(always)]
    pub fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self { open: Open::take(room, lay)?, written: Written::take(room, lay)? })
    }
}

/// What a piece is written, answered and closed in.
#[derive(Debug)]
pub(super) struct Work<'a, T> {
    pub writing: Writing<'a, T>,
    pub reading: Reading<'a, T>,
    /// A, G, Π η, C and P.
    pub coefficients: Sets<'a, T>,
    /// [`close_scratch`] elements.
    pub scaled: &'a mut [T],
}

impl<'a, T: Scalar> Work<'a, T> {
    /// Takes the space; nothing is written.
    #[inline(always)]
    pub fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        let open = Open::take(room, lay)?;
        Self::around(open, room, lay)
    }

    /// The same around slabs that lie elsewhere: a stream keeps them in its block. Inlined, as all that it takes: else
    /// every slice is moved from place to place, for every token of a stream.
    #[inline(always)]
    pub fn around<R: Room<'a, T>>(open: Open<'a, T>, room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            writing: Writing { open, written: Written::take(room, lay)? },
            reading: Reading::take(room, lay)?,
            scaled: room.take(close_scratch(lay))?,
            coefficients: Sets::take(room, lay.spec, lay.coefficients(), lay.rows)?,
        })
    }

    /// [`Work::around`] for its length alone.
    pub fn count_around(room: &mut Count, lay: Layout<'_>) -> Result<Self> {
        let elsewhere = Open::take(&mut Count::default(), lay)?;
        Self::around(elsewhere, room, lay)
    }
}
