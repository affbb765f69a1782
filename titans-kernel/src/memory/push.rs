//! Tokens into a stream: piece after piece, each token admitted only if the numbers stay in range.

use super::close::{close, close_scratch};
use super::coefficients::Coefficients;
use super::exact::{self, Place};
use super::forward::{advance, check_outputs, enter, first};
use super::gates::Tokens;
use super::guard::{Guard, admitted};
use super::layout::Open;
use super::read::answers;
use super::sets::Sets;
use super::settle::{settle, settled, settles_behind};
use super::source::Source;
use super::spec::Read;
use super::stream::Stream;
use super::work::{Reading, Written};
use super::{guarded, pair, write};
use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::MatMut;

impl<T: Scalar> Stream<'_, T> {
    /// Writes any number of tokens and answers their queries, if `y` `[n, d_L]` is given; `surprise` (n) receives
    /// the inner loss c ‖M(k_t) − v_t‖². Gates that come one a chunk: one for every chunk that these tokens touch.
    ///
    /// A token is refused when a number of it is not finite, when it writes with α or η outside of [0, 1] or a negative θ, or when after its write a
    /// norm of W or S could be above 10^(30 / L) (`f32`; 10^(300 / L) in `f64`), its gradient's (or a thousandth of its residual's) is above 10¹⁵
    /// (10¹⁵⁰) or its query's above 10⁶: whatever is admitted has finite numbers, now and later. The bounds are carried along, not looked up: they
    /// may be above the norms, and without forgetting they only grow.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Buffer`], before anything changes. [`Error::Diverged`] names the first token that is refused: those
    /// before it are written and answered, the stream stands behind them, and rows of `y` and `surprise` from it on are unspecified.
    pub fn write<G: Gemm<T>>(
        &mut self,
        g: &G,
        tokens: &Tokens<'_, T>,
        mut y: Option<MatMut<'_, T>>,
        mut surprise: Option<&mut [T]>,
        scratch: &mut [T],
    ) -> Result<()> {
        let (b, n) = (self.spec.chunk, tokens.len());
        let before = self.filled() % b;
        tokens.check(self.spec, before)?;
        if let Some(y) = &y {
            check_outputs(self.spec, n, y, surprise.as_deref())?;
        } else if let Some(s) = surprise.as_deref() {
            expect_len("surprise", n, s.len())?;
        }
        self.check_scratch(scratch)?;
        if self.spec.token_by_token() {
            return self.steps(g, tokens, y, surprise, scratch);
        }
        let mut from = 0;
        while from < n {
            let rows = self.spec.piece_from(self.filled(), self.filled() + (n - from));
            let place = Place { from, n: rows, filled: self.pending(), before };
            // A piece settles between two calls.
            let rows = settles_behind(self.layout(), tokens, place, self.fading()).unwrap_or(rows);
            let place = Place { n: rows, ..place };
            let out = y.as_mut().map(|y| y.rb().sub(from, rows));
            let surprise = surprise.as_deref_mut().map(|s| &mut s[from..from + rows]);
            let admitted = self.piece(g, tokens, place, out, surprise, scratch)?;
            if admitted < rows {
                return Err(Error::Diverged { token: from + admitted });
            }
            from += rows;
        }
        Ok(())
    }

    /// Every token a piece.
    fn steps<G: Gemm<T>>(
        &mut self,
        g: &G,
        tokens: &Tokens<'_, T>,
        y: Option<MatMut<'_, T>>,
        surprise: Option<&mut [T]>,
        scratch: &mut [T],
    ) -> Result<()> {
        let (state, bounds) = self.block.split_at_mut(self.parts.guard);
        let mut guard = Guard::load(bounds);
        let done = guarded::tokens_guarded(g, self.spec, self.read, tokens, &mut guard, state, y, surprise, scratch);
        guard.save(bounds);
        let (admitted, clipped) = done?;
        self.count(admitted, clipped);
        if admitted < tokens.len() { Err(Error::Diverged { token: admitted }) } else { Ok(()) }
    }

    /// Tokens of one piece. Returns how many were admitted: they are written and answered.
    fn piece<G: Gemm<T>>(
        &mut self,
        g: &G,
        tokens: &Tokens<'_, T>,
        place: Place,
        y: Option<MatMut<'_, T>>,
        surprise: Option<&mut [T]>,
        scratch: &mut [T],
    ) -> Result<usize> {
        let (lay, spec, parts, Place { from, n: rows, filled, before }) = (self.layout(), self.spec, self.parts, place);
        let of_period = self.filled();
        let mut scratch = Scratch::new(scratch);
        let mut written = Written::take(&mut scratch, lay)?;
        let mut coefficients = Sets::take(&mut scratch, spec, lay.coefficients(), lay.rows)?;
        let mut reading = Reading::take(&mut scratch, lay)?;
        let scaled = scratch.take(close_scratch(lay))?;
        let (state, rest) = self.block.split_at_mut(parts.anchor);
        let (anchor, rest) = rest.split_at_mut(parts.open - parts.anchor);
        let (open, rest) = rest.split_at_mut(parts.row - parts.open);
        let (row, rest) = rest.split_at_mut(parts.held - parts.row);
        let (held, bounds) = rest.split_at_mut(parts.guard - parts.held);
        let mut open = Open::take(&mut Scratch::new(open), lay)?;
        coefficients.load(row, lay.rows);
        let by = if spec.wide() { exact::rows(lay, self.read) } else { Some(self.read.into()) };
        let mut y = y;
        let mut clipped = if spec.wide() {
            let coefficients = &mut coefficients[0];
            coefficients.hold(lay.coefficients(), held);
            advance(g, lay, tokens, 0, from, rows, filled, before, coefficients);
            if let (Some(by), Some(y)) = (by, y.take_if(|_| pair::fits(lay, place, by))) {
                let (open, written, reading) = (&mut open, &mut written, &mut reading);
                pair::token(g, lay, tokens, place, by, state, open, written, reading, coefficients, y, surprise)?;
                0
            } else {
                let (scores, written) = (&mut *reading.scores, &mut written);
                exact::gradients(g, lay, tokens, place, state, &mut open, written, scores, coefficients, surprise)?
            }
        } else {
            let (k, v) = (tokens.k.sub(from, rows), tokens.v.sub(from, rows));
            write::gradients(g, lay, first(anchor, state), k, v, filled, &mut open, &mut written, surprise)?;
            enter(g, lay, tokens, from, rows, filled, before, &mut open, &mut written, &mut coefficients)?
        };
        let (n, guard) = admitted(g, lay, tokens, place, open.seen(), &written, Guard::load(bounds))?;
        guard.save(bounds);
        let place = Place { n, ..place };
        if n < rows {
            clipped = written.clipped(filled, n);
            open.forget(lay, filled + n, rows - n)?;
            if n == 0 {
                return Ok(0);
            }
        }
        if let Some(y) = y {
            let (asked, y) = (if self.read == Read::ChunkStart { first(anchor, state) } else { &*state }, y.sub(0, n));
            let q = tokens.q.sub(from, n);
            match by {
                Some(by) => {
                    let source = Source::Stays(asked);
                    answers(g, lay, by, source, open.seen(), &coefficients, q, filled, &mut reading, y)?;
                }
                None => exact::by_chunk(g, lay, place, state, &open, &coefficients[0], q, &mut reading, y)?,
            }
        }
        let end = filled + n;
        if let Some(at) = (end / spec.chunk * spec.chunk).checked_sub(filled).filter(|_| !held.is_empty()) {
            coefficients.save(at, filled + at, held, lay.rows);
        }
        let first = &mut coefficients[0];
        if !settled(spec, first) && settled(spec, &first.below(n)) {
            settle(g, n, first, state);
            first.restart(n, n);
        }
        if end == lay.rows || (of_period + n).is_multiple_of(spec.period()) {
            let seen = exact::upright(lay, open.seen(), end, reading.x)?;
            close(g, lay, n, end, seen, &coefficients, scaled, state)?;
            coefficients.start();
            coefficients.save(0, 0, row, lay.rows);
        } else {
            coefficients.save(n, end, row, lay.rows);
        }
        self.counters.filled = ((of_period + n) % spec.period()) as u64;
        if self.filled() == 0 {
            self.keep_anchor();
        }
        self.count(n, clipped);
        Ok(n)
    }

    /// Π η of the open piece.
    fn fading(&self) -> T {
        self.block.get(self.parts.row + 2).copied().unwrap_or(T::ZERO)
    }

    /// A stream that was loaded may be at the counters' end.
    fn count(&mut self, tokens: usize, clipped: u64) {
        self.counters.position = self.counters.position.saturating_add(tokens as u64);
        self.counters.clipped = self.counters.clipped.saturating_add(clipped);
    }

    /// The weights that the coming chunk's gradients are taken at.
    pub(super) fn keep_anchor(&mut self) {
        let (state, rest) = self.block.split_at_mut(self.spec.state_len());
        let len = self.spec.anchor_len();
        rest[..len].copy_from_slice(&state[..len]);
    }

    /// Row 0 of the coefficients: A = 1, G = 0, Π η = 1.
    pub(super) fn start_piece(&mut self) {
        let (parts, len) = (self.parts, Coefficients::<T>::row_len(self.spec.piece()));
        for row in self.block[parts.row..parts.held].chunks_exact_mut(len) {
            row[..3].copy_from_slice(&[T::ONE, T::ZERO, T::ONE]);
        }
    }
}
