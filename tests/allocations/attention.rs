//! (d) Attention and rows that move on the CPU device, forward and backward. Measured: the second call and two more.

use crate::taken;
use titans_host::device::cpu::Cpu;
use titans_host::device::{AttentionGradients, AttentionInputs, AttentionOp, Device, MoveRows, Place, Span};

type Machine = Cpu<f32>;

pub fn check() {
    for threads in [1, 2, 3] {
        let cpu = Machine::new(Some(threads)).unwrap();
        for (span, context) in [(Span::Window(40), false), (Span::Segment(32), true)] {
            // More blocks of rows than are dealt out at once.
            let op = AttentionOp {
                batch: 23,
                time: 200,
                heads: 4,
                kv_heads: 2,
                width: 8,
                persistent: 3,
                span,
                rotary: Some(10_000.0),
            };
            let mut call = call(&cpu, &op, context);
            call();
            let found = taken(|| (0..3).for_each(|_| call()));
            assert_eq!(found, 0, "{threads} threads, {op:?}");
        }
    }
}

/// Forward and backward of one operation with all its outputs, and a slice of its queries and back.
fn call<'a>(cpu: &'a Machine, op: &'a AttentionOp, context: bool) -> impl FnMut() + 'a {
    let wave = |len: usize| -> Vec<f32> { (0..len).map(|i| 0.7 * (1.7 * i as f32).sin()).collect() };
    let of = |rows: usize, heads: usize| op.batch * rows * heads * op.width;
    let (queries, keys, own) = (of(op.time, op.heads), of(op.time, op.kv_heads), of(op.persistent, op.kv_heads));
    let lens = [queries, queries, keys, keys, own, own, keys, keys];
    let x = lens.map(|len| cpu.upload(&wave(len)).unwrap());
    let mut d = lens.map(|len| cpu.alloc(len).unwrap());
    let mut log_sum = cpu.alloc(op.batch * op.time * op.heads).unwrap();
    let rows = op.time / 3;
    let mut part = cpu.alloc(of(rows, op.heads)).unwrap();
    let slice = MoveRows {
        batch: op.batch,
        rows,
        width: op.heads * op.width,
        from: Place::new(op.time, rows),
        to: Place::new(rows, 0),
        add: false,
    };
    move || {
        let [d_y, q, k, v, pk, pv, ck, cv] = &x;
        let inputs = || AttentionInputs { q, k, v, persistent: Some((pk, pv)), context: context.then_some((ck, cv)) };
        let [y, d_q, d_k, d_v, d_pk, d_pv, d_ck, d_cv] = &mut d;
        cpu.attention(op, inputs(), y, Some(&mut log_sum)).unwrap();
        let gradients = AttentionGradients {
            d_q,
            d_k,
            d_v,
            d_persistent: Some((d_pk, d_pv)),
            d_context: context.then_some((d_ck, d_cv)),
        };
        cpu.attention_vjp(op, inputs(), y, &log_sum, d_y, gradients).unwrap();
        cpu.move_rows(&slice, q, &mut part).unwrap();
        cpu.move_rows(&slice.reversed(), &part, y).unwrap();
    }
}
