//! Forward and back substitution for any [`Vector`]: eight rows at a time in registers, columns side by side.

use super::dispatch::{Job, SimdScalar};
use super::unroll::each;
use super::vector::Vector;
use crate::arithmetic::{Arithmetic, Order, Portable, Substitution};
use crate::scalar::Scalar;

/// Rows that are solved together: with as many registers beside each other as a tile has, the sums of one wait for
/// those of another and not for themselves.
const TOGETHER: usize = 4;

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
        let solved = self.known_rows();
        if m == 0 || width == 0 {
            return;
        }
        let first = self.strip();
        let mut at = solved;
        while at < m {
            // SAFETY: `check` found m rows of `width` columns in X and V and m weights of each, so all of the block's
            // rows and columns exist; X is borrowed mutably and overlaps nothing. The instructions are the caller's
            // promise.
            unsafe {
                at += if m - at >= TOGETHER {
                    block::<V, TOGETHER>(&first, at, width)
                } else {
                    block::<V, 1>(&first, at, width)
                }
            }
        }
    }
}

/// R rows from `at` on, all of their columns. Returns R.
#[inline(always)]
unsafe fn block<V: Vector, const R: usize>(s: &TriangleStrip<V::T>, at: usize, width: usize) -> usize {
    let mut j = 0;
    while j < width {
        let left = width - j;
        let v = if s.v.is_null() { s.v } else { s.v.wrapping_add(j) };
        let strip = TriangleStrip { x: s.x.wrapping_add(j), v, cut: left, ..*s };
        // SAFETY: columns j and on exist, by the caller's promise.
        unsafe {
            j += if const { V::ACROSS >= 4 } && left >= 4 * V::LANES {
                tile::<V, R, 4, false>(&strip, at)
            } else if const { V::ACROSS == 2 } && left >= 2 * V::LANES {
                tile::<V, R, 2, false>(&strip, at)
            } else if left >= V::LANES {
                tile::<V, R, 1, false>(&strip, at)
            } else {
                tile::<V, R, 1, true>(&strip, at);
                left
            };
        }
    }
    R
}

/// R rows from `at` on and N registers of columns: what they take of the rows before, and then of one another. Returns
/// the columns of N registers.
#[inline(always)]
#[allow(unused_assignments)] // of what a branch of `each!` that is never taken writes
unsafe fn tile<V: Vector, const R: usize, const N: usize, const CUT: bool>(
    s: &TriangleStrip<V::T>,
    at: usize,
) -> usize {
    // SAFETY: rows 0 .. at + R of X (and V) have N registers of columns or `cut` of them, and row r has r weights, by
    // the caller's promise; a pointer behind the last one is not followed.
    unsafe {
        let load = |p: *const V::T| if CUT { V::load_first(p, s.cut) } else { V::load(p) };
        let row = |i: usize| s.x.wrapping_offset(i as isize * s.x_row);
        let mut acc = [[V::splat(V::T::ZERO); N]; R];
        each!(I < R => each!(J < N => acc[I][J] = load(row(at + I).add(J * V::LANES))));
        if !s.v.is_null() {
            // The values are needed last, and are in no cache yet.
            each!(I < R => each!(J < N => {
                V::prefetch(s.v.wrapping_offset((at + I) as isize * s.v_row).wrapping_add(J * V::LANES));
            }));
        }
        // The R rows' weights of row i, then of the next.
        let mut w = s.w.wrapping_offset(at as isize * s.w_row);
        let mut before = s.x;
        for _ in 0..at {
            let mut x = [V::splat(V::T::ZERO); N];
            each!(J < N => x[J] = load(before.add(J * V::LANES)).neg());
            each!(I < R => {
                let weight = V::splat(*w.wrapping_offset(I as isize * s.w_row));
                each!(J < N => acc[I][J] = weight.mul_add(x[J], acc[I][J]));
            });
            (w, before) = (w.wrapping_offset(s.w_col), before.wrapping_offset(s.x_row));
        }
        let scale = V::splat(s.scale);
        each!(I < R => {
            let mut x = acc[I];
            each!(J < N => {
                if !s.v.is_null() {
                    x[J] = x[J].sub(load(s.v.wrapping_offset((at + I) as isize * s.v_row).add(J * V::LANES)));
                }
                x[J] = scale.mul(x[J]);
                let to = row(at + I).add(J * V::LANES);
                if CUT { x[J].store_first(to, s.cut) } else { x[J].store(to) }
                x[J] = x[J].neg();
            });
            // No row is behind the last one.
            each!(K < R => if const { K > I } {
                let weight = V::splat(*w.wrapping_offset(K as isize * s.w_row));
                each!(J < N => acc[K][J] = weight.mul_add(x[J], acc[K][J]));
            });
            w = w.wrapping_offset(s.w_col);
        });
        N * V::LANES
    }
}
