//! Golden vectors of the memory from files.

use super::{Check, get, put};
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network, Read};

/// Largest error relative to the largest value of a tensor, in `f32`.
const TOLERANCE: f64 = 1e-5;
/// The same of a gradient, which passes through every token before it.
const GRADIENT_TOLERANCE: f64 = 3e-5;

/// Runs every `*.safetensors` file of a folder (tensors named as in `titans memory --help`, read-outs `y.post`, `y.pre`
/// and `y.chunk_start`) and compares read-outs, final state, surprise and, where the file has them, all gradients.
///
/// # Errors
/// [`Error::Io`] and [`Error::File`] for a folder without vectors or a file that is not one. What a device gets wrong is
/// a failed [`Check`].
pub fn golden<D: Device>(device: &D, folder: &Path) -> Result<Vec<Check>> {
    let listing = std::fs::read_dir(folder).map_err(|e| Error::io(folder, "listing golden vectors", e))?;
    let mut files: Vec<_> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "safetensors"));
    files.sort();
    if files.is_empty() {
        return Err(Error::file(folder, "no *.safetensors file in it; give the folder of the golden vectors"));
    }
    let mut checks = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, "reading golden vectors", e))?;
        checks.extend(Vectors::new(&file, &bytes)?.check(device)?);
    }
    Ok(checks)
}

/// One file.
struct Vectors<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    spec: MemorySpec,
    /// B, H, T.
    dims: [usize; 3],
}

impl<'a> Vectors<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let bad = |e: &dyn std::fmt::Display| Error::file(path, format!("not a golden vector: {e}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| bad(&e))?;
        let text = header.metadata().as_ref().and_then(|m| m.get("config")).ok_or_else(|| bad(&"no config"))?;
        let config: serde_json::Value = serde_json::from_str(text).map_err(|e| bad(&e))?;
        let number = |v: &serde_json::Value| v.as_u64().and_then(|x| usize::try_from(x).ok());
        let field = |name: &str| number(&config[name]).ok_or_else(|| bad(&format!("no {name} in the config")));
        let widths: Vec<usize> = config["dims"].as_array().into_iter().flatten().filter_map(number).collect();
        let mut spec = MemorySpec::new(&widths)?;
        spec.chunk = field("chunk")?;
        spec.network = if config["network"] == "residual" { Network::Residual } else { Network::Plain };
        spec.activation = match config["activation"].as_str() {
            Some("silu") => Activation::Silu,
            Some("gelu") => Activation::Gelu,
            Some("gelu_tanh" | "gelu-tanh") => Activation::GeluTanh,
            Some("relu") => Activation::Relu,
            Some("identity") => Activation::Identity,
            other => return Err(bad(&format!("unknown activation {other:?}"))),
        };
        spec.loss = match config["scale"].as_str().or_else(|| config["loss"].as_str()) {
            Some("sum") => Loss::Sum,
            Some("half") => Loss::Half,
            Some("mean") => Loss::Mean,
            other => return Err(bad(&format!("unknown loss {other:?}"))),
        };
        spec.validate()?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| bad(&e))?;
        Ok(Self { path, tensors, spec, dims: [field("B")?, field("H")?, field("T")?] })
    }

    fn op(&self, read: Read) -> MemoryOp {
        let [batch, heads, time] = self.dims;
        MemoryOp { spec: self.spec.clone(), batch, time, heads, read, read_only: false, token_form: false }
    }

    /// A tensor of `len` numbers; `None` when the file has none of that name.
    fn find(&self, name: &str, len: usize) -> Result<Option<Vec<f64>>> {
        let Ok(view) = self.tensors.tensor(name) else { return Ok(None) };
        let data: Vec<f64> = view.data().chunks_exact(8).map(titans_kernel::Scalar::read_le).collect();
        if view.dtype() != Dtype::F64 || data.len() != len {
            return Err(Error::file(self.path, format!("{name}: expected {len} numbers in f64")));
        }
        Ok(Some(data))
    }

    fn need(&self, name: &str, len: usize) -> Result<Vec<f64>> {
        self.find(name, len)?.ok_or_else(|| Error::file(self.path, format!("{name} is missing")))
    }

    /// `[B, H, T, d]` to the device's `[B, T, H, d]`.
    fn token_major(&self, x: &[f64], d: usize) -> Vec<f64> {
        let [batch, heads, time] = self.dims;
        let mut y = Vec::with_capacity(x.len());
        for b in 0..batch {
            for t in 0..time {
                for h in 0..heads {
                    y.extend_from_slice(&x[((b * heads + h) * time + t) * d..][..d]);
                }
            }
        }
        y
    }

    /// The parts of a block of parameters: name suffix, offset, length.
    fn parts(&self) -> Vec<(Option<usize>, usize, usize)> {
        let mut parts: Vec<_> = (0..self.spec.layers())
            .map(|l| (Some(l), self.spec.layer_offset(l), self.spec.layer(l).0 * self.spec.layer(l).1))
            .collect();
        if self.spec.gamma_len() > 0 {
            parts.push((None, self.spec.params() - self.spec.gamma_len(), self.spec.gamma_len()));
        }
        parts
    }

    /// A state `[B, H, 2P]` from tensors named by `name(momentum, part)`, one a head or one a memory; zeros where absent.
    fn state(&self, name: impl Fn(bool, Option<usize>) -> String) -> Result<Vec<f64>> {
        let [batch, heads, _] = self.dims;
        let (params, per) = (self.spec.params(), self.spec.state_len());
        let mut state = vec![0.0; batch * heads * per];
        for momentum in [false, true] {
            for (part, offset, len) in self.parts() {
                let name = name(momentum, part);
                let heads_only = self.tensors.tensor(&name).is_ok_and(|t| t.data().len() / 8 == heads * len);
                let count = if heads_only { heads } else { batch * heads };
                let Some(data) = self.find(&name, count * len)? else { continue };
                for m in 0..batch * heads {
                    let at = m * per + usize::from(momentum) * params + offset;
                    state[at..at + len].copy_from_slice(&data[m % count * len..][..len]);
                }
            }
        }
        Ok(state)
    }

    fn check<D: Device>(&self, d: &D) -> Result<Vec<Check>> {
        let [batch, heads, time] = self.dims;
        let (tokens, key, value) = (batch * heads * time, self.spec.key_width(), self.spec.value_width());
        let upload = |name: &str, width: usize| put(d, &self.token_major(&self.need(name, tokens * width)?, width));
        let (k, v, q) = (upload("k", key)?, upload("v", value)?, upload("q", key)?);
        // A file without forgetting has no alpha, one without momentum no eta.
        let gate = |name: &str| {
            let gate = self.find(name, tokens)?.unwrap_or_else(|| vec![0.0; tokens]);
            Ok::<_, Error>(self.token_major(&gate, 1))
        };
        let parts = [gate("alpha")?, self.token_major(&self.need("theta", tokens)?, 1), gate("eta")?];
        let mut gates = Vec::with_capacity(3 * tokens);
        for at in (0..tokens).step_by(heads) {
            parts.iter().for_each(|gate| gates.extend_from_slice(&gate[at..at + heads]));
        }
        let gates = put(d, &gates)?;
        let state = put(d, &self.state(|momentum, part| named(if momentum { "s" } else { "w" }, "0", part))?)?;
        let inputs = || MemoryInputs { k: &k, v: &v, q: &q, gates: &gates, state: &state, mask: None };
        let stem = self.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut checks = Vec::new();
        let mut add = |output: &str, tolerance, got: &[f64], want: &[f64]| {
            checks.push(Check::new(format!("{stem} {output}"), tolerance, got, want));
        };
        let mut boundaries = d.alloc(self.op(Read::After).boundaries_len())?;
        for (read, name) in [(Read::Before, "y.pre"), (Read::ChunkStart, "y.chunk_start"), (Read::After, "y.post")] {
            let op = self.op(read);
            let (mut y, mut surprise, mut last) =
                (d.alloc(tokens * value)?, d.alloc(tokens)?, d.alloc(op.state_len())?);
            let outputs = MemoryOutputs {
                y: &mut y,
                surprise: Some(&mut surprise),
                state: Some(&mut last),
                boundaries: Some(&mut boundaries),
            };
            d.memory(&op, inputs(), outputs)?;
            if let Some(want) = self.find(name, tokens * value)? {
                add(name, TOLERANCE, &get(d, &y)?, &self.token_major(&want, value));
            }
            if let (Read::After, Some(want)) = (read, self.find("surprise", tokens)?) {
                add("surprise", TOLERANCE, &get(d, &surprise)?, &self.token_major(&want, 1));
            }
            let want = self.state(|momentum, part| named(if momentum { "s" } else { "w" }, "", part))?;
            self.each_part(&get(d, &last)?, &want, |name, got, want| add(&name, TOLERANCE, got, want));
        }
        if self.tensors.tensor("cot.y").is_err() {
            return Ok(checks);
        }
        let d_y = upload("cot.y", value)?;
        let d_last = put(
            d,
            &self.state(|momentum, part| format!("cot.{}", named(if momentum { "s" } else { "w" }, "", part)))?,
        )?;
        let (mut d_k, mut d_v, mut d_q) = (d.alloc(tokens * key)?, d.alloc(tokens * value)?, d.alloc(tokens * key)?);
        let (mut d_gates, mut d_state) = (d.alloc(3 * tokens)?, d.alloc(self.op(Read::After).state_len())?);
        let gradients = MemoryGradients {
            d_k: &mut d_k,
            d_v: &mut d_v,
            d_q: &mut d_q,
            d_gates: &mut d_gates,
            d_state: &mut d_state,
        };
        d.memory_vjp(&self.op(Read::After), inputs(), &boundaries, Some(&d_y), Some(&d_last), gradients)?;
        for (name, got, width) in [("grad.k", &d_k, key), ("grad.v", &d_v, value), ("grad.q", &d_q, key)] {
            if let Some(want) = self.find(name, tokens * width)? {
                add(name, GRADIENT_TOLERANCE, &get(d, got)?, &self.token_major(&want, width));
            }
        }
        let d_gates = get(d, &d_gates)?;
        for (gate, name) in ["grad.alpha", "grad.theta", "grad.eta"].into_iter().enumerate() {
            if let Some(want) = self.find(name, tokens)? {
                let got: Vec<f64> =
                    d_gates.chunks_exact(heads).skip(gate).step_by(3).flat_map(|row| row.iter().copied()).collect();
                add(name, GRADIENT_TOLERANCE, &got, &self.token_major(&want, 1));
            }
        }
        let d_state = get(d, &d_state)?;
        for momentum in [false, true] {
            for (part, offset, len) in self.parts() {
                let name = format!("grad.{}", named(if momentum { "s" } else { "w" }, "0", part));
                let Some(want) = self.find(&name, heads * len)? else { continue };
                // One initial state a head: the gradient is the sum over the batch.
                let mut got = vec![0.0; heads * len];
                for m in 0..batch * heads {
                    let at = m * self.spec.state_len() + usize::from(momentum) * self.spec.params() + offset;
                    for (g, x) in got[m % heads * len..][..len].iter_mut().zip(&d_state[at..at + len]) {
                        *g += x;
                    }
                }
                add(&name, GRADIENT_TOLERANCE, &got, &want);
            }
        }
        Ok(checks)
    }

    /// Compares a final state part by part, those that the file has.
    fn each_part(&self, got: &[f64], want: &[f64], mut add: impl FnMut(String, &[f64], &[f64])) {
        let per = self.spec.state_len();
        for momentum in [false, true] {
            for (part, offset, len) in self.parts() {
                let name = named(if momentum { "s" } else { "w" }, "", part);
                if self.tensors.tensor(&name).is_err() {
                    continue;
                }
                let at = usize::from(momentum) * self.spec.params() + offset;
                let cut = |x: &[f64]| x.chunks_exact(per).flat_map(|m| m[at..at + len].to_vec()).collect::<Vec<_>>();
                add(name, &cut(got), &cut(want));
            }
        }
    }
}

/// `w0.1`, `s.0`, `gamma0`, `sgamma` …
fn named(letter: &str, zero: &str, part: Option<usize>) -> String {
    match part {
        Some(l) => format!("{letter}{zero}.{l}"),
        None => format!("{}gamma{zero}", if letter == "s" { "s" } else { "" }),
    }
}
