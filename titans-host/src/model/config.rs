//! What a model is: every size and choice, and what follows from them.

use super::names;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use titans_kernel::memory::{Activation, Loss, MAX_LAYERS, MemorySpec, Network, Read};

/// Largest of any size in a configuration: far beyond use, and small enough that counts cannot overflow.
const LIMIT: usize = 1 << 20;
/// Most blocks.
const BLOCKS: usize = 1 << 12;
/// Most numbers in all parameters: checked before anything is made, so that a slip of a size is no allocation.
const PARAMETERS: u128 = 1 << 31;

/// The memory of a mixer's head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct MemoryConfig {
    /// L, 1 (a matrix) to 4.
    pub layers: usize,
    /// Width between the layers; unused with one layer.
    pub hidden: usize,
    /// b: tokens whose inner gradients are taken at the same weights. Their steps add up: with long chunks and a large
    /// `theta_max`, repeated keys overshoot, and the memory diverges on streams longer than those of the training.
    pub chunk: usize,
    /// Tokens computed at once on the CPU, 0 for whole chunks (as is every number of `chunk` and above): the same numbers in
    /// another order of sums, cheaper for long chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub compute_chunk: usize,
    /// φ between the layers.
    #[serde(with = "names")]
    pub activation: Activation,
    /// Shape of the output; by default plain for one layer, residual for more.
    #[serde(with = "names::option", skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Scale of the inner loss.
    #[serde(with = "names")]
    pub loss: Loss,
    /// Largest norm of a token's inner gradient; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Which weights answer a query.
    #[serde(with = "names")]
    pub read: Read,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            layers: 1,
            hidden: 128,
            chunk: 8,
            compute_chunk: 0,
            activation: Activation::Silu,
            network: None,
            loss: Loss::Sum,
            clip: None,
            read: Read::After,
        }
    }
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// A whole model. The default reads bytes: 0.8 M parameters, linear memories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ModelConfig {
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Of the residual stream.
    pub width: usize,
    /// Blocks of mixer and feed-forward.
    pub blocks: usize,
    /// Memories a mixer.
    pub heads: usize,
    /// Width of a memory's keys, queries and values.
    pub head_width: usize,
    /// Hidden width of the SwiGLU.
    pub feed_forward: usize,
    /// The head is the embedding's transpose.
    pub tied: bool,
    /// Taps of the convolutions on q, k and v; 1 or more.
    pub conv_width: usize,
    /// θ = `theta_max` · σ(…): the largest inner learning rate.
    pub theta_max: f64,
    /// First bias of α's gate: 0 forgets half of the memory at every token, −4 in 55 tokens, −7 in 1100.
    pub alpha_bias: f64,
    /// First bias of θ's gate.
    pub theta_bias: f64,
    /// First bias of η's gate.
    pub eta_bias: f64,
    /// The memories.
    pub memory: MemoryConfig,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            vocabulary: 256,
            width: 128,
            blocks: 4,
            heads: 2,
            head_width: 64,
            feed_forward: 256,
            tied: true,
            conv_width: 4,
            theta_max: 0.25,
            alpha_bias: -4.0,
            theta_bias: 0.0,
            eta_bias: 0.0,
            memory: MemoryConfig::default(),
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
            ("conv_width", self.conv_width),
            ("memory.hidden", self.memory.hidden),
            ("memory.chunk", self.memory.chunk),
        ];
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > LIMIT) {
            return Err(Error::usage(format!("model: {name}: expected 1 to {LIMIT}, found {found}")));
        }
        if self.blocks > BLOCKS {
            return Err(Error::usage(format!("model: blocks: expected 1 to {BLOCKS}, found {}", self.blocks)));
        }
        let layers = self.memory.layers;
        if !(1..=MAX_LAYERS).contains(&layers) {
            return Err(Error::usage(format!("model: memory.layers: expected 1 to {MAX_LAYERS}, found {layers}")));
        }
        let biases = [("alpha_bias", self.alpha_bias), ("theta_bias", self.theta_bias), ("eta_bias", self.eta_bias)];
        if let Some((name, found)) = biases.into_iter().find(|(_, x)| !x.is_finite()) {
            return Err(Error::usage(format!("model: {name}: expected a finite number, found {found}")));
        }
        if !(self.theta_max.is_finite() && self.theta_max > 0.0) {
            return Err(Error::usage(format!("model: theta_max: expected above 0, found {}", self.theta_max)));
        }
        if self.inner() > LIMIT {
            return Err(Error::usage(format!(
                "model: heads × head_width: expected up to {LIMIT}, found {}",
                self.inner()
            )));
        }
        let parameters = self.count(&self.memory_spec()?);
        if parameters > PARAMETERS {
            return Err(Error::usage(format!(
                "model: parameters: expected up to {PARAMETERS}, found {parameters}; make blocks, width, head_width, \
                 feed_forward or memory.hidden smaller"
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
        spec.chunk = m.chunk;
        spec.compute_chunk = m.compute_chunk;
        spec.clip = m.clip;
        spec.validate()?;
        Ok(spec)
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
        Ok(self.count(&self.memory_spec()?) as usize)
    }

    /// The same, in numbers that no valid sizes overflow.
    fn count(&self, memory: &MemorySpec) -> u128 {
        let [w, h, head, conv] = [self.width, self.heads, self.head_width, self.conv_width].map(|x| x as u128);
        let [hidden, blocks, vocabulary] = [self.feed_forward, self.blocks, self.vocabulary].map(|x| x as u128);
        let inner = h * head;
        let layer = |l| {
            let (i, o) = memory.layer(l);
            i as u128 * o as u128
        };
        let projections = 5 * w * inner;
        let convolutions = 3 * inner * (conv + 1);
        let gates = (w + 1) * 3 * h;
        let memories = h * ((0..memory.layers()).map(layer).sum::<u128>() + memory.gamma_len() as u128);
        let feed_forward = 3 * w * hidden;
        let norms = 2 * w + head;
        let block = projections + convolutions + gates + memories + feed_forward + norms;
        let embeddings = if self.tied { 1 } else { 2 } * vocabulary * w;
        embeddings + blocks * block + w
    }
}

#[cfg(test)]
mod tests {
    use super::ModelConfig;
    use titans_kernel::memory::{Activation, Network, Read};

    #[test]
    fn a_configuration_comes_back_from_text_and_absent_fields_are_the_default() {
        let mut config = ModelConfig { tied: false, ..ModelConfig::default() };
        config.memory.activation = Activation::GeluTanh;
        config.memory.network = Some(Network::Plain);
        config.memory.clip = Some(1.5);
        config.memory.read = Read::ChunkStart;
        assert!(!toml::to_string(&config).unwrap().contains("compute_chunk"));
        config.memory.compute_chunk = 5;
        assert_eq!(config.memory_spec().unwrap().piece(), 5);
        let toml = toml::to_string(&config).unwrap();
        assert!(toml.contains("gelu-tanh") && toml.contains("chunk-start"), "{toml}");
        assert_eq!(toml::from_str::<ModelConfig>(&toml).unwrap(), config);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ModelConfig>(&json).unwrap(), config);
        assert_eq!(toml::from_str::<ModelConfig>("").unwrap(), ModelConfig::default());
        let error = toml::from_str::<ModelConfig>("[memory]\nactivation = \"sine\"").unwrap_err().to_string();
        assert!(error.contains("silu") && error.contains("sine"), "{error}");
        assert!(toml::from_str::<ModelConfig>("widht = 3").is_err());
    }

    #[test]
    fn every_bad_field_is_named() {
        let good = ModelConfig::default();
        good.validate().unwrap();
        type Spoil = fn(&mut ModelConfig);
        let bad: [(&str, Spoil); 15] = [
            ("vocabulary", |c| c.vocabulary = 0),
            ("head_width", |c| c.head_width = usize::MAX),
            ("conv_width", |c| c.conv_width = 0),
            ("memory.layers", |c| c.memory.layers = 5),
            ("memory.chunk", |c| c.memory.chunk = 0),
            ("compute_chunk", |c| c.memory.compute_chunk = usize::MAX),
            ("theta_max", |c| c.theta_max = f64::NAN),
            ("alpha_bias", |c| c.alpha_bias = f64::INFINITY),
            ("theta_bias", |c| c.theta_bias = f64::NAN),
            ("eta_bias", |c| c.eta_bias = f64::NAN),
            ("clip", |c| c.memory.clip = Some(-1.0)),
            ("blocks", |c| c.blocks = 4097),
            ("parameters", |c| (c.width, c.feed_forward) = (100_000, 100_000)),
            ("parameters", |c| (c.memory.layers, c.memory.hidden) = (4, 1 << 20)),
            ("parameters", |c| (c.width, c.heads, c.head_width, c.feed_forward) = (1 << 20, 1 << 10, 1 << 10, 1 << 20)),
        ];
        for (name, spoil) in bad {
            let mut config = good.clone();
            spoil(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
            assert!(config.parameters().is_err());
        }
    }
}
