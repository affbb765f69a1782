//! What a run is: its task, its model and its training, as `config.toml` and every checkpoint hold it.

use super::optimiser::Constants;
use super::schedule::Schedule;
use crate::device::Boundaries;
use crate::model::ModelConfig;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How to train.
///
/// ```
/// use titans_host::train::TrainConfig;
///
/// let config = TrainConfig { steps: 200, learning_rate: 1e-3, ..TrainConfig::default() };
/// config.validate()?;
/// assert_eq!(config.done(50, 0.0), 0.25); // 50 of 200 steps, whatever the time
/// assert!(TrainConfig { dropout: 1.0, ..config }.validate().is_err()); // nothing would be left
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the initial parameters and of every batch.
    pub seed: u64,
    /// Steps of the run, where `minutes` is not given.
    pub steps: u64,
    /// Minutes of the run, instead of steps; the learning rate follows the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// With `minutes`, steps after which the run ends though time is left; the learning rate follows whichever comes
    /// first. None: time alone counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_steps: Option<u64>,
    /// Parts of a step's batch, whose gradients are added up; over all processes, where there are several.
    pub accumulate: u64,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warm_up: u64,
    /// Share of the learning rate that is left at the end of the cosine.
    pub floor: f64,
    /// AdamW's decay of the first moment.
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm; 0 never clips.
    pub clip: f64,
    /// Share of what each block's mixer and feed-forward add to the stream that a training step drops, 0 to below 1;
    /// the rest is divided by 1 minus it.
    pub dropout: f64,
    /// By what the learning rate of the memories' gates is multiplied, above 0: with 1 their logits go as far in a step
    /// as any other parameter, and gates that should shut come near 0 or their largest value late.
    #[serde(skip_serializing_if = "is_one")]
    pub gate_rate: f64,
    /// Steps between cheap validations; 0 validates only at the end.
    pub validate_every: u64,
    /// Which chunk boundaries of the memories wait for the backward: `all`, or their `sqrt` for less memory and more
    /// time.
    pub boundaries: Boundaries,
    /// Keep only the blocks' inputs and compute the blocks again in the backward: less memory, about a third more time.
    pub recompute: bool,
    /// Seconds between checkpoints of a run in progress.
    pub save_every: f64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            steps: 1000,
            minutes: None,
            most_steps: None,
            accumulate: 1,
            learning_rate: 3e-3,
            warm_up: 50,
            floor: 0.0,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip: 1.0,
            dropout: 0.0,
            gate_rate: 1.0,
            validate_every: 0,
            boundaries: Boundaries::All,
            recompute: false,
            save_every: 30.0,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's way
fn is_one(x: &f64) -> bool {
    *x == 1.0
}

impl TrainConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field, the range and the value found.
    pub fn validate(&self) -> Result<()> {
        let check = |name: &str, range: &str, value: f64, good: bool| {
            if good { Ok(()) } else { Err(Error::usage(format!("train.{name}: expected {range}, found {value}"))) }
        };
        let share = |x: f64| (0.0..1.0).contains(&x);
        let (some, none) = ("above 0 and finite in 32 bits", "0 or above, and finite in 32 bits");
        // As they are computed with: in `f32`, where 1e39 is infinite and 1e-50 is 0.
        let above = |x: f64| x as f32 > 0.0 && (x as f32).is_finite();
        let at_least_0 = |x: f64| x >= 0.0 && (x as f32).is_finite();
        check("learning_rate", some, self.learning_rate, above(self.learning_rate))?;
        check("floor", "0 to 1", self.floor, (0.0..=1.0).contains(&self.floor))?;
        check("beta1", "0 to below 1", self.beta1, share(self.beta1))?;
        check("beta2", "0 to below 1", self.beta2, share(self.beta2))?;
        check("epsilon", some, self.epsilon, above(self.epsilon))?;
        check("weight_decay", none, self.weight_decay, at_least_0(self.weight_decay))?;
        check("clip", none, self.clip, at_least_0(self.clip))?;
        check("dropout", "0 to below 1", self.dropout, share(self.dropout))?;
        check("gate_rate", some, self.gate_rate, above(self.gate_rate))?;
        check("save_every", none, self.save_every, at_least_0(self.save_every))?;
        check("accumulate", "1 to 1048576", self.accumulate as f64, (1..=1 << 20).contains(&self.accumulate))?;
        let most = self.most_steps.unwrap_or(1);
        check("most_steps", "at least 1", most as f64, most > 0)?;
        match self.minutes {
            Some(minutes) => check("minutes", some, minutes, above(minutes)),
            None => check("steps", "at least 1", self.steps as f64, self.steps > 0),
        }
    }

    /// The learning rate's shape.
    pub fn schedule(&self) -> Schedule {
        Schedule { peak: self.learning_rate, warm_up: self.warm_up, floor: self.floor }
    }

    /// AdamW's constants.
    pub fn optimiser(&self) -> Constants {
        Constants {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            gate_rate: self.gate_rate,
            clip: if self.clip > 0.0 { self.clip } else { f64::INFINITY },
        }
    }

    /// Share of the run that is done after `step` steps and `seconds` seconds, 0 to 1.
    pub fn done(&self, step: u64, seconds: f64) -> f64 {
        let of = |steps: u64| step as f64 / steps as f64;
        let share = match self.minutes {
            Some(minutes) => (seconds / (60.0 * minutes)).max(self.most_steps.map_or(0.0, of)),
            None => of(self.steps),
        };
        share.clamp(0.0, 1.0)
    }
}

/// A whole run. The task's part is in the task's own words.
///
/// ```
/// use titans_host::task::recall::default_run;
/// use titans_host::train::RunConfig;
///
/// let mut config = default_run(1, &[])?; // of the recall task, with memories of one layer
/// config.train.steps = 200;
/// config.validate()?;
/// let folder = tempfile::tempdir().expect("a folder");
/// let path = folder.path().join("config.toml");
/// config.write(&path)?;
/// assert_eq!(RunConfig::read(&path)?, config);
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What is learned; `name` says which task reads the rest.
    pub task: serde_json::Value,
    /// The model.
    pub model: ModelConfig,
    /// The training.
    pub train: TrainConfig,
}

impl RunConfig {
    /// Checks the model's and the training's fields.
    ///
    /// # Errors
    /// As [`TrainConfig::validate`] and [`ModelConfig::validate`].
    pub fn validate(&self) -> Result<()> {
        self.train.validate()?;
        self.model.validate()
    }

    /// Writes `config.toml`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|e| Error::file(path, format!("cannot be put into TOML: {e}")))?;
        super::atomic::write(path, "writing the configuration", |out| out.write_all(text.as_bytes()))
    }

    /// Reads `config.toml`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::File`] naming the line and field that cannot be used; also where
    /// `model.eta_max` is missing, which says that the file is of a time when momentum went up to 1: it would be
    /// another model.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "reading the configuration", e))?;
        let config: Self = toml::from_str(&text).map_err(|e| Error::file(path, e.to_string()))?;
        expect_eta_max(&text).map_err(|reason| Error::file(path, reason))?;
        config.validate()?;
        Ok(config)
    }
}

/// A run says how large its momentum may be: older ones do not, and meant 1.
fn expect_eta_max(text: &str) -> std::result::Result<(), String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    match table.get("model").and_then(|model| model.get("eta_max")) {
        Some(_) => Ok(()),
        None => Err("[model] eta_max: missing; expected above 0, at most 1: 0.5 is the default, and a file without it is of a version \
                     of before, whose runs had eta_max = 1, theta_max = 0.25 and chunks of 4 or 8 (compute_chunk = 0)"
            .into()),
    }
}
