//! Attention: forward by its definition in f64, backward of f32 against f64, whatever the threads.

use super::super::{Cpu, Isa};
use super::{eager, numbers, same_for_any_threads};
use crate::device::plan::Plan;
use crate::device::{AttentionGradients, AttentionInputs, AttentionOp, Device, Span};
use titans_kernel::Scalar;

/// Operations of every span and size, with and without context.
fn cases() -> Vec<(AttentionOp, bool)> {
    let op = |batch, time, [heads, kv_heads]: [usize; 2], width, persistent, span, rotary| AttentionOp {
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
        (op(1, 1, [1, 1], 2, 0, Span::Window(1), base), false),
        (op(2, 37, [4, 2], 6, 3, Span::Window(5), base), false),
        (op(1, 131, [2, 2], 8, 0, Span::Window(64), None), false),
        (op(2, 66, [3, 1], 4, 2, Span::Window(usize::MAX), base), false),
        (op(2, 37, [2, 1], 4, 3, Span::Segment(8), base), true),
        (op(1, 65, [2, 2], 5, 0, Span::Segment(32), None), true),
        (op(1, 5, [1, 1], 4, 1, Span::Segment(64), Some(50.0)), true),
        (op(2, 19, [2, 1], 2, 1, Span::Segment(4), base), false),
        (op(0, 3, [1, 1], 2, 0, Span::Window(2), base), false),
        (op(2, 0, [1, 1], 2, 3, Span::Window(2), base), false),
    ]
}

/// Elements of queries, of keys, of persistent keys.
fn lens(op: &AttentionOp) -> [usize; 3] {
    let of = |rows: usize, heads: usize| op.batch * rows * heads * op.width;
    [of(op.time, op.heads), of(op.time, op.kv_heads), of(op.persistent, op.kv_heads)]
}

/// q, k, v, persistent k and v, context k and v, d_y.
fn operands(op: &AttentionOp) -> [Vec<f32>; 8] {
    let [q, k, p] = lens(op);
    let lens = [q, k, k, p, p, k, k, q];
    std::array::from_fn(|i| numbers(lens[i], i as u64 + 1).iter().map(|x| 3.0 * x).collect())
}

/// y, log_sum, and the gradients of the seven inputs; those that are not there are empty.
fn run<D: Device>(cpu: &D, op: &AttentionOp, context: bool) -> Vec<Vec<D::Elem>> {
    let x = operands(op).map(|x| {
        let x: Vec<D::Elem> = x.iter().map(|&x| D::Elem::from_f64(f64::from(x))).collect();
        cpu.upload(&x).unwrap()
    });
    let [q, k, v, pk, pv, ck, cv, d_y] = &x;
    let inputs = || AttentionInputs {
        q,
        k,
        v,
        persistent: (op.persistent > 0).then_some((pk, pv)),
        context: context.then_some((ck, cv)),
    };
    let like = |x: &_| cpu.alloc(cpu.len(x)).unwrap();
    let (mut y, mut log_sum) = (like(q), cpu.alloc(op.batch * op.time * op.heads).unwrap());
    cpu.attention(op, inputs(), &mut y, Some(&mut log_sum)).unwrap();
    let mut alone = like(q);
    cpu.attention(op, inputs(), &mut alone, None).unwrap();
    assert!(cpu.download(&alone).unwrap() == cpu.download(&y).unwrap());
    let mut d = [q, k, v, pk, pv, ck, cv].map(like);
    let [d_q, d_k, d_v, d_pk, d_pv, d_ck, d_cv] = &mut d;
    let gradients = AttentionGradients {
        d_q,
        d_k,
        d_v,
        d_persistent: (op.persistent > 0).then_some((d_pk, d_pv)),
        d_context: context.then_some((d_ck, d_cv)),
    };
    cpu.attention_vjp(op, inputs(), &y, &log_sum, d_y, gradients).unwrap();
    let there = if context { 7 } else { 5 };
    [&y, &log_sum].into_iter().chain(&d[..there]).map(|x| cpu.download(x).unwrap()).collect()
}

/// Output and sums by the definition.
fn defined(op: &AttentionOp, context: bool) -> [Vec<f64>; 2] {
    let [q, k, v, pk, pv, ck, cv, _] = operands(op).map(|x| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
    let (w, group) = (op.width, op.heads / op.kv_heads);
    let turned = |x: &[f64], p: i64| {
        let Some(base) = op.rotary else { return x.to_vec() };
        let turn = |i: usize| {
            let (sin, cos) = (p as f64 * base.powf(-2.0 * (i % (w / 2)) as f64 / w as f64)).sin_cos();
            if i < w / 2 { x[i] * cos - x[i + w / 2] * sin } else { x[i - w / 2] * sin + x[i] * cos }
        };
        (0..w).map(turn).collect()
    };
    let (mut y, mut sums) = (vec![], vec![]);
    for (b, i, h) in (0..op.batch).flat_map(|b| (0..op.time).flat_map(move |i| (0..op.heads).map(move |h| (b, i, h)))) {
        fn row(x: &[f64], [b, r, h]: [usize; 3], [rows, heads, w]: [usize; 3]) -> &[f64] {
            &x[((b * rows + r) * heads + h) * w..][..w]
        }
        let (oldest, period) = match op.span {
            Span::Window(window) => ((i + 1).saturating_sub(window), usize::MAX),
            Span::Segment(c) => (i - i % c, c),
        };
        let position = |j: usize| (j % period) as i64;
        let query = row(&q, [b, i, h], [op.time, op.heads, w]);
        let query_turned = turned(query, position(i));
        let mut seen: Vec<(f64, &[f64])> = vec![];
        let mut see = |q: &[f64], k: &[f64], v| {
            let score = q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (w as f64).sqrt();
            seen.push((score, v));
        };
        let (persistent, tokens) = ([op.persistent, op.kv_heads, w], [op.time, op.kv_heads, w]);
        for r in 0..op.persistent {
            let at = [b, r, h / group];
            see(query, row(&pk, at, persistent), row(&pv, at, persistent));
        }
        for j in oldest..=i {
            let at = [b, j, h / group];
            if context {
                let k = turned(row(&ck, at, tokens), position(j) - period as i64);
                see(&query_turned, &k, row(&cv, at, tokens));
            }
            see(&query_turned, &turned(row(&k, at, tokens), position(j)), row(&v, at, tokens));
        }
        let total: f64 = seen.iter().map(|(score, _)| score.exp()).sum();
        sums.push(total.ln());
        y.extend((0..w).map(|c| seen.iter().map(|(score, v)| score.exp() / total * v[c]).sum::<f64>()));
    }
    [y, sums]
}

/// Like the errors allowed for an operation, relative to the largest value.
fn assert_near(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*got) - want).abs() <= tolerance * largest, "{what}[{i}]: {got} and {want}");
    }
}

#[test]
fn attention_is_its_definition_for_any_threads() {
    for (op, context) in cases() {
        let want = defined(&op, context);
        let precise = run(&Cpu::<f64>::new(Some(1)).unwrap(), &op, context);
        for (got, want) in precise.iter().zip(&want) {
            let largest = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1e-12 * largest), "{op:?}");
        }
        for (_, got) in same_for_any_threads(|cpu| run(cpu, &op, context)) {
            for (i, (got, want)) in got.iter().zip(&precise).enumerate() {
                assert_near(&format!("output {i} of {op:?}"), got, want, 1e-5);
            }
        }
    }
}

#[test]
fn the_plan_holds_what_the_device_holds() {
    for threads in [1, 3] {
        for (op, context) in cases() {
            let (cpu, plan) = (Cpu::<f32>::new(Some(threads)).unwrap(), Plan::new(threads).unwrap());
            run(&cpu, &op, context);
            run(&plan, &op, context);
            assert_eq!(plan.peak(), cpu.pool_usage().peak_bytes, "{threads} threads, {op:?}");
        }
    }
}

#[test]
fn attentions_that_cannot_be_are_refused() {
    let cpu = eager(2, Isa::best());
    let good = AttentionOp {
        batch: 2,
        time: 3,
        heads: 4,
        kv_heads: 2,
        width: 2,
        persistent: 1,
        span: Span::Segment(2),
        rotary: Some(10_000.0),
    };
    let buffer = |len| cpu.upload(&numbers(len, 1)).unwrap();
    let forward = |op: AttentionOp, [q, k, v, pk, pv, ck, cv]: [usize; 7]| {
        let x = [q, k, v, pk, pv, ck, cv].map(buffer);
        let pair = |i: usize| (cpu.len(&x[i]) > 0).then_some((&x[i], &x[i + 1]));
        let inputs = AttentionInputs { q: &x[0], k: &x[1], v: &x[2], persistent: pair(3), context: pair(5) };
        cpu.attention(&op, inputs, &mut buffer(48), Some(&mut buffer(24))).map_err(|e| e.to_string())
    };
    let sizes = [48, 24, 24, 8, 8, 24, 24];
    forward(good, sizes).unwrap();
    for (i, what) in ["q", "k", "v", "persistent k", "persistent v", "context k", "context v"].iter().enumerate() {
        let mut wrong = sizes;
        wrong[i] += 1;
        let error = forward(good, wrong).unwrap_err();
        assert!(error.starts_with(&format!("{what}: expected {}, found {}", sizes[i], wrong[i])), "{error}");
    }
    let without = [48, 24, 24, 0, 0, 24, 24];
    assert!(forward(good, without).unwrap_err().contains("persistent"));
    for (op, expected) in [
        (AttentionOp { kv_heads: 3, ..good }, "heads"),
        (AttentionOp { kv_heads: 0, ..good }, "heads"),
        (AttentionOp { heads: 0, ..good }, "heads"),
        (AttentionOp { width: 0, ..good }, "width"),
        (AttentionOp { width: 3, ..good }, "even"),
        (AttentionOp { span: Span::Segment(0), ..good }, "1 or more"),
        (AttentionOp { span: Span::Window(2), ..good }, "context"),
        (AttentionOp { rotary: Some(f64::NAN), ..good }, "base"),
        (AttentionOp { batch: usize::MAX, ..good }, "q: expected"),
    ] {
        let error = forward(op, sizes).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let x = sizes.map(buffer);
    let inputs = || AttentionInputs {
        q: &x[0],
        k: &x[1],
        v: &x[2],
        persistent: Some((&x[3], &x[4])),
        context: Some((&x[5], &x[6])),
    };
    for (i, what) in ["d_q", "d_k", "d_v", "d of persistent k", "d of persistent v", "d of context k", "d of context v"]
        .iter()
        .enumerate()
    {
        let mut wrong = sizes;
        wrong[i] += 1;
        let [mut d_q, mut d_k, mut d_v, mut pk, mut pv, mut ck, mut cv] = wrong.map(buffer);
        let gradients = AttentionGradients {
            d_q: &mut d_q,
            d_k: &mut d_k,
            d_v: &mut d_v,
            d_persistent: Some((&mut pk, &mut pv)),
            d_context: Some((&mut ck, &mut cv)),
        };
        let error = cpu.attention_vjp(&good, inputs(), &buffer(48), &buffer(24), &buffer(48), gradients).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{what}: expected {}", sizes[i])), "{error}");
    }
}
