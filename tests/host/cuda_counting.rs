//! What a training step asks of a CUDA device, counted by a machine that computes nothing: launches, memory, bytes.
//!
//! The budgets are what it takes today (`docs/CUDA.md`): a change that takes more has a reason, one that takes less
//! lowers them.

use std::process::Command;
use std::sync::Arc;
use titans_host::Result;
use titans_host::device::cuda::Cuda;
use titans_host::device::cuda::counting::{Counting, DriverCounts};
use titans_host::device::plan::Plan;
use titans_host::device::{Boundaries, Device};
use titans_host::model::{Kind, Kinds, Model, ModelConfig};
use titans_host::task::TaskConfig;
use titans_host::task::text::TextConfig;
use titans_host::train::checkpoint::{Checkpoint, RunState};
use titans_host::train::optimiser::Optimiser;
use titans_host::train::{Batch, Interrupt, RunConfig, Task, TrainConfig, Trainer, Validation};

/// Batches of one shape, their tokens 0.
struct Blank {
    batch: usize,
    time: usize,
}

impl<D: Device> Task<D> for Blank {
    fn batch(&self, _step: u64, _part: u64, batch: &mut Batch) -> Result<()> {
        batch.restart(self.batch, self.time);
        let tokens = self.batch * self.time;
        batch.ids.resize(tokens, 0);
        batch.targets.resize(tokens, 0);
        Ok(())
    }

    fn validate_until(
        &self,
        _device: &D,
        _model: &Model<D>,
        _thorough: bool,
        _interrupt: &Interrupt,
    ) -> Result<Validation> {
        Ok(Validation::default())
    }
}

/// A trainer whose parameters hold no particular numbers.
fn trainer<'a, D: Device>(
    device: &'a D,
    (model, train): (&ModelConfig, &TrainConfig),
    task: &'a mut Blank,
) -> Trainer<'a, D> {
    let config = RunConfig { task: serde_json::Value::Null, model: model.clone(), train: train.clone() };
    let model = Model::blank(device, model.clone()).unwrap();
    let optimiser = Optimiser::new(device, config.train.optimiser(), &model.params).unwrap();
    Trainer::resume(device, Checkpoint { config, state: RunState::default(), model, optimiser }, task).unwrap()
}

/// 12 blocks of width 512, 8 memories of 64 × 64: 49 million parameters of LMM, 71 million of MAC.
fn twelve(kind: Kind) -> ModelConfig {
    let mut model = ModelConfig {
        vocabulary: 8192,
        width: 512,
        blocks: 12,
        heads: 8,
        head_width: 64,
        feed_forward: 1536,
        block: Kinds::All(kind),
        ..ModelConfig::default()
    };
    model.attention.segment = 64;
    model
}

/// What is counted of a step.
pub(crate) struct Found {
    pub(crate) step: DriverCounts,
    parameters: usize,
    /// Bytes in buffers at the peak, and those of the plan.
    held: usize,
    planned: usize,
    /// Bytes that the forward keeps for the backward, by the plan.
    kept: usize,
}

/// The third of three steps.
pub(crate) fn counted(model: &ModelConfig, train: &TrainConfig, [batch, time]: [usize; 2]) -> Found {
    let machine = Arc::new(Counting::default());
    let device = Cuda::with_driver(machine.clone());
    let mut task = Blank { batch, time };
    let mut found = trainer(&device, (model, train), &mut task);
    found.step(0.0).unwrap();
    for step in 2..=3 {
        machine.restart();
        found.step(0.0).unwrap();
        let counts = machine.counts();
        assert_eq!((counts.allocations, counts.frees), (0, 0), "step {step}");
        // Ids with their groups, for the embedding's gradient, and targets, of which nobody asks for groups: 3 words an
        // id and one more, a word a target.
        let (parts, bytes) = (train.accumulate, 4 * (4 * batch * time + 1) as u64);
        assert_eq!((counts.uploads, counts.uploaded), (2 * parts, bytes * parts), "step {step}");
    }
    let usage = device.pool_usage();
    assert!(usage.held_bytes - usage.live_bytes <= usage.peak_bytes * 3 / 2, "{usage:?}");
    let (parameters, plan) = (found.model().params.count(), Plan::cuda());
    let mut task = Blank { batch, time };
    let mut planned = trainer(&plan, (model, train), &mut task);
    let standing: usize = plan.live().iter().sum();
    planned.step(0.0).unwrap();
    Found {
        step: machine.counts(),
        parameters,
        held: usage.peak_bytes,
        planned: plan.peak(),
        kept: plan.kept().iter().sum::<usize>() - standing,
    }
}

/// The third of three steps of a device that records the second.
pub(crate) fn replayed(model: &ModelConfig, [batch, time]: [usize; 2]) -> DriverCounts {
    let machine = Arc::new(Counting::default());
    let device = Cuda::with_driver(machine.clone()).with_graph(true);
    let (mut task, train) = (Blank { batch, time }, TrainConfig::default());
    let mut trainer = trainer(&device, (model, &train), &mut task);
    for _ in 0..2 {
        trainer.step(0.0).unwrap();
    }
    machine.restart();
    trainer.step(0.0).unwrap();
    machine.counts()
}

/// Counts a step of a model and compares it with its budgets: launches, and the bytes moved over those that
/// must be.
fn check(name: &str, model: &ModelConfig, shape: [usize; 2], launches: u64, ratio: f64) {
    let found = counted(model, &TrainConfig::default(), shape);
    // Parameters: read forward and backward, gradients written and read for their norm, 28 bytes each for AdamW.
    // What is kept: written and read, and so are its cotangents.
    let must = (44 * found.parameters + 4 * found.kept) as f64;
    let (enqueued, moved) = (found.step.launches(), found.step.moved as f64 / must);
    println!(
        "{name}: {} parameters, {shape:?} tokens, {enqueued} launches ({} products), {:.2} GB moved, {:.2} GB must be: {moved:.2}; \
         peak {} bytes, kept {}",
        found.parameters,
        found.step.products,
        found.step.moved as f64 / 1e9,
        must / 1e9,
        found.held,
        found.kept,
    );
    let mut kernels: Vec<_> = found.step.kernels.iter().map(|(kernel, launches)| (*launches, *kernel)).collect();
    kernels.sort_unstable_by(|a, b| b.cmp(a));
    println!("most launches: {:?}", kernels.iter().take(12).collect::<Vec<_>>());
    assert_eq!(found.held, found.planned, "{name}: the plan is to the byte");
    assert!(enqueued <= launches, "{name}: {enqueued} launches, the budget is {launches}");
    assert!(moved <= ratio, "{name}: {moved:.3} times the bytes that must move, the budget is {ratio}");
}

#[test]
fn a_step_of_the_default_text_model_keeps_its_budget() {
    check("text", &ModelConfig::default(), [16, 256], 344, 1.8);
}

#[test]
fn a_step_of_fifty_million_parameters_keeps_its_budget() {
    check("lmm", &twelve(Kind::Lmm), [8, 512], 999, 1.67);
}

#[test]
fn a_step_of_twelve_blocks_with_segments_keeps_its_budget() {
    check("mac", &twelve(Kind::Mac), [8, 512], 3_528, 1.9);
}

/// As many parameters as the LMM above has: 8 blocks.
#[test]
fn a_step_of_fifty_million_parameters_with_segments_keeps_its_budget() {
    check("mac of eight", &ModelConfig { blocks: 8, ..twelve(Kind::Mac) }, [8, 512], 2_357, 1.87);
}

/// The host uploads ids, targets and the step's numbers in one copy, launches once, and reads the loss with the norm.
#[test]
fn a_replayed_step_is_one_launch() {
    for kind in [Kind::Lmm, Kind::Mac] {
        let step = replayed(&twelve(kind), [8, 512]);
        assert_eq!((step.launches(), step.replays), (1, 1), "{kind:?}");
        assert_eq!((step.allocations, step.frees, step.uploads, step.downloads), (0, 0, 1, 1), "{kind:?}");
        // Three words an id and one more, a word a target; behind the step's own numbers.
        let words = 4 * (4 * 8 * 512 + 1);
        assert!(step.uploaded > words && step.uploaded < words + 4096, "{kind:?}: {} bytes", step.uploaded);
    }
}

/// Losses and norms stay on the device until somebody asks for them, those of sixteen steps at most.
#[test]
fn losses_of_several_steps_are_read_at_once() {
    let machine = Arc::new(Counting::default());
    let device = Cuda::with_driver(machine.clone()).with_graph(true);
    let (mut task, train) = (Blank { batch: 2, time: 64 }, TrainConfig::default());
    let mut trainer = trainer(&device, (&ModelConfig::default(), &train), &mut task);
    for _ in 0..2 {
        trainer.step(0.0).unwrap();
    }
    for (steps, reads) in [(1, 1), (16, 1), (17, 2), (40, 3)] {
        machine.restart();
        (0..steps).for_each(|_| trainer.begin_step(0.0).unwrap());
        let (reports, done) = trainer.finish_steps();
        done.unwrap();
        let counts = machine.counts();
        assert_eq!((reports.len() as u64, counts.replays, counts.uploads), (steps, steps, steps));
        assert_eq!((counts.launches(), counts.downloads), (steps, reads), "{steps} steps");
    }
    assert_eq!((trainer.state().step, trainer.unread()), (2 + 1 + 16 + 17 + 40, 0));
}

/// Options of the memory, of attention and of training.
#[test]
fn plans_are_to_the_byte() {
    let small = |kind| ModelConfig { blocks: 2, ..twelve(kind) };
    let mut deep = small(Kind::Mag);
    (deep.memory.layers, deep.memory.hidden, deep.memory.chunk, deep.memory.compute_chunk) = (2, 96, 4, 0);
    let mut clipped = small(Kind::Mal);
    clipped.memory.clip = Some(1.0);
    for (model, train) in [
        (&deep, TrainConfig { boundaries: Boundaries::Sqrt, ..TrainConfig::default() }),
        (&clipped, TrainConfig { recompute: true, ..TrainConfig::default() }),
        (&small(Kind::Attention), TrainConfig { accumulate: 2, dropout: 0.1, ..TrainConfig::default() }),
    ] {
        let Found { held, planned, .. } = counted(model, &train, [2, 100]);
        assert_eq!(held, planned, "{:?}", model.block);
    }
    let kept = |boundaries| counted(&deep, &TrainConfig { boundaries, ..TrainConfig::default() }, [2, 100]).kept;
    assert!(kept(Boundaries::Sqrt) < kept(Boundaries::All));
}

/// What the command prints is what a step then takes.
#[test]
fn inspect_plans_the_device_s_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let task = TextConfig { context: 100, sequences: 3, ..TextConfig::default() };
    let model = ModelConfig { vocabulary: 256, blocks: 2, ..ModelConfig::default() };
    let config = TaskConfig::Text(task.clone()).run(model, TrainConfig::default()).unwrap();
    config.write(&path).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_titans"));
        command.args(["inspect", "--memory"]).arg(&path).args(args).output().unwrap()
    };
    let out = run(&["--device", "cuda", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let found = counted(&config.model, &config.train, [3, 100]);
    assert_eq!((&plan["device"], &plan["threads"]), (&"cuda".into(), &0.into()));
    assert_eq!(
        (plan["peak"].as_u64(), plan["kept"]["total"].as_u64()),
        (Some(found.held as u64), Some(found.kept as u64))
    );
    let words = 4 * found.parameters as u64;
    for (part, bytes) in [("parameters", words), ("gradients", words), ("moments", 2 * words)] {
        assert_eq!(plan[part].as_u64(), Some(bytes), "{part}");
    }
    let text = run(&["--device", "cuda"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("on a CUDA device"));
    let refused = run(&["--device", "cuda", "--threads", "2"]);
    assert!(refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).contains("--threads"));
}
