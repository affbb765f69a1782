//! What tells one series from another: a run resumed on other numbers would be another run.

use super::Series;
use crate::{Error, Result};
use flate2::Crc;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// What tells one series from another, kept in checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesFingerprint {
    rows: u64,
    crc32: u32,
}

impl SeriesFingerprint {
    /// That of a series.
    pub fn of(series: &Series) -> Self {
        let mut crc = Crc::new();
        series.numbers.iter().for_each(|x| crc.update(&x.to_le_bytes()));
        Self { rows: series.rows() as u64, crc32: crc.sum() }
    }

    /// Refuses the series of `file` where the one of a checkpoint, `state`, was another.
    ///
    /// # Errors
    /// [`Error::Usage`] with both.
    pub fn expect(self, state: &Value, file: &Path) -> Result<()> {
        let before: Self = serde_json::from_value(state.clone()).map_err(|e| {
            Error::usage(format!("task: expected rows and CRC-32 of the series in the checkpoint: {e}"))
        })?;
        if before == self {
            return Ok(());
        }
        Err(Error::usage(format!(
            "{}: the data have changed since the run began: expected {} rows with CRC-32 {:08x}, found {} with {:08x}; put the old ones \
             back, or begin a new run",
            file.display(),
            before.rows,
            before.crc32,
            self.rows,
            self.crc32
        )))
    }
}
