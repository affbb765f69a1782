//! The forward of a linear memory.

use super::linear::{CudaInputs, LinearMemory, PieceGroup, PieceResiduals, PieceStates, PieceWalk, groups};
use super::space::Sizes;
use crate::device::MemoryOutputs;
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::product::args;
use crate::device::cuda::{Cuda, Driver};
use crate::error::Result;
use std::ops::Range;

/// What the forward of a linear memory takes and gives back.
pub(in crate::device::cuda) struct LinearForward<R: Driver> {
    group: PieceGroup<R>,
    /// Δ of a group's tokens, where none are kept.
    delta: Option<DeviceBuffer<R>>,
    /// The state between groups, where the caller does not want it.
    state: Option<DeviceBuffer<R>>,
}

impl<R: Driver> LinearForward<R> {
    /// Room for a group. `given`: the caller has room for the state; `kept`: for the boundaries.
    pub(super) fn new(cuda: &Cuda<R>, sizes: Sizes<'_>, given: bool, kept: bool) -> Result<Self> {
        let group = PieceGroup::new(cuda, sizes, false)?;
        let some = |wanted: bool, len| wanted.then(|| DeviceBuffer::alloc(&cuda.driver, len)).transpose();
        let (spec, residuals) = (sizes.spec(), group.most * sizes.longest() * sizes.top() * sizes.count);
        Ok(Self {
            delta: some(!(kept && spec.wide()), residuals)?,
            state: some(!given && group.most < spec.periods(sizes.op.time), sizes.op.state_len())?,
            group,
        })
    }
}

/// What a forward writes, by kernels.
#[derive(Debug)]
pub(super) struct LinearOutputs<'a, R: Driver> {
    pub y: &'a DeviceBuffer<R>,
    pub surprise: Option<&'a DeviceBuffer<R>>,
    pub state: Option<&'a DeviceBuffer<R>>,
    pub boundaries: Option<&'a DeviceBuffer<R>>,
}

impl<R: Driver> LinearMemory<'_, R> {
    /// Read-outs, and what else is asked for.
    pub fn forward(
        &self,
        mut space: LinearForward<R>,
        inputs: &CudaInputs<'_, R>,
        outputs: &MemoryOutputs<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        let periods = self.sizes.spec().periods(self.sizes.op.time);
        let outputs = LinearOutputs {
            y: &*outputs.y,
            surprise: outputs.surprise.as_deref(),
            state: outputs.state.as_deref(),
            boundaries: outputs.boundaries.as_deref(),
        };
        if periods == 0 {
            return outputs.state.map_or(Ok(()), |state| state.copy_from(inputs.state));
        }
        self.forward_span(&mut space, inputs, &outputs, 0..periods, inputs.state)
    }

    /// The pieces of a range, from the state `start` on.
    pub fn forward_span(
        &self,
        space: &mut LinearForward<R>,
        inputs: &CudaInputs<'_, R>,
        outputs: &LinearOutputs<'_, R>,
        range: Range<usize>,
        start: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (boundaries, most) = (outputs.boundaries, space.group.most);
        let LinearForward { group, delta: own, state: between } = space;
        let state = outputs.state.or(between.as_ref());
        let states = PieceStates { kept: boundaries.map(DeviceBuffer::view), between: None, first: 0 };
        for pieces in groups(range.start, range.end, most) {
            let delta = match (&own, boundaries) {
                (None, Some(boundaries)) => self.kept_residuals(boundaries),
                (own, _) => {
                    let n = self.sizes.longest();
                    let start = own.as_ref().unwrap_or(start).view();
                    PieceResiduals { start, stride: most * n * self.sizes.top(), first: pieces.first * n }
                }
            };
            self.prepare(group, pieces, inputs)?;
            let begin = Some(if pieces.first == range.start { start } else { state.unwrap_or(start) });
            let y = Some(outputs.y);
            let walk = PieceWalk { pieces, each: pieces.count, delta, solved: false, y, begin, end: state, states };
            self.walk(group, &walk, inputs)?;
            if let Some(surprise) = outputs.surprise {
                self.surprise(&walk, surprise)?;
            }
        }
        Ok(())
    }

    /// The inner loss of a group's tokens, from Δ.
    fn surprise(&self, walk: &PieceWalk<'_, R>, surprise: &DeviceBuffer<R>) -> Result<()> {
        let (op, n, delta) = (self.sizes.op, self.sizes.longest(), walk.delta);
        let from = walk.pieces.first * n;
        let to = op.time.min(from + walk.pieces.count * n);
        let args = args![
            op.heads,
            op.time,
            from,
            to,
            self.sizes.top(),
            self.sizes.scale(),
            delta.stride,
            delta.first,
            delta.start,
            surprise
        ];
        self.cuda.launch_rows("linear_surprise", (to - from) * self.sizes.count, args)
    }
}
