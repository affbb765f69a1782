//! Losses that stay on the device, and are read together: the same reports, and the same runs.

use super::{Drawn, bits, config, course, graph, machine, model, plain, training};
use std::path::Path;
use titans_host::device::Device;
use titans_host::device::cuda::Cuda;
use titans_host::device::cuda::emulator::Emulator;
use titans_host::model::{Kind, Model, ModelConfig};
use titans_host::train::metrics::{self, Record};
use titans_host::train::progress::{Silent, Status};
use titans_host::train::{
    Batch, Interrupt, Outcome, Progress, Task, TrainConfig, Trainer, Validation, checkpoint, train,
};
use titans_host::{Error, Result};

/// The last row of the vocabulary, which a model may have no numbers of.
const POISON: u32 = 1999;

/// The same of one shape, and a step that reads what is poison.
struct Poisoned {
    bad: u64,
}

impl<D: Device> Task<D> for Poisoned {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        Task::<D>::batch(&Drawn { shapes: vec![[2, 9]] }, step, part, batch)?;
        if step == self.bad {
            batch.ids[4] = POISON;
        }
        Ok(())
    }

    fn validate_until(&self, _: &D, _: &Model<D>, _: bool, _: &Interrupt) -> Result<Validation> {
        Ok(Validation { loss: 1.0, ..Validation::default() })
    }
}

/// A run whose model has no numbers in the last row of its table.
fn poisoned<'a>(
    device: &'a Cuda<Emulator>,
    run: (&ModelConfig, &TrainConfig),
    task: &'a mut Poisoned,
) -> Trainer<'a, Cuda<Emulator>> {
    let (model, train) = run;
    // A tied head would say what is poison of every token.
    let model = ModelConfig { tied: false, ..model.clone() };
    let mut start = Trainer::start(device, config((&model, train)), &*task).unwrap();
    let table = start.model.params.iter().position(|p| p.name == "embedding.weight").unwrap();
    let table = &mut start.model.params.values_mut()[table];
    let mut numbers = device.download(table).unwrap();
    let width = numbers.len() / (POISON as usize + 1);
    numbers[width * POISON as usize..].fill(f32::NAN);
    device.write(&numbers, table).unwrap();
    Trainer::resume(device, start, task).unwrap()
}

/// Losses that are read together are those of steps one by one, however many are begun.
#[test]
fn losses_that_are_read_together_are_those_of_each_step() {
    let machine = machine();
    let run = (&model(Kind::Lmm), &training());
    let (losses, values) = course(&plain(&machine), run, (&[[2, 9]], 40), |_| {}).unwrap();
    let device = graph(&machine);
    let mut task = Drawn { shapes: vec![[2, 9]] };
    let mut trainer = Trainer::new(&device, config(run), &mut task).unwrap();
    let mut found = Vec::new();
    for steps in [1, 2, 20, 17] {
        (0..steps).for_each(|_| trainer.begin_step(0.0).unwrap());
        let (reports, done) = trainer.finish_steps();
        done.unwrap();
        assert_eq!((reports.len(), trainer.unread()), (steps, 0));
        found.extend(reports.iter().map(|report| [report.loss.to_bits(), report.gradient_norm.to_bits()]));
    }
    assert_eq!((found, bits(&device, &trainer)), (losses, values));
    assert_eq!(machine.replays(), 39);
}

/// A step that goes wrong by what it reads, which those behind it do not: they change nothing all the same.
#[test]
fn no_step_behind_one_that_goes_wrong_changes_anything() {
    let machine = machine();
    let run = (&model(Kind::Lmm), &training());
    for bad in [0, 1, 3, 16, 18] {
        let (usual, device) = (plain(&machine), graph(&machine));
        let (mut one, mut other) = (Poisoned { bad }, Poisoned { bad });
        let mut usual_trainer = poisoned(&usual, run, &mut one);
        (0..bad).for_each(|_| assert!(usual_trainer.step(1.0).is_ok()));
        let expected = usual_trainer.step(1.0).unwrap_err().to_string();
        let mut trainer = poisoned(&device, run, &mut other);
        let done = (0..20).try_for_each(|_| trainer.begin_step(1.0));
        assert_eq!(done.is_ok(), bad > 15, "the first sixteen are read before the next one begins");
        let (reports, finished) = trainer.finish_steps();
        assert_eq!(reports.len() as u64, bad);
        assert_eq!(done.and(finished).unwrap_err().to_string(), expected);
        assert_eq!(trainer.state(), usual_trainer.state());
        assert_eq!(bits(&device, &trainer), bits(&usual, &usual_trainer), "step {bad}");
        // Nor is anything of it kept.
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept.safetensors");
        (0..3).for_each(|_| trainer.begin_step(1.0).unwrap());
        let error = trainer.save(&kept, 1.0).unwrap_err();
        assert!(!kept.exists() && trainer.state().step == bad);
        assert_eq!(error.to_string(), expected);
    }
}

/// A run in its folder: the lines of its metrics but for their seconds, and its parameters.
fn in_folder(trainer: &mut Trainer<'_, Cuda<Emulator>>, folder: &Path) -> (Result<Outcome>, Vec<Record>) {
    let outcome = train(trainer, folder, &Interrupt::new(), &mut Silent);
    (outcome, lines(folder))
}

fn lines(folder: &Path) -> Vec<Record> {
    let records = metrics::read(&folder.join("metrics.jsonl"), u64::MAX).unwrap();
    assert!(records.is_sorted_by_key(|record| record.seconds));
    records.into_iter().map(|record| Record { seconds: 0.0, ..record }).collect()
}

/// Raises an interrupt when a run has told of so many steps.
struct StopAt(u64, Interrupt);

impl Progress for StopAt {
    fn step(&mut self, status: &Status) {
        if status.step >= self.0 {
            self.1.raise();
        }
    }
}

/// What a run writes is what it writes without: its lines, its checkpoints, and where it is stopped and goes on.
#[test]
fn a_run_whose_losses_wait_writes_what_others_write() {
    let machine = machine();
    let train_config = TrainConfig { validate_every: 7, steps: 30, ..training() };
    let run = (&model(Kind::Lmm), &train_config);
    let (usual, device, folders) = (plain(&machine), graph(&machine), tempfile::tempdir().unwrap());
    let folder = |name: &str| {
        let folder = folders.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let shapes = || Drawn { shapes: vec![[2, 9]] };
    let (mut task, at) = (shapes(), folder("usual"));
    let mut trainer = Trainer::new(&usual, config(run), &mut task).unwrap();
    let (outcome, expected) = in_folder(&mut trainer, &at);
    let (outcome, parameters) = (outcome.unwrap(), bits(&usual, &trainer));
    assert_eq!((outcome.step, expected.iter().filter(|line| line.loss.is_some()).count()), (30, 30));

    let (mut task, at) = (shapes(), folder("graph"));
    let mut trainer = Trainer::new(&device, config(run), &mut task).unwrap();
    assert_eq!(in_folder(&mut trainer, &at).1, expected);
    assert_eq!((bits(&device, &trainer), trainer.unread()), (parameters.clone(), 0));

    let (mut task, at) = (shapes(), folder("stopped"));
    let mut trainer = Trainer::new(&device, config(run), &mut task).unwrap();
    let interrupt = Interrupt::new();
    let stopped = train(&mut trainer, &at, &interrupt, &mut StopAt(10, interrupt.clone())).unwrap();
    assert!(stopped.interrupted && (10..30).contains(&stopped.step), "{stopped:?}");
    assert_eq!(lines(&at).iter().rev().find_map(|line| line.loss.map(|_| line.step)), Some(stopped.step));
    let (mut task, kept) = (shapes(), checkpoint::load(&device, &at).unwrap());
    assert_eq!(kept.state.step, stopped.step);
    let mut trainer = Trainer::resume(&device, kept, &mut task).unwrap();
    assert_eq!(in_folder(&mut trainer, &at).1, expected);
    assert_eq!(bits(&device, &trainer), parameters);
}

/// A loss that is not finite ends a run at its step, with the lines before it and the checkpoint of before.
#[test]
fn a_loss_that_is_not_finite_ends_a_run_before_a_checkpoint() {
    let machine = machine();
    let far = TrainConfig { learning_rate: 1e38, warm_up: 0, validate_every: 2, steps: 9, ..training() };
    let run = (&model(Kind::Lmm), &far);
    let (usual, device, folders) = (plain(&machine), graph(&machine), tempfile::tempdir().unwrap());
    let mut found = Vec::new();
    for (name, device) in [("usual", &usual), ("graph", &device)] {
        let (at, mut task) = (folders.path().join(name), Drawn { shapes: vec![[2, 9]] });
        std::fs::create_dir(&at).unwrap();
        let mut trainer = Trainer::new(device, config(run), &mut task).unwrap();
        let (outcome, lines) = in_folder(&mut trainer, &at);
        let Err(Error::NotFinite { what, step, kept }) = outcome else { panic!("{name}: {outcome:?}") };
        let saved = checkpoint::load_config(&at).unwrap().1.step;
        assert!(step > 0 && saved <= step, "{name}: {step}, {saved}");
        assert!(kept.ends_with(&format!("latest.safetensors holds step {saved}")), "{kept}");
        assert_eq!(lines.iter().filter(|line| line.loss.is_some()).count() as u64, step);
        found.push((what, step, saved, lines));
    }
    assert_eq!(found[0], found[1]);
}
