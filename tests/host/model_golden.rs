//! Whole models against an independent implementation in PyTorch (`tests/pytorch`), whose numbers are stored: outputs
//! in every memory mode, in batches and as streams, gradients, and ten training steps, in f64.

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use titans_host::device::cpu::Cpu;
use titans_host::device::{Device, IGNORE};
use titans_host::model::{Input, Mode, Model, ModelConfig, Session, Source, Targets, Wiring};
use titans_host::tape::{Gradients, Params, Shared, Tape};
use titans_host::train::optimiser::{Constants, Optimiser};

type Machine = Cpu<f64>;

/// Largest error of outputs, losses and gradients, relative to the largest value of each tensor (or to 1).
const TOLERANCE: f64 = 1e-10;
/// The same after ten steps of AdamW, which divides by the gradient's own size.
const TRAINED: f64 = 1e-8;

/// A file, and what it says of itself.
struct Golden<'a> {
    tensors: SafeTensors<'a>,
    case: Value,
    /// Tokens computed at once, in the place of what the file says: the same numbers.
    piece: Option<usize>,
}

/// Ids or numbers of all ten steps.
enum Numbers {
    Ids(Vec<u32>),
    Rows(Vec<f64>),
}

/// One step's part of them, on the device.
enum Given {
    Ids(Arc<<Machine as Device>::Indices>),
    Rows(Shared<Machine>),
}

impl<'a> Golden<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let tensors = SafeTensors::deserialize(bytes).unwrap();
        let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
        let case = &header.metadata().as_ref().unwrap()["case"];
        Self { tensors, case: serde_json::from_str(case).unwrap(), piece: None }
    }

    /// Whether pieces of any length give its numbers: every token has its own gradient, in linear memories.
    fn exact(&self) -> bool {
        let memory = &self.case["config"]["memory"];
        memory["chunk"] == 1 && memory["layers"] == 1 && memory["network"] == "plain"
    }

    fn config(&self) -> ModelConfig {
        let said = &self.case["config"];
        let mut config: ModelConfig = serde_json::from_value(said.clone()).unwrap();
        // Where a file says nothing: momentum up to 1, whole chunks, the paper's letter.
        if said.get("eta_max").is_none() {
            config.eta_max = 1.0;
        }
        if said["memory"].get("compute_chunk").is_none() {
            config.memory.compute_chunk = 0;
        }
        if said.get("wiring").is_none() {
            config.wiring = Wiring::Letter;
        }
        config.memory.compute_chunk = self.piece.unwrap_or(config.memory.compute_chunk);
        config
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors.tensor(name).unwrap().shape().to_vec()
    }

    fn f64(&self, name: &str) -> Vec<f64> {
        let tensor = self.tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::F64, "{name}");
        tensor.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// `[batch, rows, width]` without the persistent rows before the last `time` of each sequence.
    fn tokens_alone(&self, name: &str, time: usize) -> Vec<f64> {
        let [_, rows, width] = self.shape(name)[..] else { panic!("{name}") };
        self.f64(name).chunks(rows * width).flat_map(|s| s[(rows - time) * width..].to_vec()).collect()
    }

    fn numbers(&self, name: &str) -> Numbers {
        let tensor = self.tensors.tensor(name).unwrap();
        match tensor.dtype() {
            Dtype::U32 => {
                Numbers::Ids(tensor.data().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect())
            }
            _ => Numbers::Rows(self.f64(name)),
        }
    }

    fn model(&self, device: &Machine) -> Model<Machine> {
        let mut params = Params::new();
        let decay: Vec<&str> =
            self.case["training"]["decay"].as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect();
        // In the model's own order, which the file's list must be.
        for name in self.case["parameters"].as_array().unwrap() {
            let (name, key) = (name.as_str().unwrap(), format!("init.{}", name.as_str().unwrap()));
            params.add(device, name, &self.shape(&key), &self.f64(&key), decay.contains(&name)).unwrap();
        }
        let fresh = Model::new(device, self.config(), 0).unwrap();
        let names = |p: &Params<Machine>| p.iter().map(|p| (p.name.to_string(), p.shape.to_vec())).collect::<Vec<_>>();
        assert_eq!(names(&fresh.params), names(&params), "order and shapes of the parameters");
        for (ours, theirs) in fresh.params.iter().zip(params.iter()) {
            assert_eq!(ours.decay, theirs.decay, "weight decay of {}", ours.name);
        }
        Model::from_params(self.config(), params).unwrap()
    }

    fn constants(&self) -> (f64, Constants) {
        let of = |name: &str| self.case["training"][name].as_f64().unwrap();
        let constants = Constants {
            beta1: of("beta1"),
            beta2: of("beta2"),
            epsilon: of("epsilon"),
            weight_decay: of("weight_decay"),
            gate_rate: 1.0,
            clip: of("clip"),
        };
        (of("learning_rate"), constants)
    }
}

impl Numbers {
    /// Step `i` of ten.
    fn step(&self, device: &Machine, i: usize) -> Given {
        fn part<T>(x: &[T], i: usize) -> &[T] {
            &x[i * (x.len() / 10)..][..x.len() / 10]
        }
        match self {
            Self::Ids(ids) => Given::Ids(Arc::new(device.upload_indices(part(ids, i)).unwrap())),
            Self::Rows(rows) => Given::Rows(Shared::new(device.upload(part(rows, i)).unwrap())),
        }
    }
}

impl Numbers {
    /// What a stream says of the first step's sequences, one after another, and the surprises of every block.
    fn streamed(&self, session: impl Fn() -> Session<f64>, batch: usize, time: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
        let (mut said, mut surprise) = (Vec::new(), Vec::new());
        for b in 0..batch {
            let mut session = session();
            let steps = match self {
                Self::Ids(ids) => session.push(&ids[b * time..][..time]).unwrap(),
                Self::Rows(rows) => {
                    let width = rows.len() / (10 * batch * time);
                    session.push_rows(&rows[b * time * width..][..time * width]).unwrap()
                }
            };
            for step in steps {
                said.extend(step.logits);
                surprise.resize(step.surprise.len(), Vec::new());
                surprise.iter_mut().zip(step.surprise).for_each(|(all, row)| all.extend(row));
            }
        }
        (said, surprise)
    }

    /// Rows of step `i` that have a target.
    fn scored(&self, i: usize, rows: usize) -> usize {
        match self {
            Self::Ids(ids) => ids[i * rows..][..rows].iter().filter(|&&id| id != IGNORE).count(),
            Self::Rows(_) => rows,
        }
    }
}

impl Given {
    fn source(&self) -> Source<'_, Machine> {
        match self {
            Self::Ids(ids) => Source::Ids(ids),
            Self::Rows(rows) => Source::Rows(rows),
        }
    }

    fn targets(&self) -> Targets<'_, Machine> {
        match self {
            Self::Ids(ids) => Targets::Ids(ids),
            Self::Rows(rows) => Targets::Numbers(rows),
        }
    }
}

fn close(what: &str, tolerance: f64, got: &[f64], want: &[f64]) -> Option<String> {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let worst = |m: f64, d: f64| if d.is_nan() || m.is_nan() { f64::NAN } else { m.max(d) };
    let error = got.iter().zip(want).fold(0.0f64, |m, (g, w)| worst(m, (g - w).abs()));
    (error.is_nan() || error > tolerance * largest).then(|| format!("{what}: error {error:e} of {largest:e}"))
}

/// Outputs and surprises in every mode, from a batch and from streams.
fn check_outputs(name: &str, golden: &Golden<'_>, device: &Machine, model: &Model<Machine>) -> Vec<String> {
    let inputs = golden.numbers("inputs");
    let [_, batch, time] = golden.shape("inputs")[..3] else { panic!("{name}: inputs") };
    let mut wrong = Vec::new();
    for (key, mode) in [("outputs", Mode::On), ("outputs.frozen", Mode::Frozen), ("outputs.absent", Mode::Absent)] {
        let first = inputs.step(device, 0);
        let mut tape = Tape::inference(device, &model.params);
        let input = Input { mode, surprise: mode == Mode::On, ..Input::of(first.source(), batch, time) };
        let forward = model.forward(&mut tape, input).unwrap();
        let (said, surprise) = inputs.streamed(|| Session::new(device, model, mode).unwrap(), batch, time);
        let batched: Vec<_> = forward.surprise.iter().map(|s| device.download(s).unwrap()).collect();
        for (how, got) in [("in a batch", batched), ("as a stream", surprise)] {
            if mode == Mode::On {
                assert_eq!(got.len(), model.config().remembering().count(), "{name}: surprises {how}");
                for (i, got) in model.config().remembering().zip(got) {
                    let key = format!("surprise.{i}");
                    let want = golden.tokens_alone(&key, time);
                    wrong.extend(close(&format!("{name} {key} {how}"), TOLERANCE, &got, &want));
                }
            }
        }
        for (how, got) in [("in a batch", device.download(forward.logits.buffer()).unwrap()), ("as a stream", said)] {
            wrong.extend(close(&format!("{name} {key} {how}"), TOLERANCE, &got, &golden.f64(key)));
        }
    }
    wrong
}

fn check(name: &str, golden: &Golden<'_>) -> Vec<String> {
    let device = Machine::new(Some(1)).unwrap();
    let mut model = golden.model(&device);
    let (inputs, targets) = (golden.numbers("inputs"), golden.numbers("targets"));
    let [_, batch, time] = golden.shape("inputs")[..3] else { panic!("{name}: inputs") };
    let mut wrong = check_outputs(name, golden, &device, &model);
    let (learning_rate, constants) = golden.constants();
    let mut optimiser = Optimiser::new(&device, constants, &model.params).unwrap();
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for i in 0..10 {
        let rows = targets.scored(i, batch * time) as f64;
        let (given, wanted) = (inputs.step(&device, i), targets.step(&device, i));
        let mut gradients = Gradients::zeros_like(&device, &model.params).unwrap();
        let mut tape = Tape::recording(&device, &model.params);
        let said = model.forward(&mut tape, Input::of(given.source(), batch, time)).unwrap().logits;
        let loss = model.loss(&mut tape, &said, wanted.targets()).unwrap();
        losses.push(device.download(loss.buffer()).unwrap().iter().sum::<f64>() / rows);
        tape.backward(&loss, 1.0 / rows, &mut gradients).unwrap();
        if i == 0 {
            for (p, g) in model.params.iter().zip(gradients.iter()) {
                let got = device.download(g).unwrap();
                let key = format!("grad.{}", p.name);
                wrong.extend(close(&format!("{name} {key}"), TOLERANCE, &got, &golden.f64(&key)));
            }
        }
        let norm = gradients.norm(&device).unwrap();
        norms.push(norm);
        optimiser.step(&device, learning_rate, norm, &gradients, &mut model.params).unwrap();
    }
    wrong.extend(close(&format!("{name} losses"), TRAINED, &losses, &golden.f64("losses")));
    wrong.extend(close(&format!("{name} norms"), TRAINED, &norms, &golden.f64("norms")));
    for p in model.params.iter() {
        let key = format!("final.{}", p.name);
        wrong.extend(close(&format!("{name} {key}"), TRAINED, &device.download(p.value).unwrap(), &golden.f64(&key)));
    }
    wrong
}

#[test]
fn every_block_is_the_independent_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden_blocks");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "safetensors"));
    files.sort();
    assert_eq!(files.len(), 56, "golden files in {}", folder.display());
    let mut wrong = Vec::new();
    for file in files {
        let (bytes, name) = (std::fs::read(&file).unwrap(), file.file_stem().unwrap().to_string_lossy());
        let mut golden = Golden::new(&bytes);
        wrong.extend(check(&name, &golden));
        let pieces: &[usize] = if golden.exact() { &[1, 64] } else { &[] };
        for &piece in pieces {
            golden.piece = Some(piece);
            wrong.extend(check(&format!("{name}, in pieces of {piece}"), &golden));
        }
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}
