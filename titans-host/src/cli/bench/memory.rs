//! `titans bench memory`: tokens a second of the memory alone.

use super::counts::counts;
use super::work::{Streams, Work, expect_at_work, on_cpu, spec};
use super::{peak, seconds, timing};
use crate::cli::options::{DeviceArgs, instruction_set, isa, named, size};
use crate::cli::{Failure, output};
use crate::device::MemoryOp;
use crate::device::cpu::{Cpu, Isa};
use crate::error::{Error, Result};
use serde::Serialize;
use titans_kernel::memory::{Network, Read};

/// Most numbers in any array.
const ELEMENTS: u128 = 1 << 31;

const ABOUT: &str = "\
operations and bytes a token are counted by formula, per head and then times the heads. With P the weights of one
memory, p1 those of its first layer, b the tokens that are computed at once:
  chunk form   10 P + 2 (P - p1) + 2 b sum(d_in + d_out) operations, 28 P / b bytes of state
  exact form   (several chunks at once) 12 P + 4 b (d_in + d_out), 28 P / b; what momentum that has faded saves is not
               counted off
  by token     (--chunk 1 --compute-chunk 1) 9 P operations (one layer), 11 P - 2 p1 (more); 16 P bytes of state
  --grad       + 3 times the operations of that form (recomputation, backward), + 8 P / b bytes (saved states)
The peak is that of f32 multiply-adds in registers with the same instructions on the same number of threads, measured
before and after every repetition; the share is the median of the repetitions' own shares (on CUDA the peak is that of a
large matrix product, measured once; threads is then 0).

JSON keys: tokens_per_s {median, p10, p90}, flops_per_token, bytes_per_token, peak_gflops, share_of_peak, threads,
isa, peak_rss_bytes (null where the system does not say).

Examples:
  titans bench memory
  titans bench memory --dim 256 --layers 2 --hidden 1024 --chunk 64 --threads 1 --isa avx2 --json
  titans bench memory --chunk 1 --grad
  titans bench memory --dim 256 --heads 1 --chunk 1 --compute-chunk 1 --stream 1 --threads 1
  titans bench memory --dim 64 --heads 8 --chunk 1 --compute-chunk 1 --tokens 2048 --grad";

/// Tokens a second of the memory alone, f32, and its share of the machine's peak
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// Width of keys, values and queries
    #[arg(long, value_name = "D", default_value = "64", value_parser = size)]
    dim: usize,
    /// Layers of the memory network, 1 to 4
    #[arg(long, value_name = "L", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=4))]
    layers: u8,
    /// Width between the layers [default: 4 D]
    #[arg(long, value_name = "N", value_parser = size)]
    hidden: Option<usize>,
    /// Shape of the memory's output [default: plain for one layer, residual for more]
    #[arg(long, value_name = "NETWORK", value_parser = named::<Network>())]
    network: Option<Network>,
    /// Memories a sequence
    #[arg(long, value_name = "H", default_value = "4", value_parser = size)]
    heads: usize,
    /// Tokens whose gradients are taken at the same weights
    #[arg(long, value_name = "B", default_value = "64", value_parser = size)]
    chunk: usize,
    /// Tokens that the chunk form computes at once: a part of a chunk, or with one layer whole chunks; 1 with --chunk
    /// 1: every token by itself [default: with one plain layer and a chunk below 64 as many chunks as fit in 64 tokens,
    /// else a chunk]
    #[arg(long, value_name = "C", value_parser = size)]
    compute_chunk: Option<usize>,
    /// Feed the memories as streams, N tokens a call, on one thread of the CPU
    #[arg(long, value_name = "N", value_parser = size, conflicts_with = "grad")]
    stream: Option<usize>,
    /// Tokens a sequence
    #[arg(long, value_name = "T", default_value = "2048", value_parser = size)]
    tokens: usize,
    /// Sequences
    #[arg(long, value_name = "N", default_value = "1", value_parser = size)]
    batch: usize,
    /// Forward and backward
    #[arg(long)]
    grad: bool,
    /// Time to measure, after a warm-up; at least five repetitions whatever they take
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    seconds: f64,
    /// Instruction set of the CPU: avx512, avx2, portable [default: the best one it has]
    #[arg(long, value_name = "ISA", value_parser = isa)]
    isa: Option<Isa>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    on: DeviceArgs,
}

#[derive(Serialize)]
struct Report {
    tokens_per_s: timing::Spread,
    flops_per_token: f64,
    bytes_per_token: f64,
    peak_gflops: f64,
    share_of_peak: f64,
    threads: usize,
    isa: &'static str,
    peak_rss_bytes: Option<u64>,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    args.on.expect_f32("the memory")?;
    let op = operation(args)?;
    let report = if args.on.cuda()? {
        on_cuda(args, &op)?
    } else {
        let isa = instruction_set(args.isa)?;
        let threads = if args.stream.is_some() { Some(args.on.threads.unwrap_or(1)) } else { args.on.threads };
        on_processor(&Cpu::with_instruction_set(threads, isa)?, isa, args, &op)?
    };
    if args.json { output::print_json(&report) } else { print(args, &report) }
}

fn print(args: &Args, report: &Report) -> std::result::Result<(), Failure> {
    let rate = report.tokens_per_s;
    output::print(format_args!(
        "{:.0} tokens/s (p10 {:.0}, p90 {:.0}), {} heads each\n{:.1} % of {:.1} GFLOP/s ({} threads, {})\n\
         {:.0} operations and {:.0} bytes of state a token",
        rate.median,
        rate.p10,
        rate.p90,
        args.heads,
        100.0 * report.share_of_peak,
        report.peak_gflops,
        report.threads,
        report.isa,
        report.flops_per_token,
        report.bytes_per_token,
    ))
}

fn operation(args: &Args) -> Result<MemoryOp> {
    let layers = usize::from(args.layers);
    let network = args.network.unwrap_or(if layers > 1 { Network::Residual } else { Network::Plain });
    let mut spec = spec(args.dim, layers, args.hidden.unwrap_or(4 * args.dim), args.chunk, network)?;
    spec.compute_chunk = args.compute_chunk.unwrap_or_else(|| spec.usual_compute_chunk());
    spec.validate()?;
    let (batch, time, heads) = (args.batch, args.tokens, args.heads);
    let op = MemoryOp { spec, batch, time, heads, read: Read::After, read_only: false, token_form: false };
    let found = elements(&op, args.grad);
    if found > ELEMENTS {
        return Err(Error::usage(format!(
            "bench memory: expected up to {ELEMENTS} numbers in the largest array, found {found}; make --batch, \
             --tokens, --heads, --dim or --hidden smaller"
        )));
    }
    Ok(op)
}

/// Numbers in the largest array of the operation: those of the tokens, the states, the saved states.
fn elements(op: &MemoryOp, grad: bool) -> u128 {
    let [batch, time, heads, chunk] = [op.batch, op.time, op.heads, op.spec.piece_len()].map(|x| x as u128);
    let layer = |l| {
        let (i, o) = op.spec.layer(l);
        i as u128 * o as u128
    };
    let state = 2 * ((0..op.spec.layers()).map(layer).sum::<u128>() + op.spec.gamma_len() as u128);
    let states = if grad { time.div_ceil(chunk) + 1 } else { 1 };
    batch * heads * (time * op.spec.key_width() as u128).max(states * state)
}

fn on_cuda(args: &Args, op: &MemoryOp) -> std::result::Result<Report, Failure> {
    let refused = [("--isa", args.isa.is_some()), ("--stream", args.stream.is_some())];
    if let Some((option, _)) = refused.into_iter().find(|(_, given)| *given) {
        return Err(Error::usage(format!("{option} is for the CPU: leave it out with --device cuda")).into());
    }
    let device = args.on.open_cuda()?;
    let peak = peak::device(&device, args.seconds)?;
    let mut work = Work::new(&device, op, args.grad)?;
    work.run(&device, op, args.grad)?;
    expect_at_work(work.at_work(&device)?, "bench memory: the state")?;
    Ok(report(args, op, 0, "cuda", || Ok(peak), || work.run(&device, op, args.grad))?)
}

fn on_processor(cpu: &Cpu<f32>, isa: Isa, args: &Args, op: &MemoryOp) -> Result<Report> {
    let threads = cpu.threads();
    let peak = || Ok(peak::cpu(isa, threads));
    let Some(piece) = args.stream else {
        let mut work = on_cpu(cpu, op, args.grad)?;
        return report(args, op, threads, isa.name(), peak, || work.run(cpu, op, args.grad));
    };
    if threads > 1 {
        return Err(Error::usage(format!("--stream runs on one thread: expected --threads 1, found {threads}")));
    }
    let mut streams = Streams::new(&op.spec, op.batch * op.heads, op.time)?;
    streams.run(cpu.gemm(), piece)?;
    expect_at_work(streams.at_work(), "bench memory: the read-outs")?;
    report(args, op, 1, isa.name(), peak, || {
        streams.restart()?;
        streams.run(cpu.gemm(), piece)
    })
}

/// Measures `work`, which is the whole operation, beside `peak` (operations a second).
fn report(
    args: &Args,
    op: &MemoryOp,
    threads: usize,
    isa: &'static str,
    mut peak: impl FnMut() -> Result<f64>,
    work: impl FnMut() -> Result<()>,
) -> Result<Report> {
    let heads = op.heads as f64;
    let counts = counts(&op.spec, args.grad);
    let flops_per_token = heads * counts.operations;
    let tokens = (op.batch * op.time) as f64;
    let found = timing::beside(tokens, args.seconds, || Ok(peak()? / flops_per_token), work)?;
    Ok(Report {
        tokens_per_s: found.rate,
        flops_per_token,
        bytes_per_token: heads * counts.bytes,
        peak_gflops: 1e-9 * flops_per_token * found.limit.median,
        share_of_peak: found.share.median,
        threads,
        isa,
        peak_rss_bytes: peak_rss_bytes(),
    })
}

/// The most memory this process ever held, where Linux tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}
