//! What a block is: its mixer, the sizes of its parts, and the rules they keep.

use crate::choice;
use crate::error::{Error, Result};
use crate::memory::{MemorySpec, Read};

/// Largest size of anything that is counted in rows, columns or heads.
pub const LIMIT: usize = 1 << 20;

choice! {
    /// The mixer of a block (`docs/MATH.md` section 6).
    #[derive(Default)]
    pub enum Kind: "block" {
        /// The memory alone.
        #[default]
        Lmm = 0, "lmm";
        /// Memory as context: attention over a segment, the persistent tokens and what the memory recalls.
        Mac = 1, "mac";
        /// Memory as gate: a memory and sliding-window attention side by side, combined element by element.
        Mag = 2, "mag";
        /// Memory as layer: sliding-window attention over what the memory answers.
        Mal = 3, "mal";
        /// Sliding-window attention, without a memory.
        Attention = 4, "attention";
    }
}

impl Kind {
    /// Has the block memories?
    pub const fn has_memory(self) -> bool {
        !matches!(self, Self::Attention)
    }

    /// Has the block attention?
    pub const fn has_attention(self) -> bool {
        !matches!(self, Self::Lmm)
    }

    /// Attention over the last tokens, in place of segments?
    pub(crate) const fn has_window(self) -> bool {
        matches!(self, Self::Mag | Self::Mal | Self::Attention)
    }
}

choice! {
    /// How the layers of a block are joined to the rows of the model (`docs/MATH.md` section 6).
    #[derive(Default)]
    pub enum Wiring: "wiring" {
        /// Memory and attention each add to the rows, as in the published models around the paper: attention has
        /// convolutions, a norm for each head and a gate, and the persistent rows are its own.
        #[default]
        Residual = 1, "residual";
        /// The paper's equations 21 to 31 to the letter: one residual connection a mixer, so that what the memory says
        /// passes through attention (MAL) or the other way round (MAC).
        Letter = 0, "letter";
    }
}

choice! {
    /// What the memories of [`Kind::Mac`] in [`Wiring::Residual`] are fed: n, the rows before attention, or y, those
    /// after it.
    #[derive(Default)]
    pub enum MacFeed: "mac-feed" {
        /// Queries and keys from n, values and gates from y: what attention says is kept under what was there.
        #[default]
        Split = 1, "split";
        /// All from n.
        Tokens = 2, "tokens";
        /// All from y (equation 24).
        Output = 0, "output";
    }
}

choice! {
    /// How MAC (in [`Wiring::Letter`]) and MAG put attention `a` and memory `m` together, both normalised with learned
    /// scales.
    #[derive(Default)]
    pub enum Combine: "combine" {
        /// silu(a) ∘ silu(m).
        Product = 0, "product";
        /// a ∘ silu(m).
        Silu = 1, "silu";
        /// a ∘ σ(m).
        Sigmoid = 2, "sigmoid";
        /// a + m.
        Sum = 3, "sum";
        /// (a + m) ∘ silu(n G), in [`Wiring::Residual`].
        Gated = 4, "gated";
        /// a ∘ silu(n G₂) + m ∘ silu(n G₁), in [`Wiring::Residual`].
        #[default]
        Gates = 5, "gates";
    }
}

impl Combine {
    /// The wiring that knows it.
    pub const fn wiring(self) -> Wiring {
        match self {
            Self::Product | Self::Silu | Self::Sigmoid | Self::Sum => Wiring::Letter,
            Self::Gated | Self::Gates => Wiring::Residual,
        }
    }
}

/// The configuration of one block. Fields that its kind does not use must be valid and change nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockSpec {
    /// The mixer.
    pub kind: Kind,
    /// How its layers are joined to the rows.
    pub wiring: Wiring,
    /// One memory; its key and value width are `head_width` (unused by [`Kind::Attention`]).
    pub memory: MemorySpec,
    /// Which weights answer a query of the memories.
    pub read: Read,
    /// Memories, 1 or more.
    pub heads: usize,
    /// Width of a memory's keys, values and queries; `heads · head_width` is the mixer's inner width I.
    pub head_width: usize,
    /// Taps of the convolutions on queries, keys and values (of attention too in [`Wiring::Residual`]); 0 for none.
    pub conv_width: usize,
    /// The largest inner learning rate: θ = `theta_max` σ(…); finite and above 0.
    pub theta_max: f64,
    /// The largest momentum: η = `eta_max` σ(…); finite, above 0, at most 1. With 1/2, half the loss, keys of norm 1
    /// and θ ≤ 1 a linear memory is stable on one key that comes again; which range holds for any keys and gates,
    /// docs/NUMERICS.md says.
    pub eta_max: f64,
    /// Whether memories forget; without, α = 0.
    pub forgetting: bool,
    /// Whether surprise has momentum; without, η = 0.
    pub momentum: bool,
    /// Every token takes the gates of its chunk's first one.
    pub gates_by_chunk: bool,
    /// Learned rows before the first token, 0 or more.
    pub persistent: usize,
    /// Heads of attention; they divide I.
    pub attention_heads: usize,
    /// Heads of its keys and values; they divide `attention_heads`.
    pub kv_heads: usize,
    /// Tokens that a token of sliding-window attention sees, itself among them.
    pub window: usize,
    /// Tokens of a segment of [`Kind::Mac`], a multiple of the memory's period ([`MemorySpec::period_len`]).
    pub segment: usize,
    /// Base of the rotary positions; 0 for none.
    pub rotary: f64,
    /// How attention and memory are put together ([`Kind::Mag`], and [`Kind::Mac`] in [`Wiring::Letter`]); one that the
    /// wiring knows.
    pub combine: Combine,
    /// What the memories of [`Kind::Mac`] are fed in [`Wiring::Residual`].
    pub mac_feed: MacFeed,
    /// [`Kind::Mac`]: queries are answered by the weights of the segment's start instead of those that `read` names.
    pub mac_read_segment: bool,
    /// Hidden width of the feed-forward.
    pub feed_forward: usize,
}

impl BlockSpec {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field, the rule and what was found.
    pub fn validate(&self) -> Result<()> {
        let from_one = [
            ("heads: 1 to 1048576", self.heads),
            ("head_width: 1 to 1048576", self.head_width),
            ("heads × head_width: 1 to 1048576", self.inner()),
            ("attention_heads: 1 to 1048576", self.attention_heads),
            ("kv_heads: 1 to 1048576", self.kv_heads),
            ("window: 1 to 1048576", self.window),
            ("segment: 1 to 1048576", self.segment),
            ("feed_forward: 1 to 1048576", self.feed_forward),
        ];
        for (what, found) in from_one {
            rule(what, found, (1..=LIMIT).contains(&found))?;
        }
        rule("conv_width: 0 to 1048576", self.conv_width, self.conv_width <= LIMIT)?;
        rule("persistent: 0 to 1048576", self.persistent, self.persistent <= LIMIT)?;
        rule("theta_max: finite and above 0", 0, self.theta_max.is_finite() && self.theta_max > 0.0)?;
        rule("eta_max: above 0, at most 1", 0, self.eta_max > 0.0 && self.eta_max <= 1.0)?;
        rule("rotary: a base from 1 to 1e300, or 0 for none", 0, self.rotary == 0.0 || self.has_rotary())?;
        self.memory.validate()?;
        if self.kind.has_memory() {
            let (key, value) = (self.memory.key_width(), self.memory.value_width());
            rule("memory: key width = head_width", key, key == self.head_width)?;
            rule("memory: value width = head_width", value, value == self.head_width)?;
        }
        if self.kind.has_attention() {
            let (heads, kv) = (self.attention_heads, self.kv_heads);
            rule("attention_heads: a divisor of heads × head_width", heads, self.inner().is_multiple_of(heads))?;
            rule("kv_heads: a divisor of attention_heads", kv, heads.is_multiple_of(kv))?;
            let width = self.attention_width();
            rule("attention width: even, for rotary positions", width, width.is_multiple_of(2) || self.rotary == 0.0)?;
        }
        rule("combine: one that the wiring knows", 0, self.combine.wiring() == self.wiring)?;
        let whole = self.segment.is_multiple_of(self.memory.period_len());
        let what = "segment: a multiple of the memory's chunk and compute_chunk";
        rule(what, self.segment, self.kind != Kind::Mac || whole)
    }

    fn has_rotary(&self) -> bool {
        (1.0..=1e300).contains(&self.rotary)
    }

    /// I, the width of all heads together.
    pub const fn inner(&self) -> usize {
        self.heads.saturating_mul(self.head_width)
    }

    /// Gates of all heads, `[3, H, L]`: α, θ, η of every memory, and with [`MemorySpec::layer_gates`] of every layer of
    /// it (else L is 1).
    pub(crate) fn gates(&self) -> usize {
        self.gate_columns().saturating_mul(3)
    }

    /// One of the three gates of all heads and layers.
    pub(crate) fn gate_columns(&self) -> usize {
        self.heads.saturating_mul(self.memory.gate_sets())
    }

    /// c, the width of a head of attention.
    pub const fn attention_width(&self) -> usize {
        match self.inner().checked_div(self.attention_heads) {
            Some(width) => width,
            None => 0,
        }
    }

    /// The keys' and values' head that a head of attention looks at.
    pub(crate) const fn kv_head(&self, head: usize) -> usize {
        match self.attention_heads.checked_div(self.kv_heads) {
            Some(of_one @ 1..) => head / of_one,
            _ => 0,
        }
    }

    /// Width of the keys of all heads together.
    pub(crate) const fn kv_width(&self) -> usize {
        self.kv_heads.saturating_mul(self.attention_width())
    }

    /// Width of the rows that the memories see, in a model of this width.
    pub(crate) const fn memory_input(&self, width: usize) -> usize {
        if matches!(self.kind, Kind::Mac) && matches!(self.wiring, Wiring::Letter) { self.inner() } else { width }
    }

    /// Layers that each add to the rows?
    pub(crate) const fn residual(&self) -> bool {
        matches!(self.wiring, Wiring::Residual)
    }

    /// Taps of attention's convolutions; 0 for none.
    pub(crate) const fn attention_taps(&self) -> usize {
        if self.kind.has_attention() && self.residual() { self.conv_width } else { 0 }
    }

    /// Do the memories see the persistent rows, before the first token?
    pub(crate) const fn remembers_persistent(&self) -> bool {
        match self.kind {
            Kind::Lmm => true,
            Kind::Mag | Kind::Mal => !self.residual(),
            Kind::Mac | Kind::Attention => false,
        }
    }

    /// Memories whose surprise a push reports.
    pub const fn memories(&self) -> usize {
        if self.kind.has_memory() { self.heads } else { 0 }
    }
}

/// The error of a rule that does not hold.
pub(crate) fn rule(what: &'static str, found: usize, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { what, found }) }
}
