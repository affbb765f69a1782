//! `titans bench train`: one training step of the text model, as a share of the machine's peak.

use super::counts::training;
use super::timed::Timed;
use super::work::noise;
use super::{peak, seconds, timing};
use crate::cli::options::{DeviceArgs, instruction_set, isa, size, switch};
use crate::cli::{Failure, output};
use crate::device::cpu::{Cpu, Isa};
use crate::device::cuda::Cuda;
use crate::device::{Device, OperationKind};
use crate::error::{Error, Result};
use crate::task::text::{Text, TextConfig, default_run};
use crate::train::Trainer;
use clap::ArgAction;
use serde::Serialize;
use std::time::Instant;
use titans_kernel::Choice;

const ABOUT: &str = "\
A step is one of `titans train --task text` at its defaults (0.8 M parameters): batch, forward, backward, clip, AdamW, over
bytes made up on the spot. Operations a token are counted by formula. Per block, with w the width, i = heads x
head_width, f the feed-forward's width, c the taps of the convolutions, and v the vocabulary:
  linear maps      6 (5 w i + 3 w heads + 3 w f), once more 6 w v for the head: forward, and two products backward
  convolutions     6 x 3 i c
  memories         heads x what `titans bench memory --grad` counts: forward, recomputation and backward
Norms, activations, gates, the embedding, the loss and the optimiser count as none: their time is in the step, so
the share says how much of the machine the whole step uses. The peak is that of f32 multiply-adds in registers on the same threads, measured
before and after every step.

`time` is where the step's time goes, as shares of it: by kind of operation, and `outside` of all operations.

On CUDA a step ends when the device has done all of it. The peak is that of a large matrix product, measured once;
threads is 0. `time` is of three more steps that wait for the end of every operation, and take longer than those measured;
they are launched operation by operation with --graph on, too.

JSON keys: tokens_per_s {median, p10, p90}, step_s, tokens_per_step, parameters, flops_per_token, peak_gflops,
share_of_peak {median, p10, p90}, repetitions, threads, isa, time {linear, attention, memory, convolution, norms, elementwise, ends,
optimiser, outside}.

Examples:
  titans bench train
  titans bench train --chunk 32
  titans bench train --threads 1 --isa avx2 --json
  titans bench train --device cuda --graph on";

/// Tokens a second and share of the machine's peak of a training step of the default text model, f32
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// Sequences of a batch
    #[arg(long, value_name = "N", default_value = "16", value_parser = size)]
    sequences: usize,
    /// Tokens of a sequence
    #[arg(long, value_name = "T", default_value = "256", value_parser = size)]
    context: usize,
    /// Tokens of a chunk of the memory, which are computed at once [default: the text model's: chunks of 1, 64 at once]
    #[arg(long, value_name = "B", value_parser = size)]
    chunk: Option<usize>,
    /// Time to measure, after a warm-up; at least five steps whatever they take
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    seconds: f64,
    /// Instruction set of the CPU: avx512, avx2, portable [default: the best one it has]
    #[arg(long, value_name = "ISA", value_parser = isa)]
    isa: Option<Isa>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    on: DeviceArgs,
    /// On CUDA, whether a step is recorded once and launched as one from then on, as by `titans train --graph on`
    #[arg(long, default_value = "off", action = ArgAction::Set, value_parser = switch())]
    graph: bool,
}

/// What was found.
#[derive(Serialize)]
pub struct Report {
    pub tokens_per_s: timing::Spread,
    pub step_s: f64,
    pub tokens_per_step: usize,
    pub parameters: usize,
    pub flops_per_token: f64,
    pub peak_gflops: f64,
    pub share_of_peak: timing::Spread,
    pub repetitions: usize,
    pub threads: usize,
    pub isa: &'static str,
    pub time: serde_json::Map<String, serde_json::Value>,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    let shape = Shape { sequences: args.sequences, context: args.context, chunk: args.chunk };
    let on = DeviceArgs { graph: args.graph, ..args.on };
    let report = if on.cuda()? {
        if args.isa.is_some() {
            return Err(Error::usage("--isa is for the CPU: leave it out with --device cuda").into());
        }
        measure_cuda(on.open_cuda()?, shape, args.seconds)?
    } else {
        measure(instruction_set(args.isa)?, on.threads, shape, args.seconds)?
    };
    if args.json { output::print_json(&report) } else { print(&report) }
}

fn print(report: &Report) -> std::result::Result<(), Failure> {
    let Report { tokens_per_s, share_of_peak, .. } = report;
    output::print(format_args!(
        "{:.0} tokens/s (p10 {:.0}, p90 {:.0}); {:.1} ms a step of {} tokens; {} parameters\n{:.1} % of {:.1} GFLOP/s (p10 \
         {:.1} %, p90 {:.1} %; {} steps, {} threads, {})\n{:.0} operations a token",
        tokens_per_s.median,
        tokens_per_s.p10,
        tokens_per_s.p90,
        1e3 * report.step_s,
        report.tokens_per_step,
        report.parameters,
        100.0 * share_of_peak.median,
        report.peak_gflops,
        100.0 * share_of_peak.p10,
        100.0 * share_of_peak.p90,
        report.repetitions,
        report.threads,
        report.isa,
        report.flops_per_token,
    ))?;
    output::print(format_args!("time: {}", times(report)))
}

/// Where the time goes, in words.
pub fn times(report: &Report) -> String {
    let share = |(kind, share): (&String, &serde_json::Value)| {
        format!("{kind} {:.1} %", 100.0 * share.as_f64().unwrap_or(f64::NAN))
    };
    report.time.iter().map(share).collect::<Vec<_>>().join(", ")
}

/// What a step works on.
#[derive(Clone, Copy)]
pub struct Shape {
    pub sequences: usize,
    pub context: usize,
    /// Tokens of a chunk of the memory, computed at once, if not the text model's.
    pub chunk: Option<usize>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { sequences: 16, context: 256, chunk: None }
    }
}

/// Steps of the default text model on the CPU for about `time` seconds.
pub fn measure(isa: Isa, threads: Option<usize>, shape: Shape, time: f64) -> Result<Report> {
    let device = Cpu::<f32>::with_instruction_set(threads, isa)?;
    let threads = device.threads();
    let at = StepsOn { isa: isa.name(), threads, waits: false };
    steps(&Timed::new(device), at, shape, time, || Ok(peak::cpu(isa, threads)))
}

/// The same on a CUDA device.
fn measure_cuda(device: Cuda, shape: Shape, time: f64) -> Result<Report> {
    let peak = peak::device(&device, time)?;
    steps(&Timed::new(device), StepsOn { isa: "cuda", threads: 0, waits: true }, shape, time, || Ok(peak))
}

/// What a step runs on.
struct StepsOn {
    isa: &'static str,
    threads: usize,
    /// Operations may still run when their call returns.
    waits: bool,
}

/// Measures steps beside `peak` (operations a second).
fn steps<D: Device<Elem = f32>>(
    device: &Timed<D>,
    at: StepsOn,
    shape: Shape,
    time: f64,
    mut peak: impl FnMut() -> Result<f64>,
) -> Result<Report> {
    let Shape { sequences, context, chunk } = shape;
    let mut run = default_run(Vec::new())?;
    if let Some(chunk) = chunk {
        (run.model.memory.chunk, run.model.memory.compute_chunk) = (chunk, 0);
    }
    let config = TextConfig { sequences, context, ..TextConfig::default() };
    // A step's cost does not depend on the bytes. A tenth of them is for validation, which nobody does here.
    let mut noise = noise();
    let length = 12 * (context + 1) + (1 << 16);
    let bytes: Vec<u8> = (0..length).map(|_| (97.0 + 13.0 * (1.0 + noise())) as u8).collect();
    let mut task = Text::new(config, &bytes, run.train.seed)?;
    run.train.steps = u64::MAX >> 12; // the schedule never ends
    let flops_per_token = training(&run.model)?;
    let mut trainer = Trainer::new(device, run, &mut task)?;
    let (parameters, tokens_per_step) = (trainer.model().params.count(), sequences * context);
    let (mut kinds, mut whole) = ([0.0; OperationKind::ALL.len()], 0.0);
    let mut step = |kinds: &mut [f64; OperationKind::ALL.len()], whole: &mut f64| {
        let begin = Instant::now();
        trainer.step(0.0)?;
        device.synchronize()?;
        *whole += begin.elapsed().as_secs_f64();
        kinds.iter_mut().zip(device.take_seconds()).for_each(|(sum, s)| *sum += s);
        Result::Ok(())
    };
    // Buffers are made, and where steps are recorded, the second one is.
    (0..if device.repeats() { 2 } else { 1 }).try_for_each(|_| step(&mut kinds, &mut whole))?;
    (kinds, whole) = ([0.0; OperationKind::ALL.len()], 0.0);
    let limit = || Ok(peak()? / flops_per_token);
    let found = timing::beside(tokens_per_step as f64, time, limit, || step(&mut kinds, &mut whole))?;
    if at.waits {
        (kinds, whole) = ([0.0; OperationKind::ALL.len()], 0.0);
        device.wait(true);
        (0..3).try_for_each(|_| step(&mut kinds, &mut whole))?;
        device.wait(false);
    }
    let outside = whole - kinds.iter().sum::<f64>();
    let named = OperationKind::ALL.iter().map(|kind| kind.name()).zip(kinds).chain([("outside", outside)]);
    Ok(Report {
        tokens_per_s: found.rate,
        step_s: tokens_per_step as f64 / found.rate.median,
        tokens_per_step,
        parameters,
        flops_per_token,
        peak_gflops: 1e-9 * flops_per_token * found.limit.median,
        share_of_peak: found.share,
        repetitions: found.repetitions,
        threads: at.threads,
        isa: at.isa,
        time: named.map(|(kind, s)| (kind.to_owned(), (s / whole).into())).collect(),
    })
}
