//! The matrix product at the shapes of a memory, in multiply-adds a second: b rows of a chunk, widths d.
//! NN is X W, NT is E Wᵀ, TN is Xᵀ E added to the state, causal is a chunk's b × b times b × d.

mod common;

use common::{Result, numbers};
use criterion::{BenchmarkId, Criterion, Throughput};
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
    criterion.final_summary();
    Ok(())
}

fn shapes(criterion: &mut Criterion, b: usize, d: usize) -> Result<()> {
    let g: Simd = common::gemm()?;
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
