//! Softmax attention of one query head over a sliding window or a segment: `y = softmax(q kᵀ / √c) v`.
//!
//! A row of queries sees all persistent keys, and of the tokens (and of the context rows beside them) those that its
//! [`Span`] names, itself the last. Persistent keys meet `q`, the others `q_rotated`: rotation is the caller's
//! ([`rotary`](super::rotary)), and so are heads; views reach into rows of many heads.
//!
//! Memory is O(window): scores exist for a few rows at a time, and the backward computes them again from the rows'
//! `log_sum` = ln Σ e^score. What a row cannot see does not reach it, be it NaN or infinite; a NaN that it sees makes
//! the row NaN. Every score is one chain over c, every output one chain over the keys (persistent, context, tokens),
//! the sum of a softmax 16 partial sums, key j going to sum j mod 16: a row has the same bits whatever lies beside it,
//! and wherever the keys it is given begin. One row at a time is fastest where the view of its keys is a transpose:
//! then nothing is turned.

use super::rows::{expect_rows, expect_shape};
use crate::arithmetic::{Arithmetic, QUERIES};
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Scratch, counted};
use crate::view::{Mat, MatMut};

mod band;
mod columns;
mod rows;
mod vjp;

use band::{Band, KeyPart, KeyParts, most_seen};
pub use vjp::{Answered, AttentionGradients, vjp, vjp_scratch_len};

/// Which tokens a query sees, besides all persistent keys.
///
/// ```
/// use titans_kernel::ops::attention::Span;
///
/// // Token 10 sees 7, 8, 9 and 10 of a window of 4, and 8, 9 and 10 of its segment.
/// assert_eq!((Span::Window(4).oldest(10), Span::Segment(4).oldest(10)), (7, 8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last W up to itself: token i sees j with i − W < j ≤ i.
    Window(usize),
    /// Those of its own segment up to itself: ⌊i / C⌋ C ≤ j ≤ i.
    Segment(usize),
}

impl Span {
    /// The oldest token that token i sees.
    pub const fn oldest(self, i: u64) -> u64 {
        match self {
            Self::Window(w) => (i.saturating_add(1)).saturating_sub(w as u64),
            Self::Segment(0) => i,
            Self::Segment(c) => i - i % c as u64,
        }
    }

    /// Tokens that a query sees at most.
    pub const fn len(self) -> usize {
        match self {
            Self::Window(n) | Self::Segment(n) => n,
        }
    }

    /// Neighbouring tokens that `rows` neighbouring queries see, at most: those of a segment all begin with its first.
    const fn seen_by(self, rows: usize) -> usize {
        match self {
            Self::Window(w) => w.saturating_add(rows).saturating_sub(1),
            Self::Segment(c) => c,
        }
    }

    /// No query sees a token: not allowed.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Queries of neighbouring tokens, `[n, c]`.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a, T> {
    /// Number of the first in the sequence.
    pub first: u64,
    /// As they are: they meet the persistent keys, and without these they are not read.
    pub q: Mat<'a, T>,
    /// Rotated: they meet all other keys.
    pub q_rotated: Mat<'a, T>,
}

/// What queries see. Pairs are keys and values, `[rows, c]`; a view of keys may be a transpose.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a, T> {
    /// Seen by every query, not rotated.
    pub persistent: Option<(Mat<'a, T>, Mat<'a, T>)>,
    /// Rows beside those of `tokens` that are seen together with them, rotated.
    pub context: Option<(Mat<'a, T>, Mat<'a, T>)>,
    /// Keys and values of neighbouring tokens, rotated: from the oldest that the first query sees (or before it) to the
    /// last query (or behind it).
    pub tokens: (Mat<'a, T>, Mat<'a, T>),
    /// Number of the first row of `tokens` and `context` in the sequence.
    pub first: u64,
}

/// Rows of queries whose scores are computed together.
const BLOCK: usize = QUERIES;
/// Fewer rows than this keep their scores row by row, more of them key by key.
const FEW: usize = 16;

/// Elements of scratch that [`forward`] needs for at most n queries at a time, `persistent` keys, and with or without
/// context; `usize::MAX` if that is beyond counting.
pub fn scratch_len(span: Span, n: usize, persistent: usize, context: bool) -> usize {
    let few = n.min(FEW - 1);
    let by_rows = counted(|room| rows::scores::<f64, _>(room, few, &most_seen(span, few, persistent, context)));
    if n < FEW {
        return by_rows;
    }
    let keys = most_seen(span, n.min(BLOCK), persistent, context);
    // Many queries are cut into blocks, and what is left of them, or what is computed anew, may be few.
    by_rows.max(counted(|room| columns::scores::<f64, _>(room, &keys)))
}

/// `y[r]` for the token with number `first + r`; y `[n, c]`, `log_sum` `[n]`. Scratch: [`scratch_len`] elements,
/// contents irrelevant.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree, columns of q, values or y are not neighbours, or `keys` ends before the
/// last query or begins behind the oldest token that the first one sees; [`Error::Config`] for a span or width of 0;
/// [`Error::Buffer`] when the scratch is too short.
pub fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    span: Span,
    queries: Queries<'_, T>,
    keys: &Keys<'_, T>,
    mut y: MatMut<'_, T>,
    mut log_sum: Option<&mut [T]>,
    scratch: &mut [T],
) -> Result<()> {
    let Queries { first, q, q_rotated } = queries;
    let n = q_rotated.rows();
    expect(span, queries, keys)?;
    expect_shape("y", y.as_ref(), n, q.cols())?;
    if let Some(log_sum) = &log_sum {
        expect_len("log_sum", n, log_sum.len())?;
    }
    let needed = scratch_len(span, n, persistent_rows(keys), keys.context.is_some());
    if scratch.len() < needed {
        return Err(Error::Buffer { what: "scratch", needed, given: scratch.len() });
    }
    let scale = scale(q.cols());
    let parts = KeyParts::new(q, q_rotated, keys);
    let mut r = 0;
    while r < n {
        let mut some = |band: &Band| {
            let (rows, out) = (band.rows, y.rb().sub(band.from, band.rows));
            let sums = log_sum.as_deref_mut().map(|s| s.part_mut(band.from..band.from + rows));
            let forward = if rows < FEW { rows::forward } else { columns::forward };
            forward(g, scale, band, &parts, out, sums, &mut Scratch::new(scratch))
        };
        let band = Band::new(span, first, keys.first, r, BLOCK.min(n - r));
        if !some(&band)? && band.corner() > 0 {
            // 0 times what a row does not see may not have been 0; a row alone meets nothing that it does not see.
            for r in r..r + band.rows {
                some(&Band::new(span, first, keys.first, r, 1))?;
            }
        }
        r += band.rows;
    }
    Ok(())
}

/// 1 / √c.
fn scale<T: Scalar>(width: usize) -> T {
    T::ONE / T::from_f64(width.max(1) as f64).sqrt()
}

fn persistent_rows<T: Copy>(keys: &Keys<'_, T>) -> usize {
    keys.persistent.map_or(0, |(k, _)| k.rows())
}

/// Checks what forward and backward share.
fn expect<T: Copy>(span: Span, queries: Queries<'_, T>, keys: &Keys<'_, T>) -> Result<()> {
    let Queries { first, q, q_rotated } = queries;
    let (n, c) = (q_rotated.rows(), q_rotated.cols());
    if span.is_empty() {
        return Err(Error::Config { what: "attention window or segment: at least 1", found: 0 });
    }
    if c == 0 {
        return Err(Error::Config { what: "attention head width: at least 1", found: 0 });
    }
    expect_rows("q", "q column stride", q, n, c)?;
    expect_rows("q_rotated", "q_rotated column stride", q_rotated, n, c)?;
    let (k, v) = keys.tokens;
    expect_shape("token keys", k, k.rows(), c)?;
    expect_rows("token values", "token values' column stride", v, k.rows(), c)?;
    if let Some((context, v)) = keys.context {
        expect_shape("context keys", context, k.rows(), c)?;
        expect_rows("context values", "context values' column stride", v, k.rows(), c)?;
    }
    if let Some((k, v)) = keys.persistent {
        expect_shape("persistent keys", k, k.rows(), c)?;
        expect_rows("persistent values", "persistent values' column stride", v, k.rows(), c)?;
    }
    if n == 0 {
        return Ok(());
    }
    let number = |x: u64| usize::try_from(x).unwrap_or(usize::MAX);
    if first.checked_add(n as u64).is_none() {
        return Err(Error::Config { what: "number of the last query: below 2^64 − 1", found: number(first) });
    }
    let oldest = span.oldest(first);
    if keys.first > oldest {
        let (expected, found) = (number(oldest), number(keys.first));
        return Err(Error::Shape { what: "number of the first key, at most the oldest that is seen", expected, found });
    }
    let needed = (first - keys.first).saturating_add(n as u64);
    if (k.rows() as u64) < needed {
        let what = "token keys, up to the last query";
        return Err(Error::Shape { what, expected: number(needed), found: k.rows() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
