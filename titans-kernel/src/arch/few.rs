//! Products of one or two rows: so few chains of fused multiply-adds wait for one another, unless a tile is wide.

use super::product::Operands;
use super::unroll::each;
use super::vector::Vector;
use crate::arithmetic::Store;
use crate::scalar::Scalar;

/// Rows that are few.
pub(super) const FEW: usize = 2;

/// C of one or two rows, where B's rows lie without gaps between their columns.
#[inline(always)]
pub(super) unsafe fn few<V: Vector>(store: Store, o: &Operands<V::T>) {
    // SAFETY: the caller's promise: one or two rows of C, and A and B as far as they go.
    unsafe {
        match o.m {
            1 => V::apart(
                #[inline(always)]
                || strips::<V, 1>(store, o),
            ),
            _ => V::apart(
                #[inline(always)]
                || strips::<V, 2>(store, o),
            ),
        }
    }
}

/// All columns, eight registers at a time, or so many that two rows have no more.
#[inline(always)]
unsafe fn strips<V: Vector, const R: usize>(store: Store, o: &Operands<V::T>) {
    let wide = if const { R == 1 || V::ACROSS >= 4 } { 8 } else { 4 };
    let mut j = 0;
    while j < o.n {
        let left = o.n - j;
        // SAFETY: columns j and on exist; the rest is the caller's promise.
        unsafe {
            j += match left / V::LANES {
                0 => tile::<V, R, 1, true>(store, o, j, left),
                8.. if wide == 8 => tile::<V, R, 8, false>(store, o, j, left),
                4.. => tile::<V, R, 4, false>(store, o, j, left),
                2.. => tile::<V, R, 2, false>(store, o, j, left),
                _ => tile::<V, R, 1, false>(store, o, j, left),
            }
        }
    }
}

/// R rows of N registers, the last cut off behind `left` columns if `CUT`. Returns the columns that are done.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize, const CUT: bool>(
    store: Store,
    o: &Operands<V::T>,
    j: usize,
    left: usize,
) -> usize {
    // SAFETY: R rows of C and k rows of B have N registers from column j on, or `left` columns; A has R rows of k
    // numbers.
    unsafe {
        let load = |p: *const V::T| if CUT { V::load_first(p, left) } else { V::load(p) };
        let mut sum = [[V::splat(V::T::ZERO); N]; R];
        let c = o.c.add(j);
        if store != Store::Set {
            each!(I < 2 => if const { I < R } {
                each!(J < 8 => if const { J < N } {
                    let x = load(c.add(I * o.c_row + J * V::LANES));
                    sum[I][J] = if store == Store::Sub { x.neg() } else { x };
                });
            });
        }
        let (mut a, mut b) = (o.a, o.b.add(j));
        for _ in 0..o.k {
            let (first, second) = (V::splat(*a), V::splat(*a.wrapping_add(if R > 1 { o.a_row } else { 0 })));
            each!(J < 8 => if const { J < N } {
                let x = load(b.add(J * V::LANES));
                sum[0][J] = first.mul_add(x, sum[0][J]);
                if const { R > 1 } {
                    sum[R - 1][J] = second.mul_add(x, sum[R - 1][J]);
                }
            });
            (a, b) = (a.wrapping_add(o.a_col), b.wrapping_add(o.b_row));
        }
        each!(I < 2 => if const { I < R } {
            each!(J < 8 => if const { J < N } {
                let x = if store == Store::Sub { sum[I][J].neg() } else { sum[I][J] };
                let to = c.add(I * o.c_row + J * V::LANES);
                if CUT { x.store_first(to, left) } else { x.store(to) }
            });
        });
    }
    if CUT { left } else { N * V::LANES }
}
