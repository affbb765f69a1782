//! Attention: queries and keys rotated into buffers, then a block for each tile of queries, and back for each tile of
//! queries and each of keys.

use super::Cuda;
use super::buffer::DeviceBuffer;
use super::driver::Driver;
use super::product::args;
use crate::device::{AttentionGradients, AttentionInputs, AttentionOp, Span};
use crate::error::Result;
use titans_kernel::error::expect_len;
use titans_kernel::ops::rotary::Rotary;

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

/// Tiles of rows or columns: `TILE` in `kernels/tiles.cuh`.
fn tiles(len: usize) -> usize {
    len.div_ceil(64)
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

impl<R: Driver> Cuda<R> {
    /// Rotates `[batch, time, heads, width]`, forward or back.
    fn rotate(
        &self,
        turn: f64,
        rotary: &Rotary,
        [time, heads]: [usize; 2],
        x: &DeviceBuffer<R>,
        y: &DeviceBuffer<R>,
    ) -> Result<()> {
        // A float holds 24 bits of log2(base), two of them enough for angles in double.
        let log = rotary.base.log2();
        let high = log as f32;
        let low = log - f64::from(high);
        let args = args![time, heads, rotary.width, rotary.period, rotary.shift, high, low, turn, x, y];
        self.launch("rotary", x.len() / 2, args)
    }

    fn rotary_copies(&self, op: &AttentionOp, inputs: &AttentionInputs<'_, DeviceBuffer<R>>) -> Result<Rotated<R>> {
        let (Some(rotary), Some(before)) = (op.rotary(), op.context_rotary()) else {
            return Ok(Rotated { q: None, k: None, context: None });
        };
        let rotate = |rotary: &Rotary, heads: usize, x: &DeviceBuffer<R>| -> Result<DeviceBuffer<R>> {
            let y = DeviceBuffer::alloc(&self.driver, x.len())?;
            self.rotate(1.0, rotary, [op.time, heads], x, &y)?;
            Ok(y)
        };
        Ok(Rotated {
            q: Some(rotate(&rotary, op.heads, inputs.q)?),
            k: Some(rotate(&rotary, op.kv_heads, inputs.k)?),
            context: inputs.context.map(|(k, _)| rotate(&before, op.kv_heads, k)).transpose()?,
        })
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
        let (span, time) = (span(op), op.time);
        let keys = |rotary: Option<Rotary>, k, v, d_k: &DeviceBuffer<R>, d_v| {
            self.key_gradients(&back, span, time, [q, k, v], [d_k, d_v])?;
            self.unrotate(rotary, [time, op.kv_heads], d_k)
        };
        let of_position = match pk {
            Some(_) => &DeviceBuffer::alloc(&self.driver, sizes.queries)?,
            None => &*d_q,
        };
        self.query_gradients(&back, span, time, false, [q, k, inputs.v], of_position)?;
        keys(op.rotary(), k, inputs.v, &*d_k, &*d_v)?;
        if let (Some(ck), Some(cv), Some((d_k, d_v))) = (ck, cv, d_context) {
            self.query_gradients(&back, span, time, true, [q, ck, cv], of_position)?;
            keys(op.context_rotary(), ck, cv, &*d_k, &*d_v)?;
        }
        self.unrotate(op.rotary(), [time, op.heads], of_position)?;
        if let (Some(pk), Some(pv), Some((d_k, d_v))) = (pk, pv, d_persistent) {
            let of_all = [inputs.q, pk, pv];
            self.query_gradients(&back, [0, 0], op.persistent, false, of_all, &*d_q)?;
            self.key_gradients(&back, [0, 0], op.persistent, of_all, [&*d_k, &*d_v])?;
            self.launch("add_scaled", d_q.len(), args![1.0, of_position, &*d_q])?;
        }
        Ok(())
    }

    /// `d_q` = d_S k / √c by way of `rows` keys a sequence, added or set.
    fn query_gradients(
        &self,
        back: &AttentionBackward<'_, R>,
        [window, segment]: [usize; 2],
        rows: usize,
        add: bool,
        [q, k, v]: [&DeviceBuffer<R>; 3],
        d_q: &DeviceBuffer<R>,
    ) -> Result<()> {
        let AttentionBackward { op, log_sum, along, d_y } = *back;
        let AttentionOp { batch, time, heads, kv_heads, width, .. } = *op;
        let add = usize::from(add);
        let args = args![rows, time, heads, kv_heads, width, window, segment, add, q, k, v, log_sum, along, d_y, d_q];
        self.launch_blocks("attention_vjp_queries", batch * heads * tiles(time) * tiles(width), args)
    }

    /// `d_k` = d_Sᵀ q / √c and `d_v` = Pᵀ d_y of `rows` keys a sequence, over the queries that see them.
    fn key_gradients(
        &self,
        back: &AttentionBackward<'_, R>,
        [window, segment]: [usize; 2],
        rows: usize,
        [q, k, v]: [&DeviceBuffer<R>; 3],
        [d_k, d_v]: [&DeviceBuffer<R>; 2],
    ) -> Result<()> {
        let AttentionBackward { op, log_sum, along, d_y } = *back;
        let AttentionOp { batch, time, heads, kv_heads, width, .. } = *op;
        let args = args![rows, time, heads, kv_heads, width, window, segment, q, k, v, log_sum, d_y, along, d_k, d_v];
        self.launch_blocks("attention_vjp_keys", batch * kv_heads * tiles(rows) * tiles(width), args)
    }

    /// Rotates a gradient back where it lies.
    fn unrotate(&self, rotary: Option<Rotary>, shape: [usize; 2], d: &DeviceBuffer<R>) -> Result<()> {
        // A thread reads its pair before it writes it, and no other one's.
        rotary.map_or(Ok(()), |rotary| self.rotate(-1.0, &rotary, shape, d, d))
    }
}
