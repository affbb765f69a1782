//! Rows that move on the tape: slices, their reverse, rows repeated and held.

use super::{Backward, Op, ParamId, Slot, Tape, Var};
use crate::device::{Device, MoveRows, Place};
use crate::error::{Error, Result};
use std::fmt;

/// An output `[batch, time, width]` that is put together from parts, in ascending order of their rows, while other
/// operations run between them. In all it costs what one copy of the output costs, back as well.
pub struct Assembly<D: Device> {
    whole: D::Buffer,
    slot: Option<Slot>,
    batch: usize,
    time: usize,
    width: usize,
    /// Rows that are there.
    placed: usize,
}

impl<D: Device> Tape<'_, D> {
    /// Rows `from .. from + rows` of every sequence: `x [batch, time, width]` to `[batch, rows, width]`.
    ///
    /// However many slices a variable has, their backward adds to one cotangent of its length.
    ///
    /// # Errors
    /// As [`Tape::linear`]; also [`Error::Usage`] for rows beyond the sequences.
    pub fn slice(&mut self, x: &Var<D>, batch: usize, from: usize, rows: usize, width: usize) -> Result<Var<D>> {
        let time = self.rows("slice: x", &x.buffer, batch.saturating_mul(width))?;
        within("slice", from, rows, time)?;
        let op = MoveRows { batch, rows, width, from: Place::new(time, from), to: Place::new(rows, 0), add: false };
        self.moved(op, x)
    }

    /// `y[b, t] = x[b, t − t mod chunk]` for `x [batch, time, width]`: every row is the first one of its chunk.
    ///
    /// # Errors
    /// As [`Tape::linear`]; also [`Error::Usage`] for chunks of no rows.
    pub fn hold(&mut self, x: &Var<D>, batch: usize, chunk: usize, width: usize) -> Result<Var<D>> {
        let time = self.rows("hold: x", &x.buffer, batch.saturating_mul(width))?;
        let from = Place { hold: chunk, ..Place::new(time, 0) };
        self.moved(MoveRows { batch, rows: time, width, from, to: Place::new(time, 0), add: false }, x)
    }

    /// A parameter `[n, width]` for every sequence: `[batch, n, width]`.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn repeat(&mut self, rows: ParamId, batch: usize) -> Result<Var<D>> {
        let (n, width) = self.matrix(rows)?;
        let op = MoveRows { batch, rows: n, width, from: Place::new(0, 0), to: Place::new(n, 0), add: false };
        let mut y = self.device.alloc(batch.saturating_mul(n).saturating_mul(width))?;
        self.device.move_rows(&op, self.params.value(rows)?, &mut y)?;
        Ok(self.push(y, || Op::Repeat { op, rows }))
    }

    fn moved(&mut self, op: MoveRows, x: &Var<D>) -> Result<Var<D>> {
        let mut y = self.device.alloc(op.batch * op.rows * op.width)?;
        self.device.move_rows(&op, &x.buffer, &mut y)?;
        let len = self.device.len(&x.buffer);
        Ok(match x.slot {
            Some(slot) => self.push(y, || Op::Move { op, x: slot, len }),
            None => Var { buffer: self.share(y), slot: None },
        })
    }

    /// Begins an output `[batch, time, width]`; [`Assembly::place`] all its rows, then [`Assembly::finish`].
    ///
    /// # Errors
    /// As [`Tape::add`].
    pub fn assemble(&mut self, batch: usize, time: usize, width: usize) -> Result<Assembly<D>> {
        let whole = self.device.alloc(batch.saturating_mul(time).saturating_mul(width))?;
        let slot = self.remember(|| Op::Assemble);
        Ok(Assembly { whole, slot, batch, time, width, placed: 0 })
    }
}

impl<D: Device> Assembly<D> {
    /// `x [batch, rows, width]` becomes rows `from .. from + rows` of every sequence.
    ///
    /// # Errors
    /// As [`Tape::add`]; also [`Error::Usage`] when the rows do not follow those placed before, when `x` has another
    /// size or when the assembly belongs to another tape.
    pub fn place(&mut self, tape: &mut Tape<'_, D>, from: usize, rows: usize, x: &Var<D>) -> Result<()> {
        let Self { batch, time, width, .. } = *self;
        if from != self.placed {
            return Err(Error::usage(format!("place: expected row {}, found {from}; place in order", self.placed)));
        }
        within("place", from, rows, time)?;
        let (len, found) = (batch * rows * width, tape.device.len(&x.buffer));
        if found != len {
            return Err(Error::usage(format!("place: x: expected {len} elements, found {found}")));
        }
        if self.slot.is_some_and(|slot| slot.tape != tape.number) {
            return Err(Error::usage("place: an assembly of another tape"));
        }
        let op = MoveRows { batch, rows, width, from: Place::new(rows, 0), to: Place::new(time, from), add: false };
        tape.device.move_rows(&op, &x.buffer, &mut self.whole)?;
        self.placed += rows;
        if let (Some(whole), Some(x)) = (self.slot, x.slot) {
            tape.remember(|| Op::Part { op, x, len, whole });
        }
        Ok(())
    }

    /// The output, all of whose rows are placed.
    ///
    /// # Errors
    /// [`Error::Usage`] when some are not.
    pub fn finish(self, tape: &mut Tape<'_, D>) -> Result<Var<D>> {
        if self.placed != self.time {
            return Err(Error::usage(format!("finish: expected {} rows placed, found {}", self.time, self.placed)));
        }
        Ok(Var { buffer: tape.share(self.whole), slot: self.slot })
    }
}

impl<D: Device> fmt::Debug for Assembly<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, time, width, placed, .. } = self;
        write!(f, "Assembly [{batch}, {time}, {width}], {placed} rows placed")
    }
}

/// Backward of one part. The whole is the sum of its parts, each moved to its rows, and a move's transpose is the move
/// back: d_x is x's rows of the whole's cotangent, which other parts look at too.
pub(super) fn part_vjp<D: Device>(
    run: &mut Backward<'_, D>,
    op: &MoveRows,
    x: Slot,
    len: usize,
    whole: Slot,
) -> Result<()> {
    let Some(d_whole) = run.shared_cotangent(whole)? else { return Ok(()) };
    let mut d_x = run.device.alloc(len)?;
    run.device.move_rows(&MoveRows { add: false, ..op.reversed() }, &d_whole, &mut d_x)?;
    run.accumulate_own(x, d_x)
}

fn within(what: &str, from: usize, rows: usize, time: usize) -> Result<()> {
    match from.checked_add(rows) {
        Some(end) if end <= time => Ok(()),
        _ => Err(Error::usage(format!("{what}: rows from {from}, {rows} of them: sequences have {time}"))),
    }
}
