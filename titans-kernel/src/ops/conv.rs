//! Causal depth-wise convolution over the tokens of one sequence:
//! `y[t, c] = bias[c] + Σ_j w[c, j] x[t − width + 1 + j, c]`.
//!
//! x and y are `[t, c]`, w `[c, width]` (its last tap meets the current token), bias `[c]`. Tokens before the first
//! come from a tail `[width − 1, c]`, the oldest first, and are zeros without one. Each element is one chain, from
//! the bias over ascending j, so a sequence cut into segments that hand on their tails has the bits of the uncut one.

use self::pass::{BLOCK, Padded, TAPS, pass, pass_input, pass_weight};
use super::rows::{expect_rows, expect_shape};
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

mod pass;

/// Taps of a filter, from the length of all.
fn width_of<T>(w: &[T], channels: usize) -> Result<usize> {
    if channels == 0 {
        return expect_len("w", 0, w.len()).map(|()| 1);
    }
    let width = w.len() / channels;
    if width == 0 || !w.len().is_multiple_of(channels) {
        let expected = width.max(1).saturating_mul(channels);
        return Err(Error::Shape { what: "w, a multiple of the channels", expected, found: w.len() });
    }
    Ok(width)
}

/// Calls `$pass` with 1 to [`TAPS`] taps at a time for every block of channels.
macro_rules! passes {
    ($pass:ident, $channels:expr, $width:expr, |$block:ident, $j0:ident| $args:tt) => {
        for c in (0..$channels).step_by(BLOCK) {
            let $block = (c, BLOCK.min($channels - c));
            for $j0 in (0..$width).step_by(TAPS) {
                match $width - $j0 {
                    1 => passes!(@call $pass, 1, $args),
                    2 => passes!(@call $pass, 2, $args),
                    3 => passes!(@call $pass, 3, $args),
                    _ => passes!(@call $pass, 4, $args),
                }
            }
        }
    };
    (@call $pass:ident, $n:literal, ($($arg:expr),*)) => { $pass::<T, $n>($($arg),*) };
}

/// Checks what forward and backward share; returns the number of taps.
fn expect<T: Copy>(x: Mat<'_, T>, tail: Option<Mat<'_, T>>, w: &[T]) -> Result<usize> {
    expect_rows("x", "x column stride", x, x.rows(), x.cols())?;
    let width = width_of(w, x.cols())?;
    if let Some(tail) = tail.filter(|_| x.cols() > 0) {
        expect_rows("tail", "tail column stride", tail, width - 1, x.cols())?;
    }
    Ok(width)
}

/// The convolution of one sequence.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree, `w` holds no whole number of taps a channel, or a view's columns are not
/// neighbours.
pub fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    x: Mat<'_, T>,
    tail: Option<Mat<'_, T>>,
    w: &[T],
    bias: &[T],
    mut y: MatMut<'_, T>,
) -> Result<()> {
    let width = expect(x, tail, w)?;
    expect_len("bias", x.cols(), bias.len())?;
    expect_shape("y", y.as_ref(), x.rows(), x.cols())?;
    if bias.is_empty() {
        return Ok(());
    }
    let zeros = [T::ZERO; BLOCK];
    let padded = Padded { x, tail, zeros: &zeros };
    g.vectorise(
        #[inline(always)]
        || {
            for t in 0..x.rows() {
                y.row_mut(t).become_copy(bias);
            }
            passes!(pass, bias.len(), width, |block, j0| (padded, w, width, block, j0, &mut y));
        },
    );
    Ok(())
}

/// Where [`vjp`] writes, in the shapes of its inputs.
#[derive(Debug)]
pub struct ConvGradients<'a, T> {
    /// Of x, overwritten.
    pub x: MatMut<'a, T>,
    /// Of w, added to.
    pub w: &'a mut [T],
    /// Of the bias, added to.
    pub bias: &'a mut [T],
}

/// Backward of [`forward`], sums over ascending tokens. The tail is a constant, but the taps that met it receive their
/// gradient.
///
/// As `y[t, c] = bias[c] + Σ_j w[c, j] x[t − width + 1 + j, c]`, token s meets tap j in the output of token s + width −
/// 1 − j:
///
/// ```text
/// d_x[s, c] = Σ_j w[c, j] d_y[s + width − 1 − j, c]
/// d_w[c, j] += Σ_t d_y[t, c] x[t − width + 1 + j, c],   d_bias[c] += Σ_t d_y[t, c]
/// ```
///
/// # Errors
/// As [`forward`].
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    x: Mat<'_, T>,
    tail: Option<Mat<'_, T>>,
    w: &[T],
    d_y: Mat<'_, T>,
    gradients: ConvGradients<'_, T>,
) -> Result<()> {
    let ConvGradients { x: mut d_x, w: d_w, bias: d_bias } = gradients;
    let width = expect(x, tail, w)?;
    let channels = x.cols();
    expect_rows("d_y", "d_y column stride", d_y, x.rows(), channels)?;
    expect_shape("d_x", d_x.as_ref(), x.rows(), channels)?;
    expect_len("d_w", w.len(), d_w.len())?;
    expect_len("d_bias", channels, d_bias.len())?;
    if channels == 0 {
        return Ok(());
    }
    let zeros = [T::ZERO; BLOCK];
    let padded = Padded { x, tail, zeros: &zeros };
    let padded_d_y = Padded { x: d_y, tail: None, zeros: &zeros };
    g.vectorise(
        #[inline(always)]
        || {
            // d_x, then d_w += Σ_t d_y x, then d_bias += Σ_t d_y.
            d_x.fill(T::ZERO);
            passes!(pass_input, channels, width, |block, j0| (padded_d_y, w, width, block, j0, &mut d_x));
            passes!(pass_weight, channels, width, |block, j0| (padded, d_y, width, block, j0, d_w));
            for t in 0..d_y.rows() {
                for (b, &d) in d_bias.iter_mut().zip(d_y.row(t)) {
                    *b += d;
                }
            }
        },
    );
    Ok(())
}

/// The tail of the next segment: the last `next.rows()` tokens of `tail` (zeros without one) followed by `x`.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree or a view's columns are not neighbours.
pub fn next_tail<T: Scalar>(x: Mat<'_, T>, tail: Option<Mat<'_, T>>, mut next: MatMut<'_, T>) -> Result<()> {
    expect_rows("x", "x column stride", x, x.rows(), next.cols())?;
    if let Some(tail) = tail {
        expect_rows("tail", "tail column stride", tail, next.rows(), next.cols())?;
    }
    if next.cols() == 0 {
        return Ok(());
    }
    let kept = next.rows();
    for i in 0..kept {
        // Token i of the next tail is token i + t of the old tail and x in a row.
        let at = i + x.rows();
        match (at.checked_sub(kept), tail) {
            (Some(t), _) => next.row_mut(i).copy_from_slice(x.row(t)),
            (None, Some(tail)) => next.row_mut(i).become_copy(tail.row(at)),
            (None, None) => next.row_mut(i).fill(T::ZERO),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
