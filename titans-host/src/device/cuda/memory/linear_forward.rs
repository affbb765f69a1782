//! The forward of a linear memory.

use super::linear::{CudaInputs, LinearMemory, PieceGroup, PieceResiduals, PieceStates, PieceWalk, groups};
use super::space::Sizes;
use crate::device::MemoryOutputs;
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::product::args;
use crate::device::cuda::{Cuda, Driver};
use crate::error::Result;

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

impl<R: Driver> LinearMemory<'_, R> {
    /// Read-outs, and what else is asked for.
    pub fn forward(
        &self,
        mut space: LinearForward<R>,
        inputs: &CudaInputs<'_, R>,
        outputs: &MemoryOutputs<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        let (periods, most) = (self.sizes.spec().periods(self.sizes.op.time), space.group.most);
        let (boundaries, given) = (outputs.boundaries.as_deref(), outputs.state.as_deref());
        let state = given.or(space.state.as_ref());
        let states = PieceStates { kept: boundaries.map(DeviceBuffer::view), between: None, first: 0 };
        if periods == 0 {
            return given.map_or(Ok(()), |state| state.copy_from(inputs.state));
        }
        for pieces in groups(0, periods, most) {
            let delta = match (&space.delta, boundaries) {
                (None, Some(boundaries)) => self.kept_residuals(boundaries),
                (own, _) => {
                    let n = self.sizes.longest();
                    let start = own.as_ref().unwrap_or(inputs.state).view();
                    PieceResiduals { start, stride: most * n * self.sizes.top(), first: pieces.first * n }
                }
            };
            self.prepare(&mut space.group, pieces, inputs)?;
            let begin = Some(if pieces.first == 0 { inputs.state } else { state.unwrap_or(inputs.state) });
            let walk = PieceWalk {
                pieces,
                each: pieces.count,
                delta,
                solved: false,
                y: Some(&*outputs.y),
                begin,
                end: state,
                states,
            };
            self.walk(&space.group, &walk, inputs)?;
            if let Some(surprise) = outputs.surprise.as_deref() {
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
