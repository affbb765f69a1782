//! What a block keeps of a stream, as parts of the caller's buffer. Parts that a kind does not have are empty.

use super::spec::BlockSpec;
use crate::error::Result;
use crate::memory;
use crate::ops::Tail;
use crate::scalar::Scalar;
use crate::scratch::Room;

/// Windows begin at a token whose number is a multiple of this: then a row of attention has the same bits wherever
/// the window begins.
const GRAIN: u64 = 16;

/// Keys and values, rows of all heads.
pub(crate) struct KeyValues<'a, T> {
    pub(crate) k: &'a mut [T],
    pub(crate) v: &'a mut [T],
}

/// The state of a block.
pub(crate) struct State<'a, T> {
    /// Tails of the convolutions of q, k, v.
    pub(crate) tails: [&'a mut [T]; 3],
    /// Gates of the open chunk `[3, H]`, where they are held.
    pub(crate) gates: &'a mut [T],
    /// The memories, one [`memory::Stream`]'s block after another.
    pub(crate) memories: &'a mut [T],
    /// Tails of the convolutions of attention's q, k, v.
    pub(crate) attention_tails: [&'a mut [T]; 3],
    /// MAC: tail of the convolution of the context's queries.
    pub(crate) context_tail: &'a mut [T],
    /// MAC: the memories' weights at the segment's start.
    pub(crate) snapshot: &'a mut [T],
    /// Of the persistent rows, not rotated.
    pub(crate) persistent: KeyValues<'a, T>,
    /// MAC: of the context in the open segment, rotated.
    pub(crate) context: KeyValues<'a, T>,
    /// Of the tokens in the window or the open segment, rotated.
    pub(crate) tokens: KeyValues<'a, T>,
}

/// One part of a state: its numbers, those of them that are saved, and those of these that mean something at a
/// position. Saved numbers without a meaning are zeros: what is saved follows from the configuration and the position
/// alone, not from how a stream was cut.
#[derive(Clone, Copy, Default)]
pub(crate) struct StatePart {
    pub(crate) len: usize,
    pub(crate) saved: usize,
    pub(crate) used: usize,
}

/// The parts in order, for pushes of up to `rows` tokens at once.
pub(crate) fn parts<T: Scalar>(spec: &BlockSpec, rows: usize, position: u64) -> [StatePart; 16] {
    let (kind, inner, kv) = (spec.kind, spec.inner(), spec.kv_width());
    let mac = kind.has_context();
    let on = |is: bool, n: usize| if is { n } else { 0 };
    let whole = |n: usize| StatePart { len: n, saved: n, used: n };
    let part = |len: usize, saved: usize, used: usize| {
        let [len, saved, used] = [len, saved, used].map(|rows| rows.saturating_mul(kv));
        StatePart { len, saved, used }
    };
    let heads = on(kind.has_memory(), spec.heads);
    let taps = Tail::<T>::len(spec.conv_width, inner);
    let tail = whole(on(kind.has_memory(), taps));
    let attention_tail = |width: usize| whole(Tail::<T>::len(spec.attention_taps(), width));
    let gates = whole(on(spec.gate_span.is_of_chunk() && heads > 0, spec.gates()));
    let memories = whole(heads.saturating_mul(memory::Stream::<T>::len(&spec.memory)));
    let context_tail = whole(on(mac, taps));
    let persistent = part(on(kind.has_attention(), spec.persistent), 0, 0).len;
    let open = on(mac, in_segment(spec, position));
    let snapshot = whole(on(mac, heads).saturating_mul(spec.memory.params()));
    let snapshot = StatePart { used: on(open > 0, snapshot.len), ..snapshot };
    let context = part(on(mac, spec.segment), on(mac, spec.segment), open);
    let window = if kind.has_window() {
        part(kept_rows(spec).saturating_add(rows), kept_rows(spec), in_window(spec, position))
    } else {
        StatePart::default()
    };
    let tokens = if mac { context } else { window };
    let persistent = whole(persistent);
    [
        tail,
        tail,
        tail,
        gates,
        memories,
        attention_tail(inner),
        attention_tail(kv),
        attention_tail(kv),
        context_tail,
        persistent,
        persistent,
        snapshot,
        context,
        context,
        tokens,
        tokens,
    ]
}

impl<'a, T: Scalar> State<'a, T> {
    /// Takes the parts for pushes of up to `rows` tokens at once.
    pub(crate) fn take<R: Room<'a, T>>(spec: &BlockSpec, rows: usize, room: &mut R) -> Result<Self> {
        let [q, k, v, gates, memories, aq, ak, av, context_tail, pk, pv, snapshot, ck, cv, tk, tv] =
            parts::<T>(spec, rows, 0);
        let mut take = |part: StatePart| room.take(part.len);
        Ok(Self {
            tails: [take(q)?, take(k)?, take(v)?],
            gates: take(gates)?,
            memories: take(memories)?,
            attention_tails: [take(aq)?, take(ak)?, take(av)?],
            context_tail: take(context_tail)?,
            persistent: KeyValues { k: take(pk)?, v: take(pv)? },
            snapshot: take(snapshot)?,
            context: KeyValues { k: take(ck)?, v: take(cv)? },
            tokens: KeyValues { k: take(tk)?, v: take(tv)? },
        })
    }
}

/// Most rows of a window between pushes.
const fn kept_rows(spec: &BlockSpec) -> usize {
    spec.window.saturating_add(GRAIN as usize - 2)
}

/// Number of the first token that is kept for those from `position` on.
pub(crate) const fn window_start(spec: &BlockSpec, position: u64) -> u64 {
    let first = position.saturating_add(1).saturating_sub(spec.window as u64);
    first - first % GRAIN
}

/// Tokens before `position` that are kept.
pub(crate) const fn in_window(spec: &BlockSpec, position: u64) -> usize {
    (position - window_start(spec, position)) as usize
}

/// Tokens before `position` in its segment.
pub(crate) const fn in_segment(spec: &BlockSpec, position: u64) -> usize {
    if spec.segment == 0 { 0 } else { (position % spec.segment as u64) as usize }
}

/// For attention of tokens from `position` on: the numbers of the first key and of the first query, and how many keys
/// are kept. Those of a segment count from its start.
pub(crate) const fn seen_from(spec: &BlockSpec, position: u64) -> (u64, u64, usize) {
    if spec.kind.has_context() {
        (0, in_segment(spec, position) as u64, in_segment(spec, position))
    } else {
        (window_start(spec, position), position, in_window(spec, position))
    }
}
