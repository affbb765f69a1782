//! A model that is fed any number of tokens at a time and gives the bits of feeding them all at once.

use super::{BlockSpec, Input, LIMIT, Mode, Model};
use crate::block::{Run, State, Weights, rule, state_len};
use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::ops::{embedding, linear, rms_norm};
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// Position at which a stream ends: far beyond any, and positions can be counted with signs.
pub(super) const END: u64 = 1 << 62;

/// What a stream is fed.
#[derive(Clone, Copy, Debug)]
pub enum Feed<'a, T> {
    /// Token ids, below the vocabulary's size.
    Tokens(&'a [u32]),
    /// Rows of numbers, a row a token.
    Rows(Mat<'a, T>),
}

impl<T: Scalar> Feed<'_, T> {
    /// Number of tokens.
    pub const fn len(&self) -> usize {
        match self {
            Self::Tokens(ids) => ids.len(),
            Self::Rows(rows) => rows.rows(),
        }
    }

    /// No token at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a stream stands: all of it that is not in its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Tokens seen.
    pub tokens: u64,
    /// Tokens and persistent rows whose gradient was clipped.
    pub clipped: u64,
    /// What the memories do.
    pub mode: Mode,
}

/// One stream through a model, in a caller's buffer of [`Model::stream_len`] numbers: first the state of every block, then
/// scratch. The buffer may hold anything before, and nothing but this stream may write it afterwards.
#[derive(Debug)]
pub struct Stream<'a, T> {
    pub(super) model: Model<'a, T>,
    pub(super) rows: usize,
    pub(super) mode: Mode,
    pub(super) position: u64,
    pub(super) clipped: u64,
    pub(super) state: &'a mut [T],
    scratch: &'a mut [T],
}

impl<'a, T: Scalar> Stream<'a, T> {
    /// A stream before its first token, that takes up to `rows` tokens at once (longer pushes are cut; any number gives the
    /// same bits, more are faster and need more scratch).
    ///
    /// Persistent rows are seen here, and written by the memories if `mode` is [`Mode::On`].
    ///
    /// # Errors
    /// [`Error::Config`] for rows outside of 1 to [`LIMIT`], [`Error::Buffer`] when the buffer is too short.
    pub fn new<G: Gemm<T>>(g: &G, model: &Model<'a, T>, mode: Mode, rows: usize, buffer: &'a mut [T]) -> Result<Self> {
        let mut stream = Self::attach(model, rows, Position { mode, ..Position::default() }, buffer)?;
        stream.reset(g, mode)?;
        Ok(stream)
    }

    /// The stream whose buffer another one of this model and `rows` left behind, and whose [`Stream::place`] it had then.
    ///
    /// # Errors
    /// As [`Stream::new`].
    pub fn attach(model: &Model<'a, T>, rows: usize, place: Position, buffer: &'a mut [T]) -> Result<Self> {
        rule("rows: 1 to 1048576", rows, (1..=LIMIT).contains(&rows))?;
        let (needed, given) = (model.stream_len(rows), buffer.len());
        if given < needed {
            return Err(Error::Buffer { what: "stream", needed, given });
        }
        let mut len = 0usize;
        model.blocks(|spec, _| {
            len = len.saturating_add(state_len::<T>(spec, rows));
            Ok(())
        })?;
        let (state, scratch) = buffer.split_at_mut(len);
        let Position { tokens: position, clipped, mode } = place;
        Ok(Self { model: *model, rows, mode, position: position.min(END), clipped, state, scratch })
    }

    /// Where it stands, for [`Stream::attach`].
    pub const fn place(&self) -> Position {
        Position { tokens: self.position, clipped: self.clipped, mode: self.mode }
    }

    /// Starts anew: as a new stream.
    ///
    /// # Errors
    /// None that a stream can meet.
    pub fn reset<G: Gemm<T>>(&mut self, g: &G, mode: Mode) -> Result<()> {
        self.state.fill(T::ZERO);
        (self.mode, self.position, self.clipped) = (mode, 0, 0);
        let mut clipped = 0;
        let (model, rows, width) = (self.model, self.rows, self.model.spec.width);
        let (mut room, scratch) = (Scratch::new(self.state), &mut *self.scratch);
        model.blocks(|spec, w| {
            let mut state = State::take(spec, rows, &mut room)?;
            clipped += Run { g, spec, width, w, mode }.reset(rows, &mut state, scratch)?;
            Ok(())
        })?;
        self.clipped = clipped;
        Ok(())
    }

    /// The model.
    pub const fn model(&self) -> &Model<'a, T> {
        &self.model
    }

    /// Tokens seen.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Tokens and persistent rows whose gradient was clipped, over all memories.
    pub const fn clipped(&self) -> u64 {
        self.clipped
    }

    /// What the memories do.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Lets the memories write from the next token on, or not any more.
    ///
    /// # Errors
    /// [`Error::Config`] to or from [`Mode::Absent`], which holds from the start to the end: [`Stream::reset`] changes it.
    pub fn set_mode(&mut self, mode: Mode) -> Result<()> {
        let same = (mode == Mode::Absent) == (self.mode == Mode::Absent);
        rule("mode: absent from the start or not at all; reset first: position", self.position as usize, same)?;
        self.mode = mode;
        Ok(())
    }

    /// Feeds any number of tokens. `outputs` `[n, outputs]` receives logits or predictions after each, `surprise`
    /// `[n, memories]` the inner loss of each memory at it, block after block (0 while memories are absent).
    ///
    /// # Errors
    /// [`Error::Shape`], or [`Error::Value`] for an id outside of the vocabulary, before anything changes;
    /// [`Error::Config`] at the end of all positions.
    pub fn push<G: Gemm<T>>(
        &mut self,
        g: &G,
        feed: Feed<'_, T>,
        mut outputs: Option<MatMut<'_, T>>,
        mut surprise: Option<MatMut<'_, T>>,
    ) -> Result<()> {
        let n = feed.len();
        self.check(&feed, outputs.as_ref(), surprise.as_ref())?;
        let mut from = 0;
        while from < n {
            let cut = self.model.cut as u64;
            let left = if cut == 0 { usize::MAX } else { (cut - self.position % cut) as usize };
            let piece = self.rows.min(n - from).min(left);
            let part = match feed {
                Feed::Tokens(ids) => Feed::Tokens(&ids[from..from + piece]),
                Feed::Rows(rows) => Feed::Rows(rows.sub(from, piece)),
            };
            let outputs = outputs.as_mut().map(|y| y.rb().sub(from, piece));
            let surprise = surprise.as_mut().map(|y| y.rb().sub(from, piece));
            self.piece(g, part, outputs, surprise)?;
            from += piece;
        }
        Ok(())
    }

    /// One token: `outputs` numbers, and a surprise for each memory.
    ///
    /// # Errors
    /// As [`Stream::push`]; [`Error::Shape`] when the feed is not one token.
    pub fn step<G: Gemm<T>>(
        &mut self,
        g: &G,
        feed: Feed<'_, T>,
        outputs: &mut [T],
        surprise: Option<&mut [T]>,
    ) -> Result<()> {
        expect_len("tokens of a step", 1, feed.len())?;
        expect_len("outputs", self.model.spec.outputs, outputs.len())?;
        let (columns, memories) = (outputs.len(), self.model.memories());
        let surprise = match surprise {
            Some(surprise) => {
                expect_len("surprise", memories, surprise.len())?;
                Some(MatMut::new(surprise, 1, memories)?)
            }
            None => None,
        };
        self.push(g, feed, Some(MatMut::new(outputs, 1, columns)?), surprise)
    }

    /// Makes another stream of the same model and rows what this one is; both go on independently.
    ///
    /// # Errors
    /// [`Error::Format`] for a stream of another model, [`Error::Shape`] for one of other rows; nothing changes.
    pub fn fork_into(&self, other: &mut Stream<'_, T>) -> Result<()> {
        let (expected, found) = (u64::from(self.model.checksum), u64::from(other.model.checksum));
        if expected != found || self.state.len() != other.state.len() && self.rows == other.rows {
            return Err(Error::Format { what: "model of the other stream, by its checksum", expected, found });
        }
        expect_len("rows of the other stream", self.rows, other.rows)?;
        other.state.copy_from_slice(self.state);
        (other.mode, other.position, other.clipped) = (self.mode, self.position, self.clipped);
        Ok(())
    }

    fn check(
        &self,
        feed: &Feed<'_, T>,
        outputs: Option<&MatMut<'_, T>>,
        surprise: Option<&MatMut<'_, T>>,
    ) -> Result<()> {
        let (spec, n) = (&self.model.spec, feed.len());
        match (feed, spec.input) {
            (Feed::Tokens(ids), Input::Tokens(vocabulary)) => {
                if let Some(index) = ids.iter().position(|&id| id as usize >= vocabulary) {
                    return Err(Error::Value { what: "ids", index });
                }
            }
            (Feed::Rows(rows), Input::Rows(size)) => {
                expect_len("numbers of a row", size, rows.cols())?;
                expect_len("column stride of the rows", 1, rows.col_stride())?;
            }
            (Feed::Tokens(_), Input::Rows(size)) => expect_len("numbers of a row; this model reads rows", size, 0)?,
            (Feed::Rows(rows), Input::Tokens(_)) => {
                expect_len("numbers of a row; this model reads token ids", 0, rows.cols().max(1))?;
            }
        }
        let shapes = [("outputs", outputs, spec.outputs), ("surprise", surprise, self.model.heads)];
        for (what, y, columns) in shapes {
            if let Some(y) = y {
                expect_len(what, n, y.rows())?;
                expect_len(what, columns, y.cols())?;
            }
        }
        rule("position: the end of all", n, n as u64 <= END.saturating_sub(self.position))
    }

    /// Tokens that go through all blocks together.
    fn piece<G: Gemm<T>>(
        &mut self,
        g: &G,
        feed: Feed<'_, T>,
        outputs: Option<MatMut<'_, T>>,
        mut surprise: Option<MatMut<'_, T>>,
    ) -> Result<()> {
        let (n, width) = (feed.len(), self.model.spec.width);
        let mut scratch = Scratch::new(self.scratch);
        let (x, normal) = (scratch.take(n * width)?, scratch.take(n * width)?);
        let scratch = scratch.rest();
        let (model, rows, mode, position) = (self.model, self.rows, self.mode, self.position);
        let mut numbers = crate::block::Numbers(model.numbers);
        let (table, bias) = model.spec.first(&mut numbers)?;
        match feed {
            Feed::Tokens(ids) => embedding::forward(table, ids, MatMut::new(x, n, width)?)?,
            Feed::Rows(rows) => linear::forward(g, rows, table, Some(bias.data()), MatMut::new(x, n, width)?)?,
        }
        let mut room = Scratch::new(self.state);
        let (mut column, mut clipped) = (0, 0);
        let [norm, head, head_bias] = model.blocks(|spec: &BlockSpec, w: &Weights<'_, T>| {
            let mut state = State::take(spec, rows, &mut room)?;
            let memories = spec.memories();
            let surprise = surprise.as_mut().filter(|_| memories > 0).map(|y| y.rb().columns(column, memories));
            clipped += Run { g, spec, width, w, mode }.forward(n, position, x, &mut state, surprise, scratch)?;
            column += memories;
            Ok(())
        })?;
        self.position += n as u64;
        self.clipped = self.clipped.saturating_add(clipped);
        let Some(outputs) = outputs else { return Ok(()) };
        rms_norm::forward(g, Mat::new(x, n, width)?, norm.data(), MatMut::new(normal, n, width)?)?;
        let head = if model.spec.tied { table.t() } else { head };
        let bias = model.spec.head_bias.then_some(head_bias.data());
        linear::forward(g, Mat::new(normal, n, width)?, head, bias, outputs)
    }
}
