//! The record of a block in a blob: fields of fixed size, little-endian.
//!
//! Kind (LMM, MAC, MAG, MAL, attention), combine (product, silu, sigmoid, sum, gated, gates), forgetting, momentum,
//! gates by chunk, MAC reads at the segment's start; of the memory activation, network, loss, read, layers; wiring
//! (letter, residual) (12 bytes); d_0 … d_4, unused ones 0 (20); chunk, heads, head width, taps, persistent, heads of
//! attention, of its keys, window, segment, feed-forward, compute chunk (44); clip (0 for none), θ's maximum, base of
//! the rotary positions, η's maximum as `f64` (32); what MAC's memories are fed (output, split, tokens) (1); whether
//! every layer of a memory has gates of its own (1); zeros (18). Numbers of variants are never given a second time.
//! `keep_every` of a memory matters in training only and is not stored.

use super::BlockSpec;
use crate::Choice;
use crate::error::{Error, Fault, Result};
use crate::memory::{MAX_LAYERS, MemorySpec};
use crate::part::Parts;

/// Bytes of a record.
pub(super) const RECORD: usize = 128;

/// Writes fields one after another.
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut [u8],
    pub(super) at: usize,
}

impl Writer<'_> {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.part_mut(self.at..self.at + bytes.len()).become_copy(bytes);
        self.at += bytes.len();
    }

    /// Sizes are at most `LIMIT`.
    pub(super) fn word(&mut self, x: usize) {
        self.bytes(&(x as u32).to_le_bytes());
    }
}

pub(super) fn encode(b: &BlockSpec, w: &mut Writer<'_>) {
    let m = &b.memory;
    w.bytes(&[b.kind.code(), b.combine.code()]);
    w.bytes(&[b.forgetting, b.momentum].map(u8::from));
    w.bytes(&[b.gate_span.code(), b.mac_read.code()]);
    w.bytes(&[m.activation.code(), m.network.code()]);
    w.bytes(&[m.loss.code(), b.read.code(), m.layers() as u8]);
    w.bytes(&[b.wiring.code()]);
    (0..=MAX_LAYERS).for_each(|i| w.word(m.widths.get(i).copied().unwrap_or(0)));
    let sizes = [
        m.chunk,
        b.heads,
        b.head_width,
        b.conv_width,
        b.persistent,
        b.attention_heads,
        b.kv_heads,
        b.window,
        b.segment,
        b.feed_forward,
        m.compute_chunk,
    ];
    sizes.into_iter().for_each(|x| w.word(x));
    [m.clip.unwrap_or(0.0), b.theta_max, b.rotary, b.eta_max].into_iter().for_each(|x| w.bytes(&x.to_le_bytes()));
    w.bytes(&[b.mac_feed.code(), u8::from(m.layer_gates)]);
}

/// Reads fields one after another; what lies behind the end is 0.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
}

impl Reader<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.bytes.halves(N.min(self.bytes.len()));
        self.bytes = rest;
        let mut out = [0; N];
        out.part_mut(..head.len()).become_copy(head);
        out
    }

    pub(super) fn word(&mut self) -> usize {
        u32::from_le_bytes(self.take()) as usize
    }

    fn float(&mut self) -> f64 {
        f64::from_le_bytes(self.take())
    }

    pub(super) fn variant<V: Copy>(&mut self, what: &'static str, all: &[V]) -> Result<V> {
        let [x] = self.take();
        all.get(usize::from(x)).copied().ok_or_else(|| Fault::Corrupt.error(what, all.len() as u64 - 1, u64::from(x)))
    }

    fn choice<V: Choice>(&mut self) -> Result<V> {
        let [code] = self.take();
        V::of_code(code)
    }

    pub(super) fn zeros(&mut self, what: &'static str, n: usize) -> Result<()> {
        (0..n).try_for_each(|_| self.variant(what, &[()]))
    }
}

fn decode(bytes: &[u8]) -> Result<BlockSpec> {
    let mut r = Reader { bytes };
    let kind = r.choice()?;
    let combine = r.choice()?;
    let mut flag = |what| r.variant(what, &[false, true]);
    let (forgetting, momentum) = (flag("block: forgetting")?, flag("block: momentum")?);
    let (gate_span, mac_read) = (r.choice()?, r.choice()?);
    let activation = r.choice()?;
    let network = r.choice()?;
    let (loss, read) = (r.choice()?, r.choice()?);
    let layers = r.variant("block: layers of the memory", &[0, 1, 2, 3, 4])?;
    let wiring = r.choice()?;
    let mut memory = MemorySpec::new(&[1, 1])?;
    memory.widths.clear();
    for i in 0..=MAX_LAYERS {
        let width = r.word();
        if i > layers && width != 0 {
            return Err(Fault::Corrupt.error("block: a width of no layer", 0, width as u64));
        }
        // There is room for all of them.
        let _ = if i <= layers { memory.widths.push(width) } else { Ok(()) };
    }
    (memory.activation, memory.network, memory.loss, memory.chunk) = (activation, network, loss, r.word());
    let [heads, head_width, conv_width, persistent] = [(); 4].map(|()| r.word());
    let [attention_heads, kv_heads, window, segment, feed_forward] = [(); 5].map(|()| r.word());
    memory.compute_chunk = r.word();
    let clip = r.float();
    memory.clip = (clip != 0.0).then_some(clip);
    let [theta_max, rotary, eta_max] = [(); 3].map(|()| r.float());
    let mac_feed = r.choice()?;
    memory.layer_gates = r.variant("block: gates of every layer", &[false, true])?;
    r.zeros("block: zeros at the end", 18)?;
    let spec = BlockSpec {
        kind,
        wiring,
        memory,
        read,
        heads,
        head_width,
        conv_width,
        theta_max,
        eta_max,
        forgetting,
        momentum,
        gate_span,
        persistent,
        attention_heads,
        kv_heads,
        window,
        segment,
        rotary,
        combine,
        mac_feed,
        mac_read,
        feed_forward,
    };
    spec.validate()?;
    Ok(spec)
}

/// Block i of checked records.
pub(super) fn record(records: &[u8], i: usize) -> Result<BlockSpec> {
    let missing = Error::Shape { what: "blocks, more than", expected: records.len() / RECORD, found: i };
    decode(records.chunks_exact(RECORD).nth(i).ok_or(missing)?)
}
