//! The best checkpoint of a run: chosen by validations that compare, kept beside the latest, and told of when it is
//! past.

use super::support::{Device, device, recall, recall_run, steps, trainer, write_text};
use std::cell::Cell;
use std::path::Path;
use titans_host::Result;
use titans_host::model::Model;
use titans_host::task::recall::Recall;
use titans_host::train::which::{Which, find};
use titans_host::train::{Batch, Best, Interrupt, Progress, Task, TrainConfig, Trainer, Validation};
use titans_host::train::{checkpoint, create, train};

/// Recall, whose validations find what is written here.
struct Scripted {
    task: Recall,
    cheap: &'static [f64],
    thorough: f64,
    next: Cell<usize>,
}

impl Scripted {
    fn new(cheap: &'static [f64], thorough: f64) -> Self {
        Self { task: recall(0), cheap, thorough, next: Cell::new(0) }
    }
}

impl Task<Device> for Scripted {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        Task::<Device>::batch(&self.task, step, part, batch)
    }

    fn validate_until(
        &self,
        _device: &Device,
        _model: &Model<Device>,
        thorough: bool,
        _interrupt: &Interrupt,
    ) -> Result<Validation> {
        let loss = if thorough { self.thorough } else { self.cheap[self.next.replace(self.next.get() + 1)] };
        Ok(Validation { loss, accuracy: None, tokens: 1 })
    }
}

/// Keeps what it is told, and may raise the interrupt.
#[derive(Default)]
struct Listener {
    interrupt: Interrupt,
    after: u64,
    messages: Vec<String>,
}

impl Progress for Listener {
    fn step(&mut self, status: &titans_host::train::progress::Status) {
        if status.step == self.after {
            self.interrupt.raise();
        }
    }

    fn message(&mut self, text: &str) {
        self.messages.push(text.into());
    }
}

impl Listener {
    fn turns(&self) -> Vec<&String> {
        self.messages.iter().filter(|text| text.contains("validation was best")).collect()
    }
}

/// The steps of the checkpoint that a run stands for, and of its latest.
fn stands_for(run: &Path) -> (u64, u64) {
    let step = |asked: Option<&Which>| checkpoint::load_config(&find(run, asked).unwrap().path).unwrap().1.step;
    assert_eq!(step(Some(&Which::Best)), step(None));
    (step(None), step(Some(&Which::Latest)))
}

fn config() -> titans_host::train::RunConfig {
    recall_run(TrainConfig { validate_every: 2, ..steps(12) })
}

#[test]
fn the_best_checkpoint_stays_while_training_goes_on_and_the_turn_is_told_once() {
    let (device, place) = (device(), tempfile::tempdir().unwrap());
    let run = place.path().join("run");
    create(&run, &config()).unwrap();
    // The thorough validation is of other data: that it finds less says nothing.
    let mut task = Scripted::new(&[3.0, 2.0, 2.5, 2.25, 2.125, 2.0625], 1.0);
    let mut trainer = trainer(&device, &config(), &mut task);
    let mut listener = Listener::default();
    let outcome = train(&mut trainer, &run, &Interrupt::new(), &mut listener).unwrap();
    assert_eq!(outcome.best, Some(Best { step: 4, loss: 2.0 }));
    assert_eq!(outcome.validation.unwrap().loss, 1.0);
    assert_eq!(stands_for(&run), (4, 12));
    let turns = listener.turns();
    assert_eq!(turns.len(), 1, "{:?}", listener.messages);
    assert!(turns[0].contains("at step 4 (2.0000 nats, now 2.1250)") && turns[0].contains("dropout"), "{turns:?}");
    let at = |what: &str| listener.messages.iter().position(|text| text.contains(what)).unwrap();
    assert!(at("validation at step 10") < at("validation was best") && at("validation was best") < at("at step 12"));
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("\"validation_loss\"").count(), 6);
    assert_eq!(metrics.matches("\"thorough_validation_loss\":1.0").count(), 1);
}

#[test]
fn a_run_that_is_resumed_remembers_its_best_checkpoint() {
    let (device, place) = (device(), tempfile::tempdir().unwrap());
    let run = place.path().join("run");
    create(&run, &config()).unwrap();
    let mut task = Scripted::new(&[3.0, 2.0, 2.5], 1.0);
    let mut trainer = trainer(&device, &config(), &mut task);
    let mut listener = Listener { after: 7, ..Listener::default() };
    let outcome = train(&mut trainer, &run, &listener.interrupt.clone(), &mut listener).unwrap();
    assert_eq!(outcome.best, Some(Best { step: 4, loss: 2.0 }));
    assert!(listener.turns().is_empty());
    assert_eq!(stands_for(&run), (4, 7));
    let mut task = Scripted::new(&[2.25, 2.125, 1.5], 1.0);
    let latest = checkpoint::load(&device, &run).unwrap();
    assert_eq!(latest.state.step, 7, "it goes on from the latest");
    let mut trainer = Trainer::resume(&device, latest, &mut task).unwrap();
    let mut listener = Listener::default();
    let outcome = train(&mut trainer, &run, &Interrupt::new(), &mut listener).unwrap();
    assert_eq!(listener.turns().len(), 1, "the third of both parts: {:?}", listener.messages);
    assert_eq!(outcome.best, Some(Best { step: 12, loss: 1.5 }));
    assert_eq!(stands_for(&run), (12, 12));
}

#[test]
fn where_the_end_alone_is_validated_all_of_it_chooses() {
    let (device, place) = (device(), tempfile::tempdir().unwrap());
    let (run, config) = (place.path().join("run"), recall_run(steps(3)));
    create(&run, &config).unwrap();
    let mut task = Scripted::new(&[], 1.0);
    let mut trainer = trainer(&device, &config, &mut task);
    let mut listener = Listener::default();
    let outcome = train(&mut trainer, &run, &Interrupt::new(), &mut listener).unwrap();
    assert_eq!(outcome.best, Some(Best { step: 3, loss: 1.0 }));
    assert_eq!(listener.messages.len(), 1, "{:?}", listener.messages);
    assert_eq!(stands_for(&run), (3, 3));
}

#[test]
fn a_folder_with_any_checkpoint_is_a_run() {
    let place = tempfile::tempdir().unwrap();
    write_text(&place.path().join("best.safetensors"));
    let error = create(place.path(), &config()).unwrap_err().to_string();
    assert!(error.contains("holds a run already"), "{error}");
}

/// Checkpoints of before say the lowest loss and not its step.
#[test]
fn a_state_without_the_step_of_the_best_is_read() {
    let text = r#"{"step":3,"seconds":1.0,"tokens":9,"best":2.5,"task":null}"#;
    let state: checkpoint::RunState = serde_json::from_str(text).unwrap();
    assert_eq!((state.best, state.best_step), (Some(2.5), None));
}
