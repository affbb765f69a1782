//! Attention: forward, every sequence's rows in blocks; backward, a task for each sequence and head of keys and values.
//!
//! Queries and keys are rotated into buffers first. The backward's gradients come head by head, `[batch, heads, time,
//! width]`, and are then brought into the order of the operation and rotated back.

mod heads;

use titans_kernel::error::expect_len;
use titans_kernel::ops::attention::{self, Keys, Span};
use titans_kernel::{Error as KernelError, Mat, MatMut, Result as KernelResult};

use super::memory::head;
use super::threads::{default_parts, split_rows, whole_lines};
use super::{Buffer, Cpu, SimdScalar};
use crate::device::attention::AttentionSizes;
use crate::device::{AttentionGradients, AttentionInputs, AttentionOp};
use crate::error::Result;
use heads::Heads;

/// Rows of a forward's task: enough that their keys are worth loading.
const ROWS: usize = 64;

/// Tasks of a forward.
fn forward_tasks(op: &AttentionOp) -> usize {
    op.batch.saturating_mul(op.time.div_ceil(ROWS))
}

/// Tasks of a backward.
fn backward_tasks(op: &AttentionOp) -> usize {
    op.batch.saturating_mul(op.kv_heads)
}

/// Nanoseconds of a forward at about 50 operations a nanosecond; a backward takes about three times as much.
fn cost(op: &AttentionOp, sizes: &AttentionSizes, context: bool) -> usize {
    let seen = op.span.len().min(op.time).saturating_mul(1 + usize::from(context));
    sizes.queries.saturating_mul(seen.saturating_add(op.persistent)) / 12
}

/// The same span, no longer than the sequence.
fn within(op: &AttentionOp) -> Span {
    let time = op.time.max(1);
    match op.span {
        Span::Window(w) => Span::Window(w.min(time)),
        Span::Segment(c) => Span::Segment(c.min(time)),
    }
}

/// Rotated queries, keys and context; nothing without rotary positions.
fn rotated_lens(op: &AttentionOp, sizes: &AttentionSizes, context: bool) -> [usize; 3] {
    if op.rotary.is_none() {
        return [0; 3];
    }
    [sizes.queries, sizes.keys, if context { sizes.keys } else { 0 }]
}

/// What a forward takes from the pool: [`rotated_lens`], and scratch for so many threads.
fn forward_lens(op: &AttentionOp, sizes: &AttentionSizes, context: bool, parts: usize) -> [usize; 4] {
    let [q, k, c] = rotated_lens(op, sizes, context);
    let rows = ROWS.min(op.time);
    let one = attention::scratch_len(within(op), rows, op.persistent, context).saturating_add(rows);
    [q, k, c, whole_lines(one).saturating_mul(parts)]
}

/// What a backward takes: [`rotated_lens`]; by heads, gradients of queries for persistent keys and for the others, of
/// keys and values, of a context's and of persistent ones; scratch.
fn backward_lens(op: &AttentionOp, sizes: &AttentionSizes, context: bool, parts: usize) -> [usize; 12] {
    let [q, k, c] = rotated_lens(op, sizes, context);
    let of_context = if context { sizes.keys } else { 0 };
    let one = attention::vjp_scratch_len(within(op), op.time, op.persistent, context).saturating_add(op.time);
    let scratch = whole_lines(one).saturating_mul(parts);
    let (queries, keys, persistent) = (sizes.queries, sizes.keys, sizes.persistent);
    [q, k, c, queries, queries, keys, keys, of_context, of_context, persistent, persistent, scratch]
}

/// The same for a device of `threads` threads that is not there.
pub(super) fn forward_space(op: &AttentionOp, context: bool, threads: usize) -> Result<[usize; 4]> {
    let sizes = op.sizes()?;
    if sizes.sums == 0 {
        return Ok([0; 4]);
    }
    let parts = default_parts(threads, cost(op, &sizes, context), forward_tasks(op));
    Ok(forward_lens(op, &sizes, context, parts))
}

/// As [`forward_space`].
pub(super) fn backward_space(op: &AttentionOp, context: bool, threads: usize) -> Result<[usize; 12]> {
    let sizes = op.sizes()?;
    if sizes.sums == 0 {
        return Ok([0; 12]);
    }
    let parts = default_parts(threads, cost(op, &sizes, context).saturating_mul(3), backward_tasks(op));
    Ok(backward_lens(op, &sizes, context, parts))
}

/// Operands as the kernel takes them: rotated where there are positions.
struct AttentionOperands<'a, T> {
    op: &'a AttentionOp,
    span: Span,
    q: &'a [T],
    q_rotated: &'a [T],
    tokens: (&'a [T], &'a [T]),
    persistent: Option<(&'a [T], &'a [T])>,
    context: Option<(&'a [T], &'a [T])>,
}

impl<'a, T: SimdScalar> AttentionOperands<'a, T> {
    /// All keys of head `h` of keys and values in sequence b.
    fn keys(&self, b: usize, h: usize) -> KernelResult<Keys<'a, T>> {
        let AttentionOp { time, kv_heads, width, persistent, .. } = *self.op;
        let pair = |(k, v): (&'a [T], &'a [T]), rows| {
            Ok((head(k, b, h, rows, kv_heads, width)?, head(v, b, h, rows, kv_heads, width)?))
        };
        Ok(Keys {
            persistent: self.persistent.filter(|_| persistent > 0).map(|x| pair(x, persistent)).transpose()?,
            context: self.context.map(|x| pair(x, time)).transpose()?,
            tokens: pair(self.tokens, time)?,
            first: 0,
        })
    }

    /// Queries of head h in sequence b, and rotated.
    fn queries(&self, b: usize, h: usize) -> KernelResult<[Mat<'a, T>; 2]> {
        let AttentionOp { time, heads, width, .. } = *self.op;
        Ok([head(self.q, b, h, time, heads, width)?, head(self.q_rotated, b, h, time, heads, width)?])
    }
}

/// An output of entries of `entry` elements cut into blocks, in order; then, and without one, `None` for ever.
fn by_blocks<T>(x: Option<&mut [T]>, entry: usize, block: usize) -> impl Iterator<Item = Option<&mut [T]>> {
    let mut parts = x.map(|x| x.chunks_mut(entry).flat_map(move |x| x.chunks_mut(block)));
    std::iter::repeat_with(move || parts.as_mut().and_then(Iterator::next))
}

impl<T: SimdScalar> Cpu<T> {
    pub(super) fn attention_forward(
        &self,
        op: &AttentionOp,
        inputs: &AttentionInputs<'_, Buffer<T>>,
        y: &mut [T],
        log_sum: Option<&mut [T]>,
    ) -> Result<()> {
        let sizes = inputs.check(op, |x| x.as_slice().len())?;
        expect_len("y", sizes.queries, y.len())?;
        expect_len("log_sum", sizes.sums, log_sum.as_ref().map_or(sizes.sums, |s| s.len()))?;
        if sizes.sums == 0 {
            return Ok(());
        }
        let context = inputs.context.is_some();
        let cost = cost(op, &sizes, context);
        let parts = self.threads.parts(cost, forward_tasks(op));
        let [q, k, c, scratch] = forward_lens(op, &sizes, context, parts);
        let mut rotated = [self.take(q)?, self.take(k)?, self.take(c)?];
        let mut scratch = self.take(scratch)?;
        let operands = self.operands(op, inputs, &mut rotated)?;
        let AttentionOp { time, heads, width, .. } = *op;
        let sums = by_blocks(log_sum, time * heads, ROWS * heads);
        let tasks = y
            .chunks_mut(time * heads * width)
            .enumerate()
            .flat_map(|(b, y)| split_rows(y, heads * width, ROWS).map(move |(rows, y)| (b, rows, y)))
            .zip(sums);
        self.threads.run_with(cost, tasks, scratch.as_mut_slice(), |((b, rows, y), mut sums), scratch| {
            let n = rows.len();
            // A head's sums lie `heads` apart in `log_sum`, and the kernel writes neighbours.
            let (scratch, own) = scratch.split_at_mut(scratch.len() - n);
            let mut y = MatMut::new(y, n, heads * width)?;
            for h in 0..heads {
                let keys = operands.keys(b, h / op.group())?;
                let [q, q_rotated] = operands.queries(b, h)?.map(|q| q.sub(rows.start, n));
                let out = y.rb().columns(h * width, width);
                let wanted = sums.is_some().then_some(&mut *own);
                attention::forward(
                    &self.gemm,
                    operands.span,
                    attention::Queries { first: rows.start as u64, q, q_rotated },
                    &keys,
                    out,
                    wanted,
                    scratch,
                )?;
                if let Some(sums) = &mut sums {
                    sums.iter_mut().skip(h).step_by(heads).zip(&*own).for_each(|(to, &from)| *to = from);
                }
            }
            Ok::<_, KernelError>(())
        })
    }

    /// Backward of y = P v, P = softmax(q kᵀ / √c), by the kernel's [`attention::vjp`] head by head. Rotated queries
    /// and keys are R x, so their gradients are rotated back, Rᵀ; a query that also met persistent keys has the sum of
    /// both ways.
    pub(super) fn attention_backward(
        &self,
        op: &AttentionOp,
        inputs: &AttentionInputs<'_, Buffer<T>>,
        y: &[T],
        log_sum: &[T],
        d_y: &[T],
        gradients: AttentionGradients<'_, Buffer<T>>,
    ) -> Result<()> {
        let sizes = inputs.check(op, |x| x.as_slice().len())?;
        expect_len("y", sizes.queries, y.len())?;
        expect_len("log_sum", sizes.sums, log_sum.len())?;
        expect_len("d_y", sizes.queries, d_y.len())?;
        gradients.check(&sizes, inputs, |x| x.as_slice().len())?;
        let AttentionGradients { d_q, d_k, d_v, d_persistent, d_context } = gradients;
        if sizes.sums == 0 {
            // No query: nothing but persistent keys can have elements.
            for d in d_persistent.map_or([None, None], |(k, v)| [Some(k), Some(v)]).into_iter().flatten() {
                self.fill_with(T::ZERO, d.as_mut_slice())?;
            }
            return Ok(());
        }
        let context = inputs.context.is_some();
        let cost = cost(op, &sizes, context).saturating_mul(3);
        let lens = backward_lens(op, &sizes, context, self.threads.parts(cost, backward_tasks(op)));
        let [q, k, c, by_heads @ ..] = lens;
        // A head's gradients lie together, so that each is one thread's to write; the operation's order comes after.
        let mut rotated = [self.take(q)?, self.take(k)?, self.take(c)?];
        let mut heads = Heads::take(self, by_heads)?;
        let operands = self.operands(op, inputs, &mut rotated)?;
        self.heads_backward(cost, &operands, y, log_sum, d_y, &mut heads)?;
        // The rotated operands are not needed any more: their places take the gradients on their way.
        let [mut q_space, mut k_space, mut c_space] = rotated;
        let AttentionOp { batch, time, heads: n, kv_heads, persistent, .. } = *op;
        let queries = [batch, time, n];
        self.bring(queries, op.rotary(), &heads.q_rotated, &mut q_space, d_q)?;
        if persistent > 0 {
            self.interleave(true, queries, heads.q.as_slice(), d_q.as_mut_slice())?;
        }
        let keys = [batch, time, kv_heads];
        self.bring(keys, op.rotary(), &heads.k, &mut k_space, d_k)?;
        self.bring(keys, None, &heads.v, &mut k_space, d_v)?;
        if let (true, Some((d_k, d_v))) = (context, d_context) {
            self.bring(keys, op.context_rotary(), &heads.context_k, &mut c_space, d_k)?;
            self.bring(keys, None, &heads.context_v, &mut c_space, d_v)?;
        }
        if let (true, Some((d_k, d_v))) = (persistent > 0, d_persistent) {
            let keys = [batch, persistent, kv_heads];
            self.bring(keys, None, &heads.persistent_k, &mut k_space, d_k)?;
            self.bring(keys, None, &heads.persistent_v, &mut k_space, d_v)?;
        }
        Ok(())
    }

    /// Rotates what has a position into `rotated`, of [`rotated_lens`].
    fn operands<'a>(
        &self,
        op: &'a AttentionOp,
        inputs: &AttentionInputs<'a, Buffer<T>>,
        rotated: &'a mut [Buffer<T>; 3],
    ) -> Result<AttentionOperands<'a, T>> {
        let (q, k) = (inputs.q.as_slice(), inputs.k.as_slice());
        let context = inputs.context.map(|(k, v)| (k.as_slice(), v.as_slice()));
        let persistent = inputs.persistent.map(|(k, v)| (k.as_slice(), v.as_slice()));
        let span = within(op);
        let v = inputs.v.as_slice();
        let (Some(rotary), Some(before)) = (op.rotary(), op.context_rotary()) else {
            return Ok(AttentionOperands { op, span, q, q_rotated: q, tokens: (k, v), persistent, context });
        };
        let [to_q, to_k, to_c] = rotated.each_mut().map(Buffer::as_mut_slice);
        self.rotate(false, &rotary, [op.time, op.heads], q, to_q)?;
        self.rotate(false, &rotary, [op.time, op.kv_heads], k, to_k)?;
        if let Some((k, _)) = context {
            self.rotate(false, &before, [op.time, op.kv_heads], k, to_c)?;
        }
        let context = context.map(|(_, v)| (&*to_c, v));
        Ok(AttentionOperands { op, span, q, q_rotated: to_q, tokens: (to_k, v), persistent, context })
    }
}
