//! φ of the memory network and its first two derivatives, element by element (`docs/MATH.md` section 1).
//!
//! The inner gradient is itself an expression of φ′, so training through it needs φ″.

use crate::gemm::Gemm;
use crate::scalar::Scalar;

/// φ between the layers of the memory network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// x σ(x).
    #[default]
    Silu,
    /// x Φ(x), with the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x.
    Identity,
}

/// A function with two derivatives.
trait Phi<T: Scalar> {
    fn value(x: T) -> T;
    fn first(x: T) -> T;
    fn second(x: T) -> T;
}

struct Silu;
struct Gelu;
struct GeluTanh;
struct Relu;
struct Identity;

impl<T: Scalar> Phi<T> for Silu {
    #[inline(always)]
    fn value(x: T) -> T {
        x * x.sigmoid()
    }
    #[inline(always)]
    fn first(x: T) -> T {
        let s = x.sigmoid();
        s * (T::ONE + x * (T::ONE - s))
    }
    #[inline(always)]
    fn second(x: T) -> T {
        let s = x.sigmoid();
        s * (T::ONE - s) * (T::from_f64(2.0) + x * (T::ONE - s - s))
    }
}

/// (Φ(x), density of the normal distribution at x).
#[inline(always)]
fn normal<T: Scalar>(x: T) -> (T, T) {
    let half = T::from_f64(0.5);
    let cdf = half * (T::ONE + (x * T::from_f64(core::f64::consts::FRAC_1_SQRT_2)).erf());
    let pdf = (-(half * x * x)).exp() * T::from_f64(0.398_942_280_401_432_7);
    (cdf, pdf)
}

impl<T: Scalar> Phi<T> for Gelu {
    #[inline(always)]
    fn value(x: T) -> T {
        x * normal(x).0
    }
    #[inline(always)]
    fn first(x: T) -> T {
        let (cdf, pdf) = normal(x);
        cdf + x * pdf
    }
    #[inline(always)]
    fn second(x: T) -> T {
        normal(x).1 * (T::from_f64(2.0) - x * x)
    }
}

/// The tanh form is x σ(2u) with u = √(2/π) (x + 0.044715 x³): returns (σ(2u), (2u)′, (2u)″).
#[inline(always)]
fn tanh_parts<T: Scalar>(x: T) -> (T, T, T) {
    let c = T::from_f64(1.595_769_121_605_730_8); // 2 √(2/π)
    let k = T::from_f64(0.044_715);
    let x2 = x * x;
    let three = T::from_f64(3.0);
    ((c * (x + k * x2 * x)).sigmoid(), c * (T::ONE + three * k * x2), c * (three + three) * k * x)
}

impl<T: Scalar> Phi<T> for GeluTanh {
    #[inline(always)]
    fn value(x: T) -> T {
        x * tanh_parts(x).0
    }
    #[inline(always)]
    fn first(x: T) -> T {
        let (s, d, _) = tanh_parts(x);
        s + x * s * (T::ONE - s) * d
    }
    #[inline(always)]
    fn second(x: T) -> T {
        let (s, d, dd) = tanh_parts(x);
        let s1 = s * (T::ONE - s) * d;
        let s2 = s1 * (T::ONE - s - s) * d + s * (T::ONE - s) * dd;
        s1 + s1 + x * s2
    }
}

impl<T: Scalar> Phi<T> for Relu {
    #[inline(always)]
    fn value(x: T) -> T {
        if x <= T::ZERO { T::ZERO } else { x } // NaN stays NaN
    }
    #[inline(always)]
    fn first(x: T) -> T {
        if x <= T::ZERO { T::ZERO } else { T::ONE }
    }
    #[inline(always)]
    fn second(_: T) -> T {
        T::ZERO
    }
}

impl<T: Scalar> Phi<T> for Identity {
    #[inline(always)]
    fn value(x: T) -> T {
        x
    }
    #[inline(always)]
    fn first(_: T) -> T {
        T::ONE
    }
    #[inline(always)]
    fn second(_: T) -> T {
        T::ZERO
    }
}

/// Runs `$body` with `$p` standing for the function's type.
macro_rules! with_phi {
    ($activation:expr, $p:ident => $body:expr) => {
        match $activation {
            Activation::Silu => {
                type $p = Silu;
                $body
            }
            Activation::Gelu => {
                type $p = Gelu;
                $body
            }
            Activation::GeluTanh => {
                type $p = GeluTanh;
                $body
            }
            Activation::Relu => {
                type $p = Relu;
                $body
            }
            Activation::Identity => {
                type $p = Identity;
                $body
            }
        }
    };
}

/// `out = φ(z)`; slices of one length.
pub fn forward<T: Scalar, G: Gemm<T>>(g: &G, activation: Activation, z: &[T], out: &mut [T]) {
    with_phi!(activation, P => g.vectorise(#[inline(always)] || {
        for (o, &z) in out.iter_mut().zip(z) {
            *o = P::value(z);
        }
    }));
}

/// `d_z = d_out ∘ φ′(z)`.
pub fn vjp<T: Scalar, G: Gemm<T>>(g: &G, activation: Activation, z: &[T], d_out: &[T], d_z: &mut [T]) {
    with_phi!(activation, P => g.vectorise(#[inline(always)] || {
        for ((d, &z), &o) in d_z.iter_mut().zip(z).zip(d_out) {
            *d = o * P::first(z);
        }
    }));
}

/// `d_z += d_out ∘ φ′(z)`.
pub fn vjp_add<T: Scalar, G: Gemm<T>>(g: &G, activation: Activation, z: &[T], d_out: &[T], d_z: &mut [T]) {
    with_phi!(activation, P => g.vectorise(#[inline(always)] || {
        for ((d, &z), &o) in d_z.iter_mut().zip(z).zip(d_out) {
            *d += o * P::first(z);
        }
    }));
}

/// Backward of [`vjp`]: for the cotangent `c` of `d_z`, `d_d_out = c ∘ φ′(z)` and `d_z = c ∘ d_out ∘ φ″(z)`.
pub fn vjp_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    activation: Activation,
    z: &[T],
    d_out: &[T],
    c: &[T],
    d_d_out: &mut [T],
    d_z: &mut [T],
) {
    with_phi!(activation, P => g.vectorise(#[inline(always)] || {
        for ((((&z, &o), &c), dd), d) in z.iter().zip(d_out).zip(c).zip(d_d_out).zip(d_z) {
            *dd = c * P::first(z);
            *d = c * o * P::second(z);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Portable;

    const ALL: [Activation; 5] =
        [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Identity];

    #[test]
    fn derivatives_are_those_of_the_function() {
        let z = [-31.0f64, -6.0, -2.5, -0.7, -1e-3, 0.2, 1.0, 3.3, 9.0, 40.0];
        let h = 1e-5;
        for a in ALL {
            let (mut up, mut down, mut d1, mut d1_up, mut d1_down) =
                ([f64::NAN; 10], [f64::NAN; 10], [f64::NAN; 10], [f64::NAN; 10], [f64::NAN; 10]);
            let (zu, zd) = (z.map(|x| x + h), z.map(|x| x - h));
            forward(&Portable, a, &zu, &mut up);
            forward(&Portable, a, &zd, &mut down);
            vjp(&Portable, a, &z, &[1.0; 10], &mut d1);
            vjp(&Portable, a, &zu, &[1.0; 10], &mut d1_up);
            vjp(&Portable, a, &zd, &[1.0; 10], &mut d1_down);
            let (mut dd, mut d2) = ([f64::NAN; 10], [f64::NAN; 10]);
            vjp_vjp(&Portable, a, &z, &[3.0; 10], &[2.0; 10], &mut dd, &mut d2);
            let mut sum = [1.0; 10];
            vjp_add(&Portable, a, &z, &[1.0; 10], &mut sum);
            for i in 0..10 {
                assert!(((up[i] - down[i]) / (2.0 * h) - d1[i]).abs() < 1e-8, "{a:?} first at {}", z[i]);
                assert!((6.0 * (d1_up[i] - d1_down[i]) / (2.0 * h) - d2[i]).abs() < 1e-7, "{a:?} second at {}", z[i]);
                assert!((dd[i] - 2.0 * d1[i]).abs() < 1e-12 && (sum[i] - 1.0 - d1[i]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn single_precision_follows_double() {
        for a in ALL {
            for i in -400..400 {
                let x = i as f32 * 0.05;
                let (mut y, mut w) = ([f32::NAN], [f64::NAN]);
                forward(&Portable, a, &[x], &mut y);
                forward(&Portable, a, &[f64::from(x)], &mut w);
                assert!((f64::from(y[0]) - w[0]).abs() <= 1e-6 * (1.0 + w[0].abs()), "{a:?} {x}");
            }
        }
    }
}
