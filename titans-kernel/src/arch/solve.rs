//! Forward and back substitution for any [`Vector`]: eight rows at a time in registers, columns side by side.

use super::dispatch::{Job, SimdScalar};
use super::unroll::each;
use super::vector::Vector;
use crate::arithmetic::{Arithmetic, Order, Portable, Substitution};
use crate::part::Parts;
use crate::scalar::Scalar;

/// Rows that are solved together.
const TALL: usize = 8;
/// Rows where fewer are left.
const LOW: usize = 4;
/// Rows of a substitution, at most.
const MOST: usize = crate::arithmetic::SOLVED;

/// A strip of columns; rows are counted in the order in which they are solved, so that steps may be negative.
#[derive(Clone, Copy)]
struct TriangleStrip<T> {
    x: *mut T,
    x_row: isize,
    v: *const T,
    v_row: isize,
    w: *const T,
    /// From a row's weights to the next one's, and from what it takes of one row to what it takes of the next.
    w_row: isize,
    w_col: isize,
    scale: T,
    /// Columns of the register, if they are not all.
    cut: usize,
}

impl<T: SimdScalar> Substitution<'_, T> {
    pub(super) fn portable(self) {
        Portable.substitute(self);
    }

    fn strip(&mut self) -> TriangleStrip<T> {
        let (m, w, v) = (self.rows.rows(), self.weights, self.values);
        let [x_row, v_row] = [self.rows.row_stride(), v.map_or(0, |v| v.row_stride())].map(|s| s as isize);
        let [by_row, by_col] = [w.row_stride(), w.col_stride()].map(|s| s as isize);
        let v = v.map_or(core::ptr::null(), |v| v.data().as_ptr());
        let (x, w, scale) = (self.rows.data_mut().as_mut_ptr(), w.data().as_ptr(), self.scale);
        if let Order::Down(solved) = self.order {
            // The rows that are solved have neither weights nor values.
            let back = -(solved as isize);
            let v = if v.is_null() { v } else { v.wrapping_offset(back * v_row) };
            let w = w.wrapping_offset(back * by_row);
            return TriangleStrip { x, x_row, v, v_row, w, w_row: by_row, w_col: by_col, scale, cut: 0 };
        }
        let last = m as isize - 1;
        TriangleStrip {
            x: x.wrapping_offset(last * x_row),
            x_row: -x_row,
            v: if v.is_null() { v } else { v.wrapping_offset(last * v_row) },
            v_row: -v_row,
            w: w.wrapping_offset(last * (by_row + by_col)),
            w_row: -by_col,
            w_col: -by_row,
            scale,
            cut: 0,
        }
    }
}

impl<T: SimdScalar> Job<T> for Substitution<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(mut self) {
        if !self.check() {
            return;
        }
        let (m, width) = (self.rows.rows(), self.rows.cols());
        let solved = self.solved();
        if m == 0 || width == 0 {
            return;
        }
        let first = self.strip();
        let mut at = solved;
        while at < m {
            // SAFETY: `check` found m rows of `width` columns in X and V and at most [`MOST`] weights of each, so all of the block's
            // rows and columns exist; X is borrowed mutably and overlaps nothing. The instructions are the caller's promise.
            unsafe {
                at += match m - at {
                    TALL.. => block::<V, 8>(&first, at, width),
                    LOW.. => block::<V, 4>(&first, at, width),
                    _ => block::<V, 1>(&first, at, width),
                }
            }
        }
    }
}

/// R rows from `at` on, all of their columns. Returns R.
#[inline(always)]
unsafe fn block<V: Vector, const R: usize>(s: &TriangleStrip<V::T>, at: usize, width: usize) -> usize {
    // Side by side, so that their addresses are constants: what the R rows take of every row before their last.
    let mut weights = [[V::T::ZERO; R]; MOST];
    for (i, weights) in weights.part_mut(..at + R).iter_mut().enumerate() {
        for (r, weight) in weights.iter_mut().enumerate() {
            if i < at + r {
                let offset = (at + r) as isize * s.w_row + i as isize * s.w_col;
                // SAFETY: row at + r has a weight for every row before it, by the caller's promise.
                *weight = unsafe { *s.w.wrapping_offset(offset) };
            }
        }
    }
    let wide = if const { V::ACROSS >= 4 } { 2 * V::LANES } else { V::LANES };
    let mut j = 0;
    while j < width {
        let left = width - j;
        let v = if s.v.is_null() { s.v } else { s.v.wrapping_add(j) };
        let strip = TriangleStrip { x: s.x.wrapping_add(j), v, cut: left, ..*s };
        // SAFETY: columns j and on exist, by the caller's promise.
        unsafe {
            j += if left < V::LANES {
                tile::<V, R, 1, true>(&strip, &weights, at);
                left
            } else if left >= wide && wide > V::LANES {
                tile::<V, R, 2, false>(&strip, &weights, at);
                wide
            } else {
                tile::<V, R, 1, false>(&strip, &weights, at);
                V::LANES
            };
        }
    }
    R
}

/// R rows from `at` on and N registers of columns: what they take of the rows before, and then of one another.
#[inline(always)]
#[allow(unused_assignments)] // of what a branch of `each!` that is never taken writes
unsafe fn tile<V: Vector, const R: usize, const N: usize, const CUT: bool>(
    s: &TriangleStrip<V::T>,
    weights: &[[V::T; R]; MOST],
    at: usize,
) {
    // SAFETY: rows 0 .. at + R of X (and V) have N registers of columns or `cut` of them, by the caller's promise.
    unsafe {
        let load = |p: *const V::T| if CUT { V::load_first(p, s.cut) } else { V::load(p) };
        let row = |i: usize| s.x.offset(i as isize * s.x_row);
        let mut acc = [[V::splat(V::T::ZERO); N]; R];
        each!(I < 8 => if const { I < R } {
            each!(J < N => acc[I][J] = load(row(at + I).add(J * V::LANES)));
        });
        for (i, w) in weights.part(..at).iter().enumerate() {
            each!(J < N => {
                let x = load(row(i).add(J * V::LANES)).neg();
                each!(I < 8 => if const { I < R } {
                    acc[I][J] = V::splat(w[I]).mul_add(x, acc[I][J]);
                });
            });
        }
        let (scale, w) = (V::splat(s.scale), weights.as_ptr().add(at));
        each!(I < 8 => if const { I < R } {
            each!(J < N => {
                let to = row(at + I).add(J * V::LANES);
                let mut x = acc[I][J];
                if !s.v.is_null() {
                    x = x.sub(load(s.v.wrapping_offset((at + I) as isize * s.v_row).add(J * V::LANES)));
                }
                x = scale.mul(x);
                if CUT { x.store_first(to, s.cut) } else { x.store(to) }
                let x = x.neg();
                // The last row's is for nobody.
                each!(K < 8 => if const { K > I && K < R } {
                    acc[K][J] = V::splat((*w.add(I))[K]).mul_add(x, acc[K][J]);
                });
            });
        });
    }
}
