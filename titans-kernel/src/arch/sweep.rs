//! One token's products and changes over whole matrices: columns in strips, or rows in the order of their addresses.
//!
//! A strip keeps its sums in registers but jumps from row to row. Where W and S are beyond L2, or rows
//! are long, order pays more: a few rows at a time over all columns, the sums in L1. The chains are the
//! same.

use crate::part::sure;
use core::mem::MaybeUninit;

use super::token::{Change, TokenStrip, load, pass, rows, store, strips};
use super::unroll::each;
use super::vector::Vector;
use crate::arithmetic::{Learn, Probe};
use crate::scalar::Scalar;

/// Rows side by side in row order; even, so that chains keep their parity.
const TOGETHER: usize = 2;
/// Bytes of a row that stay together in row order.
const PANEL: usize = 4096;
/// From so many bytes of a matrix on rows are taken in order.
const IN_ROWS: usize = 256 * 1024;

/// A matrix, its momentum, and what to multiply it with.
struct Whole<T> {
    w: *mut T,
    s: *mut T,
    rows: usize,
    d: usize,
    /// Of the change, if there is one; else null.
    x: *const T,
    delta: *const T,
    keep: T,
    eta: T,
    probes: [*const T; 2],
    outs: [*mut T; 2],
}

/// `out = x W`.
///
/// # Safety
/// Only inside a function that enables V's instructions.
///
/// # Panics
/// When W is not `x.len() × out.len()`.
#[inline(always)]
pub(super) unsafe fn vecmat<V: Vector>(x: &[V::T], w: &[V::T], out: &mut [V::T]) {
    let d = out.len();
    sure!(w.len() == x.len() * d, "shapes of a product");
    let rest = d % V::LANES;
    let (none, p) = (core::ptr::null(), x.as_ptr());
    // SAFETY: W's columns j .. j + the strip's width are valid in all rows; nothing is learned, so nothing is written
    // to W.
    unsafe {
        if size_of_val(w) > IN_ROWS {
            let (from, zero) = (w.as_ptr().cast_mut(), V::T::ZERO);
            let outs = [out.as_mut_ptr(), core::ptr::null_mut()];
            let probes = [p, none];
            let all =
                Whole { w: from, s: from, rows: x.len(), d, x: none, delta: none, keep: zero, eta: zero, probes, outs };
            return in_rows::<V, false, 1>(all);
        }
        strips!(V, d, V::ACROSS, |j, N, MASK| {
            let w = w.as_ptr().add(j).cast_mut();
            let strip = TokenStrip { w, s: w, stride: d, rows: x.len(), rest };
            let [y, _] = pass::<V, N, MASK>(strip, None, Some(p), None);
            store::<V, N, MASK>(y, out.as_mut_ptr().add(j), rest);
        });
    }
}

/// [`Learn`], and products with the changed W.
///
/// # Safety
/// Only inside a function that enables V's instructions.
///
/// # Panics
/// When sizes disagree.
#[inline(always)]
pub(super) unsafe fn learn<V: Vector>(
    c: Learn<'_, V::T>,
    w: &mut [V::T],
    s: &mut [V::T],
    mut probes: [Option<Probe<'_, V::T>>; 2],
) {
    let (rows, d) = (c.x.len(), c.delta.len());
    sure!(w.len() == rows * d && s.len() == rows * d, "shapes of a token step");
    sure!(probes.iter().flatten().all(|p| p.x.len() == rows && p.out.len() == d), "shapes of a token step");
    let rest = d % V::LANES;
    if probes[0].is_none() {
        probes.swap(0, 1);
    }
    let x = probes.each_ref().map(|p| p.as_ref().map(|p: &Probe<'_, V::T>| p.x.as_ptr()));
    let outs = probes.map(|p| p.map_or(core::ptr::null_mut(), |p| p.out.as_mut_ptr()));
    // SAFETY: W's and S's columns j .. j + the strip's width are valid in all rows, and so are x, δ and the probes; a
    // probe that is there has a place for its result.
    unsafe {
        let (w, s) = (w.as_mut_ptr(), s.as_mut_ptr());
        if rows * d * V::T::BYTES > IN_ROWS {
            let probes = x.map(|x| x.unwrap_or(core::ptr::null()));
            let (delta, keep, eta) = (c.delta.as_ptr(), c.keep, c.eta);
            let all = Whole { w, s, rows, d, x: c.x.as_ptr(), delta, keep, eta, probes, outs };
            return match x {
                [_, Some(_)] => in_rows::<V, true, 2>(all),
                [Some(_), None] => in_rows::<V, true, 1>(all),
                [None, None] => in_rows::<V, true, 0>(all),
            };
        }
        let (keep, eta) = (V::splat(c.keep), V::splat(c.eta));
        strips!(V, d, V::ACROSS, |j, N, MASK| {
            let strip = TokenStrip { w: w.add(j), s: s.add(j), stride: d, rows, rest };
            let delta = load::<V, N, MASK>(c.delta.as_ptr().add(j), rest);
            let y = pass::<V, N, MASK>(strip, Some(Change { x: c.x.as_ptr(), delta, keep, eta }), x[0], x[1]);
            each!(I < 2 => if !outs[I].is_null() {
                store::<V, N, MASK>(y[I], outs[I].add(j), rest);
            });
        });
    }
}

/// All columns of a few rows before the next rows.
#[inline(always)]
unsafe fn in_rows<V: Vector, const LEARN: bool, const P: usize>(all: Whole<V::T>) {
    let panel = PANEL / V::T::BYTES;
    let mut odd = Odd([const { MaybeUninit::uninit() }; 2 * PANEL]);
    let odd: [*mut V::T; 2] = [0, 1].map(|i| odd.0.as_mut_ptr().wrapping_add(i * PANEL).cast());
    let mut j0 = 0;
    while j0 < all.d {
        let width = panel.min(all.d - j0);
        // SAFETY: columns j0 .. j0 + width and all rows are the caller's promise; the odd sums have room for a panel.
        unsafe {
            let mut i = 0;
            while i < all.rows {
                few::<V, LEARN, P>(&all, j0, width, i, odd);
                i += TOGETHER;
            }
            each!(I < 2 => if I < P {
                let out = all.outs[I].add(j0);
                strips!(V, width, V::ACROSS, |j, N, MASK| {
                    let rest = width % V::LANES;
                    let mut sum = load::<V, N, MASK>(out.add(j), rest);
                    let other = load::<V, N, MASK>(odd[I].add(j), rest);
                    each!(J < N => sum[J] = sum[J].add(other[J]));
                    store::<V, N, MASK>(sum, out.add(j), rest);
                });
            });
        }
        j0 += width;
    }
}

/// Sums over odd rows, for two probes.
#[repr(align(64))]
struct Odd([MaybeUninit<u8>; 2 * PANEL]);

/// Up to [`TOGETHER`] rows from row i on, in a panel of columns; the even sums stand where the results will.
#[inline(always)]
unsafe fn few<V: Vector, const LEARN: bool, const P: usize>(
    all: &Whole<V::T>,
    j0: usize,
    width: usize,
    i: usize,
    odd: [*mut V::T; 2],
) {
    let rest = width % V::LANES;
    // SAFETY: the caller's promise: rows i .. and columns j0 .. j0 + width lie inside W and S; x, δ and the probes
    // reach as far. Sums are written before they are read.
    unsafe {
        let at = i * all.d + j0;
        let (w, s) = (all.w.add(at), if LEARN { all.s.add(at) } else { all.s });
        let x = if LEARN { all.x.add(i) } else { all.x };
        let (keep, eta, zero) = (V::splat(all.keep), V::splat(all.eta), V::splat(V::T::ZERO));
        let n = TOGETHER.min(all.rows - i);
        let mut probes = all.probes;
        each!(I < 2 => if I < P { probes[I] = probes[I].add(i) });
        strips!(V, width, V::ACROSS, |j, N, MASK| {
            let strip = TokenStrip { w: w.add(j), s: s.wrapping_add(j), stride: all.d, rows: n, rest };
            let delta = if LEARN { load::<V, N, MASK>(all.delta.add(j0 + j), rest) } else { [zero; N] };
            let mut sums = [[[zero; N]; 2]; 2];
            if i > 0 {
                each!(I < 2 => if I < P {
                    sums[0][I] = load::<V, N, MASK>(all.outs[I].add(j0 + j), rest);
                    sums[1][I] = load::<V, N, MASK>(odd[I].add(j), rest);
                });
            }
            let sums = rows::<V, N, MASK, LEARN, P>(strip, Change { x, delta, keep, eta }, probes, sums);
            each!(I < 2 => if I < P {
                store::<V, N, MASK>(sums[0][I], all.outs[I].add(j0 + j), rest);
                store::<V, N, MASK>(sums[1][I], odd[I].add(j), rest);
            });
        });
    }
}
