//! Where a model begins and ends: the embedding and the losses on the tape.

use super::{Op, ParamId, Shared, Slot, Tape, Var};
use crate::device::Device;
use crate::error::Result;
use std::fmt;
use std::sync::Arc;

/// Losses of rows: nats, or squares. Only [`Tape::backward`] takes them: every row has the same weight.
pub struct Losses<D: Device> {
    buffer: D::Buffer,
    pub(super) slot: Option<Slot>,
}

impl<D: Device> Losses<D> {
    /// One loss a row; 0 where the target was ignored.
    pub fn buffer(&self) -> &D::Buffer {
        &self.buffer
    }
}

impl<D: Device> fmt::Debug for Losses<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Losses").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<D: Device> Tape<'_, D> {
    /// Rows of `table [ids, width]`: `rows` of them, one for every id.
    ///
    /// # Errors
    /// As [`Tape::linear`]; an id beyond the table is the device's error.
    pub fn embedding(&mut self, ids: &Arc<D::Indices>, rows: usize, table: ParamId) -> Result<Var<D>> {
        let (_, width) = self.matrix(table)?;
        let mut y = self.device.alloc(rows * width)?;
        self.device.embedding(width, ids, self.params.value(table)?, &mut y)?;
        Ok(self.push(y, || Op::Embedding { width, ids: Arc::clone(ids), table }))
    }

    /// The mean of the first `lengths[b]` rows of each sequence b: x `[batch, time, width]` to `[batch, width]`. What
    /// is behind a sequence's length is padding, which nothing depends on.
    ///
    /// # Errors
    /// As [`Tape::linear`]; a length above `time`, or other lengths than sequences, is the device's error.
    pub fn pool(&mut self, time: usize, width: usize, lengths: &Arc<D::Indices>, x: &Var<D>) -> Result<Var<D>> {
        let batch = self.rows("pool: x", &x.buffer, time.saturating_mul(width))?;
        let mut y = self.device.alloc(batch * width)?;
        self.device.pool(time, width, lengths, &x.buffer, &mut y)?;
        let len = self.device.len(&x.buffer);
        Ok(match x.slot {
            Some(x) => self.push(y, || Op::Pool { time, width, lengths: Arc::clone(lengths), x, len }),
            None => self.constant(y),
        })
    }

    /// `−log softmax(logits[r])[targets[r]]` in nats for every row of `classes` logits, 0 where the target is
    /// [`IGNORE`](crate::device::IGNORE).
    ///
    /// # Errors
    /// As [`Tape::linear`]; a target beyond the classes is the device's error.
    pub fn cross_entropy(&mut self, classes: usize, logits: &Var<D>, targets: &Arc<D::Indices>) -> Result<Losses<D>> {
        let rows = self.rows("cross_entropy: logits", &logits.buffer, classes)?;
        let mut losses = self.device.alloc(rows)?;
        self.device.cross_entropy(classes, &logits.buffer, targets, &mut losses)?;
        let slot = self.remember(|| Op::CrossEntropy { classes, logits: logits.clone(), targets: Arc::clone(targets) });
        Ok(Losses { buffer: losses, slot })
    }
    /// The mean over a row of `(x − target)²`, for every row of `width`: the loss of regression.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn squared_error(&mut self, x: &Var<D>, target: &Shared<D>, width: usize) -> Result<Losses<D>> {
        let rows = self.rows("squared_error: x", &x.buffer, width)?;
        let mut losses = self.device.alloc(rows)?;
        self.device.squared_error(width, &x.buffer, target, &mut losses)?;
        let slot = self.remember(|| Op::SquaredError { width, x: x.clone(), target: target.clone() });
        Ok(Losses { buffer: losses, slot })
    }
}
