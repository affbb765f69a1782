//! How each kind of row is measured.

use super::super::counts::{Counts, counts};
use super::super::peak;
use super::super::timing::{Spread, beside, spread};
use super::super::train::{self, Shape};
use super::super::work::{Streams, expect_at_work, on_cpu, operation, spec};
use super::report::Measured;
use super::rows::{RowKind, TableRow};
use super::{attention, exact};
use crate::device::cpu::{Cpu, simd};
use crate::error::Result;
use std::time::Instant;
use titans_kernel::memory::{MemorySpec, Network};

/// Tokens of a stream's piece in [`RowKind::Length`], and its shortest length.
const PIECE: usize = 4096;

/// Measures `row` for about `time` seconds.
pub fn row(row: &TableRow, time: f64, quick: bool) -> Result<Measured> {
    match row.kind {
        RowKind::Chunk { dim, deep, chunk, grad } => chunked(row, &memory(dim, deep, chunk)?, grad, time),
        RowKind::Exact { dim, grad } => exact::batch(row, dim, grad, time),
        RowKind::ExactStream { dim } => exact::stream(row, dim, time),
        RowKind::Token { dim } => chunked(row, &memory(dim, false, 1)?, false, time),
        RowKind::Residual { dim } => residual(row, dim, time),
        RowKind::Stream { dim, deep } => stream(row, &memory(dim, deep, 1)?, time),
        RowKind::Threads { dim } => threads(row, dim, time),
        RowKind::Length { dim } => length(row, dim, time, quick),
        RowKind::Attention { window, grad } => attention::measure(row, window, grad, time),
        RowKind::Train { chunk } => training(row, chunk, time),
    }
}

/// A plain network, whose chunks are computed at once.
pub(super) fn memory(dim: usize, deep: bool, chunk: usize) -> Result<MemorySpec> {
    let mut memory = spec(dim, if deep { 2 } else { 1 }, 4 * dim, chunk, Network::Plain)?;
    memory.compute_chunk = chunk;
    Ok(memory)
}

/// Tokens of a call: enough that what a call costs beside its tokens does not count, in whole chunks.
pub(super) fn tokens(spec: &MemorySpec, counts: Counts) -> usize {
    let wanted = (2e9 / counts.operations) as usize;
    wanted.clamp(4 * spec.chunk, 8192).next_multiple_of(spec.chunk)
}

/// A whole sequence by chunks, or token by token.
fn chunked(row: &TableRow, spec: &MemorySpec, grad: bool, time: f64) -> Result<Measured> {
    let cpu = Cpu::with_instruction_set(Some(1), row.isa)?;
    let counts = counts(spec, grad);
    let op = operation(spec, tokens(spec, counts), 1);
    let mut work = on_cpu(&cpu, &op, grad)?;
    let limit = || Ok(peak::cpu(row.isa, 1) / counts.operations);
    let found = beside(op.time as f64, time, limit, || work.run(&cpu, &op, grad))?;
    Ok(Measured {
        peak_gflops: Some(found.limit.times(1e-9 * counts.operations)),
        repetitions: found.repetitions,
        ..Measured::new(row, "share of peak", found.share, found.rate, counts.operations)
    })
}

/// A stream of one token a call. Where the memory is deep its state may be larger than a cache, and what moves it may
/// take longer than the arithmetic.
fn stream(row: &TableRow, spec: &MemorySpec, time: f64) -> Result<Measured> {
    let gemm = simd(row.isa)?;
    let counts = counts(spec, false);
    let deep = spec.layers() > 1;
    // Few enough that keys, values and read-outs stay in a cache beside the state.
    let tokens = ((1 << 17) / spec.key_width()).clamp(16, 512);
    let mut streams = Streams::new(spec, 1, tokens)?;
    let mut bandwidth = peak::Bandwidth::new(if deep { 8 * spec.params() } else { 0 });
    let (mut peaks, mut bandwidths) = (Vec::new(), Vec::new());
    let limit = || {
        peaks.push(peak::cpu(row.isa, 1));
        let arithmetic = peaks.last().map_or(f64::NAN, |peak| peak / counts.operations);
        if !deep {
            return Ok(arithmetic);
        }
        bandwidths.push(bandwidth.measure());
        Ok(bandwidths.last().map_or(f64::NAN, |bytes| bytes / counts.bytes).min(arithmetic))
    };
    let found = beside(tokens as f64, time, limit, || {
        streams.restart()?;
        streams.run(&gemm, 1)
    })?;
    expect_at_work(streams.at_work(), "bench table: read-outs of a stream")?;
    let figure = if deep { "share of bound" } else { "share of peak" };
    let mut note = String::new();
    if let Some(reference) = row.reference {
        note = format!("on the reference machine (280 GFLOP/s a core): {reference:.0} tokens/s");
    }
    let (peak, bandwidth) = (spread(peaks), (!bandwidths.is_empty()).then(|| spread(bandwidths)));
    if let Some(bandwidth) = bandwidth {
        let arithmetic = peak.median / counts.operations < bandwidth.median / counts.bytes;
        let (which, bytes) = (if arithmetic { "arithmetic" } else { "bandwidth" }, 1e-9 * bandwidth.median);
        note = format!(
            "bound by {which}: {:.0} tokens/s; a state of this size moves at {bytes:.1} GB/s",
            found.limit.median
        );
    }
    Ok(Measured {
        peak_gflops: Some(peak.times(1e-9)),
        bandwidth_gb_s: bandwidth.map(|b| b.times(1e-9)),
        repetitions: found.repetitions,
        note,
        ..Measured::new(row, figure, found.share, found.rate, counts.operations)
    })
}

/// Tokens a second of what takes turns with the work: calls of `amount` tokens for some milliseconds.
pub(super) fn rate(amount: f64, time: f64, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let (begin, mut calls) = (Instant::now(), 0.0);
    while calls < 1.0 || begin.elapsed().as_secs_f64() < 8e-3_f64.min(time) {
        call()?;
        calls += 1.0;
    }
    Ok(calls * amount / begin.elapsed().as_secs_f64())
}

/// A residual network beside a plain one of the same widths.
fn residual(row: &TableRow, dim: usize, time: f64) -> Result<Measured> {
    let cpu = Cpu::with_instruction_set(Some(1), row.isa)?;
    let plain = memory(dim, true, 64)?;
    let counts = counts(&plain, false);
    let time_steps = tokens(&plain, counts);
    let plain = operation(&plain, time_steps, 1);
    let residual = operation(&spec(dim, 2, 4 * dim, 64, Network::Residual)?, time_steps, 1);
    let (mut one, mut other) = (on_cpu(&cpu, &residual, false)?, on_cpu(&cpu, &plain, false)?);
    let amount = time_steps as f64;
    let limit = || rate(amount, time, || other.run(&cpu, &plain, false));
    let found = beside(amount, time, limit, || one.run(&cpu, &residual, false))?;
    Ok(Measured {
        repetitions: found.repetitions,
        note: format!("plain: {:.0} tokens/s", found.limit.median),
        ..Measured::new(row, "rate over the plain network's", found.share, found.rate, counts.operations)
    })
}

/// Four heads on two threads beside the same on one. The peak's own ratio says what the machine had to give.
fn threads(row: &TableRow, dim: usize, time: f64) -> Result<Measured> {
    const HEADS: usize = 4;
    let spec = memory(dim, false, 64)?;
    let counts = counts(&spec, false);
    let op = operation(&spec, tokens(&spec, counts).min(2048), HEADS);
    let one = Cpu::with_instruction_set(Some(1), row.isa)?;
    let two = Cpu::with_instruction_set(Some(2), row.isa)?;
    let (mut alone, mut both) = (on_cpu(&one, &op, false)?, on_cpu(&two, &op, false)?);
    let (amount, mut peaks) = (op.time as f64, Vec::new());
    let limit = || {
        peaks.push(peak::cpu(row.isa, 2) / peak::cpu(row.isa, 1));
        rate(amount, time, || alone.run(&one, &op, false))
    };
    let found = beside(amount, time, limit, || both.run(&two, &op, false))?;
    let machine = spread(peaks).median;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let short = if cores < 2 { "; this process may use one core only" } else { "" };
    let note = format!(
        "one thread: {:.0} tokens/s; the peak of two over that of one: {machine:.2}{short}",
        found.limit.median
    );
    let flops = HEADS as f64 * counts.operations;
    let figure = "rate of two threads over one";
    Ok(Measured {
        threads: 2,
        repetitions: found.repetitions,
        note,
        ..Measured::new(row, figure, found.share, found.rate, flops)
    })
}

/// What a token costs in sequences of several lengths, each a stream that begins anew at its length. They take turns
/// piece by piece, so that what slows the machine down for a second slows all of them, until the longest has reached
/// its length.
fn length(row: &TableRow, dim: usize, time: f64, quick: bool) -> Result<Measured> {
    /// Pieces of a turn.
    const TURN: usize = 4;
    let gemm = simd(row.isa)?;
    let spec = memory(dim, false, 64)?;
    let counts = counts(&spec, false);
    let lengths: &[usize] = if quick { &[1 << 12, 1 << 16] } else { &[1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20] };
    let longest = lengths.iter().copied().fold(PIECE, usize::max) / PIECE;
    let mut streams = Streams::new(&spec, lengths.len(), PIECE)?;
    streams.run(&gemm, PIECE)?;
    let mut costs = vec![Vec::new(); lengths.len()];
    let (begin, mut fed) = (Instant::now(), 0);
    while fed < longest || costs[0].len() < 5 || begin.elapsed().as_secs_f64() < time {
        let mut turn = vec![0.0; lengths.len()];
        for _ in 0..TURN {
            for (i, (&length, cost)) in lengths.iter().zip(&mut turn).enumerate() {
                let piece = Instant::now();
                if fed % (length / PIECE) == 0 {
                    streams.begin_anew(i)?;
                }
                streams.feed_stream(&gemm, i, PIECE)?;
                *cost += piece.elapsed().as_secs_f64() / (TURN * PIECE) as f64;
            }
            fed += 1;
        }
        costs.iter_mut().zip(turn).for_each(|(costs, cost)| costs.push(cost));
    }
    expect_at_work(streams.at_work(), "bench table: read-outs of a long stream")?;
    let repetitions = costs[0].len();
    let turn = |i: usize| {
        let of_turn = || costs.iter().map(|costs| costs[i]);
        of_turn().fold(0.0, f64::max) / of_turn().fold(f64::INFINITY, f64::min)
    };
    let turns = spread((0..repetitions).map(turn).collect());
    let costs: Vec<Spread> = costs.into_iter().map(spread).collect();
    let medians = || costs.iter().map(|cost| cost.median);
    let ratio = medians().fold(0.0, f64::max) / medians().fold(f64::INFINITY, f64::min);
    let each = lengths.iter().zip(medians()).map(|(length, cost)| format!("{length}: {:.1}", 1e9 * cost));
    let note =
        format!("ns a token by length: {}; p10 and p90 are of single turns", each.collect::<Vec<_>>().join(", "));
    let reached = Spread { median: ratio, ..turns };
    let last = costs.last().copied().unwrap_or(reached);
    let rate = Spread { median: 1.0 / last.median, p10: 1.0 / last.p90, p90: 1.0 / last.p10 };
    let figure = "cost of a token: dearest length over cheapest";
    Ok(Measured { repetitions, note, ..Measured::new(row, figure, reached, rate, counts.operations) }.at_most())
}

/// A training step on one thread.
fn training(row: &TableRow, chunk: Option<usize>, time: f64) -> Result<Measured> {
    let report = train::measure(row.isa, Some(1), Shape { chunk, ..Shape::default() }, time)?;
    let peak = report.peak_gflops;
    let note = format!("{} parameters; time: {}", report.parameters, train::times(&report));
    let (share, rate, flops) = (report.share_of_peak, report.tokens_per_s, report.flops_per_token);
    Ok(Measured {
        peak_gflops: Some(Spread { median: peak, p10: peak, p90: peak }),
        repetitions: report.repetitions,
        note,
        ..Measured::new(row, "share of peak", share, rate, flops)
    })
}
