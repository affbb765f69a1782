//! What a tape remembers of every operation, and the way back through it.

use super::ops::{conv_vjp, linear_vjp};
use super::{Backward, ParamId, Shared, Slot, Var, attention, memory, rows, segments, walk};
use crate::device::{ConvDims, Cut, Device, DropMask, LinearDims, MemoryOp, MoveRows};
use crate::error::Result;
use std::sync::Arc;

/// Cotangents of an operation's outputs; `None`: nobody used that output, or there is none.
pub(super) type Cotangents<D> = [Option<Shared<D>>; 2];

/// Parameters of an operation at the most: of a walk over segments.
pub(super) const PARAMS: usize = 12;

/// An operation with what its backward needs. A list instead of closures, so that recording allocates nothing.
// The memory is the largest by far and recorded once a block: a box for it would be an allocation.
#[allow(clippy::large_enum_variant)]
pub(super) enum Op<D: Device> {
    Add {
        a: Var<D>,
        b: Var<D>,
    },
    Silu {
        x: Var<D>,
    },
    SiluGate {
        a: Var<D>,
        gate: Var<D>,
    },
    SigmoidGate {
        a: Var<D>,
        gate: Var<D>,
    },
    /// Of its input nothing but the place: the mask is computed again.
    Dropout {
        mask: DropMask,
        x: Slot,
    },
    /// A slice or rows held: rows of what collects `len` elements of cotangent at `x`.
    Move {
        op: MoveRows,
        x: Slot,
        len: usize,
    },
    /// Rows of a parameter.
    Repeat {
        op: MoveRows,
        rows: ParamId,
    },
    /// The output of an assembly, recorded before its parts.
    Assemble,
    /// A part of an assembly, with no output of its own.
    Part {
        op: MoveRows,
        x: Slot,
        len: usize,
        whole: Slot,
    },
    /// Sequences cut into parts, whose slots begin with `first`.
    Split {
        cut: Cut,
        x: Slot,
        first: usize,
    },
    /// Parts put together; in the workspace they begin with `first`.
    Join {
        cut: Cut,
        first: usize,
    },
    Linear {
        dims: LinearDims,
        x: Var<D>,
        weight: ParamId,
        bias: Option<ParamId>,
    },
    RmsNorm {
        width: usize,
        x: Var<D>,
        weight: ParamId,
    },
    L2Norm {
        width: usize,
        x: Var<D>,
    },
    Conv {
        dims: ConvDims,
        x: Var<D>,
        tail: Option<Var<D>>,
        weight: ParamId,
        bias: ParamId,
    },
    Attention(attention::Recorded<D>),
    Gates {
        heads: usize,
        scale: [f64; 3],
        x: Var<D>,
        y: Shared<D>,
    },
    MemoryStart {
        batch: usize,
        heads: usize,
        w0: ParamId,
    },
    Memory {
        op: MemoryOp,
        x: [Var<D>; 5],
        boundaries: D::Buffer,
    },
    /// q, gates, state.
    Ask {
        op: MemoryOp,
        x: [Var<D>; 3],
        boundaries: Option<D::Buffer>,
    },
    /// MAC's walk over segments.
    Walk(Box<walk::RecordedWalk<D>>),
    Embedding {
        width: usize,
        ids: Arc<D::Indices>,
        table: ParamId,
    },
    Pool {
        time: usize,
        width: usize,
        lengths: Arc<D::Indices>,
        x: Slot,
        len: usize,
    },
    CrossEntropy {
        classes: usize,
        logits: Var<D>,
        targets: Arc<D::Indices>,
    },
    SquaredError {
        width: usize,
        x: Var<D>,
        target: Shared<D>,
    },
}

impl<D: Device> Op<D> {
    /// Outputs, each with a slot of its own, and cotangents that its backward is given.
    fn arity(&self) -> (usize, usize) {
        match self {
            Self::Part { .. } => (0, 0),
            Self::Memory { .. } => (2, 2),
            Self::Split { cut, .. } => (cut.count(), 0),
            Self::Walk(_) => (3, 0),
            Self::Linear { .. }
            | Self::Conv { .. }
            | Self::RmsNorm { .. }
            | Self::Repeat { .. }
            | Self::MemoryStart { .. }
            | Self::Embedding { .. }
            | Self::Add { .. }
            | Self::Silu { .. }
            | Self::SiluGate { .. }
            | Self::SigmoidGate { .. }
            | Self::Dropout { .. }
            | Self::Move { .. }
            | Self::Assemble
            | Self::Join { .. }
            | Self::L2Norm { .. }
            | Self::Attention(_)
            | Self::Gates { .. }
            | Self::Ask { .. }
            | Self::Pool { .. }
            | Self::CrossEntropy { .. }
            | Self::SquaredError { .. } => (1, 1),
        }
    }

    /// Outputs, each with a slot of its own.
    pub(super) fn outputs(&self) -> usize {
        self.arity().0
    }

    /// Cotangents that its backward is given.
    pub(super) fn cotangents(&self) -> usize {
        self.arity().1
    }

    /// The parameters whose gradients its backward adds to.
    pub(super) fn params(&self) -> [Option<ParamId>; PARAMS] {
        let mut all = [None; PARAMS];
        match *self {
            Self::Linear { weight, bias, .. } => (all[0], all[1]) = (Some(weight), bias),
            Self::Conv { weight, bias, .. } => (all[0], all[1]) = (Some(weight), Some(bias)),
            Self::Walk(ref walk) => all = walk.params().map(Some),
            Self::RmsNorm { weight: one, .. }
            | Self::Repeat { rows: one, .. }
            | Self::MemoryStart { w0: one, .. }
            | Self::Embedding { table: one, .. } => all[0] = Some(one),
            Self::Add { .. }
            | Self::Silu { .. }
            | Self::SiluGate { .. }
            | Self::SigmoidGate { .. }
            | Self::Dropout { .. }
            | Self::Move { .. }
            | Self::Assemble
            | Self::Part { .. }
            | Self::Split { .. }
            | Self::Join { .. }
            | Self::L2Norm { .. }
            | Self::Attention(_)
            | Self::Gates { .. }
            | Self::Memory { .. }
            | Self::Ask { .. }
            | Self::Pool { .. }
            | Self::CrossEntropy { .. }
            | Self::SquaredError { .. } => {}
        }
        all
    }

    /// The chain rule for y = f(x, …) of loss ℓ: with ȳ = ∂ℓ/∂y of all who used y, adds x̄ = (∂y/∂x)ᵀ ȳ to the
    /// cotangent of every operand and to the gradient of every parameter; frees what it kept. The losses' own ȳ is the
    /// scale.
    pub(super) fn vjp(self, run: &mut Backward<'_, D>, cotangents: Cotangents<D>) -> Result<()> {
        let device = run.device;
        let (d_y, second) = match (self, cotangents) {
            (Self::Memory { op, x, boundaries }, [d_y, d_final]) => {
                return memory::vjp(run, &op, &x, &boundaries, d_y.as_deref(), d_final.as_deref());
            }
            (Self::CrossEntropy { classes, logits, targets }, _) => {
                let mut d_logits = run.like(&logits)?;
                device.cross_entropy_vjp(classes, logits.buffer(), &targets, run.scale, &mut d_logits)?;
                return run.give(&logits, d_logits);
            }
            (Self::SquaredError { width, x, target }, _) => {
                let mut d_x = run.like(&x)?;
                device.squared_error_vjp(width, x.buffer(), &target, run.scale, &mut d_x)?;
                return run.give(&x, d_x);
            }
            (Self::Part { op, x, len, whole }, _) => return rows::part_vjp(run, &op, x, len, whole),
            (Self::Split { cut, x, first }, _) => return segments::split_vjp(run, &cut, x, first),
            (Self::Walk(walk), _) => return walk::vjp(run, &walk),
            (op, [Some(d_y), _]) => (d_y, op),
            (_, [None, _]) => return Ok(()),
        };
        second.vjp_of_one(run, d_y)
    }

    /// [`Op::vjp`] of an operation with one output; (∂y/∂x)ᵀ ȳ is the device's, derived where the kernel computes it.
    fn vjp_of_one(self, run: &mut Backward<'_, D>, d_y: Shared<D>) -> Result<()> {
        let device = run.device;
        match self {
            // The sum's cotangent is both terms' own: shared, never copied.
            Self::Add { a, b } => {
                run.give_shared(&b, d_y.clone())?;
                run.give_shared(&a, d_y)
            }
            Self::Silu { x } => {
                let mut d_x = run.like(&x)?;
                device.silu_vjp(x.buffer(), &d_y, &mut d_x)?;
                run.give(&x, d_x)
            }
            Self::SiluGate { a, gate } => {
                let (mut d_a, mut d_gate) = (run.like(&a)?, run.like(&gate)?);
                device.silu_gate_vjp(a.buffer(), gate.buffer(), &d_y, &mut d_a, &mut d_gate)?;
                run.give(&gate, d_gate)?;
                run.give(&a, d_a)
            }
            Self::SigmoidGate { a, gate } => {
                let (mut d_a, mut d_gate) = (run.like(&a)?, run.like(&gate)?);
                device.sigmoid_gate_vjp(a.buffer(), gate.buffer(), &d_y, &mut d_a, &mut d_gate)?;
                run.give(&gate, d_gate)?;
                run.give(&a, d_a)
            }
            // y = m ∘ x / (1 − P), a diagonal map: its transpose is itself.
            Self::Dropout { mask, x } => {
                let mut d_x = device.alloc(device.len(&d_y))?;
                device.dropout(&mask, &d_y, &mut d_x)?;
                run.accumulate_own(x, d_x)
            }
            // y = R x with R a matrix of zeros and ones: d_x = Rᵀ d_y, the move back.
            Self::Move { op, x, len } => run.give_rows(x, len, &op.reversed(), &d_y),
            Self::Join { cut, first } => segments::join_vjp(run, &cut, first, &d_y),
            Self::Repeat { op, rows } => device.move_rows(&op.reversed(), &d_y, run.gradient(rows)?),
            Self::Attention(recorded) => attention::vjp(run, &recorded, &d_y),
            Self::Linear { dims, x, weight, bias } => linear_vjp(run, dims, &x, (weight, bias), &d_y),
            Self::RmsNorm { width, x, weight } => {
                let (w, mut d_x) = (run.param(weight)?, run.like(&x)?);
                device.rms_norm_vjp(width, x.buffer(), w, &d_y, &mut d_x, run.gradient(weight)?)?;
                run.give(&x, d_x)
            }
            Self::L2Norm { width, x } => {
                let mut d_x = run.like(&x)?;
                device.l2_norm_vjp(width, x.buffer(), &d_y, &mut d_x)?;
                run.give(&x, d_x)
            }
            Self::Conv { dims, x, tail, weight, bias } => conv_vjp(run, dims, &x, tail.as_ref(), (weight, bias), &d_y),
            Self::Gates { heads, scale, x, y } => {
                let mut d_x = run.like(&x)?;
                device.gates_vjp(heads, scale, &y, &d_y, &mut d_x)?;
                run.give(&x, d_x)
            }
            Self::Ask { op, x, boundaries } => memory::ask_vjp(run, &op, &x, boundaries.as_ref(), &d_y),
            Self::MemoryStart { batch, heads, w0 } => device.memory_start_vjp(batch, heads, &d_y, run.gradient(w0)?),
            Self::Embedding { width, ids, table } => device.embedding_vjp(width, &ids, &d_y, run.gradient(table)?),
            Self::Pool { time, width, lengths, x, len } => {
                let mut d_x = device.alloc(len)?;
                device.pool_vjp(time, width, &lengths, &d_y, &mut d_x)?;
                run.accumulate_own(x, d_x)
            }
            // The parts have had it; the others have ways of their own.
            Self::Assemble
            | Self::Part { .. }
            | Self::Split { .. }
            | Self::Walk(_)
            | Self::Memory { .. }
            | Self::CrossEntropy { .. }
            | Self::SquaredError { .. } => Ok(()),
        }
    }
}
