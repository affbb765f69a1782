//! Linear maps of rows: `y = x W + bias`, with x `[n, i]`, W `[i, o]`, y `[n, o]`.
//!
//! The backward is three functions, because not everybody needs all three gradients. A weight stored the other way
//! round, `[o, i]`, is passed as its transposed view; its gradient is [`vjp_weight`] with the roles of x and d_y
//! exchanged, as `(x^T d_y)^T = d_y^T x`.

use super::rows::{expect_rows, expect_shape};
use crate::error::{Result, expect_len};
use crate::gemm::{Gemm, Store};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// `y = x W + bias`. All views may have any strides.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree.
pub fn forward<T: Scalar, G: Gemm<T>>(
    g: &G,
    x: Mat<'_, T>,
    w: Mat<'_, T>,
    bias: Option<&[T]>,
    mut y: MatMut<'_, T>,
) -> Result<()> {
    let (n, o) = (x.rows(), w.cols());
    expect_len("w rows", x.cols(), w.rows())?;
    expect_shape("y", y.as_ref(), n, o)?;
    let Some(bias) = bias else {
        g.gemm(Store::Set, x, w, y);
        return Ok(());
    };
    expect_len("bias", o, bias.len())?;
    if o == 0 {
        return Ok(());
    }
    // The product's chain starts from the bias: no second pass over y.
    for r in 0..n {
        y.row_mut(r).copy_from_slice(bias);
    }
    g.gemm(Store::Add, x, w, y);
    Ok(())
}

/// Gradient of the input, overwritten: `d_x = d_y W^T`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree.
pub fn vjp_input<T: Scalar, G: Gemm<T>>(g: &G, w: Mat<'_, T>, d_y: Mat<'_, T>, mut d_x: MatMut<'_, T>) -> Result<()> {
    expect_len("d_y columns", w.cols(), d_y.cols())?;
    expect_shape("d_x", d_x.as_ref(), d_y.rows(), w.rows())?;
    g.gemm(Store::Set, d_y, w.t(), d_x.rb());
    Ok(())
}

/// Gradient of the weight, added: `d_w += x^T d_y`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree.
pub fn vjp_weight<T: Scalar, G: Gemm<T>>(g: &G, x: Mat<'_, T>, d_y: Mat<'_, T>, mut d_w: MatMut<'_, T>) -> Result<()> {
    expect_len("d_y rows", x.rows(), d_y.rows())?;
    expect_shape("d_w", d_w.as_ref(), x.cols(), d_y.cols())?;
    g.gemm(Store::Add, x.t(), d_y, d_w.rb());
    Ok(())
}

/// Gradient of the bias, added: `d_bias += Σ_r d_y[r]`, rows in ascending order.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or `d_y`'s columns are not neighbours.
pub fn vjp_bias<T: Scalar, G: Gemm<T>>(g: &G, d_y: Mat<'_, T>, d_bias: &mut [T]) -> Result<()> {
    expect_rows("d_bias", "d_y column stride", d_y, d_y.rows(), d_bias.len())?;
    if d_bias.is_empty() {
        return Ok(());
    }
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..d_y.rows() {
                for (b, &d) in d_bias.iter_mut().zip(d_y.row(r)) {
                    *b += d;
                }
            }
        },
    );
    Ok(())
}
