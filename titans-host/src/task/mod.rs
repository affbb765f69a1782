//! What is learned and measured: recall, and text as bytes.

pub mod curriculum;
pub mod evaluate;
pub mod generate;
pub mod recall;
pub mod table;
pub mod text;

pub use crate::train::task::{Batch, Task, Validation};

use crate::device::Device;
use crate::model::ModelConfig;
use crate::train::{RunConfig, TrainConfig};
use crate::{Error, Result};
use recall::{Recall, RecallConfig};
use serde::{Deserialize, Serialize};
use text::{Text, TextConfig};

/// The task's part of a [`RunConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum TaskConfig {
    /// Key–value pairs in noise.
    Recall(RecallConfig),
    /// Text, byte by byte.
    Text(TextConfig),
}

impl TaskConfig {
    /// The task's part of `config`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used.
    pub fn of(config: &RunConfig) -> Result<Self> {
        serde_json::from_value(config.task.clone()).map_err(|e| Error::usage(format!("task: {e}")))
    }

    /// A whole run of this task.
    ///
    /// # Errors
    /// [`Error::Usage`] when the task's configuration cannot be written down, e.g. a path that is not Unicode.
    pub fn run(&self, model: ModelConfig, train: TrainConfig) -> Result<RunConfig> {
        let task = serde_json::to_value(self).map_err(|e| Error::usage(format!("task: {e}")))?;
        Ok(RunConfig { task, model, train })
    }
}

/// The task of a run, ready to train: text is read from its files.
///
/// # Errors
/// [`Error::Usage`] for a configuration that cannot be used; what reading the data reports.
pub fn open<D: Device>(config: &RunConfig) -> Result<Box<dyn Task<D>>> {
    let (vocabulary, needed, task): (usize, usize, Box<dyn Task<D>>) = match TaskConfig::of(config)? {
        TaskConfig::Recall(c) => {
            (config.model.vocabulary, c.alphabet.vocabulary(), Box::new(Recall::new(c, config.train.seed)?))
        }
        TaskConfig::Text(c) => (config.model.vocabulary, 256, Box::new(Text::read(c, config.train.seed)?)),
    };
    if vocabulary != needed {
        return Err(Error::usage(format!("model.vocabulary: this task has {needed} symbols, found {vocabulary}")));
    }
    Ok(task)
}
