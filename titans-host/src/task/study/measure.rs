//! What one run of a study found, and the file that keeps it.

use super::file::{StudyFile, no_study_of};
use super::rate::Rate;
use crate::data::tokenizer::Tokenizer;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Mode, Model};
use crate::task::babilong::BabilongTask;
use crate::task::evaluate::evaluate;
use crate::task::needle::NeedleTask;
use crate::task::recall::Recall;
use crate::task::text::Text;
use crate::task::track::Track;
use crate::task::{TaskConfig, Validation};
use crate::train::{Interrupt, RunConfig, atomic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A run of one configuration and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmResult {
    /// The configuration.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// Parameters of the model.
    pub parameters: usize,
    /// Width of the feed-forward that makes them as many as the others have.
    pub feed_forward: usize,
    /// Steps of training.
    pub steps: u64,
    /// Tokens of training.
    pub tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The thorough validation at the end; none where nothing is learned.
    pub validation: Option<Validation>,
    /// By length of the sequence.
    pub lengths: BTreeMap<usize, LengthScore>,
    /// Tokens a second of a training step, by length.
    pub throughput: BTreeMap<usize, Rate>,
    /// The run that it was: another one is measured anew.
    pub run: RunConfig,
}

/// How a model does at one length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthScore {
    /// Mean nats a token (text).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The same as bits a byte, which compares between vocabularies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_byte: Option<f64>,
    /// Share that is right: recalled values, products, whole answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// Measures a model at every length of the study: text by windows of the first validation tokens, recall and track by
/// new sequences, needles at every depth of their configuration, babilong by validation questions. None where
/// `interrupt` was raised.
///
/// # Errors
/// What reading the data and the device report; [`Error::Diverged`] where a number is not finite.
pub fn by_length<D: Device>(
    device: &D,
    file: &StudyFile,
    run: &RunConfig,
    model: &Model<D>,
    interrupt: &Interrupt,
) -> Result<Option<BTreeMap<usize, LengthScore>>> {
    let (seed, mut found) = (run.train.seed, BTreeMap::new());
    let accuracy = |share: f64| LengthScore { loss: None, bits_per_byte: None, accuracy: Some(share) };
    let mut measure: Box<dyn FnMut(usize) -> Result<LengthScore> + '_> = match TaskConfig::of(run)? {
        TaskConfig::Text(c) => {
            let text = Text::read(c, seed)?;
            let tokenizer: Tokenizer = text.tokenizer().clone();
            let ids = text.validation_ids();
            let ids = ids[..ids.len().min(file.tokens.saturating_add(1))].to_vec();
            Box::new(move |length| {
                let totals = evaluate(device, model, &tokenizer, &ids, length, Mode::On, None)?;
                let (loss, bits) = (Some(totals.nats_per_token), Some(totals.bits_per_byte));
                Ok(LengthScore { loss, bits_per_byte: bits, accuracy: None })
            })
        }
        TaskConfig::Recall(c) => {
            let task = Recall::new(c, seed)?;
            Box::new(move |length| Ok(accuracy(task.row(device, model, length)?.on)))
        }
        TaskConfig::Track(c) => {
            let task = Track::new(c, seed)?;
            Box::new(move |length| Ok(accuracy(task.row(device, model, &task.words(length))?.products)))
        }
        TaskConfig::Needle(c) => {
            let task = NeedleTask::read(c, seed)?;
            Box::new(move |length| Ok(accuracy(task.share(device, model, length)?)))
        }
        TaskConfig::Babilong(c) => {
            let task = BabilongTask::read(c, seed)?;
            Box::new(move |length| Ok(accuracy(task.share(device, model, length)?)))
        }
        // By validation alone.
        TaskConfig::Forecast(_) | TaskConfig::Classify(_) if file.lengths.is_empty() => return Ok(Some(found)),
        // A task that no study is of needs nothing here.
        other => return Err(no_study_of(&other)),
    };
    for &length in &file.lengths {
        if interrupt.requested() {
            return Ok(None);
        }
        found.insert(length, measure(length)?);
    }
    Ok(Some(found))
}

/// Keeps a result, atomically.
///
/// # Errors
/// [`Error::Io`] when it cannot be written.
pub fn save(path: &Path, result: &ArmResult) -> Result<()> {
    let json = serde_json::to_string_pretty(result).map_err(|e| Error::file(path, e.to_string()))?;
    atomic::write(path, "writing the result", |out| writeln!(out, "{json}"))
}

/// The result that is kept there; nothing where there is none.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::File`] when it is no result, or one of another run than `run`.
pub fn load(path: &Path, run: &RunConfig) -> Result<Option<ArmResult>> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| Error::io(path, "reading the result", e))?,
    };
    let found: ArmResult = serde_json::from_str(&text).map_err(|e| {
        Error::file(path, format!("expected a result of this study: {e}; remove it to measure it anew"))
    })?;
    if found.run == *run {
        return Ok(Some(found));
    }
    Err(Error::file(
        path,
        "the result is of another configuration than the study's file says now; put that back, remove the folder, or name another one for \
         the study",
    ))
}
