//! Runs in their folders: what they leave, how they stop, what an error keeps.

use super::support::{Device, bits, device, model, recall, recall_run, steps, text_run, trainer, write_text};
use std::path::Path;
use titans_host::model::Model;
use titans_host::task;
use titans_host::task::Task;
use titans_host::train::metrics::Record;
use titans_host::train::progress::{Progress, Silent, Status};
use titans_host::train::task::{Batch, Validation};
use titans_host::train::{Interrupt, RunConfig, TrainConfig, Trainer, checkpoint, create, train};
use titans_host::{Error, Result};

fn records(folder: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Raises the interrupt after a number of steps, and keeps what it is told.
#[derive(Default)]
struct Stopper {
    interrupt: Interrupt,
    after: u64,
    messages: Vec<String>,
    finished: bool,
}

impl Progress for Stopper {
    fn step(&mut self, status: &Status) {
        assert!(status.loss.is_finite() && (0.0..=1.0).contains(&status.done));
        if status.step == self.after {
            self.interrupt.raise();
        }
    }

    fn message(&mut self, text: &str) {
        self.messages.push(text.into());
    }

    fn finish(&mut self) {
        self.finished = true;
    }
}

#[test]
fn an_interrupted_run_continues_to_the_same_end() {
    let device = device();
    let config = recall_run(TrainConfig { validate_every: 4, ..steps(12) });
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("deep/er/two"));

    create(&one, &config).unwrap();
    let mut task = recall(0);
    let mut whole = trainer(&device, &config, &mut task);
    let outcome = train(&mut whole, &one, &Interrupt::new(), &mut Silent).unwrap();
    assert_eq!((outcome.step, outcome.interrupted), (12, false));

    create(&two, &config).unwrap();
    let mut stopper = Stopper { after: 7, ..Stopper::default() };
    let mut task = recall(0);
    let mut part = trainer(&device, &config, &mut task);
    let stop = train(&mut part, &two, &stopper.interrupt.clone(), &mut stopper).unwrap();
    assert_eq!((stop.step, stop.interrupted, stop.validation), (7, true, None));
    assert_eq!(stop.saved, two.join("latest.safetensors"));
    assert!(stopper.finished && stopper.messages.len() == 1, "one validation: {:?}", stopper.messages);

    let checkpoint = checkpoint::load(&device, &two).unwrap();
    let mut task = recall(0);
    let mut part = Trainer::resume(&device, checkpoint, &mut task).unwrap();
    let end = train(&mut part, &two, &Interrupt::new(), &mut Silent).unwrap();
    assert_eq!(end.validation, outcome.validation);
    assert_eq!(bits(&part, &device), bits(&whole, &device));
    let same = |r: &Record| (r.step, r.loss.map(f64::to_bits), r.validation_loss.map(f64::to_bits), r.task.clone());
    let (a, b) = (records(&one), records(&two));
    assert_eq!(a.iter().map(same).collect::<Vec<_>>(), b.iter().map(same).collect::<Vec<_>>());
    assert_eq!(a.iter().filter(|r| r.loss.is_some()).count(), 12);
    assert_eq!(a.iter().filter(|r| r.validation_loss.is_some()).count(), 3, "at 4, at 8, at the end");
}

#[test]
fn a_text_run_leaves_everything_in_its_folder() {
    let device = device();
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("text.txt");
    write_text(&data);
    let config = text_run(&data, TrainConfig { validate_every: 5, ..steps(20) });
    let folder = place.path().join("run");
    create(&folder, &config).unwrap();
    assert_eq!(RunConfig::read(&folder.join("config.toml")).unwrap(), config);
    let mut task = task::open::<Device>(&config).unwrap();
    let mut trainer = Trainer::new(&device, config.clone(), task.as_mut()).unwrap();
    let outcome = train(&mut trainer, &folder, &Interrupt::new(), &mut Silent).unwrap();
    let validation = outcome.validation.unwrap();
    assert_eq!(validation.tokens, 379, "every byte of the last tenth but the first");
    let losses: Vec<f64> = records(&folder).iter().filter_map(|r| r.loss).collect();
    assert!(losses[19] < losses[0] - 0.3 && validation.loss < losses[0], "it learns: {losses:?}");
    for file in ["metrics.jsonl", "loss.svg", "latest.safetensors", "best.safetensors"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let (kept, state) = checkpoint::load_config(&folder).unwrap();
    assert_eq!((kept, state.step, state.tokens), (config.clone(), 20, 20 * 4 * 32));
    assert_eq!(outcome.best.map(|best| (Some(best.step), Some(best.loss))), Some((state.best_step, state.best)));
    let error = create(&folder, &config).unwrap_err().to_string();
    assert!(error.contains("holds a run already"), "{error}");
}

#[test]
fn files_that_no_run_wrote_are_not_written_over() {
    let config = recall_run(steps(1));
    for (name, text) in [("config.toml", "[server]\nport = 80\n"), ("metrics.jsonl", "{}\n"), ("loss.svg", "<svg/>")] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let error = create(folder.path(), &config).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("another folder"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    // What an earlier try has left is.
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), &config).unwrap();
    std::fs::write(folder.path().join("metrics.jsonl"), "{}\n").unwrap();
    create(folder.path(), &config).unwrap();
}

#[test]
fn minutes_end_a_run_and_its_learning_rate() {
    let device = device();
    let config = recall_run(TrainConfig { minutes: Some(0.01), ..steps(1) });
    let folder = tempfile::tempdir().unwrap();
    let mut task = recall(0);
    let mut trainer = trainer(&device, &config, &mut task);
    let outcome = train(&mut trainer, folder.path(), &Interrupt::new(), &mut Silent).unwrap();
    assert!(outcome.seconds >= 0.6 && !outcome.interrupted);
    let rates: Vec<f64> = records(folder.path()).iter().filter_map(|r| r.learning_rate).collect();
    assert_eq!(rates.len() as u64, outcome.step);
    assert!(rates.iter().all(|&r| r > 0.0 && r <= 3e-3));
}

#[test]
fn a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint() {
    let device = device();
    let config = recall_run(TrainConfig { learning_rate: 1e30, warm_up: 0, ..steps(50) });
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), &config).unwrap();
    let mut task = recall(0);
    let mut trainer = trainer(&device, &config, &mut task);
    let error = train(&mut trainer, folder.path(), &Interrupt::new(), &mut Silent).unwrap_err();
    let Error::NotFinite { step, kept, .. } = &error else { panic!("{error}") };
    assert!(*step >= 1, "{error}");
    assert!(kept.contains("latest.safetensors holds step 0"), "{error}");
    assert_eq!(checkpoint::load(&device, folder.path()).unwrap().state.step, 0);
    assert!(folder.path().join("loss.svg").is_file());
}

/// A task whose batches end at a step.
struct Ending(Batch, u64);

impl Task<Device> for Ending {
    fn batch(&self, step: u64, _part: u64, batch: &mut Batch) -> Result<()> {
        if step >= self.1 {
            return Err(Error::usage("the batches are at their end"));
        }
        batch.clone_from(&self.0);
        Ok(())
    }

    fn validate_until(
        &self,
        _device: &Device,
        _model: &Model<Device>,
        _thorough: bool,
        _interrupt: &Interrupt,
    ) -> Result<Validation> {
        Ok(Validation::default())
    }
}

#[test]
fn an_error_of_another_kind_keeps_the_steps_before_it_in_new_runs_and_resumed_ones() {
    let device = device();
    let batch = Batch { ids: vec![1, 2, 3], targets: vec![2, 3, 1], batch: 1, time: 3, ..Batch::default() };
    let train_config = TrainConfig { validate_every: 0, ..steps(50) };
    let config = RunConfig { task: serde_json::Value::Null, model: model(11), train: train_config };
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for end in [7, 12] {
        let mut task = Ending(batch.clone(), end);
        let mut trainer = match last {
            0 => trainer(&device, &config, &mut task),
            _ => Trainer::resume(&device, checkpoint::load(&device, folder.path()).unwrap(), &mut task).unwrap(),
        };
        assert_eq!(trainer.state().step, last);
        let error = train(&mut trainer, folder.path(), &Interrupt::new(), &mut Silent).unwrap_err().to_string();
        assert!(error.contains("at their end"), "{error}");
        last = checkpoint::load(&device, folder.path()).unwrap().state.step;
        assert_eq!((last, trainer.state().step), (end, end));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named_before_the_work() {
    let device = device();
    let config = recall_run(steps(5));
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("a_file");
    std::fs::write(&file, b"kept").unwrap();
    let error = create(&file.join("run"), &config).unwrap_err().to_string();
    assert!(error.contains("a_file"), "{error}");
    let mut task = recall(0);
    let mut trainer = trainer(&device, &config, &mut task);
    let error = train(&mut trainer, &file.join("run"), &Interrupt::new(), &mut Silent).unwrap_err().to_string();
    assert!(error.contains("a_file"), "{error}");
    assert_eq!(trainer.state().step, 0);
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}

#[test]
fn a_configuration_that_cannot_be_used_is_named() {
    let good = steps(5);
    let bad: [(&str, TrainConfig); 6] = [
        ("learning_rate", TrainConfig { learning_rate: f64::NAN, ..good.clone() }),
        ("beta2", TrainConfig { beta2: 1.0, ..good.clone() }),
        ("clip", TrainConfig { clip: -1.0, ..good.clone() }),
        ("accumulate", TrainConfig { accumulate: 0, ..good.clone() }),
        ("minutes", TrainConfig { minutes: Some(0.0), ..good.clone() }),
        ("steps", TrainConfig { steps: 0, ..good }),
    ];
    for (name, train) in bad {
        let error = recall_run(train).validate().unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let mut config = recall_run(steps(5));
    config.model.vocabulary = 17;
    let error = task::open::<Device>(&config).err().unwrap().to_string();
    assert!(error.contains("16 symbols, found 17"), "{error}");
    config.task["pears"] = 3.into();
    assert!(task::open::<Device>(&config).err().unwrap().to_string().contains("pears"));
    let mut config = recall_run(steps(5));
    config.task["pairs"] = 9.into();
    assert!(task::open::<Device>(&config).err().unwrap().to_string().contains("1 to 8"));
}
