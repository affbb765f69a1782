//! Every operation of `titans-kernel/src/ops`, forward and backward, on one thread, in elements a second.

mod common;

use common::{Result, numbers};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use titans_host::device::cpu::Simd;
use titans_kernel::ops::activation::{self, Activation};
use titans_kernel::ops::{
    Tail, attention, conv, cross_entropy, dropout, embedding, gates, l2_norm, layer_norm, linear, rms_norm, rotary,
    sigmoid_gate, silu, silu_gate, squared_error,
};
use titans_kernel::{Mat, MatMut, Result as KernelResult, Store};

/// Tokens, and the width of each: what stays in L2.
const ROWS: usize = 256;
const WIDTH: usize = 128;
const LEN: usize = ROWS * WIDTH;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let g = common::arithmetic()?;
    let mut group = criterion.benchmark_group("operation");
    group.throughput(Throughput::Elements(LEN as u64));
    activations(&mut group, &g);
    elementwise(&mut group, &g)?;
    norms(&mut group, &g)?;
    layer_norms(&mut group);
    linears(&mut group, &g)?;
    convolution(&mut group, &g)?;
    attentions(&mut group, &g)?;
    ends(&mut group, &g)?;
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Measures `work`, after one call whose error is reported.
fn measure(
    group: &mut Group<'_>,
    operation: &str,
    pass: &str,
    mut work: impl FnMut() -> KernelResult<()>,
) -> Result<()> {
    work()?;
    group.bench_function(BenchmarkId::new(operation, pass), |b| b.iter(|| work().is_ok()));
    Ok(())
}

fn activations(group: &mut Group<'_>, g: &Simd) {
    let (z, d) = (numbers(LEN, 4.0, 1), numbers(LEN, 1.0, 2));
    let (mut a, mut b) = (vec![0.0; LEN], vec![0.0; LEN]);
    for (name, phi) in [
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
        ("gelu-tanh", Activation::GeluTanh),
        ("relu", Activation::Relu),
        ("identity", Activation::Identity),
    ] {
        let id = |pass: &str| BenchmarkId::new(format!("activation {name}"), pass);
        group.bench_function(id("forward"), |m| m.iter(|| activation::forward(g, phi, &z, &mut a)));
        group.bench_function(id("vjp"), |m| m.iter(|| activation::vjp(g, phi, &z, &d, &mut a)));
        group.bench_function(id("vjp_add"), |m| m.iter(|| activation::vjp_add(g, phi, &z, &d, &mut a)));
        group.bench_function(id("vjp_vjp"), |m| m.iter(|| activation::vjp_vjp(g, phi, &z, &d, &d, &mut a, &mut b)));
        a.fill(0.0); // what vjp_add has summed up
    }
}

fn elementwise(group: &mut Group<'_>, g: &Simd) -> Result<()> {
    let (x, z, d) = (numbers(LEN, 4.0, 1), numbers(LEN, 4.0, 2), numbers(LEN, 1.0, 3));
    let (mut y, mut d_x, mut d_z) = (vec![0.0; LEN], vec![0.0; LEN], vec![0.0; LEN]);
    measure(group, "silu", "forward", || silu::forward(g, &x, &mut y))?;
    measure(group, "silu", "vjp", || silu::vjp(g, &x, &d, &mut d_x))?;
    measure(group, "silu_gate", "forward", || silu_gate::forward(g, &x, &z, &mut y))?;
    measure(group, "silu_gate", "vjp", || silu_gate::vjp(g, &x, &z, &d, &mut d_x, &mut d_z))?;
    measure(group, "sigmoid_gate", "forward", || sigmoid_gate::forward(g, &x, &z, &mut y))?;
    measure(group, "sigmoid_gate", "vjp", || sigmoid_gate::vjp(g, &x, &z, &d, &mut d_x, &mut d_z))?;
    let mask = dropout::DropMask::new(0.1, 7)?;
    measure(group, "dropout", "forward", || dropout::forward(g, &mask, 0, &x, &mut y))?;
    let (heads, scale) = (4, [1.0, 0.25, 1.0]);
    let len = LEN / (3 * heads) * 3 * heads;
    measure(group, "gates", "forward", || gates::forward(g, heads, scale, &x[..len], &mut y[..len]))?;
    measure(group, "gates", "vjp", || gates::vjp(g, heads, scale, &y[..len], &d[..len], &mut d_x[..len]))
}

fn norms(group: &mut Group<'_>, g: &Simd) -> Result<()> {
    let (x, d, w) = (numbers(LEN, 1.0, 1), numbers(LEN, 1.0, 2), numbers(WIDTH, 1.0, 3));
    let (mut y, mut d_w) = (vec![0.0; LEN], vec![0.0; WIDTH]);
    let (x, d) = (Mat::new(&x, ROWS, WIDTH)?, Mat::new(&d, ROWS, WIDTH)?);
    let mut out = MatMut::new(&mut y, ROWS, WIDTH)?;
    measure(group, "rms_norm", "forward", || rms_norm::forward(g, x, &w, out.rb()))?;
    measure(group, "rms_norm", "vjp", || rms_norm::vjp(g, x, &w, d, out.rb(), &mut d_w))?;
    measure(group, "l2_norm", "forward", || l2_norm::forward(g, x, out.rb()))?;
    measure(group, "l2_norm", "vjp", || l2_norm::vjp(g, x, d, out.rb()))
}

/// Row functions of the residual memory; they are not lent an instruction set.
fn layer_norms(group: &mut Group<'_>) {
    let (x, d, c) = (numbers(LEN, 1.0, 1), numbers(LEN, 1.0, 2), numbers(LEN, 1.0, 3));
    let (mut y, mut d_d, mut d_x) = (vec![0.0; LEN], vec![0.0; LEN], vec![0.0; LEN]);
    let mut work = vec![0.0; WIDTH];
    let mut r = vec![0.0; ROWS];
    group.bench_function(BenchmarkId::new("layer_norm", "forward_row"), |b| {
        b.iter(|| {
            for (i, (x, y)) in x.chunks_exact(WIDTH).zip(y.chunks_exact_mut(WIDTH)).enumerate() {
                r[i] = layer_norm::forward_row(x, y);
            }
        });
    });
    group.bench_function(BenchmarkId::new("layer_norm", "vjp_row"), |b| {
        b.iter(|| {
            let rows = y.chunks_exact(WIDTH).zip(d.chunks_exact(WIDTH)).zip(d_x.chunks_exact_mut(WIDTH));
            rows.zip(&r).for_each(|(((y, d), d_x), &r)| layer_norm::vjp_row(y, r, d, d_x));
        });
    });
    group.bench_function(BenchmarkId::new("layer_norm", "vjp_vjp_row"), |b| {
        b.iter(|| {
            for (i, &r) in r.iter().enumerate() {
                let at = i * WIDTH..(i + 1) * WIDTH;
                let (y, d, c) = (&y[at.clone()], &d[at.clone()], &c[at.clone()]);
                layer_norm::vjp_vjp_row(y, r, d, c, &mut d_d[at.clone()], &mut d_x[at], &mut work);
            }
        });
    });
}

/// A square map; elements are those of its output.
fn linears(group: &mut Group<'_>, g: &Simd) -> Result<()> {
    let (x, d) = (numbers(LEN, 1.0, 1), numbers(LEN, 1.0, 2));
    let (w, bias) = (numbers(WIDTH * WIDTH, 0.1, 3), numbers(WIDTH, 1.0, 4));
    let (mut y, mut d_w, mut d_bias) = (vec![0.0; LEN], vec![0.0; WIDTH * WIDTH], vec![0.0; WIDTH]);
    let (x, d, w) = (Mat::new(&x, ROWS, WIDTH)?, Mat::new(&d, ROWS, WIDTH)?, Mat::new(&w, WIDTH, WIDTH)?);
    let mut y = MatMut::new(&mut y, ROWS, WIDTH)?;
    let mut d_w = MatMut::new(&mut d_w, WIDTH, WIDTH)?;
    measure(group, "linear", "forward", || linear::forward(g, x, w, Some(&bias), y.rb()))?;
    measure(group, "linear", "forward, transposed", || linear::forward(g, x, w.t(), None, y.rb()))?;
    measure(group, "linear", "vjp_input", || linear::vjp_input(g, Store::Set, w, d, y.rb()))?;
    measure(group, "linear", "vjp_weight", || linear::vjp_weight(g, x, d, d_w.rb()))?;
    measure(group, "linear", "vjp_bias", || linear::vjp_bias(g, d, &mut d_bias))
}

fn convolution(group: &mut Group<'_>, g: &Simd) -> Result<()> {
    const TAPS: usize = 4;
    let (x, d) = (numbers(LEN, 1.0, 1), numbers(LEN, 1.0, 2));
    let (w, bias) = (numbers(WIDTH * TAPS, 0.5, 3), numbers(WIDTH, 1.0, 4));
    let (mut y, mut d_w, mut d_bias) = (vec![0.0; LEN], vec![0.0; WIDTH * TAPS], vec![0.0; WIDTH]);
    let mut next = vec![0.0; (TAPS - 1) * WIDTH];
    let (rows, d) = (Mat::new(&x, ROWS, WIDTH)?, Mat::new(&d, ROWS, WIDTH)?);
    let mut next = MatMut::new(&mut next, TAPS - 1, WIDTH)?;
    {
        let mut y = MatMut::new(&mut y, ROWS, WIDTH)?;
        measure(group, "conv", "forward", || conv::forward(g, rows, None, &w, &bias, y.rb()))?;
        measure(group, "conv", "vjp", || {
            conv::vjp(g, rows, None, &w, d, conv::ConvGradients { x: y.rb(), w: &mut d_w, bias: &mut d_bias })
        })?;
    }
    measure(group, "conv", "next_tail", || conv::next_tail(rows, None, next.rb()))?;
    let mut buffer = vec![0.0; Tail::<f32>::len(TAPS, WIDTH)];
    let mut tail = Tail::new(TAPS, WIDTH, &mut buffer)?;
    measure(group, "conv", "stream, one token a call", || {
        let rows = x.chunks_exact(WIDTH).zip(y.chunks_exact_mut(WIDTH));
        rows.into_iter().try_for_each(|(x, y)| tail.step(g, x, &w, &bias, y))
    })
}

/// One head of that width, every query with the window before it; elements are those of the output.
fn attentions(group: &mut Group<'_>, g: &Simd) -> Result<()> {
    const SPAN: attention::Span = attention::Span::Window(64);
    let x: [_; 4] = std::array::from_fn(|i| numbers(LEN, 1.0, i as u64 + 1));
    let [q, k, v, d_y] = [
        Mat::new(&x[0], ROWS, WIDTH)?,
        Mat::new(&x[1], ROWS, WIDTH)?,
        Mat::new(&x[2], ROWS, WIDTH)?,
        Mat::new(&x[3], ROWS, WIDTH)?,
    ];
    let mut y = vec![0.0; LEN];
    let rotation = rotary::Rotary { width: WIDTH, base: 10_000.0, period: 0, shift: 0 };
    measure(group, "rotary", "forward", || rotary::forward(g, &rotation, 0, q, MatMut::new(&mut y, ROWS, WIDTH)?))?;
    let keys = attention::Keys { persistent: None, context: None, tokens: (k, v), first: 0 };
    let mut sums = vec![0.0; ROWS];
    let mut scratch =
        vec![0.0; attention::vjp_scratch_len(SPAN, ROWS, 0, false).max(attention::scratch_len(SPAN, ROWS, 0, false))];
    measure(group, "attention", "forward", || {
        let out = MatMut::new(&mut y, ROWS, WIDTH)?;
        attention::forward(
            g,
            SPAN,
            attention::Queries { first: 0, q, q_rotated: q },
            &keys,
            out,
            Some(&mut sums),
            &mut scratch,
        )
    })?;
    let y = Mat::new(&y, ROWS, WIDTH)?;
    let mut d: [_; 4] = std::array::from_fn(|_| vec![0.0; LEN]);
    measure(group, "attention", "vjp", || {
        let [d_q, d_turned, d_k, d_v] = &mut d;
        let gradients = attention::AttentionGradients {
            q: MatMut::new(d_q, ROWS, WIDTH)?,
            q_rotated: MatMut::new(d_turned, ROWS, WIDTH)?,
            persistent: None,
            context: None,
            tokens: (MatMut::new(d_k, ROWS, WIDTH)?, MatMut::new(d_v, ROWS, WIDTH)?),
        };
        attention::vjp(
            g,
            SPAN,
            attention::Queries { first: 0, q, q_rotated: q },
            &keys,
            attention::Answered { y, log_sum: &sums, d_y },
            gradients,
            &mut scratch,
        )
    })
}

/// The two ends of a model of bytes; elements are those of the activations, then those of the logits.
fn ends(group: &mut Group<'_>, g: &Simd) -> Result<()> {
    const CLASSES: usize = 256;
    let ids: Vec<u32> = (0..ROWS as u32).map(|i| i.wrapping_mul(97) % CLASSES as u32).collect();
    let table = numbers(CLASSES * WIDTH, 1.0, 1);
    let (mut y, mut d_table) = (vec![0.0; LEN], vec![0.0; CLASSES * WIDTH]);
    let d = numbers(LEN, 1.0, 2);
    let (table, d) = (Mat::new(&table, CLASSES, WIDTH)?, Mat::new(&d, ROWS, WIDTH)?);
    let mut y = MatMut::new(&mut y, ROWS, WIDTH)?;
    let mut d_table = MatMut::new(&mut d_table, CLASSES, WIDTH)?;
    measure(group, "embedding", "forward", || embedding::forward(table, &ids, y.rb()))?;
    measure(group, "embedding", "vjp", || embedding::vjp(&ids, d, d_table.rb()))?;
    let logits = numbers(ROWS * CLASSES, 4.0, 3);
    let (mut losses, mut d_logits) = (vec![0.0; ROWS], vec![0.0; ROWS * CLASSES]);
    let logits = Mat::new(&logits, ROWS, CLASSES)?;
    let mut d_logits = MatMut::new(&mut d_logits, ROWS, CLASSES)?;
    group.throughput(Throughput::Elements((ROWS * CLASSES) as u64));
    measure(group, "cross_entropy", "forward", || cross_entropy::forward(g, logits, &ids, &mut losses))?;
    measure(group, "cross_entropy", "vjp", || cross_entropy::vjp(g, logits, &ids, 0.01, d_logits.rb()))?;
    let target = numbers(ROWS * CLASSES, 4.0, 4);
    let target = Mat::new(&target, ROWS, CLASSES)?;
    measure(group, "squared_error", "forward", || squared_error::forward(g, logits, target, &mut losses))?;
    measure(group, "squared_error", "vjp", || squared_error::vjp(g, logits, target, 0.01, d_logits.rb()))
}
