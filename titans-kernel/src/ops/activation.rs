//! φ of the memory network and its first two derivatives, element by element (`docs/MATH.md` section 1).
//!
//! The inner gradient is itself an expression of φ′, so training through it needs φ″.

use crate::arithmetic::blocks::apply;
use crate::arithmetic::{Arithmetic, Silu, SiluOf};
use crate::choice;
use crate::scalar::Scalar;

choice! {
    /// φ between the layers of the memory network.
    #[derive(Default)]
    pub enum Activation: "activation" {
        /// x σ(x).
        #[default]
        Silu = 0, "silu";
        /// x Φ(x), with the error function.
        Gelu = 1, "gelu";
        /// The tanh approximation of GELU.
        GeluTanh = 2, "gelu-tanh";
        /// max(x, 0).
        Relu = 3, "relu";
        /// x.
        Identity = 4, "identity";
    }
}

/// A function with two derivatives, all from one costly number, the seed.
trait Phi<T: Scalar> {
    /// An exponential of x, where the function has one.
    #[inline(always)]
    fn seed(_: T) -> T {
        T::ZERO
    }
    fn value(x: T, seed: T) -> T;
    fn first(x: T, seed: T) -> T;
    fn second(x: T, seed: T) -> T;
}

struct Gelu;
struct GeluTanh;
struct Relu;
struct Identity;

/// σ from the seed e^−x.
#[inline(always)]
fn sigmoid<T: Scalar>(seed: T) -> T {
    T::ONE / (T::ONE + seed)
}

/// 1 − σ from the seed and σ, without the difference that loses the digits of a small one. Where the seed is infinite σ
/// is 0, and so is what is returned.
#[inline(always)]
fn rest<T: Scalar>(seed: T, s: T) -> T {
    let most = T::from_f64(if T::BYTES == 4 { f64::from(f32::MAX) } else { f64::MAX });
    (if seed > most { most } else { seed }) * s
}

/// x kept within ±40, where all exponentials here are 0 and no power overflows; NaN stays NaN.
#[inline(always)]
fn bounded<T: Scalar>(x: T) -> T {
    let end = T::from_f64(40.0);
    let x = if x > end { end } else { x };
    if x < -end { -end } else { x }
}

/// Density of the normal distribution, from the seed e^(−x²/2).
#[inline(always)]
fn density<T: Scalar>(seed: T) -> T {
    seed * T::from_f64(0.398_942_280_401_432_7)
}

/// φ = x Φ, φ′ = Φ + x ϕ, φ″ = (2 − x²) ϕ with ϕ = Φ′ the density, as ϕ′ = −x ϕ.
impl<T: Scalar> Phi<T> for Gelu {
    #[inline(always)]
    fn seed(x: T) -> T {
        x.gauss()
    }
    #[inline(always)]
    fn value(x: T, seed: T) -> T {
        x * x.normal(seed)
    }
    #[inline(always)]
    fn first(x: T, seed: T) -> T {
        x.normal(seed) + bounded(x) * density(seed)
    }
    #[inline(always)]
    fn second(x: T, seed: T) -> T {
        let x = bounded(x);
        density(seed) * (T::from_f64(2.0) - x * x)
    }
}

/// 2 √(2/π), twice the factor of the tanh form's u.
const TANH: f64 = 1.595_769_121_605_730_8;
/// The factor of the tanh form's cube.
const CUBE: f64 = 0.044_715;

/// The tanh form is x σ(2u) with u = √(2/π) (x + 0.044715 x³): returns (σ(2u), (2u)′, (2u)″) from the seed e^−2u.
#[inline(always)]
fn tanh_parts<T: Scalar>(x: T, seed: T) -> (T, T, T) {
    let (c, k, three) = (T::from_f64(TANH), T::from_f64(CUBE), T::from_f64(3.0));
    (sigmoid(seed), c * (T::ONE + three * k * (x * x)), c * (three + three) * k * x)
}

impl<T: Scalar> Phi<T> for GeluTanh {
    #[inline(always)]
    fn seed(x: T) -> T {
        let x = bounded(x);
        (-(T::from_f64(TANH) * (x + T::from_f64(CUBE) * (x * x) * x))).exp()
    }
    #[inline(always)]
    fn value(x: T, seed: T) -> T {
        x * sigmoid(seed)
    }
    #[inline(always)]
    fn first(x: T, seed: T) -> T {
        let x = bounded(x);
        let (s, d, _) = tanh_parts(x, seed);
        s + x * s * rest(seed, s) * d
    }
    #[inline(always)]
    fn second(x: T, seed: T) -> T {
        let x = bounded(x);
        let (s, d, dd) = tanh_parts(x, seed);
        // With s = σ(2u), s′ = s (1 − s) (2u)′ and s″ = s′ (1 − 2s) (2u)′ + s (1 − s) (2u)″: φ″ = 2 s′ + x s″.
        let slope = s * rest(seed, s);
        let s1 = slope * d;
        let s2 = s1 * (T::ONE - s - s) * d + slope * dd;
        s1 + s1 + x * s2
    }
}

impl<T: Scalar> Phi<T> for Relu {
    #[inline(always)]
    fn value(x: T, _: T) -> T {
        if x <= T::ZERO { T::ZERO } else { x } // NaN stays NaN
    }
    #[inline(always)]
    fn first(x: T, _: T) -> T {
        if x <= T::ZERO { T::ZERO } else { T::ONE }
    }
    #[inline(always)]
    fn second(_: T, _: T) -> T {
        T::ZERO
    }
}

impl<T: Scalar> Phi<T> for Identity {
    #[inline(always)]
    fn value(x: T, _: T) -> T {
        x
    }
    #[inline(always)]
    fn first(_: T, _: T) -> T {
        T::ONE
    }
    #[inline(always)]
    fn second(_: T, _: T) -> T {
        T::ZERO
    }
}

/// [`apply`] to `$x` and `$y` under g, with `$p` standing for the function's type and `$s` for its seed; SiLU, the
/// default, has a path of its own.
macro_rules! with_phi {
    ($g:ident, $activation:ident, $silu:ident, $x:expr, $y:expr, |$p:ident, $s:ident, $in:pat_param, $old:pat_param| $body:expr) => {
        match $activation {
            Activation::Silu => silu($g, SiluOf::$silu, &$x, $y),
            Activation::Gelu => with_phi!(@ Gelu, $g, $x, $y, |$p, $s, $in, $old| $body),
            Activation::GeluTanh => with_phi!(@ GeluTanh, $g, $x, $y, |$p, $s, $in, $old| $body),
            Activation::Relu => with_phi!(@ Relu, $g, $x, $y, |$p, $s, $in, $old| $body),
            Activation::Identity => with_phi!(@ Identity, $g, $x, $y, |$p, $s, $in, $old| $body),
        }
    };
    (@ $phi:ident, $g:ident, $x:expr, $y:expr, |$p:ident, $s:ident, $in:pat_param, $old:pat_param| $body:expr) => {{
        type $p = $phi;
        $g.vectorise(
            #[inline(always)]
            || {
                apply(
                    $x,
                    $y,
                    #[inline(always)]
                    |x| $p::seed(x),
                    #[inline(always)]
                    |$s, $in, $old| $body,
                )
            },
        )
    }};
}

/// [`Arithmetic::silu`] with what is there.
pub(super) fn silu<T: Scalar, G: Arithmetic<T>, const O: usize>(g: &G, of: SiluOf, x: &[&[T]], y: [&mut [T]; O]) {
    let (mut inputs, mut outputs): ([&[T]; 3], [&mut [T]; 2]) = ([&[]; 3], [&mut [], &mut []]);
    inputs.iter_mut().zip(x).for_each(|(to, from)| *to = from);
    outputs.iter_mut().zip(y).for_each(|(to, from)| *to = from);
    g.silu(Silu { of, x: inputs, y: outputs });
}

/// `out = φ(z)`; slices of one length.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, activation: Activation, z: &[T], out: &mut [T]) {
    with_phi!(g, activation, Value, [z], [out], |P, s, [z], [_]| [P::value(z, s)]);
}

/// `out = φ(z)` and `slope = φ′(z)`, from one exponential: bits of [`forward`], and with [`vjp_slope`] those of
/// [`vjp`].
pub fn forward_with_slope<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    activation: Activation,
    z: &[T],
    out: &mut [T],
    slope: &mut [T],
) {
    with_phi!(g, activation, ValueAndSlope, [z], [out, slope], |P, s, [z], [_, _]| [P::value(z, s), P::first(z, s)]);
}

/// Backward of out = φ(z), dout = φ′(z) ∘ dz, for the slope φ′(z) that [`forward_with_slope`] kept:
/// `d_z = d_out ∘ slope`.
pub fn vjp_slope<T: Scalar, G: Arithmetic<T>>(g: &G, slope: &[T], d_out: &[T], d_z: &mut [T]) {
    g.vectorise(
        #[inline(always)]
        || {
            for ((d, &s), &o) in d_z.iter_mut().zip(slope).zip(d_out) {
                *d = o * s;
            }
        },
    );
}

/// Backward of out = φ(z), dout = φ′(z) ∘ dz: `d_z = d_out ∘ φ′(z)`.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(g: &G, activation: Activation, z: &[T], d_out: &[T], d_z: &mut [T]) {
    with_phi!(g, activation, Slope, [z, d_out], [d_z], |P, s, [z, o], [_]| [o * P::first(z, s)]);
}

/// [`vjp`] of a z that has other uses: `d_z += d_out ∘ φ′(z)`.
pub fn vjp_add<T: Scalar, G: Arithmetic<T>>(g: &G, activation: Activation, z: &[T], d_out: &[T], d_z: &mut [T]) {
    with_phi!(g, activation, AddSlope, [z, d_out], [d_z], |P, s, [z, o], [d]| [d + o * P::first(z, s)]);
}

/// Backward of [`vjp`], which as a part of the memory's gradients is Δ = D ∘ φ′(Z) (`docs/MATH.md` section 4, (4)): D
/// is `d_out`; from Δ̄ (`d_delta`) to D̄ (`d_d_out`) and Z̄ (`d_z`).
///
/// By the product rule dΔ = φ′(Z) ∘ dD + D ∘ φ″(Z) ∘ dZ, so D̄ = Δ̄ ∘ φ′(Z) and Z̄ = Δ̄ ∘ D ∘ φ″(Z).
pub fn vjp_vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    activation: Activation,
    z: &[T],
    d_out: &[T],
    d_delta: &[T],
    d_d_out: &mut [T],
    d_z: &mut [T],
) {
    with_phi!(g, activation, Slopes, [z, d_out, d_delta], [d_d_out, d_z], |P, s, [z, o, d], [_, _]| {
        [d * P::first(z, s), d * o * P::second(z, s)]
    });
}

#[cfg(test)]
mod tests;
