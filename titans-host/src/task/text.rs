//! Text: the model predicts every next byte, or every next token of a vocabulary.

mod bytes;

use super::TaskConfig;
use super::evaluate::{self, Windows};
use crate::data::text::{TextParts, TextSplit};
use crate::data::tokenizer::Tokenizer;
use crate::data::{Purpose, rng, text};
use crate::device::Device;
use crate::error::counted;
use crate::model::{Mode, Model, ModelConfig};
use crate::train::task::{Batch, Load, Task, Validation};
use crate::train::{Interrupt, RunConfig, TrainConfig};
use crate::{Error, Result};
use bytes::TextFingerprint;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Most tokens of a batch.
const BATCH_TOKENS: usize = 1 << 26;

/// The text task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextConfig {
    /// Files, one after the other; `.gz` is decompressed.
    pub data: Vec<PathBuf>,
    /// The vocabulary of byte-level BPE ([`Tokenizer::open`]); bytes without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Tokens of a training sequence.
    pub context: usize,
    /// Sequences of a batch.
    pub sequences: usize,
    /// Share of the steps whose sequences begin with what the memories know of the `context` tokens before them in the
    /// text, 0 to 1; the others begin with w0. No gradient flows to what came before.
    #[serde(skip_serializing_if = "is_zero")]
    pub carry: f64,
    /// Share of the bytes, the last ones, that is for validation, where `split` says nothing.
    pub validation: f64,
    /// How the bytes are shared out for training, validation and a test; without it there is no test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<TextSplit>,
    /// Tokens of a validation window, each with fresh memories.
    pub window: usize,
    /// Windows of the cheap validation during training, spread over the validation bytes.
    pub cheap_windows: usize,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            tokenizer: None,
            context: 256,
            sequences: 16,
            carry: 0.0,
            validation: 0.1,
            split: None,
            window: 512,
            cheap_windows: 32,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's way
fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

/// The run that `titans train --task text` does by default.
///
/// # Errors
/// As [`TaskConfig::run`].
pub fn default_run(data: Vec<PathBuf>) -> Result<RunConfig> {
    let train = TrainConfig { steps: 2000, validate_every: 100, ..TrainConfig::default() };
    TaskConfig::Text(TextConfig { data, ..TextConfig::default() }).run(ModelConfig::default(), train)
}

/// The task, with its text.
#[derive(Clone, Debug)]
pub struct Text {
    config: TextConfig,
    seed: u64,
    tokenizer: Tokenizer,
    head: Vec<u32>,
    tail: Vec<u32>,
    data: TextFingerprint,
    notes: Vec<String>,
}

/// The vocabulary of a trained run, whose checkpoint holds the task's `state`.
///
/// # Errors
/// As [`Tokenizer::open`]; [`Error::Usage`] when the file is no longer what the run was trained with.
pub fn tokenizer(config: &TextConfig, state: &Value) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::open(config.tokenizer.as_deref())?;
    TextFingerprint::of(state)?.check(tokenizer.crc32(), config)?;
    Ok(tokenizer)
}

impl Text {
    /// Reads the configuration's files.
    ///
    /// # Errors
    /// As [`text::read_texts`] and [`Text::new`].
    pub fn read(config: TextConfig, seed: u64) -> Result<Self> {
        let text::Content { bytes, notes } = text::read_texts(&config.data)?;
        let mut text = Self::new(config, &bytes, seed)?;
        text.notes = [notes, text.tokenizer.notes().to_vec()].concat();
        Ok(text)
    }

    /// The task over `bytes`, whatever files the configuration names.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used, or when there are too few bytes; as [`Tokenizer::open`]
    /// and [`Tokenizer::encode`].
    pub fn new(config: TextConfig, bytes: &[u8], seed: u64) -> Result<Self> {
        let sizes = [
            ("context", config.context),
            ("sequences", config.sequences),
            ("window", config.window),
            ("cheap_windows", config.cheap_windows),
        ];
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > 1 << 30) {
            return Err(Error::usage(format!("task.{name}: expected 1 to {}, found {found}", 1 << 30)));
        }
        let tokens = config.context.saturating_mul(config.sequences);
        if tokens > BATCH_TOKENS {
            return Err(Error::usage(format!(
                "task.context × task.sequences: expected up to {BATCH_TOKENS} tokens a batch, found {tokens}"
            )));
        }
        if !(0.0..=1.0).contains(&config.carry) {
            return Err(Error::usage(format!("task.carry: expected a share from 0 to 1, found {}", config.carry)));
        }
        let drawn = config.extent();
        let tokenizer = Tokenizer::open(config.tokenizer.as_deref())?;
        // Cut by bytes, so that every vocabulary is validated on the same ones.
        let TextParts { train, valid, .. } = config.parts(bytes)?;
        let (head, tail) = (tokenizer.encode(&bytes[train])?, tokenizer.encode(&bytes[valid])?);
        if head.len() <= drawn || tail.len() < 2 {
            return Err(Error::usage(format!(
                "the data are too short: {} for training and {} for validation, at least {} and 2 are needed; give \
                 more text or a shorter context",
                counted(head.len(), "token"),
                tail.len(),
                drawn + 1
            )));
        }
        let data = TextFingerprint::new(bytes, tokenizer.crc32());
        Ok(Self { config, seed, tokenizer, head, tail, data, notes: Vec::new() })
    }

    /// How the text is read.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The ids that validation measures.
    pub fn validation_ids(&self) -> &[u32] {
        &self.tail
    }
}

impl<D: Device> Task<D> for Text {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let TextConfig { context, sequences, carry, .. } = self.config;
        batch.restart(sequences, context);
        // One throw for all parts of a step.
        let carries = carry > 0.0 && rng(self.seed, Purpose::Carry, step, 0).random_bool(carry);
        let least = if carries { context } else { 0 };
        let first = part * sequences as u64;
        for number in first..first + sequences as u64 {
            let last = (self.head.len() - context - 1) as u64;
            let start = rng(self.seed, Purpose::Training, step, number).random_range(least as u64..=last) as usize;
            let ids = &self.head[start..start + context + 1];
            batch.before.extend_from_slice(&self.head[start - least..start]);
            batch.ids.extend_from_slice(&ids[..context]);
            batch.targets.extend_from_slice(&ids[1..]);
        }
        Ok(())
    }

    fn state(&self) -> Value {
        serde_json::to_value(self.data).unwrap_or_default()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let before = TextFingerprint::of(state)?;
        before.check(self.data.tokenizer, &self.config)?;
        self.config.expect_data(&before, &self.data)
    }

    fn steps_a_pass(&self, accumulate: u64) -> Option<f64> {
        let TextConfig { context, sequences, .. } = self.config;
        Some(self.head.len() as f64 / (accumulate as f64 * sequences as f64 * context as f64))
    }

    fn held(&self) -> usize {
        (self.head.len() + self.tail.len()) * size_of::<u32>()
    }

    fn peak_loads(&self, model: &ModelConfig) -> Result<Vec<Load>> {
        Ok(vec![evaluate::load::<D::Elem>(model, &Windows::new(self.tail.len(), self.config.window))?])
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn validate_until(
        &self,
        device: &D,
        model: &Model<D>,
        thorough: bool,
        interrupt: &Interrupt,
    ) -> Result<Validation> {
        let mut windows = Windows::new(self.tail.len(), self.config.window);
        if !thorough {
            windows.thin(self.config.cheap_windows);
        }
        let found = evaluate::run(device, model, (&self.tokenizer, &self.tail), &windows, Mode::On, interrupt)?;
        Ok(Validation { loss: found.nats_per_token, accuracy: None, tokens: found.tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::{Text, TextConfig};
    use crate::device::cpu::Cpu;
    use crate::train::task::{Batch, Task};

    fn batch(text: &Text, step: u64, part: u64) -> Batch {
        let mut batch = Batch { ids: vec![7], targets: vec![7, 8], batch: 9, time: 9, ..Batch::default() };
        Task::<Cpu<f32>>::batch(text, step, part, &mut batch).unwrap();
        batch
    }

    #[test]
    fn targets_are_the_next_bytes_of_the_head_only() {
        let bytes: Vec<u8> = (0..200).collect();
        let config = TextConfig { context: 179, sequences: 3, ..TextConfig::default() };
        let text = Text::new(config.clone(), &bytes, 0).unwrap();
        assert_eq!(text.validation_ids(), (180..200).collect::<Vec<u32>>());
        let b = batch(&text, 5, 0);
        b.validate().unwrap();
        for (row, targets) in b.ids.chunks(179).zip(b.targets.chunks(179)) {
            assert_eq!(row, (0..179).collect::<Vec<u32>>(), "only one place fits");
            assert_eq!(targets, (1..180).collect::<Vec<u32>>());
        }
        assert!(Text::new(TextConfig { context: 180, ..config.clone() }, &bytes, 0).is_err(), "no byte to predict");
        assert!(Text::new(TextConfig { sequences: 0, ..config.clone() }, &bytes, 0).is_err());
        let huge = TextConfig { context: 10_000, sequences: 1 << 20, ..config.clone() };
        assert!(Text::new(huge, &bytes, 0).unwrap_err().to_string().contains("67108864"));
        assert!(Text::new(config, b"short", 0).unwrap_err().to_string().contains("too short"));
    }

    #[test]
    fn other_data_do_not_continue_a_run() {
        let bytes = [b'a'; 500];
        let config = TextConfig { context: 16, data: vec!["old.txt".into()], ..TextConfig::default() };
        let of = |bytes: &[u8]| Text::new(config.clone(), bytes, 0).unwrap();
        let state = Task::<Cpu<f32>>::state(&of(&bytes));
        Task::<Cpu<f32>>::restore(&mut of(&bytes), &state).unwrap();
        let mut changed = bytes;
        changed[499] ^= 1;
        for other in [&changed[..], &bytes[..499]] {
            let error = Task::<Cpu<f32>>::restore(&mut of(other), &state).unwrap_err().to_string();
            assert!(error.contains("old.txt") && error.contains("500 bytes"), "{error}");
        }
        assert!(Task::<Cpu<f32>>::restore(&mut of(&bytes), &serde_json::Value::Null).is_err());
    }

    #[test]
    fn parts_number_the_sequences_through() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i * i / 7) as u8).collect();
        let of =
            |sequences| Text::new(TextConfig { context: 16, sequences, ..TextConfig::default() }, &bytes, 3).unwrap();
        let (small, big) = (of(2), of(4));
        let parts = [batch(&small, 9, 0), batch(&small, 9, 1)];
        let whole = batch(&big, 9, 0);
        assert_eq!([&parts[0].ids[..], &parts[1].ids[..]].concat(), whole.ids);
        assert_ne!(parts[0].ids, parts[1].ids);
        assert_ne!(batch(&small, 10, 0).ids, parts[0].ids);
    }
}
