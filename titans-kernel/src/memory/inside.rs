//! Cotangents of what one piece of a chunk computes inside.

use super::close::close_scratch;
use super::layout::Layout;
use super::sets::Sets;
use super::settle::can_settle;
use super::work::{Reading, Writing};
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::Room;

/// Cotangents inside one piece.
#[derive(Debug)]
pub(super) struct Inside<'a, T> {
    /// Of H.
    pub h: &'a mut [T],
    /// Of Δ.
    pub delta: &'a mut [T],
    /// Of γ's gradients.
    pub g_gamma: &'a mut [T],
    /// Of the rates, rows of every set of gates.
    pub rate: &'a mut [T],
    /// Of z, on the write path and (earlier) on the read path.
    pub z: &'a mut [T],
    /// Of the coefficients.
    pub coefficients: Sets<'a, T>,
    /// Three work spaces of rows of the widest layer.
    pub work: [&'a mut [T]; 3],
    /// Two work spaces of rows × rows.
    pub square: [&'a mut [T]; 2],
    /// Rows of a panel, scaled in two ways; or what rows are scaled by.
    pub scaled: &'a mut [T],
}

impl<'a, T: Scalar> Inside<'a, T> {
    /// Takes the space; nothing is written.
    pub fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            h: room.take(lay.input_slab_len())?,
            delta: room.take(lay.output_slab_len())?,
            g_gamma: room.take(lay.gamma_slab_len())?,
            rate: room.take(lay.rates_len())?,
            z: room.take(lay.output_slab_len())?,
            work: [room.take(lay.widest())?, room.take(lay.widest())?, room.take(lay.widest())?],
            square: [room.area(lay.rows, lay.rows)?, room.area(lay.rows, lay.rows)?],
            scaled: room.take(close_scratch(lay))?,
            coefficients: Sets::take(room, lay.spec, lay.coefficients(), lay.rows)?,
        })
    }

    /// Zeros where cotangents are added; those of H and Δ are overwritten first.
    pub fn clear(&mut self) {
        for slab in [&mut *self.g_gamma, self.rate, self.z] {
            slab.fill(T::ZERO);
        }
        for c in self.coefficients.iter_mut() {
            for slab in [&mut *c.a, c.g, c.e, c.c, c.p] {
                slab.fill(T::ZERO);
            }
        }
    }
}

/// What the backward of a piece works in.
#[derive(Debug)]
pub(super) struct BackwardSpace<'a, T> {
    pub writing: Writing<'a, T>,
    pub reading: Reading<'a, T>,
    pub coefficients: Sets<'a, T>,
    pub inside: Inside<'a, T>,
    /// Read-outs, which nobody looks at.
    pub y: &'a mut [T],
    /// The state that a piece has settled to, where pieces do.
    pub settled: &'a mut [T],
}

impl<'a, T: Scalar> BackwardSpace<'a, T> {
    /// Takes the space; nothing is written.
    pub fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            writing: Writing::take(room, lay)?,
            reading: Reading::take(room, lay)?,
            y: room.area(lay.rows, lay.spec.value_width())?,
            inside: Inside::take(room, lay)?,
            coefficients: Sets::take(room, lay.spec, lay.coefficients(), lay.rows)?,
            settled: room.take(if can_settle(lay.spec) { lay.spec.state_len() } else { 0 })?,
        })
    }
}
