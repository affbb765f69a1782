//! Reads the golden files: tensors in float64 and the configuration in the metadata.

use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network};

/// One golden file.
pub struct Golden {
    /// File name without its ending.
    pub name: String,
    /// Sequences, heads, tokens.
    pub dims: (usize, usize, usize),
    /// The memory.
    pub spec: MemorySpec,
    tensors: BTreeMap<String, Vec<f64>>,
}

/// All golden files, in the order of their names.
pub fn all() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("tests/golden")
        .map(|e| e.expect("entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 69, "golden files in {}", folder.display());
    files.iter().map(|f| read(f)).collect()
}

fn read(path: &Path) -> Golden {
    let bytes = std::fs::read(path).expect("golden file");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("header");
    let meta = header.metadata().as_ref().expect("metadata");
    let config: serde_json::Value = serde_json::from_str(&meta["config"]).expect("config");
    let number = |key: &str| config[key].as_u64().expect("number") as usize;
    let widths: Vec<usize> =
        config["dims"].as_array().expect("dims").iter().map(|d| d.as_u64().unwrap() as usize).collect();
    let mut spec = MemorySpec::new(&widths).expect("spec");
    (spec.chunk, spec.compute_chunk, spec.clip) = (number("chunk"), 0, None);
    spec.network = if config["network"] == "residual" { Network::Residual } else { Network::Plain };
    spec.activation = match config["activation"].as_str().expect("activation") {
        "silu" => Activation::Silu,
        "gelu" => Activation::Gelu,
        "gelu_tanh" | "gelu-tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        other => panic!("activation {other}"),
    };
    let loss = config.get("loss").or(config.get("scale")).expect("loss").as_str().expect("loss");
    spec.loss = match loss {
        "sum" => Loss::Sum,
        "half" => Loss::Half,
        "mean" => Loss::Mean,
        other => panic!("loss {other}"),
    };
    let tensors = SafeTensors::deserialize(&bytes).expect("tensors");
    let tensors = tensors
        .iter()
        .map(|(name, t)| {
            assert_eq!(t.dtype(), Dtype::F64);
            let values = t.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
            (name.to_string(), values)
        })
        .collect();
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    Golden { name, dims: (number("B"), number("H"), number("T")), spec, tensors }
}

impl Golden {
    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.tensors.get(name).map(Vec::as_slice)
    }

    /// The same file with every input changed by `spoil`; results stay.
    pub fn spoilt(&self, spoil: impl Fn(&mut f64)) -> Self {
        let mut tensors = self.tensors.clone();
        for (name, t) in &mut tensors {
            let input = ["k", "v", "q", "alpha", "theta", "eta", "gamma0", "sgamma0"].contains(&name.as_str());
            if input || name.starts_with("w0.") || name.starts_with("s0.") {
                t.iter_mut().for_each(&spoil);
            }
        }
        Self { name: self.name.clone(), dims: self.dims, spec: self.spec.clone(), tensors }
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Part `i` of `parts` equal parts of a tensor, converted; zeros of length `len` where the file has none.
    pub fn part<T: titans_kernel::Scalar>(&self, name: &str, i: usize, parts: usize, len: usize) -> Vec<T> {
        match self.get(name) {
            None => vec![T::ZERO; len],
            Some(t) => {
                assert_eq!(t.len(), parts * len, "{}: {name}", self.name);
                t[i * len..(i + 1) * len].iter().map(|&x| T::from_f64(x)).collect()
            }
        }
    }
}
