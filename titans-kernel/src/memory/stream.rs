//! A memory that is fed any number of tokens at a time and gives the bits of feeding them all at once.

use super::close::{End, close};
use super::coefficients::Coefficients;
use super::forward::check_outputs;
use super::frame::Frame;
use super::guard::{GUARD, Guard};
use super::layout::Layout;
use super::open::{Open, OpenView, Past};
use super::read::{Asked, Rows, answers};
use super::sets::Sets;
use super::source::StateSource;
use super::spec::{MemorySpec, Read};
use super::step;
use super::work::{Reading, Work};
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Count, Room, Scratch, counted};
use crate::view::{Mat, MatMut};

/// One memory in a caller's block of numbers: W and S at the start of the unfinished piece, the weights at the start of
/// its chunk (the gradient anchor) where these are others, the piece's tokens as H, Δ, rates and the last row of A, G,
/// Π η, C, P, and bounds of ‖W‖ and ‖S‖. Counters stand beside it. Where every token is a piece
/// ([`MemorySpec::token_by_token`]) the block is W, S and their bounds.
///
/// [`Memory`](super::Memory) owns all that a stream borrows. The stream itself is for who lends it memory of his own:
///
/// ```
/// use titans_kernel::memory::{Gate, Mask, MemorySpec, Read, Stream, Tokens};
/// use titans_kernel::{Mat, Portable};
///
/// let spec = MemorySpec::new(&[2, 2])?;
/// let mut block = vec![0.0; Stream::<f32>::len(&spec)];
/// let mut scratch = vec![0.0; Stream::<f32>::scratch_len(&spec)];
/// let mut stream = Stream::new(&spec, Read::After, &[0.0; 4], &mut block)?;
/// let (key, value, one, zero) = ([1.0, 0.0], [0.5, -0.5], [1.0], [0.0]);
/// let row = |x| Mat::new(x, 1, 2);
/// let (alpha, theta, eta) = (Gate::tokens(&zero), Gate::tokens(&one), Gate::tokens(&zero));
/// let tokens = Tokens { k: row(&key)?, v: row(&value)?, q: row(&key)?, alpha, theta, eta, mask: Mask::Write };
/// let mut surprise = [f32::NAN];
/// stream.write(&Portable, &tokens, None, Some(&mut surprise), &mut scratch)?;
/// assert_eq!((surprise, stream.counters().position), ([0.25], 1)); // ½ ‖0 − v‖²
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Debug)]
pub struct Stream<'a, T> {
    pub(super) spec: &'a MemorySpec,
    pub(super) read: Read,
    pub(super) block: &'a mut [T],
    pub(super) counters: Counters,
    /// Worked out once: a token takes no longer than a few of these.
    pub(super) parts: StreamParts,
    scratch: usize,
}

/// The whole numbers of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tokens seen since the start.
    pub position: u64,
    /// Tokens whose gradient was clipped.
    pub clipped: u64,
    /// Tokens in the unfinished period, below [`MemorySpec::period_len`].
    pub filled: u64,
}

impl Counters {
    /// Can a stream of this configuration have counted so?
    pub(super) fn check(&self, spec: &MemorySpec) -> Result<()> {
        if self.filled >= spec.period_len() as u64 {
            return Err(Error::Shape {
                what: "filled: below the period",
                expected: spec.period_len(),
                found: usize::MAX,
            });
        }
        Ok(())
    }
}

impl<'a, T: Scalar> Stream<'a, T> {
    /// Elements of the block for one stream; `usize::MAX` for an invalid configuration, as all sizes.
    pub fn len(spec: &MemorySpec) -> usize {
        spec.size(|| StreamParts::of(spec).end)
    }

    /// Elements of scratch that every call needs; any stream of this configuration may use it in turn.
    pub fn scratch_len(spec: &MemorySpec) -> usize {
        spec.size(|| {
            let lay = layout(spec);
            let reads = counted(|room| take_reads::<T, _>(room, lay));
            if spec.token_by_token() {
                return step::scratch_len(spec).max(reads);
            }
            counted(|room| Work::<T>::count_around(room, lay)).max(reads)
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
        counters.check(spec)?;
        Ok(Self { spec, read, block, counters, parts: StreamParts::of(spec), scratch: Self::scratch_len(spec) })
    }

    /// The stream of a block and counters that were checked before, with what [`Stream::attach`] works out.
    pub(super) const fn resume(
        spec: &'a MemorySpec,
        read: Read,
        counters: Counters,
        block: &'a mut [T],
        parts: StreamParts,
        scratch: usize,
    ) -> Self {
        Self { spec, read, block, counters, parts, scratch }
    }

    /// Starts anew from weights `w0`.
    ///
    /// # Errors
    /// [`Error::Shape`] when `w0` is not [`MemorySpec::params`] long, [`Error::Value`] when it is not finite; nothing
    /// changes.
    pub fn reset(&mut self, w0: &[T]) -> Result<()> {
        expect_len("w0", self.spec.params(), w0.len())?;
        if let Some(index) = w0.iter().position(|x| !x.finite()) {
            return Err(Error::Value { what: "w0", index });
        }
        self.block.fill(T::ZERO);
        layout(self.spec).to_panels(w0, self.block.part_mut(..w0.len()));
        Guard::of(w0).save(self.block.part_mut(self.parts.guard..));
        self.counters = Counters::default();
        self.keep_anchor();
        self.start_piece();
        Ok(())
    }

    /// The weights that a block with no piece open holds, to `out` ([`MemorySpec::params`]).
    pub(crate) fn weights(spec: &MemorySpec, block: &[T], out: &mut [T]) {
        layout(spec).to_rows(block.part(..out.len()), out);
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

    /// Answers queries `q` `[n, d_0]` with the memory after its last token; nothing changes.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Buffer`].
    pub fn read<G: Arithmetic<T>>(&self, g: &G, q: Mat<'_, T>, mut y: MatMut<'_, T>, scratch: &mut [T]) -> Result<()> {
        expect_len("q columns", self.spec.key_width(), q.cols())?;
        expect_len("q column stride", 1, q.col_stride())?;
        check_outputs(self.spec, q.rows(), &y, None)?;
        self.check_scratch(scratch)?;
        let (lay, filled) = (self.layout(), self.pending());
        let (state, open, row) = self.parts();
        let (mut reading, mut coefficients) = take_reads(&mut Scratch::new(scratch), lay)?;
        // Where no piece is ever open the weights are as they lie.
        let rows = if self.spec.token_by_token() { Rows::Start } else { Rows::Fixed(0) };
        if !rows.is_start() {
            coefficients.load(row, lay.rows);
        }
        let (on, past) = (Frame::new(g, lay), Past::new(open, &coefficients));
        for from in (0..q.rows()).step_by(lay.rows.max(1)) {
            let n = lay.rows.min(q.rows() - from);
            let asked = Asked::new(rows, q.sub(from, n), filled);
            answers(on, asked, StateSource::Stays(state), past, &mut reading, y.rb().sub(from, n))?;
        }
        Ok(())
    }

    /// The state `[W | S]` after the last token, the unfinished chunk included, to `out`
    /// ([`MemorySpec::state_len`]); the stream does not change.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Buffer`].
    pub fn state<G: Arithmetic<T>>(&self, g: &G, out: &mut [T], scratch: &mut [T]) -> Result<()> {
        expect_len("state", self.spec.state_len(), out.len())?;
        self.check_scratch(scratch)?;
        let (state, open, row) = self.parts();
        self.layout().to_rows(state, out);
        if self.pending() == 0 {
            return Ok(());
        }
        let lay = Layout { panels: false, ..self.layout() };
        let elsewhere = Open::take(&mut Count::default(), lay)?;
        let mut work = Work::around(elsewhere, &mut Scratch::new(scratch), lay)?;
        work.coefficients.load(row, lay.rows);
        let (end, past) = (End { n: self.pending(), row: 0 }, Past::new(open, &work.coefficients));
        close(Frame::new(g, lay), end, past, work.scaled, out)
    }

    pub(super) fn filled(&self) -> usize {
        self.counters.filled as usize
    }

    /// Tokens in the unfinished piece.
    pub(super) fn pending(&self) -> usize {
        self.filled().checked_rem(self.spec.piece_len()).unwrap_or(0)
    }

    pub(super) fn layout(&self) -> Layout<'a> {
        layout(self.spec)
    }

    /// (state, open piece, row of coefficients), to read.
    fn parts(&self) -> (&[T], OpenView<'_, T>, &[T]) {
        let (lay, parts) = (self.layout(), self.parts);
        let open = self.block.part(parts.open..parts.row);
        let seen = if open.is_empty() { OpenView::NOTHING } else { OpenView::split(open, lay) };
        (self.block.part(..self.spec.state_len()), seen, self.block.part(parts.row..parts.held))
    }

    pub(super) fn check_scratch(&self, scratch: &[T]) -> Result<()> {
        let (needed, given) = (self.scratch, scratch.len());
        if given < needed {
            return Err(Error::Buffer { what: "scratch", needed, given });
        }
        Ok(())
    }
}

/// What [`Stream::read`] works in: what the layers leave, and the row of coefficients that answers.
fn take_reads<'a, T: Scalar, R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<(Reading<'a, T>, Sets<'a, T>)> {
    Ok((Reading::take(room, lay)?, Sets::take(room, lay.spec, 0, lay.rows)?))
}

/// Weights lie in panels where a token reads all of them and writes nothing.
fn layout(spec: &MemorySpec) -> Layout<'_> {
    if spec.wide() {
        Layout { turned: true, ..Layout::in_panels(spec, spec.piece_len()) }
    } else {
        Layout::new(spec, spec.piece_len())
    }
}

/// Where the parts of a block begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamParts {
    /// The gradient anchor; W and S lie before it.
    pub anchor: usize,
    /// The open piece's rows.
    pub open: usize,
    /// The last row of coefficients of every set of gates.
    pub row: usize,
    /// That of the open chunk's start, where a piece is several chunks of several tokens.
    pub held: usize,
    /// Bounds of the norms.
    pub guard: usize,
    /// The block's end.
    pub end: usize,
}

impl StreamParts {
    pub fn of(spec: &MemorySpec) -> Self {
        let lay = layout(spec);
        let some = |is: bool, len: usize| if is { len } else { 0 };
        let opens = !spec.token_by_token();
        let row_len = spec.gate_sets() * Coefficients::<f64>::row_len(lay.rows);
        let mut block = Count::default();
        block.place(spec.state_len());
        Self {
            anchor: block.place(spec.anchor_len()),
            open: block.place(some(opens, counted(|room| Open::<f64>::take(room, lay)))),
            row: block.place(some(opens, row_len)),
            held: block.place(some(spec.wide() && spec.chunk > 1, row_len)),
            guard: block.place(GUARD),
            end: block.0,
        }
    }
}
