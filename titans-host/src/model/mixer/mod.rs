//! The mixers: LMM, MAC, MAG, MAL and plain attention (paper, section 4; `docs/MATH.md`, section 6).
//!
//! A mixer takes the stream x `[batch, time, width]` and its norm n and gives rows of all heads `[batch, time, heads ·
//! head_width]`, which the block's last linear map brings back to the stream.

mod attention;
mod mac;
mod mac_memory;
mod mac_residual;
mod mac_walk;
mod memory;

use super::block::{Mixed, Segment};
use super::dropout::Addition;
use super::layout::Block;
use super::{Combine, Kind, Model};
use crate::device::Device;
use crate::error::Result;
use crate::tape::{Tape, Var};

/// Rows that begin with the persistent ones: ñ = [P ‖ n].
struct Rows<D: Device> {
    all: Var<D>,
    persistent: usize,
}

impl<D: Device> Rows<D> {
    /// Tokens alone.
    fn of(n: &Var<D>) -> Self {
        Self { all: n.clone(), persistent: 0 }
    }
}

impl<D: Device> Model<D> {
    pub(super) fn mixer(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        x: &Var<D>,
        n: &Var<D>,
        segment: &Segment<'_, D>,
    ) -> Result<Mixed<D>> {
        let (batch, time) = (segment.batch, segment.time);
        let residual = self.config.wiring.is_residual();
        match block.kind {
            Kind::Lmm => {
                let rows = self.rows(tape, block, n, segment)?;
                let mixed = self.remember(tape, block, &rows, segment)?;
                let y = self.token_rows(tape, &mixed.y, &rows, segment)?;
                Ok(Mixed { y: self.read_out(tape, block, &y, n)?, ..mixed })
            }
            Kind::Attention => {
                let p = self.persistent(tape, block, batch)?;
                Ok(Mixed::of(self.attend(tape, block, n, p.as_ref(), batch, time)?))
            }
            Kind::Mag => {
                let p = self.persistent(tape, block, batch)?;
                let a = self.attend(tape, block, n, p.as_ref(), batch, time)?;
                let rows = if residual { Rows::of(n) } else { self.rows(tape, block, n, segment)? };
                let mixed = self.remember(tape, block, &rows, segment)?;
                let r = self.token_rows(tape, &mixed.y, &rows, segment)?;
                Ok(Mixed { y: self.join(tape, block, &a, &r, n)?, ..mixed })
            }
            Kind::Mal if residual => {
                let mixed = self.remember(tape, block, &Rows::of(n), segment)?;
                let y = self.read_out(tape, block, &mixed.y, n)?;
                let y = tape.linear(&y, block.w.memory_out, None)?;
                let y = segment.dropout.apply(tape, Addition::First(0), y)?;
                let x = tape.add(x, &y)?;
                let (z, p) = (tape.rms_norm(&x, block.w.attention_norm)?, self.persistent(tape, block, batch)?);
                let y = self.attend(tape, block, &z, p.as_ref(), batch, time)?;
                Ok(Mixed { y, stream: Some(x), ..mixed })
            }
            Kind::Mal => {
                let rows = self.rows(tape, block, n, segment)?;
                let mixed = self.remember(tape, block, &rows, segment)?;
                let y = self.read_out(tape, block, &mixed.y, &rows.all)?;
                let z = tape.linear(&y, block.w.memory_out, None)?;
                let z = tape.rms_norm(&z, block.w.attention_norm)?;
                let (width, p) = (self.config.width, rows.persistent);
                let first = if p > 0 { Some(tape.slice(&z, batch, 0, p, width)?) } else { None };
                let tokens = if p > 0 { tape.slice(&z, batch, p, time, width)? } else { z };
                Ok(Mixed { y: self.attend(tape, block, &tokens, first.as_ref(), batch, time)?, ..mixed })
            }
            Kind::Mac if residual => self.mac_residual(tape, block, [x, n], segment),
            Kind::Mac => self.mac(tape, block, n, segment),
        }
    }

    /// The persistent rows `[batch, N_p, width]`, if there are any.
    fn persistent(&self, tape: &mut Tape<'_, D>, block: &Block, batch: usize) -> Result<Option<Var<D>>> {
        block.w.persistent.some().map(|p| tape.repeat(p, batch)).transpose()
    }

    /// ñ = [P ‖ n].
    fn rows(&self, tape: &mut Tape<'_, D>, block: &Block, n: &Var<D>, segment: &Segment<'_, D>) -> Result<Rows<D>> {
        let (batch, time, width) = (segment.batch, segment.time, self.config.width);
        // A memory that goes on has read them before.
        let first = if segment.start.is_some() { None } else { self.persistent(tape, block, batch)? };
        let Some(p) = first else { return Ok(Rows::of(n)) };
        let persistent = self.config.persistent;
        let mut all = tape.assemble(batch, persistent + time, width)?;
        all.place(tape, 0, persistent, &p)?;
        all.place(tape, persistent, time, n)?;
        Ok(Rows { all: all.finish(tape)?, persistent })
    }

    /// The tokens' rows of all heads without the persistent ones'.
    fn token_rows(
        &self,
        tape: &mut Tape<'_, D>,
        x: &Var<D>,
        rows: &Rows<D>,
        segment: &Segment<'_, D>,
    ) -> Result<Var<D>> {
        match rows.persistent {
            0 => Ok(x.clone()),
            p => tape.slice(x, segment.batch, p, segment.time, self.config.inner()),
        }
    }

    /// rms_norm(r) head by head, gated by the rows that the memory read for.
    fn read_out(&self, tape: &mut Tape<'_, D>, block: &Block, r: &Var<D>, rows: &Var<D>) -> Result<Var<D>> {
        let y = tape.rms_norm(r, block.w.read_norm)?;
        let gate = tape.linear(rows, block.w.gate, None)?;
        tape.silu_gate(&y, &gate)
    }

    /// What MAG makes of attention's output and the read-outs r of rows n.
    fn join(&self, tape: &mut Tape<'_, D>, block: &Block, a: &Var<D>, r: &Var<D>, n: &Var<D>) -> Result<Var<D>> {
        match self.config.combine {
            Combine::Gates => {
                let m = self.read_out(tape, block, r, n)?;
                tape.add(&m, a)
            }
            Combine::Gated => {
                let m = tape.rms_norm(r, block.w.read_norm)?;
                let sum = tape.add(&m, a)?;
                let gate = tape.linear(n, block.w.gate, None)?;
                tape.silu_gate(&sum, &gate)
            }
            Combine::Product | Combine::Silu | Combine::Sigmoid | Combine::Sum => {
                let a = tape.rms_norm(a, block.w.combine[0])?;
                self.combine(tape, block, &a, r)
            }
        }
    }

    /// ŷ ⊗ rms_norm(r), from the normalised ŷ.
    fn combine(&self, tape: &mut Tape<'_, D>, block: &Block, y: &Var<D>, r: &Var<D>) -> Result<Var<D>> {
        let m = tape.rms_norm(r, block.w.combine[1])?;
        match self.config.combine {
            Combine::Product => {
                let y = tape.silu(y)?;
                tape.silu_gate(&y, &m)
            }
            Combine::Silu => tape.silu_gate(y, &m),
            Combine::Sigmoid => tape.sigmoid_gate(y, &m),
            // Those of the other wiring never come here.
            Combine::Sum | Combine::Gated | Combine::Gates => tape.add(y, &m),
        }
    }
}
