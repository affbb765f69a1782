//! Dropout: a part of the training step alone, the same however the step is computed, and none where it is 0.

use super::steps::Fixed;
use super::support::{bits, device, model, recall, recall_run, steps, trainer};
use std::sync::Arc;
use titans_host::device::cpu::Cpu;
use titans_host::device::{Boundaries, Device};
use titans_host::model::{Dropout, Input, Kind, Kinds, Mode, Model, ModelConfig};
use titans_host::tape::Tape;
use titans_host::task;
use titans_host::train::{Batch, RunConfig, TrainConfig, Trainer, checkpoint};

fn train(dropout: f64, n: u64) -> TrainConfig {
    TrainConfig { dropout, ..steps(n) }
}

/// A run of two blocks, so that a block's number counts.
fn run(train: TrainConfig) -> RunConfig {
    let mut config = recall_run(train);
    config.model.blocks = 2;
    config
}

/// Losses and last parameters of six steps.
fn six(config: &RunConfig, threads: usize) -> (Vec<u64>, Vec<u32>) {
    let (device, mut task) = (Cpu::new(Some(threads)).unwrap(), recall(0));
    let mut trainer = trainer(&device, config, &mut task);
    let losses = (0..6).map(|_| trainer.step(0.0).unwrap().loss.to_bits()).collect();
    (losses, bits(&trainer, &device))
}

#[test]
fn a_resumed_run_drops_what_the_uninterrupted_one_drops() {
    let device = device();
    let config = run(TrainConfig { accumulate: 2, ..train(0.2, 12) });
    let (mut task, mut other, mut again) = (recall(0), recall(0), recall(0));
    let mut whole = trainer(&device, &config, &mut task);
    let expected: Vec<u64> = (0..12).map(|_| whole.step(0.0).unwrap().loss.to_bits()).collect();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("at5.safetensors");
    let mut part = trainer(&device, &config, &mut other);
    let mut found: Vec<u64> = (0..5).map(|_| part.step(0.0).unwrap().loss.to_bits()).collect();
    part.save(&path, 1.0).unwrap();
    drop(part);
    let checkpoint = checkpoint::load(&device, &path).unwrap();
    assert_eq!(checkpoint.config.train.dropout, 0.2);
    let mut part = Trainer::resume(&device, checkpoint, &mut again).unwrap();
    found.extend((5..12).map(|_| part.step(0.0).unwrap().loss.to_bits()));
    assert_eq!(found, expected);
    assert_eq!(bits(&part, &device), bits(&whole, &device));
}

#[test]
fn threads_boundaries_and_blocks_computed_again_change_no_bit() {
    let one = six(&run(train(0.3, 6)), 1);
    assert_eq!(six(&run(train(0.3, 6)), 3), one);
    for (boundaries, recompute) in [(Boundaries::All, true), (Boundaries::Sqrt, false), (Boundaries::Sqrt, true)] {
        let config = run(TrainConfig { boundaries, recompute, ..train(0.3, 6) });
        assert_eq!(six(&config, 2), one, "{boundaries:?}, {recompute}");
    }
    for other in [train(0.31, 6), train(0.0, 6), TrainConfig { seed: 1, ..train(0.3, 6) }] {
        assert_ne!(six(&run(other), 1).0, one.0);
    }
}

/// What [`Fixed`] gives again and again.
fn batch() -> Batch {
    let ids = (0..24).map(|i| (i * i + i / 3) % 11).collect();
    Batch { ids, targets: (0..24).map(|i| (i * 7 + 3) % 11).collect(), batch: 2, time: 12, ..Batch::default() }
}

fn fixed(train: TrainConfig) -> RunConfig {
    RunConfig { task: serde_json::Value::Null, model: model(11), train }
}

#[test]
fn every_step_and_every_part_of_one_drops_something_else() {
    let device = device();
    // A rate at which nothing is learned: losses differ by what is dropped.
    let losses = |dropout, accumulate| -> Vec<f64> {
        let config = fixed(TrainConfig { accumulate, learning_rate: 1e-30, ..train(dropout, 9) });
        let mut task = Fixed(batch());
        let mut trainer = trainer(&device, &config, &mut task);
        (0..4).map(|_| trainer.step(0.0).unwrap().loss).collect()
    };
    assert!(losses(0.0, 1).windows(2).all(|pair| pair[0] == pair[1]));
    let (one, two) = (losses(0.5, 1), losses(0.5, 2));
    assert!(one.windows(2).all(|pair| pair[0] != pair[1]), "{one:?}");
    assert!(one.iter().zip(&two).all(|(one, two)| (one - two).abs() > 1e-4), "two equal parts: {one:?} {two:?}");
}

#[test]
fn a_small_share_is_learned_through() {
    let device = device();
    let mut task = Fixed(batch());
    let mut trainer = trainer(&device, &fixed(train(0.1, 300)), &mut task);
    let last = (0..300).map(|_| trainer.step(0.0).unwrap().loss).last().unwrap();
    assert!(last < 1.0, "loss {last} of {} where nothing is known", f64::ln(11.0));
}

/// Also the trained model's other uses: they read the model from the same checkpoint and know no training.
#[test]
fn validation_drops_nothing() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let path = folder.path().join("run.safetensors");
    let (mut task, mut other) = (recall(0), recall(0));
    let mut dropping = trainer(&device, &run(train(0.5, 9)), &mut task);
    for _ in 0..3 {
        dropping.step(0.0).unwrap();
    }
    dropping.save(&path, 1.0).unwrap();
    let mut checkpoint = checkpoint::load(&device, &path).unwrap();
    checkpoint.config.train.dropout = 0.0;
    let plain = Trainer::resume(&device, checkpoint, &mut other).unwrap();
    for thorough in [false, true] {
        let loss = |validation: task::Validation| validation.loss.to_bits();
        assert_eq!(loss(dropping.validate(thorough).unwrap()), loss(plain.validate(thorough).unwrap()));
    }
}

/// What a tape has recorded, and the logits.
fn recorded(model: &Model<Cpu<f32>>, mode: Mode, dropout: Dropout) -> (usize, Vec<f32>) {
    let device = device();
    let ids = Arc::new(device.upload_indices(&batch().ids).unwrap());
    let mut tape = Tape::recording(&device, &model.params);
    let forward = model.forward(&mut tape, Input { mode, dropout, ..Input::new(&ids, 2, 12) }).unwrap();
    let text = format!("{tape:?}");
    let slots = text.split("slots: ").nth(1).and_then(|rest| rest.split([',', ' ']).next()).unwrap();
    (slots.parse().unwrap(), device.download(forward.logits.buffer()).unwrap())
}

#[test]
fn a_share_of_0_records_nothing_and_another_an_operation_an_addition() {
    let kinds = Kinds::Each(vec![Kind::Lmm, Kind::Mac, Kind::Attention]);
    let config = ModelConfig { blocks: 3, block: kinds, persistent: 2, ..model(11) };
    let model = Model::new(&device(), config, 3).unwrap();
    let plain = recorded(&model, Mode::On, Dropout::default());
    assert_eq!(recorded(&model, Mode::On, Dropout::new(0.0, 1, 2, 3).unwrap()), plain);
    // Two additions a block, and MAC's attention adds too.
    let dropped = recorded(&model, Mode::On, Dropout::new(0.1, 1, 2, 3).unwrap());
    assert_eq!(dropped.0, plain.0 + 7);
    assert_ne!(dropped.1, plain.1);
    // A memory layer that is absent adds nothing, so there is nothing to drop.
    let plain = recorded(&model, Mode::Absent, Dropout::default());
    assert_eq!(recorded(&model, Mode::Absent, Dropout::new(0.1, 1, 2, 3).unwrap()).0, plain.0 + 6);
}

#[test]
fn the_share_is_in_the_configuration_and_its_absence_is_0() {
    let config = run(train(0.25, 5));
    let text = toml::to_string(&config).unwrap();
    assert!(text.split("[train]").nth(1).unwrap().contains("dropout = 0.25"), "{text}");
    assert_eq!(toml::from_str::<RunConfig>(&text).unwrap(), config);
    let old: RunConfig = toml::from_str(&text.replace("dropout = 0.25\n", "")).unwrap();
    assert_eq!(old, run(train(0.0, 5)));
    for share in [1.0, -0.25, f64::NAN, f64::INFINITY] {
        let error = run(train(share, 5)).validate().unwrap_err().to_string();
        assert!(error.contains("train.dropout: expected 0 to below 1, found"), "{error}");
    }
}
