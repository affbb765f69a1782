//! One training step, on any device and for any task.

use super::checkpoint::{self, Checkpoint, RunState};
use super::config::RunConfig;
use super::given::IdsOrNumbers;
use super::interrupt::Interrupt;
use super::optimiser::Optimiser;
use super::task::{Batch, Task, Validation};
use crate::device::{Device, MemoryUse};
use crate::model::{Aim, Dropout, Input, Model, Recompute, Shortcut};
use crate::tape::{Gradients, Losses, Shared, Tape, Var, Workspace};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use titans_kernel::Scalar;

/// A run in progress.
pub struct Trainer<'a, D: Device> {
    device: &'a D,
    task: &'a mut dyn Task<D>,
    config: RunConfig,
    state: RunState,
    model: Model<D>,
    optimiser: Optimiser<D>,
    gradients: Gradients<D>,
    space: StepSpace<D>,
}

/// What a step leaves for the next one, so that it takes nothing from the heap.
struct StepSpace<D: Device> {
    tape: Workspace<D>,
    recompute: Recompute<D>,
    parts: Vec<Batch>,
    /// What a part reads, and what it should say.
    given: Option<[IdsOrNumbers<D>; 2]>,
    logits: Vec<D::Elem>,
}

impl<D: Device> StepSpace<D> {
    fn new(parts: usize) -> Self {
        let parts = (0..parts).map(|_| Batch::default()).collect();
        Self { tape: Workspace::new(), recompute: Recompute::new(), parts, given: None, logits: Vec::new() }
    }
}

impl<D: Device> std::fmt::Debug for Trainer<'_, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("config", &self.config).field("state", &self.state).finish_non_exhaustive()
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean loss in nats a scored token, before the step, with what it drops.
    pub loss: f64,
    /// Share of scored tokens that were predicted, where the task wants it.
    pub accuracy: Option<f64>,
    /// Global norm of the gradients before the clip.
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Tokens read.
    pub tokens: u64,
}

impl<'a, D: Device> Trainer<'a, D> {
    /// A run at its beginning: the model's parameters are drawn from the configuration's seed.
    ///
    /// # Errors
    /// [`Error::Usage`] for a configuration that cannot be used; what the device reports.
    pub fn new(device: &'a D, config: RunConfig, task: &'a mut dyn Task<D>) -> Result<Self> {
        config.validate()?;
        let mut model = Model::new(device, config.model.clone(), config.train.seed)?;
        task.prepare(device, &mut model)?;
        let optimiser = Optimiser::new(device, config.train.optimiser(), &model.params)?;
        let state = RunState { task: task.state(), ..RunState::default() };
        Self::resume(device, Checkpoint { config, state, model, optimiser }, task)
    }

    /// A run that continues from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Usage`] when the task does not know the checkpoint's state; what the device reports.
    pub fn resume(device: &'a D, checkpoint: Checkpoint<D>, task: &'a mut dyn Task<D>) -> Result<Self> {
        let Checkpoint { config, state, model, mut optimiser } = checkpoint;
        config.validate()?;
        optimiser.constants = config.train.optimiser();
        task.restore(&state.task)?;
        let gradients = Gradients::zeros_like(device, &model.params)?;
        let space = StepSpace::new(config.train.accumulate as usize);
        Ok(Self { device, task, config, state, model, optimiser, gradients, space })
    }

    /// What the run is.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// How far the run is. Its task's part is as of the last checkpoint; [`Trainer::task_state`] is as of now.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// What a checkpoint would say of the task.
    pub fn task_state(&self) -> serde_json::Value {
        self.task.state()
    }

    /// Whether a new model knows something before its first step, by its shortcut: the best checkpoint may be that one.
    pub fn was_prepared(&self) -> bool {
        self.config.model.shortcut != Shortcut::None
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model<D> {
        &self.model
    }

    /// The task's word on where it stands.
    pub fn note(&self) -> String {
        self.task.note()
    }

    /// What the task's losses are in.
    pub fn unit(&self) -> &'static str {
        self.task.unit()
    }

    /// How the device's memory is used, where it has one of its own.
    pub fn device_memory(&self) -> Option<MemoryUse> {
        self.device.memory_use()
    }

    /// One step: batches, forward, backward, clip, AdamW. `seconds` is the run's time so far.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when the loss or the gradient is not finite, before any parameter changes; what the task
    /// and the device report.
    pub fn step(&mut self, seconds: f64) -> Result<StepReport> {
        self.state.seconds = seconds;
        let step = self.state.step;
        let learning_rate = self.config.train.schedule().at(step, self.config.train.done(step, seconds));
        self.draw()?;
        let scored: usize = self.space.parts.iter().map(Batch::scored).sum();
        let tokens: usize = self.space.parts.iter().map(Batch::tokens).sum();
        let (loss, correct) = self.backward(scored)?;
        self.finite("loss", loss)?;
        let gradient_norm = self.gradients.norm(self.device)?;
        self.finite("gradient norm", gradient_norm)?;
        self.optimiser.step(self.device, learning_rate, gradient_norm, &self.gradients, &mut self.model.params)?;
        let accuracy = correct.map(|c| c as f64 / scored as f64);
        self.task.feedback(loss, accuracy);
        self.state.step += 1;
        self.state.tokens += tokens as u64;
        Ok(StepReport { loss, accuracy, gradient_norm, learning_rate, tokens: tokens as u64 })
    }

    /// The task's validation of the model as it is.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when its loss is not finite; what the task and the device report.
    pub fn validate(&self, thorough: bool) -> Result<Validation> {
        self.validate_until(thorough, &Interrupt::new())
    }

    /// The same; a request to stop ends one that takes long.
    ///
    /// # Errors
    /// [`Error::Stopped`] then; as [`Trainer::validate`].
    pub fn validate_until(&self, thorough: bool, interrupt: &Interrupt) -> Result<Validation> {
        interrupt.check()?;
        let validation = self.task.validate_until(self.device, &self.model, thorough, interrupt)?;
        self.finite("validation loss", validation.loss)?;
        Ok(validation)
    }

    /// Keeps `loss` and the step if it is the lowest validation loss so far, and says whether it is.
    pub fn improves(&mut self, loss: f64) -> bool {
        let better = self.state.best.is_none_or(|best| loss < best);
        if better {
            (self.state.best, self.state.best_step) = (Some(loss), Some(self.state.step));
        }
        better
    }

    /// Writes a checkpoint of the run as it is, after `seconds` seconds.
    ///
    /// # Errors
    /// As [`checkpoint::save`].
    pub fn save(&mut self, path: &Path, seconds: f64) -> Result<()> {
        self.state.seconds = seconds;
        self.state.task = self.task.state();
        checkpoint::save(path, self.device, &self.config, &self.state, &self.model, &self.optimiser)
    }

    /// Draws the parts of the step's batch.
    fn draw(&mut self) -> Result<()> {
        for (number, part) in (0..).zip(&mut self.space.parts) {
            self.task.batch(self.state.step, number, part)?;
            part.validate()?;
        }
        Ok(())
    }

    /// Gradients of the mean loss over all parts; the loss, and how many tokens were predicted.
    fn backward(&mut self, scored: usize) -> Result<(f64, Option<u64>)> {
        let (device, accuracy) = (self.device, self.task.wants_accuracy());
        let classes = self.config.model.said();
        let mut total = device.zeros(1)?;
        let mut correct = 0;
        self.gradients.clear(device)?;
        let StepSpace { tape: space, recompute, parts, given: place, logits } = &mut self.space;
        let boundaries = self.config.train.boundaries;
        let (share, seed, step) = (self.config.train.dropout, self.config.train.seed, self.state.step);
        for (number, part) in (0..).zip(parts.iter()) {
            let [read, wanted] = IdsOrNumbers::both(device, place, part)?;
            let dropout = Dropout::new(share, seed, step, number)?;
            // Forgotten is how they came about: no gradient goes there.
            let start = before(device, &self.model, space, part)?;
            let input = Input { dropout, start: &start, ..Input::of(read.source(), part.batch, part.time) };
            let (targets, unit) = (wanted.targets(), wanted.unit());
            let scale = unit / scored as f64;
            let mut see = |x: &Var<D>, losses: &Losses<D>| {
                if unit == 1.0 {
                    device.sum(losses.buffer(), &mut total)?;
                } else {
                    let mut sum = device.zeros(1)?;
                    device.sum(losses.buffer(), &mut sum)?;
                    device.add_scaled(unit, &sum, &mut total)?;
                }
                if accuracy {
                    logits.resize(device.len(x.buffer()), D::Elem::ZERO);
                    device.read(x.buffer(), logits)?;
                    correct += predicted(logits, classes, &part.targets);
                }
                Ok(())
            };
            let (model, gradients) = (&self.model, &mut self.gradients);
            if self.config.train.recompute {
                let aim = Aim { targets, scale, boundaries };
                model.backward_recomputed(device, recompute, &input, aim, gradients, see)?;
                continue;
            }
            let mut tape = Tape::recording_in(device, &model.params, space);
            tape.keep_boundaries(boundaries);
            let forward = model.forward(&mut tape, input)?;
            let losses = model.loss(&mut tape, &forward.logits, targets)?;
            see(&forward.logits, &losses)?;
            drop(forward);
            tape.backward(&losses, scale, gradients)?;
        }
        let mut sum = [D::Elem::ZERO];
        device.read(&total, &mut sum)?;
        Ok((sum[0].to_f64() / scored as f64, accuracy.then_some(correct)))
    }

    fn finite(&self, what: &'static str, x: f64) -> Result<()> {
        if x.is_finite() {
            return Ok(());
        }
        Err(Error::NotFinite { what, step: self.state.step, kept: "nothing was saved".into() })
    }
}

/// The memories after the tokens before a part's sequences; none where they begin at w0.
fn before<D: Device>(device: &D, model: &Model<D>, space: &mut Workspace<D>, part: &Batch) -> Result<Vec<Shared<D>>> {
    if part.before.is_empty() {
        return Ok(Vec::new());
    }
    let ids = Arc::new(device.upload_indices(&part.before)?);
    let mut tape = Tape::inference_in(device, &model.params, space);
    let input = Input { states: true, ..Input::new(&ids, part.batch, part.time) };
    Ok(model.forward(&mut tape, input)?.states)
}

/// How many of the targets are the largest of their row of logits.
pub fn predicted<T: PartialOrd + Copy>(logits: &[T], classes: usize, targets: &[u32]) -> u64 {
    right(logits, classes, targets).filter(|&right| right).count() as u64
}

/// Whether each target is the largest of its row of logits; the first one wins a tie, and [`IGNORE`](crate::device::IGNORE) is never right.
pub fn right<'a, T: PartialOrd + Copy>(
    logits: &'a [T],
    classes: usize,
    targets: &'a [u32],
) -> impl Iterator<Item = bool> + 'a {
    logits.chunks_exact(classes.max(1)).zip(targets).map(|(row, &target)| {
        let Some(&score) = row.get(target as usize) else { return false };
        let (before, after) = row.split_at(target as usize);
        before.iter().all(|&x| x < score) && after.iter().all(|&x| x <= score)
    })
}

#[cfg(test)]
mod tests {
    use super::predicted;
    use crate::device::IGNORE;

    #[test]
    fn the_largest_logit_is_the_prediction() {
        let logits = [1.0, 3.0, 2.0, /**/ 5.0, 5.0, 1.0, /**/ 0.0, 0.0, 1.0, /**/ f64::NAN, 0.0, 1.0];
        assert_eq!(predicted(&logits, 3, &[1, 0, 2, 2]), 3, "a row with NaN predicts nothing");
        assert_eq!(predicted(&logits, 3, &[0, 1, 1, 0]), 0, "the first one wins a tie");
        assert_eq!(predicted(&logits, 3, &[IGNORE, IGNORE, 2, IGNORE]), 1);
        assert_eq!(predicted(&logits, 3, &[7, 7, 7, 7]), 0);
    }
}
