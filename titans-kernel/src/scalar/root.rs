//! √x, correctly rounded, so that its bits are the same everywhere.
//!
//! On x86-64 by the intrinsics: libm writes the instruction as text, always in its oldest encoding, and between the
//! instructions of AVX that one costs some fifty nanoseconds where the upper halves of registers are in use. Compiled
//! intrinsics take the encoding of the function they stand in.

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod by {
    use safe_arch::{get_f32_from_m128_s, get_f64_from_m128d_s, set_m128_s, set_m128d_s, sqrt_m128_s, sqrt_m128d_s};

    #[inline(always)]
    pub fn single(x: f32) -> f32 {
        get_f32_from_m128_s(sqrt_m128_s(set_m128_s(x)))
    }

    #[inline(always)]
    pub fn double(x: f64) -> f64 {
        let x = set_m128d_s(x);
        get_f64_from_m128d_s(sqrt_m128d_s(x, x))
    }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
mod by {
    pub use libm::{sqrt as double, sqrtf as single};
}

pub(super) use by::{double, single};

#[cfg(test)]
mod tests {
    use crate::scalar::Scalar;

    #[test]
    fn roots_have_the_bits_of_the_standard() {
        let edges = [0.0, -0.0, 1.0, 2.0, -1.0, 1e-45, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NAN];
        let some = (0..200_000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761) >> 1));
        for x in edges.into_iter().chain(some) {
            let (got, want) = (Scalar::sqrt(x), libm::sqrtf(x));
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{x}: {got} and not {want}");
            let x = f64::from(x) * 1.000_000_123;
            let (got, want) = (Scalar::sqrt(x), libm::sqrt(x));
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{x}: {got} and not {want}");
        }
    }
}
