//! Which bytes a run is of, and which part of them is for what.

use super::TextConfig;
use crate::data::text::{self, TextParts};
use crate::error::counted;
use crate::{Error, Result};
use flate2::Crc;
use serde::{Deserialize, Serialize};
use serde_json::Value;

impl TextConfig {
    /// Tokens that a sequence needs, and those before it.
    pub(super) fn extent(&self) -> usize {
        if self.carry > 0.0 { self.context.saturating_mul(2) } else { self.context }
    }

    /// Where the parts of so many bytes lie; without a split the test is empty.
    ///
    /// # Errors
    /// [`Error::Usage`] for shares that are none, too few bytes for a sequence and something to predict behind it, and
    /// as [`TextSplit::parts`](text::TextSplit::parts).
    pub fn parts(&self, bytes: &[u8]) -> Result<TextParts> {
        let least = self.extent().saturating_add(1);
        let Some(split) = self.split else {
            let train = text::split(bytes, self.validation, least)?.0.len();
            return Ok(TextParts { train: 0..train, valid: train..bytes.len(), test: bytes.len()..bytes.len() });
        };
        let parts = split.parts(bytes.len())?;
        let lengths = [parts.train.len(), parts.valid.len(), parts.test.len()];
        if lengths[0] < least || lengths[1] < 2 || lengths[2] < 2 {
            let [train, valid, test] = lengths;
            return Err(Error::usage(format!(
                "the data are too short: {} leave {train} for training, {valid} for validation and {test} for the test, at least \
                 {least}, 2 and 2 are needed; give more text or a shorter context",
                counted(bytes.len(), "byte")
            )));
        }
        Ok(parts)
    }

    /// Refuses `bytes` that are not those of a run, whose checkpoint holds the task's `state`.
    ///
    /// # Errors
    /// [`Error::Usage`] with both lengths and checksums.
    pub fn expect_same(&self, state: &Value, bytes: &[u8]) -> Result<()> {
        self.expect_data(&TextFingerprint::of(state)?, &TextFingerprint::new(bytes, None))
    }

    pub(super) fn expect_data(&self, before: &TextFingerprint, now: &TextFingerprint) -> Result<()> {
        if (before.bytes, before.crc32) == (now.bytes, now.crc32) {
            return Ok(());
        }
        let files: Vec<String> = self.data.iter().map(|path| path.display().to_string()).collect();
        Err(Error::usage(format!(
            "{}: the data have changed since the run began: expected {} bytes with CRC-32 {:08x}, found {} with {:08x}; put the old \
             ones back, or begin a new run",
            files.join(", "),
            before.bytes,
            before.crc32,
            now.bytes,
            now.crc32
        )))
    }
}

/// What tells one text from another, kept in checkpoints: a run resumed on other bytes would be another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextFingerprint {
    bytes: u64,
    crc32: u32,
    /// CRC-32 of the vocabulary; none for bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tokenizer: Option<u32>,
}

impl TextFingerprint {
    pub(super) fn new(bytes: &[u8], tokenizer: Option<u32>) -> Self {
        let mut crc = Crc::new();
        crc.update(bytes);
        Self { bytes: bytes.len() as u64, crc32: crc.sum(), tokenizer }
    }

    /// What [`Task::state`](crate::train::Task::state) of a text gave.
    pub(super) fn of(state: &Value) -> Result<Self> {
        serde_json::from_value(state.clone())
            .map_err(|e| Error::usage(format!("task: expected length and CRC-32 of the data in the checkpoint: {e}")))
    }

    /// Whether the vocabulary is that of the run.
    pub(super) fn check(&self, now: Option<u32>, config: &TextConfig) -> Result<()> {
        if self.tokenizer == now {
            return Ok(());
        }
        let crc = |crc: Option<u32>| crc.map_or("bytes".into(), |crc| format!("CRC-32 {crc:08x}"));
        let name = config.tokenizer.as_ref().map_or("bytes".into(), |path| path.display().to_string());
        Err(Error::usage(format!(
            "{name}: it is not the vocabulary that the run began with: expected {}, found {}; name or put back the old one",
            crc(self.tokenizer),
            crc(now)
        )))
    }
}
