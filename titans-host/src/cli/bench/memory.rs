//! `titans bench memory`: tokens a second of the memory alone.

use super::counts::counts;
use super::{peak, timing};
use crate::cli::options::{DeviceArgs, FormName, size};
use crate::cli::{Failure, options, output};
use crate::device::cuda::Cuda;
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::{Error, Result};
use serde::Serialize;
use titans_kernel::Scalar;
use titans_kernel::memory::{MemorySpec, Read};

/// Most numbers in any array.
const ELEMENTS: u128 = 1 << 31;

const ABOUT: &str = "\
operations and bytes a token are counted by formula, per head and then times the heads. With P the weights of one
memory, p1 those of its first layer, b the chunk:
  chunk form   10 P + 2 (P - p1) + 2 b sum(d_in + d_out) operations, 28 P / b bytes of state
  token form   9 P operations (one layer), 11 P - 2 p1 (more); 16 P bytes of state
  --grad       + 3 times the operations of the chunk form (recomputation, backward), + 8 P / b bytes (saved states)
The peak is that of f32 multiply-adds in registers on the same number of threads, measured in the same run (on CUDA
that of a large matrix product; threads is then 0).

JSON keys: tokens_per_s {median, p10, p90}, flops_per_token, bytes_per_token, peak_gflops, share_of_peak, threads,
isa, peak_rss_bytes (null where the system does not say).

Examples:
  titans bench memory
  titans bench memory --dim 256 --layers 2 --hidden 1024 --chunk 64 --threads 1 --json
  titans bench memory --dim 64 --heads 8 --form token --tokens 2048 --grad";

/// Tokens a second of the memory alone, f32, and its share of the machine's peak
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// Width of keys, values and queries
    #[arg(long, value_name = "D", default_value = "64", value_parser = size)]
    dim: usize,
    /// Layers of the memory network, 1 to 4; two or more are residual
    #[arg(long, value_name = "L", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=4))]
    layers: u8,
    /// Width between the layers [default: 4 D]
    #[arg(long, value_name = "N", value_parser = size)]
    hidden: Option<usize>,
    /// Memories a sequence
    #[arg(long, value_name = "H", default_value = "4", value_parser = size)]
    heads: usize,
    /// Tokens whose gradients are taken at the same weights
    #[arg(long, value_name = "B", default_value = "64", value_parser = size)]
    chunk: usize,
    /// How the memory is computed
    #[arg(long, value_enum, default_value = "chunk")]
    form: FormName,
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
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    on: DeviceArgs,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    text.parse().ok().filter(|s| (0.0..=3600.0).contains(s)).ok_or("expected seconds, 0 to 3600".into())
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
    let op = operation(args)?;
    let report = if args.on.cuda()? {
        measure(&Cuda::new(0)?, args, &op, peak::device, 0, "cuda")?
    } else {
        let cpu = options::cpu::<f32>(args.on.threads)?;
        let peak = |_: &_| Ok(peak::cpu(cpu.threads()));
        measure(&cpu, args, &op, peak, cpu.threads(), cpu.instruction_set())?
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
    let mut widths = vec![args.hidden.unwrap_or(4 * args.dim); usize::from(args.layers) + 1];
    widths[0] = args.dim;
    widths[usize::from(args.layers)] = args.dim;
    let mut spec = MemorySpec::new(&widths)?;
    spec.chunk = args.chunk;
    spec.validate()?;
    let (batch, time, heads, token_form) = (args.batch, args.tokens, args.heads, args.form == FormName::Token);
    let op = MemoryOp { spec, batch, time, heads, read: Read::After, read_only: false, token_form };
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
    let [batch, time, heads, chunk] = [op.batch, op.time, op.heads, op.spec.chunk].map(|x| x as u128);
    let layer = |l| {
        let (i, o) = op.spec.layer(l);
        i as u128 * o as u128
    };
    let state = 2 * ((0..op.spec.layers()).map(layer).sum::<u128>() + op.spec.gamma_len() as u128);
    let states = if grad { time.div_ceil(chunk) + 1 } else { 1 };
    batch * heads * (time * op.spec.key_width() as u128).max(states * state)
}

fn measure<D: Device>(
    device: &D,
    args: &Args,
    op: &MemoryOp,
    peak: impl Fn(&D) -> Result<f64>,
    threads: usize,
    isa: &'static str,
) -> Result<Report> {
    let before = peak(device)?;
    let mut work = Work::new(device, op, args.grad)?;
    let tokens = (op.batch * op.time) as f64;
    let tokens_per_s = timing::rates(tokens, args.seconds, || work.run(device, op, args.grad))?;
    let peak = before.max(peak(device)?);
    let heads = op.heads as f64;
    let counts = counts(&op.spec, op.token_form, args.grad);
    let flops_per_token = heads * counts.operations;
    Ok(Report {
        tokens_per_s,
        flops_per_token,
        bytes_per_token: heads * counts.bytes,
        peak_gflops: 1e-9 * peak,
        share_of_peak: flops_per_token * tokens_per_s.median / peak,
        threads,
        isa,
        peak_rss_bytes: peak_rss_bytes(),
    })
}

/// Buffers of the operation on the device.
struct Work<D: Device> {
    inputs: [D::Buffer; 5],
    outputs: [D::Buffer; 3],
    gradients: [D::Buffer; 5],
}

impl<D: Device> Work<D> {
    fn new(device: &D, op: &MemoryOp, grad: bool) -> Result<Self> {
        let rows = op.batch * op.time * op.heads;
        let width = op.spec.key_width();
        // Keys and queries of length one, values of the same size, gates of a memory at work.
        let unit = (3.0 / width as f64).sqrt();
        let mut noise = noise();
        let mut uniform =
            |len: usize, scale: f64| -> Vec<D::Elem> { (0..len).map(|_| D::Elem::from_f64(scale * noise())).collect() };
        let mut gates = uniform(3 * rows, 0.01);
        let levels = [0.02, 0.05, 0.5];
        gates.iter_mut().enumerate().for_each(|(i, g)| *g += D::Elem::from_f64(levels[i / op.heads % 3]));
        let rows = [(); 3].map(|()| uniform(rows * width, unit));
        let weights = uniform(op.state_len(), 0.1 * unit);
        let [k, v, q] = &rows;
        Ok(Self {
            inputs: [
                device.upload(k)?,
                device.upload(v)?,
                device.upload(q)?,
                device.upload(&gates)?,
                device.upload(&weights)?,
            ],
            outputs: [
                device.alloc(v.len())?,
                device.alloc(op.state_len())?,
                device.alloc(if grad { op.boundaries_len() } else { 0 })?,
            ],
            gradients: [
                device.alloc(k.len())?,
                device.alloc(v.len())?,
                device.alloc(q.len())?,
                device.alloc(gates.len())?,
                device.alloc(op.state_len())?,
            ],
        })
    }

    fn run(&mut self, device: &D, op: &MemoryOp, grad: bool) -> Result<()> {
        let [k, v, q, gates, state] = &self.inputs;
        let lend = || MemoryInputs { k, v, q, gates, state, mask: None };
        let [y, last, boundaries] = &mut self.outputs;
        let kept = if grad { Some(&mut *boundaries) } else { None };
        let outputs = MemoryOutputs { y: &mut *y, surprise: None, state: Some(last), boundaries: kept };
        device.memory(op, lend(), outputs)?;
        if grad {
            let [d_k, d_v, d_q, d_gates, d_state] = &mut self.gradients;
            let gradients = MemoryGradients { d_k, d_v, d_q, d_gates, d_state };
            // The read-outs serve as their own cotangent: any numbers of that size do.
            device.memory_vjp(op, lend(), boundaries, Some(y), None, gradients)?;
        }
        device.synchronize()
    }
}

/// Uniform numbers in (−1, 1), the same in every run.
fn noise() -> impl FnMut() -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// The most memory this process ever held, where Linux tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}
