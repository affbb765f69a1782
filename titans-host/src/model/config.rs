//! What a model is: every size and choice, and what follows from them.

mod parts;
mod presets;
mod recipes;

use parts::common;
pub use parts::{AttentionConfig, Head, Kinds, MemoryConfig, Shortcut};
pub use presets::Preset;
use titans_kernel::Choice;
pub(super) use titans_kernel::model::{Combine, GateSpan, Kind, Wiring};

use super::layout;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use titans_kernel::memory::{LIMIT, MAX_LAYERS, MemorySpec};

/// Most taps of a convolution.
const TAPS: usize = 256;
/// Most persistent tokens.
const PERSISTENT: usize = 1 << 14;
/// Most blocks.
const BLOCKS: usize = 1 << 12;
/// Most numbers in all parameters: checked before anything is made, so that a slip of a size is no allocation.
const PARAMETERS: u128 = 1 << 31;

/// A whole model. The default reads bytes: 0.8 M parameters, linear memories in their exact form. For deep ones see
/// [`ModelConfig::set_layers`].
///
/// ```
/// use titans_host::model::{Kind, Kinds, ModelConfig};
///
/// let mut config = ModelConfig { block: Kinds::All(Kind::Mag), width: 64, persistent: 4, ..Default::default() };
/// config.set_layers(2);
/// assert!(config.validate().is_ok() && config.parameters()? > 100_000);
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ModelConfig {
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Width of a row of numbers, where the model reads such rows instead of tokens; 0: it reads tokens.
    pub inputs: usize,
    /// What it says after every token.
    pub head: Head,
    /// Numbers or classes that the head gives; unused for tokens.
    pub outputs: usize,
    /// A linear map of the row itself, past all blocks, that is added to what the model says (rows of numbers).
    pub shortcut: Shortcut,
    /// Of the residual stream.
    pub width: usize,
    /// Blocks of mixer and feed-forward.
    pub blocks: usize,
    /// What their mixers are.
    pub block: Kinds,
    /// How their layers are joined to the stream.
    pub wiring: Wiring,
    /// N_p: learned rows that every mixer puts before the sequence; 0 for none.
    pub persistent: usize,
    /// Memories a mixer.
    pub heads: usize,
    /// Width of a memory's keys, queries and values.
    pub head_width: usize,
    /// Hidden width of the SwiGLU.
    pub feed_forward: usize,
    /// The head is the embedding's transpose.
    pub tied: bool,
    /// Taps of the convolutions on q, k and v; 0 for none.
    pub conv_width: usize,
    /// θ = `theta_max` · σ(…): the largest inner learning rate.
    pub theta_max: f64,
    /// η = `eta_max` · σ(…): the largest momentum, above 0, at most 1.
    pub eta_max: f64,
    /// First bias of α's gate: 0 forgets half of the memory at every token, −1 in 4 tokens, −4 in 55, −7 in 1100.
    /// Training moves it; text by the byte begins best at −1, what must be kept over noise at −7.
    pub alpha_bias: f64,
    /// First bias of θ's gate.
    pub theta_bias: f64,
    /// First bias of η's gate.
    pub eta_bias: f64,
    /// The first deviation of the maps to the memories' q and k, in units of one over the root of the width: above 0,
    /// at most 10. SiLU stands behind them, which is straight near 0 and shuts below: at 1 keys have few numbers below
    /// 0, at 0.1 every direction.
    pub key_scale: f64,
    /// Whether α is there; without it nothing is forgotten.
    pub forgetting: bool,
    /// Whether η is there; without it there is no momentum.
    pub momentum: bool,
    /// Whether the gates are a token's or a chunk's.
    pub gates: GateSpan,
    /// Whether every layer of a memory has α, θ and η of its own; one layer's are those of all.
    pub layer_gates: bool,
    /// How MAG (to the letter MAC too) joins attention and memory: one of the wiring's.
    pub combine: Combine,
    /// The memories.
    pub memory: MemoryConfig,
    /// The attention.
    pub attention: AttentionConfig,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            vocabulary: 256,
            inputs: 0,
            head: Head::Tokens,
            outputs: 0,
            shortcut: Shortcut::None,
            width: 128,
            blocks: 4,
            block: Kinds::default(),
            wiring: Wiring::default(),
            persistent: 0,
            heads: 2,
            head_width: 64,
            feed_forward: 256,
            tied: true,
            conv_width: 4,
            theta_max: 1.0,
            eta_max: 0.5,
            alpha_bias: -1.0,
            theta_bias: 0.0,
            key_scale: 1.0,
            eta_bias: 0.0,
            forgetting: true,
            momentum: true,
            gates: GateSpan::Token,
            layer_gates: false,
            combine: Combine::Gated,
            memory: MemoryConfig::default(),
            attention: AttentionConfig::default(),
        }
    }
}

impl ModelConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field, what it may be and what it is; [`Error::Kernel`] for a memory that cannot
    /// be.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("vocabulary", self.vocabulary),
            ("width", self.width),
            ("blocks", self.blocks),
            ("heads", self.heads),
            ("head_width", self.head_width),
            ("feed_forward", self.feed_forward),
            ("attention.window", self.attention.window),
            ("attention.segment", self.attention.segment),
            ("memory.hidden", self.memory.hidden),
            ("memory.chunk", self.memory.chunk),
        ];
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > LIMIT) {
            return Err(Error::usage(format!("model: {name}: expected 1 to {LIMIT}, found {found}")));
        }
        let may_be_0 = [("inputs", self.inputs), ("outputs", self.outputs)];
        if let Some((name, found)) = may_be_0.into_iter().find(|&(_, x)| x > LIMIT) {
            return Err(Error::usage(format!("model: {name}: expected 0 to {LIMIT}, found {found}")));
        }
        let few = [("conv_width", self.conv_width, TAPS), ("persistent", self.persistent, PERSISTENT)];
        if let Some((name, found, most)) = few.into_iter().find(|&(_, x, most)| x > most) {
            return Err(Error::usage(format!("model: {name}: expected 0 to {most}, found {found}")));
        }
        if self.blocks > BLOCKS {
            return Err(Error::usage(format!("model: blocks: expected 1 to {BLOCKS}, found {}", self.blocks)));
        }
        let layers = self.memory.layers;
        if !(1..=MAX_LAYERS).contains(&layers) {
            return Err(Error::usage(format!("model: memory.layers: expected 1 to {MAX_LAYERS}, found {layers}")));
        }
        let biases = [("alpha_bias", self.alpha_bias), ("theta_bias", self.theta_bias), ("eta_bias", self.eta_bias)];
        // All of these are numbers of 32 bits when they are computed with: 1e39 is infinite there, 1e-50 is 0.
        let above_0 = |x: f64| x as f32 > 0.0;
        if let Some((name, found)) = biases.into_iter().find(|(_, x)| !(*x as f32).is_finite()) {
            return Err(Error::usage(format!(
                "model: {name}: expected a number that is finite in 32 bits, found {found}"
            )));
        }
        if !(above_0(self.theta_max) && (self.theta_max as f32).is_finite()) {
            return Err(Error::usage(format!(
                "model: theta_max: expected above 0, finite in 32 bits, found {}",
                self.theta_max
            )));
        }
        if !(above_0(self.key_scale) && self.key_scale <= 10.0) {
            return Err(Error::usage(format!(
                "model: key_scale: expected above 0, at most 10, found {}",
                self.key_scale
            )));
        }
        if !(above_0(self.eta_max) && self.eta_max <= 1.0) {
            return Err(Error::usage(format!("model: eta_max: expected above 0, at most 1, found {}", self.eta_max)));
        }
        if self.inner() > LIMIT {
            return Err(Error::usage(format!(
                "model: heads × head_width: expected up to {LIMIT}, found {}",
                self.inner()
            )));
        }
        self.validate_blocks()?;
        self.validate_ends()?;
        let parameters = self.count()?;
        if parameters > PARAMETERS {
            return Err(Error::usage(format!(
                "model: parameters: expected up to {PARAMETERS}, found {parameters}; make something smaller: --blocks, --width, \
                 --head-width, --feed-forward or --hidden"
            )));
        }
        Ok(())
    }

    /// The memory of one head: widths `[head_width, hidden, …, head_width]`.
    ///
    /// # Errors
    /// [`Error::Kernel`] naming what no memory can have.
    pub fn memory_spec(&self) -> Result<MemorySpec> {
        let m = &self.memory;
        let mut widths = vec![self.head_width];
        widths.extend(std::iter::repeat_n(m.hidden, m.layers.clamp(1, MAX_LAYERS + 1) - 1));
        widths.push(self.head_width);
        let mut spec = MemorySpec::new(&widths)?;
        spec.activation = m.activation;
        spec.network = m.network.unwrap_or(spec.network);
        spec.loss = m.loss;
        (spec.chunk, spec.compute_chunk, spec.clip) = (m.chunk, m.compute_chunk, m.clip);
        spec.layer_gates = self.layer_gates;
        m.check_pieces(&spec)?;
        if spec.wide() && self.kinds().any(Kind::has_context) {
            // Pieces end where segments do; both are whole chunks, and so is what divides them.
            spec.compute_chunk = common(m.compute_chunk, self.attention.segment);
        }
        spec.validate()?;
        Ok(spec)
    }

    /// Gates of a row: α, θ, η of every memory (`[3, heads, layers]` where every layer has its own).
    pub fn gates_width(&self) -> usize {
        let layers = if self.layer_gates { self.memory.layers.max(1) } else { 1 };
        [self.heads, layers].into_iter().fold(3, usize::saturating_mul)
    }

    /// Width of all heads together.
    pub fn inner(&self) -> usize {
        self.heads.saturating_mul(self.head_width)
    }

    /// Numbers in all parameters.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`].
    pub fn parameters(&self) -> Result<usize> {
        self.validate()?;
        Ok(self.count()? as usize)
    }

    /// The mixer of block `i`.
    pub fn kind(&self, i: usize) -> Kind {
        match &self.block {
            Kinds::All(kind) => *kind,
            Kinds::Each(kinds) => kinds.get(i).copied().unwrap_or_default(),
        }
    }

    /// The mixers, from the first block to the last.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        (0..self.blocks).map(|i| self.kind(i))
    }

    /// The numbers of the blocks that have memories.
    pub fn remembering(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.blocks).filter(|&i| self.kind(i).has_memory())
    }

    /// Numbers that the model says after every token: logits, classes' logits or a prediction.
    pub fn said(&self) -> usize {
        if self.head == Head::Tokens { self.vocabulary } else { self.outputs }
    }

    /// Query heads of attention.
    pub fn query_heads(&self) -> usize {
        if self.attention.heads == 0 { self.heads } else { self.attention.heads }
    }

    /// Key and value heads of attention.
    pub fn kv_heads(&self) -> usize {
        if self.attention.kv_heads == 0 { self.query_heads() } else { self.attention.kv_heads }
    }

    /// c: width of an attention head.
    pub fn attention_width(&self) -> usize {
        self.inner().checked_div(self.query_heads()).unwrap_or(0)
    }

    fn validate_blocks(&self) -> Result<()> {
        if self.combine.wiring() != self.wiring {
            let (wiring, found, other) = (self.wiring.name(), self.combine.name(), self.combine.wiring().name());
            let known = Combine::ALL.iter().filter(|c| c.wiring() == self.wiring).map(|c| c.name());
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(Error::usage(format!(
                "model: combine: expected one of {known} (wiring {wiring}), found {found}, which goes with wiring {other}"
            )));
        }
        if let Kinds::Each(kinds) = &self.block
            && kinds.len() != self.blocks
        {
            let (blocks, found) = (self.blocks, kinds.len());
            return Err(Error::usage(format!("model: block: expected one kind or a list of {blocks}, found {found}")));
        }
        if !self.kinds().any(Kind::has_attention) {
            return Ok(());
        }
        let (heads, kv, inner) = (self.query_heads(), self.kv_heads(), self.inner());
        if heads > LIMIT || !inner.is_multiple_of(heads) {
            return Err(Error::usage(format!(
                "model: attention.heads: expected a divisor of heads × head_width = {inner}, found {heads}"
            )));
        }
        if kv > LIMIT || !heads.is_multiple_of(kv) {
            return Err(Error::usage(format!(
                "model: attention.kv_heads: expected a divisor of the {heads} query heads, found {kv}"
            )));
        }
        if self.attention.rotary && !self.attention_width().is_multiple_of(2) {
            return Err(Error::usage(format!(
                "model: attention.rotary: expected an even width of attention's heads, found {}; change attention.heads or \
                 turn rotary off",
                self.attention_width()
            )));
        }
        let (segment, chunk) = (self.attention.segment, self.memory.chunk);
        if self.kinds().any(Kind::has_context) && !segment.is_multiple_of(chunk) {
            return Err(Error::usage(format!(
                "model: attention.segment: expected a multiple of memory.chunk = {chunk}, found {segment}"
            )));
        }
        Ok(())
    }

    fn validate_ends(&self) -> Result<()> {
        if self.tied && (self.head != Head::Tokens || self.inputs > 0) {
            return Err(Error::usage("model: tied: a head is tied to an embedding of tokens only; set it to false"));
        }
        if self.head == Head::Tokens && self.inputs > 0 {
            return Err(Error::usage(
                "model: head: rows of numbers have no next token; expected regression or classes, found tokens",
            ));
        }
        if self.shortcut != Shortcut::None && self.inputs == 0 {
            return Err(Error::usage(
                "model: shortcut: it is of rows of numbers; set it to none for a model of tokens",
            ));
        }
        if self.head != Head::Tokens && self.outputs == 0 {
            return Err(Error::usage("model: outputs: expected 1 or more for regression and classes, found 0"));
        }
        Ok(())
    }

    /// The same, in numbers that no valid sizes overflow.
    fn count(&self) -> Result<u128> {
        let size = |d: &layout::Declaration| d.shape.iter().map(|&x| x as u128).product::<u128>();
        // All blocks of a kind are alike: a model with one of each, and how often each is there.
        let (mut ends, mut sum) = (true, 0);
        for &kind in Kind::ALL {
            let count = self.kinds().filter(|&k| k == kind).count() as u128;
            let one = Self { blocks: 1, block: Kinds::All(kind), ..self.clone() };
            for d in layout::declarations(&one)? {
                if d.name.starts_with("blocks.") {
                    sum += count * size(&d);
                } else if ends {
                    sum += size(&d);
                }
            }
            ends = false;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests;
