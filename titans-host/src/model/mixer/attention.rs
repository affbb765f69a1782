//! Sliding-window attention with persistent tokens.

use crate::device::{AttentionOp, Device, Span};
use crate::error::Result;
use crate::model::Model;
use crate::model::layout::AttentionParams;
use crate::tape::{Tape, Var};

/// Base of the rotary positions' wavelengths.
pub(in crate::model) const ROTARY_BASE: f64 = 10_000.0;

impl<D: Device> Model<D> {
    /// Attention of `tokens` `[batch, time, width]` within the window, and to the persistent rows `[batch, N_p, width]`.
    pub(super) fn attend(
        &self,
        tape: &mut Tape<'_, D>,
        p: &AttentionParams,
        tokens: &Var<D>,
        persistent: Option<&Var<D>>,
        batch: usize,
        time: usize,
    ) -> Result<Var<D>> {
        let q = tape.linear(tokens, p.q, None)?;
        let [k, v] = self.keys(tape, p, tokens)?;
        let first = persistent.map(|rows| self.keys(tape, p, rows)).transpose()?;
        let op = self.attention_op(batch, time, Span::Window(self.config.attention.window));
        tape.attention(&op, &q, &k, &v, first.as_ref().map(|[k, v]| [k, v]), None)
    }

    /// Keys and values of rows.
    pub(super) fn keys(&self, tape: &mut Tape<'_, D>, p: &AttentionParams, rows: &Var<D>) -> Result<[Var<D>; 2]> {
        Ok([tape.linear(rows, p.k, None)?, tape.linear(rows, p.v, None)?])
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
