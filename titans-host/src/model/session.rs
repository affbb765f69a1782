//! One uncut stream, fed in any cuts.

use super::{Input, MemoryMode, Model, StreamState};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::Tape;
use std::fmt;
use std::sync::Arc;
use titans_kernel::Scalar;

/// Tokens that go through the model at once, at least: bounds the device memory of a long push.
const SEGMENT: usize = 1024;

/// What the model says after one token.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<T> {
    /// Logits of the next token, `[vocabulary]`.
    pub logits: Vec<T>,
    /// The inner loss c ‖M(k_t) − v_t‖² of every layer, its heads one after another: `[blocks][heads]`; empty when the
    /// memory is absent.
    pub surprise: Vec<Vec<T>>,
}

impl<T: Scalar> Step<T> {
    /// log softmax of the logits, in nats.
    pub fn log_probabilities(&self) -> Vec<f64> {
        let top = self.logits.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.to_f64()));
        let sum: f64 = self.logits.iter().map(|x| (x.to_f64() - top).exp()).sum();
        self.logits.iter().map(|x| x.to_f64() - top - sum.ln()).collect()
    }
}

/// A stream of one sequence: the state at the last chunk boundary and the tokens of the unfinished chunk, which are
/// run again from there. How the stream is cut into pushes changes nothing.
pub struct Session<'a, D: Device> {
    device: &'a D,
    model: &'a Model<D>,
    mode: MemoryMode,
    state: StreamState<D>,
    unfinished: Vec<u32>,
    clipped: u64,
    clipped_unfinished: u64,
}

impl<'a, D: Device> Session<'a, D> {
    /// Before the first token.
    ///
    /// # Errors
    /// The device's own.
    pub fn new(device: &'a D, model: &'a Model<D>, mode: MemoryMode) -> Result<Self> {
        let state = StreamState::new(device, model, 1)?;
        Ok(Self { device, model, mode, state, unfinished: Vec::new(), clipped: 0, clipped_unfinished: 0 })
    }

    /// Reads more tokens; one [`Step`] for each. Nothing changes on error.
    ///
    /// # Errors
    /// [`Error::Usage`] for an id beyond the vocabulary; the device's own errors.
    pub fn push(&mut self, ids: &[u32]) -> Result<Vec<Step<D::Elem>>> {
        let vocabulary = self.model.config.vocabulary;
        if let Some(i) = ids.iter().position(|&id| id as usize >= vocabulary) {
            return Err(Error::usage(format!("token {i}: expected an id below {vocabulary}, found {}", ids[i])));
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let chunk = self.model.spec.chunk;
        let segment = SEGMENT.next_multiple_of(chunk);
        let mut tokens = self.unfinished.clone();
        tokens.extend_from_slice(ids);
        let mut seen = self.unfinished.len();
        let (mut state, mut clipped) = (self.state.clone(), self.clipped);
        let mut steps = Vec::with_capacity(ids.len());
        let (whole, rest) = tokens.split_at(tokens.len() - tokens.len() % chunk);
        for piece in whole.chunks(segment) {
            clipped += self.run(&mut state, piece, seen, &mut steps)?;
            seen = 0;
        }
        let mut clipped_unfinished = 0;
        if !rest.is_empty() {
            clipped_unfinished = self.run(&mut state.clone(), rest, seen, &mut steps)?;
        }
        self.unfinished = rest.to_vec();
        (self.state, self.clipped, self.clipped_unfinished) = (state, clipped, clipped_unfinished);
        Ok(steps)
    }

    /// Tokens so far.
    pub fn position(&self) -> u64 {
        self.state.position() + self.unfinished.len() as u64
    }

    /// Tokens whose inner gradient was clipped so far, over all layers and heads.
    pub fn clipped(&self) -> u64 {
        self.clipped + self.clipped_unfinished
    }

    /// Runs `ids` from `state` and appends the steps of all but the first `seen`; the number of clipped tokens.
    fn run(&self, state: &mut StreamState<D>, ids: &[u32], seen: usize, steps: &mut Vec<Step<D::Elem>>) -> Result<u64> {
        let c = &self.model.config;
        let indices = Arc::new(self.device.upload_indices(ids)?);
        let mut tape = Tape::inference(self.device, &self.model.params);
        let input = Input { mode: self.mode, state: Some(state), surprise: true, ..Input::new(&indices, 1, ids.len()) };
        let forward = self.model.forward(&mut tape, input)?;
        let logits = self.device.download(forward.logits.buffer())?;
        let surprise =
            forward.surprise.iter().map(|s| self.device.download(s)).collect::<Result<Vec<Vec<D::Elem>>>>()?;
        steps.extend((seen..ids.len()).map(|t| Step {
            logits: logits[t * c.vocabulary..][..c.vocabulary].to_vec(),
            surprise: surprise.iter().map(|s| s[t * c.heads..][..c.heads].to_vec()).collect(),
        }));
        Ok(forward.clipped)
    }
}

impl<D: Device> fmt::Debug for Session<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("mode", &self.mode).field("position", &self.position()).finish_non_exhaustive()
    }
}
