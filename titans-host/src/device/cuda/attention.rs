//! Attention: queries and keys rotated into buffers, then a block for each tile of queries, and back for each tile of
//! queries and each of keys.

use super::Cuda;
use super::buffer::DeviceBuffer;
use super::compile::TILE;
use super::driver::{Arg, Driver};
use super::product::args;
use crate::device::{AttentionGradients, AttentionInputs, AttentionOp, Span};
use crate::error::Result;
use titans_kernel::error::expect_len;

/// Buffers of keys and values, where they are there.
type KeyValueBuffers<'a, R> = (Option<&'a DeviceBuffer<R>>, Option<&'a DeviceBuffer<R>>);

/// Rotated queries, keys and context; `None` without positions.
struct Rotated<R: Driver> {
    q: Option<DeviceBuffer<R>>,
    k: Option<DeviceBuffer<R>>,
    context: Option<DeviceBuffer<R>>,
}

/// What the kernels of the backward share.
struct AttentionBackward<'a, R: Driver> {
    op: &'a AttentionOp,
    log_sum: &'a DeviceBuffer<R>,
    along: &'a DeviceBuffer<R>,
    d_y: &'a DeviceBuffer<R>,
}

/// Keys that queries met, `rows` a sequence: those of the tokens with the context's, or the persistent ones, which see
/// no positions.
struct KeySide<'a, R: Driver> {
    rows: usize,
    /// Window and segment.
    span: [usize; 2],
    q: &'a DeviceBuffer<R>,
    keys: (&'a DeviceBuffer<R>, &'a DeviceBuffer<R>),
    context: Option<(&'a DeviceBuffer<R>, &'a DeviceBuffer<R>)>,
}

/// Tiles of rows or columns.
fn tiles(len: usize) -> usize {
    len.div_ceil(TILE)
}

/// Window and segment as the kernels take them: the other one is 0. Neither is longer than the sequence, so that sums
/// of token numbers stay small.
fn span(op: &AttentionOp) -> [usize; 2] {
    match op.span {
        Span::Window(w) => [w.min(op.time), 0],
        Span::Segment(c) => [0, c.min(op.time)],
    }
}

fn split<'a, R: Driver>(pair: Option<(&'a DeviceBuffer<R>, &'a DeviceBuffer<R>)>) -> KeyValueBuffers<'a, R> {
    pair.map_or((None, None), |(k, v)| (Some(k), Some(v)))
}

/// A base's logarithm in two floats, of 24 bits each: enough for angles in double.
pub(super) fn logarithm(base: f64) -> [f32; 2] {
    let log = base.log2();
    let high = log as f32;
    [high, (log - f64::from(high)) as f32]
}

/// Rows of so many heads, and where they go, maybe themselves.
pub(super) type Turned<'a, R> = (usize, &'a DeviceBuffer<R>, &'a DeviceBuffer<R>);

impl<R: Driver> Cuda<R> {
    /// Rotates queries, keys and a context's keys where they are there, forward or back, by one launch.
    pub(super) fn rotate(
        &self,
        turn: f64,
        op: &AttentionOp,
        tokens: [Turned<'_, R>; 2],
        context: Option<Turned<'_, R>>,
    ) -> Result<()> {
        let (Some(rotary), Some(before)) = (op.rotary(), op.context_rotary()) else { return Ok(()) };
        let [high, low] = logarithm(rotary.base);
        let [q, k] = tokens.map(|x| (rotary.shift, Some(x)));
        let mut all = args![op.time, rotary.width, rotary.period, high, low, turn].to_vec();
        let mut pairs = 0;
        for (shift, of) in [q, k, (before.shift, context)] {
            let (len, heads) = of.map_or((0, 1), |(heads, x, _)| (x.len() / 2, heads));
            pairs += len;
            all.extend_from_slice(args![len, heads, shift, of.map(|(_, x, _)| x), of.map(|(_, _, y)| y)]);
        }
        self.launch("rotary", pairs, &all)
    }

    fn rotary_copies(&self, op: &AttentionOp, inputs: &AttentionInputs<'_, DeviceBuffer<R>>) -> Result<Rotated<R>> {
        if op.rotary.is_none() {
            return Ok(Rotated { q: None, k: None, context: None });
        }
        let like = |x: &DeviceBuffer<R>| DeviceBuffer::alloc(&self.driver, x.len());
        let (q, k) = (like(inputs.q)?, like(inputs.k)?);
        let context = inputs.context.map(|(k, _)| like(k)).transpose()?;
        let of_context = inputs.context.zip(context.as_ref()).map(|((k, _), y)| (op.kv_heads, k, y));
        self.rotate(1.0, op, [(op.heads, inputs.q, &q), (op.kv_heads, inputs.k, &k)], of_context)?;
        Ok(Rotated { q: Some(q), k: Some(k), context })
    }

    pub(super) fn attention_forward(
        &self,
        op: &AttentionOp,
        inputs: &AttentionInputs<'_, DeviceBuffer<R>>,
        y: &DeviceBuffer<R>,
        log_sum: Option<&mut DeviceBuffer<R>>,
    ) -> Result<()> {
        let sizes = inputs.check(op, DeviceBuffer::len)?;
        expect_len("y", sizes.queries, y.len())?;
        expect_len("log_sum", sizes.sums, log_sum.as_ref().map_or(sizes.sums, |s| s.len()))?;
        let rotated = self.rotary_copies(op, inputs)?;
        let ([window, segment], log_sum) = (span(op), log_sum.as_deref());
        let (pk, pv) = split(inputs.persistent.filter(|_| op.persistent > 0));
        let (ck, cv) = split(inputs.context);
        let args = args![
            op.time,
            op.heads,
            op.kv_heads,
            op.width,
            op.persistent,
            window,
            segment,
            inputs.q,
            rotated.q.as_ref().unwrap_or(inputs.q),
            rotated.k.as_ref().unwrap_or(inputs.k),
            inputs.v,
            pk,
            pv,
            rotated.context.as_ref().or(ck),
            cv,
            y,
            log_sum
        ];
        let units = op.batch * op.heads * tiles(op.time) * tiles(op.width);
        self.launch_blocks("attention_forward", units, args)
    }

    /// Backward of y = P v, P = e^(S − `log_sum`), S = q kᵀ / √c, over every kind of keys (`kernels/attention_vjp.cu`):
    ///
    /// ```text
    /// d_v = Pᵀ d_y,  d_S = P ∘ (d_y vᵀ − d_y·y),  d_q = d_S k / √c,  d_k = d_Sᵀ q / √c
    /// ```
    ///
    /// What was rotated, R x, has its gradient rotated back, Rᵀ.
    pub(super) fn attention_backward(
        &self,
        op: &AttentionOp,
        inputs: &AttentionInputs<'_, DeviceBuffer<R>>,
        y: &DeviceBuffer<R>,
        log_sum: &DeviceBuffer<R>,
        d_y: &DeviceBuffer<R>,
        gradients: AttentionGradients<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        let sizes = inputs.check(op, DeviceBuffer::len)?;
        expect_len("y", sizes.queries, y.len())?;
        expect_len("log_sum", sizes.sums, log_sum.len())?;
        expect_len("d_y", sizes.queries, d_y.len())?;
        gradients.check(&sizes, inputs, DeviceBuffer::len)?;
        let AttentionGradients { d_q, d_k, d_v, d_persistent, d_context } = gradients;
        let rotated = self.rotary_copies(op, inputs)?;
        let (q, k) = (rotated.q.as_ref().unwrap_or(inputs.q), rotated.k.as_ref().unwrap_or(inputs.k));
        let (pk, pv) = split(inputs.persistent.filter(|_| op.persistent > 0));
        let (ck, cv) = split(inputs.context);
        let ck = rotated.context.as_ref().or(ck);
        let along = DeviceBuffer::alloc(&self.driver, sizes.sums)?;
        self.launch_rows("attention_along", sizes.sums, args![op.width, d_y, y, &along])?;
        let back = AttentionBackward { op, log_sum, along: &along, d_y };
        let of_position = match pk {
            Some(_) => &DeviceBuffer::alloc(&self.driver, sizes.queries)?,
            None => &*d_q,
        };
        let context = ck.zip(cv);
        let d_context = d_context.map(|(d_k, d_v)| (&*d_k, &*d_v)).filter(|_| context.is_some());
        let tokens = KeySide { rows: op.time, span: span(op), q, keys: (k, inputs.v), context };
        self.query_gradients(&back, &tokens, of_position)?;
        self.key_gradients(&back, &tokens, (&*d_k, &*d_v), d_context)?;
        // A thread reads its pair before it writes it, and no other one's.
        let of_context = d_context.map(|(d_k, _)| (op.kv_heads, d_k, d_k));
        self.rotate(-1.0, op, [(op.heads, of_position, of_position), (op.kv_heads, d_k, d_k)], of_context)?;
        if let (Some(pk), Some(pv), Some((d_k, d_v))) = (pk, pv, d_persistent) {
            let all = KeySide { rows: op.persistent, span: [0, 0], q: inputs.q, keys: (pk, pv), context: None };
            self.query_gradients(&back, &all, &*d_q)?;
            self.key_gradients(&back, &all, (&*d_k, &*d_v), None)?;
            self.launch("add_scaled", d_q.len(), args![1.0, of_position, &*d_q])?;
        }
        Ok(())
    }

    /// `d_q` = d_S k / √c by way of all these keys.
    fn query_gradients(
        &self,
        back: &AttentionBackward<'_, R>,
        side: &KeySide<'_, R>,
        d_q: &DeviceBuffer<R>,
    ) -> Result<()> {
        let AttentionBackward { op, log_sum, along, d_y } = *back;
        let AttentionOp { batch, time, heads, kv_heads, width, .. } = *op;
        let KeySide { rows, span: [window, segment], q, keys: (k, v), context } = *side;
        let (ck, cv) = split(context);
        let args =
            args![rows, time, heads, kv_heads, width, window, segment, q, k, v, ck, cv, log_sum, along, d_y, d_q];
        self.launch_blocks("attention_vjp_queries", batch * heads * tiles(time) * tiles(width), args)
    }

    /// `d_k` = d_Sᵀ q / √c and `d_v` = Pᵀ d_y of these keys, and of the context's, over the queries that see them.
    fn key_gradients(
        &self,
        back: &AttentionBackward<'_, R>,
        side: &KeySide<'_, R>,
        (d_k, d_v): (&DeviceBuffer<R>, &DeviceBuffer<R>),
        d_context: Option<(&DeviceBuffer<R>, &DeviceBuffer<R>)>,
    ) -> Result<()> {
        let AttentionBackward { op, log_sum, along, d_y } = *back;
        let AttentionOp { batch, time, heads, kv_heads, width, .. } = *op;
        let KeySide { rows, span: [window, segment], q, keys: (k, v), context } = *side;
        let ((ck, cv), (d_ck, d_cv)) = (split(context), split(d_context));
        let sizes: &[Arg] = args![rows, time, heads, kv_heads, width, window, segment];
        let given = args![q, k, v, ck, cv, log_sum, d_y, along, d_k, d_v, d_ck, d_cv];
        let sides = if d_context.is_some() { 2 } else { 1 };
        let units = sides * batch * kv_heads * tiles(rows) * tiles(width);
        self.launch_blocks("attention_vjp_keys", units, &[sizes, given].concat())
    }
}
