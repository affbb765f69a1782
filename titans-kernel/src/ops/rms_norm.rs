//! Root-mean-square norm of rows with a learned scale: `y = x / rms(x) ∘ weight`, `rms(x) = sqrt(mean(x²) + EPS)`.

use super::rows::{dot, expect_rows};
use crate::error::{Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Added to the mean square, so that a row of zeros stays a row of zeros.
pub const EPS: f64 = 1e-6;

/// 1 / rms of a row that is not empty.
#[inline(always)]
fn inverse_rms<T: Scalar>(x: &[T]) -> T {
    T::ONE / (dot(x, x) / T::from_f64(x.len() as f64) + T::from_f64(EPS)).sqrt()
}

/// `y[r] = x[r] / rms(x[r]) ∘ weight`; x and y `[n, d]`, weight `[d]`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or x's columns are not neighbours.
pub fn forward<T: Scalar, G: Gemm<T>>(g: &G, x: Mat<'_, T>, weight: &[T], mut y: MatMut<'_, T>) -> Result<()> {
    expect_rows("x columns", "x column stride", x, x.rows(), weight.len())?;
    expect_rows("y", "y column stride", y.as_ref(), x.rows(), x.cols())?;
    if x.cols() == 0 {
        return Ok(());
    }
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..x.rows() {
                let row = x.row(r);
                let scale = inverse_rms(row);
                for ((y, &x), &w) in y.row_mut(r).iter_mut().zip(row).zip(weight) {
                    *y = x * scale * w;
                }
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`]: `d_x` overwritten, `d_weight` added, rows in ascending order.
///
/// With ρ = 1 / rms(x) and e = d_y ∘ weight: `d_x = ρ (e − x ρ² (e · x) / d)`, `d_weight += Σ_r d_y ∘ x ρ`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or a view's columns are not neighbours.
pub fn vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    x: Mat<'_, T>,
    weight: &[T],
    d_y: Mat<'_, T>,
    mut d_x: MatMut<'_, T>,
    d_weight: &mut [T],
) -> Result<()> {
    expect_rows("x columns", "x column stride", x, x.rows(), weight.len())?;
    expect_rows("d_y", "d_y column stride", d_y, x.rows(), x.cols())?;
    expect_rows("d_x", "d_x column stride", d_x.as_ref(), x.rows(), x.cols())?;
    expect_len("d_weight", weight.len(), d_weight.len())?;
    if x.cols() == 0 {
        return Ok(());
    }
    let width = T::from_f64(x.cols() as f64);
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..x.rows() {
                let (x, d_y, d_x) = (x.row(r), d_y.row(r), d_x.row_mut(r));
                let scale = inverse_rms(x);
                for ((e, &d), &w) in d_x.iter_mut().zip(d_y).zip(weight) {
                    *e = d * w;
                }
                let along = scale * scale * dot(d_x, x) / width;
                for (e, &x) in d_x.iter_mut().zip(x) {
                    *e = scale * (*e - x * along);
                }
                for ((w, &d), &x) in d_weight.iter_mut().zip(d_y).zip(x) {
                    *w += d * (x * scale);
                }
            }
        },
    );
    Ok(())
}
