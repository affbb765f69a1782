//! Tokens a second of a training step.

use crate::data::{Purpose, rng};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::train::task::{Batch, Task, Validation};
use crate::train::{Interrupt, RunConfig, Trainer};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Tokens a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Of the steps.
    pub median: f64,
    /// The slowest step's.
    pub low: f64,
    /// The fastest step's.
    pub high: f64,
}

/// Sequences of ids that mean nothing: a step's time does not depend on them.
struct NoiseTask {
    vocabulary: usize,
    batch: usize,
    time: usize,
    seed: u64,
}

impl<D: Device> Task<D> for NoiseTask {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        batch.restart(self.batch, self.time);
        let mut rng = rng(self.seed, Purpose::Training, step, part);
        for _ in 0..self.batch * self.time {
            batch.ids.push(rng.random_range(0..self.vocabulary as u32));
            batch.targets.push(rng.random_range(0..self.vocabulary as u32));
        }
        Ok(())
    }

    fn validate_until(
        &self,
        _device: &D,
        _model: &Model<D>,
        _thorough: bool,
        _interrupt: &Interrupt,
    ) -> Result<Validation> {
        Ok(Validation::default())
    }
}

/// The rate of `repeats` training steps of sequences of `length` tokens, of `tokens` tokens a step or one sequence,
/// after one that makes the buffers. None where `interrupt` was raised.
///
/// # Errors
/// [`Error::Usage`] for a model that reads no tokens; as [`Trainer::step`].
pub fn rate<D: Device>(
    device: &D,
    config: &RunConfig,
    length: usize,
    (tokens, repeats): (usize, usize),
    interrupt: &Interrupt,
) -> Result<Option<Rate>> {
    let vocabulary = config.model.vocabulary;
    if config.model.inputs > 0 {
        return Err(Error::usage("the rate of a step: expected a model of tokens, found one of numbers"));
    }
    let (batch, mut config) = ((tokens / length.max(1)).max(1), config.clone());
    (config.train.steps, config.train.accumulate) = (u64::MAX >> 12, 1);
    let mut task = NoiseTask { vocabulary, batch, time: length, seed: config.train.seed };
    let mut trainer = Trainer::new(device, config, &mut task)?;
    trainer.step(0.0)?;
    let mut rates = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        if interrupt.requested() {
            return Ok(None);
        }
        let begin = Instant::now();
        let tokens = trainer.step(0.0)?.tokens;
        rates.push(tokens as f64 / begin.elapsed().as_secs_f64().max(1e-9));
    }
    rates.sort_by(f64::total_cmp);
    let at = |i: usize| rates.get(i).copied().unwrap_or(f64::NAN);
    let median = (at((repeats.max(1) - 1) / 2) + at(repeats / 2)) / 2.0;
    Ok(Some(Rate { median, low: at(0), high: at(repeats.max(1) - 1) }))
}
