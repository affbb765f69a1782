//! The memory's gates from their logits: `y[r, i, h] = scale[i] σ(x[r, i, h])`, i = α (forget), θ (inner learning
//! rate), η (momentum decay).
//!
//! x and y are `[rows, 3, heads]`. With scale `[1, θ_max, 1]` the gates lie in their ranges, ends included.

use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;

/// The length is a whole number of `[3, heads]` rows.
fn expect_gates(heads: usize, len: usize) -> Result<()> {
    let row = heads.saturating_mul(3);
    let rest = len.checked_rem(row).unwrap_or(len);
    if rest == 0 { Ok(()) } else { Err(Error::Shape { what: "gates of whole rows", expected: len - rest, found: len }) }
}

/// `y[r, i, h] = scale[i] σ(x[r, i, h])`.
///
/// # Errors
/// [`Error::Shape`] when the lengths differ or are no multiple of `3 · heads`.
pub fn forward<T: Scalar, G: Gemm<T>>(g: &G, heads: usize, scale: [f64; 3], x: &[T], y: &mut [T]) -> Result<()> {
    expect_gates(heads, x.len())?;
    expect_len("y", x.len(), y.len())?;
    if x.is_empty() {
        return Ok(());
    }
    let scale = scale.map(T::from_f64);
    g.vectorise(
        #[inline(always)]
        || {
            // The costly part runs over the whole slice, as there may be few heads.
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x.sigmoid();
            }
            for (y, &scale) in y.chunks_exact_mut(heads).zip(scale.iter().cycle()) {
                for y in y {
                    *y *= scale;
                }
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`] from its output, overwritten: `d_x = d_y y (1 − y / scale[i])`, 0 where the scale is 0.
///
/// # Errors
/// [`Error::Shape`] when the lengths differ or are no multiple of `3 · heads`.
pub fn vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    heads: usize,
    scale: [f64; 3],
    y: &[T],
    d_y: &[T],
    d_x: &mut [T],
) -> Result<()> {
    expect_gates(heads, y.len())?;
    expect_len("d_y", y.len(), d_y.len())?;
    expect_len("d_x", y.len(), d_x.len())?;
    if y.is_empty() {
        return Ok(());
    }
    // y is 0 where the scale is, so any divisor but 0 gives the gradient 0 there.
    let scale = scale.map(|s| T::from_f64(if s == 0.0 { 1.0 } else { s }));
    g.vectorise(
        #[inline(always)]
        || {
            let groups = d_x.chunks_exact_mut(heads).zip(y.chunks_exact(heads)).zip(d_y.chunks_exact(heads));
            for (((d_x, y), d_y), &scale) in groups.zip(scale.iter().cycle()) {
                for ((d_x, &y), &d_y) in d_x.iter_mut().zip(y).zip(d_y) {
                    *d_x = d_y * y * (T::ONE - y / scale);
                }
            }
        },
    );
    Ok(())
}
