//! The register block: a panel of C's columns, in plain Rust that compilers turn into wide arithmetic.

use super::{MulAdd, Store};
use crate::part::{Parts, sure};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// A block of B is packed when at least this many rows of C use it …
const COPY_FROM: usize = 64;
/// … and C's rows or B's reach this far: smaller products stay in the nearest cache anyway.
const COPY_BEYOND: usize = 256;

/// Columns `j .. j + width` of C, `width ≤ NR`, in tiles of MR × NR accumulators over blocks of KC steps of k.
///
/// B is read in place where its rows are contiguous, the panel is full and C has few rows, and through a KC × NR
/// block on the stack otherwise (transposes, narrow last panels, long C: zero padded). A is read in place.
#[inline(always)]
pub fn panel<T: Scalar, F: MulAdd<T>, const MR: usize, const NR: usize, const KC: usize>(
    store: Store,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    c: &mut MatMut<'_, T>,
    j: usize,
    width: usize,
) {
    let (m, depth) = (a.rows(), a.cols());
    let agree = b.rows() == depth && c.rows() == m && j + width <= b.cols() && width <= NR;
    sure!(agree, "gemm shapes");
    if m == 0 || width == 0 {
        return;
    }
    if depth == 0 {
        if store == Store::Set {
            (0..m).for_each(|i| c.row_mut(i).part_mut(j..j + width).fill(T::ZERO));
        }
    } else if b.col_stride() == 1 && width == NR && (m < COPY_FROM || m.max(depth) < COPY_BEYOND) {
        let block = PanelBlock { k0: 0, kc: depth, b: b.data().part(j..), stride: b.row_stride() };
        tiles::<T, F, MR, NR>(store, a, block, c, (j, width));
    } else {
        packed::<T, F, MR, NR, KC>(store, a, b, c, j, width);
    }
}

/// The panel through copies of B's blocks.
#[inline(always)]
fn packed<T: Scalar, F: MulAdd<T>, const MR: usize, const NR: usize, const KC: usize>(
    store: Store,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    c: &mut MatMut<'_, T>,
    j: usize,
    width: usize,
) {
    let mut block = [[T::ZERO; NR]; KC];
    let mut k0 = 0;
    while k0 < b.rows() {
        let kc = KC.min(b.rows() - k0);
        copy_block(block.part_mut(..kc), b, k0, j, width);
        // From the second block of k on a chain goes on from what C holds: the bits of one long chain.
        let store = if k0 == 0 || store == Store::Sub { store } else { Store::Add };
        let rows = PanelBlock { k0, kc, b: block.as_flattened(), stride: NR };
        tiles::<T, F, MR, NR>(store, a, rows, c, (j, width));
        k0 += kc;
    }
}

/// `out[k][0 .. width] = b(k0 + k, j ..)`; columns from `width` on keep their zeros.
#[inline(always)]
fn copy_block<T: Scalar, const NR: usize>(out: &mut [[T; NR]], b: Mat<'_, T>, k0: usize, j: usize, width: usize) {
    let kc = out.len();
    if b.col_stride() == 1 {
        for (k, row) in out.iter_mut().enumerate() {
            row.part_mut(..width).become_copy(b.data().part((k0 + k) * b.row_stride() + j..).part(..width));
        }
    } else if b.row_stride() == 1 {
        for n in 0..width {
            let column = b.data().part((j + n) * b.col_stride() + k0..).part(..kc);
            for (row, &x) in out.iter_mut().zip(column) {
                row.put(n, x);
            }
        }
    } else {
        for (k, row) in out.iter_mut().enumerate() {
            for n in 0..width {
                row.put(n, b.at(k0 + k, j + n));
            }
        }
    }
}

/// Rows `k0 .. k0 + kc` of a panel of B.
#[derive(Clone, Copy)]
struct PanelBlock<'a, T> {
    k0: usize,
    kc: usize,
    b: &'a [T],
    /// Elements from a row of `b` to the next.
    stride: usize,
}

/// All rows of C's columns `j .. j + width` over a block of B.
#[inline(always)]
fn tiles<T: Scalar, F: MulAdd<T>, const MR: usize, const NR: usize>(
    store: Store,
    a: Mat<'_, T>,
    block: PanelBlock<'_, T>,
    c: &mut MatMut<'_, T>,
    columns: (usize, usize),
) {
    let m = a.rows();
    let mut i = 0;
    while i + MR <= m {
        tile::<T, F, MR, NR>(store, a, i, block, c, columns);
        i += MR;
    }
    while i < m {
        tile::<T, F, 1, NR>(store, a, i, block, c, columns);
        i += 1;
    }
}

/// One MR × NR tile of C over a block of B. For `Sub`, A is negated: exact, so the chain is acc + (−a) b.
#[inline(always)]
fn tile<T: Scalar, F: MulAdd<T>, const MR: usize, const NR: usize>(
    store: Store,
    a: Mat<'_, T>,
    i: usize,
    PanelBlock { k0, kc, b, stride: b_stride }: PanelBlock<'_, T>,
    c: &mut MatMut<'_, T>,
    (j, width): (usize, usize),
) {
    let mut acc = [[T::ZERO; NR]; MR];
    if store != Store::Set {
        for r in 0..MR {
            acc[r].part_mut(..width).become_copy(c.row_mut(i + r).part(j..j + width));
        }
    }
    let (rs, cs) = (a.row_stride(), a.col_stride());
    let a = a.data().part(i * rs + k0 * cs..);
    if cs == 1 {
        let rows: [&[T]; MR] = core::array::from_fn(|r| a.part(r * rs..).part(..kc));
        match store {
            Store::Sub => chain::<T, F, MR, NR>(&mut acc, kc, b, b_stride, |k, r| -rows[r].item(k)),
            _ => chain::<T, F, MR, NR>(&mut acc, kc, b, b_stride, |k, r| rows[r].item(k)),
        }
    } else if rs == 1 {
        match store {
            Store::Sub => chain::<T, F, MR, NR>(&mut acc, kc, b, b_stride, |k, r| -a.part(k * cs..).part(..MR).item(r)),
            _ => chain::<T, F, MR, NR>(&mut acc, kc, b, b_stride, |k, r| a.part(k * cs..).part(..MR).item(r)),
        }
    } else {
        let sign = if store == Store::Sub { -T::ONE } else { T::ONE };
        chain::<T, F, MR, NR>(&mut acc, kc, b, b_stride, |k, r| sign * a.item(k * cs + r * rs));
    }
    for r in 0..MR {
        c.row_mut(i + r).part_mut(j..j + width).become_copy(acc[r].part(..width));
    }
}

/// The chains of a tile. All of A's elements of a step are read before the first sum, or else a failed bounds check
/// between the rows makes the compiler read B again for each.
#[inline(always)]
fn chain<T: Scalar, F: MulAdd<T>, const MR: usize, const NR: usize>(
    acc: &mut [[T; NR]; MR],
    kc: usize,
    b: &[T],
    b_stride: usize,
    a: impl Fn(usize, usize) -> T,
) {
    let mut sum = *acc;
    for k in 0..kc {
        let b_row = b.part(k * b_stride..).part(..NR);
        let mut column = [T::ZERO; MR];
        for r in 0..MR {
            column[r] = a(k, r);
        }
        for r in 0..MR {
            for n in 0..NR {
                sum[r][n] = F::mul_add(column[r], b_row.item(n), sum[r][n]);
            }
        }
    }
    *acc = sum;
}
