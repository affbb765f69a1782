//! `metrics.jsonl`: one JSON object a line, one line a logged step.

use super::atomic;
use super::task::Validation;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps done, this one included.
    pub step: u64,
    /// Seconds of training so far, of interrupted parts of the run too.
    pub seconds: f64,
    /// Tokens read so far.
    pub tokens: u64,
    /// Mean training loss in nats a scored token, of this step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<f64>,
    /// Share of this step's scored tokens that were predicted, where the task asks for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
    /// The step's learning rate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub learning_rate: Option<f64>,
    /// Global norm of the gradients before the clip.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gradient_norm: Option<f64>,
    /// Mean validation loss in nats a scored token, of the validation that the run's best checkpoint is chosen by.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_loss: Option<f64>,
    /// The loss of the thorough validation at the end of a run whose others are cheap ones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub thorough_validation_loss: Option<f64>,
    /// The same validation, whole: what the run ends with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub thorough_validation: Option<Validation>,
    /// The task's table at the end of the run, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub table: Option<serde_json::Value>,
    /// Share of validation tokens that were predicted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_accuracy: Option<f64>,
    /// What the task says of itself, e.g. how far a curriculum is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task: Option<String>,
}

/// The open file and everything it holds.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    records: Vec<Record>,
}

impl Metrics {
    /// Opens `path` for a run that stands at `step`: lines of later steps (of a part of the run that was never saved)
    /// and a last line cut by a crash are dropped. At step 0 the file starts empty.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read or written.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let records = if step == 0 { Vec::new() } else { read(path, step)? };
        atomic::write(path, "writing the metrics", |out| {
            records.iter().try_for_each(|record| writeln!(out, "{}", line(record)?))
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::io(path, "opening the metrics", e))?;
        Ok(Self { path: path.to_path_buf(), file, records })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn push(&mut self, record: Record) -> Result<()> {
        line(&record)
            .and_then(|line| writeln!(self.file, "{line}"))
            .map_err(|e| Error::io(&self.path, "writing the metrics", e))?;
        self.records.push(record);
        Ok(())
    }

    /// All lines so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

fn line(record: &Record) -> std::io::Result<String> {
    serde_json::to_string(record).map_err(std::io::Error::other)
}

/// All lines up to those of that step; none where there is no file.
///
/// # Errors
/// [`Error::Io`] when it cannot be read.
pub fn read(path: &Path, step: u64) -> Result<Vec<Record>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Error::io(path, "reading the metrics", e)),
    };
    let lines = bytes.split(|&b| b == b'\n');
    Ok(lines.filter_map(|l| serde_json::from_slice::<Record>(l).ok()).filter(|r| r.step <= step).collect())
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Record};

    fn record(step: u64) -> Record {
        Record { step, loss: Some(1.0 / (step + 1) as f64), ..Record::default() }
    }

    #[test]
    fn a_resumed_run_drops_what_was_never_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::open(&path, 0).unwrap();
        for step in 1..=5 {
            metrics.push(record(step)).unwrap();
        }
        drop(metrics);
        let mut text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 5);
        text.push_str("{\"step\":2,\"sec"); // a line cut by a crash
        std::fs::write(&path, text).unwrap();
        let mut metrics = Metrics::open(&path, 3).unwrap();
        metrics.push(record(4)).unwrap();
        let steps: Vec<u64> = metrics.records().iter().map(|r| r.step).collect();
        assert_eq!(steps, [1, 2, 3, 4]);
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Record> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(read, metrics.records(), "numbers come back as they were");
        assert_eq!(Metrics::open(&path, 0).unwrap().records(), []);
    }
}
