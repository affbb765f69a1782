//! A file of golden vectors: its configuration and its tensors in the device's layouts.

use crate::device::MemoryOp;
use crate::error::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;
use std::rc::Rc;
use titans_kernel::Choice;
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network, Read};

/// One file.
#[derive(Clone)]
pub(super) struct Vectors<'a> {
    path: &'a Path,
    tensors: Rc<SafeTensors<'a>>,
    pub spec: MemorySpec,
    /// B, H, T.
    pub dims: [usize; 3],
}

impl<'a> Vectors<'a> {
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let bad = |e: &dyn std::fmt::Display| Error::file(path, format!("not a golden vector: {e}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| bad(&e))?;
        let text = header.metadata().as_ref().and_then(|m| m.get("config")).ok_or_else(|| bad(&"no config"))?;
        let config: serde_json::Value = serde_json::from_str(text).map_err(|e| bad(&e))?;
        let number = |v: &serde_json::Value| v.as_u64().and_then(|x| usize::try_from(x).ok());
        let field = |name: &str| number(&config[name]).ok_or_else(|| bad(&format!("no {name} in the config")));
        let widths: Vec<usize> = config["dims"].as_array().into_iter().flatten().filter_map(number).collect();
        let mut spec = MemorySpec::new(&widths)?;
        (spec.chunk, spec.compute_chunk, spec.clip) = (field("chunk")?, 0, None);
        let named = |what: &str| config[what].as_str().unwrap_or_default().replace('_', "-");
        let unknown = |what: &str| bad(&format!("unknown {what} {:?}", config[what]));
        spec.network = match named("network").as_str() {
            "" => Network::Plain,
            name => Network::of_name(name).ok_or_else(|| unknown("network"))?,
        };
        spec.activation = Activation::of_name(&named("activation")).ok_or_else(|| unknown("activation"))?;
        let loss = Some(named("scale")).filter(|name| !name.is_empty()).unwrap_or_else(|| named("loss"));
        spec.loss = Loss::of_name(&loss).ok_or_else(|| unknown("loss"))?;
        spec.validate()?;
        let tensors = Rc::new(SafeTensors::deserialize(bytes).map_err(|e| bad(&e))?);
        Ok(Self { path, tensors, spec, dims: [field("B")?, field("H")?, field("T")?] })
    }

    /// The same file, of which n tokens are computed at once.
    pub fn in_pieces(&self, n: usize) -> Self {
        let mut file = self.clone();
        file.spec.compute_chunk = n;
        file
    }

    pub fn op(&self, read: Read) -> MemoryOp {
        let [batch, heads, time] = self.dims;
        MemoryOp { spec: self.spec.clone(), batch, time, heads, read, read_only: false, token_form: false }
    }

    /// A tensor of `len` numbers; `None` when the file has none of that name.
    pub fn find(&self, name: &str, len: usize) -> Result<Option<Vec<f64>>> {
        let Ok(view) = self.tensors.tensor(name) else { return Ok(None) };
        let data: Vec<f64> = view.data().chunks_exact(8).map(titans_kernel::Scalar::read_le).collect();
        if view.dtype() != Dtype::F64 || data.len() != len {
            return Err(Error::file(self.path, format!("{name}: expected {len} numbers in f64")));
        }
        Ok(Some(data))
    }

    pub fn need(&self, name: &str, len: usize) -> Result<Vec<f64>> {
        self.find(name, len)?.ok_or_else(|| Error::file(self.path, format!("{name} is missing")))
    }

    /// `[B, H, T, d]` to the device's `[B, T, H, d]`.
    pub fn token_major(&self, x: &[f64], d: usize) -> Vec<f64> {
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

    /// The file's name without its ending.
    pub fn name(&self) -> String {
        self.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
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

    /// The parts of a state `[W | S]`: momentum or not, the layer (none: γ), offset, length.
    pub fn pieces(&self) -> Vec<(bool, Option<usize>, usize, usize)> {
        let half = |m: bool| self.parts().into_iter().map(move |(l, at, len)| (m, l, at, len));
        let second = half(true).map(|(m, l, at, len)| (m, l, self.spec.params() + at, len));
        half(false).chain(second).collect()
    }

    /// A state `[B, H, 2P]` from tensors named by `name(momentum, part)`, one a head or one a memory; zeros where
    /// absent.
    pub fn state(&self, name: impl Fn(bool, Option<usize>) -> String) -> Result<Vec<f64>> {
        let [batch, heads, _] = self.dims;
        let per = self.spec.state_len();
        let mut state = vec![0.0; batch * heads * per];
        for (momentum, part, offset, len) in self.pieces() {
            let name = name(momentum, part);
            let heads_only = self.tensors.tensor(&name).is_ok_and(|t| t.data().len() / 8 == heads * len);
            let count = if heads_only { heads } else { batch * heads };
            let Some(data) = self.find(&name, count * len)? else { continue };
            for m in 0..batch * heads {
                state[m * per + offset..][..len].copy_from_slice(&data[m % count * len..][..len]);
            }
        }
        Ok(state)
    }
}

/// `w0.1`, `s.0`, `gamma0`, `sgamma` …
pub(super) fn named(letter: &str, zero: &str, part: Option<usize>) -> String {
    match part {
        Some(l) => format!("{letter}{zero}.{l}"),
        None => format!("{}gamma{zero}", if letter == "s" { "s" } else { "" }),
    }
}
