//! State tracking: after every element of a word over a finite group, the product of all so far (the paper's Theorem
//! 4.1 is about what can do this). Trained on short words, measured on long ones.

use super::TaskConfig;
use crate::data::track::{Group, Products};
use crate::data::{Purpose, rng};
use crate::device::Device;
use crate::model::{Input, Mode, Model, ModelConfig};
use crate::tape::Tape;
use crate::train::task::{Batch, Load, Task, Validation};
use crate::train::trainer::right;
use crate::train::{RunConfig, TrainConfig};
use crate::{Error, Result};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use titans_kernel::Scalar;

/// Tokens that an evaluation runs at once, at least one word.
const EVALUATION_TOKENS: usize = 8192;

/// Most elements of a word or a batch, and most words of an evaluation.
const LIMIT: usize = 1 << 20;

/// Words grow while this share of the products is right, …
const THRESHOLD: f64 = 0.95;
/// … by this factor, …
const GROWTH: f64 = 1.15;
/// … but not more often than every so many steps.
const EVERY: u64 = 5;
/// Weight of the newest step in the running accuracy.
const NEWEST: f64 = 0.1;

/// The task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackConfig {
    /// The group.
    pub group: Group,
    /// Elements of the longest training word.
    pub length: usize,
    /// Elements of the longest at the beginning.
    pub first_length: usize,
    /// Elements of a batch, about: as many words as fit.
    pub tokens: usize,
    /// Lengths of an evaluation.
    pub lengths: Vec<usize>,
    /// Words of each.
    pub sequences: usize,
}

impl Default for TrackConfig {
    fn default() -> Self {
        Self {
            group: Group::Parity,
            length: 64,
            first_length: 4,
            tokens: 4096,
            lengths: vec![16, 64, 256, 1024],
            sequences: 100,
        }
    }
}

/// The run that `titans train --task track` does by default: one block whose memories can turn what they hold around
/// (1 − θ between −1 and 1, half the loss), without forgetting and without momentum.
///
/// # Errors
/// As [`TaskConfig::run`].
pub fn default_run(group: Group, layers: usize) -> Result<RunConfig> {
    let mut model = ModelConfig {
        vocabulary: Products::of(group).order(),
        width: 64,
        blocks: 1,
        heads: 2,
        head_width: 32,
        feed_forward: 128,
        tied: false,
        ..ModelConfig::default()
    };
    model.set_layers(layers);
    model.alpha_bias = -7.0; // a state is kept until it is changed
    if layers == 1 {
        // Along a key what is held is multiplied by 1 − α − θ: −1 at the most, where nothing is forgotten. Momentum would make it grow.
        (model.theta_max, model.momentum, model.forgetting) = (2.0, false, false);
        // Without neighbours a key says one element's reflection.
        model.conv_width = 0;
    }
    let mut train = TrainConfig { steps: 1500, learning_rate: 1e-2, ..TrainConfig::default() };
    if layers == 1 {
        // θ of 0 and 2 to the last digits: what is nearly turned around fades in long words, of which short ones say nothing.
        (train.weight_decay, train.gate_rate) = (0.0, 30.0);
    }
    let task = TrackConfig { group, ..TrackConfig::default() };
    TaskConfig::Track(task).run(model, train)
}

/// Where the curriculum stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stand {
    /// Elements of the longest word now.
    length: f64,
    /// Running accuracy, 0 to 1.
    accuracy: f64,
    /// Steps since the last growth.
    since: u64,
}

/// Shares of one length, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    /// Products that were predicted.
    pub products: f64,
    /// Words of which every product was.
    pub words: f64,
    /// Products that were predicted where the memory does not write; none for a model without memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<f64>,
}

/// By length: `{"64": {"products": 1.0, "words": 1.0, "frozen": 0.5}, …}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackTable(pub BTreeMap<usize, Tracked>);

impl std::fmt::Display for TrackTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:>8}  {:>9}  {:>9}  {:>9}", "elements", "products", "words", "frozen")?;
        for (length, Tracked { products, words, frozen }) in &self.0 {
            let p = |x: f64| format!("{:.1} %", 100.0 * x);
            let frozen = frozen.map_or("-".into(), p);
            writeln!(f, "{length:>8}  {:>9}  {:>9}  {frozen:>9}", p(*products), p(*words))?;
        }
        Ok(())
    }
}

/// The task.
#[derive(Clone, Debug)]
pub struct Track {
    config: TrackConfig,
    products: Products,
    seed: u64,
    progress: Stand,
}

impl Track {
    /// The task at the beginning of its curriculum.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used.
    pub fn new(config: TrackConfig, seed: u64) -> Result<Self> {
        let TrackConfig { length, first_length, tokens, sequences, .. } = config;
        let mut sizes =
            vec![("length", length), ("first_length", first_length), ("tokens", tokens), ("sequences", sequences)];
        sizes.extend(config.lengths.iter().map(|&length| ("lengths", length)));
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > LIMIT) {
            return Err(Error::usage(format!("task.{name}: expected 1 to {LIMIT}, found {found}")));
        }
        let progress = Stand { length: first_length.min(length) as f64, accuracy: 0.0, since: 0 };
        Ok(Self { products: Products::of(config.group), config, seed, progress })
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
        let word = |number| {
            let mut rng = rng(self.seed, Purpose::Evaluation, length as u64, number);
            self.products.word(&mut rng, length).collect()
        };
        (0..self.config.sequences as u64).map(word).collect()
    }

    /// How much of some words, all of one length, a model gets right.
    ///
    /// # Errors
    /// What the device reports; [`Error::Diverged`] where a loss is not finite.
    pub fn row<D: Device>(&self, device: &D, model: &Model<D>, words: &[Vec<(u32, u32)>]) -> Result<Tracked> {
        let on = self.measure(device, model, words, Mode::On)?;
        let remembers = model.config().remembering().next().is_some();
        let frozen = if remembers { Some(self.measure(device, model, words, Mode::Frozen)?.products) } else { None };
        Ok(Tracked { products: on.products, words: on.words, frozen })
    }

    fn measure<D: Device>(
        &self,
        device: &D,
        model: &Model<D>,
        words: &[Vec<(u32, u32)>],
        mode: Mode,
    ) -> Result<WordScore> {
        let length = words.first().map_or(1, Vec::len).max(1);
        let (mut loss, mut hits, mut whole) = (0.0, 0, 0);
        let mut batch = Batch::default();
        for some in words.chunks(self.at_once(length)) {
            batch.restart(some.len(), length);
            batch.ids.extend(some.iter().flatten().map(|token| token.0));
            batch.targets.extend(some.iter().flatten().map(|token| token.1));
            let (losses, right) = score(device, model, &batch, mode)?;
            if let Some(i) = losses.iter().position(|x| !x.is_finite()) {
                return Err(Error::Diverged { position: (i % length) as u64 });
            }
            loss += losses.iter().sum::<f64>();
            hits += right.iter().filter(|&&right| right).count();
            whole += right.chunks(length).filter(|word| word.iter().all(|&right| right)).count();
        }
        let tokens = (words.len() * length).max(1);
        Ok(WordScore {
            loss: loss / tokens as f64,
            products: hits as f64 / tokens as f64,
            words: whole as f64 / words.len().max(1) as f64,
            tokens: tokens as u64,
        })
    }

    /// Words of an evaluation that run at once.
    fn at_once(&self, length: usize) -> usize {
        (EVALUATION_TOKENS / length.max(1)).clamp(1, self.config.sequences.max(1))
    }
}

/// What a measurement found.
struct WordScore {
    loss: f64,
    products: f64,
    words: f64,
    tokens: u64,
}

/// Losses in nats, and whether the prediction is right, token by token.
fn score<D: Device>(device: &D, model: &Model<D>, batch: &Batch, mode: Mode) -> Result<(Vec<f64>, Vec<bool>)> {
    let ids = Arc::new(device.upload_indices(&batch.ids)?);
    let targets = Arc::new(device.upload_indices(&batch.targets)?);
    let classes = model.config().vocabulary;
    let mut tape = Tape::inference(device, &model.params);
    let forward = model.forward(&mut tape, Input { mode, ..Input::new(&ids, batch.batch, batch.time) })?;
    let losses = tape.cross_entropy(classes, &forward.logits, &targets)?;
    let losses = device.download(losses.buffer())?.iter().map(|x| x.to_f64()).collect();
    let logits = device.download(forward.logits.buffer())?;
    Ok((losses, right(&logits, classes, &batch.targets).collect()))
}

impl<D: Device> Task<D> for Track {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let longest = (self.progress.length as usize).clamp(1, self.config.length);
        // Half of all steps see words of the full length, the others shorter ones.
        let shortest = longest.div_ceil(2);
        let length = rng(self.seed, Purpose::Sizes, step, 0).random_range(shortest..=longest);
        let count = (self.config.tokens / length).max(1);
        batch.restart(count, length);
        for number in 0..count as u64 {
            let mut rng = rng(self.seed, Purpose::Training, step, part * count as u64 + number);
            for (element, product) in self.products.word(&mut rng, length) {
                batch.ids.push(element);
                batch.targets.push(product);
            }
        }
        Ok(())
    }

    fn wants_accuracy(&self) -> bool {
        true
    }

    fn feedback(&mut self, _loss: f64, accuracy: Option<f64>) {
        let p = &mut self.progress;
        p.accuracy += NEWEST * (accuracy.unwrap_or(0.0) - p.accuracy);
        p.since += 1;
        if p.accuracy > THRESHOLD && p.since >= EVERY {
            p.length = (p.length * GROWTH).max(p.length + 1.0).min(self.config.length as f64);
            p.since = 0;
        }
    }

    fn state(&self) -> serde_json::Value {
        serde_json::to_value(self.progress).unwrap_or_default()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let wrong = |e: String| Error::usage(format!("curriculum: expected the state of one, found {e}"));
        let state: Stand = serde_json::from_value(state.clone()).map_err(|e| wrong(e.to_string()))?;
        let fits = (1.0..=self.config.length as f64).contains(&state.length) && (0.0..=1.0).contains(&state.accuracy);
        if !fits {
            return Err(wrong(format!("{state:?}")));
        }
        self.progress = state;
        Ok(())
    }

    fn loads(&self, model: &ModelConfig) -> Result<Vec<Load>> {
        let load = |&length: &usize| {
            let batch = self.at_once(length);
            // Ids and targets, here and in the device's form; losses, and as they are summed; logits; what is right.
            let token = 4 * size_of::<u32>() + (1 + model.vocabulary) * D::Elem::BYTES + size_of::<f64>() + 1;
            let words = self.config.sequences.saturating_mul(length).saturating_mul(2 * size_of::<u32>());
            let host = (batch * length).saturating_mul(token).saturating_add(words);
            Load { batch, time: length, surprise: false, host }
        };
        Ok(self.config.lengths.iter().chain([&self.config.length]).map(load).collect())
    }

    fn note(&self) -> String {
        format!("up to {} elements", self.progress.length as usize)
    }

    fn validate(&self, device: &D, model: &Model<D>, _thorough: bool) -> Result<Validation> {
        let found = self.measure(device, model, &self.words(self.config.length), Mode::On)?;
        Ok(Validation { loss: found.loss, accuracy: Some(found.products), tokens: found.tokens })
    }
}
