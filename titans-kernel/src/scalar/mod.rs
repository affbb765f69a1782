//! `f32` and `f64` behind one trait, with the few elementary functions the memory needs.
//!
//! Those of `f32` that the memory calls for every number are our own, in `single`; the others, and those of `f64`, are
//! libm's. All give the same bits on every instruction set.

#[cfg(test)]
pub(crate) mod grid;
mod root;
mod single;

use crate::part::Parts;
use core::fmt::Debug;
use core::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

/// The number a kernel computes with: `f32` or `f64`.
pub trait Scalar:
    bytemuck::Pod
    + Copy
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
    /// e^x. `f32`: at most 1.1 ULP, 0 below −86.6 and ∞ above 88.72; NaN stays NaN.
    fn exp(self) -> Self;
    /// Natural logarithm. `f32`: at most 0.9 ULP; −∞ of 0, NaN below it.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// e^(−x²/2). `f32`: at most 1.2 ULP, 0 beyond ±13.16.
    fn gauss(self) -> Self;
    /// Φ(x), the distribution function of the normal distribution, for `gauss` = e^(−x²/2). `f32`: at most 5.3 ULP
    /// where the result is a normal number, 0 below −13.16.
    fn normal(self, gauss: Self) -> Self;
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

macro_rules! scalar {
    ($t:ident, $bytes:literal, $exp:expr, $ln:path, $sqrt:path, $gauss:expr, $normal:expr, $abs:path) => {
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
            fn gauss(self) -> Self {
                $gauss(self)
            }
            #[inline(always)]
            fn normal(self, gauss: Self) -> Self {
                $normal(self, gauss)
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
                out.part_mut(..$bytes).become_copy(&self.to_le_bytes());
            }
            #[inline(always)]
            fn read_le(bytes: &[u8]) -> Self {
                let mut b = [0; $bytes];
                b.become_copy(bytes.part(..$bytes));
                $t::from_le_bytes(b)
            }
        }
    };
}

/// Φ(x) for `f64`: no difference, so that it is right far below 0 as well.
fn normal(x: f64, _: f64) -> f64 {
    0.5 * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
}

scalar!(f32, 4, single::exp, single::ln, root::single, single::gauss, single::normal, f32::abs);
scalar!(f64, 8, libm::exp, libm::log, root::double, |x: f64| libm::exp(-0.5 * x * x), normal, f64::abs);

#[cfg(test)]
mod tests {
    use super::Scalar;

    #[test]
    fn bytes_come_back() {
        let mut b = [0; 8];
        (-1.5f32).write_le(&mut b);
        assert_eq!(f32::read_le(&b), -1.5);
        1e-300f64.write_le(&mut b);
        assert_eq!(f64::read_le(&b), 1e-300);
    }
}
