//! Cotangents of what one piece of a chunk computes inside.

use super::close::close_scratch;
use super::layout::Layout;
use super::sets::Sets;
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::Scratch;

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
    /// Rows of a panel, weighed in two ways; or what rows are weighed by.
    pub weighted: &'a mut [T],
}

impl<'a, T: Scalar> Inside<'a, T> {
    pub fn len(lay: Layout<'_>) -> usize {
        lay.inputs()
            + 2 * lay.outputs()
            + lay.gammas()
            + lay.rates()
            + Sets::<T>::len(lay.spec, lay.coefficients(), lay.rows)
            + 3 * lay.widest()
            + 2 * lay.rows * lay.rows
            + close_scratch(lay)
    }

    pub fn take(scratch: &mut Scratch<'a, T>, lay: Layout<'_>) -> Result<Self> {
        let square = lay.rows * lay.rows;
        Ok(Self {
            h: scratch.take(lay.inputs())?,
            delta: scratch.take(lay.outputs())?,
            g_gamma: scratch.take(lay.gammas())?,
            rate: scratch.take(lay.rates())?,
            z: scratch.take(lay.outputs())?,
            work: [scratch.take(lay.widest())?, scratch.take(lay.widest())?, scratch.take(lay.widest())?],
            square: [scratch.take(square)?, scratch.take(square)?],
            weighted: scratch.take(close_scratch(lay))?,
            coefficients: Sets::take(scratch, lay.spec, lay.coefficients(), lay.rows)?,
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
