//! Which parameters a configuration has, in which order, and how each begins.

use super::begin::{Beginning, beginnings};
use super::{Kind, ModelConfig, weights};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::{ParamId, Params};
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

/// All parameters of a configuration: names, shapes and order are the kernel's ([`ModelSpec::tensors`]), how each
/// begins is said in `begin.rs`.
///
/// [`ModelSpec::tensors`]: titans_kernel::model::ModelSpec::tensors
pub(super) fn declarations(c: &ModelConfig) -> Result<Vec<Declaration>> {
    let declare = |(block, tensor, Beginning { init, decay }): (Option<usize>, Tensor, Beginning)| {
        let shape = if tensor.vector { vec![tensor.cols] } else { vec![tensor.rows, tensor.cols] };
        Declaration { name: full_name(block, &tensor), shape, init, decay }
    };
    Ok(beginnings(c)?.into_iter().map(declare).collect())
}

/// Whether a parameter, by its full name, is what the gates are made of: weight and bias of their logits.
pub(crate) fn is_gate(name: &str) -> bool {
    name.contains(".mixer.gates.")
}

fn full_name(block: Option<usize>, tensor: &Tensor) -> String {
    block.map_or(tensor.name.into(), |i| format!("blocks.{i}.{}", tensor.name))
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
    use super::{declarations, is_gate};
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
            let remember = config.kinds().filter(|kind| kind.has_memory()).count();
            assert_eq!(declared.iter().filter(|d| is_gate(&d.name)).count(), 2 * remember, "weight and bias");
        }
        let rows = ModelConfig { inputs: 3, head: Head::Regression, outputs: 2, tied: false, ..Default::default() };
        let names: Vec<_> = declarations(&rows).unwrap().into_iter().map(|d| (d.name, d.shape)).collect();
        assert_eq!(names[0], ("embedding.weight".into(), vec![3, 128]));
        assert_eq!(names[names.len() - 1], ("head.bias".into(), vec![2]));
    }
}
