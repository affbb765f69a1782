//! The state of one walk back over a tape.

use super::op::{Cotangents, Op, PARAMS};
use super::segments::CutPart;
use super::shared::Cells;
use super::{Gradients, ParamId, Params, Shared, Slot, Var};
use crate::device::{Device, MoveRows};
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// Hears of a parameter, and its gradient, that the rest of a backward does not touch.
pub type HearGradient<'h, D> = &'h mut dyn FnMut(ParamId, &<D as Device>::Buffer) -> Result<()>;

/// Where each parameter is used first on a tape: its gradient is done when the backward has come there. One that is
/// used nowhere is not told of.
pub(super) struct FirstUses(Vec<usize>);

impl FirstUses {
    pub(super) fn of<'r, D: Device>(params: usize, operations: impl Iterator<Item = &'r Op<D>>) -> Self {
        let mut first = vec![usize::MAX; params];
        for (i, op) in operations.enumerate() {
            for id in op.params().into_iter().flatten() {
                if let Some(first) = first.get_mut(id.0) {
                    *first = i.min(*first);
                }
            }
        }
        Self(first)
    }

    /// Which of these parameters are used by no operation before that one.
    pub(super) fn done(&self, params: [Option<ParamId>; PARAMS], operation: usize) -> [Option<ParamId>; PARAMS] {
        params.map(|id| id.filter(|id| self.0.get(id.0) == Some(&operation)))
    }
}

/// What an operation's backward works with: the cotangents collected so far and the parameters' gradients.
pub struct Backward<'a, D: Device> {
    pub(super) device: &'a D,
    pub(super) params: &'a Params<D>,
    pub(super) gradients: &'a mut Gradients<D>,
    /// One for every output on the tape; all are empty at first.
    pub(super) slots: &'a mut [Option<Shared<D>>],
    pub(super) parts: &'a mut [CutPart<D>],
    pub(super) cells: &'a Arc<Cells<D>>,
    /// The tape's number.
    pub(super) tape: u64,
    /// The weight of every loss.
    pub(super) scale: f64,
}

impl<'a, D: Device> Backward<'a, D> {
    pub(super) fn seed(&mut self, slot: Slot, cotangent: Shared<D>) -> Result<()> {
        *self.place(slot)? = Some(cotangent);
        Ok(())
    }

    /// The cotangents of an operation's outputs, 1 or 2 from `first` on.
    pub(super) fn output_cotangents(&mut self, first: usize, outputs: usize) -> Cotangents<D> {
        // Taken, so that an activation's cotangent is freed with the operation that it is the output of.
        let mut of = |i: usize| if i < outputs { self.slots.get_mut(first + i).and_then(Option::take) } else { None };
        [of(0), of(1)]
    }

    /// The cotangent of an input.
    pub(super) fn cotangent(&mut self, slot: Slot) -> Result<Option<Shared<D>>> {
        self.place(slot).map(Option::take)
    }

    /// A parameter's value.
    pub(super) fn param(&self, id: ParamId) -> Result<&'a D::Buffer> {
        self.params.value(id)
    }

    /// A parameter's gradient, to be added to.
    pub(super) fn gradient(&mut self, id: ParamId) -> Result<&mut D::Buffer> {
        self.gradients.get_mut(id)
    }

    /// The gradients of a weight and, if there is one, of its bias.
    pub(super) fn gradient_pair(
        &mut self,
        weight: ParamId,
        bias: Option<ParamId>,
    ) -> Result<(&mut D::Buffer, Option<&mut D::Buffer>)> {
        match bias {
            None => Ok((self.gradients.get_mut(weight)?, None)),
            Some(bias) => self.gradients.pair_mut(weight, bias).map(|(w, b)| (w, Some(b))),
        }
    }

    /// A buffer for the gradient of `x`.
    pub(super) fn like(&self, x: &Var<D>) -> Result<D::Buffer> {
        self.device.alloc(self.device.len(&x.buffer))
    }

    /// A cotangent of `len` elements to change; zeros where there is none.
    pub(super) fn own(&self, cotangent: Option<Shared<D>>, len: usize) -> Result<D::Buffer> {
        match cotangent {
            None => self.device.zeros(len),
            Some(cotangent) => cotangent.into_own(|shared| {
                let mut own = self.device.alloc(len)?;
                self.device.copy(shared, &mut own)?;
                Ok(own)
            }),
        }
    }

    /// Whether anybody wants the gradient of `x`.
    pub(super) fn wants(x: &Var<D>) -> bool {
        x.slot.is_some()
    }

    /// Adds `d_x` to the cotangent of `x`.
    pub(super) fn give(&mut self, x: &Var<D>, d_x: D::Buffer) -> Result<()> {
        let d_x = self.cells.share(d_x);
        self.give_shared(x, d_x)
    }

    /// The same for a buffer that others may hold too.
    pub(super) fn give_shared(&mut self, x: &Var<D>, d_x: Shared<D>) -> Result<()> {
        x.slot.map_or(Ok(()), |slot| self.accumulate(slot, d_x))
    }

    /// Adds `d_x` to the cotangent of a place.
    pub(super) fn accumulate_own(&mut self, slot: Slot, d_x: D::Buffer) -> Result<()> {
        let d_x = self.cells.share(d_x);
        self.accumulate(slot, d_x)
    }

    /// Adds rows of `d_y` to the cotangent of a place, which has `len` elements: those that stay cost nothing, once the
    /// cotangent is there.
    pub(super) fn give_rows(&mut self, slot: Slot, len: usize, op: &MoveRows, d_y: &D::Buffer) -> Result<()> {
        let (device, cells) = (self.device, self.cells);
        let place = self.place(slot)?;
        match place {
            Some(sum) => {
                // Others hold it, as both terms of a sum hold the sum's: they must not see what is added here.
                if sum.get_mut().is_none() {
                    let mut own = device.alloc(len)?;
                    device.copy(sum, &mut own)?;
                    *sum = cells.share(own);
                }
            }
            None => *place = Some(cells.share(device.zeros(len)?)),
        }
        match place.as_mut().and_then(Shared::get_mut) {
            Some(sum) => device.move_rows(op, d_y, sum),
            None => Err(Error::usage("a cotangent that changes hands while it is added to; use one thread a tape")),
        }
    }

    /// The cotangent of a place, which stays there.
    pub(super) fn shared_cotangent(&mut self, slot: Slot) -> Result<Option<Shared<D>>> {
        self.place(slot).map(|place| place.clone())
    }

    /// [`Backward::accumulate_own`] of a buffer that others may hold too.
    pub(super) fn accumulate(&mut self, slot: Slot, d_x: Shared<D>) -> Result<()> {
        let (device, cells) = (self.device, self.cells);
        let place = self.place(slot)?;
        match place {
            // The first use's is the sum so far, and nothing is copied.
            None => *place = Some(d_x),
            Some(sum) => match sum.get_mut() {
                Some(sum) => device.add_scaled(1.0, &d_x, sum)?,
                // Others hold it: the sum goes elsewhere.
                None => {
                    let mut both = device.alloc(device.len(&d_x))?;
                    device.add(sum, &d_x, &mut both)?;
                    *sum = cells.share(both);
                }
            },
        }
        Ok(())
    }

    /// Where the cotangent of an output is collected.
    fn place(&mut self, slot: Slot) -> Result<&mut Option<Shared<D>>> {
        let place = if slot.tape == self.tape { self.slots.get_mut(slot.index) } else { None };
        place.ok_or_else(|| Error::usage("a variable of another tape; a gradient flows on one tape only"))
    }
}

impl<D: Device> fmt::Debug for Backward<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backward").field("slots", &self.slots.len()).field("scale", &self.scale).finish_non_exhaustive()
    }
}
