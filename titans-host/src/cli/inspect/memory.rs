//! `titans inspect --memory`: what a training step will hold, counted by a device that computes nothing.

use crate::cli::{Failure, output};
use crate::device::cpu::plan::{Bytes, Kind, Plan};
use crate::error::{Error, Result};
use crate::model::{Head, Model, ModelConfig};
use crate::task::TaskConfig;
use crate::task::recall::RecallConfig;
use crate::task::series::SeriesConfig;
use crate::task::text::TextConfig;
use crate::train::checkpoint::{self, Checkpoint, RunState};
use crate::train::optimiser::Optimiser;
use crate::train::run::CONFIG;
use crate::train::task::{Batch, Task, Validation};
use crate::train::{RunConfig, Trainer};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Shortest sequences that the recall task draws.
const SHORTEST: usize = 16;
/// Most tokens of a batch that is planned: its ids lie on the host.
const TOKENS: usize = 1 << 28;

/// Bytes of a step.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    threads: usize,
    /// Sequences and tokens of the batch that needs most.
    batch: usize,
    time: usize,
    parameters: usize,
    gradients: usize,
    moments: usize,
    kept: Kept,
    working: usize,
    peak: usize,
}

/// What the forward leaves for the backward.
#[derive(Debug, Serialize)]
struct Kept {
    linear: usize,
    norms: usize,
    convolutions: usize,
    elementwise: usize,
    attention: usize,
    memories: usize,
    boundaries: usize,
    other: usize,
    total: usize,
}

pub(super) fn run(path: &Path, threads: Option<usize>, json: bool) -> std::result::Result<(), Failure> {
    let (file, config) = config(path)?;
    let report = worst(&file, &config, threads)?;
    if json { output::print_json(&report) } else { print(&report) }
}

/// The most bytes that a step of training holds on the CPU.
///
/// # Errors
/// [`Error::File`] for a batch that is larger than any plan; [`Error::Usage`] for a model that cannot be.
pub fn peak(config: &RunConfig, threads: Option<usize>) -> Result<usize> {
    Ok(worst(Path::new("the configuration"), config, threads)?.peak)
}

/// The batch that needs most.
fn worst(file: &Path, config: &RunConfig, threads: Option<usize>) -> Result<Report> {
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut worst: Option<Report> = None;
    for (batch, time) in batches(&TaskConfig::of(config)?) {
        let report = plan(file, config, threads, batch, time)?;
        if worst.as_ref().is_none_or(|worst| report.peak > worst.peak) {
            worst = Some(report);
        }
    }
    worst.ok_or_else(|| Error::file(file, "its task draws no batch"))
}

/// The configuration that `path` names: a `config.toml`, one in a run folder, or that of a checkpoint.
fn config(path: &Path) -> Result<(PathBuf, RunConfig)> {
    let toml = if path.is_dir() { path.join(CONFIG) } else { path.to_path_buf() };
    if toml.extension().is_some_and(|e| e == "toml") {
        let config = RunConfig::read(&toml)?;
        return Ok((toml, config));
    }
    Ok((path.to_path_buf(), checkpoint::load_config(path)?.0))
}

/// The sizes, sequences and tokens of each, of the batches that may need most: a curriculum's short sequences come in
/// large numbers, each with its memories.
fn batches(task: &TaskConfig) -> Vec<(usize, usize)> {
    match task {
        TaskConfig::Text(TextConfig { sequences, context, .. }) => vec![(*sequences, *context)],
        TaskConfig::Series(SeriesConfig { sequences, context, .. }) => vec![(*sequences, *context)],
        TaskConfig::Recall(RecallConfig { length, tokens, .. }) => {
            let shorter = std::iter::successors(Some(SHORTEST), |&l| l.checked_mul(2)).take_while(|l| l < length);
            shorter.chain([*length]).map(|l| ((tokens / l.max(1)).max(1), l)).collect()
        }
    }
}

/// Always the batch of one size.
struct Sized(Batch);

impl Task<Plan> for Sized {
    fn batch(&self, _step: u64, _part: u64, batch: &mut Batch) -> Result<()> {
        batch.clone_from(&self.0);
        Ok(())
    }

    fn validate(&self, _device: &Plan, _model: &Model<Plan>, _thorough: bool) -> Result<Validation> {
        Ok(Validation::default())
    }
}

/// A batch of the model's shapes.
fn blank(model: &ModelConfig, batch: usize, time: usize) -> Batch {
    let tokens = batch * time;
    let mut blank = Batch { batch, time, ..Batch::default() };
    match model.inputs {
        0 => blank.ids = vec![0; tokens],
        width => blank.rows = vec![0.0; tokens * width],
    }
    match model.head {
        Head::Regression => blank.wanted = vec![0.0; tokens * model.outputs],
        Head::Tokens | Head::Classes => blank.targets = vec![0; tokens],
    }
    blank
}

/// One step of a trainer on a device that only counts.
fn plan(file: &Path, config: &RunConfig, threads: usize, batch: usize, time: usize) -> Result<Report> {
    let tokens = batch.saturating_mul(time);
    let numbers = tokens.saturating_mul(config.model.inputs.max(config.model.outputs).max(1));
    if tokens == 0 || numbers > TOKENS {
        return Err(Error::file(
            file,
            format!(
                "a batch of {batch} times {time} tokens: expected 1 to {TOKENS} ids or numbers in all, found {numbers}"
            ),
        ));
    }
    let device = Plan::new(threads)?;
    let all = |bytes: Bytes| bytes.iter().sum::<usize>();
    let model = Model::blank(&device, config.model.clone())?;
    let parameters = all(device.live());
    let optimiser = Optimiser::new(&device, config.train.optimiser(), &model.params)?;
    let moments = all(device.live()) - parameters;
    let mut task = Sized(blank(&config.model, batch, time));
    let mut config = config.clone();
    config.train.accumulate = 1; // the parts come one after another, each in the space of the one before
    let checkpoint = Checkpoint { config, state: RunState::default(), model, optimiser };
    let mut trainer = Trainer::resume(&device, checkpoint, &mut task)?;
    let before = device.live();
    trainer.step(0.0)?;
    let (kept, standing) = (device.kept(), all(before));
    let of = |kind: Kind| kept[kind as usize].saturating_sub(before[kind as usize]);
    let total = all(kept) - standing;
    Ok(Report {
        file: file.display().to_string(),
        threads,
        batch,
        time,
        parameters,
        gradients: standing - parameters - moments,
        moments,
        kept: Kept {
            linear: of(Kind::Linear),
            norms: of(Kind::Norm),
            convolutions: of(Kind::Conv),
            elementwise: of(Kind::Elementwise),
            attention: of(Kind::Attention),
            memories: of(Kind::Memory),
            boundaries: of(Kind::Boundaries),
            other: of(Kind::Given) + of(Kind::Other),
            total,
        },
        working: device.peak() - standing - total,
        peak: device.peak(),
    })
}

fn print(report: &Report) -> std::result::Result<(), Failure> {
    let Report { file, threads, batch, time, kept, .. } = report;
    output::print(format_args!("{file}: a step of {batch} sequences of {time} tokens on {threads} threads, in bytes"))?;
    let lines = [
        ("parameters", report.parameters),
        ("gradients", report.gradients),
        ("moments", report.moments),
        ("kept for the backward", kept.total),
        ("  linear maps", kept.linear),
        ("  norms", kept.norms),
        ("  convolutions", kept.convolutions),
        ("  element by element", kept.elementwise),
        ("  attention", kept.attention),
        ("  memories", kept.memories),
        ("  memory boundaries", kept.boundaries),
        ("  other", kept.other),
        ("cotangents and scratch", report.working),
        ("peak", report.peak),
    ];
    for (name, bytes) in lines {
        output::print(format_args!("{name:24}{bytes:>16}"))?;
    }
    Ok(())
}
