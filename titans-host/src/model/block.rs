//! One block: the LMM mixer and the SwiGLU.

use super::layout::{Block, Projection};
use super::stream::LayerState;
use super::{MemoryMode, Model};
use crate::device::{Device, MemoryOp};
use crate::error::Result;
use crate::tape::{Shared, Tape, Var};

/// The segment a mixer works on.
pub(super) struct Segment<'a, D: Device> {
    pub(super) batch: usize,
    pub(super) time: usize,
    pub(super) mode: MemoryMode,
    /// Where the stream stands; `None` begins at w0 and gives no state after.
    pub(super) before: Option<&'a LayerState<D>>,
    pub(super) surprise: bool,
}

/// What a mixer or a block gives.
pub(super) struct Mixed<D: Device> {
    pub(super) y: Var<D>,
    pub(super) after: Option<LayerState<D>>,
    pub(super) surprise: Option<D::Buffer>,
    pub(super) clipped: u64,
}

impl<D: Device> Model<D> {
    /// The stream `x` after one block; `y` of what it gives is all of it.
    pub(super) fn block(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        x: &Var<D>,
        segment: &Segment<'_, D>,
    ) -> Result<Mixed<D>> {
        let mut mixed = if segment.mode == MemoryMode::Absent {
            Mixed { y: x.clone(), after: None, surprise: None, clipped: 0 }
        } else {
            let mixed = self.mixer(tape, block, x, segment)?;
            Mixed { y: tape.add(x, &mixed.y)?, ..mixed }
        };
        let y = self.feed_forward(tape, block, &mixed.y)?;
        mixed.y = tape.add(&mixed.y, &y)?;
        Ok(mixed)
    }

    /// Mixer(rms_norm(x)): keys, values and queries into the memories, their normalised and gated read-outs back.
    pub(super) fn mixer(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        x: &Var<D>,
        segment: &Segment<'_, D>,
    ) -> Result<Mixed<D>> {
        let c = &self.config;
        let n = tape.rms_norm(x, block.norm)?;
        let tail = |i: usize| segment.before.map(|s| s.tails[i].clone());
        let (q, q_tail) = project(tape, segment.batch, &n, &block.q, tail(0))?;
        let (k, k_tail) = project(tape, segment.batch, &n, &block.k, tail(1))?;
        let (v, v_tail) = project(tape, segment.batch, &n, &block.v, tail(2))?;
        let q = tape.l2_norm(c.head_width, &q)?;
        let k = tape.l2_norm(c.head_width, &k)?;
        let gates = tape.linear(&n, block.gates, Some(block.gates_bias))?;
        let gates = tape.gates(c.heads, [1.0, c.theta_max, 1.0], &gates)?;
        let state = match segment.before {
            Some(before) => Var::of(before.memory.clone()),
            None => tape.memory_start(segment.batch, block.w0)?,
        };
        let op = MemoryOp {
            spec: self.spec.clone(),
            batch: segment.batch,
            time: segment.time,
            heads: c.heads,
            read: c.memory.read,
            read_only: segment.mode == MemoryMode::Frozen,
            token_form: false,
        };
        let read = tape.memory(&op, &k, &v, &q, &gates, &state, segment.surprise)?;
        let y = tape.rms_norm(&read.y, block.read_norm)?;
        let gate = tape.linear(&n, block.gate, None)?;
        let y = tape.silu_gate(&y, &gate)?;
        let y = tape.linear(&y, block.out, None)?;
        let after = match (q_tail, k_tail, v_tail) {
            (Some(q), Some(k), Some(v)) => Some(LayerState { memory: read.state.share(), tails: [q, k, v] }),
            _ => None,
        };
        Ok(Mixed { y, after, surprise: read.surprise, clipped: read.clipped })
    }

    /// SwiGLU(rms_norm(x)).
    pub(super) fn feed_forward(&self, tape: &mut Tape<'_, D>, block: &Block, x: &Var<D>) -> Result<Var<D>> {
        let n = tape.rms_norm(x, block.ff_norm)?;
        let up = tape.linear(&n, block.ff_up, None)?;
        let gate = tape.linear(&n, block.ff_gate, None)?;
        let y = tape.silu_gate(&up, &gate)?;
        tape.linear(&y, block.ff_down, None)
    }
}

/// An activation `[batch, time, heads, head_width]`, and the convolution's tail if it was asked for.
type Projected<D> = (Var<D>, Option<Shared<D>>);

/// A linear map, the convolution and SiLU; with a tail, also the next segment's.
fn project<D: Device>(
    tape: &mut Tape<'_, D>,
    batch: usize,
    x: &Var<D>,
    p: &Projection,
    tail: Option<Shared<D>>,
) -> Result<Projected<D>> {
    let x = tape.linear(x, p.weight, None)?;
    let next = match &tail {
        Some(tail) => Some(Shared::new(tape.conv_tail(batch, &x, Some(tail), p.conv)?)),
        None => None,
    };
    let x = tape.conv(batch, &x, tail, p.conv, p.conv_bias)?;
    Ok((tape.silu(&x)?, next))
}
