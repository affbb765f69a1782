//! One register tile of a product.

use super::unroll::{each, opaque};
use super::vector::Vector;
use crate::gemm::Store;
use crate::scalar::Scalar;

/// Steps of k that are written out.
const UNROLLED: usize = 4;

/// The steps of k that only the tile's rows from `first` on see; one row fewer with every step.
#[derive(Clone, Copy)]
pub(super) struct Corner {
    pub first: usize,
    pub steps: usize,
}

/// Where a tile's numbers lie.
#[derive(Clone, Copy)]
pub(super) struct Tile<T> {
    pub a: *const T,
    pub a_row: usize,
    pub a_col: usize,
    pub b: *const T,
    pub b_row: usize,
    pub c: *mut T,
    pub c_row: usize,
    pub kc: usize,
    /// Columns in the last register.
    pub last: usize,
}

/// R rows by N registers of C over `kc` steps, then the corner.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, const R: usize, const N: usize>(store: Store, t: Tile<V::T>, corner: Corner) {
    // SAFETY: the caller's promise: all elements addressed lie inside A, the copy of B, and C.
    unsafe {
        let mut sum = [[V::splat(V::T::ZERO); N]; R];
        if store != Store::Set {
            each!(I < R => each!(J < N => {
                let p = t.c.add(I * t.c_row + J * V::LANES);
                let x = if J + 1 < N || t.last == V::LANES { V::load(p) } else { V::load_first(p, t.last) };
                sum[I][J] = if store == Store::Sub { x.neg() } else { x };
            }));
        }
        // They end a step behind the last one, which may be behind the matrix.
        let (mut a, mut b) = (t.a, t.b);
        if t.a_col == 1 && t.kc >= UNROLLED {
            // A pointer for every three rows, moved once in four steps: a pointer for every row would not leave registers for
            // them, and their additions fill the front end.
            let mut at = [a; 4];
            each!(G < 4 => at[G] = a.add(if 3 * G < R { 3 * G * t.a_row } else { 0 }));
            for _ in 0..t.kc / UNROLLED {
                each!(U < 4 => {
                    let mut row = [V::splat(V::T::ZERO); N];
                    each!(J < N => row[J] = V::load(b.add(J * V::LANES)));
                    each!(I < R => {
                        let x = V::splat(*at[I / 3].add(U + I % 3 * t.a_row));
                        each!(J < N => sum[I][J] = x.mul_add(row[J], sum[I][J]));
                    });
                    b = b.wrapping_add(t.b_row);
                });
                each!(G < 4 => if 3 * G < R {
                    at[G] = opaque(at[G].wrapping_add(UNROLLED));
                });
            }
            a = at[0];
        } else if t.a_row == 1 {
            for _ in 0..t.kc {
                step::<V, R, N>(&mut sum, a, 1, b, 0);
                (a, b) = (a.wrapping_add(t.a_col), b.wrapping_add(t.b_row));
            }
        }
        let done = if t.a_col == 1 && t.kc >= UNROLLED {
            t.kc / UNROLLED * UNROLLED
        } else if t.a_row == 1 {
            t.kc
        } else {
            0
        };
        for _ in done..t.kc {
            step::<V, R, N>(&mut sum, a, t.a_row, b, 0);
            (a, b) = (a.wrapping_add(t.a_col), b.wrapping_add(t.b_row));
        }
        for s in 0..corner.steps {
            step::<V, R, N>(&mut sum, a, t.a_row, b, corner.first + s);
            (a, b) = (a.wrapping_add(t.a_col), b.wrapping_add(t.b_row));
        }
        each!(I < R => each!(J < N => {
            let p = t.c.add(I * t.c_row + J * V::LANES);
            let x = if store == Store::Sub { sum[I][J].neg() } else { sum[I][J] };
            if J + 1 < N || t.last == V::LANES { x.store(p) } else { x.store_first(p, t.last) }
        }));
    }
}

/// One step of k for the tile's rows from `first` on.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const N: usize>(
    sum: &mut [[V; N]; R],
    a: *const V::T,
    a_row: usize,
    b: *const V::T,
    first: usize,
) {
    // SAFETY: the caller's promise: N registers of b and rows `first` .. R of a are valid.
    unsafe {
        let mut row = [V::splat(V::T::ZERO); N];
        each!(J < N => row[J] = V::load(b.add(J * V::LANES)));
        each!(I < R => {
            if I >= first {
                let x = V::splat(*a.add(I * a_row));
                each!(J < N => sum[I][J] = x.mul_add(row[J], sum[I][J]));
            }
        });
    }
}
