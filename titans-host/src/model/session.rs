//! One uncut stream, fed in any cuts, on the kernel's streaming model.

use super::{MemoryMode, Model, Weights};
use crate::device::Device;
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;
use titans_kernel::arch::{Simd, SimdScalar};
use titans_kernel::error::expect_len;
use titans_kernel::model::{Feed, Input, Mode, Position, Stream};
use titans_kernel::ops::cross_entropy;
use titans_kernel::{Mat, MatMut, Portable, Scalar};

/// Tokens that go through the model at once, at most: enough for matrix products to be fast.
const AT_ONCE: usize = 128;

/// What the model says after one token.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<T> {
    /// Logits of the next token, predicted numbers, or logits of the classes.
    pub logits: Vec<T>,
    /// The inner loss c ‖M(k_t) − v_t‖² of every block with memories, its heads one after another: `[blocks][heads]`;
    /// empty when the memory is absent.
    pub surprise: Vec<Vec<T>>,
}

impl<T: Scalar> Step<T> {
    /// −log softmax(logits)\[target\] in nats, with the bits of [`Device::cross_entropy`].
    ///
    /// # Errors
    /// [`Error::Kernel`] for a target that is no logit.
    pub fn nats(&self, target: u32) -> Result<f64> {
        let mut loss = [T::ZERO];
        let logits = Mat::new(&self.logits, 1, self.logits.len())?;
        cross_entropy::forward(&Portable, logits, &[target], &mut loss)?;
        Ok(loss[0].to_f64())
    }

    /// log softmax of the logits, in nats.
    pub fn log_probabilities(&self) -> Vec<f64> {
        let top = self.logits.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.to_f64()));
        let sum: f64 = self.logits.iter().map(|x| (x.to_f64() - top).exp()).sum();
        self.logits.iter().map(|x| x.to_f64() - top - sum.ln()).collect()
    }
}

/// A stream of one sequence. How it is cut into pushes changes no bit. Cloning forks it: both go on independently.
///
/// It runs on this machine's processor, wherever the model was trained.
#[derive(Clone)]
pub struct Session<T> {
    weights: Arc<Weights<T>>,
    arithmetic: Simd,
    buffer: Vec<T>,
    position: Position,
}

impl<T: SimdScalar> Session<T> {
    /// Before the first token of a model on a device.
    ///
    /// # Errors
    /// The device's own; as [`Session::of`].
    pub fn new<D: Device<Elem = T>>(device: &D, model: &Model<D>, mode: MemoryMode) -> Result<Self> {
        Self::of(Arc::new(Weights::of(device, model)?), device.arithmetic(), mode)
    }

    /// Before the first token, on weights that others may share.
    ///
    /// # Errors
    /// None that weights which were made can meet.
    pub fn of(weights: Arc<Weights<T>>, arithmetic: Simd, mode: MemoryMode) -> Result<Self> {
        let model = weights.model()?;
        let mut buffer = vec![T::ZERO; model.stream_len(AT_ONCE)];
        let position = Stream::new(&arithmetic, &model, mode.into(), AT_ONCE, &mut buffer)?.place();
        Ok(Self { weights, arithmetic, buffer, position })
    }

    /// Reads more tokens; one [`Step`] for each. Nothing changes on error.
    ///
    /// # Errors
    /// [`Error::Usage`] for an id beyond the vocabulary; [`Error::Kernel`] for a model that reads rows of numbers.
    pub fn push(&mut self, ids: &[u32]) -> Result<Vec<Step<T>>> {
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
    /// [`Error::Kernel`] for numbers that are no whole rows, or a model that reads tokens.
    pub fn push_rows(&mut self, rows: &[T]) -> Result<Vec<Step<T>>> {
        let size = self.weights.model()?.spec().input.size();
        expect_len("numbers of whole rows", rows.len() - rows.len() % size, rows.len())?;
        self.feed(Feed::Rows(Mat::new(rows, rows.len() / size, size)?))
    }

    fn feed(&mut self, feed: Feed<'_, T>) -> Result<Vec<Step<T>>> {
        let n = feed.len();
        let model = self.weights.model()?;
        let (outputs, memories) = (model.spec().outputs, model.memories());
        let (mut said, mut surprise) = (vec![T::ZERO; n * outputs], vec![T::ZERO; n * memories]);
        let mut stream = Stream::attach(&model, AT_ONCE, self.position, &mut self.buffer)?;
        let (y, s) = (MatMut::new(&mut said, n, outputs)?, MatMut::new(&mut surprise, n, memories)?);
        stream.push(&self.arithmetic, feed, Some(y), Some(s))?;
        self.position = stream.place();
        let mut heads = Vec::new();
        if self.position.mode != Mode::Absent {
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

    /// Lets the memories write from the next token on, or not any more.
    ///
    /// # Errors
    /// [`Error::Kernel`] to or from [`MemoryMode::Absent`].
    pub fn set_mode(&mut self, mode: MemoryMode) -> Result<()> {
        let model = self.weights.model()?;
        let mut stream = Stream::attach(&model, AT_ONCE, self.position, &mut self.buffer)?;
        stream.set_mode(mode.into())?;
        self.position = stream.place();
        Ok(())
    }

    /// The whole state: another session of the same weights continues from it with the same bits.
    ///
    /// # Errors
    /// None that a session can meet.
    pub fn save(&mut self) -> Result<Vec<u8>> {
        let model = self.weights.model()?;
        let mut bytes = vec![0; model.saved_len()];
        Stream::attach(&model, AT_ONCE, self.position, &mut self.buffer)?.save(&mut bytes)?;
        Ok(bytes)
    }

    /// Continues from a state that was saved; nothing changes on error.
    ///
    /// # Errors
    /// [`Error::Kernel`] for bytes that are no state of these weights, or damaged.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let model = self.weights.model()?;
        let mut stream = Stream::attach(&model, AT_ONCE, self.position, &mut self.buffer)?;
        stream.load(bytes)?;
        self.position = stream.place();
        Ok(())
    }
}

impl From<MemoryMode> for Mode {
    fn from(mode: MemoryMode) -> Self {
        match mode {
            MemoryMode::On => Self::On,
            MemoryMode::Frozen => Self::Frozen,
            MemoryMode::Absent => Self::Absent,
        }
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
