//! What a repeated step reads that is new, in one copy from the host: to a block, from which the device takes whole
//! numbers to their places. The step's numbers are read where they are, at the block's beginning.

use super::DeviceIndices;
use super::arena::Arena;
use super::buffer::{BYTES, DeviceBuffer, bytes_of};
use super::driver::{Address, Driver};
use super::watch::StepNumbers;
use crate::error::Result;
use std::sync::Arc;

/// What some whole numbers of a step have of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockPart {
    /// Which they are among those of the step.
    of: usize,
    /// Words before it, and its own.
    offset: usize,
    len: usize,
}

/// A step's block on the device, and which of its whole numbers are there.
#[derive(Debug)]
pub(super) struct SentBlock<'s, R: Driver> {
    block: &'s DeviceBuffer<R>,
    pub numbers: StepNumbers,
    pub indices: &'s [&'s DeviceIndices<R>],
    pub parts: Vec<BlockPart>,
}

impl<'s, R: Driver> SentBlock<'s, R> {
    /// Sends a step's numbers, and behind them all whole numbers that the device does not have. These count as sent:
    /// what comes next is a launch of what was recorded with them, or [`SentBlock::spread`].
    pub fn new(
        machine: &Arc<Arena<R>>,
        place: &'s mut Option<DeviceBuffer<R>>,
        values: Vec<f32>,
        indices: &'s [&'s DeviceIndices<R>],
    ) -> Result<Self> {
        let (mut bytes, mut parts) = (bytes_of(&values), Vec::new());
        for (of, unsent) in indices.iter().enumerate().filter_map(|(i, indices)| Some((i, indices.unsent()?))) {
            parts.push(BlockPart { of, offset: bytes.len() / BYTES, len: unsent.len() / BYTES });
            bytes.extend(unsent);
        }
        // One that is longer stays: what was recorded reads there.
        let block = match place.take() {
            Some(block) if block.len() >= bytes.len() / BYTES => place.insert(block),
            _ => place.insert(DeviceBuffer::alloc(machine, bytes.len() / BYTES)?),
        };
        block.write_at(0, &bytes)?;
        let numbers = StepNumbers { at: block.view().address, values };
        let sent = Self { block, numbers, indices, parts };
        sent.mark(false);
        Ok(sent)
    }

    /// Takes whole numbers from the block to their places.
    pub fn spread(&self) -> Result<()> {
        self.each().try_for_each(|(indices, part)| indices.take(self.block, part.offset, part.len))
    }

    /// Says whether the device has the block's whole numbers yet.
    pub fn mark(&self, unsent: bool) {
        self.each().for_each(|(indices, _)| indices.mark(unsent));
    }

    /// What [`SentBlock::spread`] reads and writes.
    pub fn places(&self) -> impl Iterator<Item = Address> {
        self.each().map(|(indices, _)| indices.place()).chain([self.numbers.at])
    }

    fn each(&self) -> impl Iterator<Item = (&DeviceIndices<R>, &BlockPart)> {
        self.parts.iter().filter_map(|part| Some((*self.indices.get(part.of)?, part)))
    }
}
