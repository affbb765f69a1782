//! What tests of operations share: inputs, poison, comparisons, and gradients by finite differences.

use crate::scalar::Scalar;
use std::format;
use std::string::String;
use std::vec::Vec;

/// Widths at ±1 of the 16 partial sums and the 64 channels of a block, 1, and primes.
pub(crate) const WIDTHS: [usize; 12] = [1, 2, 3, 7, 15, 16, 17, 31, 37, 63, 64, 65];

/// Finite differences in `f64` against a gradient: allowed difference over the gradient's largest element (or 1).
pub(crate) const GRADIENT: f64 = 1e-9;

/// `f32` against `f64`: allowed difference over the largest value (or 1).
pub(crate) const SINGLE: f64 = 1e-5;

/// `n` numbers in [−2, 2) that `f32` holds exactly, the same for every T; another series for another seed.
pub(crate) fn values<T: Scalar>(n: usize, seed: u64) -> Vec<T> {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let mut next = || {
        z ^= z >> 30;
        z = z.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^= z >> 27;
        z = z.wrapping_mul(0x94d0_49bb_1331_11eb).wrapping_add(seed);
        (z >> 52) as f64 / 1024.0 - 2.0
    };
    (0..n).map(|_| T::from_f64(next())).collect()
}

/// `n` NaNs: what an output holds before it is written.
pub(crate) fn poison<T: Scalar>(n: usize) -> Vec<T> {
    std::vec![T::NAN; n]
}

/// Exact widening of every element.
pub(crate) fn widen<T: Scalar>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// Σ x_i y_i: the loss whose cotangent is y.
pub(crate) fn inner(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// `after − before`: what an operation has added to a gradient.
pub(crate) fn added(after: &[f64], before: &[f64]) -> Vec<f64> {
    assert_eq!(after.len(), before.len());
    after.iter().zip(before).map(|(a, b)| a - b).collect()
}

/// `Err` with the first place where `got` is further from `want` than `tolerance` times the largest `want` (or 1).
/// NaN is far from everything.
pub(crate) fn compare(what: &str, got: &[f64], want: &[f64], tolerance: f64) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} elements, expected {}", got.len(), want.len()));
    }
    let allowed = tolerance * want.iter().fold(1.0, |m: f64, w| m.max(w.abs()));
    let near = |(g, w): (&f64, &f64)| (g - w).abs() <= allowed;
    match got.iter().zip(want).position(|pair| !near(pair)) {
        Some(i) => Err(format!("{what}[{i}]: {} but expected {} ± {allowed:e}", got[i], want[i])),
        None => Ok(()),
    }
}

/// [`compare`] as an assertion.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    compare(what, got, want, tolerance).unwrap();
}

/// The gradient of `loss` at `x` by central differences of fourth order.
pub(crate) fn differences(x: &[f64], mut loss: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-4; // small beside the bend of a norm, large beside rounding over 1e-9
    let (n, mut x) = (x.len(), x.to_vec());
    let mut moved = |i: usize, by: f64| {
        let old = x[i];
        x[i] = old + by;
        let value = loss(&x);
        x[i] = old;
        value
    };
    (0..n)
        .map(|i| {
            let near = moved(i, H) - moved(i, -H);
            let far = moved(i, 2.0 * H) - moved(i, -2.0 * H);
            (8.0 * near - far) / (12.0 * H)
        })
        .collect()
}

/// `Err` when `gradient` is not the gradient of `loss` at `x` within [`GRADIENT`].
pub(crate) fn gradient(what: &str, x: &[f64], gradient: &[f64], loss: impl FnMut(&[f64]) -> f64) -> Result<(), String> {
    compare(what, gradient, &differences(x, loss), GRADIENT)
}

/// [`gradient`] as an assertion.
#[track_caller]
pub(crate) fn assert_gradient(what: &str, x: &[f64], d_x: &[f64], loss: impl FnMut(&[f64]) -> f64) {
    gradient(what, x, d_x, loss).unwrap();
}

#[test]
fn the_checker_accepts_a_gradient_and_refuses_planted_errors() {
    let x = values::<f64>(5, 1);
    let loss = |x: &[f64]| (0..5).map(|i| (x[i] * x[(i + 1) % 5]).sin()).sum::<f64>();
    let d = |i: usize| x[(i + 1) % 5] * (x[i] * x[(i + 1) % 5]).cos() + x[(i + 4) % 5] * (x[(i + 4) % 5] * x[i]).cos();
    let right: Vec<f64> = (0..5).map(d).collect();
    gradient("right", &x, &right, loss).unwrap();
    for planted in [right[2] * (1.0 + 1e-6) + 1e-7, 0.0, -right[2], f64::NAN, f64::INFINITY] {
        let mut wrong = right.clone();
        wrong[2] = planted;
        assert!(gradient("wrong", &x, &wrong, loss).unwrap_err().starts_with("wrong[2]"));
    }
    assert!(gradient("short", &x, &right[..4], loss).is_err());
    assert!(gradient("NaN loss", &x, &right, |_| f64::NAN).is_err());
}

#[test]
fn values_are_exact_in_f32_and_differ_by_seed() {
    assert_eq!(widen(&values::<f32>(100, 3)), values::<f64>(100, 3));
    assert_ne!(values::<f64>(8, 3), values::<f64>(8, 4));
    assert!(values::<f64>(1000, 5).iter().any(|&x| x > 1.0) && values::<f64>(1000, 5).iter().any(|&x| x < -1.0));
}
