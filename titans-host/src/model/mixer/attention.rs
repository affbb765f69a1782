//! Sliding-window attention with persistent tokens.

use crate::device::{AttentionOp, Device, Span};
use crate::error::Result;
use crate::model::Model;
use crate::model::layout::Block;
use crate::tape::{ParamId, Tape, Var};
use titans_kernel::model::{Projection, ROTARY_BASE};

impl<D: Device> Model<D> {
    /// Attention of `tokens` `[batch, time, width]` within the window, and to the persistent rows `[batch, N_p,
    /// width]`; with head norms and gate where it has them.
    pub(super) fn attend(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        tokens: &Var<D>,
        persistent: Option<&Var<D>>,
        batch: usize,
        time: usize,
    ) -> Result<Var<D>> {
        let [q, k, v] = self.token_keys(tape, block, tokens, batch)?;
        let first = persistent.map(|rows| self.keys(tape, block, rows)).transpose()?;
        let op = self.attention_op(batch, time, Span::Window(self.config.attention.window));
        let a = tape.attention(&op, &q, &k, &v, first.as_ref().map(|[k, v]| [k, v]), None)?;
        let gate = block.w.attention_gate.some().map(|gate| tape.linear(tokens, gate, None)).transpose()?;
        self.read_attention(tape, block, a, gate.as_ref())
    }

    /// What attention gives, normalised head by head and gated where it has these.
    pub(super) fn read_attention(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        a: Var<D>,
        gate: Option<&Var<D>>,
    ) -> Result<Var<D>> {
        let a = match block.w.attention_read_norm.some() {
            Some(norm) => tape.rms_norm(&a, norm)?,
            None => a,
        };
        gate.map_or(Ok(a.clone()), |gate| tape.silu_gate(&a, gate))
    }

    /// Queries, keys and values of tokens, convolved where attention has convolutions.
    pub(super) fn token_keys(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        tokens: &Var<D>,
        batch: usize,
    ) -> Result<[Var<D>; 3]> {
        let mut map = |p: &Projection<ParamId, ParamId>| {
            let x = tape.linear(tokens, p.weight, None)?;
            match p.conv.some() {
                Some(conv) => tape.conv(batch, &x, None, conv, p.bias),
                None => Ok(x),
            }
        };
        let [q, k, v] = &block.w.attention;
        Ok([map(q)?, map(k)?, map(v)?])
    }

    /// Keys and values of rows that are no tokens: they have no neighbours.
    pub(super) fn keys(&self, tape: &mut Tape<'_, D>, block: &Block, rows: &Var<D>) -> Result<[Var<D>; 2]> {
        let [_, k, v] = &block.w.attention;
        Ok([tape.linear(rows, k.weight, None)?, tape.linear(rows, v.weight, None)?])
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
