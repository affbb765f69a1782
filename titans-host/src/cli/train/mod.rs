//! `titans train`.

mod begin;
mod classify;
mod config;
mod end;
mod forecast;
mod layout;
mod model;
mod names;
mod places;
pub(super) mod room;
mod several;

use super::options::{DeviceArgs, number, positive, switch};
use super::{Failure, on_device, output, signals};
use crate::device::Device;
use crate::error::{counted, plain};
use crate::task::table::Table;
use crate::task::track::TrackTable;
use crate::task::{self, Task, TaskConfig, Validation};
use crate::train::checkpoint::{self, Checkpoint, RunState};
use crate::train::progress::{Bar, Lines, Silent};
use crate::train::ranks::leads;
use crate::train::{Best, Collective, Interrupt, LossUnit, Outcome, Progress, RunConfig, Trainer, follow};
use clap::ArgAction;
use config::ConfigArgs;
use end::End;
use indicatif::ProgressDrawTarget;
use serde::Serialize;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use titans_kernel::Choice;

const ABOUT: &str = "\
Without arguments it trains the recall task in about a minute on two idle cores and ends with a table: recall against length with
the memory on, frozen (no writes at test time) and absent.

What an option does not say comes from the task's recipe: recall: 1 block of width 64, 2 memories of 32 x 32, feed-forward 128,
alpha-bias -7, 2000 steps of 4096 tokens (--layers 2 and more: alpha-bias -10, 4000 steps). text: 4 blocks of width 128, 2
memories of 64 x 64, feed-forward 256, alpha-bias -1, context 256, 16 sequences, 2000 steps, dropout 0.1 where these read the text more than four times. series: 2 blocks of width 64, 1000
steps. forecast: the same with a shortcut by least squares, dropout 0.2, 500 steps of 64 sequences of 4 tokens. track: 1 block of
width 64, theta-max 2, no momentum or forgetting; parity: 2 memories of 32 x 32, learning rate 0.01, 1500 steps of 4096 tokens; the
other groups: 8 of 4 x 4 (s5: 8 x 8) that begin at theta 2, micro-steps 2 (s5: 4), learning rate 0.006, 4000 steps. classify: 1 block of width 64 (see --task classify in docs/CLI.md). Memories of one layer take every token's own
gradient, 64 tokens at once: chunk 1, compute-chunk 64, theta-max 1,
eta-max 0.5. Deeper ones have chunk 4, theta-max 0.2, a clip, gates of every layer's own and, where no task says otherwise,
alpha-bias -3. The run's config.toml says everything. An option that the
model has no use for (--window with lmm alone) is an error.

Started as several processes by mpirun or srun (a build with the feature mpi), it trains one model: each process computes its
share of the parts of every step's batch (--accumulate, by default one a process), and rank 0 writes the run and talks.

The run folder holds config.toml, metrics.jsonl, loss.svg, latest.safetensors (from which --resume goes on) and
best.safetensors (lowest validation loss: what the folder stands for in other verbs), and for the recall task recall.svg and
recall.json, of the model at the end. Where three validations in a row are worse than the best, a line says so. Ctrl-C, SIGTERM and SIGHUP
save, say where, and end with exit code 130, 143 or 129; a second one leaves at once. One process at a time writes a folder: another one is refused.

On --resume the run goes on with the same data: --data, --valid, --test and --tokenizer say where they lie now, and their bytes are checked. In config.toml
you may change steps, minutes, most_steps, save_every, boundaries, recompute, and the paths data, valid, test and tokenizer: what is changed is named and used; any
other change is refused by name.

The loss (and accuracy) of a step's line is that of training, averaged over about the last 20 steps; metrics.jsonl and loss.svg
have every step's own.

JSON keys of --json: run, steps, seconds, tokens, parameters, validation {loss, accuracy, tokens} (at the end), best
{step, loss}, recall (as recall.json), track (for each length products, words, frozen, chance).

Examples:
  titans train
  titans train --layers 2 --out runs/deep
  titans train --task text --data shakespeare.txt --out runs/shakespeare --minutes 10 --dropout 0.1
  titans train --task text --data a.txt b.txt.gz --steps 500 --blocks 2 --width 64
  titans train --task text --data book.txt --tokenizer tokenizer.json --batch 4
  titans train --task series --data measured.csv --patch 4
  titans train --task forecast --data measured.csv --horizon 96,192,336,720 --lookback 336
  titans train --task track --group s5
  titans train --task classify --data train.csv --valid dev.csv --test test.csv --both-strands
  titans train --pairs 8 --context 512 --lengths 512,2048,16384 --block mac
  titans train --resume runs/shakespeare
  mpirun -n 4 titans train --task text --data book.txt";

/// Train a model: the built-in recall task, text, series of numbers, forecasts of them, products of a group, classes of
/// sequences, needles in haystacks, or questions about stories in noise
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Run folder to make [default: runs/ and the task's name, numbered if taken]
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    out: Option<PathBuf>,

    /// Continue a run from its folder, to the bit; --steps or --minutes, both counted from its beginning, may change
    /// its end
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,

    /// Stop after that many steps
    #[arg(long, value_name = "N", conflicts_with = "minutes", value_parser = positive)]
    steps: Option<u64>,

    /// Stop after that many minutes; the learning rate follows the time. A new run of text ends earlier where it has
    /// read its training part eight times
    #[arg(long, value_name = "M", allow_negative_numbers = true, value_parser = number)]
    minutes: Option<f64>,

    /// No progress on standard error
    #[arg(long, short)]
    quiet: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,

    /// On CUDA, whether a training step is recorded once and launched as one from then on, where it can be: the results
    /// are the same. Off by default: it was tried in emulation, not on a GPU
    #[arg(long, default_value = "off", action = ArgAction::Set, value_parser = switch())]
    graph: bool,
}

#[derive(Serialize)]
struct Report {
    run: String,
    steps: u64,
    seconds: f64,
    tokens: u64,
    parameters: usize,
    validation: Option<Validation>,
    best: Option<Best>,
    recall: Option<Table>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<TrackTable>,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    let place = DeviceArgs { graph: args.graph, ..args.on };
    several::run(|ranks| on_device!(place, device => on(&device, args, ranks)))
}

fn on<D: Device>(device: &D, args: &Args, ranks: &dyn Collective) -> std::result::Result<(), Failure> {
    let interrupt = signals::listen()?;
    // A processor's says how many threads it has, which changes no bit.
    let on = if args.on.cuda()? { device.describe() } else { "cpu".into() };
    let mut begun = args.begin_together(ranks, &on).map_err(|error| args.spoken(error))?;
    let mut progress = args.progress(ranks);
    let mut task = several::agree(ranks, open(device, args, &begun.config, leads(ranks)))?;
    let pass = task.steps_a_pass(begun.config.train.accumulate).filter(|_| args.resume.is_none());
    let often = pass.and_then(|steps| args.config.read_often(&mut begun.config.train, steps));
    let mut trainer = match &args.resume {
        _ if !leads(ranks) => {
            let start = Checkpoint::blank(device, begun.config.clone(), RunState::default())?;
            let mut trainer = Trainer::among(device, start, &mut *task, ranks)?;
            return Ok(follow(&mut trainer, &interrupt)?);
        }
        None => {
            begun.take_folder(args.out.as_deref())?;
            crate::train::create(&begun.folder, &begun.config)?;
            let start = Trainer::start(device, begun.config.clone(), &*task)?;
            Trainer::among(device, start, &mut *task, ranks)?
        }
        Some(run) => {
            let mut checkpoint = checkpoint::load(device, run)?;
            checkpoint.config = begun.config.clone();
            let trainer = Trainer::among(device, checkpoint, &mut *task, ranks)?;
            begun.write_config()?;
            trainer
        }
    };
    let folder = &begun.folder;
    let (parameters, among) = (trainer.model().params.count(), several::among(ranks));
    progress.message(&format!("{}: {parameters} parameters on {}{among}", plain(folder.display()), device.describe()));
    often.iter().for_each(|sentence| progress.message(sentence));
    let outcome = crate::train::train(&mut trainer, folder, &interrupt, &mut *progress)?;
    if outcome.interrupted {
        return Err(stopped(&interrupt, &outcome, folder));
    }
    finish(
        args,
        &End { device, folder, config: &begun.config, outcome: &outcome, interrupt: &interrupt },
        &trainer,
        &mut *progress,
    )
}

/// The task of a run that fits into this machine.
fn open<D: Device>(
    device: &D,
    args: &Args,
    config: &RunConfig,
    aloud: bool,
) -> std::result::Result<Box<dyn Task<D>>, Failure> {
    room::expect_data(&TaskConfig::of(config)?)?;
    let task = task::open::<D>(config).map_err(|error| args.spoken(args.missing(error)))?;
    if aloud {
        output::tell(task.notes());
    }
    let loads = task.peak_loads(&config.model)?;
    if args.on.cuda()? {
        room::expect_on_device(config, device.memory_use(), &loads)?;
    } else {
        room::expect(config, args.on.threads, task.held(), &loads)?;
    }
    Ok(task)
}

/// The tables of a run at its end, and what is printed of it.
fn finish<D: Device>(
    args: &Args,
    end: &End<'_, D>,
    trainer: &Trainer<'_, D>,
    progress: &mut dyn Progress,
) -> std::result::Result<(), Failure> {
    let recall = end.recall(trainer.model(), progress)?;
    let track = end.track(trainer.model(), progress)?;
    if end.interrupt.requested() {
        return Err(stopped(end.interrupt, end.outcome, end.folder));
    }
    let Outcome { step, seconds, tokens, validation, best, again, .. } = end.outcome.clone();
    let (run, parameters) = (end.folder.display().to_string(), trainer.model().params.count());
    let report = Report { run, steps: step, seconds, tokens, parameters, validation, best, recall, track };
    if args.json {
        return output::print_json(&report);
    }
    if again {
        output::print("finished before: nothing was left to do; --steps or --minutes prolongs the run")?;
    }
    print(&report, trainer.unit())
}

/// What a signal leaves.
fn stopped(interrupt: &Interrupt, outcome: &Outcome, folder: &Path) -> Failure {
    let (step, saved, folder) = (outcome.step, plain(outcome.saved.display()), plain(folder.display()));
    Failure::interrupted(
        interrupt,
        format!("saved {saved} after step {step}; go on with: titans train --resume {folder}"),
    )
}

fn print(report: &Report, unit: LossUnit) -> std::result::Result<(), Failure> {
    let Report { run, steps, seconds, tokens, validation, best, recall, track, .. } = report;
    let (run, unit_name) = (plain(run), unit.name());
    output::print(format_args!("{}, {}, {seconds:.0} s", counted(steps, "step"), counted(tokens, "token")))?;
    if let Some(Validation { loss, accuracy, .. }) = validation {
        let accuracy = accuracy.map_or(String::new(), |a| format!(", accuracy {:.1} %", 100.0 * a));
        let bits = match unit {
            LossUnit::Nats => format!(" ({:.4} bits)", loss / std::f64::consts::LN_2),
            LossUnit::Squares => String::new(),
        };
        let loss = output::places(*loss);
        output::print(format_args!("validation at the end, all of it: loss {loss} {unit_name}{bits}{accuracy}"))?;
    }
    if let Some(Best { step, loss }) = best {
        let loss = output::places(*loss);
        let untrained = if *step == 0 { "; no step of training was better than none" } else { "" };
        output::print(format_args!(
            "best checkpoint: step {step} (by validations on the way: loss {loss} {unit_name}{untrained}), which the run folder stands for"
        ))?;
    }
    if let Some(table) = recall {
        super::eval::print_recall(table)?;
        output::print(format_args!("picture: {run}/recall.svg"))?;
    }
    if let Some(table) = track {
        super::eval::print_tracked(table)?;
    }
    output::print(format_args!("run: {run}"))
}

/// What is seen of a run: nothing, a bar on a terminal, elsewhere a line now and then.
pub(super) fn shown(quiet: bool, every: Duration) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::new(ProgressDrawTarget::stderr()))
    } else {
        Box::new(Lines::new(std::io::stderr(), every))
    }
}

impl Args {
    fn progress(&self, ranks: &dyn Collective) -> Box<dyn Progress> {
        shown(self.quiet || !leads(ranks), Duration::from_secs(5))
    }
}
