//! Single steps: seeds, accumulation, learning at all.

use super::support::{Device, bits, device, model, recall, recall_config, recall_run, steps, trainer};
use titans_host::Result;
use titans_host::device::IGNORE;
use titans_host::device::cpu::Cpu;
use titans_host::model::Model;
use titans_host::task::recall::{Recall, RecallConfig};
use titans_host::train::{Batch, Interrupt, RunConfig, Task, TrainConfig, Trainer, Validation};

/// Losses and final parameters of `n` steps of the recall task.
fn run(seed: u64, threads: usize, n: u64) -> (Vec<u64>, Vec<u32>) {
    let device = Cpu::new(Some(threads)).unwrap();
    let mut task = recall(seed);
    let config = recall_run(TrainConfig { seed, ..steps(n) });
    let mut trainer = trainer(&device, &config, &mut task);
    let losses = (0..n).map(|_| trainer.step(0.0).unwrap().loss.to_bits()).collect();
    (losses, bits(&trainer, &device))
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let one = run(5, 2, 8);
    assert_eq!(one, run(5, 2, 8));
    assert_eq!(one, run(5, 1, 8));
    assert_eq!(one, run(5, 3, 8));
    assert_ne!(one.0, run(6, 2, 8).0);
}

/// Always the same batch.
pub struct Fixed(pub Batch);

impl<D: titans_host::device::Device> Task<D> for Fixed {
    fn batch(&self, _step: u64, _part: u64, batch: &mut Batch) -> Result<()> {
        batch.clone_from(&self.0);
        Ok(())
    }

    fn wants_accuracy(&self) -> bool {
        true
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

#[test]
fn one_tiny_batch_is_learned_by_heart() {
    let device = device();
    let ids: Vec<u32> = (0..24).map(|i| (i * i + i / 3) % 11).collect();
    let targets: Vec<u32> = (0..24).map(|i| if i % 5 == 0 { IGNORE } else { (i * 7 + 3) % 11 }).collect();
    let mut task = Fixed(Batch { ids, targets, batch: 2, time: 12, ..Batch::default() });
    let config =
        RunConfig { task: serde_json::Value::Null, model: model(11), train: TrainConfig { steps: 300, ..steps(1) } };
    let mut trainer = trainer(&device, &config, &mut task);
    let first = trainer.step(0.0).unwrap();
    assert!((first.loss - f64::ln(11.0)).abs() < 1.0, "an untrained model guesses: {}", first.loss);
    let last = (1..300).map(|_| trainer.step(0.0).unwrap()).last().unwrap();
    assert!(last.loss < 0.05, "loss {}", last.loss);
    assert_eq!(last.accuracy, Some(1.0));
}

#[test]
fn two_parts_are_one_batch_of_twice_the_size() {
    // f64, so that the only difference is the order of the sums.
    let device = Cpu::<f64>::new(Some(2)).unwrap();
    let run = |tokens: usize, accumulate: u64| {
        let config = RecallConfig { tokens, ..recall_config() };
        // A curriculum of one size, so that the number of sequences of a batch is exactly twice as large.
        let mut config = RecallConfig { length: 32, ..config };
        config.curriculum.first_length = 32;
        config.lengths = vec![32];
        let mut task = Sized(Recall::new(config, 1).unwrap());
        let run = recall_run(TrainConfig { accumulate, ..steps(6) });
        let mut trainer = Trainer::new(&device, run, &mut task).unwrap();
        let reports: Vec<_> = (0..6).map(|_| trainer.step(0.0).unwrap()).collect();
        let params = &trainer.model().params;
        let values: Vec<f64> = params.iter().flat_map(|p| params.download_f64(&device, p.id).unwrap()).collect();
        (reports, values)
    };
    let (parts, a) = run(128, 2);
    let (whole, b) = run(256, 1);
    for (p, w) in parts.iter().zip(&whole) {
        assert_eq!((p.tokens, p.accuracy), (w.tokens, w.accuracy));
        assert!((p.loss - w.loss).abs() < 1e-9, "{} {}", p.loss, w.loss);
    }
    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-7, "largest difference of a parameter {worst:e}");
}

/// The recall task with every sequence of one length.
struct Sized(Recall);

impl<D: titans_host::device::Device> Task<D> for Sized {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        // The step's sizes are drawn; go on to a step that draws the longest ones.
        for i in 0..1000 {
            Task::<D>::batch(&self.0, 1000 * step + i, part, batch)?;
            if batch.time == 32 {
                return Ok(());
            }
        }
        Task::<D>::batch(&self.0, step, part, batch)
    }

    fn wants_accuracy(&self) -> bool {
        true
    }

    fn validate_until(
        &self,
        device: &D,
        model: &Model<D>,
        thorough: bool,
        interrupt: &Interrupt,
    ) -> Result<Validation> {
        self.0.validate_until(device, model, thorough, interrupt)
    }
}

#[test]
fn recall_batches_fill_the_tokens_and_keep_to_the_vocabulary() {
    let task = recall(3);
    for step in 0..50 {
        let mut batch = Batch::default();
        Task::<Device>::batch(&task, step, 0, &mut batch).unwrap();
        batch.validate().unwrap();
        assert!(batch.ids.len() <= 128 && batch.ids.len() + batch.time > 128);
        assert!(batch.ids.iter().all(|&id| id < 16));
    }
}

#[test]
fn a_state_that_is_none_is_refused_and_changes_nothing() {
    let mut task = recall(0);
    let before = *task.curriculum();
    let states = [
        "null",
        "[]",
        r#"{"length":30.0}"#,
        r#"{"length":-1.0,"pairs":2.0,"accuracy":0.0,"since":0}"#,
        r#"{"length":1e18,"pairs":2.0,"accuracy":0.0,"since":0}"#,
        r#"{"length":30.0,"pairs":5.0,"accuracy":0.0,"since":0}"#,
        r#"{"length":30.0,"pairs":2.0,"accuracy":2.0,"since":0}"#,
    ];
    for state in states {
        let state = serde_json::from_str(state).unwrap();
        let error = Task::<Device>::restore(&mut task, &state).unwrap_err();
        assert!(error.to_string().contains("curriculum"), "{error}");
        assert_eq!(*task.curriculum(), before);
    }
}

#[test]
fn a_batch_that_scores_nothing_is_an_error() {
    let device = device();
    let mut task =
        Fixed(Batch { ids: vec![1, 2], targets: vec![IGNORE, IGNORE], batch: 1, time: 2, ..Batch::default() });
    let config = RunConfig { task: serde_json::Value::Null, model: model(11), train: steps(5) };
    let mut trainer = trainer(&device, &config, &mut task);
    assert!(trainer.step(0.0).unwrap_err().to_string().contains("at least one token must be scored"));
}
