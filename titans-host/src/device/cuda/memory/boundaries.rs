//! What the backward finds: of every memory the states at the starts of its kept periods, then where a piece is
//! several chunks Δ of all tokens
//! ([`MemorySpec::boundaries_len`](titans_kernel::memory::MemorySpec::boundaries_len)). The states between two kept
//! ones are computed again.

use super::chunk::Chunk;
use super::space::{Sizes, Space};
use crate::device::MemoryInputs;
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::product::args;
use crate::device::cuda::{Cuda, DeviceIndices, Driver};
use crate::error::Result;

/// The states at the starts of the periods between a kept one and the next.
#[derive(Debug)]
pub(super) struct Between<R: Driver> {
    /// `[periods, M, 2P]`.
    states: DeviceBuffer<R>,
}

impl<R: Driver> Between<R> {
    /// Room for them; none where all are kept.
    pub fn new(cuda: &Cuda<R>, sizes: Sizes<'_>) -> Result<Self> {
        let most = sizes.spec().keep_every.min(sizes.spec().periods(sizes.op.time));
        let len = most.saturating_sub(1).saturating_mul(sizes.op.state_len());
        Ok(Self { states: DeviceBuffer::alloc(&cuda.driver, len)? })
    }

    /// The i-th state behind the kept one.
    fn state(&self, op_state: usize, i: usize) -> View {
        self.states.from((i - 1) * op_state)
    }
}

impl<R: Driver> Chunk<'_, R> {
    /// Keeps the state at the chunk's start, where it is one that is kept.
    pub fn keep_state(&self, state: &DeviceBuffer<R>, boundaries: &DeviceBuffer<R>) -> Result<()> {
        if self.behind_kept() > 0 {
            return Ok(());
        }
        let (len, to) = self.state_place(boundaries);
        self.copy(len, len, self.stride(), state.view(), to)
    }

    /// The state at the chunk's start into `state`: a kept one, or one computed again.
    pub fn state_at_start(
        &self,
        boundaries: &DeviceBuffer<R>,
        between: &Between<R>,
        state: &DeviceBuffer<R>,
    ) -> Result<()> {
        match self.behind_kept() {
            0 => self.take_state(boundaries, state),
            i => self.copy_whole(state.len(), between.state(state.len(), i), state.view()),
        }
    }

    /// The state behind the chunk in the place of that at its start, and into `between`: the forward's own steps
    /// without its answers, so with its bits.
    pub fn step_again(
        &self,
        s: &Space<R>,
        inputs: &MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>,
        boundaries: &DeviceBuffer<R>,
        between: &Between<R>,
        state: &DeviceBuffer<R>,
    ) -> Result<()> {
        self.load(s, inputs)?;
        match &s.exact {
            Some(_) => self.take_delta(boundaries, &s.delta[0])?,
            None => self.write(s, state)?,
        }
        self.coefficients(s, None)?;
        self.close(s, state)?;
        let to = between.state(state.len(), self.behind_kept() + 1);
        self.copy_whole(state.len(), state.view(), to)
    }

    /// Periods from the last kept state to this chunk's.
    fn behind_kept(&self) -> usize {
        self.t0 / self.sizes.spec().period_len() % self.sizes.spec().keep_every
    }

    /// The kept state at the chunk's start.
    pub fn take_state(&self, boundaries: &DeviceBuffer<R>, state: &DeviceBuffer<R>) -> Result<()> {
        let (len, from) = self.state_place(boundaries);
        self.copy(len, self.stride(), len, from, state.view())
    }

    /// Keeps Δ of a piece of several chunks.
    pub fn keep_delta(&self, delta: &DeviceBuffer<R>, boundaries: &DeviceBuffer<R>) -> Result<()> {
        let (len, to) = self.delta_place(boundaries);
        self.copy(len, len, self.stride(), delta.view(), to)
    }

    /// Δ of a piece of several chunks.
    pub fn take_delta(&self, boundaries: &DeviceBuffer<R>, delta: &DeviceBuffer<R>) -> Result<()> {
        let (len, from) = self.delta_place(boundaries);
        self.copy(len, self.stride(), len, from, delta.view())
    }

    /// Elements of one memory's boundaries.
    fn stride(&self) -> usize {
        self.sizes.spec().boundaries_len(self.sizes.op.time)
    }

    /// Elements and place of the chunk's state in the first memory's boundaries.
    fn state_place(&self, boundaries: &DeviceBuffer<R>) -> (usize, View) {
        let (spec, len) = (self.sizes.spec(), self.sizes.spec().state_len());
        (len, boundaries.from(self.t0 / spec.period_len() / spec.keep_every * len))
    }

    /// Elements and place of the piece's Δ in the first memory's boundaries.
    fn delta_place(&self, boundaries: &DeviceBuffer<R>) -> (usize, View) {
        let (spec, top) = (self.sizes.spec(), self.sizes.top());
        let states = spec.periods(self.sizes.op.time).div_ceil(spec.keep_every) * spec.state_len();
        (self.m * top, boundaries.from(states + self.t0 * top))
    }

    /// `len` elements of every memory, which lie `from_stride` and `to_stride` apart.
    fn copy(&self, len: usize, from_stride: usize, to_stride: usize, from: View, to: View) -> Result<()> {
        self.cuda.launch("copy_blocks", self.sizes.count * len, args![len, from_stride, to_stride, from, to])
    }

    /// All memories' states, one behind the other.
    fn copy_whole(&self, len: usize, from: View, to: View) -> Result<()> {
        self.cuda.launch("copy_blocks", len, args![len, len, len, from, to])
    }
}
