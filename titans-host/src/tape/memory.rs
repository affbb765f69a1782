//! The memory and its gates on the tape.

use super::{Backward, Op, ParamId, Shared, Slot, Tape, Var};
use crate::device::{Device, InputGradient, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::{Error, Result};
use std::fmt;

/// What [`Tape::memory`] gives.
pub struct MemoryRead<D: Device> {
    /// Read-outs `[batch, time, heads, d_L]`.
    pub y: Var<D>,
    /// State after the last token `[batch, heads, 2 P]`; a gradient flows through it too.
    pub state: Var<D>,
    /// ‖M(k_t) − v_t‖² `[batch, time, heads]`, if it was asked for.
    pub surprise: Option<D::Buffer>,
    /// Tokens whose gradient was clipped.
    pub clipped: u64,
}

impl<D: Device> fmt::Debug for MemoryRead<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRead").field("y", &self.y).field("clipped", &self.clipped).finish_non_exhaustive()
    }
}

/// What [`Tape::memory`] is given.
pub struct MemoryVars<'a, D: Device> {
    /// Keys `[batch, time, heads, d_0]`.
    pub k: &'a Var<D>,
    /// Values `[batch, time, heads, d_L]`.
    pub v: &'a Var<D>,
    /// Queries `[batch, time, heads, d_0]`.
    pub q: &'a Var<D>,
    /// From [`Tape::gates`].
    pub gates: &'a Var<D>,
    /// From [`Tape::memory_start`], or from the segment before.
    pub state: &'a Var<D>,
}

impl<D: Device> fmt::Debug for MemoryVars<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { k, v, q, gates, state } = self;
        f.debug_struct("MemoryVars")
            .field("k", k)
            .field("v", v)
            .field("q", q)
            .field("gates", gates)
            .field("state", state)
            .finish()
    }
}

impl<'a, D: Device> MemoryVars<'a, D> {
    fn buffers(&self) -> MemoryInputs<'a, D::Buffer, D::Indices> {
        let Self { k, v, q, gates, state } = self;
        MemoryInputs {
            k: &k.buffer,
            v: &v.buffer,
            q: &q.buffer,
            gates: &gates.buffer,
            state: &state.buffer,
            mask: None,
        }
    }
}

impl<D: Device> Tape<'_, D> {
    /// Gates from logits `[rows, 3, heads]`: `scale ∘ σ(x)` for α, θ, η.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn gates(&mut self, heads: usize, scale: [f64; 3], x: &Var<D>) -> Result<Var<D>> {
        self.rows("gates: x", &x.buffer, heads.saturating_mul(3))?;
        let mut y = self.like(x)?;
        self.device.gates(heads, scale, &x.buffer, &mut y)?;
        // The backward works from the output, which the record therefore shares.
        let y = self.share(y);
        let slot = self.remember(|| Op::Gates { heads, scale, x: x.clone(), y: y.clone() });
        Ok(Var { buffer: y, slot })
    }

    /// The state every sequence starts with, `[batch, heads, 2 P]`: weights `w0 [heads, P]`, momentum 0.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn memory_start(&mut self, batch: usize, w0: ParamId) -> Result<Var<D>> {
        let (heads, params) = self.matrix(w0)?;
        let mut state = self.device.alloc(batch * heads * 2 * params)?;
        self.device.memory_start(batch, heads, self.params.value(w0)?, &mut state)?;
        Ok(self.push(state, || Op::MemoryStart { batch, heads, w0 }))
    }

    /// Writes and reads `batch × heads` memories over `time` tokens (paper, equations 9 to 18).
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn memory(&mut self, op: &MemoryOp, x: MemoryVars<'_, D>, surprise: bool) -> Result<MemoryRead<D>> {
        let device = self.device;
        let mut op = op.clone();
        if self.is_recording() {
            op.keep(self.boundaries);
        }
        let op = &op;
        let tokens = op.batch * op.time * op.heads;
        let mut y = device.alloc(tokens * op.spec.value_width())?;
        let mut last = device.alloc(op.state_len())?;
        let mut surprises = if surprise { Some(device.alloc(tokens)?) } else { None };
        let mut boundaries = if self.is_recording() { Some(device.alloc(op.boundaries_len())?) } else { None };
        let clipped = device.memory(
            op,
            x.buffers(),
            MemoryOutputs {
                y: &mut y,
                surprise: surprises.as_mut(),
                state: Some(&mut last),
                boundaries: boundaries.as_mut(),
            },
        )?;
        let slot = boundaries.and_then(|boundaries| {
            let x = [x.k, x.v, x.q, x.gates, x.state].map(Var::clone);
            self.remember(|| Op::Memory { op: op.clone(), x, boundaries })
        });
        Ok(MemoryRead {
            y: Var { buffer: self.share(y), slot },
            state: Var { buffer: self.share(last), slot: slot.map(|s| Slot { index: s.index + 1, ..s }) },
            surprise: surprises,
            clipped,
        })
    }
}

impl<D: Device> Tape<'_, D> {
    /// The answers to `q` of the weights in `state`, which a read-only `op` leaves as they are. `gates` are what
    /// [`Tape::gates`] would give; they change nothing.
    ///
    /// # Errors
    /// As [`Tape::linear`]; also [`Error::Usage`] for an operation that writes, or has more than one boundary.
    pub fn ask(&mut self, op: &MemoryOp, q: &Var<D>, gates: &Var<D>, state: &Var<D>) -> Result<Var<D>> {
        if !op.read_only || op.boundaries_len() != op.state_len() {
            return Err(Error::usage("ask: expected a read-only memory operation of one chunk"));
        }
        let (device, keeps) = (self.device, self.is_recording() && !self.device.asks_state(op));
        let mut y = device.alloc(op.batch * op.time * op.heads * op.spec.value_width())?;
        let mut boundaries = if keeps { Some(device.alloc(op.boundaries_len())?) } else { None };
        let outputs = MemoryOutputs { y: &mut y, surprise: None, state: None, boundaries: boundaries.as_mut() };
        device.memory(op, idle(q, gates, state).buffers(), outputs)?;
        Ok(self.push(y, || Op::Ask { op: op.clone(), x: [q, gates, state].map(Var::clone), boundaries }))
    }
}

/// What a memory is given that nothing is written to: keys and values say nothing, as the gates.
fn idle<'a, D: Device>(q: &'a Var<D>, gates: &'a Var<D>, state: &'a Var<D>) -> MemoryVars<'a, D> {
    MemoryVars { k: q, v: q, q, gates, state }
}

/// Backward of [`Tape::ask`]; `x` are q, gates and state, and no boundaries are there where the device asks the state.
/// Every answer is y_t = M(q_t) by the same weights W, so q̄_t = (∂M/∂q)ᵀ ȳ_t and W̄ = Σ_t (∂M/∂W)ᵀ ȳ_t (of a linear
/// memory Q̄ = Ȳ Wᵀ, W̄ = Qᵀ Ȳ); S, keys, values and gates are in none of them.
pub(super) fn ask_vjp<D: Device>(
    run: &mut Backward<'_, D>,
    op: &MemoryOp,
    [q, gates, state]: &[Var<D>; 3],
    boundaries: Option<&D::Buffer>,
    d_y: &D::Buffer,
) -> Result<()> {
    let start = boundaries.unwrap_or(state.buffer());
    let (device, inputs, mut d_q) = (run.device, idle(q, gates, state).buffers(), run.like(q)?);
    let mut sum = match state.slot {
        Some(slot) => run.cotangent(slot)?,
        None => None,
    };
    // What the state's other uses left is added to by the operation itself, as by linear maps.
    if let (Some(slot), Some(d_state)) = (state.slot, sum.as_mut().and_then(Shared::get_mut)) {
        device.ask_vjp(op, inputs, start, d_y, &mut d_q, InputGradient::Add(d_state))?;
        sum.map_or(Ok(()), |sum| run.seed(slot, sum))?;
    } else {
        let mut d_state = run.like(state)?;
        device.ask_vjp(op, inputs, start, d_y, &mut d_q, InputGradient::Set(&mut d_state))?;
        if let (Some(slot), Some(sum)) = (state.slot, sum) {
            run.seed(slot, sum)?;
        }
        run.give(state, d_state)?;
    }
    run.give(q, d_q)
}

/// Backward of [`Tape::memory`]; `x` are k, v, q, gates and state. Read-outs and final state are functions of all five,
/// so each receives its share of ⟨d_y, y⟩ + ⟨d_final, state⟩ (`docs/MATH.md` section 4, by [`Device::memory_vjp`]). An
/// output that nobody used has no cotangent; its share is 0.
pub(super) fn vjp<D: Device>(
    run: &mut Backward<'_, D>,
    op: &MemoryOp,
    x: &[Var<D>; 5],
    boundaries: &D::Buffer,
    d_y: Option<&D::Buffer>,
    d_final: Option<&D::Buffer>,
) -> Result<()> {
    let [k, v, q, gates, state] = x;
    let [mut d_k, mut d_v, mut d_q] = [run.like(k)?, run.like(v)?, run.like(q)?];
    let [mut d_gates, mut d_state] = [run.like(gates)?, run.like(state)?];
    let gradients =
        MemoryGradients { d_k: &mut d_k, d_v: &mut d_v, d_q: &mut d_q, d_gates: &mut d_gates, d_state: &mut d_state };
    let inputs = MemoryVars { k, v, q, gates, state }.buffers();
    run.device.memory_vjp(op, inputs, boundaries, d_y, d_final, gradients)?;
    run.give(state, d_state)?;
    run.give(gates, d_gates)?;
    run.give(q, d_q)?;
    run.give(v, d_v)?;
    run.give(k, d_k)
}
