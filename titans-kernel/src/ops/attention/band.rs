//! Which keys a block of queries sees, and where their scores lie.

use super::super::rows::LANES;
use super::{Keys, Span};
use crate::arithmetic::{Arithmetic, Beside, Seen};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::Count;
use crate::view::Mat;

/// Neighbouring queries and the neighbouring tokens that any of them sees.
///
/// Row r sees token s of the span where r ≤ `ahead` + s and s ≤ `behind` + r.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    /// First query, as a row of q.
    pub(super) from: usize,
    /// Queries.
    pub(super) rows: usize,
    /// First token, as a row of the keys.
    pub(super) low: usize,
    /// Tokens.
    pub(super) len: usize,
    /// Rows behind the first that see the span's first token too.
    pub(super) ahead: usize,
    /// Tokens before the first query's own.
    pub(super) behind: usize,
    /// Number of the first token mod 16.
    pub(super) lane: usize,
}

impl Band {
    /// Queries `from ..` of those that begin at number `first`: at most `rows`, and of one segment.
    pub(super) fn new(span: Span, first: u64, first_key: u64, from: usize, rows: usize) -> Self {
        let i = first + from as u64;
        let oldest = span.oldest(i);
        let behind = (i - oldest) as usize;
        // A window moves on with its query and leaves its first token; a segment keeps it to its end.
        let (rows, ahead) = match span {
            Span::Window(w) => (rows, (w - 1 - behind).min(rows)),
            Span::Segment(c) => (rows.min(c - behind), rows),
        };
        let (low, lane) = ((oldest - first_key) as usize, (oldest % 16) as usize);
        Self { from, rows, low, len: behind + rows, ahead, behind, lane }
    }

    /// A band of `rows` queries that takes as much space as any: it sees the most tokens, from the last lane on.
    const fn longest(span: Span, rows: usize) -> Self {
        let len = span.seen_by(rows);
        Self { from: 0, rows, low: 0, len, ahead: rows, behind: len, lane: LANES - 1 }
    }

    /// The same of queries `r .. r + rows` of this band; and how many of its tokens they do not see.
    pub(super) fn group(&self, r: usize, rows: usize) -> (usize, Self) {
        // Row r sees token s from s = r − ahead on; both are counted anew from there.
        let skipped = r.saturating_sub(self.ahead);
        let behind = self.behind + r - skipped;
        let ahead = (self.ahead + skipped - r).min(rows);
        let (low, lane) = (self.low + skipped, (self.lane + skipped) % 16);
        (skipped, Self { from: self.from + r, rows, low, len: behind + rows, ahead, behind, lane })
    }

    /// The rows that a token of the span needs.
    pub(super) fn of_keys(&self) -> Beside {
        Beside { before: self.behind, behind: self.ahead }
    }

    /// The tokens of the span that a row needs.
    pub(super) fn of_rows(&self) -> Beside {
        Beside { before: self.ahead, behind: self.behind }
    }

    /// Tokens at the beginning of the span that not all rows see.
    pub(super) fn corner(&self) -> usize {
        (self.rows - 1).saturating_sub(self.ahead)
    }
}

/// Keys and values with the queries that meet them.
#[derive(Clone, Copy)]
pub(super) struct KeyPart<'a, T> {
    pub(super) q: Mat<'a, T>,
    pub(super) k: Mat<'a, T>,
    pub(super) v: Mat<'a, T>,
    /// Tokens or context; else persistent, and seen by all rows.
    pub(super) banded: bool,
}

impl<T> KeyPart<'_, T> {
    /// Keys that any row of the band sees.
    pub(super) fn len(&self, band: &Band) -> usize
    where
        T: Copy,
    {
        if self.banded { band.len } else { self.k.rows() }
    }
}

/// Persistent keys, context, tokens: the order of all sums.
pub(super) struct KeyParts<'a, T>(pub(super) [Option<KeyPart<'a, T>>; 3]);

impl<'a, T: Scalar> KeyParts<'a, T> {
    pub(super) fn new(q: Mat<'a, T>, q_rotated: Mat<'a, T>, keys: &Keys<'a, T>) -> Self {
        let part = |q, banded| move |(k, v)| KeyPart { q, k, v, banded };
        Self([
            keys.persistent.map(part(q, false)),
            keys.context.map(part(q_rotated, true)),
            Some(part(q_rotated, true)(keys.tokens)),
        ])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = KeyPart<'a, T>> {
        self.0.into_iter().flatten().filter(|p| p.k.rows() > 0)
    }

    /// Which of their keys the rows of a band see, and the number of parts.
    pub(super) fn seen(&self, band: &Band) -> ([Seen; 3], usize) {
        seen(self.iter().map(|part| (part.banded, part.len(band))), band)
    }
}

/// Parts one after another, of each whether it is banded and how many of its keys a band sees.
#[inline(always)]
fn seen(parts: impl Iterator<Item = (bool, usize)>, band: &Band) -> ([Seen; 3], usize) {
    let all = Seen { first: 0, len: 0, ahead: usize::MAX, behind: usize::MAX, lane: 0 };
    let (mut keys, mut count, mut rows) = ([all; 3], 0, Count::default());
    for (banded, len) in parts {
        let first = rows.place(len);
        let seen = if banded {
            Seen { first, len, ahead: band.ahead, behind: band.behind, lane: band.lane }
        } else {
            Seen { first, len, ..all }
        };
        keys.put(count, seen);
        count += 1;
    }
    (keys, count)
}

/// [`KeyParts::seen`] of `rows` queries at most, wherever they lie, with so many persistent keys.
pub(super) fn most_seen(span: Span, rows: usize, persistent: usize, context: bool) -> [Seen; 3] {
    let band = Band::longest(span, rows);
    let of_context = if context { band.len } else { 0 };
    seen([(false, persistent), (true, of_context), (true, band.len)].into_iter(), &band).0
}

/// Whether rows `from .. from + rows` are finite.
pub(super) fn finite<T: Scalar, G: Arithmetic<T>>(g: &G, x: Mat<'_, T>, from: usize, rows: usize) -> bool {
    g.vectorise(
        #[inline(always)]
        || {
            // NaN from x · 0 stays in its sum. Blocks of columns, so that the sums stay in registers over the rows.
            const WIDE: usize = 2 * LANES;
            let (mut all, whole) = (T::ZERO, x.cols() / WIDE * WIDE);
            for c in (0..whole).step_by(WIDE) {
                let mut zeros = [T::ZERO; WIDE];
                for r in from..from + rows {
                    if let Some(block) = x.row(r)[c..].first_chunk::<WIDE>() {
                        for l in 0..WIDE {
                            zeros[l] += block[l] * T::ZERO;
                        }
                    }
                }
                all += zeros.iter().fold(T::ZERO, |sum, &zero| sum + zero);
            }
            for r in from..from + rows {
                all += x.row(r)[whole..].iter().fold(T::ZERO, |sum, &x| sum + x * T::ZERO);
            }
            all == T::ZERO
        },
    )
}
