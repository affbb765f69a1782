//! Forward and back substitution: rows that follow from one another (`docs/MATH.md` section 3b).

use super::{Arithmetic, Store};
use crate::part::{Parts, sure};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Which rows a row follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From those above it, of which so many are solved already and stay as they are.
    Down(usize),
    /// From those below it, by the transposed weights.
    Up,
}

/// Rows of one [`Substitution`], at most.
pub const SOLVED: usize = 64;

/// Rows that follow from one another, m ≤ [`SOLVED`] of them.
///
/// - [`Order::Down`]: `x_r ← scale · (x_r − Σ_{i<r} w_{r,i} x_i − v_r)`, r ascending;
/// - [`Order::Up`]: `x_r ← scale · (x_r − Σ_{i>r} w_{i,r} x_i − v_r)`, r descending.
///
/// A sum is one chain from x_r on, as the chains of [`Arithmetic::gemm`], the nearest row last.
#[derive(Debug)]
pub struct Substitution<'a, T> {
    /// w of the rows that are to be solved, m columns, of which the part below the diagonal is read.
    pub weights: Mat<'a, T>,
    /// x, m rows.
    pub rows: MatMut<'a, T>,
    /// v of the rows that are to be solved; none for 0.
    pub values: Option<Mat<'a, T>>,
    /// Of a row in the end.
    pub scale: T,
    /// From above or from below.
    pub order: Order,
}

impl<T: Scalar> Substitution<'_, T> {
    /// Whether the sizes agree, as they do.
    ///
    /// # Panics
    /// With the feature `strict`, when they disagree.
    #[must_use]
    pub(crate) fn check(&self) -> bool {
        let (m, width, solved) = (self.rows.rows(), self.rows.cols(), self.known_rows());
        sure!(solved <= m && m <= SOLVED, "rows of a substitution", false);
        sure!(self.weights.rows() == m - solved && self.weights.cols() == m, "weights of a substitution", false);
        if let Some(v) = self.values {
            let fit = v.rows() == m - solved && v.cols() == width && v.col_stride() == 1;
            sure!(fit, "values of a substitution", false);
        }
        true
    }

    /// Rows that are solved already.
    pub(crate) const fn known_rows(&self) -> usize {
        match self.order {
            Order::Down(solved) => solved,
            Order::Up => 0,
        }
    }
}

/// [`Arithmetic::substitute`] step by step.
#[inline(always)]
pub(super) fn substitute<T: Scalar, G: Arithmetic<T> + ?Sized>(g: &G, mut s: Substitution<'_, T>) {
    if !s.check() {
        return;
    }
    let (m, width, stride) = (s.rows.rows(), s.rows.cols(), s.rows.row_stride());
    let solved = s.known_rows();
    for done in solved..m {
        let r = match s.order {
            Order::Down(_) => done,
            Order::Up => m - 1 - done,
        };
        for before in 0..done {
            let (i, w) = match s.order {
                Order::Down(_) => (before, s.weights.at(r - solved, before)),
                Order::Up => (m - 1 - before, s.weights.at(m - 1 - before, r)),
            };
            // Two rows of one array, to read one and to write the other: the array is split between them.
            let (low, high) = s.rows.data_mut().halves_mut(i.max(r) * stride);
            let (low, high) = (low.part_mut(i.min(r) * stride..).part_mut(..width), high.part_mut(..width));
            let (x, y) = if i < r { (low, high) } else { (high, low) };
            // A step of gemm's chain: what a product took off before and these make one sum, however rows are cut.
            g.axpy(Store::Sub, w, x, y);
        }
        let row = s.rows.row_mut(r);
        if let Some(v) = s.values {
            row.iter_mut().zip(v.row(r - solved)).for_each(|(x, &v)| *x -= v);
        }
        row.iter_mut().for_each(|x| *x = s.scale * *x);
    }
}
