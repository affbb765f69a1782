//! A piece of several chunks in a batch: written, answered and closed; and closed again for the backward.

use core::slice::from_ref;

use super::close::{close, close_scratch};
use super::coefficients::Coefficients;
use super::exact::{Place, by_chunk, gradients, rows};
use super::exact_panels;
use super::forward::{advance as enter, rates, side_by_side};
use super::gates::Tokens;
use super::layout::{Layout, Open};
use super::read::answers;
use super::settle::{settle, settles_behind};
use super::source::Source;
use super::spec::Read;
use super::work::{Reading, Written};
use crate::error::Result;
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::MatMut;

/// Tokens `from .. from + n` of the batch, which begin a piece. `delta` receives Δ. Returns how many were clipped.
pub(super) fn piece<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    read: Read,
    tokens: &Tokens<'_, T>,
    from: usize,
    n: usize,
    state: &mut [T],
    mut y: MatMut<'_, T>,
    mut surprise: Option<&mut [T]>,
    delta: Option<MatMut<'_, T>>,
    scratch: &mut [T],
) -> Result<u64> {
    if let Some(by) = exact_panels::fits(lay, read) {
        exact_panels::piece(g, lay, by, tokens, (from, n), state, y, surprise, delta, scratch)?;
        return Ok(0);
    }
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    open.keys = side_by_side(lay, tokens.k.sub(from, n));
    let mut written = Written::take(&mut scratch, lay)?;
    let mut reading = Reading::take(&mut scratch, lay)?;
    let scaled = scratch.take(close_scratch(lay))?;
    let mut all = Coefficients::take(&mut scratch, lay.coefficients(), lay.rows)?;
    all.start();
    let (mut clipped, mut at) = (0, 0);
    while at < n {
        let mut coefficients = all.below(at);
        let place = Place { from: from + at, n: n - at, filled: at, before: 0 };
        let settling = settles_behind(lay, tokens, place, coefficients.e[0]);
        let place = Place { n: settling.unwrap_or(place.n), ..place };
        let end = at + place.n;
        enter(g, lay, tokens, 0, place.from, place.n, at, 0, &mut coefficients);
        let surprise = surprise.as_deref_mut().map(|s| &mut s[at..end]);
        let (open, scores) = (&mut open, &mut *reading.scores);
        clipped += gradients(g, lay, tokens, place, state, open, &mut written, scores, &coefficients, surprise)?;
        let (q, y) = (tokens.q.sub(place.from, place.n), y.rb().sub(at, place.n));
        let closes = end == n && settling.is_none();
        match rows(lay, read) {
            Some(rows) if closes => {
                let source = Source::Closes { state, row: place.n, n, scaled };
                answers(g, lay, rows, source, open.seen(), from_ref(&coefficients), q, at, &mut reading, y)?;
            }
            Some(rows) => {
                let source = Source::Stays(&*state);
                answers(g, lay, rows, source, open.seen(), from_ref(&coefficients), q, at, &mut reading, y)?;
            }
            None => by_chunk(g, lay, place, state, open, &coefficients, q, &mut reading, y)?,
        }
        if settling.is_some() {
            settle(g, place.n, &coefficients, state);
            coefficients.restart(place.n, place.n);
        }
        if end == n && !(closes && rows(lay, read).is_some()) {
            close(g, lay, place.n, n, open.seen(), from_ref(&coefficients), scaled, state)?;
        }
        at = end;
    }
    if let Some(mut delta) = delta {
        let from = lay.output_rows(open.delta, 0, 0, n)?;
        (0..n).for_each(|t| delta.row_mut(t).copy_from_slice(from.row(t)));
    }
    Ok(clipped)
}

/// What [`gradients`] left of a piece of a batch, from the batch's Δ that was kept.
pub(super) fn recall<'a, T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'a, T>,
    (from, n): (usize, usize),
    deltas: &[T],
    open: &mut Open<'a, T>,
    written: &mut Written<'_, T>,
) -> Result<()> {
    let width = lay.spec.value_width();
    let k = tokens.k.sub(from, n);
    open.keys = side_by_side(lay, k);
    if open.keys.is_none() {
        lay.keep_keys(open.h, 0, k)?;
    }
    let mut delta = lay.output_rows_mut(open.delta, 0, 0, n)?;
    (0..n).for_each(|t| delta.row_mut(t).copy_from_slice(&deltas[(from + t) * width..][..width]));
    rates(g, lay, tokens, from, n, 0, 0, open, written)?;
    Ok(())
}

/// One piece of a batch closed again, without its answers, from the batch's Δ.
pub(super) fn advance<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    (from, n): (usize, usize),
    deltas: &[T],
    state: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    let mut written = Written::take(&mut scratch, lay)?;
    let scaled = scratch.take(close_scratch(lay))?;
    let mut coefficients = Coefficients::take(&mut scratch, lay.coefficients(), lay.rows)?;
    recall(g, lay, tokens, (from, n), deltas, &mut open, &mut written)?;
    let settled = coefficients_of(g, lay, tokens, (from, n), &mut coefficients);
    if let Some(m) = settled {
        settle(g, m, &coefficients, state);
    }
    let row = n + usize::from(settled.is_some());
    close(g, lay, row, n, open.seen(), from_ref(&coefficients), scaled, state)
}

/// The coefficients of a whole piece. Where it settles behind m tokens, which is returned, row m is the last one before and row
/// m + 1 the first one after: all rows that follow are one further on.
pub(super) fn coefficients_of<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    (from, n): (usize, usize),
    coefficients: &mut Coefficients<'_, T>,
) -> Option<usize> {
    coefficients.start();
    let settled = settles_behind(lay, tokens, Place { from, n, filled: 0, before: 0 }, T::ONE);
    let m = settled.unwrap_or(n);
    enter(g, lay, tokens, 0, from, m, 0, 0, coefficients);
    if settled.is_some() {
        coefficients.restart(m, m + 1);
        enter(g, lay, tokens, 0, from + m, n - m, m, 0, &mut coefficients.below(m + 1));
    }
    settled
}
