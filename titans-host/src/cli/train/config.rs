//! From arguments to the configuration of a run.

use super::model::ModelArgs;
use crate::cli::options::size;
use crate::device::Boundaries;
use crate::error::{Error, Result};
use crate::task::recall::RecallConfig;
use crate::task::text::TextConfig;
use crate::task::{TaskConfig, recall, text};
use crate::train::RunConfig;
use clap::ValueEnum;
use std::path::PathBuf;

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TaskName {
    /// 16 key-value pairs hidden in noise, then every key again: what the memory is for, in its smallest form
    Recall,
    /// Text, byte by byte, from --data
    Text,
}

/// Which chunk boundaries wait for the backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BoundariesName {
    /// Every one
    All,
    /// Every so many-th, so that memory grows with the root of the chunks
    Sqrt,
}

impl From<BoundariesName> for Boundaries {
    fn from(name: BoundariesName) -> Self {
        match name {
            BoundariesName::All => Self::All,
            BoundariesName::Sqrt => Self::Sqrt,
        }
    }
}

/// What a new run is. Whatever is not given comes from `--config`, or else from the task's recipe.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// What is learned [default: recall]
    #[arg(long, value_enum)]
    task: Option<TaskName>,

    /// Files of text, one after the other, the last tenth for validation; .gz is read as it is
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// A run's config.toml to start from; the other options change it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Seed of the first weights and of every batch
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    #[command(flatten)]
    model: ModelArgs,

    /// Highest learning rate
    #[arg(long, value_name = "X", help_heading = "Training", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// Sequences of a batch (text), or tokens of one (recall)
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = size)]
    batch: Option<usize>,
    /// Tokens of a training sequence; the longest of the curriculum (recall)
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = size)]
    context: Option<usize>,
    /// Batches whose gradients are added up to one step
    #[arg(long, value_name = "N", help_heading = "Training")]
    accumulate: Option<u64>,
    /// Chunk boundaries of the memories that wait for the backward; sqrt takes less memory and more time
    #[arg(long, value_enum, help_heading = "Training")]
    boundaries: Option<BoundariesName>,
    /// Keep only the blocks' inputs and compute the blocks again in the backward: less memory, more time
    #[arg(long, help_heading = "Training")]
    recompute: bool,
}

impl ConfigArgs {
    /// The first option that says something about a new run, by name: none of them fits to `--resume`.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--task", self.task.is_some()),
            ("--data", !self.data.is_empty()),
            ("--config", self.config.is_some()),
            ("--seed", self.seed.is_some()),
            ("--learning-rate", self.learning_rate.is_some()),
            ("--batch", self.batch.is_some()),
            ("--context", self.context.is_some()),
            ("--accumulate", self.accumulate.is_some()),
            ("--boundaries", self.boundaries.is_some()),
            ("--recompute", self.recompute),
        ];
        let own = options.into_iter().find(|(_, given)| *given).map(|(name, _)| name);
        own.or_else(|| self.model.given())
    }

    /// The configuration of a new run.
    ///
    /// # Errors
    /// Options that contradict each other or the configuration file.
    pub fn run_config(&self) -> Result<RunConfig> {
        let mut run = self.base()?;
        let mut task = TaskConfig::of(&run)?;
        self.change_task(&mut task)?;
        run = task.run(run.model, run.train)?;
        self.model.change(&mut run.model);
        let train = &mut run.train;
        set(&mut train.seed, self.seed);
        set(&mut train.learning_rate, self.learning_rate);
        set(&mut train.accumulate, self.accumulate);
        set(&mut train.boundaries, self.boundaries.map(Into::into));
        train.recompute |= self.recompute;
        run.validate()?;
        Ok(run)
    }

    fn base(&self) -> Result<RunConfig> {
        match (&self.config, self.task.unwrap_or(TaskName::Recall)) {
            (Some(path), _) => RunConfig::read(path),
            (None, TaskName::Recall) => recall::default_run(self.model.layers.unwrap_or(1)),
            (None, TaskName::Text) => {
                let mut run = text::default_run(Vec::new())?;
                if self.model.layers.is_some_and(|layers| layers > 1) {
                    run.model.theta_max = 0.1; // deep memories diverge at the rate of linear ones
                }
                Ok(run)
            }
        }
    }

    fn change_task(&self, task: &mut TaskConfig) -> Result<()> {
        match task {
            TaskConfig::Recall(RecallConfig { length, tokens, .. }) => {
                if self.task == Some(TaskName::Text) {
                    return Err(Error::usage(
                        "--task text: the configuration file is of the recall task; leave one out",
                    ));
                }
                if !self.data.is_empty() {
                    return Err(Error::usage("--data is for --task text; the recall task makes its own data"));
                }
                set(length, self.context);
                set(tokens, self.batch);
            }
            TaskConfig::Text(TextConfig { data, context, sequences, .. }) => {
                if self.task == Some(TaskName::Recall) {
                    return Err(Error::usage(
                        "--task recall: the configuration file is of the text task; leave one out",
                    ));
                }
                if !self.data.is_empty() {
                    // Absolute, so that the run resumes from anywhere.
                    *data = self.data.iter().map(|p| std::path::absolute(p).unwrap_or(p.clone())).collect();
                }
                if data.is_empty() {
                    return Err(Error::usage("--task text needs --data FILE…: text to learn from"));
                }
                set(context, self.context);
                set(sequences, self.batch);
            }
        }
        Ok(())
    }
}

pub(super) fn set<T: Copy>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
