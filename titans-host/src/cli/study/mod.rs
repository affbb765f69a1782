//! `titans study`: a set of configurations by equal parameters and steps.

mod begin;
mod work;

use super::options::{DeviceArgs, count, named, one_of, size, whole};
use super::{Failure, on_device, output, signals};
use crate::device::Device;
use crate::error::plain;
use crate::task::TaskName;
use crate::task::study::{Study, StudyKind, StudyReport, tasks_of_options};
use crate::train::ranks::launch::Launch;
use std::path::PathBuf;
use work::StudyWork;

const ABOUT: &str = "\
ablation: what each part of the model is worth (the paper's table 5): deep memory, with attention in three ways, linear, without
convolution, momentum, forgetting, persistent tokens. depth: memories of 1 to 4 layers, what they bring and cost by length (figures 7
and 8). length: every block beyond the length that it was trained on. throughput: tokens a second of a training step by length (figure
9); nothing is learned.

All models of a study have one number of parameters, within its tolerance (1 %): the feed-forward's width makes up for what the rest
takes. All runs have the same steps and batches. The folder holds study.toml, which says everything, runs/NAME-seed-N with a run of
titans train and its result.json each, and results.json, table.txt and pictures, which are made anew after every run. The same
command, or one with the folder alone, goes on where it was stopped; a configuration that was changed since is refused by name.

The file has kind, seeds, parameters, tolerance, lengths, tokens (of validation text, by length), step_tokens and repeats (of what is
timed), [task], [model] and [train] in the words of a run's config.toml (what is left out is the recipe of titans train), and
[[configuration]] with name, layers (the recipe of memories of so many), model (what differs) and paper (its figure there).
--describe prints the one that the options make.

JSON keys: kind, task, parameters, tolerance, steps, seeds, done, of, by_length (what lengths hold), configurations [{name,
parameters, feed_forward, paper, loss, perplexity, accuracy, lengths {N: ...}, throughput {N: ...}}], numbers as {mean, deviation,
seeds}.

Examples:
  titans study ablation --task text --data wiki.tokens --steps 600 --seeds 0,1,2 --out ablation
  titans study ablation --task forecast --data ETTh1.csv.gz --steps 200 --seeds 0,1 --out etth1
  titans study depth --task text --data wiki.tokens --lengths 256,1024,4096 --out studies/depth
  titans study throughput --lengths 256,1024,4096,16384 --out studies/throughput
  titans study length --task recall --describe > length.toml
  titans study length --file length.toml --out studies/length
  titans study length --out studies/length";

/// Compare configurations by equal parameters and steps: ablation, depth of the memory, length, throughput
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// What is asked
    #[arg(value_name = "KIND", value_parser = named::<StudyKind>())]
    kind: StudyKind,

    /// The study's folder: a new one, or one to go on with
    #[arg(long, value_name = "FOLDER", required_unless_present = "describe")]
    out: Option<PathBuf>,

    /// A file that describes the study, instead of the options that follow
    #[arg(long, value_name = "FILE.toml")]
    file: Option<PathBuf>,

    #[command(flatten)]
    new: NewArgs,

    /// Print the file that these options make, and do nothing
    #[arg(long, conflicts_with_all = ["out", "json"])]
    describe: bool,

    /// No progress on standard error
    #[arg(long, short)]
    quiet: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

/// What a new study is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A new study")]
struct NewArgs {
    /// recall, text, track, needle (passkeys in noise; a file says others, and babilong), forecast or classify
    /// [default: recall]
    #[arg(long, value_name = "NAME", value_parser = one_of(&tasks_of_options()))]
    task: Option<TaskName>,
    /// Files of text, one after the other, of rows with labels (classify), or one of numbers (forecast); .gz is read as
    /// it is
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// The vocabulary of that text [default: bytes]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// A run of every configuration for each [default: 0]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = whole)]
    seeds: Vec<u64>,
    /// Steps of every run [default: those of titans train]
    #[arg(long, value_name = "N", value_parser = whole)]
    steps: Option<u64>,
    /// Tokens of a training sequence [default: those of titans train]
    #[arg(long, value_name = "N", value_parser = size)]
    context: Option<usize>,
    /// Sequences (text, forecast, classify) or tokens (other tasks) of a batch [default: those of titans train]
    #[arg(long, value_name = "N", value_parser = size)]
    batch: Option<usize>,
    /// Blocks of every model [default: those of titans train]
    #[arg(long, value_name = "N", value_parser = size)]
    blocks: Option<usize>,
    /// Width of every model's stream [default: that of titans train]
    #[arg(long, value_name = "N", value_parser = size)]
    width: Option<usize>,
    /// Lengths by which is measured [default: 256 to 4096; 16 to 1024 of track; none of ablation, forecast and
    /// classify]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = count)]
    lengths: Vec<usize>,
    /// Parameters of every model [default: those of the largest]
    #[arg(long, value_name = "N", value_parser = count)]
    parameters: Option<usize>,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.describe {
        let text = begin::written(&args.described()?)?;
        return output::print(text.trim_end());
    }
    let launch = Launch::of_environment()?;
    if launch.size > 1 {
        return Err(Failure::input(format!(
            "a study runs in one process: {} started this one as one of {}; start one, or set TITANS_ALONE=1 in the \
             environment, with which each is by itself",
            launch.by, launch.size
        )));
    }
    on_device!(args.on, device => on(&device, args))
}

fn on<D: Device>(device: &D, args: &Args) -> Result<(), Failure> {
    let interrupt = signals::listen()?;
    let Some(folder) = &args.out else { return Err(Failure::input("--out FOLDER: expected the study's folder")) };
    let (study, _owner): (Study, _) = args.begin(folder)?;
    let threads = if args.on.cuda()? { None } else { Some(args.on.threads) };
    let work = StudyWork { device, study: &study, folder, interrupt: &interrupt, quiet: args.quiet, threads };
    let results = work.all()?;
    let report = StudyReport::new(&study, &results);
    if args.json {
        return output::print_json(&report);
    }
    output::print(format_args!("{report}"))?;
    output::print(format_args!("study: {}", plain(folder.display())))
}
