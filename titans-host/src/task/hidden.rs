//! How much of what is hidden in haystacks a model finds.

use super::growth::Growth;
use super::pieces::{self, Answered, PIECE, reading};
use crate::data::haystack::{Haystack, Hidden};
use crate::data::tokenizer::Tokenizer;
use crate::device::{Device, IGNORE};
use crate::model::{Input, Kind, Mode, Model, ModelConfig, Session};
use crate::tape::Tape;
use crate::train::task::{Batch, Load, Validation};
use crate::{Error, Result};
use flate2::Crc;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use titans_kernel::Scalar;
use titans_kernel::arch::SimdScalar;

/// Tokens that an evaluation runs at once, at least one sequence.
const EVALUATION_TOKENS: usize = 8192;

/// Longest sequences that are evaluated as a batch; longer ones are read as a stream, in memory that does not grow.
pub const BATCHED: usize = 1 << 15;

/// A model for what is hidden at the beginning and asked for at the end, with memories of `layers` layers, of any of
/// these kinds (none for the memory alone).
pub(super) fn recipe(layers: usize, kinds: &[Kind]) -> ModelConfig {
    let mut model = ModelConfig {
        width: 64,
        blocks: 2,
        heads: 2,
        head_width: 32,
        feed_forward: 128,
        tied: true,
        ..ModelConfig::default()
    };
    model.set_layers(layers);
    // What training at a few thousand tokens cannot tell from 0 is much at a few hundred thousand.
    model.alpha_bias = -14.0;
    if layers == 1 && !kinds.iter().any(|kind| kind.has_attention()) {
        model.theta_bias = -4.0; // most of what is read is not to be written
    }
    model.memory.hidden = 2 * model.head_width;
    model
}

/// What a checkpoint keeps of a task that hides things.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HiddenState {
    pub growth: Growth,
    pub sources: Sources,
}

impl HiddenState {
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The curriculum of a saved state, of sequences of up to `most` tokens.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no such state; what [`Sources::expect`] reports where the files have changed.
    pub fn from_json(state: &serde_json::Value, sources: &Sources, most: usize) -> Result<Growth> {
        let wrong = |e: String| Error::usage(format!("task: expected the state of a curriculum, found {e}"));
        let state: Self = serde_json::from_value(state.clone()).map_err(|e| wrong(e.to_string()))?;
        state.sources.expect(sources)?;
        if state.growth.fits(most) { Ok(state.growth) } else { Err(wrong(format!("{:?}", state.growth))) }
    }
}

/// What a model says to one question.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundAnswer {
    /// The answer token by token, each predicted from the right ones before it. Where all are right, they are what the
    /// model writes by itself, always taking the likeliest token.
    pub answers: Vec<Answered>,
}

impl FoundAnswer {
    /// Whether the model would have written the whole answer.
    pub fn right(&self) -> bool {
        self.answers.iter().all(Answered::right)
    }

    /// −log p of the whole answer.
    pub fn nats(&self) -> f64 {
        self.answers.iter().map(|answer| answer.nats).sum()
    }

    /// What was predicted, as text.
    pub fn said(&self, tokenizer: &Tokenizer) -> String {
        let ids: Vec<u32> = self.answers.iter().map(|answer| answer.predicted).collect();
        String::from_utf8_lossy(&tokenizer.decode(&ids)).into_owned()
    }
}

/// The share that is right.
pub(super) fn share(found: &[FoundAnswer]) -> f64 {
    found.iter().filter(|f| f.right()).count() as f64 / found.len().max(1) as f64
}

/// Puts a sample into a batch.
pub(super) fn fill(batch: &mut Batch, haystack: &Haystack, sample: &Hidden) {
    for (id, target) in sample.tokens(haystack) {
        batch.ids.push(id);
        batch.targets.push(target);
    }
}

/// What a model answers to each sample. Those of up to 32,768 tokens go as batches through the device, about 8192
/// tokens at once; of longer ones a piece at a time goes through a stream on this machine's processor.
///
/// # Errors
/// What the device reports; [`Error::Diverged`] where an answer's loss is not finite, [`Error::Refused`] where a stream
/// refuses a token.
pub fn find<D: Device>(
    device: &D,
    model: &Model<D>,
    haystack: &Haystack,
    samples: &[Hidden],
    mode: Mode,
) -> Result<Vec<FoundAnswer>> {
    let mut found = Vec::with_capacity(samples.len());
    for alike in samples.chunk_by(|a, b| a.len() == b.len()) {
        let length = alike.first().map_or(1, Hidden::len);
        if length > BATCHED {
            found.extend(streamed(device, model, haystack, alike, mode)?);
            continue;
        }
        for some in alike.chunks(at_once(length)) {
            found.extend(batched(device, model, haystack, some, mode)?);
        }
    }
    Ok(found)
}

fn at_once(length: usize) -> usize {
    (EVALUATION_TOKENS / length.max(1)).max(1)
}

/// Samples of one length as a batch.
fn batched<D: Device>(
    device: &D,
    model: &Model<D>,
    haystack: &Haystack,
    samples: &[Hidden],
    mode: Mode,
) -> Result<Vec<FoundAnswer>> {
    let time = samples.first().map_or(0, Hidden::len);
    let mut batch = Batch::default();
    batch.restart(samples.len(), time);
    samples.iter().for_each(|sample| fill(&mut batch, haystack, sample));
    let ids = Arc::new(device.upload_indices(&batch.ids)?);
    let mut tape = Tape::inference(device, &model.params);
    let forward = model.forward(&mut tape, Input { mode, ..Input::new(&ids, batch.batch, time) })?;
    let logits = device.download(forward.logits.buffer())?;
    let rows: Vec<&[D::Elem]> = logits.chunks_exact(model.config().vocabulary.max(1)).collect();
    let one = |(rows, targets): (&[&[D::Elem]], &[u32])| {
        let mut answers = Vec::new();
        for (position, (row, &target)) in rows.iter().zip(targets).enumerate().filter(|(_, (_, t))| **t != IGNORE) {
            let row: Vec<f64> = row.iter().map(|x| x.to_f64()).collect();
            let answer = Answered::of(&row, target);
            if !answer.nats.is_finite() {
                return Err(Error::Diverged { position: position as u64 });
            }
            answers.push(answer);
        }
        Ok(FoundAnswer { answers })
    };
    rows.chunks(time.max(1)).zip(batch.targets.chunks(time.max(1))).map(one).collect()
}

/// Samples one after another as streams, for any length.
///
/// # Errors
/// As [`find`].
pub fn streamed<D: Device>(
    device: &D,
    model: &Model<D>,
    haystack: &Haystack,
    samples: &[Hidden],
    mode: Mode,
) -> Result<Vec<FoundAnswer>> {
    let fresh = Session::new(device, model, mode)?;
    let one = |sample: &Hidden| {
        let mut session = fresh.clone();
        let said = (model.config().vocabulary, PIECE);
        let answers = pieces::answers(sample.tokens(haystack), said, &mut reading(&mut session))?;
        Ok(FoundAnswer { answers })
    };
    samples.iter().map(one).collect()
}

/// What an evaluation of samples of `length` tokens takes at once, of `samples` at most.
///
/// # Errors
/// As [`Session::space`].
pub(super) fn load<T: SimdScalar>(model: &ModelConfig, length: usize, samples: usize) -> Result<Load> {
    if length > BATCHED {
        return pieces::load::<T>(model);
    }
    let batch = at_once(length).min(samples.max(1));
    // Ids and targets, here and in the device's form; logits and where each token's begin.
    let token = 4 * size_of::<u32>() + model.vocabulary * T::BYTES + size_of::<&[T]>();
    Ok(Load { batch, time: length, surprise: false, host: (batch * length).saturating_mul(token) })
}

/// The mean over answers: nats a token, the share that is right as a whole.
pub(super) fn validation(found: &[FoundAnswer]) -> Validation {
    let tokens: usize = found.iter().map(|f| f.answers.len()).sum();
    let nats: f64 = found.iter().map(FoundAnswer::nats).sum();
    let right = found.iter().filter(|f| f.right()).count();
    Validation {
        loss: nats / tokens.max(1) as f64,
        accuracy: Some(right as f64 / found.len().max(1) as f64),
        tokens: tokens as u64,
    }
}

/// What tells the files of a run from others, kept in checkpoints: a run resumed on other bytes would be another run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sources {
    bytes: u64,
    crc32: u32,
    /// CRC-32 of the vocabulary; none for bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokenizer: Option<u32>,
}

impl Sources {
    pub(super) fn of(texts: &[Vec<u8>], tokenizer: &Tokenizer) -> Self {
        let mut crc = Crc::new();
        texts.iter().for_each(|text| crc.update(text));
        let bytes = texts.iter().map(|text| text.len() as u64).sum();
        Self { bytes, crc32: crc.sum(), tokenizer: tokenizer.crc32() }
    }

    /// Refuses other ones than those of the run.
    pub(super) fn expect(&self, now: &Self) -> Result<()> {
        if self == now {
            return Ok(());
        }
        let say = |s: &Self| {
            let vocabulary = s.tokenizer.map_or("bytes".into(), |crc| format!("CRC-32 {crc:08x}"));
            format!("{} bytes with CRC-32 {:08x}, vocabulary {vocabulary}", s.bytes, s.crc32)
        };
        Err(Error::usage(format!(
            "the files have changed since the run began: expected {}, found {}; put the old ones back, or begin a new run",
            say(self),
            say(now)
        )))
    }
}
