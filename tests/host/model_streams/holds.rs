//! Long streams of equal, alternating and random tokens through every block at its defaults: everything stays finite,
//! and what comes behind them is read as well as from a fresh stream. `docs/results/hold.py` does so with a million
//! tokens and trained models.

use super::{Cpu, Session, World};
use titans_host::model::{Head, Kind, Kinds, Mode, Model, ModelConfig, Step};

const JOINED: [Kind; 4] = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal];
/// Memories whose gradients are taken at a chunk's first weights left `f32` within 300 to 5,000 such tokens.
const TOKENS: usize = 6000;

/// One small block at its defaults, with a memory of so many layers.
fn block(kind: Kind, layers: usize) -> ModelConfig {
    let mut config = ModelConfig {
        vocabulary: 128,
        width: 16,
        blocks: 1,
        block: Kinds::All(kind),
        heads: 1,
        head_width: 16,
        feed_forward: 16,
        ..ModelConfig::default()
    };
    config.attention.window = 16;
    config.attention.segment = 16;
    config.set_layers(layers);
    config
}

/// A model as it begins.
fn session(config: ModelConfig) -> Session<f32> {
    let device = Cpu::new(Some(1)).unwrap();
    let model = Model::new(&device, config, 1).unwrap();
    Session::new(&device, &model, Mode::On).unwrap()
}

fn finite(steps: &[Step<f32>]) -> bool {
    steps.iter().all(|s| s.logits.iter().chain(s.surprise.iter().flatten()).all(|x| x.is_finite()))
}

/// Numbers from 0 to `n` that look random.
fn dice(n: u32) -> impl FnMut(usize) -> u32 {
    let mut x = 1u64;
    move |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 40) as u32 % n
    }
}

/// Calls `each` on all blocks, linear and deep.
fn every_block(each: impl Fn(String, ModelConfig) + Sync) {
    let each = &each;
    std::thread::scope(|scope| {
        for layers in [1, 2] {
            scope.spawn(move || JOINED.map(|kind| each(format!("{kind:?}, {layers} layers"), block(kind, layers))));
        }
    });
}

#[test]
fn long_runs_of_tokens_leave_every_block_finite_and_able_to_read() {
    let mut random = dice(128);
    let blanks: Vec<u32> = (0..TOKENS).map(|t| if t % 97 == 0 { b'x'.into() } else { b' '.into() }).collect();
    let inputs = [
        ("one byte", vec![b'e'.into(); TOKENS]),
        ("NULs", vec![0; TOKENS]),
        ("two letters", [b'a'.into(), b'b'.into()].repeat(TOKENS / 2)),
        ("blanks in runs", blanks),
        ("random", (0..TOKENS).map(&mut random).collect()),
    ];
    let good: Vec<u32> = b"the quick brown fox jumps over the lazy dog. ".repeat(4).iter().map(|&b| b.into()).collect();
    every_block(|what, config| {
        let fresh = nats(&session(config.clone()).push(&good).unwrap(), &good);
        for (input, tokens) in &inputs {
            let mut session = session(config.clone());
            let steps = session.push(tokens).unwrap_or_else(|e| panic!("{what}, {input}: {e}"));
            assert!(finite(&steps), "{what}, {input}");
            let behind = nats(&session.push(&good).unwrap(), &good);
            assert!(
                behind <= fresh + 0.2,
                "{what}, {input}: {behind} nats a token behind it, {fresh} from a fresh stream"
            );
        }
    });
}

/// The mean loss of the next token.
fn nats(steps: &[Step<f32>], tokens: &[u32]) -> f64 {
    let next = steps.iter().zip(&tokens[1..]).map(|(step, &next)| -step.log_probabilities()[next as usize]);
    next.sum::<f64>() / (tokens.len() - 1) as f64
}

#[test]
fn long_series_of_numbers_leave_every_block_finite() {
    let mut random = dice(500);
    let inputs: [(&str, Vec<f32>); 4] = [
        ("constant", vec![3.0; TOKENS]),
        ("steps", (0..TOKENS).map(|t| (t / 500 % 2) as f32).collect()),
        ("spikes", (0..TOKENS).map(|t| if random(t) == 0 { 100.0 } else { 0.0 }).collect()),
        ("zeros", vec![0.0; TOKENS]),
    ];
    every_block(|what, config| {
        let config = ModelConfig { inputs: 1, head: Head::Regression, outputs: 1, tied: false, ..config };
        for (input, rows) in &inputs {
            let steps = session(config.clone()).push_rows(rows).unwrap_or_else(|e| panic!("{what}, {input}: {e}"));
            assert!(finite(&steps), "{what}, {input}");
        }
    });
}

/// What held is the chunk's doing: with a large θ one byte again and again drives chunks of eight out of `f32`, and
/// with every token's own gradient not.
#[test]
fn chunks_of_eight_do_not_hold() {
    let mut config = block(Kind::Lmm, 1);
    config.theta_bias = 4.0;
    config.theta_max = 1.0;
    let stream = |config: ModelConfig| World::<f32>::new(config).session(Mode::On).push(&[5; TOKENS]);
    config.set_chunk(1);
    assert!(stream(config.clone()).is_ok());
    config.set_chunk(8);
    assert!(stream(config).is_err());
}
