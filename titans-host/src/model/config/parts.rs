//! The parts of a configuration and their names.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use titans_kernel::choice;
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network, Read, USUAL_PIECE};
use titans_kernel::model::{Kind, MacFeed, MacRead};

/// One kind for all blocks, or a list with one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kinds {
    /// All alike.
    All(Kind),
    /// From the first block to the last.
    Each(Vec<Kind>),
}

impl Default for Kinds {
    fn default() -> Self {
        Self::All(Kind::default())
    }
}

choice! {
    /// What the model says after every token.
    #[derive(Default)]
    pub enum Head: "head" {
        /// Logits of the next token.
        #[default]
        Tokens = 0, "tokens";
        /// Numbers, e.g. the next patch of a series.
        Regression = 1, "regression";
        /// Logits of a class.
        Classes = 2, "classes";
    }
}

choice! {
    /// A linear map of a row of numbers past all blocks, added to what the model says.
    #[derive(Default)]
    pub enum Shortcut: "shortcut" {
        /// None.
        #[default]
        None = 0, "none";
        /// As the task made it, e.g. by least squares: training moves the blocks alone.
        Fixed = 1, "fixed";
        /// Trained with the rest.
        Learned = 2, "learned";
    }
}

/// The memory of a mixer's head.
///
/// ```
/// use titans_host::model::{MemoryConfig, ModelConfig};
/// use titans_kernel::memory::Network;
///
/// let memory = MemoryConfig { layers: 2, hidden: 64, chunk: 4, ..MemoryConfig::default() };
/// let spec = ModelConfig { memory, ..ModelConfig::default() }.memory_spec()?;
/// assert_eq!((spec.layers(), spec.widths[1], spec.chunk), (2, 64, 4));
/// assert_eq!(spec.network, Network::Residual); // what deep memories are unless told otherwise
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct MemoryConfig {
    /// L, 1 (a matrix) to 4.
    pub layers: usize,
    /// Width between the layers; unused with one layer.
    pub hidden: usize,
    /// b: tokens whose inner gradients are taken at the same weights; 1: every token has its own, as in the paper's
    /// equations. In chunks their steps add up: with long ones and a large `theta_max`, repeated keys overshoot, and
    /// the memory diverges.
    pub chunk: usize,
    /// Tokens computed at once, 0 for whole chunks: the same numbers in another order of sums. Below `chunk` cheaper
    /// for long chunks; above it, a multiple of it, whole chunks at once, which one layer in the plain shape can do
    /// (others compute a chunk at once). With MAC the largest divisor of it that its segments have too.
    pub compute_chunk: usize,
    /// φ between the layers.
    pub activation: Activation,
    /// Shape of the output; by default plain for one layer, residual for more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Scale of the inner loss.
    pub loss: Loss,
    /// Largest norm of a token's inner gradient; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Which weights answer a query.
    pub read: Read,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            layers: 1,
            hidden: 128,
            chunk: 1,
            compute_chunk: USUAL_PIECE,
            activation: Activation::Silu,
            network: None,
            loss: Loss::Half,
            clip: None,
            read: Read::After,
        }
    }
}

impl MemoryConfig {
    /// Pieces of several chunks are whole chunks.
    pub(super) fn check_pieces(&self, spec: &MemorySpec) -> Result<()> {
        let (chunk, found) = (self.chunk, self.compute_chunk);
        if spec.wide() && !found.is_multiple_of(chunk) {
            return Err(Error::usage(format!(
                "model: memory.compute_chunk: expected a multiple of memory.chunk = {chunk}, or below it (0: whole chunks), found {found}"
            )));
        }
        Ok(())
    }
}

/// The largest common divisor; that of 0 and x is x.
pub(super) fn common(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The attention of a mixer.
///
/// ```
/// use titans_host::model::{AttentionConfig, ModelConfig};
///
/// let attention = AttentionConfig { heads: 8, kv_heads: 2, window: 128, ..AttentionConfig::default() };
/// let config = ModelConfig { heads: 4, head_width: 32, attention, ..ModelConfig::default() };
/// config.validate()?;
/// assert_eq!(config.attention_width(), 16); // 8 heads share the 4 · 32 numbers of the memories
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct AttentionConfig {
    /// Query heads, which share the width of all memory heads; 0: as many as memory heads.
    pub heads: usize,
    /// Key and value heads, a divisor of the query heads; 0: one for each.
    pub kv_heads: usize,
    /// Tokens that a query sees, its own among them (MAG, MAL, attention).
    pub window: usize,
    /// Tokens of a segment (MAC), a multiple of the memory's chunk.
    pub segment: usize,
    /// Rotary positions.
    pub rotary: bool,
    /// Which memory answers MAC's output.
    pub read: MacRead,
    /// What MAC's memory is fed.
    pub feed: MacFeed,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self {
            heads: 0,
            kv_heads: 0,
            window: 64,
            segment: 64,
            rotary: true,
            read: MacRead::After,
            feed: MacFeed::Split,
        }
    }
}
