//! SiLU, element by element: `y = x σ(x)`.
//!
//! NaN stays NaN, and so does −∞ become NaN (−∞ · 0); finite values below about −87 give −0 in `f32`.

use crate::error::{Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;

/// `y = x σ(x)`, slices of one length.
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn forward<T: Scalar, G: Gemm<T>>(g: &G, x: &[T], y: &mut [T]) -> Result<()> {
    expect_len("y", x.len(), y.len())?;
    g.vectorise(
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x * x.sigmoid();
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`], overwritten: `d_x = d_y σ(x) (1 + x (1 − σ(x)))`.
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn vjp<T: Scalar, G: Gemm<T>>(g: &G, x: &[T], d_y: &[T], d_x: &mut [T]) -> Result<()> {
    expect_len("d_y", x.len(), d_y.len())?;
    expect_len("d_x", x.len(), d_x.len())?;
    g.vectorise(
        #[inline(always)]
        || {
            for ((d_x, &d_y), &x) in d_x.iter_mut().zip(d_y).zip(x) {
                let s = x.sigmoid();
                *d_x = d_y * (s * (T::ONE + x * (T::ONE - s)));
            }
        },
    );
    Ok(())
}
