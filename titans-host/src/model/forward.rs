//! A batch of sequences through the model.

use super::block::Segment;
use super::dropout::Dropout;
use super::{Model, Shortcut};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::{Shared, Tape, Var};
use std::fmt;
use std::sync::Arc;
use titans_kernel::model::Mode;

/// What a model reads.
pub enum Source<'a, D: Device> {
    /// Token ids `[batch, time]`.
    Ids(&'a Arc<D::Indices>),
    /// Rows of numbers `[batch, time, inputs]`; no gradient flows to them.
    Rows(&'a Shared<D>),
}

impl<D: Device> Clone for Source<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device> Copy for Source<'_, D> {}

/// A batch of sequences.
///
/// ```
/// use std::sync::Arc;
/// use titans_host::device::Device;
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Input, Mode, Model, ModelConfig};
/// use titans_host::tape::Tape;
///
/// let cpu = Cpu::<f32>::new(Some(1))?;
/// let small = ModelConfig { width: 16, blocks: 1, heads: 1, head_width: 16, feed_forward: 32, ..Default::default() };
/// let model = Model::new(&cpu, small, 1)?;
/// let ids = Arc::new(cpu.upload_indices(&b"four sequences of 7 letters!".map(u32::from))?);
/// let mut tape = Tape::inference(&cpu, &model.params);
/// let input = Input { mode: Mode::Frozen, ..Input::new(&ids, 4, 7) }; // the memories answer, and learn nothing
/// let logits = model.forward(&mut tape, input)?.logits;
/// assert_eq!(cpu.len(logits.buffer()), 4 * 7 * 256);
/// # Ok::<(), titans_host::Error>(())
/// ```
pub struct Input<'a, D: Device> {
    /// Tokens or rows of numbers.
    pub source: Source<'a, D>,
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub time: usize,
    /// What the memories may do.
    pub mode: Mode,
    /// Ask for every token's surprise.
    pub surprise: bool,
    /// What the blocks drop, in training alone.
    pub dropout: Dropout,
    /// What the memories of every remembering block begin with, [`Forward::states`] of sequences before these: no
    /// gradient flows to them, and convolutions and attention begin anew. Empty: w0.
    pub start: &'a [Shared<D>],
    /// Ask for the memories after the last token.
    pub states: bool,
}

impl<'a, D: Device> Input<'a, D> {
    /// Whole sequences with the memory on and nothing dropped.
    pub fn new(ids: &'a Arc<D::Indices>, batch: usize, time: usize) -> Self {
        Self::of(Source::Ids(ids), batch, time)
    }

    /// The same of tokens or rows of numbers.
    pub fn of(source: Source<'a, D>, batch: usize, time: usize) -> Self {
        Self {
            source,
            batch,
            time,
            mode: Mode::On,
            surprise: false,
            dropout: Dropout::default(),
            start: &[],
            states: false,
        }
    }

    /// Tokens of all sequences, at least 1.
    pub(super) fn rows(&self) -> Result<usize> {
        let (batch, time) = (self.batch, self.time);
        match batch.checked_mul(time) {
            None | Some(0) => {
                Err(Error::usage(format!("model: expected 1 token or more, found batch {batch} of time {time}")))
            }
            Some(rows) => Ok(rows),
        }
    }
}

/// What a forward gives.
pub struct Forward<D: Device> {
    /// What the model says after each token, `[batch · time, said]` ([`ModelConfig::said`](super::ModelConfig::said)):
    /// logits of the next token, predicted numbers, or logits of the classes.
    pub logits: Var<D>,
    /// The inner loss c ‖M(k_t) − v_t‖² of every block with memories
    /// ([`ModelConfig::remembering`](super::ModelConfig::remembering)), `[batch, time, heads]`; empty unless asked for,
    /// and when the memory is absent.
    pub surprise: Vec<D::Buffer>,
    /// Tokens whose inner gradient was clipped, over all layers and heads.
    pub clipped: u64,
    /// The memories of every remembering block after the last token, `[batch, heads, 2 P]`; empty unless asked for, and
    /// when they are absent.
    pub states: Vec<Shared<D>>,
}

impl<D: Device> Model<D> {
    /// Logits for the token after each token.
    ///
    /// The memory of every sequence begins at the learned w0. The tape's parameters are
    /// used; they are the model's own (`&model.params`) or ones of the same names and shapes.
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty batch or an input that the model does not read; the device's own errors, an id
    /// beyond the vocabulary among them.
    pub fn forward(&self, tape: &mut Tape<'_, D>, input: Input<'_, D>) -> Result<Forward<D>> {
        let rows = input.rows()?;
        let Input { source, batch, time, mode, surprise, dropout, start, states } = input;
        self.check_start(&input)?;
        let mut forward =
            Forward { logits: self.read(tape, source, rows)?, surprise: Vec::new(), clipped: 0, states: Vec::new() };
        let mut x = forward.logits.clone();
        for (i, block) in self.layout.blocks.iter().enumerate() {
            let segment =
                Segment { batch, time, mode, surprise, dropout: dropout.of_block(i), start: self.start(start, i) };
            let mixed = self.block(tape, block, &x, &segment)?;
            x = mixed.y;
            forward.surprise.extend(mixed.surprise);
            forward.clipped += mixed.clipped;
            forward.states.extend(mixed.state.filter(|_| states).map(|state| state.share()));
        }
        forward.logits = self.head(tape, &x, source)?;
        Ok(forward)
    }

    /// What the memories of a block begin with.
    pub(super) fn start<'a>(&self, states: &'a [Shared<D>], block: usize) -> Option<&'a Shared<D>> {
        states.get(self.config.remembering().position(|i| i == block)?)
    }

    /// One state or none for every block that remembers, each of all sequences.
    pub(super) fn check_start(&self, input: &Input<'_, D>) -> Result<()> {
        let (found, expected) = (input.start.len(), self.config.remembering().count());
        if found > 0 && found != expected {
            return Err(Error::usage(format!(
                "model: expected {expected} states to begin with or none, found {found}"
            )));
        }
        if found > 0 && !self.config.wiring.is_residual() && self.config.persistent > 0 {
            // Their answers would be missing in attention.
            return Err(Error::usage(
                "model: memories that go on from a text before need the residual wiring or no persistent tokens",
            ));
        }
        Ok(())
    }

    /// The stream's first values: the tokens' embeddings, or a linear map of rows of numbers.
    pub(super) fn read(&self, tape: &mut Tape<'_, D>, source: Source<'_, D>, rows: usize) -> Result<Var<D>> {
        let wrong = |expected: &str| Err(Error::usage(format!("model: expected {expected} as its input")));
        let first = &self.layout.first;
        match (source, first.bias.some()) {
            (Source::Ids(ids), None) => tape.embedding(ids, rows, first.embedding),
            (Source::Rows(x), Some(bias)) => tape.linear(&Var::of((*x).clone()), first.embedding, Some(bias)),
            (Source::Rows(_), None) => wrong("token ids"),
            (Source::Ids(_), Some(_)) => wrong("rows of numbers"),
        }
    }

    /// The final norm, and logits or predictions; what the shortcut says of the source's rows is added.
    pub(super) fn head(&self, tape: &mut Tape<'_, D>, x: &Var<D>, source: Source<'_, D>) -> Result<Var<D>> {
        let last = &self.layout.last;
        let x = tape.rms_norm(x, last.norm)?;
        let said = match last.head.some() {
            Some(head) => tape.linear(&x, head, last.bias.some())?,
            None => tape.linear_transposed(&x, self.layout.first.embedding)?,
        };
        match (source, last.shortcut.some()) {
            (Source::Rows(rows), Some(shortcut)) => {
                let rows = Var::of((*rows).clone());
                let passed = match self.config.shortcut {
                    Shortcut::Learned => tape.linear(&rows, shortcut, None)?,
                    Shortcut::None | Shortcut::Fixed => tape.linear_fixed(&rows, shortcut)?,
                };
                tape.add(&said, &passed)
            }
            _ => Ok(said),
        }
    }
}

impl<D: Device> fmt::Debug for Input<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("batch", &self.batch)
            .field("time", &self.time)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl<D: Device> fmt::Debug for Forward<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("logits", &self.logits).field("clipped", &self.clipped).finish_non_exhaustive()
    }
}
