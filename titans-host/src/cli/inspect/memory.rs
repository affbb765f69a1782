//! `titans inspect --memory`: what a training step will hold, counted by a device that computes nothing.

use crate::cli::{Failure, output};
use crate::device::Device;
use crate::device::plan::{BufferKind, BytesByKind, Plan};
use crate::error::{Error, Result, counted, plain};
use crate::model::{Head, Input, Model, ModelConfig, Source, Targets};
use crate::tape::{Shared, Tape};
use crate::task::TaskConfig;
use crate::task::classify::Pooling;
use crate::train::checkpoint::{self, Checkpoint, RunState};
use crate::train::optimiser::Optimiser;
use crate::train::run::CONFIG;
use crate::train::task::{Batch, Load, Task, Validation};
use crate::train::{Interrupt, RunConfig, Trainer};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use titans_kernel::choice;

/// Most tokens of a batch that is planned: its ids lie on the host.
const TOKENS: usize = 1 << 28;

/// Bytes of a step.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    device: PlannedKind,
    /// Of the CPU; 0 on CUDA.
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

choice! {
    /// Kinds of devices whose memory can be planned.
    pub enum PlannedKind: "device" {
        /// The CPU.
        Cpu = 0, "cpu";
        /// CUDA devices.
        Cuda = 1, "cuda";
    }
}

/// The device whose memory is planned. None need be there.
#[derive(Clone, Copy, Debug)]
pub enum PlannedOn {
    /// The CPU, with all of this machine's threads where no number is given.
    Cpu(Option<usize>),
    /// A CUDA device.
    Cuda,
}

impl PlannedOn {
    fn kind(self) -> PlannedKind {
        match self {
            Self::Cpu(_) => PlannedKind::Cpu,
            Self::Cuda => PlannedKind::Cuda,
        }
    }

    fn threads(self) -> usize {
        match self {
            Self::Cpu(threads) => {
                threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            }
            Self::Cuda => 0,
        }
    }

    fn plan(self) -> Result<Plan> {
        match self {
            Self::Cpu(_) => Plan::new(self.threads()),
            Self::Cuda => Ok(Plan::cuda()),
        }
    }
}

pub(super) fn run(path: &Path, on: PlannedOn, json: bool) -> std::result::Result<(), Failure> {
    let (file, config) = config(path)?;
    let report = worst(&file, &config, on)?;
    if json { output::print_json(&report) } else { print(&report) }
}

/// The most bytes that a run holds on a device, on the CPU beside its data, in a training step and in what measures
/// the model, and which of them that is.
///
/// # Errors
/// [`Error::File`] for a batch that is larger than any plan; [`Error::Usage`] for a model that cannot be.
pub fn peak(config: &RunConfig, on: PlannedOn, loads: &[Load]) -> Result<(usize, &'static str)> {
    let report = worst(Path::new("the configuration"), config, on)?;
    let mut most = (report.peak, "a training step");
    for load in loads {
        let bytes = validation_bytes(config, on, load)?;
        if bytes > most.0 {
            most = (bytes, "a validation");
        }
    }
    Ok(most)
}

/// The bytes that stand in training, and those of what measures the model then.
fn validation_bytes(config: &RunConfig, on: PlannedOn, load: &Load) -> Result<usize> {
    let device = on.plan()?;
    let model = Model::blank(&device, config.model.clone())?;
    let optimiser = Optimiser::new(&device, config.train.optimiser(), &model.params)?;
    let mut task = Sized(Batch::default());
    let checkpoint = Checkpoint { config: config.clone(), state: RunState::default(), model, optimiser };
    let trainer = Trainer::resume(&device, checkpoint, &mut task)?;
    if load.batch > 0 {
        let tokens = load.batch.saturating_mul(load.time);
        let c = &config.model;
        let numbers = |width: usize| device.upload(&vec![0.0; tokens.saturating_mul(width)]).map(Shared::new);
        let mut tape = Tape::inference(&device, &trainer.model().params);
        let ids = match on {
            PlannedOn::Cpu(_) => Arc::new(None),
            PlannedOn::Cuda => Arc::new(device.upload_indices(&vec![0; tokens])?),
        };
        let rows = (c.inputs > 0).then(|| numbers(c.inputs)).transpose()?;
        let wanted = (c.head == Head::Regression).then(|| numbers(c.outputs)).transpose()?;
        let source = rows.as_ref().map_or(Source::Ids(&ids), Source::Rows);
        let targets = wanted.as_ref().map_or(Targets::Ids(&ids), Targets::Numbers);
        let input = Input { surprise: load.surprise, ..Input::of(source, load.batch, load.time) };
        let forward = trainer.model().forward(&mut tape, input)?;
        trainer.model().loss(&mut tape, &forward.logits, targets)?;
    }
    let host = if matches!(on, PlannedOn::Cuda) { 0 } else { load.host };
    Ok(device.peak().saturating_add(host))
}

/// The batch that needs most.
fn worst(file: &Path, config: &RunConfig, on: PlannedOn) -> Result<Report> {
    let mut worst: Option<Report> = None;
    for (batch, time) in TaskConfig::of(config)?.batches() {
        let report = plan(file, config, on, batch, time)?;
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

/// Always the batch of one size.
struct Sized(Batch);

impl Task<Plan> for Sized {
    fn batch(&self, _step: u64, _part: u64, batch: &mut Batch) -> Result<()> {
        batch.clone_from(&self.0);
        Ok(())
    }

    fn validate_until(
        &self,
        _device: &Plan,
        _model: &Model<Plan>,
        _thorough: bool,
        _interrupt: &Interrupt,
    ) -> Result<Validation> {
        Ok(Validation::default())
    }
}

/// A batch of the model's shapes; with one class a sequence where they are pooled.
fn blank(model: &ModelConfig, pooled: bool, batch: usize, time: usize) -> Batch {
    let tokens = batch * time;
    let mut blank = Batch { batch, time, ..Batch::default() };
    match model.inputs {
        0 => blank.ids = vec![0; tokens],
        width => blank.rows = vec![0.0; tokens * width],
    }
    match model.head {
        Head::Regression => blank.wanted = vec![0.0; tokens * model.outputs],
        Head::Tokens | Head::Classes if pooled => {
            (blank.targets, blank.lengths) = (vec![0; batch], vec![time as u32; batch]);
        }
        Head::Tokens | Head::Classes => blank.targets = vec![0; tokens],
    }
    blank
}

/// One step of a trainer on a device that only counts.
fn plan(file: &Path, config: &RunConfig, on: PlannedOn, batch: usize, time: usize) -> Result<Report> {
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
    let device = on.plan()?;
    let all = |bytes: BytesByKind| bytes.iter().sum::<usize>();
    let model = Model::blank(&device, config.model.clone())?;
    let parameters = all(device.live());
    let optimiser = Optimiser::new(&device, config.train.optimiser(), &model.params)?;
    let moments = all(device.live()) - parameters;
    let pooled = matches!(TaskConfig::of(config)?, TaskConfig::Classify(c) if c.pooling == Pooling::Mean);
    let mut task = Sized(blank(&config.model, pooled, batch, time));
    let mut config = config.clone();
    // The parts come one after another, each in the space of the one before; from the second one on gradients wait to
    // be added.
    config.train.accumulate = config.train.accumulate.min(2);
    let checkpoint = Checkpoint { config, state: RunState::default(), model, optimiser };
    let mut trainer = Trainer::resume(&device, checkpoint, &mut task)?;
    let before = device.live();
    trainer.step(0.0)?;
    let (kept, standing) = (device.kept(), all(before));
    let of = |kind: BufferKind| kept[kind as usize].saturating_sub(before[kind as usize]);
    let total = all(kept) - standing;
    Ok(Report {
        file: file.display().to_string(),
        device: on.kind(),
        threads: on.threads(),
        batch,
        time,
        parameters,
        gradients: standing - parameters - moments,
        moments,
        kept: Kept {
            linear: of(BufferKind::Linear),
            norms: of(BufferKind::Norm),
            convolutions: of(BufferKind::Conv),
            elementwise: of(BufferKind::Elementwise),
            attention: of(BufferKind::Attention),
            memories: of(BufferKind::Memory),
            boundaries: of(BufferKind::Boundaries),
            other: of(BufferKind::Given) + of(BufferKind::Other),
            total,
        },
        working: device.peak() - standing - total,
        peak: device.peak(),
    })
}

fn print(report: &Report) -> std::result::Result<(), Failure> {
    let Report { file, device, threads, batch, time, kept, .. } = report;
    let file = plain(file);
    let (batch, time) = (counted(batch, "sequence"), counted(time, "token"));
    let on = match device {
        PlannedKind::Cuda => "a CUDA device".to_owned(),
        PlannedKind::Cpu => counted(threads, "thread"),
    };
    output::print(format_args!("{file}: a step of {batch} of {time} on {on}, in bytes"))?;
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

#[cfg(test)]
mod tests {
    use super::{Load, PlannedOn, peak, validation_bytes};
    use crate::device::cpu::Cpu;
    use crate::model::ModelConfig;
    use crate::task::recall::{Recall, RecallConfig};
    use crate::task::series::{SeriesConfig, SeriesTask};
    use crate::task::text::{Text, TextConfig};
    use crate::task::{Task, TaskConfig};
    use crate::train::{RunConfig, TrainConfig, Trainer};

    fn on(threads: usize) -> PlannedOn {
        PlannedOn::Cpu(Some(threads))
    }

    fn small(task: &TaskConfig) -> RunConfig {
        let mut model =
            ModelConfig { width: 16, blocks: 2, heads: 2, head_width: 8, feed_forward: 24, ..ModelConfig::default() };
        model.alpha_bias = -4.0;
        task.fit(&mut model).unwrap();
        task.run(model, TrainConfig::default()).unwrap()
    }

    /// What is planned of a validation is what the CPU then holds; returns the load.
    fn check(config: &RunConfig, task: &mut dyn Task<Cpu<f32>>) -> Load {
        let loads = task.peak_loads(&config.model).unwrap();
        let mut largest = 0;
        for threads in [1, 3] {
            let device = Cpu::<f32>::new(Some(threads)).unwrap();
            let trainer = Trainer::new(&device, config.clone(), task).unwrap();
            device.restart_peak();
            trainer.validate(true).unwrap();
            let planned = |load: &Load| validation_bytes(config, on(threads), load).unwrap() - load.host;
            largest = loads.iter().map(planned).max().unwrap();
            assert_eq!(largest, device.pool_usage().peak_bytes, "{threads} threads, {loads:?}");
        }
        let (all, of) = peak(config, on(3), &loads).unwrap();
        assert!(all >= largest + loads[0].host || of == "a training step", "{all} of {of}");
        loads[0]
    }

    #[test]
    fn what_a_validation_holds_is_planned_to_the_byte() {
        let bytes: Vec<u8> = (0..30_000u32).map(|i| (i * i / 7) as u8).collect();
        let text = TextConfig { context: 8, sequences: 1, window: 100, ..TextConfig::default() };
        let config = small(&TaskConfig::Text(text.clone()));
        let mut task = Text::new(text, &bytes, 1).unwrap();
        let load = check(&config, &mut task);
        assert_eq!((load.batch, load.time, load.surprise), (29, 100, true), "2,999 tokens are predicted");
        assert!(load.host >= 2900 * (8 + 4 * 4));
        assert_eq!(Task::<Cpu<f32>>::held(&task), 4 * 30_000);
        let (bytes, of) = peak(&config, on(1), &[load]).unwrap();
        assert!(
            of == "a validation" && bytes == validation_bytes(&config, on(1), &load).unwrap(),
            "{of}: 2900 tokens beside 8"
        );
        assert_eq!(peak(&config, on(1), &[]).unwrap().1, "a training step");

        let numbers = (0..6000).map(|i| f64::from(i % 7)).collect();
        let series = crate::data::series::Series { names: vec!["a".into(), "b".into()], numbers, lines: Vec::new() };
        let columns = series.measure(2000);
        let numbers =
            SeriesConfig { context: 8, sequences: 1, patch: 2, window: 40, columns, ..SeriesConfig::default() };
        let config = small(&TaskConfig::Series(numbers.clone()));
        let load = check(&config, &mut SeriesTask::new(numbers, &series, 1).unwrap());
        assert_eq!((load.batch, load.time), (3, 40), "149 patches are predicted");

        let recall = RecallConfig { length: 64, pairs: 2, tokens: 64, lengths: vec![64], ..RecallConfig::default() };
        let config = small(&TaskConfig::Recall(recall.clone()));
        let load = check(&config, &mut Recall::new(recall, 1).unwrap());
        assert_eq!((load.batch, load.time), (32, 64));
        assert!(load.host >= 32 * 64 * 4 * config.model.vocabulary, "logits on the host");
    }

    /// Windows and sequences too long for a batch are read as streams.
    #[test]
    fn long_windows_hold_a_session_on_the_host() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 997 * 7) as u8).collect();
        let text = TextConfig { context: 8, window: 8193, ..TextConfig::default() };
        let config = small(&TaskConfig::Text(text.clone()));
        let session = crate::model::Session::<f32>::space(&config.model).unwrap();
        assert!(session > 4 * config.model.parameters().unwrap());
        let loads = Task::<Cpu<f32>>::peak_loads(&Text::new(text, &bytes, 1).unwrap(), &config.model).unwrap();
        assert_eq!(loads, [Load { host: session + 8192 * 256 * 8, ..Load::default() }]);
        let standing = validation_bytes(&config, on(1), &Load::default()).unwrap();
        assert_eq!(validation_bytes(&config, on(1), &loads[0]).unwrap(), standing + loads[0].host);
        let recall = RecallConfig { lengths: vec![64, 1 << 15, (1 << 15) + 1], ..RecallConfig::default() };
        let config = small(&TaskConfig::Recall(recall.clone()));
        let loads = Task::<Cpu<f32>>::peak_loads(&Recall::new(recall, 1).unwrap(), &config.model).unwrap();
        assert_eq!(loads.iter().map(|load| load.batch).collect::<Vec<_>>(), [32, 1, 0, 32]);
    }
}
