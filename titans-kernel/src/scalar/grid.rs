//! Where functions of `f32` are tested, and the unit of their errors.

use std::vec::Vec;

/// The distance of the `f32` around x from one another.
pub(crate) fn ulp(x: f64) -> f64 {
    let bits = (x.abs() as f32).min(f32::MAX).to_bits();
    f64::from(f32::from_bits(bits + 1)) - f64::from(f32::from_bits(bits))
}

/// `low ..= high` in equal steps.
pub(crate) fn even(low: f32, high: f32, points: usize) -> impl Iterator<Item = f32> {
    let step = (f64::from(high) - f64::from(low)) / (points - 1) as f64;
    (0..points).map(move |i| (f64::from(low) + step * i as f64) as f32)
}

/// All magnitudes of `f32` from subnormal to huge with both signs, ±16 densely, both zeros, both infinities and NaN.
pub(crate) fn with_edges() -> Vec<f32> {
    let every = (0..f32::INFINITY.to_bits()).step_by(8191).map(f32::from_bits);
    let ends = [0, 1, 0x007F_FFFF, 0x0080_0000, 0x7F7F_FFFF, 0x7F80_0000].map(f32::from_bits);
    let positive = every.chain(ends);
    positive.flat_map(|x| [x, -x]).chain(even(-16.0, 16.0, 200_001)).chain([f32::NAN]).collect()
}
