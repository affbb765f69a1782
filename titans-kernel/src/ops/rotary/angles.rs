//! Frequencies and their angles' cosines and sines, in `f64` and branch-free: loops over them vectorise, without fused
//! multiply-add, so that they give the same bits on every instruction set.

/// Added to a number and subtracted again, rounds it to an integer, which its low bits hold meanwhile: 1.5 · 2^52.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Angles up to here are reduced exactly.
pub(super) const LARGEST: f64 = 1_048_576.0;

/// 2^x for x within ±1000, to about one unit in the last place.
#[inline(always)]
pub(super) fn exp2(x: f64) -> f64 {
    // Taylor's series of e^r; the remainder at |r| = ln 2 / 2 is below 2^−55.
    const INVERSE: [f64; 13] = [
        1.0 / 2.0,
        1.0 / 3.0,
        1.0 / 4.0,
        1.0 / 5.0,
        1.0 / 6.0,
        1.0 / 7.0,
        1.0 / 8.0,
        1.0 / 9.0,
        1.0 / 10.0,
        1.0 / 11.0,
        1.0 / 12.0,
        1.0 / 13.0,
        1.0 / 14.0,
    ];
    let shifted = x + ROUND;
    let r = (x - (shifted - ROUND)) * core::f64::consts::LN_2;
    // e^r = 1 + r (1 + r/2 (1 + r/3 (…))), from the inside.
    let mut sum = 1.0;
    for i in (0..INVERSE.len()).rev() {
        sum = 1.0 + r * INVERSE[i] * sum;
    }
    // The integer's low bits, moved to where the exponent lies: 2^n.
    let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    (1.0 + r * sum) * scale
}

/// (cos x, sin x) for |x| ≤ [`LARGEST`], within 2^−52.
///
/// x = n π/2 + r: π/2 in three parts, of which n times the first two is exact. Then the polynomials of fdlibm.
#[inline(always)]
pub(super) fn cos_sin(x: f64) -> (f64, f64) {
    const HALF_PI: [f64; 3] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_795_950_6e-21];
    const SIN: [f64; 6] = [
        -1.666_666_666_666_663_2e-1,
        8.333_333_333_322_49e-3,
        -1.984_126_982_985_795e-4,
        2.755_731_370_707_007e-6,
        -2.505_076_025_340_686_4e-8,
        1.589_690_995_211_55e-10,
    ];
    const COS: [f64; 6] = [
        4.166_666_666_666_66e-2,
        -1.388_888_888_887_411e-3,
        2.480_158_728_947_673e-5,
        -2.755_731_435_139_066_3e-7,
        2.087_572_321_298_175e-9,
        -1.135_964_755_778_819_5e-11,
    ];
    let shifted = x * core::f64::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    let r = ((x - n * HALF_PI[0]) - n * HALF_PI[1]) - n * HALF_PI[2];
    let z = r * r;
    let sin = SIN[0] + z * (SIN[1] + z * (SIN[2] + z * (SIN[3] + z * (SIN[4] + z * SIN[5]))));
    let sin = r + r * z * sin; // r + r³ S(r²): r itself is not rounded
    let cos = COS[0] + z * (COS[1] + z * (COS[2] + z * (COS[3] + z * (COS[4] + z * COS[5]))));
    // 1 − z/2 + z² C(z), where (1 − near) − half is what rounding took from 1 − z/2.
    let (half, near) = (0.5 * z, 1.0 - 0.5 * z);
    let cos = near + (((1.0 - near) - half) + z * z * cos);
    // By quarters: (cos, sin), (−sin, cos), (−cos, −sin), (sin, −cos).
    let quarter = shifted.to_bits();
    let (a, b) = if quarter & 1 == 0 { (cos, sin) } else { (sin, cos) };
    let sign = |x: f64, turn: u64| f64::from_bits(x.to_bits() ^ ((turn & 2) << 62));
    (sign(a, quarter.wrapping_add(1)), sign(b, quarter))
}

#[cfg(test)]
mod tests {
    use super::{LARGEST, cos_sin, exp2};

    #[test]
    fn powers_of_two_are_right_to_the_last_place() {
        for i in -996_000..=60_000 {
            let x = f64::from(i) / 1000.0 + 1e-5;
            let want = libm::exp2(x);
            assert!((exp2(x) - want).abs() <= 4.0 * f64::EPSILON * want, "2^{x}: {} {want}", exp2(x));
        }
        assert_eq!([exp2(0.0), exp2(-3.0), exp2(10.0)], [1.0, 0.125, 1024.0]);
    }

    #[test]
    fn cosines_and_sines_are_within_rounding_also_near_their_zeros() {
        let near = (0..600_000).map(|i| f64::from(i) * core::f64::consts::FRAC_PI_4);
        let even = (0..200_000).map(|i| f64::from(i) * 5.242_881_3);
        for x in near.chain(even).chain([1e-300, 1e-9, LARGEST]).flat_map(|x| [x, -x]) {
            let (cos, sin) = cos_sin(x);
            let error = (cos - libm::cos(x)).abs().max((sin - libm::sin(x)).abs());
            assert!(error <= f64::EPSILON, "{x}: off by {error:e}");
        }
        assert_eq!(cos_sin(0.0), (1.0, 0.0));
    }
}
