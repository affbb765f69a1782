//! The gradient of the whole model's loss against central differences in f64, for every parameter.

mod blocks;

use crate::feed::Fed;
use titans_host::device::cpu::Cpu;
use titans_host::device::{Device, IGNORE};
use titans_host::model::{Dropout, Head, Input, Mode, Model, ModelConfig};
use titans_host::tape::{Gradients, Shared, Tape};
use titans_kernel::memory::{Activation, Loss, Network, Read};

/// Steps of the differences: H and 2 H, extrapolated to fourth order, for norms of short vectors are strongly curved.
const H: f64 = 1e-6;
/// Largest disagreement, relative to the largest gradient of the tensor.
const RELATIVE: f64 = 1e-7;
/// Rounding of a loss near 3, divided by `H`.
const ABSOLUTE: f64 = 1e-9;

type Machine = Cpu<f64>;

/// Chunks of 4, so that 11 tokens end in an unfinished one.
fn tiny() -> ModelConfig {
    let mut config = ModelConfig {
        vocabulary: 7,
        width: 6,
        blocks: 2,
        heads: 2,
        head_width: 4,
        feed_forward: 5,
        conv_width: 3,
        theta_max: 0.1,
        alpha_bias: -1.0,
        theta_bias: 0.3,
        eta_bias: -0.2,
        eta_max: 1.0,
        ..ModelConfig::default()
    };
    (config.memory.chunk, config.memory.compute_chunk, config.memory.loss) = (4, 0, Loss::Sum);
    config.memory.hidden = 5;
    config
}

struct Problem {
    device: Machine,
    model: Model<Machine>,
    batch: usize,
    time: usize,
    mode: Mode,
    dropout: Dropout,
    /// What the memories begin with; empty for w0.
    start: Vec<Shared<Machine>>,
    input: Fed<Machine>,
    targets: Fed<Machine>,
}

/// Numbers in [−1, 1), the same in every run.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

impl Problem {
    /// A model of which no parameter is at a special point: all are moved by noise.
    fn new(config: ModelConfig, batch: usize, time: usize, mode: Mode) -> Self {
        // One thread, as fast as two at this size; that their number changes no bit is tested with the device.
        let device = Machine::new(Some(1)).unwrap();
        let mut model = Model::new(&device, config.clone(), 5).unwrap();
        let mut random = noise(3);
        for id in model.params.iter().map(|p| p.id).collect::<Vec<_>>() {
            let value: Vec<f64> =
                model.params.download(&device, id).unwrap().iter().map(|x| x + 0.4 * random()).collect();
            device.write(&value, model.params.value_mut(id).unwrap()).unwrap();
        }
        let mut draw =
            |n: usize, below: usize| (0..n).map(|_| ((random() + 1.0) * 0.5 * below as f64) as u32).collect::<Vec<_>>();
        let ids = draw(batch * time, config.vocabulary);
        let mut targets = draw(batch * time, config.said());
        targets[batch * time / 2] = IGNORE;
        let (input, targets) = (Fed::input(&device, &config, &ids), Fed::wanted(&device, &config, &targets));
        Self { device, model, batch, time, mode, dropout: Dropout::default(), start: Vec::new(), input, targets }
    }

    fn scale(&self) -> f64 {
        1.0 / (self.batch * self.time) as f64
    }

    fn run(&self, mut tape: Tape<'_, Machine>, gradients: Option<&mut Gradients<Machine>>) -> f64 {
        let (mode, dropout) = (self.mode, self.dropout);
        let input =
            Input { mode, dropout, start: &self.start, ..Input::of(self.input.source(), self.batch, self.time) };
        let forward = self.model.forward(&mut tape, input).unwrap();
        let losses = self.model.loss(&mut tape, &forward.logits, self.targets.targets()).unwrap();
        let loss: f64 = self.device.download(losses.buffer()).unwrap().iter().sum();
        if let Some(gradients) = gradients {
            tape.backward(&losses, self.scale(), gradients).unwrap();
        }
        loss * self.scale()
    }

    /// Inner gradients that the clip made shorter.
    fn clipped(&self) -> u64 {
        let mut tape = Tape::inference(&self.device, &self.model.params);
        self.model.forward(&mut tape, Input::of(self.input.source(), self.batch, self.time)).unwrap().clipped
    }

    fn loss(&self) -> f64 {
        self.run(Tape::inference(&self.device, &self.model.params), None)
    }

    fn gradients(&self) -> Vec<Vec<f64>> {
        let mut gradients = Gradients::zeros_like(&self.device, &self.model.params).unwrap();
        self.run(Tape::recording(&self.device, &self.model.params), Some(&mut gradients));
        gradients.iter().map(|g| self.device.download(g).unwrap()).collect()
    }

    /// Every parameter tensor at five places and where its gradient is largest: those where the two disagree.
    fn disagreements(&mut self, gradients: &[Vec<f64>]) -> Vec<String> {
        let mut wrong = Vec::new();
        let tensors: Vec<_> = self.model.params.iter().map(|p| (p.id, p.name.to_string())).collect();
        for ((id, name), gradient) in tensors.into_iter().zip(gradients) {
            let largest = (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
            let value = self.model.params.download(&self.device, id).unwrap();
            let places = (0..5).map(|i| i * (value.len() - 1) / 4).chain([largest]);
            for place in places {
                let mut at = |x: f64| {
                    let mut moved = value.clone();
                    moved[place] = x;
                    self.device.write(&moved, self.model.params.value_mut(id).unwrap()).unwrap();
                    self.loss()
                };
                let mut between = |h: f64| (at(value[place] + h) - at(value[place] - h)) / (2.0 * h);
                let difference = (4.0 * between(H) - between(2.0 * H)) / 3.0;
                let error = (difference - gradient[place]).abs();
                if error.is_nan() || error > RELATIVE * gradient[largest].abs() + ABSOLUTE {
                    wrong.push(format!("{name}[{place}]: difference {difference:e}, gradient {:e}", gradient[place]));
                }
            }
            self.device.write(&value, self.model.params.value_mut(id).unwrap()).unwrap();
        }
        wrong
    }
}

fn check(what: &str, config: ModelConfig, batch: usize, time: usize) {
    let mut problem = Problem::new(config, batch, time, Mode::On);
    let gradients = problem.gradients();
    for (p, g) in problem.model.params.iter().zip(&gradients) {
        assert!(g.iter().any(|x| x.abs() > 1e-7), "{what}: {}: no gradient arrives", p.name);
    }
    let wrong = problem.disagreements(&gradients);
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn linear_memory_tied_and_untied() {
    check("tied", tiny(), 2, 11);
    check("untied", ModelConfig { tied: false, ..tiny() }, 2, 11);
}

#[test]
fn deep_memory_of_each_shape() {
    for (layers, network) in [(2, Network::Residual), (2, Network::Plain), (3, Network::Residual)] {
        let mut config = tiny();
        config.memory.layers = layers;
        config.memory.network = Some(network);
        check(&format!("{layers} layers, {network:?}"), config, 2, 11);
    }
}

/// Classes of whole sequences of several lengths, by the mean of what is said after their tokens.
#[test]
fn classes_of_pooled_sequences() {
    for (lengths, inputs) in [([11, 4], 0), ([1, 10], 3)] {
        let config = ModelConfig { head: Head::Classes, outputs: 3, tied: false, inputs, ..tiny() };
        let mut problem = Problem::new(config, 2, 11, Mode::On);
        problem.targets = Fed::pooled(&problem.device, &[2, 0], &lengths, 11);
        let gradients = problem.gradients();
        for (p, g) in problem.model.params.iter().zip(&gradients) {
            assert!(g.iter().any(|x| x.abs() > 1e-7), "{}: no gradient arrives", p.name);
        }
        let wrong = problem.disagreements(&gradients);
        assert!(wrong.is_empty(), "{lengths:?}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn each_read() {
    for read in [Read::Before, Read::ChunkStart] {
        for layers in [1, 2] {
            let mut config = tiny();
            config.memory.read = read;
            config.memory.layers = layers;
            check(&format!("{read:?}, {layers} layers"), config, 1, 11);
        }
    }
}

#[test]
fn each_activation_and_loss() {
    let choices =
        [(Activation::Gelu, Loss::Half), (Activation::GeluTanh, Loss::Mean), (Activation::Identity, Loss::Sum)];
    for (activation, loss) in choices {
        let mut config = tiny();
        config.memory.layers = 2;
        config.memory.activation = activation;
        config.memory.loss = loss;
        check(&format!("{activation:?}, {loss:?}"), config, 1, 9);
    }
}

#[test]
fn each_gate_far_from_its_middle() {
    for (what, alpha, theta, eta) in
        [("forgets fast", 2.0, 0.0, 0.0), ("learns slowly", -1.0, -4.0, 0.0), ("long momentum", -1.0, 0.0, 3.0)]
    {
        let config = ModelConfig { alpha_bias: alpha, theta_bias: theta, eta_bias: eta, ..tiny() };
        check(what, config, 1, 11);
    }
}

#[test]
fn odd_sizes() {
    let mut chunk = tiny();
    chunk.memory.chunk = 64;
    check("chunk beyond the sequence", chunk, 1, 5);
    let mut token = tiny();
    token.memory.chunk = 1;
    check("chunk of one token", token.clone(), 1, 5);
    (token.memory.compute_chunk, token.memory.loss) = (4, Loss::Half);
    check("the exact form", ModelConfig { theta_max: 1.0, eta_max: 0.5, ..token }, 1, 11);
    check("one head, one tap", ModelConfig { heads: 1, conv_width: 1, ..tiny() }, 3, 7);
}

#[test]
fn a_clip_that_fires() {
    let mut config = tiny();
    config.memory.clip = Some(0.5);
    check("clip", config.clone(), 1, 9);
    let clipped = Problem::new(config, 1, 9, Mode::On).clipped();
    assert!(clipped > 0 && clipped < 36, "{clipped} of 9 tokens × 2 heads × 2 blocks");
}

#[test]
fn frozen_and_absent_memories() {
    for mode in [Mode::Absent, Mode::Frozen] {
        let mut problem = Problem::new(tiny(), 1, 9, mode);
        let gradients = problem.gradients();
        let wrong = problem.disagreements(&gradients);
        assert!(wrong.is_empty(), "{mode:?}:\n{}", wrong.join("\n"));
    }
}

/// The checker itself: one entry that is wrong by a hundred-thousandth is found, and nothing else.
#[test]
fn a_planted_error_is_found() {
    let mut problem = Problem::new(tiny(), 1, 9, Mode::On);
    let mut gradients = problem.gradients();
    for tensor in 0..gradients.len() {
        let right = gradients[tensor].clone();
        let largest = right.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        gradients[tensor][0] += 1e-5 * largest + 1e-8;
        let wrong = problem.disagreements(&gradients);
        let name = problem.model.params.iter().nth(tensor).unwrap().name.to_string();
        assert!(!wrong.is_empty() && wrong.iter().all(|w| w.starts_with(&format!("{name}[0]"))), "{name}: {wrong:?}");
        gradients[tensor] = right;
    }
    // A gradient of another computation is not this one's.
    let frozen = Problem { mode: Mode::Frozen, ..Problem::new(tiny(), 1, 9, Mode::On) }.gradients();
    assert!(problem.disagreements(&frozen).len() > gradients.len());
}

/// Gradients are added to, and `scale` weighs them.
#[test]
fn gradients_accumulate() {
    let problem = Problem::new(tiny(), 1, 9, Mode::On);
    let once = problem.gradients();
    let mut twice = Gradients::zeros_like(&problem.device, &problem.model.params).unwrap();
    for _ in 0..2 {
        problem.run(Tape::recording(&problem.device, &problem.model.params), Some(&mut twice));
    }
    for (once, twice) in once.iter().zip(twice.iter()) {
        let twice = problem.device.download(twice).unwrap();
        let largest = once.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(once.iter().zip(&twice).all(|(a, b)| (2.0 * a - b).abs() <= 1e-14 * largest));
    }
    let square: f64 = once.iter().flatten().map(|x| x * x).sum();
    let norm = twice.norm(&problem.device).unwrap();
    assert!((norm - 2.0 * square.sqrt()).abs() <= 1e-12 * norm);
    twice.clear(&problem.device).unwrap();
    assert_eq!(twice.norm(&problem.device).unwrap(), 0.0);
}
