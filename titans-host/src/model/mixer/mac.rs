//! Memory as context (paper, equations 21 to 25), causal: token i sees the context h_j of tokens j ≤ i alone.
//!
//! Segment by segment, because what the memory says of a segment depends on what it learned from those before. What
//! does not depend on it (queries, keys and values of the tokens, queries of the context) is computed for all at once.

use super::mac_memory::{Carried, Fed};
use super::memory::project;
use crate::device::{Cut, Device, MoveRows, Place, Span};
use crate::error::Result;
use crate::model::Model;
use crate::model::block::{Mixed, Segment};
use crate::model::layout::Block;
use crate::tape::{CutParts, Tape, Var};

/// What is there for all tokens before the first segment, in segments.
pub(super) struct TokenProjections<D: Device> {
    q: CutParts,
    k: CutParts,
    v: CutParts,
    /// Queries of the context; none where the memory is absent.
    context: Option<CutParts>,
    persistent: Option<[Var<D>; 2]>,
}

/// A segment within the sequences, and the rows before it that a convolution sees.
pub(super) struct SegmentPlace {
    pub(super) number: usize,
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
        let cut = self.cut(segment, inner);
        let (ys, rs) = (tape.parts(cut), tape.parts(cut));
        let mut surprise = if segment.surprise && segment.mode.answers() {
            Some(tape.device().alloc(batch * time * self.config.heads)?)
        } else {
            None
        };
        let mut clipped = 0;
        for place in self.places(segment) {
            let (y, read) = self.mac_segment(tape, block, &tokens, &place, &mut carried, segment)?;
            tape.put(ys, place.number, &y)?;
            tape.put(rs, place.number, &read.y)?;
            clipped += read.clipped;
            if let (Some(part), Some(all)) = (read.surprise, &mut surprise) {
                self.keep_surprise(tape, &place, time, &part, all)?;
            }
        }
        let (y, r) = (tape.join(ys)?, tape.join(rs)?);
        let y = self.combine(tape, block, &y, &r)?;
        Ok(Mixed { y, stream: None, surprise, clipped, state: carried.memory })
    }

    /// The segments of sequences.
    pub(super) fn places(&self, segment: &Segment<'_, D>) -> impl Iterator<Item = SegmentPlace> + use<D> {
        let (batch, time, rows) = (segment.batch, segment.time, self.config.attention.segment);
        let history = self.config.conv_width.saturating_sub(1);
        (0..time.div_ceil(rows)).map(move |number| {
            let from = number * rows;
            SegmentPlace { number, batch, from, time: rows.min(time - from), history }
        })
    }

    /// Sequences of rows of `width` in segments.
    pub(super) fn cut(&self, segment: &Segment<'_, D>, width: usize) -> Cut {
        Cut { batch: segment.batch, time: segment.time, width, rows: self.config.attention.segment }
    }

    /// All that no memory is needed for.
    pub(super) fn mac_tokens(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        n: &Var<D>,
        segment: &Segment<'_, D>,
    ) -> Result<TokenProjections<D>> {
        let cut = |width| self.cut(segment, width);
        let kv = cut(self.config.kv_heads() * self.config.attention_width());
        let [q, k, v] = self.token_keys(tape, block, n, segment.batch)?;
        let rows = self.persistent(tape, block, segment.batch)?;
        let persistent = rows.map(|rows| self.keys(tape, block, &rows)).transpose()?;
        let context = if segment.mode.answers() {
            let q = project(tape, segment.batch, n, &block.w.context_q)?;
            let q = tape.l2_norm(self.config.head_width, &q)?;
            Some(tape.split(&q, cut(self.config.inner()))?)
        } else {
            None
        };
        let q = tape.split(&q, cut(self.config.inner()))?;
        Ok(TokenProjections { q, k: tape.split(&k, kv)?, v: tape.split(&v, kv)?, context, persistent })
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
        let a = self.attend_in_context(tape, block, tokens, place, carried)?;
        let y = tape.rms_norm(&a, block.w.combine[0])?;
        let read = self.write_and_ask(tape, block, Fed::default(), &y, (place, segment), carried)?;
        Ok((y, read))
    }

    /// Attention of a segment's tokens, with what the memory of its start says of them as context.
    pub(super) fn attend_in_context(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        tokens: &TokenProjections<D>,
        place: &SegmentPlace,
        carried: &mut Carried<D>,
    ) -> Result<Var<D>> {
        let &SegmentPlace { number, batch, time, .. } = place;
        // h = M_s(q), from the weights at the segment's start.
        let h = match (tokens.context, carried.memory.clone()) {
            (Some(context), Some(memory)) => {
                let q = tape.part(context, number)?;
                self.ask(tape, &q, &memory, place, &mut carried.gates)?
            }
            _ => self.nothing(tape, batch * time * self.config.inner())?,
        };
        let h = tape.rms_norm(&h, block.w.context_norm)?;
        let h = tape.linear(&h, block.w.context_out, None)?;
        let [h_k, h_v] = self.keys(tape, block, &h)?;
        let (q, k, v) = (tape.part(tokens.q, number)?, tape.part(tokens.k, number)?, tape.part(tokens.v, number)?);
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
