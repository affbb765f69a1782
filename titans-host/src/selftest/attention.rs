//! Attention, forward and backward.

use super::{NumberGenerator, Outputs, get, put};
use crate::device::{AttentionGradients, AttentionInputs, AttentionOp, Device, Span};
use crate::error::Result;

/// Operations over spans, groups of heads, persistent keys; and whether there is a context.
pub(super) fn cases() -> Vec<(AttentionOp, bool)> {
    let op = |[batch, time]: [usize; 2], [heads, kv_heads]: [usize; 2], width, persistent, span, rotary| AttentionOp {
        batch,
        time,
        heads,
        kv_heads,
        width,
        persistent,
        span,
        rotary,
    };
    let base = Some(10_000.0);
    vec![
        (op([1, 1], [1, 1], 1, 0, Span::Window(1), None), false),
        (op([2, 19], [4, 2], 6, 3, Span::Window(5), base), false),
        (op([1, 130], [2, 2], 8, 0, Span::Window(64), None), false),
        (op([2, 17], [3, 1], 4, 2, Span::Window(usize::MAX), Some(7.5)), false),
        (op([2, 37], [2, 1], 4, 3, Span::Segment(8), base), true),
        (op([1, 33], [2, 2], 5, 0, Span::Segment(32), None), true),
        (op([2, 5], [1, 1], 16, 1, Span::Segment(64), base), true),
        (op([2, 19], [2, 1], 2, 1, Span::Segment(4), base), false),
        (op([1, 131], [2, 1], 66, 65, Span::Window(67), base), false),
    ]
}

pub(super) fn run<D: Device>(d: &D, op: &AttentionOp, context: bool) -> Result<Outputs> {
    let mut numbers = NumberGenerator(11);
    let of = |rows: usize, heads: usize| op.batch * rows * heads * op.width;
    let (queries, keys, own) = (of(op.time, op.heads), of(op.time, op.kv_heads), of(op.persistent, op.kv_heads));
    let mut new = |len: usize| put(d, &numbers.around(0.0, 2.0, len));
    let (q, k, v, d_y) = (new(queries)?, new(keys)?, new(keys)?, new(queries)?);
    let (pk, pv, ck, cv) = (new(own)?, new(own)?, new(keys)?, new(keys)?);
    let inputs = || AttentionInputs {
        q: &q,
        k: &k,
        v: &v,
        persistent: (op.persistent > 0).then_some((&pk, &pv)),
        context: context.then_some((&ck, &cv)),
    };
    let (mut y, mut alone) = (d.alloc(queries)?, d.alloc(queries)?);
    let mut log_sum = d.alloc(op.batch * op.time * op.heads)?;
    d.attention(op, inputs(), &mut y, Some(&mut log_sum))?;
    d.attention(op, inputs(), &mut alone, None)?;
    let (mut d_q, mut d_k, mut d_v) = (d.alloc(queries)?, d.alloc(keys)?, d.alloc(keys)?);
    let (mut d_pk, mut d_pv, mut d_ck, mut d_cv) = (d.alloc(own)?, d.alloc(own)?, d.alloc(keys)?, d.alloc(keys)?);
    let gradients = AttentionGradients {
        d_q: &mut d_q,
        d_k: &mut d_k,
        d_v: &mut d_v,
        d_persistent: (op.persistent > 0).then_some((&mut d_pk, &mut d_pv)),
        d_context: context.then_some((&mut d_ck, &mut d_cv)),
    };
    d.attention_vjp(op, inputs(), &y, &log_sum, &d_y, gradients)?;
    let mut outputs = vec![
        ("y", get(d, &y)?),
        ("y without sums", get(d, &alone)?),
        ("log_sum", get(d, &log_sum)?),
        ("d_q", get(d, &d_q)?),
        ("d_k", get(d, &d_k)?),
        ("d_v", get(d, &d_v)?),
    ];
    if op.persistent > 0 {
        outputs.extend([("d of persistent k", get(d, &d_pk)?), ("d of persistent v", get(d, &d_pv)?)]);
    }
    if context {
        outputs.extend([("d of context k", get(d, &d_ck)?), ("d of context v", get(d, &d_cv)?)]);
    }
    Ok(outputs)
}
