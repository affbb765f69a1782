//! A stream that owns what it works with.

use super::Feed;
use super::position::Position;
use super::stream::Stream;
use super::{Mode, Model};
use crate::arch::Simd;
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::scalar::Scalar;
use crate::view::MatMut;

/// One stream through a model with all that belongs to it: state and scratch in a buffer `B` of [`Session::buffer_len`]
/// numbers (a `Vec`, a `&'static mut [T]` on a microcontroller, any block of a caller's), its place, and the arithmetic
/// that computes it. The model's blob is borrowed, and many sessions may share it. It is a [`Stream`] under the hood:
/// how tokens are cut into pushes changes no bit.
///
/// ```no_run
/// use titans_kernel::model::{Feed, Model, Session};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let blob = std::fs::read("model.titans")?; // what `titans export` wrote
/// let mut session = Session::new(Model::<f32>::parse(&blob)?)?;
/// let mut logits = vec![0.0; session.model().spec().outputs];
/// for byte in b"To be, or not" {
///     session.step(Feed::Tokens(&[u32::from(*byte)]), &mut logits, None)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Cloning forks it: both go on independently.
#[derive(Clone, Debug)]
pub struct Session<'m, T, B, G = Simd> {
    model: Model<'m, T>,
    rows: usize,
    place: Position,
    arithmetic: G,
    buffer: B,
}

/// Tokens that go through a session in a `Vec` at once, at most.
#[cfg(feature = "alloc")]
const AT_ONCE: usize = 64;

#[cfg(feature = "alloc")]
impl<'m, T: crate::arch::SimdScalar> Session<'m, T, alloc::vec::Vec<T>> {
    /// Before the first token, with memories that learn, in a buffer of its own, on the fastest instruction set of the
    /// processor.
    ///
    /// # Errors
    /// As [`Session::new_in`]; [`Error::Buffer`](crate::Error::Buffer) where the system has no memory for it.
    pub fn new(model: Model<'m, T>) -> Result<Self> {
        let needed = model.stream_len(AT_ONCE);
        let mut buffer = alloc::vec::Vec::new();
        let what = "buffer of a session, from the system's memory";
        buffer.try_reserve_exact(needed).map_err(|_| crate::Error::Buffer { what, needed, given: 0 })?;
        buffer.resize(needed, T::ZERO);
        Self::new_in(model, Mode::On, AT_ONCE, Simd::best(), buffer)
    }
}

impl<'m, T: Scalar, B, G> Session<'m, T, B, G> {
    /// Elements of the buffer of a session that takes up to `rows` tokens at once.
    pub fn buffer_len(model: &Model<'m, T>, rows: usize) -> usize {
        model.stream_len(rows)
    }

    /// The model.
    pub const fn model(&self) -> &Model<'m, T> {
        &self.model
    }

    /// Where it stands: tokens, clipped gradients, what the memories do.
    pub const fn place(&self) -> Position {
        self.place
    }

    /// The buffer, for another session.
    pub fn into_buffer(self) -> B {
        self.buffer
    }
}

impl<'m, T: Scalar, B: AsMut<[T]>, G: Arithmetic<T>> Session<'m, T, B, G> {
    /// Before the first token, in a caller's buffer of any content, taking up to `rows` tokens at once:
    /// [`Stream::new`].
    ///
    /// # Errors
    /// As [`Stream::new`].
    pub fn new_in(model: Model<'m, T>, mode: Mode, rows: usize, arithmetic: G, buffer: B) -> Result<Self> {
        let place = Position { mode, ..Position::default() };
        let mut session = Self::attach(model, rows, place, arithmetic, buffer)?;
        session.reset(mode)?;
        Ok(session)
    }

    /// The session whose buffer another one of this model and `rows` left behind, at the place that it had then.
    ///
    /// # Errors
    /// As [`Stream::attach`].
    pub fn attach(model: Model<'m, T>, rows: usize, place: Position, arithmetic: G, mut buffer: B) -> Result<Self> {
        let place = Stream::attach(&model, rows, place, buffer.as_mut())?.place();
        Ok(Self { model, rows, place, arithmetic, buffer })
    }

    /// Feeds any number of tokens: [`Stream::push`].
    ///
    /// # Errors
    /// As [`Stream::push`]. After [`Error::Diverged`](crate::Error::Diverged) it is torn, and goes on after
    /// [`Session::reset`] or [`Session::load`]: who wants to go on from the last good token keeps a clone or what
    /// [`Session::save`] wrote.
    pub fn push(
        &mut self,
        feed: Feed<'_, T>,
        outputs: Option<MatMut<'_, T>>,
        surprise: Option<MatMut<'_, T>>,
    ) -> Result<()> {
        self.run(|stream, g| stream.push(g, feed, outputs, surprise))
    }

    /// One token: logits or a prediction, [`ModelSpec::outputs`](super::ModelSpec::outputs) numbers, and a surprise for
    /// each memory.
    ///
    /// # Errors
    /// As [`Session::push`]; [`Error::Shape`](crate::Error::Shape) when the feed is not one token.
    pub fn step(&mut self, feed: Feed<'_, T>, outputs: &mut [T], surprise: Option<&mut [T]>) -> Result<()> {
        self.run(|stream, g| stream.step(g, feed, outputs, surprise))
    }

    /// Starts anew.
    ///
    /// # Errors
    /// As [`Stream::reset`].
    pub fn reset(&mut self, mode: Mode) -> Result<()> {
        self.run(|stream, g| stream.reset(g, mode))
    }

    /// Lets the memories write from the next token on, or not any more.
    ///
    /// # Errors
    /// As [`Stream::set_mode`].
    pub fn set_mode(&mut self, mode: Mode) -> Result<()> {
        self.run(|stream, _| stream.set_mode(mode))
    }

    /// Writes the whole state; returns the bytes written, [`Model::saved_len`].
    ///
    /// # Errors
    /// As [`Stream::save`].
    pub fn save(&mut self, out: &mut [u8]) -> Result<usize> {
        self.run(|stream, _| stream.save(out))
    }

    /// Becomes the session that was saved, of the same model.
    ///
    /// # Errors
    /// As [`Stream::load`]; nothing changes.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        self.run(|stream, _| stream.load(bytes))
    }

    /// Lends the stream and the arithmetic, and keeps the stream's place, also where it was torn.
    fn run<R>(&mut self, body: impl FnOnce(&mut Stream<'_, T>, &G) -> Result<R>) -> Result<R> {
        let mut stream = Stream::attach(&self.model, self.rows, self.place, self.buffer.as_mut())?;
        let result = body(&mut stream, &self.arithmetic);
        self.place = stream.place();
        result
    }
}
