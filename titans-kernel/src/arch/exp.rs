//! e^x of several registers at once, for softmax and SiLU.

use super::unroll::each;
use super::vector::Vector;
use crate::scalar::Scalar;

/// What e^x of `f32` needs of the bits of a register.
///
/// # Safety
/// As [`Vector`].
pub unsafe trait Single: Vector<T = f32> {
    /// self · 2^n, and 0 where x is below `least`; n ≥ −126 elsewhere, and also stands in the low bits of `shifted`.
    unsafe fn times_power(self, n: Self, shifted: Self, x: Self, least: Self) -> Self;
}

/// e^x for x ≤ 0 or NaN: at most 1 ULP, 0 below −86.6. The polynomials of [`Scalar::exp`], with fused operations.
///
/// Operation by operation for all registers: each waits for the one before it, and what lies between them is the work
/// of the others.
#[inline(always)]
pub unsafe fn single<V: Single, const R: usize>(x: [V; R]) -> [V; R] {
    // SAFETY: arithmetic alone; the instructions are the caller's promise.
    unsafe {
        let c = |x: f32| V::splat(x);
        // 1.5 · 2^23: adding it rounds to an integer in the low bits.
        let (round, log2_e) = (c(12_582_912.0), c(core::f32::consts::LOG2_E));
        let (mut shifted, mut n, mut r, mut r2, mut p, mut q) = (x, x, x, x, x, x);
        each!(I < R => shifted[I] = x[I].mul_add(log2_e, round));
        each!(I < R => n[I] = shifted[I].sub(round));
        each!(I < R => r[I] = n[I].mul_add(c(-0.693_359_4), x[I]));
        each!(I < R => r[I] = n[I].mul_add(c(2.121_944_4e-4), r[I]));
        each!(I < R => q[I] = r[I].mul_add(c(1.987_569_1e-4), c(1.398_2e-3)));
        each!(I < R => p[I] = r[I].mul_add(c(8.333_452e-3), c(4.166_579_6e-2)));
        each!(I < R => r2[I] = r[I].mul(r[I]));
        each!(I < R => q[I] = q[I].mul_add(r2[I], p[I]));
        each!(I < R => p[I] = r[I].mul_add(c(1.666_666_5e-1), c(5.0e-1)));
        each!(I < R => q[I] = q[I].mul_add(r2[I], p[I]));
        each!(I < R => q[I] = q[I].mul_add(r2[I], r[I]));
        each!(I < R => q[I] = q[I].add(c(1.0)));
        each!(I < R => q[I] = q[I].times_power(n[I], shifted[I], x[I], c(-86.6)));
        q
    }
}

/// e^x number by number.
#[inline(always)]
pub unsafe fn by_element<V: Vector, const R: usize>(x: [V; R]) -> [V; R] {
    const { assert!(V::LANES <= 16) };
    let mut e = x;
    each!(I < R => {
        let mut lanes = [V::T::ZERO; 16];
        // SAFETY: no register holds more than sixteen numbers.
        unsafe {
            x[I].store(lanes.as_mut_ptr());
            lanes.iter_mut().take(V::LANES).for_each(|x| *x = x.exp());
            e[I] = V::load(lanes.as_ptr());
        }
    });
    e
}
