//! Attention on the tape.

use super::{Backward, Op, Shared, Tape, Var};
use crate::device::{AttentionGradients, AttentionInputs, AttentionOp, Device};
use crate::error::Result;

/// A recorded attention: its inputs, its output and the sums of its softmax.
pub(super) struct Recorded<D: Device> {
    op: AttentionOp,
    /// Queries, keys, values.
    x: [Var<D>; 3],
    persistent: Option<[Var<D>; 2]>,
    context: Option<[Var<D>; 2]>,
    y: Shared<D>,
    log_sum: D::Buffer,
}

impl<D: Device> Tape<'_, D> {
    /// Attention of `q [batch, time, heads, width]` to `k` and `v [batch, time, kv_heads, width]`, to persistent keys
    /// and values `[batch, persistent, kv_heads, width]` and to those of a context, shaped like `k`.
    ///
    /// # Errors
    /// As [`Tape::add`].
    pub fn attention(
        &mut self,
        op: &AttentionOp,
        q: &Var<D>,
        k: &Var<D>,
        v: &Var<D>,
        persistent: Option<[&Var<D>; 2]>,
        context: Option<[&Var<D>; 2]>,
    ) -> Result<Var<D>> {
        let mut y = self.like(q)?;
        let rows = op.batch.saturating_mul(op.time).saturating_mul(op.heads);
        let mut log_sum = if self.is_recording() { Some(self.device.alloc(rows)?) } else { None };
        self.device.attention(op, inputs([q, k, v], persistent, context), &mut y, log_sum.as_mut())?;
        // The backward works from the output, which the record therefore shares.
        let y = self.share(y);
        let slot = log_sum.and_then(|log_sum| {
            let own = |pair: [&Var<D>; 2]| pair.map(Var::clone);
            self.remember(|| {
                Op::Attention(Recorded {
                    op: *op,
                    x: [q, k, v].map(Var::clone),
                    persistent: persistent.map(own),
                    context: context.map(own),
                    y: y.clone(),
                    log_sum,
                })
            })
        });
        Ok(Var { buffer: y, slot })
    }
}

/// Backward of [`Tape::attention`], y = P v with P = softmax(q kᵀ / √c): `d_v = Pᵀ d_y`, `d_S = P ∘ (d_y vᵀ − d_y·y)`,
/// `d_q = d_S k / √c`, `d_k = d_Sᵀ q / √c` ([`Device::attention_vjp`]), each added to its operand's cotangent.
pub(super) fn vjp<D: Device>(run: &mut Backward<'_, D>, recorded: &Recorded<D>, d_y: &D::Buffer) -> Result<()> {
    let Recorded { op, x, persistent, context, y, log_sum } = recorded;
    let [q, k, v] = x;
    let like_pair = |run: &Backward<'_, D>, pair: &Option<[Var<D>; 2]>| match pair {
        Some([k, v]) => Ok::<_, crate::Error>(Some((run.like(k)?, run.like(v)?))),
        None => Ok(None),
    };
    let (mut d_q, mut d_k, mut d_v) = (run.like(q)?, run.like(k)?, run.like(v)?);
    let (mut d_persistent, mut d_context) = (like_pair(run, persistent)?, like_pair(run, context)?);
    let gradients = AttentionGradients {
        d_q: &mut d_q,
        d_k: &mut d_k,
        d_v: &mut d_v,
        d_persistent: d_persistent.as_mut().map(|(k, v)| (k, v)),
        d_context: d_context.as_mut().map(|(k, v)| (k, v)),
    };
    run.device.attention_vjp(op, inputs([q, k, v], refs(persistent), refs(context)), y, log_sum, d_y, gradients)?;
    for (pair, gradients) in [(context, d_context), (persistent, d_persistent)] {
        if let (Some([k, v]), Some((d_k, d_v))) = (pair, gradients) {
            run.give(v, d_v)?;
            run.give(k, d_k)?;
        }
    }
    run.give(v, d_v)?;
    run.give(k, d_k)?;
    run.give(q, d_q)
}

fn refs<D: Device>(pair: &Option<[Var<D>; 2]>) -> Option<[&Var<D>; 2]> {
    pair.as_ref().map(<[Var<D>; 2]>::each_ref)
}

fn inputs<'a, D: Device>(
    [q, k, v]: [&'a Var<D>; 3],
    persistent: Option<[&'a Var<D>; 2]>,
    context: Option<[&'a Var<D>; 2]>,
) -> AttentionInputs<'a, D::Buffer> {
    let pair = |[k, v]: [&'a Var<D>; 2]| (k.buffer(), v.buffer());
    AttentionInputs {
        q: q.buffer(),
        k: k.buffer(),
        v: v.buffer(),
        persistent: persistent.map(pair),
        context: context.map(pair),
    }
}
