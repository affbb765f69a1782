//! SiLU, φ(x) = x σ(x), and its derivatives over slices.

use super::blocks::apply;
use crate::scalar::Scalar;

/// What [`Arithmetic::silu`](super::Arithmetic::silu) computes from x₀ and up to two slices more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiluOf {
    /// `y₀ = φ(x₀)`.
    Value,
    /// `y₀ = φ(x₀)`, `y₁ = φ′(x₀)`.
    ValueAndSlope,
    /// `y₀ = x₁ φ′(x₀)`.
    Slope,
    /// `y₀ += x₁ φ′(x₀)`.
    AddSlope,
    /// `y₀ = x₂ φ′(x₀)`, `y₁ = x₂ x₁ φ″(x₀)`.
    Slopes,
    /// `y₀ = x₁ φ(x₀)`.
    Gate,
    /// `y₀ = x₂ φ(x₀)`, `y₁ = x₂ x₁ φ′(x₀)`.
    GateSlopes,
}

impl SiluOf {
    /// Slices that are read beside x₀, and that are written. The versions for instruction sets touch these and no
    /// others, by raw pointers: what is missing here would not be checked.
    const fn counts(self) -> (usize, usize) {
        match self {
            Self::Value => (0, 1),
            Self::ValueAndSlope => (0, 2),
            Self::Slope | Self::AddSlope | Self::Gate => (1, 1),
            Self::Slopes | Self::GateSlopes => (2, 2),
        }
    }
}

/// The operands of [`Arithmetic::silu`](super::Arithmetic::silu); the shortest of those that are used counts.
#[derive(Debug)]
pub struct Silu<'a, T> {
    /// What is computed.
    pub of: SiluOf,
    /// x₀, x₁ and x₂; what is not used may be empty.
    pub x: [&'a [T]; 3],
    /// y₀ and y₁; likewise.
    pub y: [&'a mut [T]; 2],
}

impl<T> Silu<'_, T> {
    /// Numbers that are computed.
    pub(crate) fn len(&self) -> usize {
        let (read, written) = self.of.counts();
        let x = self.x.iter().take(read + 1).map(|x| x.len());
        x.chain(self.y.iter().take(written).map(|y| y.len())).min().unwrap_or(0)
    }
}

/// What all is computed from.
#[inline(always)]
fn seed<T: Scalar>(x: T) -> T {
    (-x.abs()).exp()
}

/// σ(x) and 1 − σ(x) from e^−|x|: nothing overflows, and no difference loses the digits of a small one.
#[inline(always)]
fn sigmoids<T: Scalar>(x: T, seed: T) -> [T; 2] {
    let below = x < T::ZERO;
    let s = (if below { seed } else { T::ONE }) / (T::ONE + seed);
    [s, if below { T::ONE - s } else { seed * s }]
}

/// φ′(x) = σ (1 + x (1 − σ)).
#[inline(always)]
fn first<T: Scalar>(x: T, [s, rest]: [T; 2]) -> T {
    s * (T::ONE + x * rest)
}

/// φ″(x) = σ (1 − σ) (2 + x (1 − 2 σ)).
#[inline(always)]
fn second<T: Scalar>(x: T, [s, rest]: [T; 2]) -> T {
    s * rest * (T::from_f64(2.0) + x * (rest - s))
}

/// [`Arithmetic::silu`](super::Arithmetic::silu) as loops for the compiler to vectorise; [`apply`] finds the shortest
/// slice.
#[inline(always)]
pub(super) fn silu<T: Scalar>(Silu { of, x: [z, a, b], y: [out, more] }: Silu<'_, T>) {
    match of {
        SiluOf::Value => apply(
            [z],
            [out],
            seed,
            #[inline(always)]
            |e, [x], [_]| [x * sigmoids(x, e)[0]],
        ),
        SiluOf::ValueAndSlope => apply(
            [z],
            [out, more],
            seed,
            #[inline(always)]
            |e, [x], [_, _]| {
                let s = sigmoids(x, e);
                [x * s[0], first(x, s)]
            },
        ),
        SiluOf::Slope => apply(
            [z, a],
            [out],
            seed,
            #[inline(always)]
            |e, [x, a], [_]| [a * first(x, sigmoids(x, e))],
        ),
        SiluOf::AddSlope => apply(
            [z, a],
            [out],
            seed,
            #[inline(always)]
            |e, [x, a], [y]| [y + a * first(x, sigmoids(x, e))],
        ),
        SiluOf::Slopes => apply(
            [z, a, b],
            [out, more],
            seed,
            #[inline(always)]
            |e, [x, a, b], [_, _]| {
                let s = sigmoids(x, e);
                [b * first(x, s), b * a * second(x, s)]
            },
        ),
        SiluOf::Gate => apply(
            [z, a],
            [out],
            seed,
            #[inline(always)]
            |e, [x, a], [_]| [a * (x * sigmoids(x, e)[0])],
        ),
        SiluOf::GateSlopes => apply(
            [z, a, b],
            [out, more],
            seed,
            #[inline(always)]
            |e, [x, a, b], [_, _]| {
                let s = sigmoids(x, e);
                [b * (x * s[0]), b * a * first(x, s)]
            },
        ),
    }
}
