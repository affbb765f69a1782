//! The matrix product at the shapes of a memory, in multiply-adds a second: b rows of a chunk, widths d.
//! NN is X W, NT is E Wᵀ, TN is Xᵀ E added to the state, causal is a chunk's b × b times b × d.
//!
//! And at those of the text model's linear layers, one thread, by turns with matrixmultiply, which `ndarray` multiplies
//! with (it takes what the processor has, whatever `TITANS_ISA` says).

mod common;

use common::{Result, numbers};
use criterion::{BenchmarkId, Criterion, Throughput};
use ndarray::linalg::general_mat_mul;
use titans_host::array::{view, view_mut};
use titans_host::device::cpu::Simd;
use titans_kernel::arithmetic::Beside;
use titans_kernel::{Arithmetic, Mat, MatMut, Store};

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    for b in [1, 16, 64] {
        for d in [64, 256] {
            shapes(&mut criterion, b, d)?;
        }
    }
    for (inputs, outputs) in [(128, 128), (128, 256), (128, 384), (256, 128)] {
        linear(&mut criterion, inputs, outputs)?;
    }
    criterion.final_summary();
    Ok(())
}

fn shapes(criterion: &mut Criterion, b: usize, d: usize) -> Result<()> {
    let g: Simd = common::arithmetic()?;
    let (x, e, w) = (numbers(b * d, 1.0, 1), numbers(b * d, 1.0, 2), numbers(d * d, 0.1, 3));
    let (coefficients, mut y, mut state) = (numbers(b * b, 1.0, 4), vec![0.0; b * d], vec![0.0; d * d]);
    let (x, e, w) = (Mat::new(&x, b, d)?, Mat::new(&e, b, d)?, Mat::new(&w, d, d)?);
    let c = Mat::new(&coefficients, b, b)?;
    let mut y = MatMut::new(&mut y, b, d)?;
    let mut state = MatMut::new(&mut state, d, d)?;
    let name = format!("b {b}, d {d}");
    let mut group = criterion.benchmark_group("product");
    group.throughput(Throughput::Elements((b * d * d) as u64));
    group.bench_function(BenchmarkId::new("NN", &name), |m| m.iter(|| g.gemm(Store::Set, x, w, y.rb())));
    group.bench_function(BenchmarkId::new("NT", &name), |m| m.iter(|| g.gemm(Store::Set, e, w.t(), y.rb())));
    group.bench_function(BenchmarkId::new("TN", &name), |m| m.iter(|| g.gemm(Store::Sub, x.t(), e, state.rb())));
    group.throughput(Throughput::Elements((b * (b + 1) / 2 * d) as u64));
    group.bench_function(BenchmarkId::new("causal", &name), |m| {
        m.iter(|| g.causal(Store::Set, Beside::lower(0), c, e, y.rb()))
    });
    Ok(())
}

/// Rows of a step of the default text model.
const ROWS: usize = 4096;

/// The three products of a linear layer. `d_W` is set, not added to, by both.
fn linear(criterion: &mut Criterion, inputs: usize, outputs: usize) -> Result<()> {
    let g: Simd = common::arithmetic()?;
    let (x, d_y, w) =
        (numbers(ROWS * inputs, 1.0, 1), numbers(ROWS * outputs, 1.0, 2), numbers(inputs * outputs, 0.1, 3));
    let (mut y, mut d_x, mut d_w) = (vec![0.0; d_y.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    let (x, d_y, w) = (Mat::new(&x, ROWS, inputs)?, Mat::new(&d_y, ROWS, outputs)?, Mat::new(&w, inputs, outputs)?);
    let products = [
        ("y = x W", x, w, MatMut::new(&mut y, ROWS, outputs)?),
        ("d_x = d_y Wt", d_y, w.t(), MatMut::new(&mut d_x, ROWS, inputs)?),
        ("d_W = xt d_y", x.t(), d_y, MatMut::new(&mut d_w, inputs, outputs)?),
    ];
    let mut group = criterion.benchmark_group("linear");
    group.throughput(Throughput::Elements((ROWS * inputs * outputs) as u64));
    for (name, a, b, mut c) in products {
        let name = format!("{name}, {inputs} to {outputs}");
        group.bench_function(BenchmarkId::new(&name, "ours"), |m| m.iter(|| g.gemm(Store::Set, a, b, c.rb())));
        let (a, b, mut c) = (view(a)?, view(b)?, view_mut(&mut c)?);
        group.bench_function(BenchmarkId::new(&name, "matrixmultiply"), |m| {
            m.iter(|| general_mat_mul(1.0, &a, &b, 0.0, &mut c))
        });
    }
    group.finish();
    Ok(())
}
