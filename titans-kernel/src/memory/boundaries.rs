//! The states between two kept boundaries, computed again for the backward.

use super::close::{End, close};
use super::exact_piece;
use super::feed::{Pairs, PieceTokens, Place, Wanted};
use super::forward::{enter, side_by_side};
use super::frame::Frame;
use super::gates::Tokens;
use super::layout::Layout;
use super::open::Past;
use super::spec::{MemorySpec, Read};
use super::work::Work;
use super::{step, write};
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};

/// What the forward leaves for the backward of some tokens.
#[derive(Debug)]
pub(super) struct Boundaries<'a, T> {
    /// One state for every [`keep_every`](MemorySpec::keep_every) periods.
    pub states: &'a mut [T],
    /// Where a piece is several chunks, Δ of every token; else none.
    pub deltas: &'a mut [T],
}

impl<'a, T: Scalar> Boundaries<'a, T> {
    pub fn take<R: Room<'a, T>>(room: &mut R, spec: &MemorySpec, tokens: usize) -> Result<Self> {
        Ok(Self {
            states: room.take(spec.states_len(tokens))?,
            deltas: room.area(if spec.wide() { tokens } else { 0 }, spec.value_width())?,
        })
    }
}

/// Elements of scratch that [`states_between`] needs.
pub(super) fn advance_len(spec: &MemorySpec) -> usize {
    if spec.token_by_token() {
        return counted(|room| -> Result<[&mut [f64]; 2]> { step_space(room, spec) });
    }
    counted(|room| Work::<f64>::take(room, Layout::in_panels(spec, spec.piece_len())))
}

/// A state by rows, and what its step works in.
fn step_space<'a, T, R: Room<'a, T>>(room: &mut R, spec: &MemorySpec) -> Result<[&'a mut [T]; 2]> {
    Ok([room.take(spec.state_len())?, room.take(step::scratch_len(spec))?])
}

/// The pieces between one kept boundary and the next, counted from that boundary.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoundarySpan {
    /// The batch's token at the boundary.
    pub from: usize,
    /// Tokens to the next boundary, or to the batch's end.
    pub tokens: usize,
}

impl BoundarySpan {
    /// From period `first` on, of a batch of `tokens` tokens.
    pub fn new(spec: &MemorySpec, first: usize, tokens: usize) -> Self {
        let from = first * spec.period_len();
        Self { from, tokens: spec.keep_every.saturating_mul(spec.period_len()).min(tokens - from) }
    }

    /// Number of pieces.
    pub fn pieces(self, spec: &MemorySpec) -> usize {
        let (periods, rest) = (self.tokens / spec.period_len(), self.tokens % spec.period_len());
        periods * spec.pieces_of_period() + rest.div_ceil(spec.piece_len())
    }

    /// The tokens of piece i.
    pub fn piece(self, spec: &MemorySpec, i: usize) -> Place {
        let inside = i / spec.pieces_of_period() * spec.period_len() + i % spec.pieces_of_period() * spec.piece_len();
        Place::of_batch(self.from + inside, spec.piece_len_from(inside, self.tokens))
    }

    /// The piece that begins the chunk of piece i.
    pub fn anchor(spec: &MemorySpec, i: usize) -> usize {
        i - i % spec.pieces_of_period()
    }
}

/// State i of those from a kept boundary on: `kept` is number 0, `states` are the others.
pub(super) fn state<'a, T>(spec: &MemorySpec, kept: &'a [T], states: &'a [T], i: usize) -> &'a [T] {
    if i == 0 { kept } else { &states[(i - 1) * spec.state_len()..][..spec.state_len()] }
}

/// The states at the starts of the span's pieces from the second on, one after another to `states`, from `kept`, the
/// state at the span's start: the forward's own steps without its answers, so with its bits. `deltas`: the batch's Δ,
/// where a piece is several chunks. `scratch`: [`advance_len`] elements.
pub(super) fn states_between<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    (tokens, span): (&Tokens<'_, T>, BoundarySpan),
    kept: &[T],
    deltas: &[T],
    states: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let (spec, len) = (on.lay.spec, on.lay.spec.state_len());
    for i in 1..span.pieces(spec) {
        let (before, after) = states.split_at_mut((i - 1) * len);
        let after = &mut after[..len];
        // Each state follows from the one before it.
        after.copy_from_slice(state(spec, kept, before, i - 1));
        let anchor = state(spec, kept, before, BoundarySpan::anchor(spec, i - 1));
        let feed = PieceTokens::new(tokens, span.piece(spec, i - 1));
        if spec.wide() {
            exact_piece::advance(on, feed, deltas, after, scratch)?;
        } else {
            advance(on, feed, anchor, after, scratch)?;
        }
    }
    Ok(())
}

/// One piece written and closed; `anchor` is the state at its chunk's start.
fn advance<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    anchor: &[T],
    state: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let (lay, spec) = (on.lay, on.lay.spec);
    if spec.token_by_token() {
        // Steps go by weights in rows. A chunk of one token is a piece of one.
        let [rows, scratch] = step_space(&mut Scratch::new(scratch), spec)?;
        lay.to_rows(state, rows);
        step::tokens(Frame::of_tokens(on.g, spec), Read::After, feed, rows, Wanted::NOTHING, scratch)?;
        lay.to_panels(rows, state);
        return Ok(());
    }
    let mut work = Work::take(&mut Scratch::new(scratch), lay)?;
    work.writing.open.keys = side_by_side(lay, feed.k());
    let pairs = Pairs { k: feed.k(), v: feed.v(), from: 0 };
    // H and Δ at the chunk's first weights; A, G, C, P; then W and S.
    write::gradients(on, &anchor[..spec.params()], pairs, &mut work.writing, None)?;
    work.coefficients.start();
    enter(on, feed, &mut work.writing, &mut work.coefficients)?;
    close(on, End::of(feed.place.n), Past::new(work.writing.open.view(), &work.coefficients), work.scaled, state)
}
