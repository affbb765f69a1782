//! Sequences cut along time, and put together again: all parts by one operation of the device, also where operations
//! run part after part between.
//!
//! Parts wait in the tape's workspace, so that their number takes nothing from the heap.

use super::{Backward, Op, Shared, Slot, Tape, Var};
use crate::device::{Cut, Device, next_parts};
use crate::error::{Error, Result};

/// A part of sequences: its numbers while they wait, and where its cotangent is collected.
pub(super) struct CutPart<D: Device> {
    buffer: Option<Shared<D>>,
    slot: Option<Slot>,
}

/// Sequences in parts, which wait on a tape.
#[derive(Clone, Copy, Debug)]
pub struct CutParts {
    cut: Cut,
    first: usize,
    tape: u64,
}

impl<D: Device> Tape<'_, D> {
    /// `x`, cut into parts that [`Tape::part`] hands out.
    ///
    /// # Errors
    /// As [`Tape::linear`]; also [`Error::Usage`] when `x` has another length than the cut.
    pub fn split(&mut self, x: &Var<D>, cut: Cut) -> Result<CutParts> {
        let (device, expected) = (self.device, cut.len());
        let found = device.len(&x.buffer);
        if found != expected {
            return Err(Error::usage(format!("split: x: expected {expected} elements, found {found}")));
        }
        let parts = self.parts(cut);
        if cut.count() == 1 {
            self.put(parts, 0, x)?;
            return Ok(parts);
        }
        let first = self.slots;
        let slot = x.slot.and_then(|x| self.remember(|| Op::Split { cut, x, first }));
        for i in 0..cut.count() {
            let part = device.alloc(cut.part_len(i))?;
            let buffer = Some(self.share(part));
            let slot = slot.map(|slot| Slot { index: slot.index + i, ..slot });
            if let Some(place) = self.place_of(parts, i) {
                *place = CutPart { buffer, slot };
            }
        }
        let waiting = self.space.get().parts.iter_mut().skip(parts.first).take(cut.count());
        let mut buffers = waiting.map(|part| part.buffer.as_mut().and_then(Shared::get_mut));
        cut.groups().try_for_each(|first| device.split(&cut, first, &x.buffer, next_parts(&mut buffers)))?;
        Ok(parts)
    }

    /// Part `i`, which is handed out once.
    ///
    /// # Errors
    /// [`Error::Usage`] where it is not there, or not any more.
    pub fn part(&mut self, parts: CutParts, i: usize) -> Result<Var<D>> {
        let part = self.place_of(parts, i).and_then(|part| Some(Var { buffer: part.buffer.take()?, slot: part.slot }));
        part.ok_or_else(|| Error::usage(format!("part {i}: of another tape, not there, or handed out before")))
    }

    /// Room for parts that [`Tape::put`] brings and [`Tape::join`] puts together.
    pub fn parts(&mut self, cut: Cut) -> CutParts {
        let waiting = &mut self.space.get().parts;
        let first = waiting.len();
        waiting.extend((0..cut.count()).map(|_| CutPart { buffer: None, slot: None }));
        CutParts { cut, first, tape: self.number }
    }

    /// `x` becomes part `i`.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is no such part, or it has another length.
    pub fn put(&mut self, parts: CutParts, i: usize, x: &Var<D>) -> Result<()> {
        let (expected, found) = (parts.cut.part_len(i), self.device.len(&x.buffer));
        match self.place_of(parts, i) {
            Some(part) if expected == found => *part = CutPart { buffer: Some(x.share()), slot: x.slot },
            Some(_) => return Err(Error::usage(format!("part {i}: expected {expected} elements, found {found}"))),
            None => return Err(Error::usage(format!("part {i}: of another tape, or beyond the last"))),
        }
        Ok(())
    }

    /// The whole of parts, all of which were put there.
    ///
    /// # Errors
    /// As [`Tape::linear`]; also [`Error::Usage`] when some are missing.
    pub fn join(&mut self, parts: CutParts) -> Result<Var<D>> {
        let (device, CutParts { cut, first, .. }) = (self.device, parts);
        if cut.count() == 1 {
            return self.part(parts, 0);
        }
        let waiting = self.space.get().parts.iter().skip(first).take(cut.count());
        let (there, slots) = waiting.fold((0, 0), |(there, slots), part| {
            (there + usize::from(part.buffer.is_some()), slots + usize::from(part.slot.is_some()))
        });
        if there != cut.count() || parts.tape != self.number {
            return Err(Error::usage(format!("join: expected {} parts, found {there}", cut.count())));
        }
        let mut whole = device.alloc(cut.len())?;
        let waiting = self.space.get().parts.iter().skip(first).take(cut.count());
        let mut buffers = waiting.map(|part| part.buffer.as_deref());
        cut.groups().try_for_each(|first| device.join(&cut, first, next_parts(&mut buffers), &mut whole))?;
        self.space.get().parts.iter_mut().skip(first).take(cut.count()).for_each(|part| part.buffer = None);
        if slots == 0 {
            return Ok(self.constant(whole));
        }
        Ok(self.push(whole, || Op::Join { cut, first }))
    }

    fn place_of(&mut self, parts: CutParts, i: usize) -> Option<&mut CutPart<D>> {
        let ours = parts.tape == self.number && i < parts.cut.count();
        self.space.get().parts.get_mut(parts.first + i).filter(|_| ours)
    }
}

/// Backward of [`Tape::split`]. Part i is P_i x, where P_i picks its rows, and every row of x is in one part: x̄ =
/// Σ_i P_iᵀ x̄_i is the parts' cotangents (of slots `first` and on) put together, 0 in a part that nobody used.
pub(super) fn split_vjp<D: Device>(run: &mut Backward<'_, D>, cut: &Cut, x: Slot, first: usize) -> Result<()> {
    let count = cut.count();
    let of_parts = || run.slots.iter().skip(first).take(count);
    let there = of_parts().flatten().count();
    if there == 0 {
        return Ok(());
    }
    let mut d_x = if there == count { run.device.alloc(cut.len())? } else { run.device.zeros(cut.len())? };
    let mut parts = of_parts().map(Option::as_deref);
    cut.groups().try_for_each(|first| run.device.join(cut, first, next_parts(&mut parts), &mut d_x))?;
    run.slots.iter_mut().skip(first).take(count).for_each(|part| *part = None);
    run.accumulate_own(x, d_x)
}

/// Backward of [`Tape::join`]. The whole is y = Σ_i P_iᵀ x_i, where P_i picks the rows of part i: x̄_i = P_i ȳ, every
/// part's rows of the whole's cotangent.
pub(super) fn join_vjp<D: Device>(run: &mut Backward<'_, D>, cut: &Cut, first: usize, d_y: &D::Buffer) -> Result<()> {
    let (device, cells, count) = (run.device, run.cells, cut.count());
    for (i, part) in run.parts.iter_mut().skip(first).take(count).enumerate() {
        if part.slot.is_some() {
            part.buffer = Some(cells.share(device.alloc(cut.part_len(i))?));
        }
    }
    let mut buffers = run.parts.iter_mut().skip(first).take(count).map(|part| part.buffer.as_mut()?.get_mut());
    cut.groups().try_for_each(|first| device.split(cut, first, d_y, next_parts(&mut buffers)))?;
    for i in first..first + count {
        let part = run.parts.get_mut(i).and_then(|part| Some((part.slot?, part.buffer.take()?)));
        if let Some((slot, d_x)) = part {
            run.accumulate(slot, d_x)?;
        }
    }
    Ok(())
}
