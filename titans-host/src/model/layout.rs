//! Which parameters a configuration has, in which order, and how each begins.

mod find;

pub(super) use find::{
    AttentionParams, Block, CombineParams, ContextParams, FeedForward, Join, Layout, MacParams, MemoryParams, Mixer,
    Projection, ReadOut,
};

use super::{Combine, Head, Kind, ModelConfig, Wiring};
use crate::error::Result;
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

/// Standard deviation of the embedding: large enough that a token is heard beside what the blocks add to it (0.02 costs 0.05 bits a
/// byte of text), small enough that a tied head begins near the uniform distribution.
const EMBEDDING_STD: f64 = 0.125;
/// Of a head of its own.
const HEAD_STD: f64 = 0.02;
/// Of the first layer of a deep memory, over 1/√(width of the keys): its hidden units must differ before the last layer, which is 0, learns.
const FIRST_LAYER: f64 = 2.0;
/// Of the last layer of MAC's memories, over 1/√(its inputs).
const MAC_LAST_LAYER: f64 = 0.3;

/// All parameters of a configuration.
pub(super) fn declarations(c: &ModelConfig) -> Result<Vec<Declaration>> {
    let mut all = List(Vec::new());
    let inputs = if c.inputs > 0 { c.inputs } else { c.vocabulary };
    if c.inputs > 0 {
        all.linear("embedding.weight", c.inputs, c.width, 1.0);
        all.zeros("embedding.bias", c.width);
    } else {
        all.push("embedding.weight", &[inputs, c.width], Init::Normal { std: EMBEDDING_STD }, false);
    }
    for i in 0..c.blocks {
        all.block(c, i)?;
    }
    all.ones("norm.weight", c.width);
    if !c.tied {
        all.push("head.weight", &[c.width, c.said()], Init::Normal { std: HEAD_STD }, true);
    }
    if c.head == Head::Regression {
        all.zeros("head.bias", c.said());
    }
    Ok(all.0)
}

/// A memory begins empty: the last layer of a plain network is 0, so the first answers are. The layers below need different
/// rows to tell their hidden units apart, and a residual network all of them, for its layer norm. γ begins at 0. MAC asks its
/// memories before anything is written: the norm of answers that are 0 would have a derivative of a thousand, so they are not.
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

struct List(Vec<Declaration>);

impl List {
    /// One block; `docs/MATH.md`, section 6, has the list.
    fn block(&mut self, c: &ModelConfig, i: usize) -> Result<()> {
        let (b, m, kind) = (format!("blocks.{i}"), format!("blocks.{i}.mixer"), c.kind(i));
        // Outputs into the residual stream begin small, so that its size does not grow with the number of blocks.
        let small = 1.0 / ((2 * c.blocks) as f64).sqrt();
        let (inner, residual) = (c.inner(), c.wiring == Wiring::Residual);
        self.ones(format!("{b}.norm.weight"), c.width);
        if c.persistent > 0 {
            self.push(format!("{m}.persistent"), &[c.persistent, c.width], Init::Normal { std: 1.0 }, false);
        }
        if kind == Kind::Mac {
            self.projection(c, &format!("{m}.context.q"), c.width, inner);
            self.ones(format!("{m}.context.norm.weight"), c.head_width);
            self.linear(format!("{m}.context.out.weight"), inner, c.width, 1.0);
        }
        if kind == Kind::Mal {
            self.ones(format!("{m}.attention.norm.weight"), c.width);
        }
        if kind.attends() {
            self.attention(c, &m, kind, small);
        }
        if kind.remembers() {
            let rows = if kind == Kind::Mac && !residual { inner } else { c.width };
            for p in ["q", "k", "v"] {
                self.projection(c, &format!("{m}.{p}"), rows, inner);
            }
            // The gates begin at their biases, whatever the token.
            self.linear(format!("{m}.gates.weight"), rows, c.gates_width(), 0.1);
            let biases = Init::Gates([c.alpha_bias, c.theta_bias, c.eta_bias]);
            self.push(format!("{m}.gates.bias"), &[3, c.gates_width() / 3], biases, false);
            let spec = c.memory_spec()?;
            self.push(format!("{m}.memory.w0"), &[c.heads, spec.params()], memories(c, kind)?, false);
        }
        if matches!(kind, Kind::Lmm | Kind::Mal) || residual && kind.remembers() {
            self.ones(format!("{m}.norm.weight"), c.head_width);
            self.linear(format!("{m}.gate.weight"), c.width, inner, 1.0);
        }
        if kind == Kind::Mal {
            self.linear(format!("{m}.memory.out.weight"), inner, c.width, if residual { small } else { 1.0 });
        }
        if !residual && matches!(kind, Kind::Mac | Kind::Mag) {
            self.ones(format!("{m}.combine.attention.weight"), inner);
            self.ones(format!("{m}.combine.memory.weight"), inner);
        }
        self.linear(format!("{m}.out.weight"), inner, c.width, small);
        self.ones(format!("{b}.feed_forward.norm.weight"), c.width);
        self.linear(format!("{b}.feed_forward.up.weight"), c.width, c.feed_forward, 1.0);
        self.linear(format!("{b}.feed_forward.gate.weight"), c.width, c.feed_forward, 1.0);
        self.linear(format!("{b}.feed_forward.down.weight"), c.feed_forward, c.width, small);
        Ok(())
    }

    /// Attention of a block whose parameters begin with `m`; with convolutions, head norms and a gate where it adds to the stream
    /// itself. `small`: scale of outputs into the stream.
    fn attention(&mut self, c: &ModelConfig, m: &str, kind: Kind, small: f64) {
        let (inner, kv) = (c.inner(), c.kv_heads() * c.attention_width());
        for (p, outputs) in [("q", inner), ("k", kv), ("v", kv)] {
            let name = format!("{m}.attention.{p}");
            match c.wiring {
                Wiring::Residual => self.projection(c, &name, c.width, outputs),
                Wiring::Letter => self.linear(format!("{name}.weight"), c.width, outputs, 1.0),
            }
        }
        if c.wiring == Wiring::Letter {
            return;
        }
        self.ones(format!("{m}.attention.read.norm.weight"), c.attention_width());
        if !(kind == Kind::Mag && c.combine == Combine::Gated) {
            self.linear(format!("{m}.attention.gate.weight"), c.width, inner, 1.0);
        }
        if kind == Kind::Mac {
            self.linear(format!("{m}.attention.out.weight"), inner, c.width, small);
            self.ones(format!("{m}.memory.norm.weight"), c.width);
        }
    }

    fn projection(&mut self, c: &ModelConfig, name: &str, inputs: usize, outputs: usize) {
        self.linear(format!("{name}.weight"), inputs, outputs, 1.0);
        if c.conv_width > 0 {
            let std = 1.0 / (c.conv_width as f64).sqrt();
            self.push(format!("{name}.conv.weight"), &[outputs, c.conv_width], Init::Normal { std }, false);
            self.zeros(format!("{name}.conv.bias"), outputs);
        }
    }

    fn push(&mut self, name: impl Into<String>, shape: &[usize], init: Init, decay: bool) {
        self.0.push(Declaration { name: name.into(), shape: shape.to_vec(), init, decay });
    }

    fn linear(&mut self, name: impl Into<String>, inputs: usize, outputs: usize, scale: f64) {
        let std = scale / (inputs as f64).sqrt();
        self.push(name, &[inputs, outputs], Init::Normal { std }, true);
    }

    fn ones(&mut self, name: impl Into<String>, width: usize) {
        self.push(name, &[width], Init::Constant(1.0), false);
    }

    fn zeros(&mut self, name: impl Into<String>, width: usize) {
        self.push(name, &[width], Init::Constant(0.0), false);
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
