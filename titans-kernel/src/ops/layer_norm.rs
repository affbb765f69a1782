//! Layer norm without scale or bias, one row at a time, with its backward and the backward of that: the residual
//! memory network (`docs/MATH.md` section 1) takes its inner gradient through it. Letters are those of "The layer norm"
//! in section 4, (4): a row z of d_L numbers, u = z − mean(z), ρ = (‖u‖² / d_L + eps)^(−1/2), x̂ = ρ u, J = LN′(z).

use super::rows::{dot, sum_by};
use crate::scalar::Scalar;

/// Added to the variance.
pub const EPS: f64 = 1e-5;

/// x̂ = ρ u, u = z − mean(z), ρ = (‖u‖² / d_L + eps)^(−1/2); returns ρ.
#[inline(always)]
pub fn forward_row<T: Scalar>(z: &[T], x_hat: &mut [T]) -> T {
    let n = T::from_f64(z.len() as f64); // d_L
    let mean = sum_by(z, |z| z) / n;
    for (h, &z) in x_hat.iter_mut().zip(z) {
        *h = z - mean; // u
    }
    let rho = T::ONE / (dot(x_hat, x_hat) / n + T::from_f64(EPS)).sqrt();
    for h in x_hat.iter_mut() {
        *h *= rho;
    }
    rho
}

/// From the cotangent of x̂ to that of z, z̄ = J x̂̄. As the sum of x̂ is 0, x̂·du = x̂·dz, and
///
/// ```text
/// dρ = −ρ³ u·du / d_L = −ρ² x̂·dz / d_L
/// dx̂ = ρ du + u dρ = J dz,   J = ρ (I − 1 1ᵀ / d_L − x̂ x̂ᵀ / d_L) = Jᵀ
/// z̄ = J x̂̄ = ρ (x̂̄ − mean(x̂̄) − x̂ mean(x̂̄ ∘ x̂))
/// ```
#[inline(always)]
pub fn vjp_row<T: Scalar>(x_hat: &[T], rho: T, d_x_hat: &[T], d_z: &mut [T]) {
    let n = T::from_f64(x_hat.len() as f64);
    // mean(x̂̄) and mean(x̂̄ ∘ x̂)
    let (m1, m2) = (sum_by(d_x_hat, |x| x) / n, dot(d_x_hat, x_hat) / n);
    for ((o, &d), &h) in d_z.iter_mut().zip(d_x_hat).zip(x_hat) {
        *o = rho * (d - m1 - h * m2);
    }
}

/// Backward of [`vjp_row`], δ = J w: from the cotangent δ̄ (`d_delta`) to those of w (`d_w`) and of z (`d_z`).
///
/// δ is linear in w, and J is its own transpose; J depends on z by ρ and by x̂:
///
/// ```text
/// dδ = J dw + dJ w,   dJ = J dρ / ρ − ρ (dx̂ x̂ᵀ + x̂ dx̂ᵀ) / d_L
/// δ̄·(dJ w) = (δ̄·δ / ρ) dρ + ω·dx̂,   ω = −ρ (δ̄ mean(w ∘ x̂) + w mean(δ̄ ∘ x̂))
/// w̄ = J δ̄,   z̄ = J ω − (δ̄·δ) ρ x̂ / d_L                   as dρ = −ρ² x̂·dz / d_L
/// ```
///
/// `work` is a row.
#[inline(always)]
pub fn vjp_vjp_row<T: Scalar>(
    x_hat: &[T],
    rho: T,
    w: &[T],
    d_delta: &[T],
    d_w: &mut [T],
    d_z: &mut [T],
    work: &mut [T],
) {
    let n = T::from_f64(x_hat.len() as f64);
    // w̄ = J δ̄
    vjp_row(x_hat, rho, d_delta, d_w);
    let (m1, m2, along) = (sum_by(w, |x| x) / n, dot(w, x_hat) / n, dot(d_delta, x_hat));
    // ω = −ρ (δ̄ mean(w ∘ x̂) + w mean(δ̄ ∘ x̂)), by x̂ at fixed ρ
    let k = along / n;
    for (((omega, &w), &d), _) in work.iter_mut().zip(w).zip(d_delta).zip(x_hat) {
        *omega = -(rho * (d * m2 + w * k));
    }
    // δ̄·δ / ρ
    let by_rho = dot(d_delta, w) - m1 * sum_by(d_delta, |x| x) - m2 * along;
    // z̄ = J ω, and by ρ − (δ̄·δ / ρ) ρ² x̂ / d_L
    vjp_row(x_hat, rho, work, d_z);
    let k = by_rho * rho * rho / n;
    for (o, &h) in d_z.iter_mut().zip(x_hat) {
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
