//! Tokens into a stream: piece after piece, each token admitted only if the numbers stay in range.

use super::close::{End, close};
use super::coefficients::Coefficients;
use super::exact;
use super::feed::{Pairs, PieceTokens, Place, Wanted};
use super::forward::{advance, check_outputs, enter, first};
use super::frame::Frame;
use super::gates::Tokens;
use super::guard::{Guard, admitted};
use super::open::{Open, Past};
use super::read::{Asked, Rows, answers};
use super::settle::{has_settled, settle, settling_token};
use super::source::StateSource;
use super::spec::Read;
use super::stream::{Stream, StreamParts};
use super::work::Work;
use super::{guarded, pair, write};
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::MatMut;

impl<T: Scalar> Stream<'_, T> {
    /// Writes any number of tokens and answers their queries, if `y` `[n, d_L]` is given; `surprise` (n) receives
    /// the inner loss c ‖M(k_t) − v_t‖². Gates that come one a chunk: one for every chunk that these tokens touch.
    ///
    /// A token is refused when a number of it is not finite, when it writes with α or η outside of [0, 1] or a negative
    /// θ, or when after its write a norm of W or S could be above 10^(30 / L) (`f32`; 10^(300 / L) in `f64`), its
    /// gradient's (or a thousandth of its residual's) is above 10¹⁵ (10¹⁵⁰) or its query's above 10⁶, or its rate times
    /// a layer's input above the limit of the weights: whatever is admitted has finite numbers, now and later. The
    /// bounds are carried along, not looked up: they may be above the norms, and without forgetting they only grow.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Buffer`], before anything changes. [`Error::Diverged`] names the first token that
    /// is refused: those before it are written and answered, the stream stands behind them, and rows of `y` and
    /// `surprise` from it on are not written.
    pub fn write<G: Arithmetic<T>>(
        &mut self,
        g: &G,
        tokens: &Tokens<'_, T>,
        y: Option<MatMut<'_, T>>,
        surprise: Option<&mut [T]>,
        scratch: &mut [T],
    ) -> Result<()> {
        let (b, n) = (self.spec.chunk, tokens.len());
        let before = self.filled().checked_rem(b).unwrap_or(0);
        tokens.check(self.spec, before)?;
        if let Some(y) = &y {
            check_outputs(self.spec, n, y, surprise.as_deref())?;
        } else if let Some(s) = surprise.as_deref() {
            expect_len("surprise", n, s.len())?;
        }
        self.check_scratch(scratch)?;
        let mut wanted = Wanted { y, surprise };
        if self.spec.token_by_token() {
            return self.steps(g, tokens, wanted, scratch);
        }
        let mut from = 0;
        while from < n {
            let rows = self.spec.piece_len_from(self.filled(), self.filled() + (n - from));
            let feed = PieceTokens::new(tokens, Place { from, n: rows, filled: self.pending(), before });
            // A piece settles between two calls.
            let rows = settling_token(self.layout(), feed, self.momentum()).unwrap_or(rows);
            let admitted = self.piece(g, feed.part(0, rows), wanted.part(from, rows), scratch)?;
            if admitted < rows {
                return Err(Error::Diverged { token: from + admitted });
            }
            from += rows;
        }
        Ok(())
    }

    /// Every token a piece.
    fn steps<G: Arithmetic<T>>(
        &mut self,
        g: &G,
        tokens: &Tokens<'_, T>,
        wanted: Wanted<'_, T>,
        scratch: &mut [T],
    ) -> Result<()> {
        let on = Frame::of_tokens(g, self.spec);
        let (state, bounds) = self.block.halves_mut(self.parts.guard);
        let mut guard = Guard::load(bounds);
        let done = guarded::tokens_guarded(on, self.read, tokens, &mut guard, state, wanted, scratch);
        guard.save(bounds);
        let (admitted, clipped) = done?;
        self.count(admitted, clipped);
        if admitted < tokens.len() { Err(Error::Diverged { token: admitted }) } else { Ok(()) }
    }

    /// Tokens of one piece. Returns how many were admitted: they are written and answered.
    fn piece<G: Arithmetic<T>>(
        &mut self,
        g: &G,
        feed: PieceTokens<'_, T>,
        wanted: Wanted<'_, T>,
        scratch: &mut [T],
    ) -> Result<usize> {
        let (on, spec, of_period, Place { n: rows, filled, .. }) =
            (Frame::new(g, self.layout()), self.spec, self.filled(), feed.place);
        let mut piece = Piece::take(on, self.read, self.parts, self.block, scratch)?;
        let Wanted { y, surprise } = wanted;
        let Wrote { mut clipped, answered } = piece.write(feed, y.is_some(), surprise.is_some())?;
        let (n, guard) = admitted(on, feed, &piece.work.writing, Guard::load(piece.bounds))?;
        guard.save(piece.bounds);
        if n < rows {
            clipped = piece.work.writing.written.clipped(filled, n);
            piece.work.writing.open.forget(on.lay, filled + n, rows - n)?;
            if n == 0 {
                return Ok(0);
            }
        }
        // Only what was admitted is answered, and stays.
        if let Some(surprise) = surprise {
            surprise.part_mut(..n).become_copy(piece.work.reading.r.part(..n));
        }
        match y {
            Some(mut y) if answered => y.row_mut(0).become_copy(pair::answer(&piece.work, spec)),
            Some(y) => piece.answer(feed.part(0, n), y.sub(0, n))?,
            None => {}
        }
        let closes = filled + n == on.lay.rows || (of_period + n).is_multiple_of(spec.period_len());
        piece.end(n, filled + n, closes)?;
        self.counters.filled = ((of_period + n).checked_rem(spec.period_len()).unwrap_or(0)) as u64;
        if self.filled() == 0 {
            self.keep_anchor();
        }
        self.count(n, clipped);
        Ok(n)
    }

    /// G and Π η of the open piece.
    fn momentum(&self) -> [T; 2] {
        [1, 2].map(|i| self.block.get(self.parts.row + i).copied().unwrap_or(T::ZERO))
    }

    /// A stream that was loaded may be at the counters' end.
    fn count(&mut self, tokens: usize, clipped: u64) {
        self.counters.position = self.counters.position.saturating_add(tokens as u64);
        self.counters.clipped = self.counters.clipped.saturating_add(clipped);
    }

    /// The weights that the coming chunk's gradients are taken at.
    pub(super) fn keep_anchor(&mut self) {
        let (state, rest) = self.block.halves_mut(self.spec.state_len());
        let len = self.spec.anchor_len();
        rest.part_mut(..len).become_copy(state.part(..len));
    }

    /// Row 0 of the coefficients: A = 1, G = 0, Π η = 1.
    pub(super) fn start_piece(&mut self) {
        let (parts, len) = (self.parts, Coefficients::<T>::row_len(self.spec.piece_len()));
        for row in self.block.part_mut(parts.row..parts.held).chunks_exact_mut(len.max(1)) {
            row.part_mut(..3).become_copy(&[T::ONE, T::ZERO, T::ONE]);
        }
    }
}

/// What became of tokens that are not admitted yet.
struct Wrote {
    /// How many were clipped.
    clipped: u64,
    /// The query of the one token is answered: [`pair::answer`].
    answered: bool,
}

/// What no memory is without.
const NO_SET: Error = Error::Shape { what: "sets of gates", expected: 1, found: 0 };

/// A stream's open piece at work: the parts of its block, and scratch around the slabs that lie there.
struct Piece<'a, T, G> {
    on: Frame<'a, G>,
    read: Read,
    /// The rows that answer queries; none where every chunk has one of its own.
    by: Option<Rows>,
    work: Work<'a, T>,
    /// `[W | S]` at the piece's start.
    state: &'a mut [T],
    /// The weights at its chunk's start, where these are others.
    anchor: &'a [T],
    /// The last row of coefficients, and that of the open chunk's start.
    row: &'a mut [T],
    held: &'a mut [T],
    /// Of the norms.
    bounds: &'a mut [T],
}

impl<'a, T: Scalar, G: Arithmetic<T>> Piece<'a, T, G> {
    // Inlined: else all of its slices are moved, twice for every token.
    #[inline(always)]
    fn take(
        on: Frame<'a, G>,
        read: Read,
        parts: StreamParts,
        block: &'a mut [T],
        scratch: &'a mut [T],
    ) -> Result<Self> {
        let lay = on.lay;
        let (state, rest) = block.halves_mut(parts.anchor);
        let (anchor, rest) = rest.halves_mut(parts.open - parts.anchor);
        let (open, rest) = rest.halves_mut(parts.row - parts.open);
        let (row, rest) = rest.halves_mut(parts.held - parts.row);
        let (held, bounds) = rest.halves_mut(parts.guard - parts.held);
        let open = Open::take(&mut Scratch::new(open), lay)?;
        let mut work = Work::around(open, &mut Scratch::new(scratch), lay)?;
        // A, G, C and P go on from where the last call left them.
        work.coefficients.load(row, lay.rows);
        let by = if lay.spec.wide() { exact::rows(lay, read) } else { Some(read.into()) };
        Ok(Self { on, read, by, work, state, anchor, row, held, bounds })
    }

    /// Coefficients, H, Δ and rates of some tokens. The query of a single token may be answered on the way. What the
    /// tokens' surprise is, if it is asked for, lies where the answers keep their deviations, until they are known to
    /// be admitted.
    fn write(&mut self, feed: PieceTokens<'_, T>, asks: bool, surprised: bool) -> Result<Wrote> {
        let (on, lay, work) = (self.on, self.on.lay, &mut self.work);
        let later = |clipped| Ok(Wrote { clipped, answered: false });
        if !lay.spec.wide() {
            let pairs = Pairs { k: feed.k(), v: feed.v(), from: feed.place.filled };
            let surprise = surprised.then_some(work.reading.r.part_mut(..feed.place.n));
            write::gradients(on, first(self.anchor, self.state), pairs, &mut work.writing, surprise)?;
            return later(enter(on, feed, &mut work.writing, &mut work.coefficients)?);
        }
        let Some(coefficients) = work.coefficients.first_mut() else { return Err(NO_SET) };
        coefficients.hold(lay.coefficients(), self.held);
        advance(on, feed, 0, coefficients);
        if let Some(by) = self.by.filter(|_| asks && pair::fits(lay, feed.place)) {
            pair::token(on, feed, by, self.state, work, surprised)?;
            return Ok(Wrote { clipped: 0, answered: true });
        }
        let Work { writing, reading, coefficients, .. } = work;
        let surprise = surprised.then_some(reading.r.part_mut(..feed.place.n));
        let of = coefficients.first().ok_or(NO_SET)?;
        later(exact::gradients(on, feed, self.state, writing, reading.scores, of, surprise)?)
    }

    /// The queries of tokens that were admitted.
    fn answer(&mut self, feed: PieceTokens<'_, T>, y: MatMut<'_, T>) -> Result<()> {
        let (on, state) = (self.on, &*self.state);
        let Work { writing, reading, coefficients, .. } = &mut self.work;
        let past = Past::new(writing.open.view(), coefficients);
        let Some(rows) = self.by else { return exact::by_chunk(on, feed, state, past, reading, y) };
        let state = if self.read.is_at_chunk_start() { first(self.anchor, state) } else { state };
        answers(on, Asked::new(rows, feed.q(), feed.place.filled), StateSource::Stays(state), past, reading, y)
    }

    /// Behind n more tokens, `filled` of the piece in all: it settles, closes, or its last row of coefficients is
    /// saved.
    #[inline(always)]
    fn end(self, n: usize, filled: usize, closes: bool) -> Result<()> {
        let (on, lay, spec) = (self.on, self.on.lay, self.on.lay.spec);
        let Work { mut writing, reading, mut coefficients, scaled } = self.work;
        let before = filled - n;
        if let Some(at) =
            (filled / spec.chunk.max(1) * spec.chunk).checked_sub(before).filter(|_| !self.held.is_empty())
        {
            coefficients.save(at, before + at, self.held, lay.rows);
        }
        // Where Π η has become 0 with the last of these tokens: W ← A W + G S, once.
        let Some(first) = coefficients.first_mut() else { return Err(NO_SET) };
        if !has_settled(spec, first) && has_settled(spec, &first.below(n)) {
            settle(on.g, n, first, self.state);
            first.restart(n, n);
        }
        if closes {
            // W and S at the piece's end; the next one begins with A = 1, G = 0, Π η = 1.
            let seen = exact::upright(lay, writing.open.view(), filled, reading.x)?;
            let (end, past) = (End { n: filled, row: n }, Past::new(seen, &coefficients));
            close(on, end, past, scaled, self.state)?;
            // So that a state says nothing of what is past, and a token that is refused later leaves no trace in it.
            writing.open.forget(lay, 0, filled)?;
            coefficients.start();
            coefficients.save(0, 0, self.row, lay.rows);
        } else {
            coefficients.save(n, filled, self.row, lay.rows);
        }
        Ok(())
    }
}
