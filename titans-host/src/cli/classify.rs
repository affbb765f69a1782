//! `titans classify`: the classes of new sequences.

use super::checkpoint::{CheckpointArgs, spare};
use super::options::{DeviceArgs, named};
use super::output;
use super::{Failure, on_device};
use crate::data::labelled::{LabelledColumns, LabelledRow, read};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Mode;
use crate::task::TaskConfig;
use crate::task::classify::{ClassifyConfig, Judging, judge, likeliest};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Say of which class new sequences are, with a run of --task classify
///
/// Sequences come from --data (CSV or FASTA, no labels needed) or from the command line, and their classes go out as
/// CSV: the likeliest one, and the probability of each.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("sequences").required(true).args(["data", "sequence"]))]
#[command(after_help = "\
CSV columns: row (from 1), line, name (of FASTA), predicted, probability_CLASS for each class.
JSON keys: classes, rows [{row, line, name, predicted, probabilities {CLASS: p}}]; line is null for sequences of the command line.

Examples:
  titans classify runs/classify --data new.csv --out classes.csv
  titans classify runs/classify --data new.fa.gz --json
  titans classify runs/classify --sequence ACGTACGTTTGA --sequence GGGACCA")]
pub struct Args {
    /// A run folder (its best checkpoint), or a checkpoint
    #[arg(value_name = "RUN")]
    run: PathBuf,

    #[command(flatten)]
    which: CheckpointArgs,

    /// Files of sequences
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// The column of sequences, by name or number from 1; a number alone says that there is no header [default: as in
    /// training]
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,

    /// A sequence; may be given several times
    #[arg(long, value_name = "TEXT")]
    sequence: Vec<String>,

    /// Where the run's vocabulary lies now (alphabet bpe) [default: where it was in training]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// Where the classes are written [default: standard output]
    #[arg(long, value_name = "OUT.csv")]
    out: Option<PathBuf>,

    /// What the memories do: write every token (on), stay as training left them (frozen), answer 0 (absent)
    #[arg(long, default_value = "on", value_parser = named::<Mode>())]
    memory: Mode,

    /// Print JSON
    #[arg(long, conflicts_with = "out")]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

/// What is printed.
#[derive(Serialize)]
struct Classified<'a> {
    classes: &'a [String],
    rows: Vec<ClassifiedRow<'a>>,
}

/// What is said of one sequence.
#[derive(Serialize)]
struct ClassifiedRow<'a> {
    row: usize,
    line: Option<u64>,
    name: Option<&'a str>,
    predicted: &'a str,
    probabilities: BTreeMap<&'a str, f64>,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    on_device!(args.on, device => on(&device, args))
}

fn on<D: Device>(device: &D, args: &Args) -> std::result::Result<(), Failure> {
    let out = args.out.as_deref();
    spare(&args.run, &[("--out", out)])?;
    for data in &args.data {
        output::expect_distinct(&[("--data", data), ("--out", out.unwrap_or(Path::new("/dev/stdout")))])?;
    }
    let (config, state, model) = args.which.load(device, &args.run)?;
    let mut task = match TaskConfig::of(&config)? {
        TaskConfig::Classify(task) => task,
        other => {
            let (run, name) = (args.run.display(), other.name());
            return Err(
                Error::usage(format!("{run}: is a run of the {name} task, expected one of --task classify")).into()
            );
        }
    };
    if args.tokenizer.is_some() {
        task.tokenizer.clone_from(&args.tokenizer);
    }
    let encoder = task.encoder()?;
    task.expect_vocabulary(&encoder, &state.task)?;
    output::tell(encoder.tokenizer().notes());
    let rows = args.rows(&task)?;
    let number = |row: &LabelledRow| {
        encoder.numbers(&row.sequence).map_err(|e| match args.data.get(row.file) {
            Some(path) => Error::file(path, format!("line {}: {e}", row.line)),
            None => Error::usage(format!("--sequence: {e}")),
        })
    };
    let numbers = rows.iter().map(number).collect::<Result<Vec<_>>>()?;
    let numbers: Vec<&[u32]> = numbers.iter().map(|numbers| &numbers[..]).collect();
    output::tell(&task.cut(&encoder, &numbers));
    let said = judge(device, &model, &encoder, Judging::of(&task, args.memory), &numbers)
        .map_err(|error| Failure::hinting(error, "or classify with --memory frozen"))?;
    let class = |i: usize| task.classes.get(i).map_or("", String::as_str);
    if args.json {
        let each = rows.iter().zip(&said).enumerate().map(|(i, (row, said))| {
            let probabilities = task.classes.iter().map(String::as_str).zip(said.iter().copied()).collect();
            let line = (row.line > 0).then_some(row.line);
            ClassifiedRow {
                row: i + 1,
                line,
                name: row.name.as_deref(),
                predicted: class(likeliest(said)),
                probabilities,
            }
        });
        return output::print_json(&Classified { classes: &task.classes, rows: each.collect() });
    }
    let text = csv(&task, &rows, &said)?;
    match out {
        Some(path) => Ok(output::write_whole(path, text.as_bytes())?),
        None => output::print(text.trim_end()),
    }
}

impl Args {
    /// The sequences to classify.
    fn rows(&self, task: &ClassifyConfig) -> Result<Vec<LabelledRow>> {
        if self.data.is_empty() {
            let row = |text: &String| match text.trim() {
                "" => Err(Error::usage("--sequence: expected letters, found none")),
                text => Ok(LabelledRow { sequence: text.to_owned(), label: None, name: None, file: 0, line: 0 }),
            };
            return self.sequence.iter().map(row).collect();
        }
        // Labels are not asked for: where the sequences' column is given by number, there is no header.
        let sequence = self.column.clone().or_else(|| task.columns.sequence.clone());
        let read = read(&self.data, &LabelledColumns { sequence, label: None }, false)?;
        output::tell(&read.notes);
        Ok(read.rows)
    }
}

fn csv(task: &ClassifyConfig, rows: &[LabelledRow], said: &[Vec<f64>]) -> std::result::Result<String, Failure> {
    let heads = task.classes.iter().map(|class| format!("probability_{class}"));
    let first = ["row", "line", "name", "predicted"].map(str::to_owned);
    let mut text = output::csv_line(first.into_iter().chain(heads))? + "\n";
    for (i, (row, said)) in rows.iter().zip(said).enumerate() {
        let line = if row.line > 0 { row.line.to_string() } else { String::new() };
        let predicted = task.classes.get(likeliest(said)).cloned().unwrap_or_default();
        let fields = [(i + 1).to_string(), line, row.name.clone().unwrap_or_default(), predicted];
        text += &output::csv_line(fields.into_iter().chain(said.iter().map(f64::to_string)))?;
        text.push('\n');
    }
    Ok(text)
}
