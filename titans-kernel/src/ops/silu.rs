//! SiLU, element by element: `y = x σ(x)`.
//!
//! NaN stays NaN, and so does −∞ become NaN (−∞ · 0); finite values below about −87 give −0 in `f32`.

use super::activation::{self, Activation};
use crate::arithmetic::Arithmetic;
use crate::error::{Result, expect_len};
use crate::scalar::Scalar;

/// `y = x σ(x)`, slices of one length.
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, x: &[T], y: &mut [T]) -> Result<()> {
    expect_len("y", x.len(), y.len())?;
    activation::forward(g, Activation::Silu, x, y);
    Ok(())
}

/// Backward of [`forward`], overwritten: (x σ)′ = σ + x σ′ and σ′ = σ (1 − σ), so x̄ = ȳ ∘ σ(x) (1 + x (1 − σ(x))).
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(g: &G, x: &[T], d_y: &[T], d_x: &mut [T]) -> Result<()> {
    expect_len("d_y", x.len(), d_y.len())?;
    expect_len("d_x", x.len(), d_x.len())?;
    activation::vjp(g, Activation::Silu, x, d_y, d_x);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{forward, vjp};
    use crate::arithmetic::Portable;
    use crate::ops::check::{SINGLE, WIDTHS, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use std::vec::Vec;

    fn run<T: Scalar>(x: &[T]) -> Vec<T> {
        let mut y = poison(x.len());
        forward(&Portable, x, &mut y).unwrap();
        y
    }

    fn run_vjp<T: Scalar>(x: &[T], cot: &[T]) -> Vec<T> {
        let mut d_x = poison(x.len());
        vjp(&Portable, x, cot, &mut d_x).unwrap();
        d_x
    }

    #[test]
    fn forward_and_vjp_in_both_precisions() {
        for n in WIDTHS {
            let (x, cot) = (values::<f64>(n, 1), values::<f64>(n, 2));
            let want: Vec<f64> = x.iter().map(|x| x / (1.0 + (-x).exp())).collect();
            assert_close("y", &run(&x), &want, 1e-15);
            assert_close("f32 y", &widen(&run(&values::<f32>(n, 1))), &want, SINGLE);
            let d_x = run_vjp(&x, &cot);
            assert_gradient("d_x", &x, &d_x, |x| inner(&run(x), &cot));
            assert_close("f32 d_x", &widen(&run_vjp::<f32>(&values(n, 1), &values(n, 2))), &d_x, SINGLE);
        }
    }

    #[test]
    fn the_ends_and_nan_are_as_documented() {
        assert_eq!(run(&[200.0f32, -200.0, 0.0, f32::INFINITY]), [200.0, 0.0, 0.0, f32::INFINITY]);
        assert!(run(&[f32::NAN, f32::NEG_INFINITY]).iter().all(|y| y.is_nan()));
        assert_eq!(run_vjp(&[200.0f32, -200.0, 0.0], &[3.0; 3]), [3.0, 0.0, 1.5]);
        let mut y = [7.0f32; 3];
        assert!(forward(&Portable, &[1.0; 2], &mut y).is_err());
        assert!(vjp(&Portable, &[1.0; 3], &[1.0; 2], &mut y).is_err());
        assert!(vjp(&Portable, &[1.0; 2], &[1.0; 2], &mut y).is_err());
        assert_eq!(y, [7.0; 3]);
    }
}
