//! Reading the golden files, and their tensors as the kernel's states.

use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network, Read};

/// The three reads and their names in the files.
pub const READS: [(Read, &str); 3] =
    [(Read::After, "y.post"), (Read::Before, "y.pre"), (Read::ChunkStart, "y.chunk_start")];

/// One file.
pub struct Vectors {
    pub path: PathBuf,
    pub batch: usize,
    pub heads: usize,
    pub time: usize,
    pub spec: MemorySpec,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

/// A tensor of the files inside a state `[W^1 | … | W^L | γ | their momentum]`.
pub struct Piece {
    pub offset: usize,
    pub len: usize,
    /// Its name at the start, e.g. `w0.1`.
    pub initial: String,
    /// Its name at the end, e.g. `w.1`.
    pub last: String,
}

/// All 69 files.
pub fn all() -> Vec<Vectors> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    paths.sort();
    assert_eq!(paths.len(), 69, "golden files");
    paths.into_iter().map(Vectors::read).collect()
}

impl Vectors {
    fn read(path: PathBuf) -> Self {
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let config = serde_json::from_str(&header.metadata().as_ref().unwrap()["config"]).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let number = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap());
        let tensors: BTreeMap<_, _> = (file.iter())
            .map(|(name, view)| {
                assert_eq!(view.dtype(), safetensors::Dtype::F64, "{name}");
                (name.to_owned(), (view.shape().to_vec(), view.data().chunks_exact(8).map(number).collect()))
            })
            .collect();
        let &[batch, heads, time, _] = &tensors["k"].0[..] else { panic!("{}: shape of k", path.display()) };
        Self { batch, heads, time, spec: spec(&config), tensors, path }
    }

    /// Keeps the first `time` tokens only.
    pub fn keep(&mut self, time: usize) {
        let tokens = [self.batch, self.heads, self.time];
        for (shape, data) in self.tensors.values_mut().filter(|(shape, _)| shape.starts_with(&tokens)) {
            let row: usize = shape[3..].iter().product();
            *data = data.chunks_exact(tokens[2] * row).flat_map(|one| one[..time * row].to_vec()).collect();
            shape[2] = time;
        }
        self.time = time;
    }

    /// The file's name.
    pub fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.tensors.get(name).map(|(_, data)| &data[..])
    }

    pub fn need(&self, name: &str) -> &[f64] {
        self.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.name()))
    }

    /// Names of the tensors that a program must reproduce, but for y.
    pub fn expected(&self, gradients: bool) -> impl Iterator<Item = &str> {
        let last: Vec<String> = pieces(&self.spec).into_iter().map(|p| p.last).collect();
        (self.tensors.keys().map(String::as_str)).filter(move |&name| {
            name == "surprise" || last.iter().any(|l| l == name) || gradients && name.starts_with("grad.")
        })
    }

    /// `[batch × heads, 2 P]`.
    pub fn initial_state(&self) -> Vec<f64> {
        self.state(|piece| self.get(&piece.initial))
    }

    /// `[batch × heads, 2 P]`, zeros where the file has no cotangent.
    pub fn cotangent_state(&self) -> Vec<f64> {
        self.state(|piece| self.get(&format!("cot.{}", piece.last)))
    }

    fn state<'a>(&self, data: impl Fn(&Piece) -> Option<&'a [f64]>) -> Vec<f64> {
        let (n, len) = (self.batch * self.heads, self.spec.state_len());
        let mut state = vec![0.0; n * len];
        for piece in pieces(&self.spec) {
            let Some(data) = data(&piece) else { continue };
            let given = data.len() / piece.len; // one a head, or one a sequence and head
            assert!(given == n || given == self.heads, "{}: {}", self.name(), piece.initial);
            for i in 0..n {
                state[i * len + piece.offset..][..piece.len]
                    .copy_from_slice(&data[i % given * piece.len..][..piece.len]);
            }
        }
        state
    }

    /// A final state by the names of the file's tensors.
    pub fn last_tensors(&self, state: &[f64]) -> Vec<(String, Vec<f64>)> {
        let cut = |piece: &Piece| {
            let each = state.chunks_exact(self.spec.state_len());
            each.flat_map(|s| &s[piece.offset..][..piece.len]).copied().collect()
        };
        pieces(&self.spec).into_iter().map(|piece| (piece.last.clone(), cut(&piece))).collect()
    }

    /// The gradient of the initial state by the names of the file's tensors, summed over the batch.
    pub fn initial_gradients(&self, d_state: &[f64]) -> Vec<(String, Vec<f64>)> {
        let summed = |(piece, each): (Piece, (String, Vec<f64>))| {
            let mut sum = vec![0.0; self.heads * piece.len];
            each.1.chunks_exact(sum.len()).for_each(|one| sum.iter_mut().zip(one).for_each(|(s, x)| *s += x));
            (format!("grad.{}", piece.initial), sum)
        };
        pieces(&self.spec).into_iter().zip(self.last_tensors(d_state)).map(summed).collect()
    }
}

/// The tensors of a state, in order.
pub fn pieces(spec: &MemorySpec) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (start, w, gamma) in [(0, "w", "gamma"), (spec.params(), "s", "sgamma")] {
        for l in 0..spec.layers() {
            let (i, o) = spec.layer(l);
            let (initial, last) = (format!("{w}0.{l}"), format!("{w}.{l}"));
            pieces.push(Piece { offset: start + spec.layer_offset(l), len: i * o, initial, last });
        }
        if spec.gamma_len() > 0 {
            let (initial, last) = (format!("{gamma}0"), gamma.to_owned());
            let offset = start + spec.layer_offset(spec.layers());
            pieces.push(Piece { offset, len: spec.gamma_len(), initial, last });
        }
    }
    pieces
}

fn spec(config: &serde_json::Value) -> MemorySpec {
    let widths: Vec<usize> = config["dims"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
    let mut spec = MemorySpec::new(&widths).unwrap();
    spec.network = if config["network"] == "residual" { Network::Residual } else { Network::Plain };
    (spec.chunk, spec.compute_chunk, spec.clip) = (config["chunk"].as_u64().unwrap() as usize, 0, None);
    spec.activation = match config["activation"].as_str().unwrap() {
        "silu" => Activation::Silu,
        "gelu" => Activation::Gelu,
        "gelu_tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        other => panic!("activation {other}"),
    };
    spec.loss = match config["scale"].as_str().or(config["loss"].as_str()).unwrap() {
        "sum" => Loss::Sum,
        "half" => Loss::Half,
        "mean" => Loss::Mean,
        other => panic!("loss {other}"),
    };
    spec
}
