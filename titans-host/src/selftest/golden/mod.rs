//! Golden vectors of the memory from files.

mod file;

use super::{Check, NumberGenerator, get, put};
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOutputs};
use crate::error::{Error, Result};
use file::{Vectors, named};
use std::path::Path;
use titans_kernel::memory::Read;

/// Largest error relative to the largest value of a tensor, in `f32`, where the recurrence does not amplify rounding.
const TOLERANCE: f64 = 1e-5;
/// Where it does: this many times what rounding the inputs alone does to the reference.
const AMPLIFIED: f64 = 4.0;
/// One rounding in `f32`.
const UNIT: f64 = 1.0 / (1u64 << 23) as f64;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$((concat!($name, ".safetensors"), include_bytes!(concat!("../../../../tests/golden/", $name, ".safetensors")))),*]
    };
}

/// Four vectors for machines that have the program alone: a matrix memory, two deep ones with their gradients, a
/// residual one of several heads.
const BUILT_IN: [(&str, &[u8]); 4] =
    built_in!["linear_full_c16", "mlp2_full_c4", "mlp3_gelu_c16", "residual2_d8_h3_T37_c16"];

/// Runs golden vectors on a device and compares read-outs, final state, surprise and, where a vector has them, all
/// gradients: every `*.safetensors` file of a folder (tensors named as in `titans memory --help`, read-outs `y.post`,
/// `y.pre` and `y.chunk_start`), or four built-in ones.
///
/// Allowed is 1e-5 of a tensor's largest value. Some deep memories amplify rounding by more than that; there it is four
/// times the largest change of the reference (in `f64`) over four random roundings of its inputs to `f32`.
///
/// # Errors
/// [`Error::Io`] and [`Error::File`] for a folder without vectors or a file that is not one; errors of the devices.
pub fn golden<D: Device, R: Device>(device: &D, reference: &R, folder: Option<&Path>) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    each(folder, |path, bytes| {
        checks.extend(vectors(device, reference, &Vectors::new(path, bytes)?, None)?);
        Ok(())
    })?;
    Ok(checks)
}

/// As [`golden`], of matrix memories alone: the device computes 3 and 16 chunks at once, and 64 of one token
/// ([`MemorySpec::compute_chunk`](titans_kernel::memory::MemorySpec::compute_chunk)), which are the same numbers.
///
/// # Errors
/// As [`golden`].
pub fn golden_in_pieces<D: Device, R: Device>(device: &D, reference: &R, folder: Option<&Path>) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    each(folder, |path, bytes| {
        let file = Vectors::new(path, bytes)?;
        let at_once: &[usize] = match (file.spec.is_linear(), file.spec.chunk) {
            (false, _) => &[],
            (true, 1) => &[3, 16, 64],
            (true, _) => &[3, 16],
        };
        for chunks in at_once {
            checks.extend(vectors(device, reference, &file, Some(chunks * file.spec.chunk))?);
        }
        Ok(())
    })?;
    Ok(checks)
}

/// Every `*.safetensors` file of a folder in the order of their names, or the built-in ones.
fn each(folder: Option<&Path>, mut visit: impl FnMut(&Path, &[u8]) -> Result<()>) -> Result<()> {
    let Some(folder) = folder else {
        return BUILT_IN.iter().try_for_each(|(name, bytes)| visit(Path::new(name), bytes));
    };
    let fail = |e| Error::io(folder, "listing golden vectors", e);
    let entries = std::fs::read_dir(folder).map_err(fail)?.collect::<std::io::Result<Vec<_>>>().map_err(fail)?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "safetensors"));
    files.sort();
    if files.is_empty() {
        return Err(Error::file(folder, "no .safetensors file in it; give the folder of the golden vectors"));
    }
    for file in files {
        let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, "reading golden vectors", e))?;
        visit(&file, &bytes)?;
    }
    Ok(())
}

/// The checks of one file. `piece`: tokens that the device computes at once, where they are more than a chunk.
fn vectors<D: Device, R: Device>(
    device: &D,
    reference: &R,
    vectors: &Vectors<'_>,
    piece: Option<usize>,
) -> Result<Vec<Check>> {
    let got = outputs(&vectors.in_pieces(piece.unwrap_or(0)), device, None)?;
    let exact = outputs(vectors, reference, None)?;
    let rounded = (1..=4).map(|seed| outputs(vectors, reference, Some(seed))).collect::<Result<Vec<_>>>()?;
    let pieces = piece.map_or_else(String::new, |n| format!(", pieces of {n}"));
    let check = |(i, output): (usize, &GoldenOutput)| {
        let change = rounded.iter().map(|r| Check::new("", 0.0, &r[i].got, &exact[i].got).error);
        let tolerance = change.fold(TOLERANCE, |a, x| a.max(AMPLIFIED * x));
        Check::new(format!("golden {}{pieces} {}", vectors.name(), output.name), tolerance, &output.got, &output.want)
    };
    Ok(got.iter().enumerate().map(check).collect())
}

/// One tensor of the file, and what a device made of it.
struct GoldenOutput {
    name: String,
    got: Vec<f64>,
    want: Vec<f64>,
}

/// Copies to a device; with a seed, every number is off by one rounding, up or down.
fn put_rounded<D: Device>(d: &D, x: &[f64], noise: Option<u64>) -> Result<D::Buffer> {
    let Some(seed) = noise else { return put(d, x) };
    let mut numbers = NumberGenerator(seed);
    put(d, &x.iter().map(|x| x * (1.0 + numbers.uniform().signum() * UNIT)).collect::<Vec<_>>())
}

/// The names of weights and momentum.
fn letter(momentum: bool) -> &'static str {
    if momentum { "s" } else { "w" }
}

/// The inputs of a file on a device.
struct Inputs<D: Device> {
    k: D::Buffer,
    v: D::Buffer,
    q: D::Buffer,
    gates: D::Buffer,
    state: D::Buffer,
}

impl<D: Device> Inputs<D> {
    fn new(file: &Vectors<'_>, d: &D, noise: Option<u64>) -> Result<Self> {
        let [batch, heads, time] = file.dims;
        let (tokens, key, value) = (batch * heads * time, file.spec.key_width(), file.spec.value_width());
        let upload = |name: &str, width: usize| {
            put_rounded(d, &file.token_major(&file.need(name, tokens * width)?, width), noise)
        };
        // A file without forgetting has no alpha, one without momentum no eta.
        let gate = |name: &str| {
            let gate = file.find(name, tokens)?.unwrap_or_else(|| vec![0.0; tokens]);
            Ok::<_, Error>(file.token_major(&gate, 1))
        };
        let parts = [gate("alpha")?, file.token_major(&file.need("theta", tokens)?, 1), gate("eta")?];
        let mut gates = Vec::with_capacity(3 * tokens);
        for at in (0..tokens).step_by(heads) {
            parts.iter().for_each(|gate| gates.extend_from_slice(&gate[at..at + heads]));
        }
        let state = file.state(|momentum, part| named(letter(momentum), "0", part))?;
        Ok(Self {
            k: upload("k", key)?,
            v: upload("v", value)?,
            q: upload("q", key)?,
            gates: put_rounded(d, &gates, noise)?,
            state: put_rounded(d, &state, noise)?,
        })
    }

    fn of(&self) -> MemoryInputs<'_, D::Buffer, D::Indices> {
        MemoryInputs { k: &self.k, v: &self.v, q: &self.q, gates: &self.gates, state: &self.state, mask: None }
    }
}

/// Everything the file knows, from a device.
fn outputs<D: Device>(file: &Vectors<'_>, d: &D, noise: Option<u64>) -> Result<Vec<GoldenOutput>> {
    let tokens: usize = file.dims.iter().product();
    let value = file.spec.value_width();
    let inputs = Inputs::new(file, d, noise)?;
    let mut all = Vec::new();
    let mut boundaries = d.alloc(file.op(Read::After).boundaries_len())?;
    for (read, name) in [(Read::Before, "y.pre"), (Read::ChunkStart, "y.chunk_start"), (Read::After, "y.post")] {
        let op = file.op(read);
        let (mut y, mut surprise, mut last) = (d.alloc(tokens * value)?, d.alloc(tokens)?, d.alloc(op.state_len())?);
        let outputs = MemoryOutputs {
            y: &mut y,
            surprise: Some(&mut surprise),
            state: Some(&mut last),
            boundaries: Some(&mut boundaries),
        };
        d.memory(&op, inputs.of(), outputs)?;
        if let Some(want) = file.find(name, tokens * value)? {
            all.push(GoldenOutput { name: name.to_owned(), got: get(d, &y)?, want: file.token_major(&want, value) });
        }
        if !read.is_after() {
            continue;
        }
        if let Some(want) = file.find("surprise", tokens)? {
            let (got, want) = (get(d, &surprise)?, file.token_major(&want, 1));
            all.push(GoldenOutput { name: "surprise".to_owned(), got, want });
        }
        let got = get(d, &last)?;
        let want = file.state(|momentum, part| named(letter(momentum), "", part))?;
        for (momentum, part, at, len) in file.pieces() {
            let name = named(letter(momentum), "", part);
            if file.has(&name) {
                let cut =
                    |x: &[f64]| x.chunks_exact(file.spec.state_len()).flat_map(|m| m[at..at + len].to_vec()).collect();
                all.push(GoldenOutput { name, got: cut(&got), want: cut(&want) });
            }
        }
    }
    if file.has("cot.y") {
        gradients(file, d, &inputs, &boundaries, &mut all)?;
    }
    Ok(all)
}

/// The gradients, which are those of the read after the write.
fn gradients<D: Device>(
    file: &Vectors<'_>,
    d: &D,
    inputs: &Inputs<D>,
    boundaries: &D::Buffer,
    all: &mut Vec<GoldenOutput>,
) -> Result<()> {
    let [_, heads, _] = file.dims;
    let (tokens, key, value) = (file.dims.iter().product::<usize>(), file.spec.key_width(), file.spec.value_width());
    let op = file.op(Read::After);
    let d_y = put(d, &file.token_major(&file.need("cot.y", tokens * value)?, value))?;
    let d_last = put(d, &file.state(|momentum, part| format!("cot.{}", named(letter(momentum), "", part)))?)?;
    let (mut d_k, mut d_v, mut d_q) = (d.alloc(tokens * key)?, d.alloc(tokens * value)?, d.alloc(tokens * key)?);
    let (mut d_gates, mut d_state) = (d.alloc(3 * tokens)?, d.alloc(op.state_len())?);
    let gradients =
        MemoryGradients { d_k: &mut d_k, d_v: &mut d_v, d_q: &mut d_q, d_gates: &mut d_gates, d_state: &mut d_state };
    d.memory_vjp(&op, inputs.of(), boundaries, Some(&d_y), Some(&d_last), gradients)?;
    for (name, got, width) in [("grad.k", &d_k, key), ("grad.v", &d_v, value), ("grad.q", &d_q, key)] {
        if let Some(want) = file.find(name, tokens * width)? {
            all.push(GoldenOutput { name: name.to_owned(), got: get(d, got)?, want: file.token_major(&want, width) });
        }
    }
    let d_gates = get(d, &d_gates)?;
    for (gate, name) in ["grad.alpha", "grad.theta", "grad.eta"].into_iter().enumerate() {
        if let Some(want) = file.find(name, tokens)? {
            let rows = d_gates.chunks_exact(heads).skip(gate).step_by(3);
            let got = rows.flat_map(|row| row.iter().copied()).collect();
            all.push(GoldenOutput { name: name.to_owned(), got, want: file.token_major(&want, 1) });
        }
    }
    let d_state = get(d, &d_state)?;
    for (momentum, part, at, len) in file.pieces() {
        let name = format!("grad.{}", named(letter(momentum), "0", part));
        let Some(want) = file.find(&name, heads * len)? else { continue };
        // One initial state a head: the gradient is the sum over the batch.
        let mut got = vec![0.0; heads * len];
        for (m, memory) in d_state.chunks_exact(file.spec.state_len()).enumerate() {
            for (g, x) in got[m % heads * len..][..len].iter_mut().zip(&memory[at..at + len]) {
                *g += x;
            }
        }
        all.push(GoldenOutput { name, got, want });
    }
    Ok(())
}
