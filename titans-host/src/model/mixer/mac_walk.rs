//! Memory as context in the residual wiring on devices that walk over the segments in one operation: what comes from
//! the tokens alone before it, the answers' gate behind it.

use super::memory::project;
use crate::device::{Device, SegmentsInputs, SegmentsOp, SegmentsWeights, Span};
use crate::error::Result;
use crate::model::Model;
use crate::model::block::{Mixed, Segment};
use crate::model::layout::Block;
use crate::tape::{Tape, Var};

impl<D: Device> Model<D> {
    /// The walk over these sequences, where the device has it: nothing is dropped and no surprise is asked for.
    pub(super) fn walk_op(&self, tape: &Tape<'_, D>, segment: &Segment<'_, D>) -> Option<SegmentsOp> {
        let (c, mode) = (&self.config, segment.mode);
        let feed = c.attention.feed;
        let as_usual = feed.keys_are_of_tokens()
            && !feed.values_are_of_tokens()
            && !c.attention.read.is_at_segment_start()
            && !c.gates.is_of_chunk()
            && c.conv_width > 0
            && c.persistent == 0;
        let plain = mode.answers() && !segment.surprise && segment.dropout.is_none();
        let op = (as_usual && plain).then(|| SegmentsOp {
            memory: self.memory_op(segment.batch, segment.time, mode),
            attention: self.attention_op(segment.batch, segment.time, Span::Segment(c.attention.segment)),
            width: c.width,
            taps: c.conv_width,
            gates: self.largest_gates(),
        });
        op.filter(|op| tape.walks_segments(op))
    }

    /// [`Model::mac_residual`] by such a walk.
    pub(super) fn mac_walked(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        [x, n]: [&Var<D>; 2],
        op: &SegmentsOp,
        segment: &Segment<'_, D>,
    ) -> Result<Mixed<D>> {
        let (batch, head, w) = (segment.batch, self.config.head_width, &block.w);
        let [q, k, v] = self.token_keys(tape, block, n, batch)?;
        let context_q = project(tape, batch, n, &w.context_q)?;
        let context_q = tape.l2_norm(head, &context_q)?;
        let gate = tape.linear(n, w.attention_gate, None)?;
        let [of_q, of_k, of_v] = &w.memory;
        let (memory_q, memory_k) = (project(tape, batch, n, of_q)?, project(tape, batch, n, of_k)?);
        let (memory_q, memory_k) = (tape.l2_norm(head, &memory_q)?, tape.l2_norm(head, &memory_k)?);
        let state = segment.state(tape, w.w0)?;
        let [_, key, value] = &w.attention;
        let weights = SegmentsWeights {
            context_norm: w.context_norm,
            context_out: w.context_out,
            k: key.weight,
            v: value.weight,
            read_norm: w.attention_read_norm,
            out: w.attention_out,
            memory_norm: w.memory_norm,
            values: of_v.weight,
            taps: of_v.conv,
            taps_bias: of_v.bias,
            gates: w.gates,
            gates_bias: w.gates_bias,
        };
        let inputs = SegmentsInputs { x: x.clone(), q, k, v, gate, context_q, memory_q, memory_k, state };
        let walked = tape.walk_segments(op, inputs, weights)?;
        let y = self.read_out(tape, block, &walked.answers, &walked.y)?;
        Ok(Mixed { y, stream: Some(walked.stream), surprise: None, clipped: 0, state: Some(walked.state) })
    }
}
