//! What training needs of a task: batches, an ear, and a way to measure.

use super::interrupt::Interrupt;
use crate::device::Device;
use crate::model::{Model, ModelConfig};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use titans_kernel::choice;

choice! {
    /// What losses are in.
    pub enum LossUnit: "unit of losses" {
        /// Negative natural logarithms of probabilities.
        Nats = 0, "nats";
        /// Squares of errors, in standard deviations of the training part.
        Squares = 1, "squared deviations";
    }
}

/// Sequences of one length.
///
/// ```
/// use titans_host::device::IGNORE;
/// use titans_host::train::Batch;
///
/// let (ids, targets) = (vec![1, 2, 3, 4, 5, 6], vec![2, 3, IGNORE, 5, 6, IGNORE]);
/// let batch = Batch { ids, targets, batch: 2, time: 3, ..Batch::default() };
/// batch.validate()?;
/// assert_eq!((batch.tokens(), batch.scored()), (6, 4)); // nothing is known behind a sequence's last token
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Token ids `[batch, time]`; empty where the model reads rows of numbers.
    pub ids: Vec<u32>,
    /// Rows of numbers `[batch, time, inputs]`; empty where it reads ids.
    pub rows: Vec<f64>,
    /// Ids of the tokens that come before these sequences, as many for each, `[batch, time]`: what the memories know of
    /// them is what the sequences begin with. Empty where memories begin at w0.
    pub before: Vec<u32>,
    /// For each token what should be predicted after it, [`crate::device::IGNORE`] for nothing, `[batch, time]`; empty
    /// where numbers are predicted.
    pub targets: Vec<u32>,
    /// Predicted numbers `[batch, time, outputs]`; empty where ids are predicted.
    pub wanted: Vec<f64>,
    /// By what the error of each predicted number is multiplied before it is squared, finite and 0 or above, `[batch,
    /// time, outputs]`; empty where all count alike.
    pub weights: Vec<f64>,
    /// Of each sequence, how many of its first tokens are its own: the mean of what is said after them is scored,
    /// against one target a sequence; empty where every token has its own target.
    pub lengths: Vec<u32>,
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub time: usize,
}

impl Batch {
    /// Forgets all tokens, for `batch` sequences of `time` tokens that will come.
    pub fn restart(&mut self, batch: usize, time: usize) {
        (self.batch, self.time) = (batch, time);
        self.ids.clear();
        self.before.clear();
        self.rows.clear();
        self.targets.clear();
        self.wanted.clear();
        self.weights.clear();
        self.lengths.clear();
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.batch.saturating_mul(self.time)
    }

    /// Tokens whose prediction is scored.
    pub fn scored(&self) -> usize {
        if !self.wanted.is_empty() {
            return self.tokens();
        }
        self.targets.iter().filter(|&&t| t != crate::device::IGNORE).count()
    }

    fn validate_lengths(&self) -> Result<()> {
        let fits = |&n: &u32| (1..=self.time).contains(&(n as usize));
        let numbers = !self.wanted.is_empty();
        if self.lengths.is_empty() || self.lengths.len() == self.batch && self.lengths.iter().all(fits) && !numbers {
            return Ok(());
        }
        let (batch, time, found) = (self.batch, self.time, self.lengths.len());
        Err(Error::usage(format!(
            "batch: expected lengths of 1 to {time} for {batch} sequences with a class each, or none, found {found}"
        )))
    }

    /// Checks the shapes and that something is scored.
    ///
    /// # Errors
    /// [`Error::Usage`] saying what the task got wrong.
    pub fn validate(&self) -> Result<()> {
        self.validate_lengths()?;
        let tokens = self.tokens();
        let said = if self.lengths.is_empty() { tokens } else { self.batch };
        // Either ids or whole rows of numbers, on both sides.
        let fits = |ids: usize, numbers: usize, expected: usize| match ids {
            0 => numbers > 0 && numbers.is_multiple_of(tokens),
            ids => ids == expected && numbers == 0,
        };
        let (read, wanted) =
            (fits(self.ids.len(), self.rows.len(), tokens), fits(self.targets.len(), self.wanted.len(), said));
        if tokens == 0 || !read || !wanted {
            return Err(Error::usage(format!(
                "batch of {} times {} tokens: found {} ids or {} numbers, and {} targets or {} numbers",
                self.batch,
                self.time,
                self.ids.len(),
                self.rows.len(),
                self.targets.len(),
                self.wanted.len()
            )));
        }
        if !self.before.is_empty() && self.before.len() != self.ids.len() {
            return Err(Error::usage(format!(
                "batch: expected {} ids before the sequences or none at all, found {}",
                self.ids.len(),
                self.before.len()
            )));
        }
        let allowed = |w: &f64| w.is_finite() && *w >= 0.0;
        if !self.weights.is_empty() && (self.weights.len() != self.wanted.len() || !self.weights.iter().all(allowed)) {
            return Err(Error::usage(format!(
                "batch: expected a finite weight, 0 or above, for each of {} predicted numbers or none at all, found {}",
                self.wanted.len(),
                self.weights.len()
            )));
        }
        if self.scored() == 0 {
            return Err(Error::usage("batch: at least one token must be scored, found none"));
        }
        Ok(())
    }
}

/// What a validation found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Mean loss of a scored token, in nats or in the task's [unit](Task::unit).
    pub loss: f64,
    /// Share of scored tokens that were predicted, where the task counts them.
    pub accuracy: Option<f64>,
    /// Scored tokens.
    pub tokens: u64,
}

/// What a validation runs at once, for planning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Sequences of the batch on the device; 0 where the host reads a stream instead.
    pub batch: usize,
    /// Tokens of each.
    pub time: usize,
    /// Whether every token's surprise is asked for.
    pub surprise: bool,
    /// Bytes of vectors on the host beside it.
    pub host: usize,
}

/// Something to learn. Batches are a function of the step and of the state that `feedback` changed, nothing else.
///
/// ```
/// use titans_host::Result;
/// use titans_host::device::Device;
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Model, ModelConfig};
/// use titans_host::train::{Batch, Interrupt, RunConfig, Task, TrainConfig, Trainer, Validation};
///
/// /// After every token the same one comes again.
/// struct Same;
///
/// impl<D: Device> Task<D> for Same {
///     fn batch(&self, step: u64, _part: u64, batch: &mut Batch) -> Result<()> {
///         batch.restart(1, 16); // one sequence of 16 tokens
///         batch.ids.resize(16, step as u32 % 256);
///         batch.targets.resize(16, step as u32 % 256);
///         Ok(())
///     }
///
///     fn validate_until(&self, _: &D, _: &Model<D>, _: bool, _: &Interrupt) -> Result<Validation> {
///         Ok(Validation::default()) // nothing is held back
///     }
/// }
///
/// let model = ModelConfig { width: 16, blocks: 1, heads: 1, head_width: 16, feed_forward: 32, ..Default::default() };
/// let config = RunConfig { task: serde_json::Value::Null, model, train: TrainConfig::default() };
/// let (cpu, mut task) = (Cpu::<f32>::new(Some(1))?, Same);
/// let report = Trainer::new(&cpu, config, &mut task)?.step(0.0)?;
/// assert_eq!(report.tokens, 16);
/// # Ok::<(), titans_host::Error>(())
/// ```
pub trait Task<D: Device> {
    /// Puts part `part` (0 to accumulate − 1) of the batch of step `step` into `batch`, whatever that held. The
    /// sequences of all parts are numbered through, so that one part of twice the size is the same as two parts.
    ///
    /// # Errors
    /// [`Error::Usage`] when the configuration allows no batch.
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()>;

    /// Puts numbers that need no training into a new model, e.g. the solution of a linear problem.
    ///
    /// # Errors
    /// What the device reports.
    fn prepare(&self, device: &D, model: &mut Model<D>) -> Result<()> {
        let _ = (device, model);
        Ok(())
    }

    /// Whether `feedback` needs the accuracy (it costs a copy of the logits to the host).
    fn wants_accuracy(&self) -> bool {
        false
    }

    /// Hears how the step went, before the next one is drawn. Of a task that wants no accuracy it may hear later, of
    /// every step in their order: batches, and what it says of itself, must not depend on it.
    fn feedback(&mut self, loss: f64, accuracy: Option<f64>) {
        let _ = (loss, accuracy);
    }

    /// What `feedback` has changed so far, for a checkpoint.
    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Continues from what [`Task::state`] gave.
    ///
    /// # Errors
    /// [`Error::Usage`] when it is not such a state; nothing changes then.
    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let _ = state;
        Ok(())
    }

    /// What its losses are in.
    fn unit(&self) -> LossUnit {
        LossUnit::Nats
    }

    /// Steps of `accumulate` parts that read as much as there is to train on; none where there is always something new.
    fn steps_a_pass(&self, accumulate: u64) -> Option<f64> {
        let _ = accumulate;
        None
    }

    /// Bytes of the data that it holds on the host.
    fn held(&self) -> usize {
        0
    }

    /// The largest batches or streams by which a model of that configuration is measured, in validations and at the
    /// run's end.
    ///
    /// # Errors
    /// [`Error::Usage`] and [`Error::Kernel`] for a configuration that cannot be.
    fn peak_loads(&self, model: &ModelConfig) -> Result<Vec<Load>> {
        let _ = model;
        Ok(Vec::new())
    }

    /// What is worth a word about the files that were read, a sentence each that names its file.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// A word on where the task stands, for people; may be empty.
    fn status(&self) -> String {
        String::new()
    }

    /// Measures the model on data that it does not train on: a cheap part of them, or all when `thorough`. Where it
    /// takes long, a request to stop ends it.
    ///
    /// # Errors
    /// [`Error::Stopped`] then; what the device reports.
    fn validate_until(&self, device: &D, model: &Model<D>, thorough: bool, interrupt: &Interrupt)
    -> Result<Validation>;

    /// The same, to its end.
    ///
    /// # Errors
    /// What the device reports.
    fn validate(&self, device: &D, model: &Model<D>, thorough: bool) -> Result<Validation> {
        self.validate_until(device, model, thorough, &Interrupt::new())
    }
}
