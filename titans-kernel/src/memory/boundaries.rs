//! The states between two kept boundaries, computed again for the backward.

use super::close::{close, close_scratch};
use super::exact_piece;
use super::forward::{enter, side_by_side};
use super::gates::Tokens;
use super::layout::{Layout, Open};
use super::sets::Sets;
use super::spec::{MemorySpec, Read};
use super::work::Written;
use super::{step, write};
use crate::error::Result;
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;

/// Elements of scratch that [`states_between`] needs.
pub(super) fn advance_len(spec: &MemorySpec) -> usize {
    if spec.token_by_token() {
        return spec.state_len() + step::scratch_len(spec);
    }
    let lay = Layout::in_panels(spec, spec.piece());
    Open::<f64>::len(lay)
        + Written::<f64>::len(lay)
        + close_scratch(lay)
        + Sets::<f64>::len(spec, lay.coefficients(), lay.rows)
}

/// The pieces between one kept boundary and the next, counted from that boundary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The batch's token at the boundary.
    pub from: usize,
    /// Tokens to the next boundary, or to the batch's end.
    pub tokens: usize,
}

impl Span {
    /// From period `first` on, of a batch of `tokens` tokens.
    pub fn new(spec: &MemorySpec, first: usize, tokens: usize) -> Self {
        let from = first * spec.period();
        Self { from, tokens: spec.keep_every.saturating_mul(spec.period()).min(tokens - from) }
    }

    /// Number of pieces.
    pub fn pieces(self, spec: &MemorySpec) -> usize {
        let (periods, rest) = (self.tokens / spec.period(), self.tokens % spec.period());
        periods * spec.pieces() + rest.div_ceil(spec.piece())
    }

    /// First token and number of tokens of piece i.
    pub fn piece(self, spec: &MemorySpec, i: usize) -> (usize, usize) {
        let inside = i / spec.pieces() * spec.period() + i % spec.pieces() * spec.piece();
        (self.from + inside, spec.piece_from(inside, self.tokens))
    }

    /// The piece that begins the chunk of piece i.
    pub fn anchor(spec: &MemorySpec, i: usize) -> usize {
        i - i % spec.pieces()
    }
}

/// State i of those from a kept boundary on: `kept` is number 0, `states` are the others.
pub(super) fn state<'a, T>(spec: &MemorySpec, kept: &'a [T], states: &'a [T], i: usize) -> &'a [T] {
    if i == 0 { kept } else { &states[(i - 1) * spec.state_len()..][..spec.state_len()] }
}

/// The states at the starts of the span's pieces from the second on, one after another to `states`, from `kept`, the
/// state at the span's start: the forward's own steps without its answers, so with its bits. `deltas`: the batch's Δ, where
/// a piece is several chunks. `scratch`: [`advance_len`] elements.
pub(super) fn states_between<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    span: Span,
    kept: &[T],
    deltas: &[T],
    states: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let (spec, len) = (lay.spec, lay.spec.state_len());
    for i in 1..span.pieces(spec) {
        let (before, after) = states.split_at_mut((i - 1) * len);
        let after = &mut after[..len];
        after.copy_from_slice(state(spec, kept, before, i - 1));
        let anchor = state(spec, kept, before, Span::anchor(spec, i - 1));
        let piece = span.piece(spec, i - 1);
        if spec.wide() {
            exact_piece::advance(g, lay, tokens, piece, deltas, after, scratch)?;
        } else {
            advance(g, lay, tokens, piece, anchor, after, scratch)?;
        }
    }
    Ok(())
}

/// One piece of `n` tokens from the batch's token `from` on, written and closed; `anchor` is the state at its chunk's start.
fn advance<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    (from, n): (usize, usize),
    anchor: &[T],
    state: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let spec = lay.spec;
    if spec.token_by_token() {
        let (rows, scratch) = scratch.split_at_mut(spec.state_len());
        lay.to_rows(state, rows);
        step::tokens(g, spec, Read::After, tokens, from, 1, rows, None, None, scratch)?;
        lay.to_panels(rows, state);
        return Ok(());
    }
    let (params, k, v) = (&anchor[..spec.params()], tokens.k.sub(from, n), tokens.v.sub(from, n));
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    open.keys = side_by_side(lay, k);
    let mut written = Written::take(&mut scratch, lay)?;
    let scaled = scratch.take(close_scratch(lay))?;
    let mut coefficients = Sets::take(&mut scratch, spec, lay.coefficients(), lay.rows)?;
    write::gradients(g, lay, params, k, v, 0, &mut open, &mut written, None)?;
    coefficients.start();
    enter(g, lay, tokens, from, n, 0, 0, &mut open, &mut written, &mut coefficients)?;
    close(g, lay, n, n, open.seen(), &coefficients, scaled, state)
}
