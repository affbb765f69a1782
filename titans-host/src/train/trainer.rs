//! One training step, on any device and for any task.

use super::checkpoint::{self, Checkpoint, RunState};
use super::config::RunConfig;
use super::interrupt::Interrupt;
use super::optimiser::Optimiser;
use super::parts::{Drawn, StepParts, Stepping};
use super::ranks::{Alone, Collective, share};
use super::repeat::{MOST_UNREAD, RepeatedSteps, RepeatedWork};
use super::task::{LossUnit, Task, Validation};
use crate::device::{Device, MemoryUse};
use crate::model::{Model, Shortcut};
use crate::tape::Gradients;
use crate::{Error, Result};
use std::path::Path;

/// A run in progress.
///
/// ```
/// use titans_host::device::cpu::Cpu;
/// use titans_host::task::recall::{Recall, RecallConfig, default_run};
/// use titans_host::train::Trainer;
///
/// let device = Cpu::<f32>::new(Some(1))?;
/// let config = default_run(1, &[])?; // what `titans train` does
/// let mut task = Recall::new(RecallConfig::default(), config.train.seed)?;
/// let mut trainer = Trainer::new(&device, config, &mut task)?;
/// let first = trainer.step(0.0)?;
/// assert!(first.loss.is_finite() && first.tokens > 0);
/// # Ok::<(), titans_host::Error>(())
/// ```
pub struct Trainer<'a, D: Device> {
    device: &'a D,
    task: &'a mut dyn Task<D>,
    config: RunConfig,
    state: RunState,
    model: Model<D>,
    optimiser: Optimiser<D>,
    gradients: Gradients<D>,
    parts: StepParts<D>,
    repeated: RepeatedSteps<D>,
    /// Steps whose losses are on the device yet, and reports that nobody asked for yet, of steps before these.
    unread: Vec<Unread>,
    reports: Vec<StepReport>,
    /// The processes that train this model.
    ranks: &'a dyn Collective,
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

/// A step that was begun, and what is known of it; the run's steps, seconds and tokens before it.
#[derive(Clone, Copy, Debug)]
struct Unread {
    step: u64,
    seconds: f64,
    before: u64,
    scored: u64,
    report: StepReport,
}

impl<'a, D: Device> Trainer<'a, D> {
    /// A run at its beginning: the model's parameters are drawn from the configuration's seed.
    ///
    /// # Errors
    /// [`Error::Usage`] for a configuration that cannot be used; what the device reports.
    pub fn new(device: &'a D, config: RunConfig, task: &'a mut dyn Task<D>) -> Result<Self> {
        let start = Self::start(device, config, &*task)?;
        Self::resume(device, start, task)
    }

    /// What a run begins from.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn start(device: &D, config: RunConfig, task: &dyn Task<D>) -> Result<Checkpoint<D>> {
        config.validate()?;
        let mut start = Checkpoint::blank(device, config, RunState { task: task.state(), ..RunState::default() })?;
        task.prepare(device, &mut start.model)?;
        Ok(start)
    }

    /// A run that continues from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Usage`] when the task does not know the checkpoint's state; what the device reports.
    pub fn resume(device: &'a D, checkpoint: Checkpoint<D>, task: &'a mut dyn Task<D>) -> Result<Self> {
        Self::among(device, checkpoint, task, &Alone)
    }

    /// The run as one of several processes goes through it: all have the same configuration, and rank 0's checkpoint is
    /// everybody's from here on, whatever was in theirs. How many there are changes no bit of the run.
    ///
    /// # Errors
    /// As [`Trainer::resume`], and what the other processes report; [`Error::Usage`] where a step has fewer parts than
    /// there are processes.
    pub fn among(
        device: &'a D,
        checkpoint: Checkpoint<D>,
        task: &'a mut dyn Task<D>,
        ranks: &'a dyn Collective,
    ) -> Result<Self> {
        let Checkpoint { config, mut state, mut model, mut optimiser } = checkpoint;
        config.validate()?;
        optimiser.constants = config.train.optimiser();
        let gradients = Gradients::zeros_like(device, &model.params)?;
        let parts = StepParts::new(device, &config, &model, ranks)?;
        if ranks.size() > 1 {
            state = share::json(ranks, &state)?;
            optimiser.steps = state.step;
            share::buffers(device, ranks, model.params.values_mut().iter_mut())?;
            share::buffers(device, ranks, optimiser.moment1.iter_mut().chain(&mut optimiser.moment2))?;
        }
        task.restore(&state.task)?;
        let repeated = RepeatedSteps::new();
        let (unread, reports) = (Vec::new(), Vec::new());
        Ok(Self { device, task, config, state, model, optimiser, gradients, parts, repeated, unread, reports, ranks })
    }

    /// What the run is.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// How far the run is, with all steps that were begun. Its task's part is as of the last checkpoint;
    /// [`Trainer::task_state`] is as of now.
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
    pub fn status(&self) -> String {
        self.task.status()
    }

    /// What the task's losses are in.
    pub fn unit(&self) -> LossUnit {
        self.task.unit()
    }

    /// The processes that train this model.
    pub fn ranks(&self) -> &'a dyn Collective {
        self.ranks
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
        self.begin_step(seconds)?;
        self.read()?;
        self.reports.pop().ok_or_else(|| Error::usage("a step without a report: expected one that was begun"))
    }

    /// The same without its report, which [`Trainer::finish_steps`] gives. Where the device repeats steps
    /// ([`Device::repeats`]) its loss may stay there, and the next step may begin before it is known.
    ///
    /// # Errors
    /// As [`Trainer::step`], of this step or one that was begun before it.
    pub fn begin_step(&mut self, seconds: f64) -> Result<()> {
        self.state.seconds = seconds;
        let step = self.state.step;
        let learning_rate = self.config.train.schedule().at(step, self.config.train.done(step, seconds));
        let Drawn { scored, tokens } = self.parts.draw(&*self.task, step, self.ranks)?;
        let accuracy = self.task.wants_accuracy();
        let repeats = self.device.repeats() && !accuracy && self.parts.can_be_repeated(&self.config);
        if !repeats || self.unread.len() >= MOST_UNREAD {
            self.read()?;
        }
        let report = StepReport { loss: f64::NAN, accuracy: None, gradient_norm: f64::NAN, learning_rate, tokens };
        if repeats {
            self.repeated_step(learning_rate, scored)?;
            self.unread.push(Unread { step, seconds, before: self.state.tokens, scored, report });
        } else {
            let (loss, gradient_norm, accuracy) = self.usual_step(learning_rate, scored, accuracy)?;
            self.task.feedback(loss, accuracy);
            self.reports.push(StepReport { loss, accuracy, gradient_norm, ..report });
        }
        self.state.step += 1;
        self.state.tokens += tokens;
        Ok(())
    }

    /// How many steps were begun whose losses are on the device yet.
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    /// The reports of all steps that were begun, in their order, and how that ended: where a loss or gradient is not
    /// finite, that step and those behind it have changed no parameter, have no report and count as not begun.
    pub fn finish_steps(&mut self) -> (Vec<StepReport>, Result<()>) {
        let done = self.read();
        (std::mem::take(&mut self.reports), done)
    }

    /// Reads what steps left on the device.
    fn read(&mut self) -> Result<()> {
        let found = self.repeated.read(self.device)?;
        let unread = std::mem::take(&mut self.unread);
        for ((done, unread_step), [loss, gradient_norm]) in unread.iter().enumerate().zip(found) {
            let &Unread { step, seconds, before, scored, report } = unread_step;
            let loss = loss / scored as f64;
            if !loss.is_finite() || !gradient_norm.is_finite() {
                (self.state.step, self.state.seconds, self.state.tokens) = (step, seconds, before);
                self.optimiser.steps -= (unread.len() - done) as u64;
            }
            self.finite("loss", loss)?;
            self.finite("gradient norm", gradient_norm)?;
            self.task.feedback(loss, None);
            self.reports.push(StepReport { loss, gradient_norm, ..report });
        }
        Ok(())
    }

    /// Forward, backward and the update: loss, gradient norm, and accuracy where it is wanted.
    fn usual_step(&mut self, learning_rate: f64, scored: u64, accuracy: bool) -> Result<(f64, f64, Option<f64>)> {
        let (device, ranks, number) = (self.device, self.ranks, self.state.step);
        let work = Stepping { device, ranks, config: &self.config, model: &self.model, number, accuracy };
        let (loss, correct) = self.parts.backward(&work, scored, &mut self.gradients)?;
        let loss = loss / scored as f64;
        self.finite("loss", loss)?;
        let norm = self.gradients.norm(device)?;
        self.finite("gradient norm", norm)?;
        self.optimiser.step(device, learning_rate, norm, &self.gradients, &mut self.model.params)?;
        Ok((loss, norm, accuracy.then(|| correct as f64 / scored as f64)))
    }

    /// The same where the device repeats what it did before, and the loss stays there.
    fn repeated_step(&mut self, learning_rate: f64, scored: u64) -> Result<()> {
        let (device, ranks, config, number) = (self.device, self.ranks, &self.config, self.state.step);
        let work = RepeatedWork { device, ranks, config, number, learning_rate, scored };
        let Self { repeated, parts, gradients, optimiser, model, .. } = self;
        repeated.step(&work, parts, gradients, optimiser, model)
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
    /// [`Error::NotFinite`] of a step that was begun, then nothing is written; as [`checkpoint::save`].
    pub fn save(&mut self, path: &Path, seconds: f64) -> Result<()> {
        self.read()?;
        self.state.seconds = seconds;
        self.state.task = self.task.state();
        checkpoint::save(path, self.device, &self.config, &self.state, &self.model, &self.optimiser)
    }

    fn finite(&self, what: &'static str, x: f64) -> Result<()> {
        if x.is_finite() {
            return Ok(());
        }
        Err(Error::NotFinite { what, step: self.state.step, kept: "nothing was saved".into() })
    }
}

/// How many of the targets are the largest of their row of logits.
pub fn predicted<T: PartialOrd + Copy>(logits: &[T], classes: usize, targets: &[u32]) -> u64 {
    right(logits, classes, targets).filter(|&right| right).count() as u64
}

/// Whether each target is the largest of its row of logits; the first one wins a tie, and
/// [`IGNORE`](crate::device::IGNORE) is never right.
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
