//! Sizes of models at work, which small ones cannot stand for: wide memories by the thousand, arrays beyond 2³¹
//! elements, the same training step twice.
//!
//! Only the first sequences are computed on the reference. The device has them over and over, so that every other
//! sequence has to come out with the bits of its like.

use super::memory::{MemoryCase, TOLERANCE, gates, state};
use super::training::steps;
use super::{Check, NumberGenerator, Outputs, compare, get, put};
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs, MoveRows, Place};
use crate::error::{Error, Result};
use crate::model::{Kind, Kinds, ModelConfig};
use crate::train::TrainConfig;
use titans_kernel::memory::{MemorySpec, Read};

/// Sequences that the reference computes.
const DISTINCT: usize = 3;

/// What [`real`] checks.
#[derive(Clone, Debug)]
pub struct RealSizes {
    /// Widths of keys and values, each a memory in the exact form and one chunk by chunk.
    pub widths: Vec<usize>,
    /// How often the distinct sequences come, of `heads` memories and `time` tokens.
    pub copies: usize,
    /// Memories of a sequence.
    pub heads: usize,
    /// Tokens of a sequence.
    pub time: usize,
    /// Elements of the large arrays, at the least.
    pub far: usize,
    /// The models that are trained twice, with sequences and tokens of a step.
    pub models: Vec<(&'static str, ModelConfig, [usize; 2])>,
}

impl Default for RealSizes {
    /// Those for a GPU: minutes on a CPU.
    fn default() -> Self {
        let mac = ModelConfig {
            blocks: 2,
            width: 256,
            heads: 2,
            head_width: 128,
            feed_forward: 512,
            block: Kinds::All(Kind::Mac),
            ..ModelConfig::default()
        };
        Self {
            widths: vec![64, 128, 256],
            copies: 100,
            heads: 8,
            time: 70,
            far: (1 << 31) + (1 << 12),
            models: vec![("text", ModelConfig::default(), [16, 256]), ("mac", mac, [4, 512])],
        }
    }
}

/// Runs memories of these sizes, forward and backward, arrays whose last elements lie far from their first, and
/// training steps twice. What the device has no memory for is skipped, and says so.
pub fn real<D: Device, R: Device>(device: &D, reference: &R, sizes: &RealSizes) -> Vec<Check> {
    let mut checks = Vec::new();
    for &width in &sizes.widths {
        for chunk in [1, 16] {
            let name = format!("real memory, width {width}, chunk {chunk}");
            memory(&mut checks, device, reference, &name, &sizes.operation(width, chunk, sizes.time), sizes.copies);
        }
    }
    far_rows(&mut checks, device, sizes.far);
    if let Some(&width) = sizes.widths.last() {
        let op = sizes.operation(width, 1, 2);
        let copies = op.as_ref().map_or(1, |op| sizes.far.div_ceil(op.state_len()));
        memory(&mut checks, device, reference, "real memory, far states", &op, copies);
    }
    for (name, model, shape) in &sizes.models {
        let name = format!("real training twice, {name}");
        compare(&mut checks, &name, 0.0, trained(device, model, *shape), trained(device, model, *shape));
    }
    checks
}

impl RealSizes {
    /// The distinct sequences' operation; with chunks of 1 in the exact form.
    fn operation(&self, width: usize, chunk: usize, time: usize) -> Result<MemoryOp> {
        let mut spec = MemorySpec::new(&[width, width])?;
        if chunk != 1 {
            (spec.chunk, spec.compute_chunk) = (chunk, 0);
        }
        let (batch, heads) = (DISTINCT, self.heads);
        Ok(MemoryOp { spec, batch, time, heads, read: Read::After, read_only: false, token_form: false })
    }
}

/// Why there is no room for so many elements, if there is none.
fn no_room<D: Device>(device: &D, elements: usize) -> Option<String> {
    let bytes = elements.saturating_mul(size_of::<f32>()) as u64;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    match device.memory_use() {
        Some(memory) if memory.free >= bytes => None,
        Some(memory) => Some(format!("needs {} MiB, {} MiB are free", mib(bytes), mib(memory.free))),
        None if bytes < 1 << 30 => None,
        None => Some(format!("needs {} MiB, and the device does not say what it has", mib(bytes))),
    }
}

/// The distinct sequences of `op` over and over, `copies` times.
fn memory<D: Device, R: Device>(
    checks: &mut Vec<Check>,
    device: &D,
    reference: &R,
    name: &str,
    op: &Result<MemoryOp>,
    copies: usize,
) {
    let op = match op {
        Ok(op) => op,
        Err(error) => return compare(checks, name, TOLERANCE, Err(Error::usage(error.to_string())), Ok(Vec::new())),
    };
    // Inputs, outputs and gradients of tokens and what a chunk works in; states given, kept, at the end, and their
    // cotangents.
    let tokens = 40 * op.batch * op.time * op.heads * op.spec.key_width();
    let all = copies.saturating_mul(tokens + 7 * op.state_len() + op.boundaries_len());
    if let Some(why) = no_room(device, all) {
        return checks.push(Check::skip(name, why));
    }
    let mut repeats = Vec::new();
    compare(checks, name, TOLERANCE, run(device, op, copies, &mut repeats), run(reference, op, 1, &mut Vec::new()));
    for (output, differing) in repeats {
        checks.push(Check::new(format!("{name} {output} of all sequences"), 0.0, &[differing], &[0.0]));
    }
}

/// Outputs and gradients of the distinct sequences; to `repeats` how far those of the others are from theirs.
fn run<D: Device>(d: &D, op: &MemoryOp, copies: usize, repeats: &mut Vec<(&'static str, f64)>) -> Result<Outputs> {
    let (mut numbers, tokens, width) = (NumberGenerator(5), op.batch * op.time * op.heads, op.spec.key_width());
    let case = MemoryCase { name: "", op: op.clone(), masked: false, theta: 0.1 };
    let length = 1.7 / (width as f64).sqrt();
    let all = |x: Vec<f64>| again(d, &put(d, &x)?, x.len(), copies);
    let k = all(numbers.around(0.0, length, tokens * width))?;
    let v = all(numbers.vec(tokens * width))?;
    let q = all(numbers.around(0.0, length, tokens * width))?;
    let (gates, start) = (all(gates(&mut numbers, &case))?, all(state(&mut numbers, op))?);
    let (d_y, d_last) = (all(numbers.vec(tokens * width))?, all(numbers.vec(op.state_len()))?);
    let op = MemoryOp { batch: copies * op.batch, ..op.clone() };
    let tokens = copies * tokens;
    let inputs = || MemoryInputs { k: &k, v: &v, q: &q, gates: &gates, state: &start, mask: None };
    let (mut y, mut last, mut boundaries) =
        (d.alloc(tokens * width)?, d.alloc(op.state_len())?, d.alloc(op.boundaries_len())?);
    let outputs =
        MemoryOutputs { y: &mut y, surprise: None, state: Some(&mut last), boundaries: Some(&mut boundaries) };
    d.memory(&op, inputs(), outputs)?;
    let mut out =
        vec![("y", firsts(d, "y", y, copies, repeats)?), ("state", firsts(d, "state", last, copies, repeats)?)];
    let [mut d_k, mut d_v, mut d_q] = [d.alloc(tokens * width)?, d.alloc(tokens * width)?, d.alloc(tokens * width)?];
    let (mut d_gates, mut d_state) = (d.alloc(op.gates_len())?, d.alloc(op.state_len())?);
    let gradients =
        MemoryGradients { d_k: &mut d_k, d_v: &mut d_v, d_q: &mut d_q, d_gates: &mut d_gates, d_state: &mut d_state };
    d.memory_vjp(&op, inputs(), &boundaries, Some(&d_y), Some(&d_last), gradients)?;
    for (name, x) in [("d_k", d_k), ("d_v", d_v), ("d_q", d_q), ("d_gates", d_gates), ("d_state", d_state)] {
        out.push((name, firsts(d, name, x, copies, repeats)?));
    }
    Ok(out)
}

/// The first `len` elements of `x`, `copies` times.
fn again<D: Device>(d: &D, x: &D::Buffer, len: usize, copies: usize) -> Result<D::Buffer> {
    let mut y = d.alloc(len * copies)?;
    let (from, to) = (Place::new(0, 0), Place::new(1, 0));
    d.move_rows(&MoveRows { batch: copies, rows: 1, width: len, from, to, add: false }, x, &mut y)?;
    Ok(y)
}

/// The distinct sequences' part of an output of all; to `repeats` the squared distance of the others from it, on
/// the device.
fn firsts<D: Device>(
    d: &D,
    name: &'static str,
    mut x: D::Buffer,
    copies: usize,
    repeats: &mut Vec<(&'static str, f64)>,
) -> Result<Vec<f64>> {
    let len = d.len(&x) / copies;
    let first = again(d, &x, len, 1)?;
    d.add_scaled(-1.0, &again(d, &first, len, copies)?, &mut x)?;
    let mut total = d.zeros(1)?;
    d.sum_squares(&x, &mut total)?;
    repeats.extend(get(d, &total)?.first().map(|&total| (name, total)));
    get(d, &first)
}

/// Rows at both ends and in the middle of a table that is larger than 32 bits count: added to, and read again.
fn far_rows<D: Device>(checks: &mut Vec<Check>, d: &D, far: usize) {
    const WIDTH: usize = 64;
    const NAME: &str = "real table, far rows";
    if let Some(why) = no_room(d, far + 4096) {
        return checks.push(Check::skip(NAME, why));
    }
    let rows = far.div_ceil(WIDTH);
    let added = NumberGenerator(9).vec(4 * WIDTH);
    let found = || -> Result<Outputs> {
        let mut table = d.zeros(rows * WIDTH)?;
        let ids = d.upload_indices(&[0, rows / 2, rows - 2, rows - 1].map(|row| row as u32))?;
        d.embedding_vjp(WIDTH, &ids, &put(d, &added)?, &mut table)?;
        let (mut y, mut total) = (d.alloc(4 * WIDTH)?, d.zeros(1)?);
        d.embedding(WIDTH, &ids, &table, &mut y)?;
        d.sum_squares(&table, &mut total)?;
        Ok(vec![("read", get(d, &y)?), ("sum of squares", get(d, &total)?)])
    };
    let squares = added.iter().map(|x| x * x).sum();
    compare(checks, NAME, 1e-6, found(), Ok(vec![("read", added.clone()), ("sum of squares", vec![squares])]));
}

/// Losses and parameters of three steps of a model, all of whose numbers follow from the seed.
fn trained<D: Device>(d: &D, config: &ModelConfig, sizes: [usize; 2]) -> Result<Outputs> {
    let [losses, last] = steps(d, config, TrainConfig::default().optimiser(), sizes, (3, 0.0))?;
    Ok(vec![("losses", losses), ("parameters", last)])
}
