//! The backward head by head, and the way of its gradients into the order of the operation.

use titans_kernel::ops::attention::{self, AttentionGradients};
use titans_kernel::ops::rotary::{self, Rotary};
use titans_kernel::{Error as KernelError, Mat, MatMut, Result as KernelResult};

use super::super::memory::{head, parts};
use super::super::threads::split_rows;
use super::super::{Buffer, Cpu, SimdScalar};
use super::{AttentionOperands, backward_tasks};
use crate::error::Result;

/// Gradients `[batch, heads, rows, width]`, and scratch.
pub(super) struct Heads<T: SimdScalar> {
    /// Of the queries, by way of persistent keys.
    pub(super) q: Buffer<T>,
    pub(super) q_rotated: Buffer<T>,
    pub(super) k: Buffer<T>,
    pub(super) v: Buffer<T>,
    pub(super) context_k: Buffer<T>,
    pub(super) context_v: Buffer<T>,
    pub(super) persistent_k: Buffer<T>,
    pub(super) persistent_v: Buffer<T>,
    scratch: Buffer<T>,
}

impl<T: SimdScalar> Heads<T> {
    /// Space of these lengths, in the order of the fields.
    pub(super) fn take(cpu: &Cpu<T>, lens: [usize; 9]) -> Result<Self> {
        let [q, q_rotated, k, v, context_k, context_v, persistent_k, persistent_v, scratch] = lens;
        Ok(Self {
            q: cpu.take(q)?,
            q_rotated: cpu.take(q_rotated)?,
            k: cpu.take(k)?,
            v: cpu.take(v)?,
            context_k: cpu.take(context_k)?,
            context_v: cpu.take(context_v)?,
            persistent_k: cpu.take(persistent_k)?,
            persistent_v: cpu.take(persistent_v)?,
            scratch: cpu.take(scratch)?,
        })
    }
}

/// Gradients of keys and values as a head's task has them.
type KeyValueGradients<'a, T> = (Option<&'a mut [T]>, Option<&'a mut [T]>);

/// The same as the kernel takes them; `None` where there are no such rows.
fn pair<'a, T: SimdScalar>(
    gradients: &'a mut KeyValueGradients<'_, T>,
    width: usize,
) -> KernelResult<Option<(MatMut<'a, T>, MatMut<'a, T>)>> {
    let (Some(k), Some(v)) = gradients else { return Ok(None) };
    let rows = k.len() / width;
    Ok(Some((MatMut::new(k, rows, width)?, MatMut::new(v, rows, width)?)))
}

/// Fills both with zeros, which the heads that share keys add to.
fn clear<T: SimdScalar>(pair: &mut KeyValueGradients<'_, T>) {
    for x in [&mut pair.0, &mut pair.1].into_iter().flatten() {
        x.fill(T::ZERO);
    }
}

impl<T: SimdScalar> Cpu<T> {
    /// [`attention::vjp`] of every head, one task for each sequence and head of keys and values, to whose d_k and d_v
    /// the heads of queries that share them add: a key's gradient is the sum over all queries that see it. There are
    /// rows.
    pub(super) fn heads_backward(
        &self,
        cost: usize,
        operands: &AttentionOperands<'_, T>,
        y: &[T],
        log_sum: &[T],
        d_y: &[T],
        d: &mut Heads<T>,
    ) -> Result<()> {
        let op = operands.op;
        let (n, one) = (op.time, op.time * op.width);
        let count = backward_tasks(op);
        let queries = parts(Some(d.q.as_mut_slice()), count).zip(parts(Some(d.q_rotated.as_mut_slice()), count));
        let keys = parts(Some(d.k.as_mut_slice()), count).zip(parts(Some(d.v.as_mut_slice()), count));
        let context = parts(some(&mut d.context_k), count).zip(parts(some(&mut d.context_v), count));
        let persistent = parts(some(&mut d.persistent_k), count).zip(parts(some(&mut d.persistent_v), count));
        let tasks = queries.zip(keys).zip(context).zip(persistent).enumerate();
        let scratch = d.scratch.as_mut_slice();
        self.threads.run_with(cost, tasks, scratch, |(i, (((queries, mut k), mut c), mut p)), scratch| {
            let (Some(d_q), Some(d_q_rotated)) = queries else { return Ok(()) };
            [&mut k, &mut c, &mut p].into_iter().for_each(clear);
            let (b, kv) = (i / op.kv_heads, i % op.kv_heads);
            let keys = operands.keys(b, kv)?;
            let (scratch, sums) = scratch.split_at_mut(scratch.len() - n);
            // The heads that share keys one after another: what they add to these has one order.
            let each = d_q.chunks_exact_mut(one).zip(d_q_rotated.chunks_exact_mut(one));
            for (g, (d_q, d_q_rotated)) in each.enumerate() {
                let h = kv * op.group() + g;
                let from = log_sum[b * n * op.heads..].iter().skip(h).step_by(op.heads);
                sums.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
                let [q, q_rotated] = operands.queries(b, h)?;
                let Some(tokens) = pair(&mut k, op.width)? else { return Ok(()) };
                let gradients = AttentionGradients {
                    q: MatMut::new(d_q, n, op.width)?,
                    q_rotated: MatMut::new(d_q_rotated, n, op.width)?,
                    persistent: pair(&mut p, op.width)?,
                    context: pair(&mut c, op.width)?,
                    tokens,
                };
                let y = head(y, b, h, n, op.heads, op.width)?;
                let d_y = head(d_y, b, h, n, op.heads, op.width)?;
                let (g, span) = (&self.gemm, operands.span);
                attention::vjp(
                    g,
                    span,
                    attention::Queries { first: 0, q, q_rotated },
                    &keys,
                    attention::Answered { y, log_sum: sums, d_y },
                    gradients,
                    scratch,
                )?;
            }
            Ok::<_, KernelError>(())
        })
    }

    /// From `[batch, heads, rows, width]` to `[batch, rows, heads, width]`, rotated back on the way through `space`.
    pub(super) fn bring(
        &self,
        [batch, rows, heads]: [usize; 3],
        rotary: Option<Rotary>,
        from: &Buffer<T>,
        space: &mut Buffer<T>,
        to: &mut Buffer<T>,
    ) -> Result<()> {
        let (from, to) = (from.as_slice(), to.as_mut_slice());
        let Some(rotary) = rotary else { return self.interleave(false, [batch, rows, heads], from, to) };
        self.interleave(false, [batch, rows, heads], from, space.as_mut_slice())?;
        self.rotate(true, &rotary, [rows, heads], space.as_slice(), to)
    }

    /// Rotates `[batch, rows, heads, width]` by the rows' positions, or back.
    pub(super) fn rotate(
        &self,
        back: bool,
        rotary: &Rotary,
        [rows, heads]: [usize; 2],
        x: &[T],
        y: &mut [T],
    ) -> Result<()> {
        let row = heads * rotary.width;
        let entry = (rows * row).max(1);
        let grain = self.threads.grain(x.len() / row.max(1), 1);
        let tasks = y
            .chunks_mut(entry)
            .zip(x.chunks(entry))
            .flat_map(|(y, x)| split_rows(y, row, grain).map(move |(at, y)| (at, x, y)));
        self.threads.run(x.len().saturating_mul(2), tasks, |(at, x, y)| {
            let (first, n) = (at.start as u64, at.len());
            let x = Mat::new(&x[at.start * row..at.end * row], n, row)?;
            let y = MatMut::new(y, n, row)?;
            if back {
                rotary::vjp(&self.gemm, rotary, first, x, y)
            } else {
                rotary::forward(&self.gemm, rotary, first, x, y)
            }
        })
    }
}

/// All of a buffer, if there is anything.
fn some<T: SimdScalar>(x: &mut Buffer<T>) -> Option<&mut [T]> {
    Some(x.as_mut_slice()).filter(|x| !x.is_empty())
}
