//! Up to ten training steps of small models, from the same first parameters on the same tokens.

use super::{Check, NumberGenerator, Outputs, compare, get};
use crate::device::Device;
use crate::error::Result;
use crate::model::{
    AttentionConfig, Combine, Dropout, Input, Kind, Kinds, MacFeed, MacRead, MemoryConfig, Model, ModelConfig, Wiring,
};
use crate::tape::{Gradients, Tape};
use crate::train::optimiser::{Constants, Optimiser};
use std::sync::Arc;
use titans_kernel::memory::Loss;

/// Largest relative error of the losses and of the last parameters: ten steps add up, and AdamW divides by the
/// gradient's own size.
const TOLERANCE: f64 = 1e-4;

const STEPS: u64 = 10;
const FEW: u64 = 3;
const BATCH: usize = 2;
const TIME: usize = 19;

/// Trains models with linear memories, with deep ones, of one MAC block, of all blocks, and of choices that a block
/// has, on both devices. All blocks for few steps: norms of what narrow memories answer, block upon block, multiply
/// rounding errors from step to step. Choices too: one step tells a wrong one.
pub fn training<D: Device, R: Device>(device: &D, reference: &R) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name: &str, count, config: &ModelConfig, dropout| {
        let name = format!("training, {name}");
        let found = trained(device, config, count, dropout);
        compare(&mut checks, &name, TOLERANCE, found, trained(reference, config, count, dropout));
    };
    add("1 memory layer", STEPS, &config(1), 0.0);
    add("2 memory layers", STEPS, &config(2), 0.0);
    add("mac", STEPS, &family(vec![Kind::Mac]), 0.0);
    add("mac, mag, mal, attention", FEW, &family(vec![Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention]), 0.0);
    for (name, config) in choices() {
        add(name, FEW, &config, 0.0);
    }
    add("1 memory layer, dropout", STEPS, &config(1), 0.3);
    checks
}

/// Blocks of these kinds.
fn family(kinds: Vec<Kind>) -> ModelConfig {
    ModelConfig {
        blocks: kinds.len(),
        block: Kinds::Each(kinds),
        persistent: 2,
        head_width: 6,
        attention: AttentionConfig { window: 5, segment: 8, kv_heads: 1, ..AttentionConfig::default() },
        ..config(1)
    }
}

/// What a block may be in place of its default.
fn choices() -> Vec<(&'static str, ModelConfig)> {
    let [mac, mut letter, mut gated] =
        [vec![Kind::Mac], vec![Kind::Mac, Kind::Mag, Kind::Mal], vec![Kind::Mag]].map(family);
    letter.set_wiring(Wiring::Letter);
    gated.combine = Combine::Gated;
    let [mut tokens, mut output, mut segment] = [mac.clone(), mac.clone(), mac];
    tokens.attention.feed = MacFeed::Tokens;
    output.attention.feed = MacFeed::Output;
    segment.attention.read = MacRead::Segment;
    let mut deep = family(vec![Kind::Mag]);
    (deep.memory, deep.layer_gates) = (config(2).memory, true);
    vec![
        ("mac, mag, mal to the letter", letter),
        ("mag, one gate", gated),
        ("mac, fed the tokens", tokens),
        ("mac, fed attention's output", output),
        ("mac, reads the segment's start", segment),
        ("mag, 2 memory layers with gates of their own", deep),
    ]
}

fn config(layers: usize) -> ModelConfig {
    // A deep memory with the sum loss and heads this narrow amplifies rounding beyond any use.
    let loss = if layers == 1 { Loss::Sum } else { Loss::Mean };
    ModelConfig {
        vocabulary: 13,
        width: 12,
        blocks: 2,
        heads: 2,
        head_width: 5,
        feed_forward: 17,
        tied: layers == 1,
        conv_width: 3,
        theta_max: 0.05,
        eta_max: 1.0,
        memory: MemoryConfig { layers, hidden: 7, chunk: 8, compute_chunk: 0, loss, ..MemoryConfig::default() },
        ..ModelConfig::default()
    }
}

/// Mean losses and parameters.
fn trained<D: Device>(d: &D, config: &ModelConfig, count: u64, dropout: f64) -> Result<Outputs> {
    // An epsilon above most gradients and a small rate: AdamW's division would otherwise make whole steps of rounding
    // errors, and two correct devices would part within ten steps.
    let constants =
        Constants { beta1: 0.9, beta2: 0.95, epsilon: 1e-2, weight_decay: 0.1, gate_rate: 1.0, clip: f64::INFINITY };
    let [losses, last] = steps(d, config, constants, [BATCH, TIME], (count, dropout))?;
    let rows = BATCH * TIME;
    let means = losses.chunks(rows).map(|losses| losses.iter().sum::<f64>() / rows as f64).collect();
    Ok(vec![("losses", means), ("parameters", last)])
}

/// The loss of every token in `count` steps of a model, and its last parameters; all numbers follow from the seed.
pub(super) fn steps<D: Device>(
    d: &D,
    config: &ModelConfig,
    constants: Constants,
    [batch, time]: [usize; 2],
    (count, dropout): (u64, f64),
) -> Result<[Vec<f64>; 2]> {
    let mut model = Model::new(d, config.clone(), 7)?;
    let mut optimiser = Optimiser::new(d, constants, &model.params)?;
    let (mut numbers, mut losses, rows) = (NumberGenerator(21), Vec::new(), batch * time);
    for step in 0..count {
        let ids = Arc::new(d.upload_indices(&numbers.indices(config.vocabulary as u32, rows))?);
        let targets = Arc::new(d.upload_indices(&numbers.indices(config.vocabulary as u32, rows))?);
        let mut gradients = Gradients::zeros_like(d, &model.params)?;
        let mut tape = Tape::recording(d, &model.params);
        let dropout = Dropout::new(dropout, 7, step, 0)?;
        let logits = model.forward(&mut tape, Input { dropout, ..Input::new(&ids, batch, time) })?.logits;
        let loss = tape.cross_entropy(config.vocabulary, &logits, &targets)?;
        losses.extend(get(d, loss.buffer())?);
        tape.backward(&loss, 1.0 / rows as f64, &mut gradients)?;
        optimiser.step(d, 1e-3, 0.0, &gradients, &mut model.params)?;
    }
    let mut last = Vec::new();
    for parameter in model.params.iter() {
        last.extend(get(d, parameter.value)?);
    }
    Ok([losses, last])
}
