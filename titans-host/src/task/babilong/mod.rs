//! The BABILong task (Kuratov et al. 2024): the sentences of a little story hidden in order among those of a long text,
//! and a question about the story at the end.

mod asks;
mod table;

use super::TaskConfig;
use super::growth::{Growth, GrowthConfig};
use super::hidden::{self, FoundAnswer, HiddenState, Sources, fill, find, share, validation};
use crate::data::haystack::{Haystack, Hidden, read};
use crate::data::tokenizer::Tokenizer;
use crate::data::{Purpose, rng};
use crate::device::Device;
use crate::model::{Kind, Mode, Model, ModelConfig};
use crate::train::task::{Batch, Load, Task, Validation};
use crate::train::{Interrupt, RunConfig, TrainConfig};
use crate::{Error, Result};
use asks::Asks;
pub use asks::{Ask, BabiBaselines};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
pub use table::{BABILONG_COLUMNS, BabilongRow, BabilongTable, babilong_row};

/// Most tokens of a sequence or a batch, and most samples of a validation.
const LIMIT: usize = 1 << 26;

/// The task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BabilongConfig {
    /// The folder of the stories: files `qaN_…_train.txt` and `qaN_…_test.txt`, `.gz` or not.
    pub facts: PathBuf,
    /// Files of text to hide them in; `.gz` is decompressed. None: a few sentences that repeat.
    pub noise: Vec<PathBuf>,
    /// Which tasks, by number.
    pub questions: Vec<usize>,
    /// The vocabulary of byte-level BPE ([`Tokenizer::open`]); bytes without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Tokens of the longest training sequence.
    pub length: usize,
    /// Tokens of a batch, about: as many sequences as fit.
    pub tokens: usize,
    /// Lengths of an evaluation; 0 is the story alone. What does not fit into one is as long as it is.
    pub lengths: Vec<usize>,
    /// Questions of a validation during training.
    pub samples: usize,
    /// Share of the stories and of the noise, the last ones, that is for validation only.
    pub validation: f64,
    /// From short to long.
    pub growth: GrowthConfig,
}

impl Default for BabilongConfig {
    fn default() -> Self {
        Self {
            facts: PathBuf::new(),
            noise: Vec::new(),
            questions: vec![1],
            tokenizer: None,
            length: 2048,
            tokens: 4096,
            lengths: vec![0, 1024, 2048, 4096, 8192, 16384],
            samples: 100,
            validation: 0.1,
            growth: GrowthConfig::default(),
        }
    }
}

/// The run that `titans train --task babilong` does by default with such a task, with memories of `layers` layers, of
/// any of these kinds (none for the memory alone), which the caller sets.
///
/// # Errors
/// As [`TaskConfig::fit`] and [`TaskConfig::run`].
pub fn default_run(task: TaskConfig, layers: usize, kinds: &[Kind]) -> Result<RunConfig> {
    let mut model = hidden::recipe(layers, kinds);
    if model.theta_bias < 0.0 {
        model.theta_bias = -7.0; // with -4 the noise of 16,384 tokens is written over one story in eight
    }
    task.fit(&mut model)?;
    task.run(model, TrainConfig { steps: 4000, ..TrainConfig::default() })
}

/// The task.
#[derive(Clone, Debug)]
pub struct BabilongTask {
    config: BabilongConfig,
    seed: u64,
    tokenizer: Tokenizer,
    train: Asks,
    valid: Vec<Ask>,
    noise: Haystack,
    valid_noise: Haystack,
    sources: Sources,
    growth: Growth,
    notes: Vec<String>,
}

impl BabilongConfig {
    /// Checks every field but the files.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.growth.validate()?;
        if self.facts.as_os_str().is_empty() {
            return Err(Error::usage(
                "--task babilong needs --facts DIR: the folder of the stories (qa1_…_train.txt and more)",
            ));
        }
        for (name, found) in [("length", self.length), ("tokens", self.tokens), ("samples", self.samples)] {
            if found == 0 || found > LIMIT {
                return Err(Error::usage(format!("task.{name}: expected 1 to {LIMIT}, found {found}")));
            }
        }
        if let Some(found) = self.lengths.iter().find(|&&length| length > LIMIT) {
            return Err(Error::usage(format!("task.lengths: expected 0 to {LIMIT}, found {found}")));
        }
        let mut seen = Vec::new();
        for &number in &self.questions {
            if !(1..=20).contains(&number) || seen.contains(&number) {
                return Err(Error::usage(format!(
                    "task.questions: expected numbers of tasks, 1 to 20, each once, found {number}"
                )));
            }
            seen.push(number);
        }
        if seen.is_empty() || self.lengths.is_empty() {
            return Err(Error::usage("task.questions and task.lengths: expected one at least, found none"));
        }
        if !(self.validation > 0.0 && self.validation < 1.0) {
            return Err(Error::usage(format!("task.validation: expected above 0, below 1, found {}", self.validation)));
        }
        Ok(())
    }
}

impl BabilongTask {
    /// Reads the configuration's files: stories for training, no test question.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used, a length in which no story fits with the tokens that are
    /// needed; what reading the files reports.
    pub fn read(config: BabilongConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        let tokenizer = Tokenizer::open(config.tokenizer.as_deref())?;
        let (mut train, mut valid, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for &number in &config.questions {
            let (some, others, text) = asks::training(&config.facts, number, config.validation, &tokenizer)?;
            train.extend(some);
            valid.push(others);
            texts.push(text);
        }
        let (noise, valid_noise, mut notes) = if config.noise.is_empty() {
            let noise = Haystack::noise(&tokenizer)?;
            (noise.clone(), noise, Vec::new())
        } else {
            let (books, notes) = read(&config.noise)?;
            let noise = Haystack::texts(&tokenizer, &books).and_then(|books| books.split(config.validation));
            let (noise, valid) = noise.map_err(|e| e.in_files(&config.noise))?;
            texts.extend(books);
            (noise, valid, notes)
        };
        notes.extend_from_slice(tokenizer.notes());
        let sources = Sources::of(&texts, &tokenizer);
        let train = Asks::new(train);
        let least = train.least();
        if config.length < least {
            return Err(Error::usage(format!(
                "the shortest story with its question needs {least} tokens, found a length of {}; give a longer one (--context)",
                config.length
            )));
        }
        // Of each task its share of what validation asks.
        let each = config.samples.div_ceil(valid.len().max(1));
        let valid = valid.into_iter().flat_map(|asks: Vec<Ask>| spread(asks, each)).collect();
        let growth = config.growth.start(train.most(), config.length);
        Ok(Self { config, seed, tokenizer, train, valid, noise, valid_noise, sources, growth, notes })
    }

    /// What it was made from.
    pub fn config(&self) -> &BabilongConfig {
        &self.config
    }

    /// How texts become tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The questions of the validation, `samples` of all tasks together.
    pub fn valid(&self) -> &[Ask] {
        &self.valid
    }

    /// The test questions of the tasks, in their order: those of the folder's index, or all.
    ///
    /// # Errors
    /// What reading them reports.
    pub fn test(&self) -> Result<Vec<Ask>> {
        let mut asks = Vec::new();
        for &number in &self.config.questions {
            asks.extend(asks::test(&self.config.facts, number, &self.tokenizer)?);
        }
        Ok(asks)
    }

    /// What knows nothing but the training questions and the story.
    pub fn baselines(&self, number: usize, asks: &[&Ask]) -> BabiBaselines {
        BabiBaselines::of(self.train.all().iter().filter(|ask| ask.task == number), asks)
    }

    /// Evaluates among other sentences from now on.
    pub fn set_noise(&mut self, noise: Haystack) {
        self.valid_noise = noise;
    }

    /// Hides the stories of questions in noise, up to `length` tokens.
    pub fn hide(&self, asks: &[Ask], length: usize) -> Vec<Hidden> {
        let one = |(number, ask): (usize, &Ask)| {
            let mut rng = rng(self.seed, Purpose::Evaluation, length as u64, number as u64);
            ask.hide(&mut rng, &self.valid_noise, length.max(ask.tokens()))
        };
        asks.iter().enumerate().map(one).collect()
    }

    /// What a model answers.
    ///
    /// # Errors
    /// As [`find`].
    pub fn find<D: Device>(
        &self,
        device: &D,
        model: &Model<D>,
        samples: &[Hidden],
        mode: Mode,
    ) -> Result<Vec<FoundAnswer>> {
        find(device, model, &self.valid_noise, samples, mode)
    }

    /// The share of the validation's questions that a model answers at one length.
    ///
    /// # Errors
    /// As [`find`].
    pub fn share<D: Device>(&self, device: &D, model: &Model<D>, length: usize) -> Result<f64> {
        Ok(share(&self.find(device, model, &self.hide(&self.valid, length), Mode::On)?))
    }
}

/// So many of the questions, evenly spread.
fn spread(asks: Vec<Ask>, count: usize) -> Vec<Ask> {
    let n = asks.len();
    let count = count.min(n);
    (0..count).map(|i| asks[i * n / count].clone()).collect()
}

impl<D: Device> Task<D> for BabilongTask {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let length = self.growth.size(self.seed, step, self.train.least());
        let count = (self.config.tokens / length).max(1);
        batch.restart(count, length);
        for number in 0..count as u64 {
            let mut rng = rng(self.seed, Purpose::Training, step, part * count as u64 + number);
            let fit = self.train.fitting(length);
            let ask = &fit[rng.random_range(0..fit.len().max(1) as u64) as usize];
            let sample = ask.hide(&mut rng, &self.noise, length);
            fill(batch, &self.noise, &sample);
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
        (self.noise.len() + self.valid_noise.len() + self.train.tokens()) * size_of::<u32>()
    }

    fn peak_loads(&self, model: &ModelConfig) -> Result<Vec<Load>> {
        let longest = self.valid.iter().map(Ask::tokens).max().unwrap_or(0);
        Ok(vec![hidden::load::<D::Elem>(model, self.config.length.max(longest), self.config.samples)?])
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
        let samples = self.hide(&self.valid, self.config.length);
        Ok(validation(&self.find(device, model, &samples, Mode::On)?))
    }
}
