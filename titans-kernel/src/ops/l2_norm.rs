//! Rows scaled to length one: `y = x / sqrt(‖x‖² + EPS)`, for keys and queries.

use super::rows::{dot, expect_rows};
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Added to the squared length, so that a row of zeros stays a row of zeros.
pub const EPS: f64 = 1e-6;

/// 1 / sqrt(‖x‖² + EPS).
#[inline(always)]
fn inverse_norm<T: Scalar>(x: &[T]) -> T {
    T::ONE / (dot(x, x) + T::from_f64(EPS)).sqrt()
}

/// `y[r] = x[r] / sqrt(‖x[r]‖² + EPS)`; x and y `[n, d]`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or x's columns are not neighbours.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, x: Mat<'_, T>, mut y: MatMut<'_, T>) -> Result<()> {
    expect_rows("x", "x column stride", x, x.rows(), x.cols())?;
    expect_rows("y", "y column stride", y.as_ref(), x.rows(), x.cols())?;
    if x.cols() == 0 {
        return Ok(());
    }
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..x.rows() {
                let row = x.row(r);
                let scale = inverse_norm(row);
                for (y, &x) in y.row_mut(r).iter_mut().zip(row) {
                    *y = x * scale;
                }
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`], overwritten.
///
/// A row is y = ρ x with ρ = (‖x‖² + EPS)^(−1/2), so dρ = −ρ³ x·dx and dy = ρ dx + dρ x (`docs/MATH.md` section 4,
/// "Around the memory"):
///
/// ```text
/// x̄ = ρ ȳ − ρ³ (ȳ·x) x = ρ (ȳ − ρ² (ȳ·x) x)
/// ```
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or a view's columns are not neighbours.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(g: &G, x: Mat<'_, T>, d_y: Mat<'_, T>, mut d_x: MatMut<'_, T>) -> Result<()> {
    expect_rows("x", "x column stride", x, x.rows(), x.cols())?;
    expect_rows("d_y", "d_y column stride", d_y, x.rows(), x.cols())?;
    expect_rows("d_x", "d_x column stride", d_x.as_ref(), x.rows(), x.cols())?;
    if x.cols() == 0 {
        return Ok(());
    }
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..x.rows() {
                let (x, d_y) = (x.row(r), d_y.row(r));
                let rho = inverse_norm(x);
                let along = rho * rho * dot(d_y, x); // ρ² (ȳ·x)
                for ((d_x, &d), &x) in d_x.row_mut(r).iter_mut().zip(d_y).zip(x) {
                    *d_x = rho * (d - x * along); // x̄ = ρ (ȳ − ρ² (ȳ·x) x)
                }
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{EPS, forward, vjp};
    use crate::arithmetic::Portable;
    use crate::ops::check::{SINGLE, WIDTHS, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use crate::view::{Mat, MatMut};
    use std::vec::Vec;

    fn run<T: Scalar>(d: usize, x: &[T]) -> Vec<T> {
        let (n, mut y) = (x.len() / d, poison(x.len()));
        forward(&Portable, Mat::new(x, n, d).unwrap(), MatMut::new(&mut y, n, d).unwrap()).unwrap();
        y
    }

    fn run_vjp<T: Scalar>(d: usize, x: &[T], cot: &[T]) -> Vec<T> {
        let (n, mut d_x) = (x.len() / d, poison(x.len()));
        let (x, cot) = (Mat::new(x, n, d).unwrap(), Mat::new(cot, n, d).unwrap());
        vjp(&Portable, x, cot, MatMut::new(&mut d_x, n, d).unwrap()).unwrap();
        d_x
    }

    #[test]
    fn forward_is_the_definition_in_both_precisions() {
        for d in WIDTHS {
            let x = values::<f64>(3 * d, 1);
            let mut want = Vec::new();
            for row in x.chunks(d) {
                let length = (row.iter().map(|x| x * x).sum::<f64>() + EPS).sqrt();
                want.extend(row.iter().map(|x| x / length));
            }
            assert_close("y", &run(d, &x), &want, 1e-14);
            assert_close("f32 y", &widen(&run::<f32>(d, &values(3 * d, 1))), &want, SINGLE);
        }
    }

    #[test]
    fn vjp_is_the_finite_difference_and_agrees_in_f32() {
        for d in WIDTHS {
            let (x, cot) = (values(2 * d, 2), values::<f64>(2 * d, 3));
            let d_x = run_vjp(d, &x, &cot);
            assert_gradient("d_x", &x, &d_x, |x| inner(&run(d, x), &cot));
            let single = run_vjp::<f32>(d, &values(2 * d, 2), &values(2 * d, 3));
            assert_close("f32 d_x", &widen(&single), &d_x, SINGLE);
        }
    }

    #[test]
    fn zeros_stay_zeros_and_a_row_has_the_same_bits_alone() {
        assert_eq!(run(5, &[0.0f32; 5]), [0.0; 5]);
        assert_eq!(run_vjp(2, &[0.0f64; 2], &[1.0, -2.0]), [1e3, -2e3], "1 / sqrt(EPS)");
        let x = values::<f32>(7 * 37, 8);
        let all = run(37, &x);
        for (row, y) in x.chunks(37).zip(all.chunks(37)) {
            assert_eq!(run(37, row), y);
        }
    }

    #[test]
    fn wrong_sizes_and_strides_are_errors() {
        let (a, mut y) = ([1.0f32; 6], [7.0f32; 6]);
        let x = Mat::new(&a, 2, 3).unwrap();
        assert!(forward(&Portable, x, MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert!(forward(&Portable, x.t(), MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert!(vjp(&Portable, x, x.t(), MatMut::new(&mut y, 2, 3).unwrap()).is_err());
        assert_eq!(y, [7.0; 6]);
    }
}
