//! The state of one walk back over a tape.

use super::{Gradients, ParamId, Params, Slot, Var};
use crate::device::Device;
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// What an operation's backward works with: the cotangents collected so far and the parameters' gradients.
pub struct Backward<'a, D: Device> {
    device: &'a D,
    params: &'a Params<D>,
    gradients: &'a mut Gradients<D>,
    slots: Vec<Option<Arc<D::Buffer>>>,
    tape: u64,
    scale: f64,
}

impl<'a, D: Device> Backward<'a, D> {
    pub(super) fn new(
        device: &'a D,
        params: &'a Params<D>,
        gradients: &'a mut Gradients<D>,
        tape: u64,
        slots: usize,
        scale: f64,
    ) -> Self {
        Self { device, params, gradients, slots: (0..slots).map(|_| None).collect(), tape, scale }
    }

    pub(super) fn seed(&mut self, slot: Slot, cotangent: D::Buffer) -> Result<()> {
        *self.place(slot)? = Some(Arc::new(cotangent));
        Ok(())
    }

    pub(super) fn take(&mut self, first: usize, outputs: usize) -> Vec<Option<Arc<D::Buffer>>> {
        self.slots[first..first + outputs].iter_mut().map(Option::take).collect()
    }

    /// The machine.
    pub(super) fn device(&self) -> &'a D {
        self.device
    }

    /// The weight of every loss.
    pub(super) fn scale(&self) -> f64 {
        self.scale
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

    /// Whether anybody wants the gradient of `x`.
    pub(super) fn wants(x: &Var<D>) -> bool {
        x.slot.is_some()
    }

    /// Adds `d_x` to the cotangent of `x`.
    pub(super) fn give(&mut self, x: &Var<D>, d_x: impl Into<Arc<D::Buffer>>) -> Result<()> {
        let Some(slot) = x.slot else { return Ok(()) };
        let d_x = d_x.into();
        let device = self.device;
        let place = self.place(slot)?;
        match place {
            None => *place = Some(d_x),
            Some(sum) => match Arc::get_mut(sum) {
                Some(sum) => device.add_scaled(1.0, &d_x, sum)?,
                None => {
                    let mut both = device.alloc(device.len(&d_x))?;
                    device.add(sum, &d_x, &mut both)?;
                    *sum = Arc::new(both);
                }
            },
        }
        Ok(())
    }

    /// Where the cotangent of an output is collected.
    fn place(&mut self, slot: Slot) -> Result<&mut Option<Arc<D::Buffer>>> {
        let place = if slot.tape == self.tape { self.slots.get_mut(slot.index) } else { None };
        place.ok_or_else(|| Error::usage("a variable of another tape; a gradient flows on one tape only"))
    }
}

impl<D: Device> fmt::Debug for Backward<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backward").field("slots", &self.slots.len()).field("scale", &self.scale).finish_non_exhaustive()
    }
}
