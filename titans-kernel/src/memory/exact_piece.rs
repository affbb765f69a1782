//! A piece of several chunks in a batch: written, answered and closed; and closed again for the backward.

use crate::part::Parts;
use core::slice::from_ref;

use super::close::{End, close};
use super::coefficients::Coefficients;
use super::exact::{by_chunk, gradients, rows};
use super::exact_panels;
use super::feed::{PieceTokens, Returned};
use super::forward::{advance as enter, side_by_side, write_rates};
use super::frame::Frame;
use super::layout::Layout;
use super::open::{Open, Past};
use super::read::{Asked, answers};
use super::settle::{settle, settling_token};
use super::source::StateSource;
use super::spec::Read;
use super::work::{Work, Writing};
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::MatMut;

/// Tokens of a batch that begin a piece. Returns how many were clipped.
pub(super) fn piece<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    read: Read,
    feed: PieceTokens<'_, T>,
    state: &mut [T],
    returned: Returned<'_, T>,
    scratch: &mut [T],
) -> Result<u64> {
    let (lay, whole) = (on.lay, feed.place.n);
    if let Some(by) = exact_panels::fits(lay, read) {
        exact_panels::piece(on, by, feed, state, returned, scratch)?;
        return Ok(0);
    }
    let Returned { mut y, mut surprise, delta } = returned;
    let mut work = Work::take(&mut Scratch::new(scratch), lay)?;
    work.writing.open.keys = side_by_side(lay, feed.k());
    work.coefficients.start();
    let Work { writing, reading, coefficients, scaled } = &mut work;
    let by = rows(lay, read);
    let (mut clipped, mut at) = (0, 0);
    // At most two parts: the tokens up to where the piece settles, and those behind.
    while at < whole {
        let mut coefficients = coefficients[0].below(at);
        let rest = feed.part(at, whole - at);
        let settling = settling_token(lay, rest, [coefficients.g.item(0), coefficients.e.item(0)]);
        let part = rest.part(0, settling.unwrap_or(rest.place.n));
        let n = part.place.n;
        let end = at + n;
        // A, G, C, P need the gates alone; Δ needs them.
        enter(on, part, 0, &mut coefficients);
        let surprise = surprise.as_deref_mut().map(|s| s.part_mut(at..end));
        clipped += gradients(on, part, state, writing, reading.scores, &coefficients, surprise)?;
        let (past, y) = (Past::new(writing.open.view(), from_ref(&coefficients)), y.rb().sub(at, n));
        let (closing, last) = (End { n: end, row: n }, end == whole);
        // The last part closes while it answers, unless it must settle in between or answers chunk by chunk.
        let closes = last && settling.is_none();
        match by {
            Some(rows) => {
                let source = if closes {
                    StateSource::Closes { state: &mut *state, end: closing, scaled }
                } else {
                    StateSource::Stays(&*state)
                };
                answers(on, Asked::new(rows, part.q(), at), source, past, reading, y)?;
            }
            None => by_chunk(on, part, state, past, reading, y)?,
        }
        if settling.is_some() {
            // W ← A W + G S; A goes on from 1, G and Π η from 0.
            settle(on.g, n, &coefficients, state);
            coefficients.restart(n, n);
        }
        if last && !(closes && by.is_some()) {
            close(on, closing, Past::new(writing.open.view(), from_ref(&coefficients)), scaled, state)?;
        }
        at = end;
    }
    keep_delta(lay, whole, &writing.open, delta)?;
    Ok(clipped)
}

/// Δ of a piece's n tokens to where it is kept for the backward.
pub(super) fn keep_delta<T: Scalar>(
    lay: Layout<'_>,
    n: usize,
    open: &Open<'_, T>,
    delta: Option<MatMut<'_, T>>,
) -> Result<()> {
    if let Some(mut delta) = delta {
        let from = lay.output_rows(open.delta, 0, 0, n)?;
        (0..n).for_each(|t| delta.row_mut(t).become_copy(from.row(t)));
    }
    Ok(())
}

/// What [`gradients`] left of a piece of a batch, from the batch's Δ that was kept.
pub(super) fn recall<'a, T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'a, T>,
    deltas: &[T],
    writing: &mut Writing<'a, T>,
) -> Result<()> {
    let (lay, from, n) = (on.lay, feed.place.from, feed.place.n);
    let (width, open) = (lay.spec.value_width(), &mut writing.open);
    open.keys = side_by_side(lay, feed.k());
    if open.keys.is_none() {
        lay.keep_keys(open.h, 0, feed.k())?;
    }
    let mut delta = lay.output_rows_mut(open.delta, 0, 0, n)?;
    (0..n).for_each(|t| delta.row_mut(t).become_copy(deltas.part((from + t) * width..).part(..width)));
    // The rates follow from keys and Δ: a clip is found again.
    write_rates(on, feed, writing)?;
    Ok(())
}

/// One piece of a batch closed again, without its answers, from the batch's Δ.
pub(super) fn advance<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    deltas: &[T],
    state: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let mut work = Work::take(&mut Scratch::new(scratch), on.lay)?;
    recall(on, feed, deltas, &mut work.writing)?;
    // Settled first, closed from there: as in the forward.
    let settled = piece_coefficients(on, feed, &mut work.coefficients[0]);
    if let Some(m) = settled {
        settle(on.g, m, &work.coefficients[0], state);
    }
    let end = piece_end(feed.place.n, settled);
    close(on, end, Past::new(work.writing.open.view(), &work.coefficients), work.scaled, state)
}

/// The end of a piece of n tokens by its [`piece_coefficients`]: settling takes a row of its own.
pub(super) fn piece_end(n: usize, settled: Option<usize>) -> End {
    End { n, row: n + usize::from(settled.is_some()) }
}

/// The coefficients of a whole piece. Where it settles behind m tokens, which is returned, row m is the last one before
/// and row m + 1 the first one after: all rows that follow are one further on.
pub(super) fn piece_coefficients<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    coefficients: &mut Coefficients<'_, T>,
) -> Option<usize> {
    coefficients.start();
    let (n, settled) = (feed.place.n, settling_token(on.lay, feed, [T::ZERO, T::ONE]));
    // Rows 0 ..= m by the tokens before, m + 1 .. by those behind.
    let m = settled.unwrap_or(n);
    enter(on, feed.part(0, m), 0, coefficients);
    if settled.is_some() {
        coefficients.restart(m, m + 1);
        enter(on, feed.part(m, n - m), 0, &mut coefficients.below(m + 1));
    }
    settled
}
