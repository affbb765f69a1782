//! Which parameters a configuration has, in which order, and how each begins.

use super::{Kind, ModelConfig, Shortcut, Wiring, weights};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::{ParamId, Params};
use titans_kernel::memory::Network;
use titans_kernel::model::{BlockSpec, BlockWeights, FirstWeights, LastWeights, Tensor, WeightSource};

/// How a parameter's numbers begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// One value.
    Constant(f64),
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// The gate's bias `[3, heads]`: one value for each of α, θ, η.
    Gates([f64; 3]),
    /// Memories `[heads, P]`: of each, pieces of `len` numbers, normal with mean 0 (zeros where the deviation is 0).
    Memories(Vec<(usize, f64)>),
}

/// A parameter before it has numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// e.g. `blocks.0.mixer.q.weight`.
    pub name: String,
    /// Row-major.
    pub shape: Vec<usize>,
    /// How it begins.
    pub init: Init,
    /// Whether weight decay applies.
    pub decay: bool,
}

/// Standard deviation of the embedding: large enough that a token is heard beside what the blocks add to it (0.02 costs
/// 0.05 bits a byte of text), small enough that a tied head begins near the uniform distribution.
const EMBEDDING_STD: f64 = 0.125;
/// Of a head of its own.
const HEAD_STD: f64 = 0.02;
/// Of the first layer of a deep memory, over 1/√(width of the keys): its hidden units must differ before the last
/// layer, which is 0, learns.
const FIRST_LAYER: f64 = 2.0;
/// Of the last layer of MAC's memories, over 1/√(its inputs).
const MAC_LAST_LAYER: f64 = 0.3;

/// All parameters of a configuration: names, shapes and order are the kernel's ([`ModelSpec::tensors`]), how each
/// begins is said here.
///
/// [`ModelSpec::tensors`]: titans_kernel::model::ModelSpec::tensors
pub(super) fn declarations(c: &ModelConfig) -> Result<Vec<Declaration>> {
    let (spec, blocks) = weights::unchecked(c)?;
    let memories = c.kinds().map(|kind| memories(c, kind)).collect::<Result<Vec<_>>>()?;
    let mut all = Vec::new();
    spec.tensors(&blocks, |block, tensor| {
        let Beginning { init, decay } = match (tensor.name, block) {
            ("mixer.memory.w0", Some(i)) => plain(memories[i].clone()),
            _ => begin(c, &tensor),
        };
        let shape = if tensor.vector { vec![tensor.cols] } else { vec![tensor.rows, tensor.cols] };
        all.push(Declaration { name: full_name(block, &tensor), shape, init, decay });
    });
    Ok(all)
}

fn full_name(block: Option<usize>, tensor: &Tensor) -> String {
    block.map_or(tensor.name.into(), |i| format!("blocks.{i}.{}", tensor.name))
}

/// How a parameter begins, and whether weight decay applies.
struct Beginning {
    init: Init,
    decay: bool,
}

/// A parameter that does not decay.
const fn plain(init: Init) -> Beginning {
    Beginning { init, decay: false }
}

/// By a parameter's name behind `blocks.{i}.`; `docs/MATH.md`, section 6, has the list.
fn begin(c: &ModelConfig, &Tensor { name, rows, cols, .. }: &Tensor) -> Beginning {
    let linear = |scale: f64| Beginning { init: Init::Normal { std: scale / (rows as f64).sqrt() }, decay: true };
    // Outputs into the residual stream begin small, so that its size does not grow with the number of blocks.
    let small = 1.0 / ((2 * c.blocks) as f64).sqrt();
    match name {
        "embedding.weight" if c.inputs == 0 => plain(Init::Normal { std: EMBEDDING_STD }),
        // It begins with nothing to say.
        "shortcut.weight" => Beginning { init: Init::Constant(0.0), decay: c.shortcut == Shortcut::Learned },
        // What the blocks say begins as nothing beside a shortcut that is known.
        "head.weight" if c.shortcut != Shortcut::None => Beginning { init: Init::Constant(0.0), ..linear(1.0) },
        "head.weight" => Beginning { init: Init::Normal { std: HEAD_STD }, ..linear(1.0) },
        "mixer.persistent" => plain(Init::Normal { std: 1.0 }),
        // The gates begin at their biases, whatever the token.
        "mixer.gates.weight" => linear(0.1),
        "mixer.gates.bias" => plain(Init::Gates([c.alpha_bias, c.theta_bias, c.eta_bias])),
        "mixer.q.weight" | "mixer.k.weight" => linear(c.key_scale),
        "mixer.out.weight" | "mixer.attention.out.weight" | "feed_forward.down.weight" => linear(small),
        "mixer.memory.out.weight" if c.wiring == Wiring::Residual => linear(small),
        _ if name.ends_with("conv.weight") => plain(Init::Normal { std: 1.0 / (cols as f64).sqrt() }),
        _ if name.ends_with(".bias") => plain(Init::Constant(0.0)),
        _ if name.ends_with("norm.weight") || name.starts_with("mixer.combine.") => plain(Init::Constant(1.0)),
        _ => linear(1.0),
    }
}

/// A memory begins empty: the last layer of a plain network is 0, so the first answers are. The layers below need
/// different rows to tell their hidden units apart, and a residual network all of them, for its layer norm. γ begins at
/// 0. MAC asks its memories before anything is written: the norm of answers that are 0 would have a derivative of a
/// thousand, so they are not.
fn memories(c: &ModelConfig, kind: Kind) -> Result<Init> {
    let spec = c.memory_spec()?;
    let scale = |l: usize| match (l + 1 == spec.layers(), spec.network) {
        (true, Network::Plain) if kind != Kind::Mac => 0.0,
        (true, Network::Plain) => MAC_LAST_LAYER,
        (false, Network::Plain) if l == 0 => FIRST_LAYER,
        _ => 1.0,
    };
    let piece = |l: usize| {
        let (inputs, outputs) = spec.layer(l);
        (inputs * outputs, scale(l) / (inputs as f64).sqrt())
    };
    let mut pieces: Vec<_> = (0..spec.layers()).map(piece).collect();
    pieces.push((spec.gamma_len(), 0.0));
    Ok(Init::Memories(pieces))
}

/// Where the parameters of a model lie.
pub(super) struct Layout {
    pub(super) first: FirstWeights<ParamId, ParamId>,
    pub(super) blocks: Vec<Block>,
    pub(super) last: LastWeights<ParamId, ParamId>,
}

/// A block: its mixer, and where its parameters lie.
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) w: BlockWeights<ParamId, ParamId>,
}

impl Layout {
    /// Looks every parameter up by its name.
    pub(super) fn find<D: Device>(c: &ModelConfig, params: &Params<D>) -> Result<Self> {
        let (spec, blocks) = weights::unchecked(c)?;
        let source = |block| ByName { params, block };
        let block = |(i, block): (usize, &BlockSpec)| {
            Ok(Block { kind: block.kind, w: block.weights(spec.width, &mut source(Some(i)))? })
        };
        Ok(Self {
            first: spec.first(&mut source(None))?,
            blocks: blocks.iter().enumerate().map(block).collect::<Result<_>>()?,
            last: spec.last(&mut source(None))?,
        })
    }
}

/// Parameters by their names.
struct ByName<'a, D: Device> {
    params: &'a Params<D>,
    block: Option<usize>,
}

impl<D: Device> WeightSource for ByName<'_, D> {
    type Matrix = ParamId;
    type Numbers = ParamId;
    type Error = Error;

    fn matrix(&mut self, tensor: Tensor) -> Result<ParamId> {
        let name = full_name(self.block, &tensor);
        self.params.id(&name).ok_or_else(|| Error::usage(format!("parameter {name} is missing")))
    }

    fn numbers(&mut self, tensor: Tensor) -> Result<ParamId> {
        self.matrix(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::declarations;
    use crate::model::{Head, Kind, Kinds, ModelConfig};

    #[test]
    fn what_is_declared_is_counted_by_kind() {
        use Kind::{Attention, Lmm, Mac, Mag, Mal};
        let mixed = vec![Mac, Lmm, Mal, Mag, Attention, Lmm];
        for (layers, tied, kinds) in [
            (1, true, Kinds::All(Lmm)),
            (1, false, Kinds::All(Mac)),
            (2, true, Kinds::Each(mixed.clone())),
            (4, false, Kinds::Each(mixed)),
        ] {
            let mut config =
                ModelConfig { tied, blocks: 6, block: kinds, heads: 5, head_width: 6, ..Default::default() };
            (config.memory.layers, config.persistent) = (layers, layers - 1);
            let declared = declarations(&config).unwrap();
            let count: usize = declared.iter().map(|d| d.shape.iter().product::<usize>()).sum();
            assert_eq!(config.parameters().unwrap(), count, "{layers} layers");
            assert!(declared.iter().all(|d| !d.decay || d.shape.len() == 2));
        }
        let rows = ModelConfig { inputs: 3, head: Head::Regression, outputs: 2, tied: false, ..Default::default() };
        let names: Vec<_> = declarations(&rows).unwrap().into_iter().map(|d| (d.name, d.shape)).collect();
        assert_eq!(names[0], ("embedding.weight".into(), vec![3, 128]));
        assert_eq!(names[names.len() - 1], ("head.bias".into(), vec![2]));
    }
}
