//! Every operation but the memory: the kernel's numbers, whatever the threads.

use titans_kernel::{Mat, MatMut, Store, ops};

use super::super::{Buffer, Cpu, Isa};
use super::{bits, eager, numbers, same_for_any_threads};
use crate::device::{
    AdamW, ConvDims, ConvGradients, Device, DropMask, IGNORE, InputGradient, LinearDims, LinearGradients,
};

type Cpu32 = Cpu<f32>;

pub(super) fn up(cpu: &Cpu32, len: usize, seed: u64) -> Buffer<f32> {
    cpu.upload(&numbers(len, seed)).unwrap()
}

fn down<const N: usize>(cpu: &Cpu32, x: [&Buffer<f32>; N]) -> Vec<Vec<f32>> {
    x.iter().map(|x| cpu.download(x).unwrap()).collect()
}

fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn movement() {
    for (cpu, _) in same_for_any_threads(|cpu| {
        let mut y = cpu.alloc(1001).unwrap();
        cpu.write(&numbers(1001, 1), &mut y).unwrap();
        let (mut z, mut f) = (cpu.alloc(1001).unwrap(), cpu.zeros(77).unwrap());
        cpu.copy(&y, &mut z).unwrap();
        assert!(cpu.download(&f).unwrap().iter().all(|&x| x == 0.0));
        cpu.fill(0.25, &mut f).unwrap();
        down(cpu, [&y, &z, &f])
    }) {
        let x = up(&cpu, 9, 1);
        assert_eq!(cpu.len(&x), 9);
        assert_eq!(cpu.download(&x).unwrap(), numbers(9, 1));
        cpu.synchronize().unwrap();
        assert!(cpu.describe().contains(cpu.instruction_set()));
    }
}

#[test]
fn elementwise() {
    let n = 1003;
    let (x, a, d) = (numbers(n, 1), numbers(n, 2), numbers(n, 3));
    for (cpu, got) in same_for_any_threads(|cpu| {
        let (x, a, d) = (up(cpu, n, 1), up(cpu, n, 2), up(cpu, n, 3));
        let mut out: [_; 9] = std::array::from_fn(|_| cpu.alloc(n).unwrap());
        let [sum, silu, d_silu, gated, d_a, d_g, shut, d_as, d_gs] = &mut out;
        cpu.add(&x, &a, sum).unwrap();
        cpu.add_scaled(0.5, &d, sum).unwrap();
        cpu.silu(&x, silu).unwrap();
        cpu.silu_vjp(&x, &d, d_silu).unwrap();
        cpu.silu_gate(&a, &x, gated).unwrap();
        cpu.silu_gate_vjp(&a, &x, &d, d_a, d_g).unwrap();
        cpu.sigmoid_gate(&a, &x, shut).unwrap();
        cpu.sigmoid_gate_vjp(&a, &x, &d, d_as, d_gs).unwrap();
        down(cpu, [sum, silu, d_silu, gated, d_a, d_g, shut, d_as, d_gs])
    }) {
        let mut want: [_; 9] = std::array::from_fn(|_| vec![0.0; n]);
        let [sum, silu, d_silu, gated, d_a, d_g, shut, d_as, d_gs] = &mut want;
        for i in 0..n {
            sum[i] = (x[i] + a[i]) + 0.5 * d[i];
        }
        ops::silu::forward(&cpu.gemm, &x, silu).unwrap();
        ops::silu::vjp(&cpu.gemm, &x, &d, d_silu).unwrap();
        ops::silu_gate::forward(&cpu.gemm, &a, &x, gated).unwrap();
        ops::silu_gate::vjp(&cpu.gemm, &a, &x, &d, d_a, d_g).unwrap();
        ops::sigmoid_gate::forward(&cpu.gemm, &a, &x, shut).unwrap();
        ops::sigmoid_gate::vjp(&cpu.gemm, &a, &x, &d, d_as, d_gs).unwrap();
        assert_eq!(got, want);
    }
}

#[test]
fn dropout() {
    for n in [0, 1, 63, 64, 65, 1003, 40_009] {
        let mask = DropMask::new(0.3, 0x1234_5678_9abc_def0 + n as u64).unwrap();
        for (cpu, got) in same_for_any_threads(|cpu| {
            let (x, mut y) = (up(cpu, n, 1), cpu.alloc(n).unwrap());
            cpu.dropout(&mask, &x, &mut y).unwrap();
            down(cpu, [&y])
        }) {
            let scaled = numbers(n, 1).into_iter().map(|x| x * mask.scale() as f32);
            let want: Vec<_> = (0..).zip(scaled).map(|(i, x)| if mask.keeps(i) { x } else { 0.0 }).collect();
            assert_eq!(bits(&got[0]), bits(&want));
            assert!(cpu.dropout(&mask, &up(&cpu, n, 1), &mut up(&cpu, n + 1, 1)).is_err());
        }
    }
}

#[test]
fn gates() {
    let (rows, heads, scale) = (131, 3, [1.0, 0.1, 0.5]);
    let n = rows * 3 * heads;
    for (cpu, got) in same_for_any_threads(|cpu| {
        let (x, d) = (up(cpu, n, 1), up(cpu, n, 2));
        let (mut y, mut d_x) = (cpu.alloc(n).unwrap(), cpu.alloc(n).unwrap());
        cpu.gates(heads, scale, &x, &mut y).unwrap();
        cpu.gates_vjp(heads, scale, &y, &d, &mut d_x).unwrap();
        down(cpu, [&y, &d_x])
    }) {
        let (mut y, mut d_x) = (vec![0.0; n], vec![0.0; n]);
        ops::gates::forward(&cpu.gemm, heads, scale, &numbers(n, 1), &mut y).unwrap();
        ops::gates::vjp(&cpu.gemm, heads, scale, &y, &numbers(n, 2), &mut d_x).unwrap();
        assert_eq!(got, [y, d_x]);
        assert!(cpu.gates(0, scale, &up(&cpu, n, 1), &mut up(&cpu, n, 1)).is_err());
    }
}

#[test]
fn linear() {
    for (rows, inputs, outputs) in [(1, 1, 1), (1, 128, 256), (67, 33, 70), (200, 64, 6), (0, 3, 4), (5, 0, 4)] {
        for transposed in [false, true] {
            let dims = LinearDims { rows, inputs, outputs, transposed };
            let (nx, nw, ny) = (rows * inputs, inputs * outputs, rows * outputs);
            for (cpu, got) in same_for_any_threads(|cpu| {
                let (x, w, b, d) = (up(cpu, nx, 1), up(cpu, nw, 2), up(cpu, outputs, 3), up(cpu, ny, 4));
                let (mut y, mut z, mut d_x) = (cpu.alloc(ny).unwrap(), cpu.alloc(ny).unwrap(), cpu.alloc(nx).unwrap());
                let (mut d_w, mut d_b) = (up(cpu, nw, 5), up(cpu, outputs, 6));
                cpu.linear(dims, &x, &w, None, &mut y).unwrap();
                cpu.linear(dims, &x, &w, Some(&b), &mut z).unwrap();
                let mut sum = up(cpu, nx, 7);
                cpu.linear_vjp(
                    dims,
                    &x,
                    &w,
                    &d,
                    LinearGradients { d_x: Some(InputGradient::Set(&mut d_x)), d_w: &mut d_w, d_bias: Some(&mut d_b) },
                )
                .unwrap();
                cpu.linear_vjp(
                    dims,
                    &x,
                    &w,
                    &d,
                    LinearGradients { d_x: Some(InputGradient::Add(&mut sum)), d_w: &mut d_w, d_bias: None },
                )
                .unwrap();
                cpu.linear_vjp(dims, &x, &w, &d, LinearGradients { d_x: None, d_w: &mut d_w, d_bias: None }).unwrap();
                down(cpu, [&y, &z, &d_x, &sum, &d_w, &d_b])
            }) {
                let (x, w, d) = (numbers(nx, 1), numbers(nw, 2), numbers(ny, 4));
                let (b, mut d_w, mut d_b) = (numbers(outputs, 3), numbers(nw, 5), numbers(outputs, 6));
                let (mut y, mut z, mut d_x) = (vec![0.0; ny], vec![0.0; ny], vec![0.0; nx]);
                let x = Mat::new(&x, rows, inputs).unwrap();
                let w = if transposed {
                    Mat::new(&w, outputs, inputs).unwrap().t()
                } else {
                    Mat::new(&w, inputs, outputs).unwrap()
                };
                let d = Mat::new(&d, rows, outputs).unwrap();
                let g = &cpu.gemm;
                ops::linear::forward(g, x, w, None, MatMut::new(&mut y, rows, outputs).unwrap()).unwrap();
                ops::linear::forward(g, x, w, Some(&b), MatMut::new(&mut z, rows, outputs).unwrap()).unwrap();
                let mut sum = numbers(nx, 7);
                for (store, d_x) in [(Store::Set, &mut d_x), (Store::Add, &mut sum)] {
                    ops::linear::vjp_input(g, store, w, d, MatMut::new(d_x, rows, inputs).unwrap()).unwrap();
                }
                let (l, r) = if transposed { (d, x) } else { (x, d) };
                for _ in 0..3 {
                    let d_w = MatMut::new(&mut d_w, l.cols(), r.cols()).unwrap();
                    ops::linear::vjp_weight(g, l, r, d_w).unwrap();
                }
                ops::linear::vjp_bias(g, d, &mut d_b).unwrap();
                assert_eq!(got, [y, z, d_x, sum, d_w, d_b], "{dims:?}");
            }
        }
    }
}

#[test]
fn norms() {
    for (rows, width) in [(1, 1), (3, 7), (700, 24), (0, 5)] {
        let n = rows * width;
        for (cpu, got) in same_for_any_threads(|cpu| {
            let (x, w, d) = (up(cpu, n, 1), up(cpu, width, 2), up(cpu, n, 3));
            let mut out: [_; 4] = std::array::from_fn(|_| cpu.alloc(n).unwrap());
            let [y, d_x, z, d_z] = &mut out;
            let mut d_w = up(cpu, width, 4);
            cpu.rms_norm(width, &x, &w, y).unwrap();
            cpu.rms_norm_vjp(width, &x, &w, &d, d_x, &mut d_w).unwrap();
            cpu.l2_norm(width, &x, z).unwrap();
            cpu.l2_norm_vjp(width, &x, &d, d_z).unwrap();
            down(cpu, [y, d_x, z, d_z, &d_w])
        }) {
            let (x, w, d) = (numbers(n, 1), numbers(width, 2), numbers(n, 3));
            let (x, d) = (Mat::new(&x, rows, width).unwrap(), Mat::new(&d, rows, width).unwrap());
            let mut want: [_; 4] = std::array::from_fn(|_| vec![0.0; n]);
            let mut d_w = numbers(width, 4);
            let [y, d_x, z, d_z] = want.each_mut().map(|m| MatMut::new(m, rows, width).unwrap());
            ops::rms_norm::forward(&cpu.gemm, x, &w, y).unwrap();
            ops::rms_norm::vjp(&cpu.gemm, x, &w, d, d_x, &mut d_w).unwrap();
            ops::l2_norm::forward(&cpu.gemm, x, z).unwrap();
            ops::l2_norm::vjp(&cpu.gemm, x, d, d_z).unwrap();
            assert_eq!(got[..4], want);
            assert_close(&got[4], &d_w);
        }
    }
}

#[test]
fn convolution() {
    for (batch, time, channels, width) in [(1, 1, 1, 1), (2, 50, 33, 4), (3, 2, 5, 4), (1, 97, 8, 3)] {
        let dims = ConvDims { batch, time, channels, width };
        let (n, s, kept) = (batch * time * channels, time * channels, (width - 1) * channels);
        for with_tail in [false, true] {
            for (cpu, got) in same_for_any_threads(|cpu| {
                let (x, w, b) = (up(cpu, n, 1), up(cpu, channels * width, 2), up(cpu, channels, 3));
                let (d, tail) = (up(cpu, n, 4), with_tail.then(|| up(cpu, batch * kept, 5)));
                let (mut y, mut d_x) = (cpu.alloc(n).unwrap(), cpu.alloc(n).unwrap());
                let (mut d_w, mut d_b) = (up(cpu, channels * width, 6), up(cpu, channels, 7));
                let mut next = cpu.alloc(batch * kept).unwrap();
                cpu.conv(dims, &x, tail.as_ref(), &w, &b, &mut y).unwrap();
                cpu.conv_vjp(
                    dims,
                    &x,
                    tail.as_ref(),
                    &w,
                    &d,
                    ConvGradients { d_x: &mut d_x, d_w: &mut d_w, d_bias: &mut d_b, d_tail: None },
                )
                .unwrap();
                cpu.conv_tail(dims, &x, tail.as_ref(), &mut next).unwrap();
                down(cpu, [&y, &d_x, &d_w, &d_b, &next])
            }) {
                let (x, w, b) = (numbers(n, 1), numbers(channels * width, 2), numbers(channels, 3));
                let (d, tails) = (numbers(n, 4), numbers(batch * kept, 5));
                let (mut y, mut d_x, mut next) = (vec![0.0; n], vec![0.0; n], vec![0.0; batch * kept]);
                let (mut d_w, mut d_b) = (numbers(channels * width, 6), numbers(channels, 7));
                for i in 0..batch {
                    let (x, d) = (Mat::new(&x[i * s..], time, channels), Mat::new(&d[i * s..], time, channels));
                    let (x, d) = (x.unwrap(), d.unwrap());
                    let tail = with_tail.then(|| Mat::new(&tails[i * kept..], width - 1, channels).unwrap());
                    let y = MatMut::new(&mut y[i * s..], time, channels).unwrap();
                    ops::conv::forward(&cpu.gemm, x, tail, &w, &b, y).unwrap();
                    let d_x = MatMut::new(&mut d_x[i * s..], time, channels).unwrap();
                    ops::conv::vjp(
                        &cpu.gemm,
                        x,
                        tail,
                        &w,
                        d,
                        ops::conv::ConvGradients { x: d_x, w: &mut d_w, bias: &mut d_b },
                    )
                    .unwrap();
                    let next = MatMut::new(&mut next[i * kept..], width - 1, channels).unwrap();
                    ops::conv::next_tail(x, tail, next).unwrap();
                }
                assert_eq!(got[..2], [y, d_x], "{dims:?} {with_tail}");
                assert_close(&got[2], &d_w);
                assert_close(&got[3], &d_b);
                assert_eq!(got[4], next);
            }
        }
    }
}

#[test]
fn ends() {
    let (rows, width, classes) = (53, 11, 19);
    let ids: Vec<u32> = (0..rows as u32).map(|i| i * 7 % classes as u32).collect();
    let mut targets = ids.clone();
    targets[5] = IGNORE;
    for (cpu, got) in same_for_any_threads(|cpu| {
        let (table, d, logits) = (up(cpu, classes * width, 1), up(cpu, rows * width, 2), up(cpu, rows * classes, 3));
        let (i, t) = (cpu.upload_indices(&ids).unwrap(), cpu.upload_indices(&targets).unwrap());
        let (mut y, mut d_table) = (cpu.alloc(rows * width).unwrap(), up(cpu, classes * width, 4));
        let (mut losses, mut d_logits) = (cpu.alloc(rows).unwrap(), cpu.alloc(rows * classes).unwrap());
        cpu.embedding(width, &i, &table, &mut y).unwrap();
        cpu.embedding_vjp(width, &i, &d, &mut d_table).unwrap();
        cpu.cross_entropy(classes, &logits, &t, &mut losses).unwrap();
        cpu.cross_entropy_vjp(classes, &logits, &t, 0.5, &mut d_logits).unwrap();
        down(cpu, [&y, &d_table, &losses, &d_logits])
    }) {
        let (table, d, logits) = (numbers(classes * width, 1), numbers(rows * width, 2), numbers(rows * classes, 3));
        let (mut y, mut d_table) = (vec![0.0; rows * width], numbers(classes * width, 4));
        let (mut losses, mut d_logits) = (vec![0.0; rows], vec![0.0; rows * classes]);
        let of = |m| MatMut::new(m, rows, width).unwrap();
        ops::embedding::forward(Mat::new(&table, classes, width).unwrap(), &ids, of(&mut y)).unwrap();
        let d = Mat::new(&d, rows, width).unwrap();
        ops::embedding::vjp(&ids, d, MatMut::new(&mut d_table, classes, width).unwrap()).unwrap();
        let logits = Mat::new(&logits, rows, classes).unwrap();
        ops::cross_entropy::forward(&cpu.gemm, logits, &targets, &mut losses).unwrap();
        let d_out = MatMut::new(&mut d_logits, rows, classes).unwrap();
        ops::cross_entropy::vjp(&cpu.gemm, logits, &targets, 0.5, d_out).unwrap();
        assert_eq!(got, [y, d_table, losses, d_logits]);
        // The index of a wrong id is the caller's, not that of a task's part.
        let mut wrong = ids.clone();
        wrong[51] = classes as u32;
        let wrong = cpu.upload_indices(&wrong).unwrap();
        let error = cpu.embedding(width, &wrong, &up(&cpu, classes * width, 1), &mut up(&cpu, rows * width, 1));
        assert!(error.unwrap_err().to_string().contains("ids[51]"));
        let error = cpu.cross_entropy(classes, &up(&cpu, rows * classes, 1), &wrong, &mut up(&cpu, rows, 1));
        assert!(error.unwrap_err().to_string().contains("targets[51]"));
    }
}

#[test]
fn sums_and_optimiser() {
    let n = 20_011;
    let step = AdamW {
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.1,
        gradient_scale: 0.5,
        step: 3,
    };
    for (_, got) in same_for_any_threads(|cpu| {
        let (x, mut total, mut squares) = (up(cpu, n, 1), up(cpu, 1, 2), up(cpu, 1, 3));
        cpu.sum(&x, &mut total).unwrap();
        cpu.sum_squares(&x, &mut squares).unwrap();
        let (mut p, mut m, mut v) = (up(cpu, n, 4), up(cpu, n, 5), cpu.zeros(n).unwrap());
        cpu.adamw(&step, &x, &mut p, &mut m, &mut v).unwrap();
        cpu.adamw(&AdamW { step: 4, ..step }, &x, &mut p, &mut m, &mut v).unwrap();
        down(cpu, [&total, &squares, &p, &m, &v])
    }) {
        let x: Vec<f64> = numbers(n, 1).into_iter().map(f64::from).collect();
        let sum = x.iter().sum::<f64>() + f64::from(numbers(1, 2)[0]);
        let squares = x.iter().map(|x| x * x).sum::<f64>() + f64::from(numbers(1, 3)[0]);
        assert!((f64::from(got[0][0]) - sum).abs() < 1e-6 * (1.0 + sum.abs()));
        assert!((f64::from(got[1][0]) - squares).abs() < 1e-6 * squares);
        // AdamW by its definition.
        for i in (0..n).step_by(97) {
            let (mut p, mut m, mut v) = (f64::from(numbers(n, 4)[i]), f64::from(numbers(n, 5)[i]), 0.0);
            for t in [3, 4] {
                let g = 0.5 * x[i];
                m = 0.9 * m + 0.1 * g;
                v = 0.98 * v + 0.02 * g * g;
                let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.98f64.powi(t)));
                p -= 0.01 * (m_hat / (v_hat.sqrt() + 1e-8) + 0.1 * p);
            }
            for (got, want) in [(got[2][i], p), (got[3][i], m), (got[4][i], v)] {
                assert!((f64::from(got) - want).abs() < 2e-6 * (1.0 + want.abs()), "{i}: {got} {want}");
            }
        }
    }
}

#[test]
fn a_second_pass_allocates_nothing() {
    let cpu = eager(2, Isa::best());
    let pass = || {
        let (x, w) = (up(&cpu, 1200, 1), up(&cpu, 40, 2));
        let (mut y, mut d_w) = (cpu.alloc(1200).unwrap(), cpu.zeros(40).unwrap());
        cpu.rms_norm(40, &x, &w, &mut y).unwrap();
        cpu.rms_norm_vjp(40, &x, &w, &x, &mut y, &mut d_w).unwrap();
        bits(y.as_slice())
    };
    let first = pass();
    let idle = cpu.pool.idle_len();
    assert_eq!(pass(), first);
    assert_eq!(cpu.pool.idle_len(), idle);
}
