//! State tracking: after every element of a word over a finite group, the product of all so far (the paper's Theorem
//! 4.1 is about what can do this). Trained on short words, measured on long ones.

mod recipe;
mod stand;
mod table;

use super::judged::losses_and_logits;
use crate::data::track::{Group, Products};
use crate::data::{Purpose, rng};
use crate::device::{Device, IGNORE};
use crate::model::{Mode, Model, ModelConfig};
use crate::train::Interrupt;
use crate::train::task::{Batch, Load, Task, Validation};
use crate::train::trainer::right;
use crate::{Error, Result};
use rand::RngExt;
use rand::seq::SliceRandom;
pub use recipe::default_run;
use serde::{Deserialize, Serialize};
use stand::Stand;
pub use table::{TrackTable, Tracked};
use titans_kernel::Scalar;

/// Tokens that an evaluation runs at once, at least one word.
const EVALUATION_TOKENS: usize = 8192;

/// Most elements of a word or a batch, and most words of an evaluation.
const LIMIT: usize = 1 << 20;

/// More elements than any group has.
const ALL: usize = 1 << 20;

/// Most tokens that say one element.
const MOST_MICRO_STEPS: usize = 16;

/// The task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackConfig {
    /// The group.
    pub group: Group,
    /// Tokens that say one element, each with ids of its own; the product is due after the last. A token is one step of
    /// a memory, and one step of a linear one is one reflection at most.
    pub micro_steps: usize,
    /// Elements of the longest training word.
    pub length: usize,
    /// Elements of the longest at the beginning.
    pub first_length: usize,
    /// How many of the group's elements the words at the beginning are made of; each time that they are tracked, a few
    /// more come up. All where the group has fewer.
    pub first_elements: usize,
    /// Tokens of a batch, about: as many words as fit.
    pub tokens: usize,
    /// Lengths of an evaluation.
    pub lengths: Vec<usize>,
    /// Words of each.
    pub sequences: usize,
}

impl TrackConfig {
    /// Ids of the tokens: each element has one for each of its steps. The first ones, as many as the group has
    /// elements, are the products too.
    pub fn vocabulary(&self) -> usize {
        Products::of(self.group).order().saturating_mul(self.micro_steps)
    }

    /// Makes a model of its tokens.
    pub fn fit(&self, model: &mut ModelConfig) {
        model.vocabulary = self.vocabulary();
    }

    /// Tokens of a word of `length` elements.
    pub const fn tokens_of(&self, length: usize) -> usize {
        length.saturating_mul(self.micro_steps)
    }
}

impl Default for TrackConfig {
    fn default() -> Self {
        Self {
            group: Group::Parity,
            micro_steps: 1,
            length: 64,
            first_length: 4,
            first_elements: ALL,
            tokens: 4096,
            lengths: vec![16, 64, 256, 1024],
            sequences: 100,
        }
    }
}

/// The task.
#[derive(Clone, Debug)]
pub struct Track {
    config: TrackConfig,
    products: Products,
    /// The elements in the order in which they come up, `[order]`.
    elements: Vec<u32>,
    seed: u64,
    progress: Stand,
}

impl Track {
    /// The task at the beginning of its curriculum.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used.
    pub fn new(config: TrackConfig, seed: u64) -> Result<Self> {
        let TrackConfig { micro_steps, length, first_length, first_elements, tokens, sequences, .. } = config;
        if !(1..=MOST_MICRO_STEPS).contains(&micro_steps) {
            let expected = format!("expected 1 to {MOST_MICRO_STEPS}");
            return Err(Error::usage(format!("task.micro_steps: {expected}, found {micro_steps}")));
        }
        let mut sizes =
            vec![("length", length), ("first_length", first_length), ("tokens", tokens), ("sequences", sequences)];
        sizes.push(("first_elements", first_elements));
        sizes.extend(config.lengths.iter().map(|&length| ("lengths", length)));
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > LIMIT) {
            return Err(Error::usage(format!("task.{name}: expected 1 to {LIMIT}, found {found}")));
        }
        let products = Products::of(config.group);
        let elements = first_elements.min(products.order()) as f64;
        let progress = Stand { length: first_length.min(length) as f64, elements, accuracy: 0.0, since: 0 };
        let mut elements: Vec<u32> = (0..products.order() as u32).collect();
        if first_elements < elements.len() {
            elements.shuffle(&mut rng(seed, Purpose::Sizes, u64::MAX, 0));
        }
        Ok(Self { products, elements, config, seed, progress })
    }

    /// What it was made from.
    pub fn config(&self) -> &TrackConfig {
        &self.config
    }

    /// The group.
    pub fn products(&self) -> &Products {
        &self.products
    }

    /// Words of `length` elements that training has never drawn.
    pub fn words(&self, length: usize) -> Vec<Vec<(u32, u32)>> {
        let all: Vec<u32> = (0..self.products.order() as u32).collect();
        let word = |number| {
            let mut rng = rng(self.seed, Purpose::Evaluation, length as u64, number);
            self.products.draw(&mut rng, length, &all).collect()
        };
        (0..self.config.sequences as u64).map(word).collect()
    }

    /// How much of some words, all of one length, a model gets right.
    ///
    /// # Errors
    /// What the device reports; [`Error::Diverged`] where a loss is not finite.
    pub fn row<D: Device>(&self, device: &D, model: &Model<D>, words: &[Vec<(u32, u32)>]) -> Result<Tracked> {
        Ok(self.found(device, model, words)?.0)
    }

    /// The same, and for every product of every word whether it was predicted, `[words, length]`.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn found<D: Device>(
        &self,
        device: &D,
        model: &Model<D>,
        words: &[Vec<(u32, u32)>],
    ) -> Result<(Tracked, Vec<bool>)> {
        let on = self.measure(device, model, words, Mode::On)?;
        let remembers = model.config().remembering().next().is_some();
        let frozen = match remembers {
            true => Some(self.measure(device, model, words, Mode::Frozen)?.products()),
            false => None,
        };
        let length = words.first().map_or(1, Vec::len).max(1);
        let whole = on.right.chunks(length).filter(|word| word.iter().all(|&right| right)).count();
        let words = whole as f64 / words.len().max(1) as f64;
        let chance = 1.0 / self.products.order() as f64;
        Ok((Tracked { products: on.products(), words, frozen, chance }, on.right))
    }

    fn measure<D: Device>(
        &self,
        device: &D,
        model: &Model<D>,
        words: &[Vec<(u32, u32)>],
        mode: Mode,
    ) -> Result<WordScore> {
        let length = words.first().map_or(1, Vec::len).max(1);
        let mut found = WordScore { loss: 0.0, right: Vec::with_capacity(words.len() * length) };
        let mut batch = Batch::default();
        for some in words.chunks(self.at_once(length)) {
            batch.restart(some.len(), self.config.tokens_of(length));
            some.iter().flatten().for_each(|&token| self.say(token, &mut batch));
            let (losses, logits) = losses_and_logits(device, model, &batch, mode)?;
            let right: Vec<bool> = right(&logits, model.config().vocabulary, &batch.targets).collect();
            if let Some(i) = losses.iter().position(|x| !x.is_finite()) {
                return Err(Error::Diverged { position: (i % batch.time) as u64 });
            }
            found.loss += losses.iter().sum::<f64>();
            // What is due after an element's last token.
            found.right.extend(right.chunks(self.config.micro_steps).filter_map(|steps| steps.last()));
        }
        Ok(found)
    }

    /// Writes an element's tokens and the product after it, which is due at the last of them.
    fn say(&self, (element, product): (u32, u32), batch: &mut Batch) {
        let order = self.products.order() as u32;
        let steps = self.config.micro_steps as u32;
        batch.ids.extend((0..steps).map(|step| step * order + element));
        batch.targets.extend((1..steps).map(|_| IGNORE).chain([product]));
    }

    /// Words of an evaluation that run at once.
    fn at_once(&self, length: usize) -> usize {
        (EVALUATION_TOKENS / self.config.tokens_of(length).max(1)).clamp(1, self.config.sequences.max(1))
    }
}

/// What a measurement found.
struct WordScore {
    /// In nats, of all products.
    loss: f64,
    /// Which of them were predicted, `[words, length]`.
    right: Vec<bool>,
}

impl WordScore {
    /// The share that was predicted.
    fn products(&self) -> f64 {
        self.right.iter().filter(|&&right| right).count() as f64 / self.right.len().max(1) as f64
    }
}

impl<D: Device> Task<D> for Track {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let longest = (self.progress.length as usize).clamp(1, self.config.length);
        // Half of all steps see words of the full length, the others shorter ones.
        let shortest = longest.div_ceil(2);
        let length = rng(self.seed, Purpose::Sizes, step, 0).random_range(shortest..=longest);
        let count = (self.config.tokens / self.config.tokens_of(length)).max(1);
        batch.restart(count, self.config.tokens_of(length));
        let elements = &self.elements[..(self.progress.elements as usize).clamp(1, self.elements.len())];
        for number in 0..count as u64 {
            let mut rng = rng(self.seed, Purpose::Training, step, part * count as u64 + number);
            self.products.draw(&mut rng, length, elements).for_each(|token| self.say(token, batch));
        }
        Ok(())
    }

    fn wants_accuracy(&self) -> bool {
        true
    }

    fn feedback(&mut self, _loss: f64, accuracy: Option<f64>) {
        self.progress.hear(accuracy.unwrap_or(0.0), self.elements.len(), self.config.length);
    }

    fn state(&self) -> serde_json::Value {
        serde_json::to_value(self.progress).unwrap_or_default()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let wrong = |e: String| Error::usage(format!("curriculum: expected the state of one, found {e}"));
        let state: Stand = serde_json::from_value(state.clone()).map_err(|e| wrong(e.to_string()))?;
        let Some(state) = state.fitted(self.elements.len(), self.config.length) else {
            return Err(wrong(format!("{state:?}")));
        };
        self.progress = state;
        Ok(())
    }

    fn peak_loads(&self, model: &ModelConfig) -> Result<Vec<Load>> {
        let load = |&length: &usize| {
            let batch = self.at_once(length);
            // Ids and targets, here and in the device's form; losses, and as they are summed; logits; what is right.
            let token = 4 * size_of::<u32>() + (1 + model.vocabulary) * D::Elem::BYTES + size_of::<f64>() + 1;
            let words = self.config.sequences.saturating_mul(length).saturating_mul(2 * size_of::<u32>() + 2);
            let time = self.config.tokens_of(length);
            let host = (batch * time).saturating_mul(token).saturating_add(words);
            Load { batch, time, surprise: false, host }
        };
        Ok(self.config.lengths.iter().chain([&self.config.length]).map(load).collect())
    }

    fn status(&self) -> String {
        let (length, elements) = (self.progress.length as usize, self.progress.elements as usize);
        if elements < self.elements.len() {
            return format!("up to {length} elements, of {elements}");
        }
        format!("up to {length} elements")
    }

    fn validate_until(
        &self,
        device: &D,
        model: &Model<D>,
        _thorough: bool,
        _interrupt: &Interrupt,
    ) -> Result<Validation> {
        let found = self.measure(device, model, &self.words(self.config.length), Mode::On)?;
        let products = found.right.len();
        Ok(Validation {
            loss: found.loss / products.max(1) as f64,
            accuracy: Some(found.products()),
            tokens: products as u64,
        })
    }
}
