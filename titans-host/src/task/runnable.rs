//! What can be run as a stream, from wherever it lies: a run folder, a checkpoint, or an exported blob.

use super::TaskConfig;
use super::text;
use crate::data::tokenizer::Tokenizer;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Weights;
use crate::train::RunConfig;
use crate::train::checkpoint::{self, RunState};
use crate::train::which::{Found, Which, find};
use std::path::Path;
use titans_kernel::header;

/// Weights, and the task if they come from a run.
#[derive(Debug)]
pub struct Runnable {
    /// The model.
    pub weights: Weights<f32>,
    /// What it was trained on, and how far; not known of a blob.
    pub run: Option<(RunConfig, RunState)>,
    /// Which checkpoint it is; a blob is none.
    pub found: Option<Found>,
}

impl Runnable {
    /// From a run folder (the checkpoint that is `asked` for, else its best one), a checkpoint or a blob.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] and [`Error::Usage`] when it is none, or a file and `asked` names one of a
    /// folder's; what the device reports.
    pub fn open<D: Device<Elem = f32>>(device: &D, path: &Path, asked: Option<&Which>) -> Result<Self> {
        if asked.is_some() || path.is_dir() || path.extension().is_some_and(|e| e == "safetensors") {
            let found = find(path, asked)?;
            let (config, state, model) = checkpoint::load_model(device, &found.path)?;
            return Ok(Self { weights: Weights::of(device, &model)?, run: Some((config, state)), found: Some(found) });
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "reading the model", e))?;
        if !bytes.starts_with(header::MODEL) {
            let reason =
                "is neither a run folder nor a checkpoint (.safetensors) nor a blob that `titans export` writes";
            return Err(Error::file(path, reason));
        }
        let weights = Weights::from_bytes(&bytes)
            .map_err(|e| Error::file(path, format!("{e}; `titans export` makes such files")))?;
        Ok(Self { weights, run: None, found: None })
    }

    /// The vocabulary of its text: `named`, else that of its run, else bytes.
    ///
    /// # Errors
    /// As [`text::tokenizer`] and [`Tokenizer::open`].
    pub fn tokenizer(&self, named: Option<&Path>) -> Result<Tokenizer> {
        let task = self.run.as_ref().map(|(config, _)| TaskConfig::of(config)).transpose()?;
        match (task, &self.run) {
            (Some(TaskConfig::Text(mut task)), Some((_, state))) => {
                if let Some(path) = named {
                    task.tokenizer = Some(path.into());
                }
                text::tokenizer(&task, &state.task)
            }
            _ => Tokenizer::open(named),
        }
    }
}
