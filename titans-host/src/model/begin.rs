//! How the parameters of a model begin; `docs/MATH.md`, section 6, has the list.

use super::layout::Init;
use super::{Kind, ModelConfig, Shortcut, weights};
use crate::error::Result;
use std::convert::Infallible;
use titans_kernel::memory::Network;
use titans_kernel::model::{BlockWeights, FirstWeights, LastWeights, Projection, Tensor, WeightSource};

/// Standard deviation of the embedding: large enough that a token is heard beside what the blocks add to it (0.02 costs
/// 0.05 bits a byte of text), small enough that a tied head begins near the uniform distribution. With many tokens it
/// is less: half as much gains 0.03 bits with 1,024 of them, and nothing with bytes.
fn embedding_std(vocabulary: usize) -> f64 {
    if vocabulary > BYTES { 0.0625 } else { 0.125 }
}

const BYTES: usize = 256;
/// Of a head of its own.
const HEAD_STD: f64 = 0.02;
/// Of the first layer of a deep memory, over 1/√(width of the keys): its hidden units must differ before the last
/// layer, which is 0, learns.
const FIRST_LAYER: f64 = 2.0;
/// Of the last layer of MAC's memories, over 1/√(its inputs).
const MAC_LAST_LAYER: f64 = 0.3;

/// How a parameter begins, and whether weight decay applies.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    pub init: Init,
    pub decay: bool,
}

impl Beginning {
    /// A parameter that does not decay.
    const fn plain(init: Init) -> Self {
        Self { init, decay: false }
    }
}

/// All parameters of a configuration in the kernel's order, each with its block's number.
pub(super) fn beginnings(c: &ModelConfig) -> Result<Vec<(Option<usize>, Tensor, Beginning)>> {
    let (spec, blocks) = weights::unchecked(c)?;
    let mut all = Beginnings { c, block: None, all: Vec::new() };
    let Ok(first) = spec.first(&mut all);
    all.first(first);
    for ((i, block), kind) in blocks.iter().enumerate().zip(c.kinds()) {
        all.block = Some(i);
        let Ok(weights) = block.weights(spec.width, &mut all);
        all.block(weights, memories(c, kind)?);
    }
    all.block = None;
    let Ok(last) = spec.last(&mut all);
    all.last(last);
    Ok(all.all)
}

/// The parameters as they are asked for: each is known by its number, and begins as 0 until it is said how.
struct Beginnings<'c> {
    c: &'c ModelConfig,
    block: Option<usize>,
    all: Vec<(Option<usize>, Tensor, Beginning)>,
}

impl WeightSource for Beginnings<'_> {
    type Matrix = Option<usize>;
    type Numbers = Option<usize>;
    type Error = Infallible;

    fn matrix(&mut self, tensor: Tensor) -> std::result::Result<Option<usize>, Infallible> {
        self.all.push((self.block, tensor, Beginning::plain(Init::Constant(0.0))));
        Ok(Some(self.all.len() - 1))
    }

    fn numbers(&mut self, tensor: Tensor) -> std::result::Result<Option<usize>, Infallible> {
        self.matrix(tensor)
    }
}

type ParameterPlace = Option<usize>;

/// Every parameter is named once: one that the kernel adds does not compile until it is said here how it begins.
impl Beginnings<'_> {
    fn first(&mut self, FirstWeights { embedding, bias }: FirstWeights<ParameterPlace, ParameterPlace>) {
        if self.c.inputs == 0 {
            self.plain(embedding, Init::Normal { std: embedding_std(self.c.vocabulary) });
        } else {
            self.linear(embedding, 1.0);
        }
        self.plain(bias, Init::Constant(0.0));
    }

    fn block(&mut self, weights: BlockWeights<ParameterPlace, ParameterPlace>, memories: Init) {
        let BlockWeights {
            norm,
            persistent,
            context_q,
            context_norm,
            context_out,
            attention_norm,
            attention,
            attention_read_norm,
            attention_gate,
            attention_out,
            memory_norm,
            memory: [q, k, v],
            gates,
            gates_bias,
            w0,
            read_norm,
            gate,
            memory_out,
            combine: [attention_scale, memory_scale],
            out,
            ff_norm,
            up,
            ff_gate,
            down,
        } = weights;
        let c = self.c;
        for scale in [norm, context_norm, attention_norm, attention_read_norm, memory_norm, read_norm, ff_norm] {
            self.plain(scale, Init::Constant(1.0));
        }
        for scale in [attention_scale, memory_scale] {
            self.plain(scale, Init::Constant(1.0));
        }
        for projection in [context_q, v].into_iter().chain(attention) {
            self.projection(projection, 1.0);
        }
        for projection in [q, k] {
            self.projection(projection, c.key_scale);
        }
        for map in [context_out, attention_gate, gate, up, ff_gate] {
            self.linear(map, 1.0);
        }
        // Outputs into the residual stream begin small, so that its size does not grow with the number of blocks.
        let small = 1.0 / ((2 * c.blocks) as f64).sqrt();
        for map in [attention_out, out, down] {
            self.linear(map, small);
        }
        self.linear(memory_out, if c.wiring.is_residual() { small } else { 1.0 });
        self.plain(persistent, Init::Normal { std: 1.0 });
        // The gates begin at their biases, whatever the token.
        self.linear(gates, 0.1);
        self.plain(gates_bias, Init::Gates([c.alpha_bias, c.theta_bias, c.eta_bias]));
        self.plain(w0, memories);
    }

    fn last(&mut self, LastWeights { norm, head, bias, shortcut }: LastWeights<ParameterPlace, ParameterPlace>) {
        self.plain(norm, Init::Constant(1.0));
        // What the blocks say begins as nothing beside a shortcut that is known.
        let nothing = Init::Constant(0.0);
        let said = if self.c.shortcut == Shortcut::None { Init::Normal { std: HEAD_STD } } else { nothing.clone() };
        self.set(head, |_| Beginning { init: said, decay: true });
        self.plain(bias, nothing.clone());
        // It begins with nothing to say.
        let decay = self.c.shortcut == Shortcut::Learned;
        self.set(shortcut, |_| Beginning { init: nothing, decay });
    }

    fn projection(
        &mut self,
        Projection { weight, conv, bias }: Projection<ParameterPlace, ParameterPlace>,
        scale: f64,
    ) {
        self.linear(weight, scale);
        self.set(conv, |t| Beginning::plain(Init::Normal { std: 1.0 / (t.cols as f64).sqrt() }));
        self.plain(bias, Init::Constant(0.0));
    }

    /// Normal with a deviation of scale / √(inputs).
    fn linear(&mut self, at: ParameterPlace, scale: f64) {
        self.set(at, |t| Beginning { init: Init::Normal { std: scale / (t.rows as f64).sqrt() }, decay: true });
    }

    fn plain(&mut self, at: ParameterPlace, init: Init) {
        self.set(at, |_| Beginning::plain(init));
    }

    fn set(&mut self, at: ParameterPlace, how: impl FnOnce(&Tensor) -> Beginning) {
        if let Some((_, tensor, beginning)) = at.and_then(|at| self.all.get_mut(at)) {
            *beginning = how(tensor);
        }
    }
}

/// A memory begins empty: the last layer of a plain network is 0, so the first answers are. The layers below need
/// different rows to tell their hidden units apart, and a residual network all of them, for its layer norm. γ begins at
/// 0. MAC asks its memories before anything is written: the norm of answers that are 0 would have a derivative of a
/// thousand, so they are not.
fn memories(c: &ModelConfig, kind: Kind) -> Result<Init> {
    let spec = c.memory_spec()?;
    let scale = |l: usize| match (l + 1 == spec.layers(), spec.network) {
        (true, Network::Plain) if !kind.has_context() => 0.0,
        (true, Network::Plain) => MAC_LAST_LAYER,
        (false, Network::Plain) if l == 0 => FIRST_LAYER,
        (false, Network::Plain) | (_, Network::Residual) => 1.0,
    };
    let piece = |l: usize| {
        let (inputs, outputs) = spec.layer(l);
        (inputs * outputs, scale(l) / (inputs as f64).sqrt())
    };
    let mut pieces: Vec<_> = (0..spec.layers()).map(piece).collect();
    pieces.push((spec.gamma_len(), 0.0));
    Ok(Init::Memories(pieces))
}
