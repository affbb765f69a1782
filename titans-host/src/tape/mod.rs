//! Reverse mode over device operations.
//!
//! A [`Tape`] offers one method for every differentiable operation of [`Device`]. Recording, it remembers what each
//! operation's backward needs; [`Tape::backward`] walks the operations in reverse order, adds to the parameters'
//! [`Gradients`] and frees activations as it goes. In inference it remembers nothing, and a buffer is freed when the
//! last [`Var`] that holds it is dropped.
//!
//! Gradients of an activation with several uses are added in the reverse order of the uses, so a run gives the same
//! bits every time.

mod backward;
mod ends;
mod gradients;
mod memory;
mod ops;
mod params;
#[cfg(test)]
mod tests;

pub use ends::Losses;
pub use gradients::Gradients;
pub use memory::MemoryRead;
pub use params::{ParamId, ParamView, Params};

use crate::device::Device;
use crate::error::{Error, Result};
use backward::Backward;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place on a tape: where the cotangent of an output is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    tape: u64,
    index: usize,
}

/// An activation: a buffer on the device and, if a gradient flows through it, its place on the tape. Cloning is
/// cheap and shares the buffer.
pub struct Var<D: Device> {
    buffer: Arc<D::Buffer>,
    slot: Option<Slot>,
}

impl<D: Device> Var<D> {
    /// An input without a gradient.
    pub fn constant(buffer: impl Into<Arc<D::Buffer>>) -> Self {
        Self { buffer: buffer.into(), slot: None }
    }

    /// The numbers.
    pub fn buffer(&self) -> &D::Buffer {
        &self.buffer
    }

    /// The numbers, shared: they outlive the variable.
    pub fn share(&self) -> Arc<D::Buffer> {
        Arc::clone(&self.buffer)
    }
}

impl<D: Device> Clone for Var<D> {
    fn clone(&self) -> Self {
        Self { buffer: Arc::clone(&self.buffer), slot: self.slot }
    }
}

impl<D: Device> fmt::Debug for Var<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Var").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// The backward of one operation, from the cotangents of its outputs (`None`: nobody used that output).
type Vjp<D> = Box<dyn FnOnce(&mut Backward<'_, D>, Vec<Option<Arc<<D as Device>::Buffer>>>) -> Result<()> + Send>;

/// One recorded operation; its outputs are the slots `first .. first + outputs`.
struct Record<D: Device> {
    first: usize,
    outputs: usize,
    vjp: Vjp<D>,
}

/// Runs operations and, when recording, remembers how to go back.
pub struct Tape<'a, D: Device> {
    device: &'a D,
    params: &'a Params<D>,
    records: Option<Vec<Record<D>>>,
    slots: usize,
    /// Tells this tape's variables from those of others.
    number: u64,
}

impl<'a, D: Device> Tape<'a, D> {
    /// A tape that can go [`backward`](Tape::backward).
    pub fn recording(device: &'a D, params: &'a Params<D>) -> Self {
        Self::start(device, params, Some(Vec::new()))
    }

    /// A tape that keeps nothing.
    pub fn inference(device: &'a D, params: &'a Params<D>) -> Self {
        Self::start(device, params, None)
    }

    fn start(device: &'a D, params: &'a Params<D>, records: Option<Vec<Record<D>>>) -> Self {
        static TAPES: AtomicU64 = AtomicU64::new(0);
        Self { device, params, records, slots: 0, number: TAPES.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether the tape can go backward.
    pub fn is_recording(&self) -> bool {
        self.records.is_some()
    }

    /// The machine it runs on.
    pub fn device(&self) -> &'a D {
        self.device
    }

    /// The parameters its operations use.
    pub fn params(&self) -> &'a Params<D> {
        self.params
    }

    /// Adds to `gradients` the gradient of `scale · Σ losses`, and frees the activations on the way.
    ///
    /// # Errors
    /// [`Error::Usage`] when the tape does not record, when `losses` come from another tape or when `gradients` do
    /// not have the parameters' shapes; the device's own errors.
    pub fn backward(self, losses: &Losses<D>, scale: f64, gradients: &mut Gradients<D>) -> Result<()> {
        let mut seed = self.device.alloc(1)?;
        self.device.fill(scale, &mut seed)?;
        let slot = losses.slot;
        self.run_backward(slot, seed, scale, gradients)
    }

    /// Adds to `gradients` the gradient of `Σ cotangent ∘ y`: the vector–Jacobian product of all that led to `y`.
    ///
    /// # Errors
    /// As [`Tape::backward`]; also [`Error::Usage`] when the cotangent has another length than `y`.
    pub fn backward_from(self, y: &Var<D>, cotangent: D::Buffer, gradients: &mut Gradients<D>) -> Result<()> {
        let (expected, found) = (self.device.len(&y.buffer), self.device.len(&cotangent));
        if expected != found {
            return Err(Error::usage(format!("cotangent: expected {expected} elements, found {found}")));
        }
        self.run_backward(y.slot, cotangent, 1.0, gradients)
    }

    fn run_backward(self, from: Option<Slot>, seed: D::Buffer, scale: f64, gradients: &mut Gradients<D>) -> Result<()> {
        let (Some(mut records), Some(from)) = (self.records, from) else {
            return Err(Error::usage("backward needs a recording tape and an output of it; use Tape::recording"));
        };
        gradients.check(self.device, self.params)?;
        let mut run = Backward::new(self.device, self.params, gradients, self.number, self.slots, scale);
        run.seed(from, seed)?;
        while let Some(record) = records.pop() {
            let cotangents = run.take(record.first, record.outputs);
            if cotangents.iter().any(Option::is_some) {
                (record.vjp)(&mut run, cotangents)?;
            }
        }
        Ok(())
    }

    /// Makes a variable of an operation's only output and remembers its backward.
    fn push(
        &mut self,
        y: D::Buffer,
        vjp: impl FnOnce(&mut Backward<'_, D>, &D::Buffer) -> Result<()> + Send + 'static,
    ) -> Var<D> {
        let slot = self.push_many(1, move |run, mut cotangents| match cotangents.pop().flatten() {
            Some(d_y) => vjp(run, &d_y),
            None => Ok(()),
        });
        Var { buffer: Arc::new(y), slot }
    }

    /// Remembers an operation with several outputs; the first one's slot, the others follow.
    fn push_many(
        &mut self,
        outputs: usize,
        vjp: impl FnOnce(&mut Backward<'_, D>, Vec<Option<Arc<D::Buffer>>>) -> Result<()> + Send + 'static,
    ) -> Option<Slot> {
        let records = self.records.as_mut()?;
        let first = self.slots;
        self.slots += outputs;
        records.push(Record { first, outputs, vjp: Box::new(vjp) });
        Some(Slot { tape: self.number, index: first })
    }

    /// A new buffer of `x`'s length.
    fn like(&self, x: &Var<D>) -> Result<D::Buffer> {
        self.device.alloc(self.device.len(&x.buffer))
    }

    /// The number of rows of `width` that `x` holds.
    fn rows(&self, what: &'static str, x: &D::Buffer, width: usize) -> Result<usize> {
        let len = self.device.len(x);
        if width == 0 || !len.is_multiple_of(width) {
            return Err(Error::usage(format!("{what}: expected rows of {width} elements, found {len} elements")));
        }
        Ok(len / width)
    }
}

impl<D: Device> fmt::Debug for Tape<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records.as_ref().map(Vec::len);
        f.debug_struct("Tape").field("records", &records).field("slots", &self.slots).finish_non_exhaustive()
    }
}
