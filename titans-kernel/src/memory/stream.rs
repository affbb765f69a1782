//! A memory that is fed any number of tokens at a time and gives the bits of feeding them all at once.

use super::close::{close, close_scratch};
use super::coefficients::Coefficients;
use super::forward::{check_outputs, enter, first};
use super::gates::Tokens;
use super::layout::{Layout, Open, Reading, Seen, Written};
use super::read::{Rows, answers};
use super::source::Source;
use super::spec::{MemorySpec, Read};
use super::step;
use super::write;
use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// One memory in a caller's block of numbers: W and S at the start of the unfinished piece, the weights at the start of its
/// chunk (the gradient anchor) where these are others, and the piece's tokens as H, Δ, rates and the last row of A, G, Π η,
/// C, P. Counters stand beside it.
#[derive(Debug)]
pub struct Stream<'a, T> {
    pub(super) spec: &'a MemorySpec,
    pub(super) read: Read,
    pub(super) block: &'a mut [T],
    pub(super) counters: Counters,
}

/// The whole numbers of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tokens seen since the start.
    pub position: u64,
    /// Tokens whose gradient was clipped.
    pub clipped: u64,
    /// Tokens in the unfinished chunk, below the chunk size.
    pub filled: u64,
}

impl<'a, T: Scalar> Stream<'a, T> {
    /// Elements of the block for one stream; `usize::MAX` for an invalid configuration, as all sizes.
    pub fn len(spec: &MemorySpec) -> usize {
        spec.size(|| {
            let lay = Layout::new(spec, spec.piece());
            spec.state_len() + spec.anchor_len() + Open::<T>::len(lay) + Coefficients::<T>::row_len(lay.rows)
        })
    }

    /// Elements of scratch that every call needs; any stream of this configuration may use it in turn.
    pub fn scratch_len(spec: &MemorySpec) -> usize {
        spec.size(|| {
            let lay = Layout::new(spec, spec.piece());
            let chunks = Written::<T>::len(lay)
                + Reading::<T>::len(lay)
                + Coefficients::<T>::len(lay.rows, lay.rows)
                + close_scratch(lay);
            if spec.chunk == 1 { chunks.max(step::scratch_len(spec)) } else { chunks }
        })
    }

    /// A fresh stream in `block` ([`Stream::len`] elements, any content) with initial weights `w0`
    /// ([`MemorySpec::params`] elements) and no momentum.
    ///
    /// # Errors
    /// [`Error::Config`], or [`Error::Shape`] for a block or weights of the wrong length.
    pub fn new(spec: &'a MemorySpec, read: Read, w0: &[T], block: &'a mut [T]) -> Result<Self> {
        let mut stream = Self::attach(spec, read, Counters::default(), block)?;
        stream.reset(w0)?;
        Ok(stream)
    }

    /// A stream over a block that a stream of the same configuration filled before, with the counters it had then.
    ///
    /// # Errors
    /// [`Error::Config`], or [`Error::Shape`] for a block of the wrong length or counters that cannot be.
    pub fn attach(spec: &'a MemorySpec, read: Read, counters: Counters, block: &'a mut [T]) -> Result<Self> {
        spec.validate()?;
        expect_len("stream block", Self::len(spec), block.len())?;
        if counters.filled >= spec.chunk as u64 {
            return Err(Error::Shape { what: "filled: below the chunk", expected: spec.chunk, found: usize::MAX });
        }
        Ok(Self { spec, read, block, counters })
    }

    /// Starts anew from weights `w0`.
    ///
    /// # Errors
    /// [`Error::Shape`] when `w0` is not [`MemorySpec::params`] long; nothing changes.
    pub fn reset(&mut self, w0: &[T]) -> Result<()> {
        expect_len("w0", self.spec.params(), w0.len())?;
        self.block.fill(T::ZERO);
        self.block[..w0.len()].copy_from_slice(w0);
        self.counters = Counters::default();
        self.keep_anchor();
        self.start_piece();
        Ok(())
    }

    /// What it counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Tokens seen.
    pub const fn position(&self) -> u64 {
        self.counters.position
    }

    /// Tokens whose gradient was clipped.
    pub const fn clipped(&self) -> u64 {
        self.counters.clipped
    }

    /// The configuration.
    pub const fn spec(&self) -> &'a MemorySpec {
        self.spec
    }

    /// Writes any number of tokens and answers their queries, if `y` `[n, d_L]` is given; `surprise` (n) receives
    /// the inner loss c ‖M(k_t) − v_t‖². Gates that come one a chunk: one for every chunk that these tokens touch.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Buffer`], before anything changes.
    pub fn write<G: Gemm<T>>(
        &mut self,
        g: &G,
        tokens: &Tokens<'_, T>,
        mut y: Option<MatMut<'_, T>>,
        mut surprise: Option<&mut [T]>,
        scratch: &mut [T],
    ) -> Result<()> {
        let (b, n) = (self.spec.chunk, tokens.len());
        let before = self.filled();
        tokens.check(self.spec.key_width(), self.spec.value_width(), before, b)?;
        if let Some(y) = &y {
            check_outputs(self.spec, n, y, surprise.as_deref())?;
        } else if let Some(s) = surprise.as_deref() {
            expect_len("surprise", n, s.len())?;
        }
        self.check_scratch(scratch)?;
        if b == 1 {
            let state = &mut self.block[..self.spec.state_len()];
            let clipped = step::tokens(g, self.spec, self.read, tokens, 0, n, state, y, surprise, scratch)?;
            self.count(n, clipped);
            return Ok(());
        }
        let mut from = 0;
        while from < n {
            let rows = self.spec.piece_from(self.filled(), self.filled() + (n - from));
            let out = y.as_mut().map(|y| y.rb().sub(from, rows));
            let surprise = surprise.as_deref_mut().map(|s| &mut s[from..from + rows]);
            self.piece(g, tokens, from, rows, before, out, surprise, scratch)?;
            from += rows;
        }
        Ok(())
    }

    /// Answers queries `q` `[n, d_0]` with the memory after its last token; nothing changes.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Buffer`].
    pub fn read<G: Gemm<T>>(&self, g: &G, q: Mat<'_, T>, mut y: MatMut<'_, T>, scratch: &mut [T]) -> Result<()> {
        expect_len("q columns", self.spec.key_width(), q.cols())?;
        expect_len("q column stride", 1, q.col_stride())?;
        check_outputs(self.spec, q.rows(), &y, None)?;
        self.check_scratch(scratch)?;
        let (lay, filled) = (self.layout(), self.pending());
        let (state, open, row) = self.parts();
        let mut scratch = Scratch::new(scratch);
        let mut reading = Reading::take(&mut scratch, lay)?;
        let mut coefficients = Coefficients::take(&mut scratch, 0, lay.rows)?;
        coefficients.load(row);
        let mut from = 0;
        while from < q.rows() {
            let n = lay.rows.min(q.rows() - from);
            let out = y.rb().sub(from, n);
            answers(
                g,
                lay,
                Rows::Fixed(0),
                Source::Stays(state),
                open,
                &coefficients,
                q.sub(from, n),
                filled,
                &mut reading,
                out,
            )?;
            from += n;
        }
        Ok(())
    }

    /// The state `[W | S]` after the last token, the unfinished chunk included, to `out`
    /// ([`MemorySpec::state_len`]); the stream does not change.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Buffer`].
    pub fn state<G: Gemm<T>>(&self, g: &G, out: &mut [T], scratch: &mut [T]) -> Result<()> {
        expect_len("state", self.spec.state_len(), out.len())?;
        self.check_scratch(scratch)?;
        let (state, open, row) = self.parts();
        out.copy_from_slice(state);
        if self.pending() == 0 {
            return Ok(());
        }
        let lay = self.layout();
        let mut scratch = Scratch::new(scratch);
        let scaled = scratch.take(close_scratch(lay))?;
        let mut coefficients = Coefficients::take(&mut scratch, 0, lay.rows)?;
        coefficients.load(row);
        close(g, lay, 0, self.pending(), open, &coefficients, scaled, out)
    }

    /// `rows` tokens from `from` on, within one piece; `before` of the chunk were there when the call began.
    fn piece<G: Gemm<T>>(
        &mut self,
        g: &G,
        tokens: &Tokens<'_, T>,
        from: usize,
        rows: usize,
        before: usize,
        y: Option<MatMut<'_, T>>,
        surprise: Option<&mut [T]>,
        scratch: &mut [T],
    ) -> Result<()> {
        let (lay, filled, spec) = (self.layout(), self.pending(), self.spec);
        let mut scratch = Scratch::new(scratch);
        let mut written = Written::take(&mut scratch, lay)?;
        let mut coefficients = Coefficients::take(&mut scratch, lay.rows, lay.rows)?;
        let (state, rest) = self.block.split_at_mut(spec.state_len());
        let (anchor, rest) = rest.split_at_mut(spec.anchor_len());
        let (open, row) = rest.split_at_mut(Open::<T>::len(lay));
        let mut open = Open::take(&mut Scratch::new(open), lay)?;
        coefficients.load(row);
        let (k, v) = (tokens.k.sub(from, rows), tokens.v.sub(from, rows));
        write::gradients(g, lay, first(anchor, state), k, v, filled, &mut open, &mut written, surprise)?;
        let clipped = enter(g, lay, tokens, from, rows, filled, before, &mut open, &mut written, &mut coefficients)?;
        let mut rest = Scratch::new(scratch.rest());
        if let Some(y) = y {
            let mut reading = Reading::take(&mut rest, lay)?;
            let q = tokens.q.sub(from, rows);
            let asked = if self.read == Read::ChunkStart { first(anchor, state) } else { &*state };
            answers(
                g,
                lay,
                self.read.into(),
                Source::Stays(asked),
                open.seen(),
                &coefficients,
                q,
                filled,
                &mut reading,
                y,
            )?;
        }
        let of_chunk = (self.counters.filled as usize + rows) % spec.chunk;
        self.counters.filled = of_chunk as u64;
        if of_chunk.is_multiple_of(spec.piece()) {
            let scaled = rest.take(close_scratch(lay))?;
            close(g, lay, rows, filled + rows, open.seen(), &coefficients, scaled, state)?;
            coefficients.start();
            coefficients.save(0, 0, row);
            if of_chunk == 0 {
                self.keep_anchor();
            }
        } else {
            coefficients.save(rows, filled + rows, row);
        }
        self.count(rows, clipped);
        Ok(())
    }

    /// A stream that was loaded may be at the counters' end.
    fn count(&mut self, tokens: usize, clipped: u64) {
        self.counters.position = self.counters.position.saturating_add(tokens as u64);
        self.counters.clipped = self.counters.clipped.saturating_add(clipped);
    }

    /// The weights that the coming chunk's gradients are taken at.
    fn keep_anchor(&mut self) {
        let (state, rest) = self.block.split_at_mut(self.spec.state_len());
        let len = self.spec.anchor_len();
        rest[..len].copy_from_slice(&state[..len]);
    }

    /// Row 0 of the coefficients: A = 1, G = 0, Π η = 1.
    fn start_piece(&mut self) {
        let row = self.block.len() - Coefficients::<T>::row_len(self.spec.piece());
        self.block[row] = T::ONE;
        self.block[row + 2] = T::ONE;
    }

    pub(super) fn filled(&self) -> usize {
        self.counters.filled as usize
    }

    /// Tokens in the unfinished piece.
    fn pending(&self) -> usize {
        self.filled() % self.spec.piece()
    }

    fn layout(&self) -> Layout<'a> {
        Layout::new(self.spec, self.spec.piece())
    }

    /// (state, open piece, row of coefficients), to read.
    fn parts(&self) -> (&[T], Seen<'_, T>, &[T]) {
        let lay = self.layout();
        let (state, rest) = self.block.split_at(self.spec.state_len());
        let (open, row) = rest[self.spec.anchor_len()..].split_at(Open::<T>::len(lay));
        (state, Seen::split(open, lay), row)
    }

    fn check_scratch(&self, scratch: &[T]) -> Result<()> {
        let needed = Self::scratch_len(self.spec);
        if scratch.len() < needed {
            return Err(Error::Buffer { what: "scratch", needed, given: scratch.len() });
        }
        Ok(())
    }
}
