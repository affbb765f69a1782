//! Causal depth-wise convolution over the tokens of one sequence:
//! `y[t, c] = bias[c] + Σ_j w[c, j] x[t − width + 1 + j, c]`.
//!
//! x and y are `[t, c]`, w `[c, width]` (its last tap meets the current token), bias `[c]`. Tokens before the first
//! come from a tail `[width − 1, c]`, the oldest first, and are zeros without one. Each element is one chain, from
//! the bias over ascending j, so a sequence cut into segments that hand on their tails has the bits of the uncut one.

use super::rows::{expect_rows, expect_shape};
use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Channels worked on together: their taps lie on the stack, tap by tap.
const BLOCK: usize = 64;
/// Taps of one pass over the tokens; wider filters take several passes.
const TAPS: usize = 4;

/// Taps of a filter, from the length of all.
pub(super) fn width_of<T>(w: &[T], channels: usize) -> Result<usize> {
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

/// The tokens of `tail` followed by those of `x`, and zeros before and behind them.
#[derive(Clone, Copy)]
struct Padded<'a, T> {
    x: Mat<'a, T>,
    tail: Option<Mat<'a, T>>,
    zeros: &'a [T; BLOCK],
}

impl<'a, T: Copy> Padded<'a, T> {
    /// Channels `c .. c + n`, n at most [`BLOCK`], of token `t + ahead − behind`; token 0 is the first of `x`.
    #[inline(always)]
    fn at(&self, t: usize, ahead: usize, behind: usize, c: usize, n: usize) -> &'a [T] {
        let t = t + ahead;
        if t >= behind {
            let t = t - behind;
            return if t < self.x.rows() { &self.x.row(t)[c..c + n] } else { &self.zeros[..n] };
        }
        match self.tail {
            Some(tail) if t + tail.rows() >= behind => &tail.row(t + tail.rows() - behind)[c..c + n],
            _ => &self.zeros[..n],
        }
    }
}

/// `taps[j][l] = w[c + l, j0 + j]`.
#[inline(always)]
fn load<T: Scalar, const N: usize>(w: &[T], width: usize, c: usize, n: usize, j0: usize) -> [[T; BLOCK]; N] {
    let mut taps = [[T::ZERO; BLOCK]; N];
    let filters = &w[c * width..(c + n) * width];
    if width == N {
        // The usual filter of one pass: a stride known at compile time vectorises.
        for (l, filter) in filters.as_chunks::<N>().0.iter().enumerate() {
            for j in 0..N {
                taps[j][l] = filter[j];
            }
        }
    } else {
        for (l, filter) in filters.chunks_exact(width).enumerate() {
            for j in 0..N {
                taps[j][l] = filter[j0 + j];
            }
        }
    }
    taps
}

/// `y[i] += a[i] b[i]`.
#[inline(always)]
fn add_product<T: Scalar>(y: &mut [T], a: &[T], b: &[T]) {
    for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
        *y += a * b;
    }
}

/// `y[i] += Σ_j taps[j][i] x[j][i]` as one chain over j for each i.
#[inline(always)]
fn multiply<T: Scalar, const N: usize>(taps: &[[T; BLOCK]; N], x: [&[T]; N], y: &mut [T]) {
    let blocks = x.map(
        #[inline(always)]
        |x| x.first_chunk::<BLOCK>(),
    );
    let mut whole = [&taps[0]; N];
    for j in 0..N {
        match blocks[j] {
            Some(block) => whole[j] = block,
            None => return (0..N).for_each(|j| add_product(y, &taps[j], x[j])),
        }
    }
    // A whole block goes by arrays: its size is known, and `sums` overlaps nothing.
    if let Some(y) = y.first_chunk_mut::<BLOCK>() {
        let mut sums = [T::ZERO; BLOCK];
        for i in 0..BLOCK {
            let mut sum = y[i];
            for j in 0..N {
                sum += taps[j][i] * whole[j][i];
            }
            sums[i] = sum;
        }
        *y = sums;
    }
}

/// One pass of [`forward`] with taps `j0 .. j0 + N` over channels `c .. c + n`.
#[inline(always)]
fn pass<T: Scalar, const N: usize>(
    x: Padded<'_, T>,
    w: &[T],
    width: usize,
    (c, n): (usize, usize),
    j0: usize,
    y: &mut MatMut<'_, T>,
) {
    let taps = load::<T, N>(w, width, c, n, j0);
    // A window of N tokens slides along: each token is looked up once.
    let mut window = [&[][..]; N];
    for j in 1..N {
        window[j] = x.at(0, j0 + j - 1, width - 1, c, n);
    }
    for t in 0..y.rows() {
        for j in 1..N {
            window[j - 1] = window[j];
        }
        window[N - 1] = x.at(t, j0 + N - 1, width - 1, c, n);
        multiply(&taps, window, &mut y.row_mut(t)[c..c + n]);
    }
}

/// One pass of `d_x`: the same with time turned round, as token s meets tap j in the output of token s + width − 1 − j.
#[inline(always)]
fn pass_input<T: Scalar, const N: usize>(
    d_y: Padded<'_, T>,
    w: &[T],
    width: usize,
    (c, n): (usize, usize),
    j0: usize,
    d_x: &mut MatMut<'_, T>,
) {
    let taps = load::<T, N>(w, width, c, n, j0);
    let mut window = [&[][..]; N];
    for j in 1..N {
        window[j - 1] = d_y.at(0, width - 1 - j0 - j, 0, c, n);
    }
    for s in 0..d_x.rows() {
        for j in (1..N).rev() {
            window[j] = window[j - 1];
        }
        window[0] = d_y.at(s, width - 1 - j0, 0, c, n);
        multiply(&taps, window, &mut d_x.row_mut(s)[c..c + n]);
    }
}

/// One pass of `d_w`: N taps' sums over the tokens, then added.
#[inline(always)]
fn pass_weight<T: Scalar, const N: usize>(
    x: Padded<'_, T>,
    d_y: Mat<'_, T>,
    width: usize,
    (c, n): (usize, usize),
    j0: usize,
    d_w: &mut [T],
) {
    let mut sums = [[T::ZERO; BLOCK]; N];
    let mut window = [&[][..]; N];
    for j in 1..N {
        window[j] = x.at(0, j0 + j - 1, width - 1, c, n);
    }
    for t in 0..d_y.rows() {
        for j in 1..N {
            window[j - 1] = window[j];
        }
        window[N - 1] = x.at(t, j0 + N - 1, width - 1, c, n);
        let d = &d_y.row(t)[c..c + n];
        for j in 0..N {
            if let (Some(d), Some(x)) = (d.first_chunk::<BLOCK>(), window[j].first_chunk::<BLOCK>()) {
                add_product(&mut sums[j], d, x);
            } else {
                add_product(&mut sums[j], d, window[j]);
            }
        }
    }
    for (l, filter) in d_w[c * width..(c + n) * width].chunks_exact_mut(width).enumerate() {
        for j in 0..N {
            filter[j0 + j] += sums[j][l];
        }
    }
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
pub fn forward<T: Scalar, G: Gemm<T>>(
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
                y.row_mut(t).copy_from_slice(bias);
            }
            passes!(pass, bias.len(), width, |block, j0| (padded, w, width, block, j0, &mut y));
        },
    );
    Ok(())
}

/// Backward of [`forward`]: `d_x` overwritten, `d_w` and `d_bias` added (sums over ascending tokens). The tail is a
/// constant, but the taps that met it receive their gradient.
///
/// # Errors
/// As [`forward`].
pub fn vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    x: Mat<'_, T>,
    tail: Option<Mat<'_, T>>,
    w: &[T],
    d_y: Mat<'_, T>,
    mut d_x: MatMut<'_, T>,
    d_w: &mut [T],
    d_bias: &mut [T],
) -> Result<()> {
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
            (None, Some(tail)) => next.row_mut(i).copy_from_slice(tail.row(at)),
            (None, None) => next.row_mut(i).fill(T::ZERO),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
