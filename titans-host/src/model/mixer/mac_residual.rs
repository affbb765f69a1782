//! Memory as context in the residual wiring: attention adds to the stream, and the memory to what that gives.
//!
//! Everything that comes from the tokens alone is computed for all segments at once.

use super::mac::SegmentPlace;
use super::mac_memory::Carried;
use crate::device::Device;
use crate::error::Result;
use crate::model::Model;
use crate::model::block::{Mixed, Segment};
use crate::model::dropout::Addition;
use crate::model::layout::Block;
use crate::tape::{Tape, Var};

impl<D: Device> Model<D> {
    pub(super) fn mac_residual(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        [x, n]: [&Var<D>; 2],
        segment: &Segment<'_, D>,
    ) -> Result<Mixed<D>> {
        if let Some(op) = self.walk_op(tape, segment) {
            return self.mac_walked(tape, block, [x, n], &op, segment);
        }
        let (batch, time, inner, width) = (segment.batch, segment.time, self.config.inner(), self.config.width);
        let tokens = self.mac_tokens(tape, block, n, segment)?;
        let gate = block.w.attention_gate.some().map(|gate| tape.linear(n, gate, None)).transpose()?;
        let remembers = segment.mode.answers();
        let fed = self.fed(tape, block, n, segment)?;
        let (of_x, of_heads) = (self.cut(segment, width), self.cut(segment, inner));
        let gate = gate.map(|gate| tape.split(&gate, of_heads)).transpose()?;
        let x = tape.split(x, of_x)?;
        let mut carried = Carried::start(tape, block, segment)?;
        let (xs, ys, rs) = (tape.parts(of_x), tape.parts(of_x), tape.parts(of_heads));
        let mut surprise = if segment.surprise && remembers {
            Some(tape.device().alloc(batch * time * self.config.heads)?)
        } else {
            None
        };
        let mut clipped = 0;
        for place in self.places(segment) {
            let SegmentPlace { number, from, .. } = place;
            let a = self.attend_in_context(tape, block, &tokens, &place, &mut carried)?;
            let gate = gate.map(|gate| tape.part(gate, number)).transpose()?;
            let a = self.read_attention(tape, block, a, gate.as_ref())?;
            let a = tape.linear(&a, block.w.attention_out, None)?;
            let a = segment.dropout.apply(tape, Addition::First(from as u64), a)?;
            let stream = tape.part(x, number)?;
            let stream = tape.add(&stream, &a)?;
            let y = tape.rms_norm(&stream, block.w.memory_norm)?;
            let read = self.write_and_ask(tape, block, fed, &y, (&place, segment), &mut carried)?;
            clipped += read.clipped;
            if let (Some(part), Some(all)) = (read.surprise, &mut surprise) {
                self.keep_surprise(tape, &place, time, &part, all)?;
            }
            tape.put(xs, number, &stream)?;
            tape.put(ys, number, &y)?;
            tape.put(rs, number, &read.y)?;
        }
        let (stream, y, r) = (tape.join(xs)?, tape.join(ys)?, tape.join(rs)?);
        let y = self.read_out(tape, block, &r, &y)?;
        Ok(Mixed { y, stream: Some(stream), surprise, clipped, state: carried.memory })
    }
}
