//! Classes of sequences: scores beside the baselines, the table of confusions, what is said of each row.

use super::{Args, own};
use crate::cli::{Failure, output};
use crate::data::labelled::Labelled;
use crate::device::Device;
use crate::error::{Error, Result, counted, plain};
use crate::model::Model;
use crate::task::classify::{
    ClassBaselines, ClassScores, ClassifyConfig, ClassifyTask, Example, Judging, judge, likeliest,
};
use crate::train::checkpoint::RunState;
use crate::train::plot;
use crate::train::task::Task;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;
use titans_kernel::Choice;

/// Letters of a class's name in tables.
const NAME: usize = 12;

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    scores: &'a ClassScores,
    classes: Vec<OfClass<'a>>,
    part: &'static str,
    memory: &'static str,
    strands: usize,
    seconds: f64,
    baselines: Option<ClassBaselines>,
}

/// The scores of one class.
#[derive(Serialize)]
struct OfClass<'a> {
    name: &'a str,
    rows: u64,
    precision: f64,
    recall: f64,
    f1: f64,
}

/// The rows that are measured.
struct ClassRows {
    rows: Vec<Example>,
    /// Where each lies, and the label: not known of rows that were split off.
    lines: Option<Labelled>,
    part: &'static str,
    baselines: Option<ClassBaselines>,
}

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    task: ClassifyConfig,
    (seed, state): (u64, &RunState),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    let mut task = task;
    if args.tokenizer.is_some() {
        task.tokenizer.clone_from(&args.tokenizer);
    }
    let encoder = task.encoder()?;
    task.expect_vocabulary(&encoder, &state.task)?;
    let measured = args.rows::<D>(&task, seed, state)?;
    let (judging, start) = (Judging::of(&task, args.mode()), Instant::now());
    let numbers: Vec<&[u32]> = measured.rows.iter().map(|row| &row.numbers[..]).collect();
    output::tell(&task.cut(&encoder, &numbers));
    let said = judge(device, model, &encoder, judging, &numbers)
        .map_err(|error| Failure::hinting(error, "or evaluate with --memory frozen"))?;
    let truth: Vec<u32> = measured.rows.iter().map(|row| row.class).collect();
    let scores = ClassScores::of(task.classes.len(), &said, &truth);
    let seconds = start.elapsed().as_secs_f64();
    if let Some(path) = &args.per_item {
        write_rows(path, &task.classes, &measured, &said)?;
    }
    if let Some(path) = &args.picture {
        let names: Vec<&str> = task.classes.iter().map(String::as_str).collect();
        plot::confusion(path, &names, &scores.confusion)?;
    }
    let classes = task.classes.iter().enumerate().map(|(i, name)| {
        let [precision, recall, f1] = scores.of_class(i);
        OfClass { name, rows: scores.confusion[i].iter().sum(), precision, recall, f1 }
    });
    let report = Report {
        scores: &scores,
        classes: classes.collect(),
        part: measured.part,
        memory: judging.mode.name(),
        strands: if judging.both_strands { 2 } else { 1 },
        seconds,
        baselines: measured.baselines,
    };
    if args.json { output::print_json(&report) } else { print(&report) }
}

impl Args {
    /// The rows of `--data`, else those of the run's test, else of its validation, with the baselines on them.
    fn rows<D: Device>(&self, task: &ClassifyConfig, seed: u64, state: &RunState) -> Result<ClassRows> {
        let valid = self.part == Some(super::forecast::PartName::Valid);
        let files = match (self.data.is_empty(), valid) {
            (false, _) => &self.data,
            (true, true) => &task.valid,
            (true, false) if !task.test.is_empty() => &task.test,
            (true, false) if self.part.is_some() => {
                return Err(Error::usage(
                    "--part test: the run was trained without --test; name the rows with --data, or take --part valid",
                ));
            }
            (true, false) => &task.valid,
        };
        let part = match (self.data.is_empty(), valid || task.test.is_empty()) {
            (false, _) => "data",
            (true, true) => "valid",
            (true, false) => "test",
        };
        let run = if self.no_baselines && !files.is_empty() {
            None
        } else {
            let mut run = ClassifyTask::read(task.clone(), seed, 1).map_err(own)?;
            Task::<D>::restore(&mut run, &state.task).map_err(own)?;
            output::tell(Task::<D>::notes(&run));
            Some(run)
        };
        let (rows, lines) = match (&run, files.is_empty()) {
            (Some(run), true) => (run.valid().to_vec(), None),
            _ => {
                let (rows, read) = task.examples(&task.encoder()?, files, true)?;
                output::tell(&read.notes);
                (rows, Some(read))
            }
        };
        let baselines = match run.filter(|_| !self.no_baselines) {
            Some(run) => Some(ClassBaselines::measure(task.classes.len(), run.train(), run.valid(), &rows)?),
            None => None,
        };
        Ok(ClassRows { rows, lines, part, baselines })
    }
}

fn write_rows(
    path: &Path,
    classes: &[String],
    measured: &ClassRows,
    said: &[Vec<f64>],
) -> std::result::Result<(), Failure> {
    let heads = classes.iter().map(|class| format!("probability_{class}"));
    let first = ["row", "line", "name", "label", "predicted"].map(str::to_owned);
    let mut text = output::csv_line(first.into_iter().chain(heads))? + "\n";
    for (i, (row, said)) in measured.rows.iter().zip(said).enumerate() {
        let from = measured.lines.as_ref().and_then(|read| read.rows.get(i));
        let line = from.map_or(String::new(), |row| row.line.to_string());
        let name = from.and_then(|row| row.name.clone()).unwrap_or_default();
        let class = |i: usize| classes.get(i).cloned().unwrap_or_default();
        let fields = [(i + 1).to_string(), line, name, class(row.class as usize), class(likeliest(said))];
        text += &output::csv_line(fields.into_iter().chain(said.iter().map(f64::to_string)))?;
        text.push('\n');
    }
    Ok(output::write_whole(path, text.as_bytes())?)
}

fn print(report: &Report<'_>) -> std::result::Result<(), Failure> {
    let Report { scores, classes, part, memory, strands, baselines, .. } = report;
    let both = if *strands == 2 { ", both strands" } else { "" };
    output::print(format_args!("{} ({part}), memory {memory}{both}", counted(scores.rows, "row")))?;
    let mut table = vec![("model", *scores)];
    if let Some(b) = baselines {
        table.push(("words of 6", &b.words_6.scores));
        table.push(("words of 4", &b.words_4.scores));
        table.push(("majority", &b.majority.scores));
    }
    output::print(format_args!("{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "accuracy", "mcc", "f1", "auc", "nats"))?;
    for (name, s) in table {
        let [auc, loss] = [s.auc, s.loss].map(|x| x.map_or("-".into(), |x| format!("{x:.4}")));
        output::print(format_args!("{name:<12}{:>10.4}{:>10.4}{:>10.4}{auc:>10}{loss:>10}", s.accuracy, s.mcc, s.f1))?;
    }
    let short = |name: &str| plain(name).chars().take(NAME).collect::<String>();
    let heads: String = classes.iter().map(|class| format!("{:>14}", short(class.name))).collect();
    output::print(format_args!("\n{:<14}{heads}{:>10}{:>10}{:>10}", "true \\ said", "precision", "recall", "f1"))?;
    for (class, row) in classes.iter().zip(&scores.confusion) {
        let cells: String = row.iter().map(|n| format!("{n:>14}")).collect();
        let OfClass { name, precision, recall, f1, .. } = class;
        output::print(format_args!("{:<14}{cells}{precision:>10.4}{recall:>10.4}{f1:>10.4}", short(name)))?;
    }
    Ok(())
}
