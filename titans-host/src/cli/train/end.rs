//! The tables that some runs end with: measured once, and told again from the run's figures.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::task::TaskConfig;
use crate::task::recall::Recall;
use crate::task::table::Table;
use crate::task::track::{Track, TrackTable};
use crate::train::run::{keep_table, kept_table};
use crate::train::{Interrupt, Outcome, Progress, RunConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// A run at its end.
pub(super) struct End<'a, D: Device> {
    pub(super) device: &'a D,
    pub(super) folder: &'a Path,
    pub(super) config: &'a RunConfig,
    pub(super) outcome: &'a Outcome,
    pub(super) interrupt: &'a Interrupt,
}

impl<D: Device> End<'_, D> {
    /// The recall table of a run that has one, unless Ctrl-C comes.
    pub(super) fn recall(&self, model: &Model<D>, progress: &mut dyn Progress) -> Result<Option<Table>> {
        let TaskConfig::Recall(task) = TaskConfig::of(self.config)? else { return Ok(None) };
        if let Some(table) = self.kept::<Table>()? {
            return Ok(Some(table));
        }
        let (task, mut table) = (Recall::new(task, self.config.train.seed)?, Table::default());
        for &length in &task.config().lengths {
            if self.interrupt.requested() {
                return Ok(None);
            }
            progress.message(&format!("measuring recall at {length} tokens"));
            table.0.insert(length, task.row(self.device, model, length)?);
        }
        table.write(self.folder)?;
        self.keep(&table)?;
        Ok(Some(table))
    }

    /// The table of a run that tracks products, unless Ctrl-C comes.
    pub(super) fn track(&self, model: &Model<D>, progress: &mut dyn Progress) -> Result<Option<TrackTable>> {
        let TaskConfig::Track(task) = TaskConfig::of(self.config)? else { return Ok(None) };
        if let Some(table) = self.kept::<TrackTable>()? {
            return Ok(Some(table));
        }
        let (task, mut table) = (Track::new(task, self.config.train.seed)?, TrackTable::default());
        for &length in &task.config().lengths {
            if self.interrupt.requested() {
                return Ok(None);
            }
            progress.message(&format!("measuring words of {length} elements"));
            table.0.insert(length, task.row(self.device, model, &task.words(length))?);
        }
        self.keep(&table)?;
        Ok(Some(table))
    }

    /// The table of a run that was finished before; one that cannot be read is measured again.
    fn kept<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        if !self.outcome.again {
            return Ok(None);
        }
        let kept = kept_table(self.folder, self.outcome.step)?;
        Ok(kept.and_then(|table| serde_json::from_value(table).ok()))
    }

    fn keep(&self, table: &impl Serialize) -> Result<()> {
        let table = serde_json::to_value(table).map_err(|e| Error::file(self.folder, e.to_string()))?;
        keep_table(self.folder, self.outcome, table)
    }
}
