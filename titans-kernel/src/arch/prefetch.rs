//! Software prefetch for products: the block that comes next is loaded into the cache while this one is at work.

use super::product::{A_BYTES, BLOCK_BYTES, Operands};
use super::vector::Vector;
use crate::scalar::Scalar;

/// The next block of an operand, prefetched a share with every tile.
pub(super) struct Prefetch<T> {
    b: *const T,
    stride: usize,
    rows: usize,
    bytes: usize,
}

impl<T: Scalar> Prefetch<T> {
    #[inline(always)]
    pub(super) fn new<V: Vector<T = T>>(o: &Operands<T>, k: usize, j: usize, width: usize) -> Self {
        // Behind the last block comes the next panel; a small matrix is in the cache anyway.
        let (k, j) = if k < o.k { (k, j) } else { (0, j + width) };
        let some = o.b_col == 1 && j < o.n && o.k * o.n * T::BYTES > 2 * BLOCK_BYTES;
        let rows = if some { (BLOCK_BYTES / (width * T::BYTES).max(1)).min(o.k - k) } else { 0 };
        Self { b: o.b.wrapping_add(k * o.b_row + j), stride: o.b_row, rows, bytes: width * T::BYTES }
    }

    /// A read across its rows lies far apart: the steps that come next, while the first panel passes by, and those of the next
    /// block of steps while the last one does.
    #[inline(always)]
    pub(super) fn of_a<V: Vector<T = T>>(o: &Operands<T>, k0: usize, kc: usize, j: usize, width: usize) -> Self {
        let next = k0 + kc;
        let first = j == 0 && next < o.k;
        let last = j + width >= o.n && next >= o.k;
        let rows = if o.a_row == 1 && o.m * o.k * T::BYTES >= A_BYTES / 2 && (first || last) { kc } else { 0 };
        Self { b: o.a.wrapping_add(next * o.a_col), stride: o.a_col, rows, bytes: o.m * T::BYTES }
    }

    /// Whether anything is prefetched.
    #[inline(always)]
    pub(super) fn wanted(&self) -> bool {
        self.rows > 0
    }

    /// Prefetches the share of `height` rows of m from row i on.
    #[inline(always)]
    pub(super) fn share<V: Vector<T = T>>(&self, i: usize, height: usize, m: usize) {
        const LINE: usize = 64;
        if self.rows == 0 {
            return; // before the divisions, which take as long as a small tile
        }
        let m = m.max(1);
        let (from, to) = (i * self.rows / m, ((i + height) * self.rows / m).min(self.rows));
        for row in from..to {
            let p = self.b.wrapping_add(row * self.stride);
            (0..self.bytes).step_by(LINE).for_each(|at| V::prefetch(p.wrapping_byte_add(at)));
        }
    }
}
