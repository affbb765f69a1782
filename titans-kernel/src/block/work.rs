//! What a block works in while it takes some tokens: scratch, full of anything before.

use super::spec::BlockSpec;
use crate::error::Result;
use crate::memory;
use crate::scalar::Scalar;
use crate::scratch::Room;

/// Scratch of the mixer for n tokens.
pub(crate) struct Mixing<'a, T> {
    /// The block's input, normalised `[n, w]`.
    pub(crate) n: &'a mut [T],
    /// The mixer's output `[n, w]`.
    pub(crate) y: &'a mut [T],
    /// Inner rows `[n, I]`: two for whatever comes next, and the gate of a read.
    pub(crate) t: [&'a mut [T]; 2],
    /// MAC: the context h; MAL: what attention sees, z. `[n, w]`.
    pub(crate) z: &'a mut [T],
    pub(crate) memory: Remembering<'a, T>,
    pub(crate) attention: Attending<'a, T>,
}

/// Scratch of the memory layer.
pub(crate) struct Remembering<'a, T> {
    /// q, k, v `[n, I]`.
    pub(crate) qkv: [&'a mut [T]; 3],
    /// Gates and their logits `[n, 3, H, L]`, L being 1 where layers share them.
    pub(crate) gates: [&'a mut [T]; 2],
    /// `[n]`.
    pub(crate) surprise: &'a mut [T],
    /// What the memories answer `[n, I]`.
    pub(crate) r: &'a mut [T],
    /// One memory's own.
    pub(crate) own: &'a mut [T],
}

/// Scratch of attention.
pub(crate) struct Attending<'a, T> {
    /// Queries, as they are and rotated `[n, I]`.
    pub(crate) q: [&'a mut [T]; 2],
    /// Keys before they are rotated `[n, H_kv c]`.
    pub(crate) k: &'a mut [T],
    /// What it gives `[n, I]`.
    pub(crate) a: &'a mut [T],
    /// One head's own.
    pub(crate) own: &'a mut [T],
}

impl<'a, T: Scalar> Mixing<'a, T> {
    /// Takes the parts for n tokens.
    pub(crate) fn take<R: Room<'a, T>>(spec: &BlockSpec, width: usize, n: usize, room: &mut R) -> Result<Self> {
        let inner = spec.inner();
        let z = if spec.kind.has_context() || spec.kind.attends_to_answers() { width } else { 0 };
        Ok(Self {
            n: room.area(n, width)?,
            y: room.area(n, width)?,
            t: [room.area(n, inner)?, room.area(n, inner)?],
            z: room.area(n, z)?,
            memory: Remembering::take(spec, n, room)?,
            attention: Attending::take(spec, n, room)?,
        })
    }
}

impl<'a, T: Scalar> Remembering<'a, T> {
    fn take<R: Room<'a, T>>(spec: &BlockSpec, n: usize, room: &mut R) -> Result<Self> {
        let n = if spec.kind.has_memory() { n } else { 0 };
        let (inner, gates) = (spec.inner(), spec.gates());
        let asked = if spec.kind.has_context() { memory::query_scratch_len(&spec.memory, n) } else { 0 };
        let own = if spec.kind.has_memory() { memory::Stream::<T>::scratch_len(&spec.memory).max(asked) } else { 0 };
        Ok(Self {
            qkv: [room.area(n, inner)?, room.area(n, inner)?, room.area(n, inner)?],
            gates: [room.area(n, gates)?, room.area(n, gates)?],
            surprise: room.take(n)?,
            r: room.area(n, inner)?,
            own: room.take(own)?,
        })
    }
}

impl<'a, T: Scalar> Attending<'a, T> {
    fn take<R: Room<'a, T>>(spec: &BlockSpec, n: usize, room: &mut R) -> Result<Self> {
        let n = if spec.kind.has_attention() { n } else { 0 };
        let inner = spec.inner();
        Ok(Self {
            q: [room.area(n, inner)?, room.area(n, inner)?],
            k: room.area(n, spec.kv_width())?,
            a: room.area(n, inner)?,
            own: room.take(super::attend::scratch_len(spec, n))?,
        })
    }
}

/// Scratch of the feed-forward.
pub(crate) struct Feeding<'a, T> {
    pub(crate) n: &'a mut [T],
    pub(crate) up: &'a mut [T],
    pub(crate) gate: &'a mut [T],
    pub(crate) hidden: &'a mut [T],
    pub(crate) y: &'a mut [T],
}

impl<'a, T: Scalar> Feeding<'a, T> {
    /// Takes the parts for n tokens.
    pub(crate) fn take<R: Room<'a, T>>(spec: &BlockSpec, width: usize, n: usize, room: &mut R) -> Result<Self> {
        let hidden = spec.feed_forward;
        Ok(Self {
            n: room.area(n, width)?,
            up: room.area(n, hidden)?,
            gate: room.area(n, hidden)?,
            hidden: room.area(n, hidden)?,
            y: room.area(n, width)?,
        })
    }
}
