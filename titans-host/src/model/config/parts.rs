//! The parts of a configuration and their names.

use crate::error::{Error, Result};
use crate::model::names::{self, Named};
use serde::{Deserialize, Serialize};
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network, Read, USUAL_PIECE};

/// What a block's mixer is (paper, section 4; `docs/MATH.md`, section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The memory alone.
    #[default]
    Lmm,
    /// Memory as context: attention over a segment sees what the memory knows of it, and the memory learns its output.
    Mac,
    /// Memory as gate: sliding-window attention and memory side by side, multiplied.
    Mag,
    /// Memory as layer: sliding-window attention over the memory's output.
    Mal,
    /// Sliding-window attention without a memory.
    Attention,
}

impl Named for Kind {
    const WHAT: &'static str = "block";
    const ALL: &'static [(&'static str, Self)] = &[
        ("lmm", Self::Lmm),
        ("mac", Self::Mac),
        ("mag", Self::Mag),
        ("mal", Self::Mal),
        ("attention", Self::Attention),
    ];
}

impl Kind {
    /// Whether it has memories.
    pub fn remembers(self) -> bool {
        self != Self::Attention
    }

    /// Whether it has attention.
    pub fn attends(self) -> bool {
        self != Self::Lmm
    }
}

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

/// How the layers of a block are joined to the residual stream (`docs/MATH.md`, section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wiring {
    /// Memory and attention each add to the stream; attention has convolutions, head norms and a gate, and the persistent tokens are
    /// its own.
    #[default]
    Residual,
    /// The paper's equations to the letter: one residual connection a mixer.
    Letter,
}

impl Named for Wiring {
    const WHAT: &'static str = "wiring";
    const ALL: &'static [(&'static str, Self)] = &[("residual", Self::Residual), ("letter", Self::Letter)];
}

/// What MAC's memory is fed in the residual wiring: n, the rows before attention, or y, those after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacFeed {
    /// Queries and keys from n, values and gates from y.
    #[default]
    Split,
    /// All from n.
    Tokens,
    /// All from y (equation 24).
    Output,
}

impl Named for MacFeed {
    const WHAT: &'static str = "mac-feed";
    const ALL: &'static [(&'static str, Self)] =
        &[("split", Self::Split), ("tokens", Self::Tokens), ("output", Self::Output)];
}

/// How attention's output ŷ and the memory's m̂, both normalised with a learned vector, are joined in MAG (and in MAC to the letter).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// silu(ŷ) ∘ silu(m̂): the paper's words, "a non-linearity" on both sides. This and the next three go with [`Wiring::Letter`].
    Product,
    /// ŷ ∘ silu(m̂).
    Silu,
    /// ŷ ∘ σ(m̂): what titans-pytorch does.
    Sigmoid,
    /// ŷ + m̂.
    Sum,
    /// (ŷ + m̂) ∘ silu(n G). This and the next go with [`Wiring::Residual`].
    Gated,
    /// ŷ ∘ silu(n G₂) + m̂ ∘ silu(n G₁).
    #[default]
    Gates,
}

impl Combine {
    /// The wiring that knows it.
    pub fn wiring(self) -> Wiring {
        match self {
            Self::Product | Self::Silu | Self::Sigmoid | Self::Sum => Wiring::Letter,
            Self::Gated | Self::Gates => Wiring::Residual,
        }
    }
}

impl Named for Combine {
    const WHAT: &'static str = "combine";
    const ALL: &'static [(&'static str, Self)] = &[
        ("product", Self::Product),
        ("silu", Self::Silu),
        ("sigmoid", Self::Sigmoid),
        ("sum", Self::Sum),
        ("gated", Self::Gated),
        ("gates", Self::Gates),
    ];
}

/// Whether α, θ and η are a token's or a chunk's (paper, section 3.2: "parameters as the function of chunks").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateSpan {
    /// Every token has its own.
    #[default]
    Token,
    /// All tokens of a chunk have those of its first.
    Chunk,
}

/// What the model says after every token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// Logits of the next token.
    #[default]
    Tokens,
    /// Numbers, e.g. the next patch of a series.
    Regression,
    /// Logits of a class.
    Classes,
}

impl Named for Head {
    const WHAT: &'static str = "head";
    const ALL: &'static [(&'static str, Self)] =
        &[("tokens", Self::Tokens), ("regression", Self::Regression), ("classes", Self::Classes)];
}

/// The memory of a mixer's head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct MemoryConfig {
    /// L, 1 (a matrix) to 4.
    pub layers: usize,
    /// Width between the layers; unused with one layer.
    pub hidden: usize,
    /// b: tokens whose inner gradients are taken at the same weights; 1: every token has its own, as in the paper's equations. In
    /// chunks their steps add up: with long ones and a large `theta_max`, repeated keys overshoot, and the memory diverges.
    pub chunk: usize,
    /// Tokens computed at once, 0 for whole chunks: the same numbers in another order of sums. Below `chunk` cheaper for long
    /// chunks; above it, a multiple of it, whole chunks at once, which one layer in the plain shape can do (others compute a chunk at
    /// once). With MAC the largest divisor of it that its segments have too.
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

/// Which memory answers the queries of MAC's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacRead {
    /// The memory after the writes of the tokens up to the query's own.
    #[default]
    After,
    /// The memory before the segment.
    Segment,
}

/// The attention of a mixer.
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
