//! `f32` and `f64` behind one trait, with the few elementary functions the memory needs.
//!
//! The `f32` exponential is our own: branch-free, so that loops over it vectorise. It uses multiplications and
//! additions only (never a fused multiply-add), so it gives the same bits on every instruction set.

use core::fmt::Debug;
use core::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

/// The number a kernel computes with: `f32` or `f64`.
pub trait Scalar:
    Copy
    + Default
    + Debug
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Not a number, to poison buffers with in tests.
    const NAN: Self;
    /// Bytes of one number.
    const BYTES: usize;

    /// The nearest value to a constant of the mathematics.
    fn from_f64(x: f64) -> Self;
    /// Exact widening.
    fn to_f64(self) -> f64;
    /// e^x. `f32`: at most 2 ULP, 0 below −86.6 and ∞ above 88.72; NaN stays NaN.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Error function.
    fn erf(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Neither infinite nor NaN.
    fn finite(self) -> bool;
    /// The larger; the other one if one is NaN.
    fn maximum(self, other: Self) -> Self;
    /// Writes the little-endian bytes to `out[..Self::BYTES]`.
    fn write_le(self, out: &mut [u8]);
    /// Reads the little-endian bytes of `bytes[..Self::BYTES]`.
    fn read_le(bytes: &[u8]) -> Self;

    /// σ(x) = 1 / (1 + e^−x), in [0, 1].
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }
}

/// e^x for `f32`, after Cody and Waite: x = n ln 2 + r with |r| ≤ ln 2 / 2, a polynomial in r, and 2^n by bits.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    const LN2_HI: f32 = 0.693_359_4; // exact in few bits, so that n · LN2_HI is exact
    const LN2_LO: f32 = -2.121_944_4e-4;
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HI) - n * LN2_LO;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5.0e-1;
    let y = (p * (r * r) + r) + 1.0;
    // 2^n by bits, as 2 · 2^(n−1) so that n = 128 does not overflow.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(126 << 23));
    let e = (y * 2.0) * scale;
    let e = if x > 88.722_83 { f32::INFINITY } else { e };
    if x < -86.6 { 0.0 } else { e }
}

macro_rules! scalar {
    ($t:ident, $bytes:literal, $exp:expr, $ln:path, $sqrt:path, $erf:path, $abs:path) => {
        impl Scalar for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = $t::NAN;
            const BYTES: usize = $bytes;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $ln(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $sqrt(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $abs(self)
            }
            #[inline(always)]
            fn finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn maximum(self, other: Self) -> Self {
                self.max(other)
            }
            #[inline(always)]
            fn write_le(self, out: &mut [u8]) {
                out[..$bytes].copy_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn read_le(bytes: &[u8]) -> Self {
                let mut b = [0; $bytes];
                b.copy_from_slice(&bytes[..$bytes]);
                $t::from_le_bytes(b)
            }
        }
    };
}

scalar!(f32, 4, exp_f32, libm::logf, libm::sqrtf, libm::erff, f32::abs);
scalar!(f64, 8, libm::exp, libm::log, libm::sqrt, libm::erf, f64::abs);

#[cfg(test)]
mod tests {
    use super::Scalar;

    #[test]
    fn exp_is_within_two_ulp_and_right_at_the_ends() {
        let mut worst = 0.0f64;
        for i in -866_000..=887_000 {
            let x = i as f32 * 1e-4;
            let got = f64::from(Scalar::exp(x));
            let want = libm::exp(f64::from(x));
            let bits = (want as f32).to_bits();
            let ulp = f64::from(f32::from_bits(bits + 1)) - f64::from(f32::from_bits(bits));
            worst = worst.max((got - want).abs() / ulp);
        }
        assert!(worst <= 2.0, "{worst} ULP");
        assert_eq!(Scalar::exp(0.0f32), 1.0);
        assert_eq!(Scalar::exp(-200.0f32), 0.0);
        assert_eq!(Scalar::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(Scalar::exp(200.0f32), f32::INFINITY);
        assert_eq!(Scalar::exp(f32::INFINITY), f32::INFINITY);
        assert!(Scalar::exp(f32::NAN).is_nan());
        assert!(Scalar::exp(88.72f32).is_finite());
        assert_eq!(Scalar::sigmoid(-1e30f32), 0.0);
        assert_eq!(Scalar::sigmoid(1e30f32), 1.0);
    }

    #[test]
    fn bytes_come_back() {
        let mut b = [0; 8];
        (-1.5f32).write_le(&mut b);
        assert_eq!(f32::read_le(&b), -1.5);
        1e-300f64.write_le(&mut b);
        assert_eq!(f64::read_le(&b), 1e-300);
    }
}
