//! W δ for any [`Vector`]: a residual passes back through a layer, rows of W as they lie.
//!
//! The order is that of the kernel's reductions: 16 partial sums a row, column j to sum j mod 16, each a chain of fused
//! multiply-adds, then a tree.

use super::unroll::each;
use super::vector::Vector;
use crate::part::sure;
use crate::scalar::Scalar;

/// Partial sums of a row, and rows whose sums are added up together.
const SUMS: usize = 16;

/// 16 partial sums of 16 rows.
#[repr(align(64))]
struct Sums<T>([T; SUMS * SUMS]);

/// `out = W δ`.
///
/// # Safety
/// Only inside a function that enables V's instructions.
///
/// # Panics
/// When W is not `out.len() × delta.len()`.
#[inline(always)]
pub(super) unsafe fn matvec<V: Vector>(w: &[V::T], delta: &[V::T], out: &mut [V::T]) {
    let d = delta.len();
    sure!(w.len() == out.len() * d, "shapes of a product");
    let mut sums = Sums([V::T::ZERO; SUMS * SUMS]);
    let mut turned = Sums([V::T::ZERO; SUMS * SUMS]);
    let rows = out.len();
    let mut i = 0;
    while i < rows {
        let n = SUMS.min(rows - i);
        // SAFETY: rows i .. i + n of W and of the result exist, and each has 16 partial sums.
        unsafe {
            let (w, sum) = (w.as_ptr().add(i * d), sums.0.as_mut_ptr());
            // Eight registers of sums: enough to keep the multiplier busy.
            match V::LANES {
                16 => partial::<V, 8, 1>(w, delta, n, sum),
                8 => partial::<V, 4, 2>(w, delta, n, sum),
                4 => partial::<V, 2, 4>(w, delta, n, sum),
                _ => partial::<V, 1, 8>(w, delta, n, sum),
            }
            V::transpose(sum, SUMS, SUMS, SUMS, turned.0.as_mut_ptr(), SUMS);
            let mut r = 0;
            while r < n {
                let total = tree::<V>(turned.0.as_ptr().add(r));
                total.store_first(out.as_mut_ptr().add(i + r), V::LANES.min(n - r));
                r += V::LANES;
            }
        }
        i += n;
    }
}

/// The sum of 16 registers, [`SUMS`] numbers apart, in the kernel's tree.
#[inline(always)]
unsafe fn tree<V: Vector>(p: *const V::T) -> V {
    // SAFETY: the caller's promise: 16 registers are valid.
    unsafe {
        let (even, odd) = (four::<V>(p, 0).add(four::<V>(p, 2)), four::<V>(p, 1).add(four::<V>(p, 3)));
        even.add(odd)
    }
}

/// Registers l and l + 8, and l + 4 and l + 12, of [`tree`].
#[inline(always)]
unsafe fn four<V: Vector>(p: *const V::T, l: usize) -> V {
    // SAFETY: the same contract.
    unsafe {
        let low = V::load(p.add(l * SUMS)).add(V::load(p.add((l + 8) * SUMS)));
        low.add(V::load(p.add((l + 4) * SUMS)).add(V::load(p.add((l + 12) * SUMS))))
    }
}

/// Partial sums of n rows, R at a time in K registers each.
#[inline(always)]
unsafe fn partial<V: Vector, const R: usize, const K: usize>(w: *const V::T, delta: &[V::T], n: usize, out: *mut V::T) {
    debug_assert_eq!(K * V::LANES, SUMS, "registers of a row's sums");
    let mut i = 0;
    // SAFETY: the caller's promise: n rows of W and 16 sums for each are valid.
    unsafe {
        while i + R <= n {
            rows::<V, R, K>(w.add(i * delta.len()), delta, out.add(i * SUMS));
            i += R;
        }
        while i < n {
            rows::<V, 1, K>(w.add(i * delta.len()), delta, out.add(i * SUMS));
            i += 1;
        }
    }
}

/// Partial sums of R rows.
#[inline(always)]
unsafe fn rows<V: Vector, const R: usize, const K: usize>(w: *const V::T, delta: &[V::T], out: *mut V::T) {
    let (d, p) = (delta.len(), delta.as_ptr());
    // SAFETY: R rows of d numbers are valid; of the last columns only those that exist are read.
    unsafe {
        let mut sum = [[V::splat(V::T::ZERO); K]; R];
        let mut j = 0;
        while j + SUMS <= d {
            each!(Q < K => {
                let x = V::load(p.add(j + Q * V::LANES));
                each!(I < R => sum[I][Q] = V::load(w.add(I * d + j + Q * V::LANES)).mul_add(x, sum[I][Q]));
            });
            j += SUMS;
        }
        if j < d {
            each!(Q < K => {
                let at = j + Q * V::LANES;
                let n = d.saturating_sub(at).min(V::LANES);
                let x = V::load_first(p.wrapping_add(at), n);
                each!(I < R => sum[I][Q] = V::load_first(w.wrapping_add(I * d + at), n).mul_add(x, sum[I][Q]));
            });
        }
        each!(I < R => each!(Q < K => sum[I][Q].store(out.add(I * SUMS + Q * V::LANES))));
    }
}
