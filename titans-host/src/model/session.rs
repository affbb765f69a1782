//! One uncut stream, fed in any cuts, on the kernel's streaming model.

mod step;
mod undo;

use super::{Model, ModelConfig, Weights, specs};
use crate::device::{Device, room};
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;
pub use step::{Step, Taken};
use titans_kernel::arch::{Simd, SimdScalar};
use titans_kernel::error::expect_len;
use titans_kernel::model as kernel;
use titans_kernel::model::{Feed, Input, Mode, Position, Stream};
use titans_kernel::{Mat, MatMut, Scalar};
use undo::Undo;

/// Tokens that go through the model at once, at most: enough for matrix products to be fast.
const AT_ONCE: usize = 128;

/// A stream of one sequence. How it is cut into pushes changes no bit. Cloning forks it: both go on independently.
///
/// It runs on this machine's processor, wherever the model was trained.
///
/// A token is refused whose write into a memory, or what the model says after it, would not be finite. The session then
/// stands behind the token before it, with the bits it would have had if the refused one had never come, and goes on
/// from there with whatever it is given. For that it holds a copy of its state, so it takes twice the state's memory,
/// and the tokens since: the copy is made anew after every 1024 of them, and only a refusal costs the time of feeding
/// those again.
///
/// ```
/// use std::sync::Arc;
/// use titans_host::device::Device;
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Mode, Model, ModelConfig, Session};
///
/// let cpu = Cpu::<f32>::new(Some(1))?;
/// let small = ModelConfig { width: 16, blocks: 1, heads: 1, head_width: 16, feed_forward: 32, ..Default::default() };
/// let model = Model::new(&cpu, small, 1)?;
/// let mut session = Session::new(&cpu, &model, Mode::On)?;
/// session.push(&b"what was read".map(u32::from))?;
/// let state = session.save()?; // bytes, for a file too
/// let mut other = Session::of(Arc::clone(session.weights()), cpu.arithmetic(), Mode::On)?;
/// other.load(&state)?;
/// assert_eq!(session.push(&[33])?, other.push(&[33])?); // to the bit
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone)]
pub struct Session<T> {
    weights: Arc<Weights<T>>,
    arithmetic: Simd,
    buffer: Vec<T>,
    position: Position,
    /// Numbers of the buffer that are state.
    state: usize,
    undo: Undo<T>,
}

fn zeros<T: Scalar>(len: usize) -> Result<Vec<T>> {
    room::zeros(len, "a stream", "a smaller memory.compute_chunk, window or segment, or a smaller model")
}

impl<T: SimdScalar> Session<T> {
    /// Bytes of a session of such a model, its weights with it.
    ///
    /// # Errors
    /// As [`specs`].
    pub fn space(config: &ModelConfig) -> Result<usize> {
        let (spec, blocks) = specs(config)?;
        let weights = kernel::blob_len::<T>(&spec, &blocks)?;
        let numbers = kernel::stream_len::<T>(&spec, blocks, AT_ONCE);
        Ok(weights.saturating_add(numbers.saturating_mul(T::BYTES)))
    }

    /// Before the first token of a model on a device.
    ///
    /// # Errors
    /// What the device reports; as [`Session::of`].
    pub fn new<D: Device<Elem = T>>(device: &D, model: &Model<D>, mode: Mode) -> Result<Self> {
        Self::of(Arc::new(Weights::of(device, model)?), device.arithmetic(), mode)
    }

    /// Before the first token, on weights that others may share.
    ///
    /// # Errors
    /// [`Error::Kernel`] when a memory refuses a persistent row, or initial weights are not finite; [`Error::NoMemory`]
    /// where the system has no memory for it.
    pub fn of(weights: Arc<Weights<T>>, arithmetic: Simd, mode: Mode) -> Result<Self> {
        let model = weights.model()?;
        let mut buffer = zeros(model.stream_len(AT_ONCE))?;
        let position = Stream::new(&arithmetic, &model, mode, AT_ONCE, &mut buffer)?.place();
        let state = model.state_len(AT_ONCE);
        let undo = Undo::of(&buffer[..state], position)?;
        Ok(Self { weights, arithmetic, buffer, position, state, undo })
    }

    /// Reads more tokens; one [`Step`] for each.
    ///
    /// # Errors
    /// [`Error::Refused`] for the first token that cannot be taken: those before it are in, and [`Session::take`] tells
    /// what the model said to them. [`Error::Usage`] for an id beyond the vocabulary and [`Error::Kernel`] for a model
    /// that reads rows of numbers: nothing changes.
    pub fn push(&mut self, ids: &[u32]) -> Result<Vec<Step<T>>> {
        self.take(ids)?.all()
    }

    /// The same for rows of numbers, one after another.
    ///
    /// # Errors
    /// [`Error::Refused`] as [`Session::push`]. [`Error::Kernel`] for numbers that are no whole rows or not finite, or
    /// a model that reads tokens: nothing changes.
    pub fn push_rows(&mut self, rows: &[T]) -> Result<Vec<Step<T>>> {
        self.take_rows(rows)?.all()
    }

    /// Reads tokens up to the first that is refused, if there is one.
    ///
    /// # Errors
    /// As [`Session::push`], but for that; nothing changes.
    pub fn take(&mut self, ids: &[u32]) -> Result<Taken<T>> {
        if let Input::Tokens(vocabulary) = self.weights.model()?.spec().input
            && let Some(i) = ids.iter().position(|&id| id as usize >= vocabulary)
        {
            return Err(Error::usage(format!("token {i}: expected an id below {vocabulary}, found {}", ids[i])));
        }
        self.feed(Feed::Tokens(ids))
    }

    /// The same for rows of numbers, one after another.
    ///
    /// # Errors
    /// As [`Session::push_rows`], but for a row that is refused; nothing changes.
    pub fn take_rows(&mut self, rows: &[T]) -> Result<Taken<T>> {
        let size = self.weights.model()?.spec().input.size();
        expect_len("numbers of whole rows", rows.len() - rows.len() % size, rows.len())?;
        self.feed(Feed::Rows(Mat::new(rows, rows.len() / size, size)?))
    }

    fn feed(&mut self, feed: Feed<'_, T>) -> Result<Taken<T>> {
        match self.run(feed) {
            Ok(steps) => {
                self.undo.took(&feed, &self.buffer[..self.state], self.position);
                Ok(Taken { steps, refused: None })
            }
            Err(Error::Kernel(titans_kernel::Error::Diverged { token })) => self.up_to(feed, token),
            Err(error) => Err(error), // before anything changed
        }
    }

    /// After a token of a push was refused, which tore the stream: goes back and takes those before it.
    fn up_to(&mut self, feed: Feed<'_, T>, refused: usize) -> Result<Taken<T>> {
        let mut good = refused;
        loop {
            let (position, log) = self.undo.back(&mut self.buffer[..self.state]);
            self.position = position;
            let again = self.again(&log);
            self.undo.put(log);
            again?;
            let before = feed.sub(0, good);
            match self.run(before) {
                Ok(steps) => {
                    self.undo.took(&before, &self.buffer[..self.state], self.position);
                    return Ok(Taken { steps, refused: Some(self.position.tokens) });
                }
                // An earlier one still, which the later ones had hidden.
                Err(Error::Kernel(titans_kernel::Error::Diverged { token })) if token < good => good = token,
                Err(error) => return Err(error),
            }
        }
    }

    /// Feeds what was fed before; what the model says to it is known.
    fn again(&mut self, log: &undo::Log<T>) -> Result<()> {
        let width = match self.weights.model()?.spec().input {
            Input::Tokens(_) => None,
            Input::Rows(width) => Some(width),
        };
        self.lend(|stream, g| Ok(stream.push(g, log.feed(width)?, None, None)?))
    }

    /// Lends the stream, and keeps where it stands after what succeeds.
    fn lend<R>(&mut self, body: impl FnOnce(&mut Stream<'_, T>, &Simd) -> Result<R>) -> Result<R> {
        let model = self.weights.model()?;
        let mut stream = Stream::attach(&model, AT_ONCE, self.position, &mut self.buffer)?;
        let result = body(&mut stream, &self.arithmetic)?;
        self.position = stream.place();
        Ok(result)
    }

    /// Where it stands is where a refusal goes back to.
    fn keep(&mut self) {
        self.undo.keep(&self.buffer[..self.state], self.position);
    }

    /// Tokens through the model; after an error that is none of the arguments' the buffer is of no use.
    fn run(&mut self, feed: Feed<'_, T>) -> Result<Vec<Step<T>>> {
        let n = feed.len();
        let weights = Arc::clone(&self.weights);
        let model = weights.model()?;
        let (outputs, memories) = (model.spec().outputs, model.memories());
        let (mut said, mut surprise) = (vec![T::ZERO; n * outputs], vec![T::ZERO; n * memories]);
        let (y, s) = (MatMut::new(&mut said, n, outputs)?, MatMut::new(&mut surprise, n, memories)?);
        self.lend(|stream, g| Ok(stream.push(g, feed, Some(y), Some(s))?))?;
        let mut heads = Vec::new();
        if self.position.mode.answers() {
            for i in 0..model.spec().blocks {
                let block = model.block(i)?;
                heads.extend((block.memories() > 0).then_some(block.memories()));
            }
        }
        let step = |t: usize| {
            let mut rest = &surprise[t * memories..][..memories];
            let layer = |&n: &usize| rest.split_off(..n).unwrap_or_default().to_vec();
            Step { logits: said[t * outputs..][..outputs].to_vec(), surprise: heads.iter().map(layer).collect() }
        };
        Ok((0..n).map(step).collect())
    }

    /// Tokens so far.
    pub fn position(&self) -> u64 {
        self.position.tokens
    }

    /// Tokens whose inner gradient was clipped so far, over all blocks and heads.
    pub fn clipped(&self) -> u64 {
        self.position.clipped
    }

    /// The weights.
    pub fn weights(&self) -> &Arc<Weights<T>> {
        &self.weights
    }

    /// Begins anew, with the same weights and the same [`Mode`].
    ///
    /// # Errors
    /// None that a session can meet: as [`Session::of`].
    pub fn reset(&mut self) -> Result<()> {
        let mode = self.position.mode;
        self.lend(|stream, g| Ok(stream.reset(g, mode)?))?;
        self.keep();
        Ok(())
    }

    /// Lets the memories write from the next token on, or not any more. A change copies the state.
    ///
    /// # Errors
    /// [`Error::Kernel`] to or from [`Mode::Absent`].
    pub fn set_mode(&mut self, mode: Mode) -> Result<()> {
        let before = self.position.mode;
        self.lend(|stream, _| Ok(stream.set_mode(mode)?))?;
        if mode != before {
            // What was fed before was fed in the other mode.
            self.keep();
        }
        Ok(())
    }

    /// The whole state: another session of the same weights continues from it with the same bits.
    ///
    /// # Errors
    /// None that a session can meet.
    pub fn save(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.weights.model()?.saved_len()];
        self.lend(|stream, _| Ok(stream.save(&mut bytes)?))?;
        Ok(bytes)
    }

    /// Continues from a state that was saved; nothing changes on error.
    ///
    /// # Errors
    /// [`Error::Kernel`] for bytes that are no state of these weights, or damaged.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        self.lend(|stream, _| Ok(stream.load(bytes)?))?;
        self.keep();
        Ok(())
    }
}

impl<T: SimdScalar> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("weights", &self.weights)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
