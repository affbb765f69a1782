//! Reverse mode over device operations.
//!
//! A [`Tape`] offers one method for every differentiable operation of [`Device`]. Recording, it remembers what each
//! operation's backward needs; [`Tape::backward`] walks the operations in reverse order, adds to the parameters'
//! [`Gradients`] and frees activations as it goes. In inference it remembers nothing, and a buffer is freed when the
//! last [`Var`] that holds it is dropped.
//!
//! Gradients of an activation with several uses are added in the reverse order of the uses, so a run gives the same
//! bits every time.

mod attention;
mod backward;
mod ends;
mod gradients;
mod memory;
mod op;
mod ops;
mod params;
mod rows;
mod segments;
mod shared;
#[cfg(test)]
mod tests;
mod walk;
mod workspace;

pub use backward::HearGradient;
pub use ends::Losses;
pub use gradients::Gradients;
pub use memory::{MemoryRead, MemoryVars};
pub use params::{ParamId, ParamView, Params};
pub use rows::Assembly;
pub use segments::CutParts;
pub use shared::Shared;
pub use walk::Walked;
pub use workspace::Workspace;

use crate::device::{Boundaries, Device};
use crate::error::{Error, Result};
use backward::{Backward, FirstUses};
use op::{Op, PARAMS};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use workspace::{OwnOrLent, TapeRecord};

/// A place on a tape: where the cotangent of an output is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    tape: u64,
    index: usize,
}

/// An activation: a buffer on the device and, if a gradient flows through it, its place on the tape. Cloning is
/// cheap and shares the buffer.
///
/// ```
/// use titans_host::device::{Device, cpu::Cpu};
/// use titans_host::tape::{Params, Tape, Var};
///
/// let (cpu, params) = (Cpu::<f32>::new(Some(1))?, Params::new());
/// let mut tape = Tape::inference(&cpu, &params);
/// let x = Var::constant(cpu.upload(&[1.0, -2.0])?);
/// let twice = tape.add(&x, &x)?;
/// assert_eq!(cpu.download(twice.buffer())?, [2.0, -4.0]);
/// # Ok::<(), titans_host::Error>(())
/// ```
pub struct Var<D: Device> {
    buffer: Shared<D>,
    slot: Option<Slot>,
}

impl<D: Device> Var<D> {
    /// An input without a gradient.
    pub fn constant(buffer: D::Buffer) -> Self {
        Self::of(Shared::new(buffer))
    }

    /// The same of a buffer that others hold too.
    pub fn of(buffer: Shared<D>) -> Self {
        Self { buffer, slot: None }
    }

    /// The numbers.
    pub fn buffer(&self) -> &D::Buffer {
        &self.buffer
    }

    /// The numbers, shared: they outlive the variable.
    pub fn share(&self) -> Shared<D> {
        self.buffer.clone()
    }
}

impl<D: Device> Clone for Var<D> {
    fn clone(&self) -> Self {
        Self { buffer: self.buffer.clone(), slot: self.slot }
    }
}

impl<D: Device> fmt::Debug for Var<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Var").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// Runs operations and, when recording, remembers how to go back.
///
/// ```
/// use titans_host::device::Device;
/// use titans_host::device::cpu::Cpu;
/// use titans_host::tape::{Gradients, Params, Shared, Tape, Var};
///
/// let cpu = Cpu::<f64>::new(Some(1))?;
/// let mut params = Params::new();
/// let w = params.add(&cpu, "w", &[2, 1], &[1.0, 1.0], true)?;
/// let mut gradients = Gradients::zeros_like(&cpu, &params)?;
///
/// let mut tape = Tape::recording(&cpu, &params);
/// let x = Var::constant(cpu.upload(&[3.0, 4.0])?);
/// let y = tape.linear(&x, w, None)?; // y = x W = 7
/// let target = Shared::new(cpu.upload(&[5.0])?);
/// let loss = tape.squared_error(&y, &target, 1)?; // (y - 5)²
/// tape.backward(&loss, 1.0, &mut gradients)?;
/// assert_eq!(cpu.download(gradients.get(w)?)?, [12.0, 16.0]); // 2 (y - 5) x
/// # Ok::<(), titans_host::Error>(())
/// ```
pub struct Tape<'a, D: Device> {
    device: &'a D,
    params: &'a Params<D>,
    space: OwnOrLent<'a, D>,
    recording: bool,
    boundaries: Boundaries,
    slots: usize,
    /// Tells this tape's variables from those of others.
    number: u64,
}

impl<'a, D: Device> Tape<'a, D> {
    /// A tape that can go [`backward`](Tape::backward).
    pub fn recording(device: &'a D, params: &'a Params<D>) -> Self {
        Self::start(device, params, OwnOrLent::Own(Workspace::new()), true)
    }

    /// The same in a space that was used before.
    pub fn recording_in(device: &'a D, params: &'a Params<D>, space: &'a mut Workspace<D>) -> Self {
        Self::start(device, params, OwnOrLent::Lent(space), true)
    }

    /// A tape that keeps nothing.
    pub fn inference(device: &'a D, params: &'a Params<D>) -> Self {
        Self::start(device, params, OwnOrLent::Own(Workspace::new()), false)
    }

    /// The same in a space that was used before.
    pub fn inference_in(device: &'a D, params: &'a Params<D>, space: &'a mut Workspace<D>) -> Self {
        Self::start(device, params, OwnOrLent::Lent(space), false)
    }

    fn start(device: &'a D, params: &'a Params<D>, mut space: OwnOrLent<'a, D>, recording: bool) -> Self {
        static TAPES: AtomicU64 = AtomicU64::new(0);
        space.get().clear();
        Self {
            device,
            params,
            space,
            recording,
            boundaries: Boundaries::All,
            slots: 0,
            number: TAPES.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Chooses which chunk boundaries the memories to come keep; it changes no number.
    pub fn keep_boundaries(&mut self, boundaries: Boundaries) {
        self.boundaries = boundaries;
    }

    /// Whether the tape can go backward.
    pub fn is_recording(&self) -> bool {
        self.recording
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
        self.backward_to(losses, scale, gradients, None).map(|_| ())
    }

    /// [`Tape::backward`] that tells of every parameter when its gradient is done, the last ones first, so that it can
    /// be used while the others are computed.
    ///
    /// # Errors
    /// As [`Tape::backward`]; what `hear` says.
    pub fn backward_heard(
        mut self,
        losses: &Losses<D>,
        scale: f64,
        gradients: &mut Gradients<D>,
        hear: HearGradient<'_, D>,
    ) -> Result<()> {
        let seed = self.seed()?;
        self.run_backward((losses.slot, seed), scale, gradients, None, Some(hear)).map(|_| ())
    }

    /// [`Tape::backward`] that also gives the cotangent of one of the tape's inputs; `None` where it has none.
    ///
    /// # Errors
    /// As [`Tape::backward`].
    pub fn backward_to(
        mut self,
        losses: &Losses<D>,
        scale: f64,
        gradients: &mut Gradients<D>,
        input: Option<&Var<D>>,
    ) -> Result<Option<Shared<D>>> {
        let seed = self.seed()?;
        self.run_backward((losses.slot, seed), scale, gradients, input, None)
    }

    /// What a backward from losses begins with, whose number nobody reads: losses are weighted by the scale itself.
    fn seed(&mut self) -> Result<Shared<D>> {
        let seed = self.device.zeros(1)?;
        Ok(self.share(seed))
    }

    /// Adds to `gradients` the gradient of `Σ cotangent ∘ y`: the vector–Jacobian product of all that led to `y`.
    ///
    /// # Errors
    /// As [`Tape::backward`]; also [`Error::Usage`] when the cotangent has another length than `y`.
    pub fn backward_from(self, y: &Var<D>, cotangent: D::Buffer, gradients: &mut Gradients<D>) -> Result<()> {
        self.backward_through(y, Shared::new(cotangent), gradients, None).map(|_| ())
    }

    /// [`Tape::backward_from`] that also gives the cotangent of one of the tape's inputs; `None` where it has none.
    ///
    /// # Errors
    /// As [`Tape::backward_from`].
    pub fn backward_through(
        self,
        y: &Var<D>,
        cotangent: Shared<D>,
        gradients: &mut Gradients<D>,
        input: Option<&Var<D>>,
    ) -> Result<Option<Shared<D>>> {
        let (expected, found) = (self.device.len(&y.buffer), self.device.len(&cotangent));
        if expected != found {
            return Err(Error::usage(format!("cotangent: expected {expected} elements, found {found}")));
        }
        self.run_backward((y.slot, cotangent), 1.0, gradients, input, None)
    }

    /// Reverse mode: the operations from the last to the first, each one's [`Op::vjp`] once the cotangents of its
    /// outputs are complete, which they are when all later operations have had theirs.
    fn run_backward(
        mut self,
        (from, seed): (Option<Slot>, Shared<D>),
        scale: f64,
        gradients: &mut Gradients<D>,
        input: Option<&Var<D>>,
        mut hear: Option<HearGradient<'_, D>>,
    ) -> Result<Option<Shared<D>>> {
        let (true, Some(from)) = (self.recording, from) else {
            return Err(Error::usage("backward needs a recording tape and an output of it; use Tape::recording"));
        };
        gradients.check(self.device, self.params)?;
        let Workspace { records, slots, parts, cells } = self.space.get();
        slots.resize_with(self.slots, || None);
        let (device, params, tape) = (self.device, self.params, self.number);
        let uses = hear.is_some().then(|| FirstUses::of(params.len(), records.iter().map(|record| &record.op)));
        let mut run = Backward { device, params, gradients, slots, parts, cells, tape, scale };
        run.seed(from, seed)?;
        while let Some(TapeRecord { first, op }) = records.pop() {
            let cotangents = run.output_cotangents(first, op.cotangents());
            // Before its backward takes it apart: by its number it is the first use of these parameters, or is not.
            let done = uses.as_ref().map_or([None; PARAMS], |uses| uses.done(op.params(), records.len()));
            // Those that are not given cotangents look for them: a part of an assembly at the whole's, a cut at its
            // parts'.
            if op.cotangents() == 0 || cotangents.iter().any(Option::is_some) {
                op.vjp(&mut run, cotangents)?;
            }
            if let Some(hear) = &mut hear {
                done.into_iter().flatten().try_for_each(|id| hear(id, run.gradients.get(id)?))?;
            }
        }
        match input.and_then(|x| x.slot) {
            Some(slot) => run.cotangent(slot),
            None => Ok(None),
        }
    }

    /// An input whose cotangent [`Tape::backward_through`] can give.
    pub fn input(&mut self, buffer: Shared<D>) -> Var<D> {
        let slot = self.recording.then_some(Slot { tape: self.number, index: self.slots });
        self.slots += usize::from(self.recording);
        Var { buffer, slot }
    }

    /// Makes a variable of an operation's only output and remembers the operation.
    fn push(&mut self, y: D::Buffer, op: impl FnOnce() -> Op<D>) -> Var<D> {
        let slot = self.remember(op);
        Var { buffer: self.share(y), slot }
    }

    /// Remembers an operation; the slot of its first output, others follow.
    fn remember(&mut self, op: impl FnOnce() -> Op<D>) -> Option<Slot> {
        if !self.recording {
            return None;
        }
        let (first, op) = (self.slots, op());
        self.slots += op.outputs();
        self.space.get().records.push(TapeRecord { first, op });
        Some(Slot { tape: self.number, index: first })
    }

    /// An input without a gradient whose counter is the tape's, so that nothing is taken from the heap for it.
    pub fn constant(&mut self, buffer: D::Buffer) -> Var<D> {
        Var::of(self.share(buffer))
    }

    /// A buffer that others may hold too.
    fn share(&mut self, buffer: D::Buffer) -> Shared<D> {
        self.space.get().cells.share(buffer)
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
        f.debug_struct("Tape").field("recording", &self.recording).field("slots", &self.slots).finish_non_exhaustive()
    }
}
