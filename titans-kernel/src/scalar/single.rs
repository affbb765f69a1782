//! Elementary functions of `f32`: branch-free, so that loops over them vectorise, and without fused multiply-add, so
//! that they give the same bits on every instruction set.

/// e^x: at most 1.1 ULP, 0 below −86.6, ∞ above 88.72.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    exp_of_difference(x, 0.0)
}

/// e^(x − low) for a `low` of at most 0.1, small beside x: what rounding x to `f32` left out.
///
/// After Cody and Waite: x = n ln 2 + r with |r| ≤ ln 2 / 2, a polynomial in r, and 2^n by bits. The polynomial is
/// summed in pairs: the chain of operations that wait for each other is what this function costs.
#[inline(always)]
fn exp_of_difference(x: f32, low: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    const LN2_HI: f32 = 0.693_359_4; // exact in few bits, so that n · LN2_HI is exact
    const LN2_LO: f32 = -2.121_944_4e-4;
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = ((x - n * LN2_HI) - n * LN2_LO) - low;
    let r2 = r * r;
    let p = (5.0e-1 + 1.666_666_5e-1 * r)
        + ((4.166_579_6e-2 + 8.333_452e-3 * r) + (1.398_2e-3 + 1.987_569_1e-4 * r) * r2) * r2;
    let y = (p * r2 + r) + 1.0;
    // 2^n by bits, as 2 · 2^(n−1) so that n = 128 does not overflow.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(126 << 23));
    let e = (y + y) * scale;
    let e = if x > 88.722_83 { f32::INFINITY } else { e };
    if x < -86.6 { 0.0 } else { e }
}

/// ln x with the bits of `libm::logf`, whose branches are choices here, so that loops of it are vectorised: at most 0.9
/// ULP.
///
/// x = 2^k (1 + f) with 1 + f between √½ and √2; with s = f / (2 + f), ln (1 + f) = 2 artanh s, whose series is
/// fitted.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    const LN2_HI: f32 = 0.693_138_1;
    const LN2_LO: f32 = 9.058_001e-6;
    const ROOT_HALF: u32 = 0x3F35_04F3;
    let small = x < f32::MIN_POSITIVE;
    let normal = if small { x * 33_554_432.0 } else { x };
    let bits = normal.to_bits().wrapping_add(0x3F80_0000 - ROOT_HALF);
    let k = (bits >> 23) as i32 - if small { 0x7F + 25 } else { 0x7F };
    let f = f32::from_bits((bits & 0x007F_FFFF) + ROOT_HALF) - 1.0;
    let s = f / (2.0 + f);
    let (z, k) = (s * s, k as f32);
    let w = z * z;
    let even = w * (0.400_009_72 + w * 0.242_790_79);
    let odd = z * (0.666_666_6 + w * 0.284_987_87);
    let half = 0.5 * f * f;
    let y = s * (half + (odd + even)) + k * LN2_LO - half + f + k * LN2_HI;
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x < 0.0 { f32::NAN } else { y };
    if x == 0.0 { f32::NEG_INFINITY } else { y }
}

/// |x| up to 14, where e^(−x²/2) is 0; NaN stays NaN.
#[inline(always)]
fn magnitude(x: f32) -> f32 {
    let u = x.abs();
    if u > 14.0 { 14.0 } else { u }
}

/// e^(−x²/2): at most 1.2 ULP, 0 beyond ±13.16.
///
/// The square is taken in two parts, of which the larger is exact: an error of one ULP in x²/2 would be one of 2^−24
/// x²/2 in the result.
#[inline(always)]
pub(super) fn gauss(x: f32) -> f32 {
    let u = magnitude(x);
    let high = f32::from_bits(u.to_bits() & 0xFFFF_F000);
    exp_of_difference(-0.5 * (high * high), 0.5 * ((u - high) * (u + high)))
}

/// Coefficients of P and Q in [`normal`], of ascending powers.
const P: [f32; 5] = [0.5, 0.436_567_96, 0.181_931_17, 0.040_186_46, 0.004_047_835_3];
const Q: [f32; 6] = [1.0, 1.671_020_7, 1.197_140_3, 0.466_021_7, 0.100_739_464, 0.010_146_286];

/// Φ(x), given e^(−x²/2): at most 5.3 ULP where it is normal, also far below 0; 0 below −13.16.
///
/// Φ(−u) = e^(−u²/2) P(u) / Q(u): a rational function fitted to 6e-9 on 0 ..= 14, without a negative coefficient, so
/// that nothing cancels.
#[inline(always)]
pub(super) fn normal(x: f32, gauss: f32) -> f32 {
    let u = magnitude(x);
    let u2 = u * u;
    let p = (P[0] + P[1] * u) + ((P[2] + P[3] * u) + P[4] * u2) * u2;
    let q = (Q[0] + Q[1] * u) + ((Q[2] + Q[3] * u) + (Q[4] + Q[5] * u) * u2) * u2;
    let below = gauss * (p / q);
    if x < 0.0 { below } else { 1.0 - below }
}

#[cfg(test)]
mod tests {
    use crate::scalar::Scalar;
    use crate::scalar::grid::{even, ulp, with_edges};

    /// The largest error in ULP where the true value is not below e^−86.6, nor above the largest `f32`.
    fn worst(x: impl Iterator<Item = f32>, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        x.filter(|x| x.is_finite()).fold(0.0, |worst, x| {
            let (got, want) = (f64::from(f(x)), exact(f64::from(x)));
            assert!(!got.is_nan(), "NaN at {x:e}");
            let counts = want >= 2.5e-38 && want <= f64::from(f32::MAX);
            if counts { worst.max((got - want).abs() / ulp(want)) } else { worst }
        })
    }

    fn normal(x: f32) -> f32 {
        x.normal(x.gauss())
    }

    #[test]
    fn errors_are_at_most_as_stated() {
        let e = worst(even(-86.6, 88.722_8, 1_700_000).chain(with_edges()), Scalar::exp, libm::exp);
        let s = worst(even(-86.6, 86.6, 400_000).chain(with_edges()), Scalar::sigmoid, |x| 1.0 / (1.0 + libm::exp(-x)));
        let density = worst(with_edges().into_iter(), Scalar::gauss, |x| libm::exp(-0.5 * x * x));
        let cdf = worst(with_edges().into_iter(), normal, |x| x.normal(0.0));
        assert!(
            e <= 1.1 && s <= 2.2 && density <= 1.2 && cdf <= 5.3,
            "exp {e}, sigmoid {s}, gauss {density}, normal {cdf} ULP"
        );
    }

    #[test]
    fn ln_has_the_bits_of_libm() {
        let all =
            with_edges().into_iter().chain(even(0.5, 2.0, 300_001)).chain((0..2000).map(|i| f32::from_bits(i * 4001)));
        for x in all {
            let (got, want) = (Scalar::ln(x), libm::logf(x));
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{x:e}: {got:e} {want:e}");
        }
        let error = worst(with_edges().into_iter().filter(|&x| x > 1.0), Scalar::ln, libm::log);
        assert!(error <= 0.9, "ln {error} ULP");
    }

    #[test]
    fn the_ends_are_right() {
        assert_eq!([0.0f32, -0.0].map(Scalar::exp), [1.0; 2]);
        assert_eq!([-200.0, f32::MIN, f32::NEG_INFINITY].map(Scalar::exp), [0.0; 3]);
        assert_eq!([200.0, f32::MAX, f32::INFINITY].map(Scalar::exp), [f32::INFINITY; 3]);
        assert!(Scalar::exp(88.72f32).is_finite());
        assert_eq!([-1e30f32, f32::NEG_INFINITY].map(Scalar::sigmoid), [0.0; 2]);
        assert_eq!([1e30f32, f32::INFINITY].map(Scalar::sigmoid), [1.0; 2]);
        assert_eq!([0.0f32, -0.0, 1e-40].map(Scalar::gauss), [1.0; 3]);
        assert_eq!([-14.0, 1e30, f32::INFINITY, f32::NEG_INFINITY].map(Scalar::gauss), [0.0; 4]);
        assert_eq!([0.0, -0.0, 1e-40].map(normal), [0.5; 3]);
        assert_eq!([-14.0, f32::MIN, f32::NEG_INFINITY].map(normal), [0.0; 3]);
        assert_eq!([14.0, f32::MAX, f32::INFINITY].map(normal), [1.0; 3]);
        for f in [Scalar::exp, Scalar::sigmoid, Scalar::gauss, normal] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}
