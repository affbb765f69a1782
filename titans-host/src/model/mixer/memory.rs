//! Rows into the memories and out of them.

use super::Rows;
use crate::device::{Device, MemoryOp, MoveRows, Place};
use crate::error::Result;
use crate::model::block::{Mixed, Segment};
use crate::model::layout::Block;
use crate::model::{GateSpan, Mode, Model};
use crate::tape::{MemoryVars, ParamId, Tape, Var};
use titans_kernel::model::Projection;

impl<D: Device> Model<D> {
    /// M(q) of all rows, `[batch, rows, heads, head_width]`.
    pub(super) fn remember(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        rows: &Rows<D>,
        segment: &Segment<'_, D>,
    ) -> Result<Mixed<D>> {
        let (c, u, batch) = (&self.config, &rows.all, segment.batch);
        let time = rows.persistent + segment.time;
        if !segment.mode.answers() {
            return Ok(Mixed::of(self.nothing(tape, batch * time * c.inner())?));
        }
        let [q, k, v] = &block.w.memory;
        let q = project(tape, batch, u, q)?;
        let k = project(tape, batch, u, k)?;
        let v = project(tape, batch, u, v)?;
        let q = tape.l2_norm(c.head_width, &q)?;
        let k = tape.l2_norm(c.head_width, &k)?;
        let gates = self.gates(tape, block, u, batch)?;
        let state = segment.state(tape, block.w.w0)?;
        let op = self.memory_op(batch, time, segment.mode);
        let read =
            tape.memory(&op, MemoryVars { k: &k, v: &v, q: &q, gates: &gates, state: &state }, segment.surprise)?;
        let surprise = read.surprise.map(|s| self.token_surprise(tape, s, rows.persistent, segment)).transpose()?;
        Ok(Mixed { y: read.y, stream: None, surprise, clipped: read.clipped, state: Some(read.state) })
    }

    /// One call of the memories over `time` rows, which write where they are on.
    pub(super) fn memory_op(&self, batch: usize, time: usize, mode: Mode) -> MemoryOp {
        let (spec, heads, read) = (self.spec.clone(), self.config.heads, self.config.memory.read);
        MemoryOp { spec, batch, time, heads, read, read_only: !mode.writes(), token_form: false }
    }

    /// α, θ, η of all rows `[batch, rows, 3, heads, L]`, L being 1 where a memory's layers share them.
    pub(super) fn gates(&self, tape: &mut Tape<'_, D>, block: &Block, u: &Var<D>, batch: usize) -> Result<Var<D>> {
        let c = &self.config;
        let gates = tape.linear(u, block.w.gates, Some(block.w.gates_bias))?;
        let width = c.gates_width();
        let gates = tape.gates(width / 3, self.largest_gates(), &gates)?;
        match c.gates {
            GateSpan::Token => Ok(gates),
            GateSpan::Chunk => tape.hold(&gates, batch, self.spec.chunk, width),
        }
    }

    /// The largest α, θ and η.
    pub(super) fn largest_gates(&self) -> [f64; 3] {
        let (c, on) = (&self.config, |there: bool| if there { 1.0 } else { 0.0 });
        [on(c.forgetting), c.theta_max, c.eta_max * on(c.momentum)]
    }

    /// What a memory that is not there answers.
    pub(super) fn nothing(&self, tape: &mut Tape<'_, D>, len: usize) -> Result<Var<D>> {
        let zeros = tape.device().zeros(len)?;
        Ok(tape.constant(zeros))
    }

    /// Surprise of the tokens alone.
    fn token_surprise(
        &self,
        tape: &Tape<'_, D>,
        all: D::Buffer,
        persistent: usize,
        segment: &Segment<'_, D>,
    ) -> Result<D::Buffer> {
        if persistent == 0 {
            return Ok(all);
        }
        let (batch, rows, width) = (segment.batch, segment.time, self.config.heads);
        let mut tokens = tape.device().alloc(batch * rows * width)?;
        let moved = MoveRows {
            batch,
            rows,
            width,
            from: Place::new(persistent + rows, persistent),
            to: Place::new(rows, 0),
            add: false,
        };
        tape.device().move_rows(&moved, &all, &mut tokens)?;
        Ok(tokens)
    }
}

/// A linear map, the convolution and SiLU: `[batch, time, heads, head_width]`.
pub(super) fn project<D: Device>(
    tape: &mut Tape<'_, D>,
    batch: usize,
    x: &Var<D>,
    p: &Projection<ParamId, ParamId>,
) -> Result<Var<D>> {
    let mut x = tape.linear(x, p.weight, None)?;
    if let Some(conv) = p.conv.some() {
        x = tape.conv(batch, &x, None, conv, p.bias)?;
    }
    tape.silu(&x)
}
