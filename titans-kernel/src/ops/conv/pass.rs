//! The loops of the convolution: a few taps at a time over a block of neighbouring channels, token by token.
//!
//! The lanes of a vector are channels, so the taps `w[c, j]` of a block are first turned to lie channel by channel.

use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Channels worked on together: their taps lie on the stack, tap by tap.
pub(super) const BLOCK: usize = 64;
/// Taps of one pass over the tokens; wider filters take several passes.
pub(super) const TAPS: usize = 4;

/// The tokens of `tail` followed by those of `x`, and zeros before and behind them.
#[derive(Clone, Copy)]
pub(super) struct Padded<'a, T> {
    /// The tokens.
    pub(super) x: Mat<'a, T>,
    /// The tokens before them.
    pub(super) tail: Option<Mat<'a, T>>,
    /// A token before all.
    pub(super) zeros: &'a [T; BLOCK],
}

impl<'a, T: Copy> Padded<'a, T> {
    /// Channels `c .. c + n`, n at most [`BLOCK`], of token `t + ahead − behind`; token 0 is the first of `x`.
    #[inline(always)]
    fn at(&self, t: usize, ahead: usize, behind: usize, c: usize, n: usize) -> &'a [T] {
        let t = t + ahead;
        if t >= behind {
            let t = t - behind;
            return if t < self.x.rows() { self.x.row(t).part(c..c + n) } else { self.zeros.part(..n) };
        }
        match self.tail {
            Some(tail) if t + tail.rows() >= behind => tail.row(t + tail.rows() - behind).part(c..c + n),
            _ => self.zeros.part(..n),
        }
    }
}

/// `taps[j][l] = w[c + l, j0 + j]`.
#[inline(always)]
fn load<T: Scalar, const N: usize>(w: &[T], width: usize, c: usize, n: usize, j0: usize) -> [[T; BLOCK]; N] {
    let mut taps = [[T::ZERO; BLOCK]; N];
    let filters = w.part(c * width..(c + n) * width);
    if width == N {
        // The usual filter of one pass: a stride known at compile time vectorises.
        for (l, filter) in filters.as_chunks::<N>().0.iter().enumerate() {
            for j in 0..N {
                taps[j].put(l, filter[j]);
            }
        }
    } else {
        for (l, filter) in filters.chunks_exact(width.max(1)).enumerate() {
            for j in 0..N {
                taps[j].put(l, filter.item(j0 + j));
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
pub(super) fn pass<T: Scalar, const N: usize>(
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
        multiply(&taps, window, y.row_mut(t).part_mut(c..c + n));
    }
}

/// One pass of `d_x`: the same with time turned round, as token s meets tap j in the output of token s + width − 1 − j.
#[inline(always)]
pub(super) fn pass_input<T: Scalar, const N: usize>(
    d_y: Padded<'_, T>,
    w: &[T],
    width: usize,
    (c, n): (usize, usize),
    j0: usize,
    d_x: &mut MatMut<'_, T>,
) {
    let taps = load::<T, N>(w, width, c, n, j0);
    // window[j] is d_y of token s + width − 1 − (j0 + j), which tap j0 + j led to.
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
pub(super) fn pass_weight<T: Scalar, const N: usize>(
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
