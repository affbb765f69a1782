//! Which parameters a configuration has, in which order, and how each begins.

use super::ModelConfig;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::{ParamId, Params};
use titans_kernel::memory::Network;

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

/// Standard deviation of the embedding: small, so that a tied head begins near the uniform distribution.
const EMBEDDING_STD: f64 = 0.02;

/// All parameters of a configuration.
pub(super) fn declarations(c: &ModelConfig) -> Result<Vec<Declaration>> {
    let inner = c.inner();
    let mut all = List(Vec::new());
    all.push("embedding.weight", &[c.vocabulary, c.width], Init::Normal { std: EMBEDDING_STD }, false);
    for i in 0..c.blocks {
        let b = format!("blocks.{i}");
        // Outputs into the residual stream begin small, so that its size does not grow with the number of blocks.
        let small = 1.0 / ((2 * c.blocks) as f64).sqrt();
        all.ones(format!("{b}.norm.weight"), c.width);
        for p in ["q", "k", "v"] {
            all.linear(format!("{b}.mixer.{p}.weight"), c.width, inner, 1.0);
            let std = 1.0 / (c.conv_width as f64).sqrt();
            all.push(format!("{b}.mixer.{p}.conv.weight"), &[inner, c.conv_width], Init::Normal { std }, false);
            all.push(format!("{b}.mixer.{p}.conv.bias"), &[inner], Init::Constant(0.0), false);
        }
        // The gates begin at their biases, whatever the token.
        all.linear(format!("{b}.mixer.gates.weight"), c.width, 3 * c.heads, 0.1);
        let biases = Init::Gates([c.alpha_bias, c.theta_bias, c.eta_bias]);
        all.push(format!("{b}.mixer.gates.bias"), &[3, c.heads], biases, false);
        let spec = c.memory_spec()?;
        all.push(format!("{b}.mixer.memory.w0"), &[c.heads, spec.params()], memories(c)?, false);
        all.ones(format!("{b}.mixer.norm.weight"), c.head_width);
        all.linear(format!("{b}.mixer.gate.weight"), c.width, inner, 1.0);
        all.linear(format!("{b}.mixer.out.weight"), inner, c.width, small);
        all.ones(format!("{b}.feed_forward.norm.weight"), c.width);
        all.linear(format!("{b}.feed_forward.up.weight"), c.width, c.feed_forward, 1.0);
        all.linear(format!("{b}.feed_forward.gate.weight"), c.width, c.feed_forward, 1.0);
        all.linear(format!("{b}.feed_forward.down.weight"), c.feed_forward, c.width, small);
    }
    all.ones("norm.weight".into(), c.width);
    if !c.tied {
        all.push("head.weight", &[c.width, c.vocabulary], Init::Normal { std: EMBEDDING_STD }, true);
    }
    Ok(all.0)
}

/// A memory begins empty: the last layer of a plain network is 0, so the first answers are. The layers below need different
/// rows to tell their hidden units apart, and a residual network all of them, for its layer norm. γ begins at 0.
fn memories(c: &ModelConfig) -> Result<Init> {
    let spec = c.memory_spec()?;
    let empty = |l: usize| spec.network == Network::Plain && l + 1 == spec.layers();
    let mut pieces: Vec<_> = (0..spec.layers())
        .map(|l| {
            let (inputs, outputs) = spec.layer(l);
            (inputs * outputs, if empty(l) { 0.0 } else { 1.0 / (inputs as f64).sqrt() })
        })
        .collect();
    pieces.push((spec.gamma_len(), 0.0));
    Ok(Init::Memories(pieces))
}

struct List(Vec<Declaration>);

impl List {
    fn push(&mut self, name: impl Into<String>, shape: &[usize], init: Init, decay: bool) {
        self.0.push(Declaration { name: name.into(), shape: shape.to_vec(), init, decay });
    }

    fn linear(&mut self, name: String, inputs: usize, outputs: usize, scale: f64) {
        let std = scale / (inputs as f64).sqrt();
        self.push(name, &[inputs, outputs], Init::Normal { std }, true);
    }

    fn ones(&mut self, name: String, width: usize) {
        self.push(name, &[width], Init::Constant(1.0), false);
    }
}

/// One of q, k, v.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projection {
    pub(super) weight: ParamId,
    pub(super) conv: ParamId,
    pub(super) conv_bias: ParamId,
}

/// The parameters of one block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) norm: ParamId,
    pub(super) q: Projection,
    pub(super) k: Projection,
    pub(super) v: Projection,
    pub(super) gates: ParamId,
    pub(super) gates_bias: ParamId,
    pub(super) w0: ParamId,
    pub(super) read_norm: ParamId,
    pub(super) gate: ParamId,
    pub(super) out: ParamId,
    pub(super) ff_norm: ParamId,
    pub(super) ff_up: ParamId,
    pub(super) ff_gate: ParamId,
    pub(super) ff_down: ParamId,
}

/// The parameters of a model by their place in it.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) embedding: ParamId,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: ParamId,
    pub(super) head: Option<ParamId>,
}

impl Layout {
    /// Looks every parameter up by its name.
    pub(super) fn find<D: Device>(c: &ModelConfig, params: &Params<D>) -> Result<Self> {
        let id = |name: &str| params.id(name).ok_or_else(|| Error::usage(format!("parameter {name} is missing")));
        let block = |i: usize| {
            let of = |name: &str| id(&format!("blocks.{i}.{name}.weight"));
            let projection = |p: &str| -> Result<Projection> {
                let conv_bias = id(&format!("blocks.{i}.mixer.{p}.conv.bias"))?;
                Ok(Projection { weight: of(&format!("mixer.{p}"))?, conv: of(&format!("mixer.{p}.conv"))?, conv_bias })
            };
            Ok::<_, Error>(Block {
                norm: of("norm")?,
                q: projection("q")?,
                k: projection("k")?,
                v: projection("v")?,
                gates: of("mixer.gates")?,
                gates_bias: id(&format!("blocks.{i}.mixer.gates.bias"))?,
                w0: id(&format!("blocks.{i}.mixer.memory.w0"))?,
                read_norm: of("mixer.norm")?,
                gate: of("mixer.gate")?,
                out: of("mixer.out")?,
                ff_norm: of("feed_forward.norm")?,
                ff_up: of("feed_forward.up")?,
                ff_gate: of("feed_forward.gate")?,
                ff_down: of("feed_forward.down")?,
            })
        };
        Ok(Self {
            embedding: id("embedding.weight")?,
            blocks: (0..c.blocks).map(block).collect::<Result<_>>()?,
            norm: id("norm.weight")?,
            head: if c.tied { None } else { Some(id("head.weight")?) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::declarations;
    use crate::model::ModelConfig;

    #[test]
    fn the_formula_counts_what_is_declared() {
        for (layers, tied) in [(1, true), (1, false), (2, true), (4, false)] {
            let mut config = ModelConfig { tied, blocks: 3, heads: 5, head_width: 7, ..ModelConfig::default() };
            config.memory.layers = layers;
            let declared = declarations(&config).unwrap();
            let count: usize = declared.iter().map(|d| d.shape.iter().product::<usize>()).sum();
            assert_eq!(config.parameters().unwrap(), count, "{layers} layers");
            assert!(declared.iter().all(|d| !d.decay || d.shape.len() == 2));
        }
    }
}
