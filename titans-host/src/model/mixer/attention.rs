//! Sliding-window attention with persistent tokens.

use crate::device::{AttentionOp, Device, Span};
use crate::error::Result;
use crate::model::Model;
use crate::model::layout::{AttentionParams, Projection};
use crate::tape::{Tape, Var};

/// Base of the rotary positions' wavelengths.
pub(in crate::model) const ROTARY_BASE: f64 = 10_000.0;

impl<D: Device> Model<D> {
    /// Attention of `tokens` `[batch, time, width]` within the window, and to the persistent rows `[batch, N_p, width]`; with head norms
    /// and gate where it has them.
    pub(super) fn attend(
        &self,
        tape: &mut Tape<'_, D>,
        p: &AttentionParams,
        tokens: &Var<D>,
        persistent: Option<&Var<D>>,
        batch: usize,
        time: usize,
    ) -> Result<Var<D>> {
        let [q, k, v] = self.token_keys(tape, p, tokens, batch)?;
        let first = persistent.map(|rows| self.keys(tape, p, rows)).transpose()?;
        let op = self.attention_op(batch, time, Span::Window(self.config.attention.window));
        let a = tape.attention(&op, &q, &k, &v, first.as_ref().map(|[k, v]| [k, v]), None)?;
        let a = match p.norm {
            Some(norm) => tape.rms_norm(&a, norm)?,
            None => a,
        };
        let Some(gate) = p.gate else { return Ok(a) };
        let gate = tape.linear(tokens, gate, None)?;
        tape.silu_gate(&a, &gate)
    }

    /// Queries, keys and values of tokens, convolved where attention has convolutions.
    pub(super) fn token_keys(
        &self,
        tape: &mut Tape<'_, D>,
        p: &AttentionParams,
        tokens: &Var<D>,
        batch: usize,
    ) -> Result<[Var<D>; 3]> {
        let mut map = |p: &Projection| {
            let x = tape.linear(tokens, p.weight, None)?;
            match p.conv {
                Some((conv, bias)) => tape.conv(batch, &x, None, conv, bias),
                None => Ok(x),
            }
        };
        Ok([map(&p.q)?, map(&p.k)?, map(&p.v)?])
    }

    /// Keys and values of rows that are no tokens: they have no neighbours.
    pub(super) fn keys(&self, tape: &mut Tape<'_, D>, p: &AttentionParams, rows: &Var<D>) -> Result<[Var<D>; 2]> {
        Ok([tape.linear(rows, p.k.weight, None)?, tape.linear(rows, p.v.weight, None)?])
    }

    /// One call of attention.
    pub(super) fn attention_op(&self, batch: usize, time: usize, span: Span) -> AttentionOp {
        let c = &self.config;
        AttentionOp {
            batch,
            time,
            heads: c.query_heads(),
            kv_heads: c.kv_heads(),
            width: c.attention_width(),
            persistent: c.persistent,
            span,
            rotary: c.attention.rotary.then_some(ROTARY_BASE),
        }
    }
}
