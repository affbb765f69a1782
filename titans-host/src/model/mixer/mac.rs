//! Memory as context (paper, equations 21 to 25), causal: token i sees the context h_j of tokens j ≤ i alone.
//!
//! Segment by segment, because what the memory says of a segment depends on what it learned from those before. What does
//! not depend on it (queries, keys and values of the tokens, queries of the context) is computed for all at once.

use super::answers;
use super::memory::project;
use crate::device::{Device, MoveRows, Place as Rows, Span};
use crate::error::Result;
use crate::model::block::{Mixed, Segment};
use crate::model::layout::{AttentionParams, Block, CombineParams, ContextParams, MemoryParams, Projection};
use crate::model::{MacRead, MemoryMode, Model};
use crate::tape::{Tape, Var};

/// The mixer's parameters.
pub(super) struct Parts<'a> {
    pub(super) context: &'a ContextParams,
    pub(super) attention: &'a AttentionParams,
    pub(super) memory: &'a MemoryParams,
    pub(super) combine: &'a CombineParams,
}

/// What is there for all tokens before the first segment.
pub(super) struct Tokens<D: Device> {
    q: Var<D>,
    k: Var<D>,
    v: Var<D>,
    /// Queries of the context; none where the memory is absent.
    context: Option<Var<D>>,
    persistent: Option<[Var<D>; 2]>,
}

/// What goes from one segment to the next.
struct Carried<D: Device> {
    memory: Option<Var<D>>,
    tails: Tails<D>,
}

/// A segment within the sequences, and the rows before it that a convolution sees.
pub(super) struct Place {
    pub(super) batch: usize,
    pub(super) from: usize,
    pub(super) time: usize,
    history: usize,
}

/// The last inputs of the convolutions on q, k and v, and how many rows they are.
pub(super) type Tails<D> = [Option<(Var<D>, usize)>; 3];

/// What a segment gives: ŷ, the read-out, and for the caller surprise and the clip's count.
struct Gives<D: Device> {
    y: Var<D>,
    r: Var<D>,
    surprise: Option<D::Buffer>,
    clipped: u64,
}

impl<D: Device> Model<D> {
    pub(super) fn mac(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        p: &Parts<'_>,
        n: &Var<D>,
        segment: &Segment,
    ) -> Result<Mixed<D>> {
        let (batch, time, inner) = (segment.batch, segment.time, self.config.inner());
        let tokens = self.mac_tokens(tape, block, (p.context, p.attention), n, segment)?;
        let memory = if answers(segment.mode) { Some(tape.memory_start(batch, p.memory.w0)?) } else { None };
        let mut carried = Carried { memory, tails: [None, None, None] };
        let (mut ys, mut rs) = (tape.assemble(batch, time, inner)?, tape.assemble(batch, time, inner)?);
        let mut surprise = if segment.surprise && answers(segment.mode) {
            Some(tape.device().alloc(batch * time * self.config.heads)?)
        } else {
            None
        };
        let mut clipped = 0;
        for place in self.places(segment) {
            let from = place.from;
            let gives = self.mac_segment(tape, p, &tokens, &place, &mut carried, segment)?;
            ys.place(tape, from, place.time, &gives.y)?;
            rs.place(tape, from, place.time, &gives.r)?;
            clipped += gives.clipped;
            if let (Some(part), Some(all)) = (gives.surprise, &mut surprise) {
                self.keep_surprise(tape, &place, time, &part, all)?;
            }
        }
        let (y, r) = (ys.finish(tape)?, rs.finish(tape)?);
        Ok(Mixed { y: self.combine(tape, p.combine, &y, &r)?, stream: None, surprise, clipped })
    }

    /// The segments of sequences.
    pub(super) fn places(&self, segment: &Segment) -> impl Iterator<Item = Place> + use<D> {
        let (batch, time, rows) = (segment.batch, segment.time, self.config.attention.segment);
        let history = self.config.conv_width.saturating_sub(1);
        (0..time).step_by(rows).map(move |from| Place { batch, from, time: rows.min(time - from), history })
    }

    /// All that no memory is needed for.
    pub(super) fn mac_tokens(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        (context, attention): (&ContextParams, &AttentionParams),
        n: &Var<D>,
        segment: &Segment,
    ) -> Result<Tokens<D>> {
        let [q, k, v] = self.token_keys(tape, attention, n, segment.batch)?;
        let rows = self.persistent(tape, block, segment.batch)?;
        let persistent = rows.map(|rows| self.keys(tape, attention, &rows)).transpose()?;
        let context = if answers(segment.mode) {
            let q = project(tape, segment.batch, n, &context.q)?;
            Some(tape.l2_norm(self.config.head_width, &q)?)
        } else {
            None
        };
        Ok(Tokens { q, k, v, context, persistent })
    }

    fn mac_segment(
        &self,
        tape: &mut Tape<'_, D>,
        p: &Parts<'_>,
        tokens: &Tokens<D>,
        place: &Place,
        carried: &mut Carried<D>,
        segment: &Segment,
    ) -> Result<Gives<D>> {
        let &Place { batch, time, .. } = place;
        let inner = self.config.inner();
        let a = self.attend_in_context(tape, (p.context, p.attention), tokens, place, carried.memory.as_ref())?;
        let y = tape.rms_norm(&a, p.combine.attention)?;
        let Some(memory) = carried.memory.take() else {
            let r = self.nothing(tape, batch * time * inner)?;
            return Ok(Gives { y, r, surprise: None, clipped: 0 });
        };
        // The memory writes y and answers it.
        let [q_tail, k_tail, v_tail] = &mut carried.tails;
        let q = carry_on(tape, place, inner, &y, &p.memory.q, q_tail)?;
        let k = carry_on(tape, place, inner, &y, &p.memory.k, k_tail)?;
        let v = carry_on(tape, place, inner, &y, &p.memory.v, v_tail)?;
        let q = tape.l2_norm(self.config.head_width, &q)?;
        let k = tape.l2_norm(self.config.head_width, &k)?;
        let gates = self.gates(tape, p.memory, &y, batch)?;
        let op = self.memory_op(batch, time, segment.mode == MemoryMode::Frozen);
        let read = tape.memory(&op, &k, &v, &q, &gates, &memory, segment.surprise)?;
        let r = match self.config.attention.read {
            MacRead::After => read.y,
            MacRead::Segment => self.ask(tape, &q, &memory, batch, time)?,
        };
        carried.memory = Some(read.state);
        Ok(Gives { y, r, surprise: read.surprise, clipped: read.clipped })
    }

    /// Attention of a segment's tokens, with what the memory of its start says of them as context.
    pub(super) fn attend_in_context(
        &self,
        tape: &mut Tape<'_, D>,
        (context, attention): (&ContextParams, &AttentionParams),
        tokens: &Tokens<D>,
        place: &Place,
        memory: Option<&Var<D>>,
    ) -> Result<Var<D>> {
        let &Place { batch, from, time, .. } = place;
        let inner = self.config.inner();
        let kv = self.config.kv_heads() * self.config.attention_width();
        // h = M_s(q), from the weights at the segment's start.
        let h = match (&tokens.context, memory) {
            (Some(context), Some(memory)) => {
                let q = tape.slice(context, batch, from, time, inner)?;
                self.ask(tape, &q, memory, batch, time)?
            }
            _ => self.nothing(tape, batch * time * inner)?,
        };
        let h = self.normed(tape, &h, context.norm, context.out)?;
        let [h_k, h_v] = self.keys(tape, attention, &h)?;
        let q = tape.slice(&tokens.q, batch, from, time, inner)?;
        let k = tape.slice(&tokens.k, batch, from, time, kv)?;
        let v = tape.slice(&tokens.v, batch, from, time, kv)?;
        let op = self.attention_op(batch, time, Span::Segment(self.config.attention.segment));
        let persistent = tokens.persistent.as_ref().map(|[k, v]| [k, v]);
        tape.attention(&op, &q, &k, &v, persistent, Some([&h_k, &h_v]))
    }

    /// M(q) with the weights of one state, for `time` rows.
    pub(super) fn ask(
        &self,
        tape: &mut Tape<'_, D>,
        q: &Var<D>,
        memory: &Var<D>,
        batch: usize,
        time: usize,
    ) -> Result<Var<D>> {
        // Nothing is written, so keys, values and gates say nothing.
        let gates = self.nothing(tape, batch * time * 3 * self.config.heads)?;
        let idle = Var::of(q.share());
        let mut op = self.memory_op(batch, time, true);
        op.spec.compute_chunk = 0; // that of the configuration may divide no such chunk
        op.spec.chunk = time.max(2); // one boundary for the backward; chunks of one would have sums of their own
        Ok(tape.memory(&op, &idle, &idle, q, &gates, memory, false)?.y)
    }

    pub(super) fn keep_surprise(
        &self,
        tape: &Tape<'_, D>,
        place: &Place,
        time: usize,
        part: &D::Buffer,
        all: &mut D::Buffer,
    ) -> Result<()> {
        let (batch, rows, width) = (place.batch, place.time, self.config.heads);
        let (from, to) = (Rows::new(rows, 0), Rows::new(time, place.from));
        tape.device().move_rows(&MoveRows { batch, rows, width, from, to, add: false }, part, all)
    }
}

/// A linear map, the convolution and SiLU of a segment's rows: the convolution goes on from the segment before, and so
/// does its gradient. `tail` becomes the next segment's.
pub(super) fn carry_on<D: Device>(
    tape: &mut Tape<'_, D>,
    place: &Place,
    inner: usize,
    x: &Var<D>,
    p: &Projection,
    tail: &mut Option<(Var<D>, usize)>,
) -> Result<Var<D>> {
    let &Place { batch, time, .. } = place;
    let x = tape.linear(x, p.weight, None)?;
    let Some((conv, bias)) = p.conv else { return tape.silu(&x) };
    let (x, before) = match tail.take() {
        Some((before, rows)) => {
            let mut all = tape.assemble(batch, rows + time, inner)?;
            all.place(tape, 0, rows, &before)?;
            all.place(tape, rows, time, &x)?;
            (all.finish(tape)?, rows)
        }
        None => (x, 0),
    };
    let kept = place.history.min(before + time);
    if kept > 0 {
        *tail = Some((tape.slice(&x, batch, before + time - kept, kept, inner)?, kept));
    }
    let y = tape.conv(batch, &x, None, conv, bias)?;
    let y = if before > 0 { tape.slice(&y, batch, before, time, inner)? } else { y };
    tape.silu(&y)
}
