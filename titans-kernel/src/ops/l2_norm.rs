//! Rows scaled to length one: `y = x / sqrt(‖x‖² + EPS)`, for keys and queries.

use super::rows::{dot, expect_rows};
use crate::error::Result;
use crate::gemm::Gemm;
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
pub fn forward<T: Scalar, G: Gemm<T>>(g: &G, x: Mat<'_, T>, mut y: MatMut<'_, T>) -> Result<()> {
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

/// Backward of [`forward`], overwritten: with ρ = 1 / sqrt(‖x‖² + EPS), `d_x = ρ (d_y − x ρ² (d_y · x))`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or a view's columns are not neighbours.
pub fn vjp<T: Scalar, G: Gemm<T>>(g: &G, x: Mat<'_, T>, d_y: Mat<'_, T>, mut d_x: MatMut<'_, T>) -> Result<()> {
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
                let scale = inverse_norm(x);
                let along = scale * scale * dot(d_y, x);
                for ((d_x, &d), &x) in d_x.row_mut(r).iter_mut().zip(d_y).zip(x) {
                    *d_x = scale * (d - x * along);
                }
            }
        },
    );
    Ok(())
}
