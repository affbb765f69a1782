//! MAC's walk over segments, in one operation where a device has it: losses and gradients of a model of one block.

use super::{Check, NumberGenerator, Outputs, compare, get};
use crate::device::Device;
use crate::error::Result;
use crate::model::{AttentionConfig, Input, Kind, Kinds, MemoryConfig, Mode, Model, ModelConfig};
use crate::tape::{Gradients, Tape};
use std::sync::Arc;

/// Largest relative error: what one operation is allowed, in each of a chain of them.
const TOLERANCE: f64 = 1e-4;

/// Walks over segments that end with the sequence and that do not, in pieces of one chunk and of several, through more
/// than a tile of tokens.
pub(super) fn segments<D: Device, R: Device>(device: &D, reference: &R) -> Vec<Check> {
    let mut checks = Vec::new();
    let cases = [
        ("pieces", config([2, 6], (8, true), [1, 4]), [2, 19], Mode::On),
        ("chunks", config([3, 4], (8, false), [8, 0]), [1, 16], Mode::On),
        // Wider, because of many keys of four numbers one is nearly 0, and its direction half rounding.
        ("tiles", config([1, 12], (70, true), [1, 10]), [2, 91], Mode::On),
        ("frozen", config([1, 2], (3, true), [1, 3]), [3, 7], Mode::Frozen),
        ("shorter than a segment", config([2, 4], (64, true), [1, 64]), [2, 5], Mode::On),
    ];
    for (name, config, shape, mode) in cases {
        let name = format!("segments, {name}");
        let (got, want) = (walked(device, &config, shape, mode), walked(reference, &config, shape, mode));
        compare(&mut checks, &name, TOLERANCE, got, want);
    }
    checks
}

fn config(
    [heads, head_width]: [usize; 2],
    (segment, rotary): (usize, bool),
    [chunk, piece]: [usize; 2],
) -> ModelConfig {
    ModelConfig {
        vocabulary: 13,
        width: 12,
        blocks: 1,
        block: Kinds::All(Kind::Mac),
        heads,
        head_width,
        feed_forward: 7,
        conv_width: 3,
        theta_max: 0.1,
        attention: AttentionConfig { segment, rotary, kv_heads: 1, ..AttentionConfig::default() },
        memory: MemoryConfig { chunk, compute_chunk: piece, ..MemoryConfig::default() },
        ..ModelConfig::default()
    }
}

/// Losses, and the gradient of every parameter.
fn walked<D: Device>(d: &D, config: &ModelConfig, [batch, time]: [usize; 2], mode: Mode) -> Result<Outputs> {
    let model = Model::new(d, config.clone(), 7)?;
    let (mut numbers, rows) = (NumberGenerator(5), batch * time);
    let ids = Arc::new(d.upload_indices(&numbers.indices(config.vocabulary as u32, rows))?);
    let targets = Arc::new(d.upload_indices(&numbers.indices(config.vocabulary as u32, rows))?);
    let mut gradients = Gradients::zeros_like(d, &model.params)?;
    let mut tape = Tape::recording(d, &model.params);
    let logits = model.forward(&mut tape, Input { mode, ..Input::new(&ids, batch, time) })?.logits;
    let loss = tape.cross_entropy(config.vocabulary, &logits, &targets)?;
    let losses = get(d, loss.buffer())?;
    tape.backward(&loss, 1.0 / rows as f64, &mut gradients)?;
    let mut outputs = vec![("losses", losses)];
    for gradient in gradients.iter() {
        outputs.push(("gradient", get(d, gradient)?));
    }
    Ok(outputs)
}
