//! What a tape works in, which may outlive it.

use super::op::Op;
use super::segments::CutPart;
use super::shared::{Cells, Shared};
use crate::device::Device;
use std::fmt;
use std::sync::Arc;

/// One recorded operation; its outputs are the slots from `first` on.
pub(super) struct TapeRecord<D: Device> {
    pub(super) first: usize,
    pub(super) op: Op<D>,
}

/// What tapes leave for the next one: lent to [`Tape::recording_in`](super::Tape::recording_in) step after step, it
/// makes recording and going backward free of heap allocations after the first step of a kind.
pub struct Workspace<D: Device> {
    pub(super) records: Vec<TapeRecord<D>>,
    pub(super) slots: Vec<Option<Shared<D>>>,
    /// Parts of sequences: those that wait, and where the others' cotangents are collected.
    pub(super) parts: Vec<CutPart<D>>,
    pub(super) cells: Arc<Cells<D>>,
}

impl<D: Device> Workspace<D> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { records: Vec::new(), slots: Vec::new(), parts: Vec::new(), cells: Cells::new() }
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.slots.clear();
        self.parts.clear();
    }
}

impl<D: Device> Default for Workspace<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Device> fmt::Debug for Workspace<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

/// A tape's workspace: its own or one that outlives it.
pub(super) enum OwnOrLent<'a, D: Device> {
    Own(Workspace<D>),
    Lent(&'a mut Workspace<D>),
}

impl<D: Device> OwnOrLent<'_, D> {
    pub(super) fn get(&mut self) -> &mut Workspace<D> {
        match self {
            Self::Own(space) => space,
            Self::Lent(space) => space,
        }
    }
}

impl<D: Device> Drop for OwnOrLent<'_, D> {
    fn drop(&mut self) {
        self.get().clear(); // a tape that never went backward frees its activations too
    }
}
