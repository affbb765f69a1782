//! A gate that only lets through: `y = a ∘ σ(gate)`.

use crate::arithmetic::Arithmetic;
use crate::arithmetic::blocks::apply;
use crate::error::{Result, expect_len};
use crate::scalar::Scalar;

/// `y = a ∘ σ(gate)`, slices of one length.
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, a: &[T], gate: &[T], y: &mut [T]) -> Result<()> {
    expect_len("gate", a.len(), gate.len())?;
    expect_len("y", a.len(), y.len())?;
    g.vectorise(
        #[inline(always)]
        || {
            apply(
                [gate, a],
                [y],
                #[inline(always)]
                |x| x.sigmoid(),
                #[inline(always)]
                |s, [_, a], [_]| [a * s],
            );
        },
    );
    Ok(())
}

/// Backward of [`forward`], both overwritten. With x the gate, y = a ∘ σ(x) and σ′ = σ (1 − σ): dy = da ∘ σ(x) + a ∘
/// σ′(x) ∘ dx, so ā = ȳ ∘ σ(x) (`d_a`) and x̄ = ȳ ∘ a ∘ σ (1 − σ) (`d_gate`).
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    a: &[T],
    gate: &[T],
    d_y: &[T],
    d_a: &mut [T],
    d_gate: &mut [T],
) -> Result<()> {
    expect_len("gate", a.len(), gate.len())?;
    expect_len("d_y", a.len(), d_y.len())?;
    expect_len("d_a", a.len(), d_a.len())?;
    expect_len("d_gate", a.len(), d_gate.len())?;
    g.vectorise(
        #[inline(always)]
        || {
            apply(
                [gate, a, d_y],
                [d_a, d_gate],
                #[inline(always)]
                |x| x.sigmoid(),
                #[inline(always)]
                |s, [_, a, d_y], [_, _]| [d_y * s, d_y * a * s * (T::ONE - s)], // ȳ σ, ȳ a σ (1 − σ)
            );
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{forward, vjp};
    use crate::arithmetic::Portable;
    use crate::ops::check::{SINGLE, WIDTHS, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use std::vec::Vec;

    fn run<T: Scalar>(a: &[T], gate: &[T]) -> Vec<T> {
        let mut y = poison(a.len());
        forward(&Portable, a, gate, &mut y).unwrap();
        y
    }

    fn run_vjp<T: Scalar>(a: &[T], gate: &[T], cot: &[T]) -> (Vec<T>, Vec<T>) {
        let (mut d_a, mut d_gate) = (poison(a.len()), poison(a.len()));
        vjp(&Portable, a, gate, cot, &mut d_a, &mut d_gate).unwrap();
        (d_a, d_gate)
    }

    #[test]
    fn forward_and_vjp_in_both_precisions() {
        for n in WIDTHS {
            let (a, gate, cot) = (values::<f64>(n, 1), values::<f64>(n, 2), values::<f64>(n, 3));
            let want: Vec<f64> = a.iter().zip(&gate).map(|(a, x)| a / (1.0 + (-x).exp())).collect();
            assert_close("y", &run(&a, &gate), &want, 1e-15);
            assert_close("f32 y", &widen(&run::<f32>(&values(n, 1), &values(n, 2))), &want, SINGLE);
            let (d_a, d_gate) = run_vjp(&a, &gate, &cot);
            assert_gradient("d_a", &a, &d_a, |a| inner(&run(a, &gate), &cot));
            assert_gradient("d_gate", &gate, &d_gate, |gate| inner(&run(&a, gate), &cot));
            let single = run_vjp::<f32>(&values(n, 1), &values(n, 2), &values(n, 3));
            assert_close("f32 d_a", &widen(&single.0), &d_a, SINGLE);
            assert_close("f32 d_gate", &widen(&single.1), &d_gate, SINGLE);
        }
    }

    #[test]
    fn a_gate_far_out_is_open_or_shut() {
        let (a, gate) = ([3.0f32, 3.0, 3.0], [1e4, -1e4, f32::NAN]);
        let y = run(&a, &gate);
        assert_eq!(y[..2], [3.0, 0.0]);
        assert!(y[2].is_nan());
        let (d_a, d_gate) = run_vjp(&a, &gate, &[2.0; 3]);
        assert_eq!((&d_a[..2], &d_gate[..2]), (&[2.0, 0.0][..], &[0.0, 0.0][..]));
        assert!(d_a[2].is_nan() && d_gate[2].is_nan());
    }

    #[test]
    fn lengths_are_checked() {
        let (a, mut y, mut z) = ([1.0f32; 3], [7.0f32; 3], [7.0f32; 3]);
        assert!(forward(&Portable, &a, &a[..2], &mut y).is_err());
        assert!(forward(&Portable, &a[..2], &a[..2], &mut y).is_err());
        assert!(vjp(&Portable, &a, &a[..2], &a, &mut y, &mut z).is_err());
        assert!(vjp(&Portable, &a, &a, &a[..2], &mut y, &mut z).is_err());
        assert!(vjp(&Portable, &a, &a, &a, &mut y[..2], &mut z).is_err());
        assert!(vjp(&Portable, &a, &a, &a, &mut y, &mut z[..2]).is_err());
        assert_eq!((y, z), ([7.0; 3], [7.0; 3]));
    }
}
