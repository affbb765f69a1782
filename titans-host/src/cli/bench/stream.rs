//! `titans bench stream`: a whole model over a long stream: time per token and memory, from its beginning to its end.

use crate::cli::options::{cpu, named, size};
use crate::cli::{Failure, output};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Choice, Kind, Kinds, Mode, Model, ModelConfig, Session};
use serde::Serialize;
use std::time::Instant;

/// Measure a long stream through a model of new weights: nanoseconds a token by tenths of the stream, memory, and
/// whether the state comes back from its bytes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The default text model (0.8 M parameters) of one kind of block, on one thread; bytes come from a generator.

A processor's speed wanders by more over minutes than a stream could change. So every tenth also has the time of its undisturbed
pushes: the one that a twentieth of them beat. And after the stream its state and a fresh one hear the same tokens in turn, up to a
tenth as many, in 31 rounds: old_over_new is the median of the rounds' ratios.

JSON keys: block, tokens, push, ns_per_token (ten of them), last_over_first, undisturbed_ns_per_token (ten of them),
undisturbed_last_over_first, old_over_new (lower quartile, median and upper
quartile), resident_bytes (after each tenth; null where the system does not say), not_finite (numbers), clipped, state_bytes,
round_trip (the saved state continues with the same bits).

Examples:
  titans bench stream
  titans bench stream --block mac --tokens 2097152 --json
  titans bench stream --block lmm --push 1 --tokens 100000")]
pub struct Args {
    /// The mixer of all blocks: lmm, mac, mag, mal or attention
    #[arg(long, value_name = "KIND", default_value = "lmm", value_parser = named::<Kind>())]
    block: Kind,

    /// Tokens of the stream
    #[arg(long, value_name = "N", default_value = "100000", value_parser = clap::value_parser!(u32).range(10..))]
    tokens: u32,

    /// Tokens a push
    #[arg(long, value_name = "N", default_value = "64", value_parser = size)]
    push: usize,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    block: &'static str,
    tokens: usize,
    push: usize,
    ns_per_token: Vec<f64>,
    last_over_first: f64,
    undisturbed_ns_per_token: Vec<f64>,
    undisturbed_last_over_first: f64,
    old_over_new: [f64; 3],
    resident_bytes: Vec<Option<u64>>,
    not_finite: u64,
    clipped: u64,
    state_bytes: usize,
    round_trip: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    let (tokens, least) = (args.tokens as usize, 10 * args.push);
    if tokens < least {
        return Err(
            Error::usage(format!("--tokens: expected ten pushes, {least}, or more, found {}", args.tokens)).into()
        );
    }
    let device = cpu::<f32>(Some(1))?;
    let persistent = if args.block.has_attention() { 4 } else { 0 };
    let config = ModelConfig { block: Kinds::All(args.block), persistent, ..ModelConfig::default() };
    let model = Model::new(&device, config, 0)?;
    let mut session = Session::new(&device, &model, Mode::On)?;
    let report = measure(args, &mut session, || Session::new(&device, &model, Mode::On))?;
    if args.json {
        return output::print_json(&report);
    }
    output::print(format_args!(
        "{} on {}: {} tokens in pushes of {}\nns a token by tenths: {}\nlast tenth over the first: {:.3}\n\
         undisturbed, ns a token by tenths: {}\nlast tenth over the first: {:.3}\n\
         in turn with a fresh stream, times as long: {}\n{} numbers not finite\n\
         resident memory: {}\nstate: {} bytes, {}",
        report.block,
        device.describe(),
        report.tokens,
        report.push,
        whole(&report.ns_per_token),
        report.last_over_first,
        whole(&report.undisturbed_ns_per_token),
        report.undisturbed_last_over_first,
        report.old_over_new.map(|x| format!("{x:.3}")).join(" "),
        report.not_finite,
        report.resident_bytes.iter().map(|x| x.map_or("?".into(), mib)).collect::<Vec<_>>().join(" "),
        report.state_bytes,
        if report.round_trip { "continues with the same bits after a round trip" } else { "ROUND TRIP FAILED" }
    ))
}

fn whole(numbers: &[f64]) -> String {
    numbers.iter().map(|x| format!("{x:.0}")).collect::<Vec<_>>().join(" ")
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Bytes of a generator.
struct GeneratedBytes(u64);

impl GeneratedBytes {
    fn draw(&mut self, ids: &mut [u32]) {
        for id in ids {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *id = (self.0 >> 56) as u32;
        }
    }
}

fn measure(args: &Args, session: &mut Session<f32>, fresh: impl Fn() -> Result<Session<f32>>) -> Result<Report> {
    let (mut bytes, mut not_finite) = (GeneratedBytes(1), 0);
    let mut ids = vec![0; args.push];
    // The last tenth takes what is left.
    let (all, mut done) = ((args.tokens as usize).div_ceil(args.push), 0);
    let (mut ns_per_token, mut undisturbed, mut resident_bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut times = Vec::with_capacity(all.div_ceil(10));
    for tenth in 1..=10 {
        let pushes = all * tenth / 10 - done;
        done += pushes;
        let begin = Instant::now();
        times.clear();
        for _ in 0..pushes {
            bytes.draw(&mut ids);
            let one = Instant::now();
            let steps = session.push(&ids)?;
            times.push(one.elapsed().as_secs_f64());
            let bad = |x: &&f32| !x.is_finite();
            not_finite += steps
                .iter()
                .map(|s| s.logits.iter().chain(s.surprise.iter().flatten()).filter(bad).count() as u64)
                .sum::<u64>();
        }
        ns_per_token.push(begin.elapsed().as_secs_f64() * 1e9 / (pushes * args.push) as f64);
        times.sort_by(f64::total_cmp);
        undisturbed.push(times[times.len() / 20] * 1e9 / args.push as f64);
        resident_bytes.push(resident());
    }
    let saved = session.save()?;
    let mut again = fresh()?;
    again.load(&saved)?;
    bytes.draw(&mut ids);
    let round_trip =
        again.save()? == saved && again.push(&ids)? == session.push(&ids)? && again.save()? == session.save()?;
    let (state_bytes, clipped) = (saved.len(), session.clipped());
    let old_over_new = in_turn(session, &mut fresh()?, (all / 10).div_ceil(ROUNDS), &mut ids, &mut bytes)?;
    Ok(Report {
        block: args.block.name(),
        tokens: all * args.push,
        push: args.push,
        last_over_first: ns_per_token[9] / ns_per_token[0],
        undisturbed_last_over_first: undisturbed[9] / undisturbed[0],
        undisturbed_ns_per_token: undisturbed,
        ns_per_token,
        old_over_new,
        resident_bytes,
        not_finite,
        clipped,
        state_bytes,
        round_trip,
    })
}

/// Rounds of two streams in turn.
const ROUNDS: usize = 31;

/// How many times as long `old` takes as `new` for the same tokens: lower quartile, median and upper quartile of
/// [`ROUNDS`] rounds of at most that many pushes (and 64). Who begins changes from round to round.
fn in_turn(
    old: &mut Session<f32>,
    new: &mut Session<f32>,
    pushes: usize,
    ids: &mut [u32],
    bytes: &mut GeneratedBytes,
) -> Result<[f64; 3]> {
    let mut ratios = [0.0; ROUNDS];
    for (round, ratio) in ratios.iter_mut().enumerate() {
        let mut seconds = [0.0; 2];
        for _ in 0..pushes.clamp(1, 64) {
            bytes.draw(ids);
            for turn in [round % 2, 1 - round % 2] {
                let session = if turn == 0 { &mut *old } else { &mut *new };
                let begin = Instant::now();
                session.push(ids)?;
                seconds[turn] += begin.elapsed().as_secs_f64();
            }
        }
        *ratio = seconds[0] / seconds[1];
    }
    ratios.sort_by(f64::total_cmp);
    Ok([ratios[ROUNDS / 4], ratios[ROUNDS / 2], ratios[3 * ROUNDS / 4]])
}

/// Memory of this process that is there now.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
