//! What the backward finds: of every memory the states at the starts of its periods, then where a piece is several chunks Δ
//! of all tokens ([`MemorySpec::boundaries_len`](titans_kernel::memory::MemorySpec::boundaries_len)).

use super::chunk::Chunk;
use crate::device::cuda::Driver;
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::product::args;
use crate::error::Result;

impl<R: Driver> Chunk<'_, R> {
    /// Keeps the state at the chunk's start.
    pub fn keep_state(&self, state: &DeviceBuffer<R>, boundaries: &DeviceBuffer<R>) -> Result<()> {
        let (len, to) = self.state_place(boundaries);
        self.copy(len, len, self.stride(), state.view(), to)
    }

    /// The state at the chunk's start.
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
        (len, boundaries.from(self.t0 / spec.period_len() * len))
    }

    /// Elements and place of the piece's Δ in the first memory's boundaries.
    fn delta_place(&self, boundaries: &DeviceBuffer<R>) -> (usize, View) {
        let (spec, top) = (self.sizes.spec(), self.sizes.top());
        let states = spec.periods(self.sizes.op.time) * spec.state_len();
        (self.m * top, boundaries.from(states + self.t0 * top))
    }

    /// `len` elements of every memory, which lie `from_stride` and `to_stride` apart.
    fn copy(&self, len: usize, from_stride: usize, to_stride: usize, from: View, to: View) -> Result<()> {
        self.cuda.launch("copy_blocks", self.sizes.count * len, args![len, from_stride, to_stride, from, to])
    }
}
