//! MAC's walk over segments on the tape, for devices that have it as one operation.

use super::{Backward, Op, ParamId, Shared, Slot, Tape, Var};
use crate::device::{Boundaries, Device, SegmentsGradients, SegmentsInputs, SegmentsMade, SegmentsOp, SegmentsWeights};
use crate::error::Result;
use std::fmt;

/// A recorded walk.
pub(super) struct RecordedWalk<D: Device> {
    op: SegmentsOp,
    inputs: SegmentsInputs<Var<D>>,
    weights: SegmentsWeights<ParamId>,
    made: SegmentsMade<Shared<D>>,
    boundaries: D::Buffer,
    /// Of the stream, of its norm and of the answers: those follow.
    pub(super) first: usize,
}

/// What [`Tape::walk_segments`] gives.
pub struct Walked<D: Device> {
    /// The stream with what attention adds `[batch, time, width]`.
    pub stream: Var<D>,
    /// Its norm.
    pub y: Var<D>,
    /// The memories' answers `[batch, time, inner]`.
    pub answers: Var<D>,
    /// The memories at the end, to which no gradient flows.
    pub state: Var<D>,
}

impl<D: Device> fmt::Debug for Walked<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walked").field("stream", &self.stream).field("answers", &self.answers).finish_non_exhaustive()
    }
}

impl<D: Device> RecordedWalk<D> {
    /// The parameters whose gradients its backward adds to.
    pub(super) fn params(&self) -> [ParamId; 12] {
        self.weights.array()
    }
}

impl<D: Device> Tape<'_, D> {
    /// Whether [`Tape::walk_segments`] is there for walks of these sizes.
    pub fn walks_segments(&self, op: &SegmentsOp) -> bool {
        let pieces = op.memory.spec.periods(op.segment());
        self.device.walks_segments(op) && (pieces <= 1 || self.boundaries == Boundaries::All)
    }

    /// Walks over the segments of sequences.
    ///
    /// # Errors
    /// As [`Tape::linear`]; also where the device has no such walk.
    pub fn walk_segments(
        &mut self,
        op: &SegmentsOp,
        inputs: SegmentsInputs<Var<D>>,
        weights: SegmentsWeights<ParamId>,
    ) -> Result<Walked<D>> {
        let device = self.device;
        let mut made = op.made_len().try_map(|len| device.alloc(len))?;
        let keeps = self.is_recording();
        let mut boundaries = if keeps { Some(device.alloc(op.memory.boundaries_len())?) } else { None };
        let given = inputs.each_ref().try_map(|x| Ok(x.buffer()))?;
        let params = self.params;
        let of_params = weights.try_map(|id| params.value(id))?;
        device.segments(op, given, of_params, made.each_mut(), boundaries.as_mut())?;
        let made = made.try_map(|x| Ok(self.share(x)))?;
        let [stream, y, answers, state] =
            [&made.stream, &made.y, &made.answers, &made.state].map(|x| Var::of(x.clone()));
        let mut walked = Walked { stream, y, answers, state };
        let Some(boundaries) = boundaries else { return Ok(walked) };
        let (first, op) = (self.slots, op.clone());
        let slot = self
            .remember(|| Op::Walk(Box::new(RecordedWalk { op, inputs, weights, made, boundaries, first })))
            .map(|slot| [0, 1, 2].map(|i| Slot { index: slot.index + i, ..slot }));
        if let Some([stream, y, answers]) = slot {
            (walked.stream.slot, walked.y.slot, walked.answers.slot) = (Some(stream), Some(y), Some(answers));
        }
        Ok(walked)
    }
}

/// Backward of [`Tape::walk_segments`] ([`Device::segments_vjp`]): the cotangents of stream, norm and answers become
/// those of all inputs, the stream's own that of the stream before.
pub(super) fn vjp<D: Device>(run: &mut Backward<'_, D>, walk: &RecordedWalk<D>) -> Result<()> {
    let RecordedWalk { op, inputs, weights, made, boundaries, first } = walk;
    let (device, params, tape) = (run.device, run.params, run.tape);
    let mut taken = |i: usize| run.cotangent(Slot { tape, index: first + i });
    let (stream, y, answers) = (taken(0)?, taken(1)?, taken(2)?);
    if stream.is_none() && y.is_none() && answers.is_none() {
        return Ok(());
    }
    let lens = op.made_len();
    let (mut stream, mut y) = (run.own(stream, lens.stream)?, run.own(y, lens.y)?);
    let answers = run.own(answers, lens.answers)?;
    let given = inputs.each_ref().try_map(|x| Ok(x.buffer()))?;
    let of_params = weights.try_map(|id| params.value(id))?;
    let kept = made.each_ref().try_map(|x| Ok(&**x))?;
    // All but the stream's, in their order.
    let [_, lens @ ..] = op.inputs_len().array();
    let [a, b, c, d, e, f, g, h] = lens.map(|len| device.alloc(len));
    let mut of_inputs = [a?, b?, c?, d?, e?, f?, g?, h?];
    let gradients = SegmentsGradients {
        stream: &mut stream,
        y: &mut y,
        answers: &answers,
        inputs: of_inputs.each_mut(),
        weights: SegmentsWeights::of(run.gradients.many_mut(weights.array())?),
    };
    device.segments_vjp(op, given, of_params, kept, boundaries, gradients)?;
    let [x, others @ ..] = inputs.each_ref().array();
    // As of many operations: the last input's first.
    for (x, d_x) in others.into_iter().zip(of_inputs).rev() {
        run.give(x, d_x)?;
    }
    run.give(x, stream)
}
