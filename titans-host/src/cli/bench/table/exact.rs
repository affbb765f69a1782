//! The exact form in pieces of 64 tokens beside what it takes the place of.

use super::super::counts::counts;
use super::super::timing::beside;
use super::super::work::{Streams, expect_at_work, on_cpu, operation, spec};
use super::measure::{memory, rate, tokens};
use super::report::Measured;
use super::rows::TableRow;
use crate::device::cpu::{Cpu, simd};
use crate::error::Result;
use titans_kernel::memory::{MemorySpec, Network};

/// Tokens of a piece, and of the chunks beside it.
const PIECE: usize = 64;

fn exact(dim: usize) -> Result<MemorySpec> {
    let mut memory = spec(dim, 1, dim, 1, Network::Plain)?;
    memory.compute_chunk = PIECE;
    Ok(memory)
}

/// A batch beside the same tokens in chunks of 64, forward or with the backward.
pub fn batch(row: &TableRow, dim: usize, grad: bool, time: f64) -> Result<Measured> {
    let cpu = Cpu::with_instruction_set(Some(1), row.isa)?;
    let (exact, chunks) = (exact(dim)?, memory(dim, false, PIECE)?);
    let counts = counts(&exact, grad);
    let steps = tokens(&chunks, counts);
    let (exact, chunks) = (operation(&exact, steps, 1), operation(&chunks, steps, 1));
    let (mut one, mut other) = (on_cpu(&cpu, &exact, grad)?, on_cpu(&cpu, &chunks, grad)?);
    let amount = steps as f64;
    let limit = || rate(amount, time, || other.run(&cpu, &chunks, grad));
    let found = beside(amount, time, limit, || one.run(&cpu, &exact, grad))?;
    Ok(Measured {
        repetitions: found.repetitions,
        note: format!("chunks of 64: {:.0} tokens/s", found.limit.median),
        ..Measured::new(row, "rate over that of chunks of 64", found.share, found.rate, counts.operations)
    })
}

/// A stream of one token a call beside one that writes its state at every token.
pub fn stream(row: &TableRow, dim: usize, time: f64) -> Result<Measured> {
    let gemm = simd(row.isa)?;
    let (exact, steps) = (exact(dim)?, memory(dim, false, 1)?);
    let counts = counts(&exact, false);
    // Few enough that keys, values and read-outs stay in a cache beside the state.
    let tokens = ((1 << 17) / dim).clamp(16, 512);
    let (mut one, mut other) = (Streams::new(&exact, 1, tokens)?, Streams::new(&steps, 1, tokens)?);
    let amount = tokens as f64;
    let limit = || {
        rate(amount, time, || {
            other.restart()?;
            other.run(&gemm, 1)
        })
    };
    let found = beside(amount, time, limit, || {
        one.restart()?;
        one.run(&gemm, 1)
    })?;
    expect_at_work(one.at_work() && other.at_work(), "bench table: read-outs of a stream")?;
    Ok(Measured {
        repetitions: found.repetitions,
        note: format!("every token a piece: {:.0} tokens/s", found.limit.median),
        ..Measured::new(row, "rate over pieces of one token", found.share, found.rate, counts.operations)
    })
}
