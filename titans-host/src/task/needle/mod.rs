//! The needle task: one sentence in a haystack of any length gives a key its value, and the question for it comes last.

mod table;

use super::TaskConfig;
use super::growth::{Growth, GrowthConfig};
use super::hidden::{self, FoundAnswer, HiddenState, Sources, fill, find, share, validation};
use crate::data::haystack::{Haystack, Hidden, read};
use crate::data::needle::{Needle, NeedleKind};
use crate::data::tokenizer::Tokenizer;
use crate::data::{Purpose, rng};
use crate::device::Device;
use crate::model::{Kind, Mode, Model, ModelConfig};
use crate::train::task::{Batch, Load, Task, Validation};
use crate::train::{Interrupt, RunConfig, TrainConfig};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
pub use table::{COLUMNS, NeedleCell, NeedleLength, NeedleTable, row};
use titans_kernel::Choice;

/// Most tokens of a sequence or a batch, and most samples of an evaluation.
const LIMIT: usize = 1 << 26;

/// The task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NeedleConfig {
    /// What is hidden.
    pub kind: NeedleKind,
    /// Files of text to hide it in; `.gz` is decompressed. None: a few sentences that repeat.
    pub haystack: Vec<PathBuf>,
    /// The vocabulary of byte-level BPE ([`Tokenizer::open`]); bytes without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Tokens of the longest training sequence.
    pub length: usize,
    /// Tokens of a batch, about: as many sequences as fit.
    pub tokens: usize,
    /// Lengths of an evaluation.
    pub lengths: Vec<usize>,
    /// Where its needles lie, in percent of the haystack.
    pub depths: Vec<f64>,
    /// Samples of each length and depth.
    pub samples: usize,
    /// Share of a text's sentences, the last ones, that is for validation and evaluation only.
    pub validation: f64,
    /// From short to long.
    pub growth: GrowthConfig,
}

impl Default for NeedleConfig {
    fn default() -> Self {
        Self {
            kind: NeedleKind::Passkey,
            haystack: Vec::new(),
            tokenizer: None,
            length: 2048,
            tokens: 4096,
            lengths: vec![1024, 2048, 4096, 8192, 16384],
            depths: vec![0.0, 25.0, 50.0, 75.0, 100.0],
            samples: 20,
            validation: 0.1,
            growth: GrowthConfig::default(),
        }
    }
}

/// The run that `titans train --task needle` does by default with such a task, with memories of `layers` layers, of any
/// of these kinds (none for the memory alone), which the caller sets.
///
/// # Errors
/// As [`TaskConfig::fit`] and [`TaskConfig::run`].
pub fn default_run(task: TaskConfig, layers: usize, kinds: &[Kind]) -> Result<RunConfig> {
    let mut model = hidden::recipe(layers, kinds);
    // What tells the places of a value apart: with 4, digits that stand twice behind the same two are mixed up.
    model.conv_width = 8;
    task.fit(&mut model)?;
    // What decays opens its gates again, ever so little, and writes the haystack over the needle; gates at the rate of
    // the rest shut too slowly.
    let train = TrainConfig { steps: 3000, weight_decay: 0.0, gate_rate: 10.0, ..TrainConfig::default() };
    task.run(model, train)
}

/// The task.
#[derive(Clone, Debug)]
pub struct NeedleTask {
    config: NeedleConfig,
    seed: u64,
    tokenizer: Tokenizer,
    train: Haystack,
    valid: Haystack,
    sources: Sources,
    growth: Growth,
    /// Tokens of the shortest sequence.
    least: usize,
    notes: Vec<String>,
}

/// A sample of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct NeedleItem {
    /// Its number among those of its length and depth, from 0.
    pub number: usize,
    /// Where the needle lies, in percent of the haystack.
    pub depth: f64,
    /// The needle.
    pub needle: Needle,
    /// The sequence.
    pub hidden: Hidden,
}

impl NeedleConfig {
    /// Checks every field but the files.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.growth.validate()?;
        let mut sizes = vec![("length", self.length), ("tokens", self.tokens), ("samples", self.samples)];
        sizes.extend(self.lengths.iter().map(|&length| ("lengths", length)));
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > LIMIT) {
            return Err(Error::usage(format!("task.{name}: expected 1 to {LIMIT}, found {found}")));
        }
        if let Some(found) = self.depths.iter().find(|depth| !(0.0..=100.0).contains(*depth)) {
            return Err(Error::usage(format!(
                "task.depths: expected percent of the haystack, 0 to 100, found {found}"
            )));
        }
        if self.depths.is_empty() || self.lengths.is_empty() {
            return Err(Error::usage("task.lengths and task.depths: expected one at least, found none"));
        }
        if !(self.validation > 0.0 && self.validation < 1.0) {
            return Err(Error::usage(format!("task.validation: expected above 0, below 1, found {}", self.validation)));
        }
        Ok(())
    }

    fn expect_room(&self, least: usize) -> Result<()> {
        match self.lengths.iter().chain([&self.length]).find(|&&length| length < least) {
            None => Ok(()),
            Some(found) => Err(Error::usage(format!(
                "a {} with its question needs {least} tokens, found a length of {found}; give longer ones (--context, --lengths)",
                self.kind.name()
            ))),
        }
    }
}

impl NeedleTask {
    /// Reads the configuration's files.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used, a length in which a needle and its question do not fit
    /// with the tokens that are needed; as [`read`], [`Tokenizer::open`] and [`Tokenizer::encode`].
    pub fn read(config: NeedleConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        let tokenizer = Tokenizer::open(config.tokenizer.as_deref())?;
        let (train, valid, sources, mut notes) = if config.haystack.is_empty() {
            let noise = Haystack::noise(&tokenizer)?;
            (noise.clone(), noise, Sources::of(&[], &tokenizer), Vec::new())
        } else {
            let (texts, notes) = read(&config.haystack)?;
            let haystack = Haystack::texts(&tokenizer, &texts).and_then(|texts| texts.split(config.validation));
            let (train, valid) = haystack.map_err(|e| e.in_files(&config.haystack))?;
            (train, valid, Sources::of(&texts, &tokenizer), notes)
        };
        notes.extend_from_slice(tokenizer.notes());
        let least = config.kind.least_length(&tokenizer)?;
        config.expect_room(least)?;
        config.growth.expect(least, config.length)?;
        let growth = config.growth.start(least, config.length);
        Ok(Self { config, seed, tokenizer, train, valid, sources, growth, least, notes })
    }

    /// What it was made from.
    pub fn config(&self) -> &NeedleConfig {
        &self.config
    }

    /// How texts become tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What evaluations hide in.
    pub fn haystack(&self) -> &Haystack {
        &self.valid
    }

    /// Evaluates by what `config` says of lengths, depths and samples from now on.
    ///
    /// # Errors
    /// [`Error::Usage`] naming what cannot be.
    pub fn ask(&mut self, config: NeedleConfig) -> Result<()> {
        config.validate()?;
        config.expect_room(self.least)?;
        let NeedleConfig { lengths, depths, samples, .. } = config;
        (self.config.lengths, self.config.depths, self.config.samples) = (lengths, depths, samples);
        Ok(())
    }

    /// Evaluates in another haystack from now on.
    pub fn set_haystack(&mut self, haystack: Haystack) {
        self.valid = haystack;
    }

    /// The samples of one length and depth in percent (by chance where it is not given), which training has never
    /// drawn.
    ///
    /// # Errors
    /// As [`NeedleKind::draw`].
    pub fn items(&self, length: usize, depth: Option<f64>) -> Result<Vec<NeedleItem>> {
        // Depths that are told apart have needles of their own.
        let stream = depth.map_or(0, |depth| 1 + (depth * 1e6) as u64);
        let item = |number: usize| {
            let mut rng = rng(self.seed ^ stream.rotate_left(32), Purpose::Evaluation, length as u64, number as u64);
            let at = depth.map(|depth| depth / 100.0);
            let (needle, hidden) = self.config.kind.draw(&mut rng, (&self.tokenizer, &self.valid), length, at)?;
            Ok(NeedleItem { number, depth: depth.unwrap_or(f64::NAN), needle, hidden })
        };
        (0..self.config.samples).map(item).collect()
    }

    /// The share of values that a model writes at one length, over all depths of the configuration.
    ///
    /// # Errors
    /// As [`NeedleTask::items`] and [`find`].
    pub fn share<D: Device>(&self, device: &D, model: &Model<D>, length: usize) -> Result<f64> {
        let mut items = Vec::new();
        for &depth in &self.config.depths {
            items.extend(self.items(length, Some(depth))?);
        }
        Ok(share(&self.find(device, model, &items, Mode::On)?))
    }

    /// What a model answers to samples.
    ///
    /// # Errors
    /// As [`find`].
    pub fn find<D: Device>(
        &self,
        device: &D,
        model: &Model<D>,
        items: &[NeedleItem],
        mode: Mode,
    ) -> Result<Vec<FoundAnswer>> {
        let samples: Vec<Hidden> = items.iter().map(|item| item.hidden.clone()).collect();
        find(device, model, &self.valid, &samples, mode)
    }
}

impl<D: Device> Task<D> for NeedleTask {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let length = self.growth.size(self.seed, step, self.least);
        let count = (self.config.tokens / length).max(1);
        batch.restart(count, length);
        for number in 0..count as u64 {
            let mut rng = rng(self.seed, Purpose::Training, step, part * count as u64 + number);
            let (_, sample) = self.config.kind.draw(&mut rng, (&self.tokenizer, &self.train), length, None)?;
            fill(batch, &self.train, &sample);
        }
        Ok(())
    }

    fn wants_accuracy(&self) -> bool {
        true
    }

    fn feedback(&mut self, _loss: f64, accuracy: Option<f64>) {
        self.growth.feedback(&self.config.growth, self.config.length, accuracy.unwrap_or(0.0));
    }

    fn state(&self) -> serde_json::Value {
        HiddenState { growth: self.growth, sources: self.sources }.to_json()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.growth = HiddenState::from_json(state, &self.sources, self.config.length)?;
        Ok(())
    }

    fn held(&self) -> usize {
        (self.train.len() + self.valid.len()) * size_of::<u32>()
    }

    fn peak_loads(&self, model: &ModelConfig) -> Result<Vec<Load>> {
        Ok(vec![hidden::load::<D::Elem>(model, self.config.length, self.config.samples)?])
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn status(&self) -> String {
        format!("up to {} tokens", self.growth.length as usize)
    }

    fn validate_until(
        &self,
        device: &D,
        model: &Model<D>,
        _thorough: bool,
        _interrupt: &Interrupt,
    ) -> Result<Validation> {
        let items = self.items(self.config.length, None)?;
        Ok(validation(&self.find(device, model, &items, Mode::On)?))
    }
}
