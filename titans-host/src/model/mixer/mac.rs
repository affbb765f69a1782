//! Memory as context (paper, equations 21 to 25), causal: token i sees the context h_j of tokens j ≤ i alone.
//!
//! Segment by segment, because what the memory says of a segment depends on what it learned from those before. What
//! does not depend on it (queries, keys and values of the tokens, queries of the context) is computed for all at once.

use super::answers;
use super::mac_memory::{Carried, Fed};
use super::memory::project;
use crate::device::{Device, MoveRows, Place, Span};
use crate::error::Result;
use crate::model::Model;
use crate::model::block::{Mixed, Segment};
use crate::model::layout::Block;
use crate::tape::{Tape, Var};

/// What is there for all tokens before the first segment.
pub(super) struct TokenProjections<D: Device> {
    q: Var<D>,
    k: Var<D>,
    v: Var<D>,
    /// Queries of the context; none where the memory is absent.
    context: Option<Var<D>>,
    persistent: Option<[Var<D>; 2]>,
}

/// A segment within the sequences, and the rows before it that a convolution sees.
pub(super) struct SegmentPlace {
    pub(super) batch: usize,
    pub(super) from: usize,
    pub(super) time: usize,
    pub(super) history: usize,
}

impl<D: Device> Model<D> {
    pub(super) fn mac(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        n: &Var<D>,
        segment: &Segment<'_, D>,
    ) -> Result<Mixed<D>> {
        let (batch, time, inner) = (segment.batch, segment.time, self.config.inner());
        let tokens = self.mac_tokens(tape, block, n, segment)?;
        let mut carried = Carried::start(tape, block, segment)?;
        let (mut ys, mut rs) = (tape.assemble(batch, time, inner)?, tape.assemble(batch, time, inner)?);
        let mut surprise = if segment.surprise && answers(segment.mode) {
            Some(tape.device().alloc(batch * time * self.config.heads)?)
        } else {
            None
        };
        let mut clipped = 0;
        for place in self.places(segment) {
            let from = place.from;
            let (y, read) = self.mac_segment(tape, block, &tokens, &place, &mut carried, segment)?;
            ys.place(tape, from, place.time, &y)?;
            rs.place(tape, from, place.time, &read.y)?;
            clipped += read.clipped;
            if let (Some(part), Some(all)) = (read.surprise, &mut surprise) {
                self.keep_surprise(tape, &place, time, &part, all)?;
            }
        }
        let (y, r) = (ys.finish(tape)?, rs.finish(tape)?);
        let y = self.combine(tape, block, &y, &r)?;
        Ok(Mixed { y, stream: None, surprise, clipped, state: carried.memory })
    }

    /// The segments of sequences.
    pub(super) fn places(&self, segment: &Segment<'_, D>) -> impl Iterator<Item = SegmentPlace> + use<D> {
        let (batch, time, rows) = (segment.batch, segment.time, self.config.attention.segment);
        let history = self.config.conv_width.saturating_sub(1);
        (0..time).step_by(rows).map(move |from| SegmentPlace { batch, from, time: rows.min(time - from), history })
    }

    /// All that no memory is needed for.
    pub(super) fn mac_tokens(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        n: &Var<D>,
        segment: &Segment<'_, D>,
    ) -> Result<TokenProjections<D>> {
        let [q, k, v] = self.token_keys(tape, block, n, segment.batch)?;
        let rows = self.persistent(tape, block, segment.batch)?;
        let persistent = rows.map(|rows| self.keys(tape, block, &rows)).transpose()?;
        let context = if answers(segment.mode) {
            let q = project(tape, segment.batch, n, &block.w.context_q)?;
            Some(tape.l2_norm(self.config.head_width, &q)?)
        } else {
            None
        };
        Ok(TokenProjections { q, k, v, context, persistent })
    }

    /// ŷ, and what the memory answers to it.
    fn mac_segment(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        tokens: &TokenProjections<D>,
        place: &SegmentPlace,
        carried: &mut Carried<D>,
        segment: &Segment<'_, D>,
    ) -> Result<(Var<D>, Mixed<D>)> {
        let a = self.attend_in_context(tape, block, tokens, place, carried.memory.as_ref())?;
        let y = tape.rms_norm(&a, block.w.combine[0])?;
        let read = self.write_and_ask(tape, block, &Fed::default(), &y, (place, segment), carried)?;
        Ok((y, read))
    }

    /// Attention of a segment's tokens, with what the memory of its start says of them as context.
    pub(super) fn attend_in_context(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        tokens: &TokenProjections<D>,
        place: &SegmentPlace,
        memory: Option<&Var<D>>,
    ) -> Result<Var<D>> {
        let &SegmentPlace { batch, from, time, .. } = place;
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
        let h = tape.rms_norm(&h, block.w.context_norm)?;
        let h = tape.linear(&h, block.w.context_out, None)?;
        let [h_k, h_v] = self.keys(tape, block, &h)?;
        let q = tape.slice(&tokens.q, batch, from, time, inner)?;
        let k = tape.slice(&tokens.k, batch, from, time, kv)?;
        let v = tape.slice(&tokens.v, batch, from, time, kv)?;
        let op = self.attention_op(batch, time, Span::Segment(self.config.attention.segment));
        let persistent = tokens.persistent.as_ref().map(|[k, v]| [k, v]);
        tape.attention(&op, &q, &k, &v, persistent, Some([&h_k, &h_v]))
    }

    pub(super) fn keep_surprise(
        &self,
        tape: &Tape<'_, D>,
        place: &SegmentPlace,
        time: usize,
        part: &D::Buffer,
        all: &mut D::Buffer,
    ) -> Result<()> {
        let (batch, rows, width) = (place.batch, place.time, self.config.heads);
        let (from, to) = (Place::new(rows, 0), Place::new(time, place.from));
        tape.device().move_rows(&MoveRows { batch, rows, width, from, to, add: false }, part, all)
    }
}
