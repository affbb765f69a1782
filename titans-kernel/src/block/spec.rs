//! What a block is: its mixer, the sizes of its parts, and the rules they keep.

use super::choices::{Combine, GateSpan, Kind, MacFeed, MacRead, Wiring};
use crate::error::{Error, Result};
use crate::memory::{LIMIT, MemorySpec, Read};

/// Base of the rotary positions' wavelengths.
pub const ROTARY_BASE: f64 = 10_000.0;

/// The configuration of one block. Fields that its kind does not use must be valid and change nothing.
///
/// ```
/// use titans_kernel::model::{BlockSpec, Kind};
///
/// let lmm = BlockSpec::new(Kind::Lmm, 2, 8)?;
/// let mag = BlockSpec { kind: Kind::Mag, window: 32, ..lmm.clone() };
/// mag.validate()?;
/// assert_eq!((lmm.inner(), lmm.memories()), (16, 2)); // rows of two memories' 8 numbers each
/// assert!(mag.parameters(16) > lmm.parameters(16)); // those of attention, in a model of 16 numbers a row
/// # Ok::<(), titans_kernel::Error>(())
/// ```
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
    /// Whose gates a token takes.
    pub gate_span: GateSpan,
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
    /// [`Kind::Mac`]: whether the weights that `read` names answer queries, or those of the segment's start.
    pub mac_read: MacRead,
    /// Hidden width of the feed-forward.
    pub feed_forward: usize,
}

impl BlockSpec {
    /// A block of so many linear memories of this width, with what `titans train` begins with: the residual wiring,
    /// reads after the write, convolutions of 4 taps, gates of every token's own, windows and segments of 64 tokens, as
    /// many heads of attention as memories, rotary positions where the width is even, a feed-forward of twice the inner
    /// width, no persistent rows.
    ///
    /// # Errors
    /// [`Error::Config`] as [`BlockSpec::validate`].
    pub fn new(kind: Kind, heads: usize, head_width: usize) -> Result<Self> {
        let spec = Self {
            kind,
            wiring: Wiring::Residual,
            memory: MemorySpec::new(&[head_width, head_width])?,
            read: Read::After,
            heads,
            head_width,
            conv_width: 4,
            theta_max: 1.0,
            eta_max: 0.5,
            forgetting: true,
            momentum: true,
            gate_span: GateSpan::Token,
            persistent: 0,
            attention_heads: heads,
            kv_heads: heads,
            window: 64,
            segment: 64,
            rotary: if head_width.is_multiple_of(2) { ROTARY_BASE } else { 0.0 },
            combine: Combine::Gated,
            mac_feed: MacFeed::Split,
            mac_read: MacRead::After,
            feed_forward: heads.saturating_mul(head_width).saturating_mul(2),
        };
        spec.validate()?;
        Ok(spec)
    }

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
        rule(what, self.segment, !self.kind.has_context() || whole)
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

    /// Layers that each add to the rows?
    pub(crate) const fn residual(&self) -> bool {
        self.wiring.is_residual()
    }

    /// Width of the rows that the memories see, in a model of this width.
    pub(crate) const fn memory_input(&self, width: usize) -> usize {
        match (self.kind, self.wiring) {
            // What attention gave.
            (Kind::Mac, Wiring::Letter) => self.inner(),
            (Kind::Mac, Wiring::Residual) | (Kind::Lmm | Kind::Mag | Kind::Mal | Kind::Attention, _) => width,
        }
    }

    /// Are the memories' answers normed, head by head, and gated, before anything else is done with them?
    pub(crate) const fn reads_out(&self) -> bool {
        match (self.kind, self.wiring) {
            (Kind::Lmm | Kind::Mal, _) | (Kind::Mac | Kind::Mag, Wiring::Residual) => true,
            (Kind::Mac | Kind::Mag, Wiring::Letter) | (Kind::Attention, _) => false,
        }
    }

    /// Do attention and memory meet as rows that were normed with scales of their own?
    pub(crate) const fn combines(&self) -> bool {
        match (self.kind, self.wiring) {
            (Kind::Mac | Kind::Mag, Wiring::Letter) => true,
            (Kind::Mac | Kind::Mag, Wiring::Residual) | (Kind::Lmm | Kind::Mal | Kind::Attention, _) => false,
        }
    }

    /// Is what attention gives normed, head by head?
    pub(crate) const fn norms_attention(&self) -> bool {
        self.kind.has_attention() && self.residual()
    }

    /// Has attention a gate of its own? In MAG one gate may serve both.
    pub(crate) const fn gates_attention(&self) -> bool {
        self.norms_attention()
            && match self.kind {
                Kind::Mag => !self.combine.has_one_gate(),
                Kind::Lmm | Kind::Mac | Kind::Mal | Kind::Attention => true,
            }
    }

    /// Does attention add to the rows, before the memories are fed?
    pub(crate) const fn adds_attention(&self) -> bool {
        self.kind.has_context() && self.residual()
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
