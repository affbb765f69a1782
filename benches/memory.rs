//! The memory alone, one head on one thread: forward in both forms, backward, and a stream, in tokens a second.

mod common;

use common::{Case, Result};
use criterion::{BenchmarkId, Criterion, Throughput};
use titans_kernel::memory::Form;

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, widths) in [
        ("64", &[64, 64][..]),
        ("128", &[128, 128]),
        ("256", &[256, 256]),
        ("64-256-64", &[64, 256, 64]),
        ("256-1024-256", &[256, 1024, 256]),
    ] {
        chunks(&mut criterion, name, widths)?;
        tokens(&mut criterion, name, widths)?;
    }
    criterion.final_summary();
    Ok(())
}

/// The chunk form and its backward.
fn chunks(criterion: &mut Criterion, name: &str, widths: &[usize]) -> Result<()> {
    let g = common::arithmetic()?;
    let mut group = criterion.benchmark_group("memory chunk form");
    for chunk in [16, 64] {
        let mut case = Case::new(widths, chunk, 256)?;
        case.forward(&g, Form::Chunk)?; // what fails, fails here
        case.vjp(&g)?;
        group.throughput(Throughput::Elements(case.tokens as u64));
        group.bench_function(BenchmarkId::new(format!("forward, chunk {chunk}"), name), |b| {
            b.iter(|| case.forward(&g, Form::Chunk).is_ok());
        });
        group.bench_function(BenchmarkId::new(format!("vjp, chunk {chunk}"), name), |b| {
            b.iter(|| case.vjp(&g).is_ok());
        });
    }
    Ok(())
}

/// Every token a piece of its own, all tokens in one call and as a stream that takes one at a time.
fn tokens(criterion: &mut Criterion, name: &str, widths: &[usize]) -> Result<()> {
    let g = common::arithmetic()?;
    let mut group = criterion.benchmark_group("memory token by token");
    let mut case = Case::new(widths, 1, 64)?;
    case.forward(&g, Form::Chunk)?;
    group.throughput(Throughput::Elements(case.tokens as u64));
    group.bench_function(BenchmarkId::new("forward", name), |b| {
        b.iter(|| case.forward(&g, Form::Chunk).is_ok());
    });
    for chunk in [1, 64] {
        let mut case = Case::new(widths, chunk, 64)?;
        let mut block = case.block()?;
        case.stream(&g, 1, &mut block)?;
        group.bench_function(BenchmarkId::new(format!("stream, one a call, chunk {chunk}"), name), |b| {
            b.iter(|| case.stream(&g, 1, &mut block).is_ok());
        });
    }
    Ok(())
}
