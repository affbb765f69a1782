//! Sequences that begin with the memories of the text before them.

use super::support::{bits, device, model, steps, trainer, write_text};
use std::sync::Arc;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Combine, Input, Kind, Kinds, Model, ModelConfig, Wiring};
use titans_host::tape::{Shared, Tape};
use titans_host::task::text::{Text, TextConfig};
use titans_host::task::{Task, TaskConfig};
use titans_host::train::{Batch, RunConfig, TrainConfig, Trainer, checkpoint};

type Machine = Cpu<f64>;

fn ids(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * i + i / 3) % 11).collect()
}

/// Logits of tokens that begin with these memories, and the memories after them.
fn read(model: &Model<Machine>, ids: &[u32], start: &[Shared<Machine>]) -> (Vec<f64>, Vec<Shared<Machine>>) {
    let device = Machine::new(Some(1)).unwrap();
    let indices = Arc::new(device.upload_indices(ids).unwrap());
    let mut tape = Tape::inference(&device, &model.params);
    let input = Input { start, states: true, ..Input::new(&indices, 1, ids.len()) };
    let forward = model.forward(&mut tape, input).unwrap();
    (device.download(forward.logits.buffer()).unwrap(), forward.states)
}

/// Where nothing but the memories knows of the tokens before, a sequence in two parts is the sequence.
#[test]
fn what_memories_alone_know_goes_on_to_the_bit() {
    for (kind, persistent) in [(Kind::Lmm, 0), (Kind::Lmm, 3), (Kind::Mac, 3)] {
        let mut config = ModelConfig { blocks: 2, block: Kinds::All(kind), conv_width: 0, persistent, ..model(11) };
        (config.memory.chunk, config.memory.compute_chunk, config.attention.segment) = (1, 8, 8);
        let device = Machine::new(Some(1)).unwrap();
        let model = Model::new(&device, config, 3).unwrap();
        let ids = ids(40);
        let (whole, _) = read(&model, &ids, &[]);
        // Persistent rows of a memory come first: then pieces end elsewhere and sums are others.
        let near = if persistent > 0 && kind == Kind::Lmm { 1e-12 } else { 0.0 };
        let (first, states) = read(&model, &ids[..16], &[]);
        let (second, _) = read(&model, &ids[16..], &states);
        assert_eq!(states.len(), 2);
        let parts = [first, second].concat();
        let worst = parts.iter().zip(&whole).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(worst <= near && parts.len() == whole.len(), "{kind:?}, {persistent}: {worst:e}");
        let (fresh, _) = read(&model, &ids[16..], &[]);
        assert_ne!(fresh, parts[parts.len() - fresh.len()..]);
    }
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let device = Machine::new(Some(1)).unwrap();
    let config = ModelConfig { blocks: 2, ..model(11) };
    let model_of = |config| Model::new(&device, config, 3).unwrap();
    let (model, indices) = (model_of(config.clone()), Arc::new(device.upload_indices(&ids(8)).unwrap()));
    let refused = |model: &Model<Machine>, start: &[Shared<Machine>]| {
        let mut tape = Tape::inference(&device, &model.params);
        model.forward(&mut tape, Input { start, ..Input::new(&indices, 1, 8) }).unwrap_err().to_string()
    };
    let (_, states) = read(&model, &ids(8), &[]);
    assert!(refused(&model, &states[..1]).contains("expected 2 states"), "{}", refused(&model, &states[..1]));
    let small: Shared<Machine> = Shared::new(device.zeros(3).unwrap());
    refused(&model, &[small.clone(), small]);
    let letter = model_of(ModelConfig { wiring: Wiring::Letter, combine: Combine::Product, persistent: 2, ..config });
    assert!(refused(&letter, &states).contains("residual wiring"));
}

fn config(carry: f64) -> TextConfig {
    TextConfig { context: 16, sequences: 3, carry, ..TextConfig::default() }
}

fn draw(config: &TextConfig, step: u64, part: u64) -> Batch {
    let bytes: Vec<u8> = (0..10_000u32).map(|i| (i * i / 7) as u8).collect();
    let mut batch = Batch { before: vec![7], ..Batch::default() };
    Task::<Machine>::batch(&Text::new(config.clone(), &bytes, 3).unwrap(), step, part, &mut batch).unwrap();
    batch.validate().unwrap();
    let places = |ids: &[u32], next: &[u32]| {
        let text: Vec<u32> = [ids, next].concat();
        bytes.windows(text.len()).any(|w| w.iter().map(|&b| u32::from(b)).eq(text.iter().copied()))
    };
    for (before, ids) in batch.before.chunks(16).zip(batch.ids.chunks(16)) {
        assert!(places(before, ids), "what comes before is what comes before");
    }
    batch
}

#[test]
fn the_share_of_steps_that_carry_is_that_of_the_configuration_and_parts_number_through() {
    let none: Vec<Batch> = (0..40).map(|step| draw(&config(0.0), step, 0)).collect();
    assert!(none.iter().all(|batch| batch.before.is_empty()));
    let all: Vec<Batch> = (0..40).map(|step| draw(&config(1.0), step, 0)).collect();
    assert!(all.iter().all(|batch| batch.before.len() == batch.ids.len()));
    let half: Vec<Batch> = (0..40).map(|step| draw(&config(0.5), step, 0)).collect();
    let carried = half.iter().filter(|batch| !batch.before.is_empty()).count();
    assert!((10..=30).contains(&carried), "{carried} of 40");
    for ((none, all), half) in none.iter().zip(&all).zip(&half) {
        assert_eq!(half, if half.before.is_empty() { none } else { all });
    }
    let twice = TextConfig { sequences: 6, ..config(0.5) };
    for step in 0..10 {
        let (whole, parts) = (draw(&twice, step, 0), [0, 1].map(|part| draw(&config(0.5), step, part)));
        assert_eq!(whole.before, [&parts[0].before[..], &parts[1].before].concat());
        assert_eq!(whole.ids, [&parts[0].ids[..], &parts[1].ids].concat());
    }
}

#[test]
fn shares_that_are_none_and_texts_too_short_are_refused() {
    for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = Text::new(config(share), &[b'a'; 500], 0).unwrap_err().to_string();
        assert!(error.contains("task.carry"), "{error}");
    }
    let long = |carry, bytes: usize| Text::new(TextConfig { validation: 0.1, ..config(carry) }, &vec![b'a'; bytes], 0);
    assert!(long(0.0, 30).is_ok() && long(0.5, 30).is_err() && long(0.5, 60).is_ok());
    let batch = Batch { before: vec![1], ids: vec![1, 2], targets: vec![2, 3], batch: 1, time: 2, ..Batch::default() };
    assert!(batch.validate().unwrap_err().to_string().contains("before the sequences"));
}

fn run(path: &std::path::Path, train: TrainConfig) -> RunConfig {
    let task = TextConfig { data: vec![path.into()], window: 48, cheap_windows: 2, ..config(0.5) };
    let mut model = ModelConfig { blocks: 2, block: Kinds::Each(vec![Kind::Mal, Kind::Mac]), ..model(256) };
    (model.memory.chunk, model.memory.compute_chunk) = (1, 8);
    TaskConfig::Text(task).run(model, train).unwrap()
}

#[test]
fn a_resumed_run_and_blocks_computed_again_have_the_bits_of_the_run() {
    let (device, folder) = (device(), tempfile::tempdir().unwrap());
    let data = folder.path().join("text.txt");
    write_text(&data);
    let task = |config: &RunConfig| {
        let TaskConfig::Text(text) = TaskConfig::of(config).unwrap() else { unreachable!("it is text") };
        Text::read(text, config.train.seed).unwrap()
    };
    let config = run(&data, TrainConfig { accumulate: 2, ..steps(8) });
    let mut whole_task = task(&config);
    let mut whole = trainer(&device, &config, &mut whole_task);
    let expected: Vec<u64> = (0..8).map(|_| whole.step(0.0).unwrap().loss.to_bits()).collect();

    let path = folder.path().join("at3.safetensors");
    let (mut part_task, mut again) = (task(&config), task(&config));
    let mut part = trainer(&device, &config, &mut part_task);
    let mut found: Vec<u64> = (0..3).map(|_| part.step(0.0).unwrap().loss.to_bits()).collect();
    part.save(&path, 1.0).unwrap();
    drop(part);
    let mut part = Trainer::resume(&device, checkpoint::load(&device, &path).unwrap(), &mut again).unwrap();
    found.extend((3..8).map(|_| part.step(0.0).unwrap().loss.to_bits()));
    assert_eq!(found, expected);
    assert_eq!(bits(&part, &device), bits(&whole, &device));

    let recomputed = run(&data, TrainConfig { accumulate: 2, recompute: true, ..steps(8) });
    let mut other_task = task(&recomputed);
    let mut other = trainer(&device, &recomputed, &mut other_task);
    let found: Vec<u64> = (0..8).map(|_| other.step(0.0).unwrap().loss.to_bits()).collect();
    assert_eq!(found, expected);
    assert_eq!(bits(&other, &device), bits(&whole, &device));
}
