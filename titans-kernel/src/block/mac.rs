//! MAC: what the memory recalls becomes the context of attention, which the memory then writes (equations 21 to 25).

use super::BlockRun;
use super::choices::MacFeed;
use super::remember::RememberCall;
use super::state::{State, in_segment};
use super::work::{Mixing, Remembering};
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::memory::{Stream, query};
use crate::ops::linear;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

impl<T: Scalar, G: Arithmetic<T>> BlockRun<'_, T, G> {
    /// [`BlockRun::mix`] of n tokens that lie in one segment.
    pub(crate) fn mac(
        &self,
        n: usize,
        position: u64,
        state: &mut State<'_, T>,
        work: &mut Mixing<'_, T>,
        surprise: Option<MatMut<'_, T>>,
    ) -> Result<u64> {
        let (g, width, inner) = (self.g, self.width, self.spec.inner());
        self.attend_in_context(n, position, state, work)?;
        let [y, t] = &mut work.t;
        self.norm(work.attention.a, self.w.combine[0], y)?;
        let rows = Mat::new(y, n, inner)?;
        let clipped = self.write_and_ask([rows; 3], position, state, &mut work.memory, t, surprise)?;
        self.norm(work.memory.r, self.w.combine[1], t)?;
        self.combine(y, t, work.memory.r)?;
        linear::forward(g, Mat::new(work.memory.r, n, inner)?, self.w.out, None, MatMut::new(work.y, n, width)?)?;
        Ok(clipped)
    }

    /// The same in [`Wiring::Residual`](super::choices::Wiring): attention adds to x, then the memories to what that
    /// gives.
    pub(crate) fn mac_residual(
        &self,
        n: usize,
        position: u64,
        x: &mut [T],
        state: &mut State<'_, T>,
        work: &mut Mixing<'_, T>,
        surprise: Option<MatMut<'_, T>>,
    ) -> Result<u64> {
        let (g, spec, width, inner) = (self.g, self.spec, self.width, self.spec.inner());
        self.attend_in_context(n, position, state, work)?;
        let a = Mat::new(work.attention.a, n, inner)?;
        linear::forward(g, a, self.w.attention_out, None, MatMut::new(work.y, n, width)?)?;
        self.add(work.y, x);
        self.norm(x, self.w.memory_norm, work.z)?;
        let (rows, y) = (Mat::new(work.n, n, width)?, Mat::new(work.z, n, width)?);
        let fed = match spec.mac_feed {
            MacFeed::Split => [rows, rows, y],
            MacFeed::Tokens => [rows; 3],
            MacFeed::Output => [y; 3],
        };
        let clipped = self.write_and_ask(fed, position, state, &mut work.memory, work.t[0], surprise)?;
        self.output_gate(y, work.memory.r, &mut work.t)?;
        linear::forward(g, Mat::new(work.memory.r, n, inner)?, self.w.out, None, MatMut::new(work.y, n, width)?)?;
        Ok(clipped)
    }

    /// The memories write rows of a segment and answer them, in `work.r`.
    fn write_and_ask(
        &self,
        rows: [Mat<'_, T>; 3],
        position: u64,
        state: &mut State<'_, T>,
        work: &mut Remembering<'_, T>,
        t: &mut [T],
        surprise: Option<MatMut<'_, T>>,
    ) -> Result<u64> {
        let by_segment = self.spec.mac_read.is_at_segment_start();
        let n = rows[0].rows();
        let clipped =
            self.answers(rows, state, work, t, RememberCall { at: position, answers: !by_segment, surprise })?;
        if by_segment {
            self.ask(n, work.qkv[0], state.snapshot, work.r, work.own)?;
        }
        Ok(clipped)
    }

    /// Attention of the rows `work.n` within their segment, with what the memories of its start say of them.
    fn attend_in_context(
        &self,
        n: usize,
        position: u64,
        state: &mut State<'_, T>,
        work: &mut Mixing<'_, T>,
    ) -> Result<()> {
        let (spec, width, inner) = (self.spec, self.width, self.spec.inner());
        let x = Mat::new(work.n, n, width)?;
        if in_segment(spec, position) == 0 {
            self.open_segment(state);
        }
        let [t, q] = &mut work.t;
        if self.mode.answers() {
            self.project(x, &self.w.context_q, state.context_tail, true, t, q)?;
        }
        self.ask(n, q, state.snapshot, work.memory.r, work.memory.own)?;
        self.norm(work.memory.r, self.w.context_norm, t)?;
        linear::forward(self.g, Mat::new(t, n, inner)?, self.w.context_out, None, MatMut::new(work.z, n, width)?)?;
        self.recall(Mat::new(work.z, n, width)?, position, state, &mut work.attention)?;
        self.attend(x, position, state, &mut work.attention)
    }

    /// Keeps the memories' weights. A segment is a whole number of periods, so that no piece is open.
    fn open_segment(&self, state: &mut State<'_, T>) {
        let (block, params) = (Stream::<T>::len(&self.spec.memory).max(1), self.spec.memory.params().max(1));
        for (to, from) in state.snapshot.chunks_exact_mut(params).zip(state.memories.chunks_exact(block)) {
            Stream::weights(&self.spec.memory, from, to);
        }
    }

    /// `r = M_s(q)`, the weights of the segment's start; 0 where memories are absent.
    fn ask(&self, n: usize, q: &[T], snapshot: &[T], r: &mut [T], own: &mut [T]) -> Result<()> {
        let (spec, d, inner) = (&self.spec.memory, self.spec.head_width, self.spec.inner());
        if !self.mode.answers() {
            r.fill(T::ZERO);
            return Ok(());
        }
        for (h, weights) in snapshot.chunks_exact(spec.params().max(1)).enumerate() {
            let q = Mat::strided(q.part(h * d..), n, d, inner, 1)?;
            query(self.g, spec, weights, q, MatMut::strided(r.part_mut(h * d..), n, d, inner)?, own)?;
        }
        Ok(())
    }
}
