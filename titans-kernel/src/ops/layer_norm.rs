//! Layer norm without scale or bias, one row at a time, with its backward and the backward of that: the residual
//! memory network (`docs/MATH.md` section 1) takes its inner gradient through it.

use super::rows::{dot, sum_by};
use crate::scalar::Scalar;

/// Added to the variance.
pub const EPS: f64 = 1e-5;

/// x̂ = (x − mean) · r with r = 1/√(var + eps); returns r.
#[inline(always)]
pub fn forward_row<T: Scalar>(x: &[T], x_hat: &mut [T]) -> T {
    let n = T::from_f64(x.len() as f64);
    let mean = sum_by(x, |x| x) / n;
    for (h, &x) in x_hat.iter_mut().zip(x) {
        *h = x - mean;
    }
    let r = T::ONE / (dot(x_hat, x_hat) / n + T::from_f64(EPS)).sqrt();
    for h in x_hat.iter_mut() {
        *h *= r;
    }
    r
}

/// d_x = r (d − mean(d) − x̂ mean(d ∘ x̂)), for the cotangent d of x̂.
///
/// With u = x − mean(x), x̂ = r u and ∂r/∂u = −r³ u / n = −r² x̂ / n: d_u = r d + (d · u) ∂r/∂u = r (d − x̂ (d · x̂) /
/// n), and the mean's share is d_x = d_u − mean(d_u), where mean(x̂) = 0.
#[inline(always)]
pub fn vjp_row<T: Scalar>(x_hat: &[T], r: T, d_x_hat: &[T], d_x: &mut [T]) {
    let n = T::from_f64(x_hat.len() as f64);
    let (m1, m2) = (sum_by(d_x_hat, |x| x) / n, dot(d_x_hat, x_hat) / n);
    for ((o, &d), &h) in d_x.iter_mut().zip(d_x_hat).zip(x_hat) {
        *o = r * (d - m1 - h * m2);
    }
}

/// Backward of [`vjp_row`]: for the cotangent c of its result δ, the cotangents of d (`d_d`) and of x (`d_x`).
///
/// δ = J d with J = r (I − 1 1ᵀ / n − x̂ x̂ᵀ / n), which is linear in d and symmetric: d_d = J c. x enters through x̂
/// and r:
///
/// ```text
/// w = ∂⟨c, δ⟩/∂x̂ = −r (c mean(d ∘ x̂) + d mean(c ∘ x̂))                 x̂'s share is J w
/// ∂⟨c, δ⟩/∂r = ⟨c, δ⟩ / r,   ∂r/∂x = −r² x̂ / n                          r's share is −(⟨c, δ⟩ / r) r² x̂ / n
/// ```
///
/// `work` is a row.
#[inline(always)]
pub fn vjp_vjp_row<T: Scalar>(x_hat: &[T], r: T, d: &[T], c: &[T], d_d: &mut [T], d_x: &mut [T], work: &mut [T]) {
    let n = T::from_f64(x_hat.len() as f64);
    vjp_row(x_hat, r, c, d_d);
    let (m1, m2, c_h) = (sum_by(d, |x| x) / n, dot(d, x_hat) / n, dot(c, x_hat));
    // w: through x̂ at fixed r
    let k = c_h / n;
    for (((w, &d), &c), _) in work.iter_mut().zip(d).zip(c).zip(x_hat) {
        *w = -(r * (c * m2 + d * k));
    }
    // through r: ∂δ/∂r = δ / r, ∂r/∂x = −r² x̂ / n
    let c_delta_over_r = dot(c, d) - m1 * sum_by(c, |x| x) - m2 * c_h;
    vjp_row(x_hat, r, work, d_x);
    let k = c_delta_over_r * r * r / n;
    for (o, &h) in d_x.iter_mut().zip(x_hat) {
        *o -= k * h;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 7;

    fn delta(x: &[f64; N], d: &[f64; N]) -> [f64; N] {
        let (mut h, mut o) = ([f64::NAN; N], [f64::NAN; N]);
        let r = forward_row(x, &mut h);
        vjp_row(&h, r, d, &mut o);
        o
    }

    fn row(seed: usize) -> [f64; N] {
        core::array::from_fn(|i| ((i * 29 + seed * 17) % 23) as f64 / 9.0 - 1.1)
    }

    #[test]
    fn both_backwards_match_finite_differences() {
        let (x, d, c) = (row(1), row(2), row(3));
        let (mut h, mut d_x) = ([f64::NAN; N], [f64::NAN; N]);
        let r = forward_row(&x, &mut h);
        vjp_row(&h, r, &d, &mut d_x);
        let (mut dd, mut dx2, mut work) = ([f64::NAN; N], [f64::NAN; N], [f64::NAN; N]);
        vjp_vjp_row(&h, r, &d, &c, &mut dd, &mut dx2, &mut work);
        let eps = 1e-6;
        for i in 0..N {
            let bump = |v: &[f64; N], e: f64| {
                let mut v = *v;
                v[i] += e;
                v
            };
            let hat = |x: [f64; N]| {
                let mut h = [f64::NAN; N];
                forward_row(&x, &mut h);
                dot(&h, &d)
            };
            let fd = (hat(bump(&x, eps)) - hat(bump(&x, -eps))) / (2.0 * eps);
            assert!((fd - d_x[i]).abs() < 1e-8);
            let fd = (dot(&delta(&bump(&x, eps), &d), &c) - dot(&delta(&bump(&x, -eps), &d), &c)) / (2.0 * eps);
            assert!((fd - dx2[i]).abs() < 1e-7, "{fd} {}", dx2[i]);
            let fd = (dot(&delta(&x, &bump(&d, eps)), &c) - dot(&delta(&x, &bump(&d, -eps)), &c)) / (2.0 * eps);
            assert!((fd - dd[i]).abs() < 1e-7);
        }
    }
}
