//! A model that is fed any number of tokens at a time and gives the bits of feeding them all at once.

use super::position::{END, Position};
use super::{Feed, Input, LIMIT, LastWeights, Mode, Model, ModelSpec};
use crate::arithmetic::Arithmetic;
use crate::block::{BlockRun, Numbers, State, rule};
use crate::error::{Error, Fault, Result, expect_len};
use crate::ops::rows::finite_rows;
use crate::ops::{embedding, linear, rms_norm};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch};
use crate::view::{Mat, MatMut};
use core::cell::Cell;

/// Rows of tokens on their way through the blocks, in front of the blocks' scratch.
pub(super) struct RowSpace<'a, T> {
    pub x: &'a mut [T],
    /// Normalised.
    pub normal: &'a mut [T],
}

impl<'a, T> RowSpace<'a, T> {
    pub fn take<R: Room<'a, T>>(room: &mut R, rows: usize, width: usize) -> Result<Self> {
        Ok(Self { x: room.area(rows, width)?, normal: room.area(rows, width)? })
    }
}

/// One stream through a model, in a caller's buffer of [`Model::stream_len`] numbers: first the state of every block,
/// then scratch. The buffer may hold anything before, and nothing but this stream may write it afterwards.
///
/// A token is refused whose write or whose outputs would not be finite: [`Stream::push`] says which. Its memories and
/// blocks are many, and some have taken more than others by then, so that the stream is torn. Who wants to go on from
/// the last good token keeps a copy of the state's numbers ([`Model::state_len`]) and of [`Stream::place`], copies them
/// back, attaches the stream to them and feeds the tokens since then up to that one: they give the same bits.
///
/// ```
/// # use titans_kernel::model::{BlockSpec, CHECKSUM, Input, Kind, Model, ModelSpec, blob_len, checksum, encode_header};
/// use titans_kernel::model::{Feed, Mode, Stream};
/// use titans_kernel::{MatMut, Portable};
///
/// # let blocks = [BlockSpec::new(Kind::Lmm, 1, 4)?];
/// # let (input, outputs, width) = (Input::Tokens(5), 5, 4);
/// # let spec = ModelSpec { input, outputs, head_bias: false, width, tied: true, shortcut: false, blocks: 1 };
/// # let mut blob = vec![0; blob_len::<f32>(&spec, &blocks)?];
/// # encode_header::<f32>(&spec, &blocks, &mut blob)?;
/// # let end = blob.len() - CHECKSUM;
/// # let sum = checksum(&blob[..end]);
/// # blob[end..].copy_from_slice(&sum);
/// # let mut numbers = vec![0.0f32; spec.parameters(&blocks)?];
/// // A model of 5 tokens: `Model` shows how one comes about.
/// let model = Model::read_into(&blob, &mut numbers)?;
/// let mut buffer = vec![0.0; model.stream_len(2)]; // two tokens at once
/// let mut stream = Stream::new(&Portable, &model, Mode::On, 2, &mut buffer)?;
/// let mut logits = [f32::NAN; 3 * 5];
/// stream.push(&Portable, Feed::Tokens(&[1, 4, 2]), Some(MatMut::new(&mut logits, 3, 5)?), None)?;
/// assert_eq!((stream.position(), logits), (3, [0.0; 15])); // its parameters are zeros
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Debug)]
pub struct Stream<'a, T> {
    pub(super) model: Model<'a, T>,
    pub(super) rows: usize,
    pub(super) mode: Mode,
    pub(super) position: u64,
    pub(super) clipped: u64,
    pub(super) torn: bool,
    pub(super) state: &'a mut [T],
    scratch: &'a mut [T],
}

impl<'a, T: Scalar> Stream<'a, T> {
    /// A stream before its first token, that takes up to `rows` tokens at once (longer pushes are cut; any number gives
    /// the same bits, more are faster and need more scratch).
    ///
    /// Persistent rows are seen here, and written by the memories if `mode` is [`Mode::On`].
    ///
    /// # Errors
    /// [`Error::Config`] for rows outside of 1 to [`LIMIT`], [`Error::Buffer`] when the buffer is too short; as
    /// [`Stream::reset`].
    pub fn new<G: Arithmetic<T>>(
        g: &G,
        model: &Model<'a, T>,
        mode: Mode,
        rows: usize,
        buffer: &'a mut [T],
    ) -> Result<Self> {
        let mut stream = Self::attach(model, rows, Position { mode, ..Position::default() }, buffer)?;
        stream.reset(g, mode)?;
        Ok(stream)
    }

    /// The stream whose buffer another one of this model and `rows` left behind, and whose [`Stream::place`] it had
    /// then.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::Buffer`] as [`Stream::new`].
    pub fn attach(model: &Model<'a, T>, rows: usize, place: Position, buffer: &'a mut [T]) -> Result<Self> {
        rule("rows: 1 to 1048576", rows, (1..=LIMIT).contains(&rows))?;
        let (needed, given) = (model.stream_len(rows), buffer.len());
        if given < needed {
            return Err(Error::Buffer { what: "stream", needed, given });
        }
        let (state, scratch) = buffer.halves_mut(model.state_len(rows));
        Ok(Self::resume(model, rows, place, state, scratch))
    }

    /// [`Stream::attach`] for who knows where the buffer's parts lie, without working out their sizes again: `state`
    /// has [`Model::state_len`] numbers and `scratch` the rest of [`Model::stream_len`]. Calls end in [`Error::Buffer`]
    /// where that is not so.
    pub fn resume(
        model: &Model<'a, T>,
        rows: usize,
        place: Position,
        state: &'a mut [T],
        scratch: &'a mut [T],
    ) -> Self {
        let Position { tokens: position, clipped, mode, torn } = place;
        Self { model: *model, rows, mode, position: position.min(END), clipped, torn, state, scratch }
    }

    /// Where it stands, for [`Stream::attach`].
    pub const fn place(&self) -> Position {
        Position { tokens: self.position, clipped: self.clipped, mode: self.mode, torn: self.torn }
    }

    /// Starts anew: as a new stream.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a memory refuses a persistent row, which it names, and [`Error::Value`] when initial
    /// weights are not finite: the stream is then torn.
    pub fn reset<G: Arithmetic<T>>(&mut self, g: &G, mode: Mode) -> Result<()> {
        self.state.fill(T::ZERO);
        (self.mode, self.position, self.clipped, self.torn) = (mode, 0, 0, true);
        let (mut clipped, refused) = (0, Cell::new(usize::MAX));
        let (model, rows, width) = (self.model, self.rows, self.model.spec.width);
        let (mut room, scratch) = (Scratch::new(self.state), &mut *self.scratch);
        let mut numbers = Numbers(model.numbers);
        model.spec.first(&mut numbers)?;
        model.blocks(&mut numbers, |spec, w| {
            let mut state = State::take(spec, rows, &mut room)?;
            clipped += BlockRun { g, spec, width, w, mode, refused: &refused }.reset(rows, &mut state, scratch)?;
            Ok(())
        })?;
        (self.clipped, self.torn) = (clipped, false);
        Ok(())
    }

    /// That it is not torn.
    pub(super) const fn whole(&self) -> Result<()> {
        if self.torn { Err(Error::Torn) } else { Ok(()) }
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
    /// [`Error::Config`] to or from [`Mode::Absent`], which holds from the start to the end: [`Stream::reset`] changes
    /// it.
    pub fn set_mode(&mut self, mode: Mode) -> Result<()> {
        let same = mode.answers() == self.mode.answers();
        rule("mode: absent from the start or not at all; reset first: position", self.position as usize, same)?;
        self.mode = mode;
        Ok(())
    }

    /// Feeds any number of tokens. `outputs` `[n, outputs]` receives logits or predictions after each, `surprise`
    /// `[n, memories]` the inner loss of each memory at it, block after block (0 while memories are absent).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Range`] for an id outside of the vocabulary, [`Error::Value`] for the first number
    /// that is not finite, [`Error::Config`] at the end of all positions and [`Error::Torn`], before anything changes.
    /// [`Error::Diverged`] names the first token, counted from this push's first, whose write, residual row or outputs
    /// (if asked for) would not be finite: outputs and surprise of those before it are as they would be without it,
    /// rows from it on are unspecified, and the stream is torn (see [`Stream`]).
    pub fn push<G: Arithmetic<T>>(
        &mut self,
        g: &G,
        feed: Feed<'_, T>,
        mut outputs: Option<MatMut<'_, T>>,
        mut surprise: Option<MatMut<'_, T>>,
    ) -> Result<()> {
        let n = feed.len();
        self.check(&feed)?;
        self.check_outputs(n, outputs.as_ref(), surprise.as_ref())?;
        let mut from = 0;
        while from < n {
            let cut = self.model.cut as u64;
            let left = if cut == 0 { usize::MAX } else { (cut - self.position.checked_rem(cut).unwrap_or(0)) as usize };
            let piece = self.rows.min(n - from).min(left);
            let outputs = outputs.as_mut().map(|y| y.rb().sub(from, piece));
            let surprise = surprise.as_mut().map(|y| y.rb().sub(from, piece));
            if let Err(error) = self.piece(g, feed.sub(from, piece), outputs, surprise) {
                self.torn = true;
                return Err(match error {
                    Error::Diverged { token } => Error::Diverged { token: from + token },
                    other => other,
                });
            }
            from += piece;
        }
        Ok(())
    }

    /// One token: `outputs` numbers, and a surprise for each memory.
    ///
    /// # Errors
    /// As [`Stream::push`]; [`Error::Shape`] when the feed is not one token.
    pub fn step<G: Arithmetic<T>>(
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
    /// [`Error::Format`] for a stream of another model, [`Error::Shape`] for one of other rows, [`Error::Torn`] when
    /// this one is; nothing changes.
    pub fn fork_into(&self, other: &mut Stream<'_, T>) -> Result<()> {
        self.whole()?;
        let (expected, found) = (u64::from(self.model.checksum), u64::from(other.model.checksum));
        if expected != found || self.state.len() != other.state.len() && self.rows == other.rows {
            return Err(Fault::Config.error("model of the other stream, by its checksum", expected, found));
        }
        expect_len("rows of the other stream", self.rows, other.rows)?;
        other.state.become_copy(self.state);
        (other.mode, other.position, other.clipped, other.torn) = (self.mode, self.position, self.clipped, false);
        Ok(())
    }

    /// Checks all of a feed that [`Stream::push`] refuses before anything changes: who feeds it in parts knows
    /// beforehand.
    ///
    /// # Errors
    /// Those of [`Stream::push`], but for [`Error::Diverged`].
    pub fn check(&self, feed: &Feed<'_, T>) -> Result<()> {
        self.whole()?;
        let (spec, n) = (&self.model.spec, feed.len());
        match (feed, spec.input) {
            (Feed::Tokens(ids), Input::Tokens(vocabulary)) => {
                if let Some(index) = ids.iter().position(|&id| id as usize >= vocabulary) {
                    return Err(Error::Range { what: "ids", index });
                }
            }
            (Feed::Rows(rows), Input::Rows(size)) => {
                expect_len("numbers of a row", size, rows.cols())?;
                expect_len("column stride of the rows", 1, rows.col_stride())?;
                let size = size.max(1);
                let number = |i: usize| rows.at(i / size, i % size);
                if let Some(index) = (0..rows.rows() * size).find(|&i| !number(i).finite()) {
                    return Err(Error::Value { what: "rows", index });
                }
            }
            (Feed::Tokens(_), Input::Rows(size)) => expect_len("numbers of a row; this model reads rows", size, 0)?,
            (Feed::Rows(rows), Input::Tokens(_)) => {
                expect_len("numbers of a row; this model reads token ids", 0, rows.cols().max(1))?;
            }
        }
        rule("position: the end of all", n, n as u64 <= END.saturating_sub(self.position))
    }

    fn check_outputs(&self, n: usize, outputs: Option<&MatMut<'_, T>>, surprise: Option<&MatMut<'_, T>>) -> Result<()> {
        let shapes = [("outputs", outputs, self.model.spec.outputs), ("surprise", surprise, self.model.heads)];
        for (what, y, columns) in shapes {
            if let Some(y) = y {
                expect_len(what, n, y.rows())?;
                expect_len(what, columns, y.cols())?;
            }
        }
        Ok(())
    }

    /// Tokens that go through all blocks together.
    fn piece<G: Arithmetic<T>>(
        &mut self,
        g: &G,
        feed: Feed<'_, T>,
        outputs: Option<MatMut<'_, T>>,
        surprise: Option<MatMut<'_, T>>,
    ) -> Result<()> {
        let (asked, width) = (feed.len(), self.model.spec.width);
        let mut scratch = Scratch::new(self.scratch);
        let RowSpace { x, normal } = RowSpace::take(&mut scratch, asked, width)?;
        let scratch = scratch.rest();
        let (model, rows, mode, position) = (self.model, self.rows, self.mode, self.position);
        let mut numbers = Numbers(model.numbers);
        let first = model.spec.first(&mut numbers)?;
        match feed {
            Feed::Tokens(ids) => embedding::forward(first.embedding, ids, MatMut::new(x, asked, width)?)?,
            Feed::Rows(rows) => {
                linear::forward(g, rows, first.embedding, Some(first.bias), MatMut::new(x, asked, width)?)?
            }
        }
        // Later rows are left out: they would be multiplied by the zeros of those that do not see them.
        let n = finite_rows(g, Mat::new(x, asked, width)?);
        let (x, normal) = (x.part_mut(..n * width), normal.part_mut(..n * width));
        if n == 0 {
            return Err(Error::Diverged { token: 0 });
        }
        let [outputs, mut surprise] = [outputs, surprise].map(|y| y.map(|y| y.sub(0, n)));
        let mut room = Scratch::new(self.state);
        let (mut column, mut clipped, refused) = (0, 0, Cell::new(n));
        let last = model.blocks(&mut numbers, |spec, w| {
            let mut state = State::take(spec, rows, &mut room)?;
            let memories = spec.memories();
            let surprise = surprise.as_mut().filter(|_| memories > 0).map(|y| y.rb().columns(column, memories));
            let run = BlockRun { g, spec, width, w, mode, refused: &refused };
            clipped += run.forward(n, position, x, &mut state, surprise, scratch)?;
            column += memories;
            Ok(())
        })?;
        let x = Mat::new(x, n, width)?;
        let mut good = refused.get().min(finite_rows(g, x));
        if let Some(mut outputs) = outputs {
            say(g, &model.spec, x, first.embedding, &last, normal, outputs.rb())?;
            if let (true, Feed::Rows(rows)) = (model.spec.shortcut, feed) {
                pass(g, rows.sub(0, n), last.shortcut, scratch, outputs.rb())?;
            }
            good = good.min(finite_rows(g, outputs.as_ref()));
        }
        if good < asked {
            return Err(Error::Diverged { token: good });
        }
        self.position += n as u64;
        self.clipped = self.clipped.saturating_add(clipped);
        Ok(())
    }
}

/// The outputs of rows x; `normal` is overwritten.
fn say<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    spec: &ModelSpec,
    x: Mat<'_, T>,
    table: Mat<'_, T>,
    last: &LastWeights<Mat<'_, T>, &[T]>,
    normal: &mut [T],
    outputs: MatMut<'_, T>,
) -> Result<()> {
    let (n, width) = (x.rows(), x.cols());
    rms_norm::forward(g, x, last.norm, MatMut::new(normal, n, width)?)?;
    let (head, bias) = (if spec.tied { table.t() } else { last.head }, spec.head_bias.then_some(last.bias));
    linear::forward(g, Mat::new(normal, n, width)?, head, bias, outputs)
}

/// Adds what the shortcut says of rows; `scratch` is overwritten.
fn pass<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    rows: Mat<'_, T>,
    shortcut: Mat<'_, T>,
    scratch: &mut [T],
    mut outputs: MatMut<'_, T>,
) -> Result<()> {
    let (n, columns) = (rows.rows(), shortcut.cols());
    let said = Scratch::new(scratch).take(n * columns)?;
    linear::forward(g, rows, shortcut, None, MatMut::new(said, n, columns)?)?;
    for (r, said) in said.chunks_exact(columns.max(1)).enumerate() {
        outputs.row_mut(r).iter_mut().zip(said).for_each(|(y, x)| *y += *x);
    }
    Ok(())
}
