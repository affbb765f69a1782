//! The gate of SwiGLU and of the mixer's output: `y = a ∘ silu(gate)`.

use super::activation::silu;
use crate::arithmetic::{Arithmetic, SiluOf};
use crate::error::{Result, expect_len};
use crate::scalar::Scalar;

/// `y = a ∘ gate σ(gate)`, slices of one length.
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, a: &[T], gate: &[T], y: &mut [T]) -> Result<()> {
    expect_len("gate", a.len(), gate.len())?;
    expect_len("y", a.len(), y.len())?;
    silu(g, SiluOf::Gate, &[gate, a], [y]);
    Ok(())
}

/// Backward of [`forward`], both overwritten. With x the gate, y = a ∘ silu(x): dy = da ∘ silu(x) + a ∘ silu′(x) ∘ dx,
/// so ā = ȳ ∘ silu(x) (`d_a`) and x̄ = ȳ ∘ a ∘ silu′(x) (`d_gate`) with silu′(x) = σ (1 + x (1 − σ)), σ = σ(x).
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
    silu(g, SiluOf::GateSlopes, &[gate, a, d_y], [d_a, d_gate]);
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
            let want: Vec<f64> = a.iter().zip(&gate).map(|(a, x)| a * x / (1.0 + (-x).exp())).collect();
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
