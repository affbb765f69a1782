//! The memory layer of a block: queries, keys, values and gates of some rows, the memories' writes and answers.

use super::BlockRun;
use super::state::State;
use super::weights::Projection;
use super::work::Remembering;
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result};
use crate::memory::{Counters, Gate, Mask, Stream, Tokens};
use crate::ops::{Tail, gates, l2_norm, linear, silu};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// What becomes of the rows of a call.
pub(crate) struct RememberCall<'a, T> {
    /// Number of the first row, as the memories count them.
    pub(crate) at: u64,
    /// Whether queries are answered.
    pub(crate) answers: bool,
    /// Surprise of every row and head `[n, H]`.
    pub(crate) surprise: Option<MatMut<'a, T>>,
}

impl<T: Scalar, G: Arithmetic<T>> BlockRun<'_, T, G> {
    /// The memories before their first row.
    pub(crate) fn reset_memories(&self, state: &mut State<'_, T>) -> Result<()> {
        let (spec, params) = (&self.spec.memory, self.spec.memory.params());
        let blocks = state.memories.chunks_exact_mut(Stream::<T>::len(spec).max(1));
        for (block, w0) in blocks.zip(self.w.w0.chunks_exact(params.max(1))) {
            Stream::new(spec, self.spec.read, w0, block)?;
        }
        Ok(())
    }

    /// Rows `[n, m]` that queries, keys, and values with the gates come from, through the memories; what they answer is
    /// `work.r` `[n, I]`. `t` `[n, I]` is overwritten. Returns how many gradients were clipped.
    pub(crate) fn remember(
        &self,
        [u_q, u_k, u]: [Mat<'_, T>; 3],
        state: &mut State<'_, T>,
        work: &mut Remembering<'_, T>,
        t: &mut [T],
        wanted: RememberCall<'_, T>,
    ) -> Result<u64> {
        let [q_tail, k_tail, v_tail] = &mut state.tails;
        let [q, k, v] = &mut work.qkv;
        let [wq, wk, wv] = &self.w.memory;
        self.project(u_q, wq, q_tail, true, t, q)?;
        self.project(u_k, wk, k_tail, true, t, k)?;
        self.project(u, wv, v_tail, false, t, v)?;
        self.inner_gates(u, wanted.at, state.gates, &mut work.gates)?;
        self.write(u.rows(), state.memories, work, wanted)
    }

    /// `out = silu(conv(u W))`, with length 1 a head if `normalised`. `t` is as long as `out`.
    pub(crate) fn project(
        &self,
        u: Mat<'_, T>,
        p: &Projection<Mat<'_, T>, &[T]>,
        tail: &mut [T],
        normalised: bool,
        t: &mut [T],
        out: &mut [T],
    ) -> Result<()> {
        let (g, n, inner, taps) = (self.g, u.rows(), self.spec.inner(), self.spec.conv_width);
        // Each step goes from one buffer to the other; the last one arrives in `out`.
        let steps = 1 + usize::from(taps > 0) + usize::from(normalised);
        let (mut from, mut to) = if steps.is_multiple_of(2) { (out, t) } else { (t, out) };
        linear::forward(g, u, p.weight, None, MatMut::new(from, n, inner)?)?;
        if taps > 0 {
            let (x, y) = (Mat::new(from, n, inner)?, MatMut::new(to, n, inner)?);
            Tail::resume(taps, inner, tail)?.run(g, x, p.conv, p.bias, y)?;
            core::mem::swap(&mut from, &mut to);
        }
        silu::forward(g, from, to)?;
        core::mem::swap(&mut from, &mut to);
        if normalised {
            let (rows, d) = (n.saturating_mul(self.spec.heads), self.spec.head_width);
            l2_norm::forward(g, Mat::new(from, rows, d)?, MatMut::new(to, rows, d)?)?;
        }
        Ok(())
    }

    /// α, θ, η of every row; by chunk, those of its chunk's first row, which `held` keeps.
    fn inner_gates(&self, u: Mat<'_, T>, at: u64, held: &mut [T], gates: &mut [&mut [T]; 2]) -> Result<()> {
        let (spec, row) = (self.spec, self.spec.gates());
        let [out, logits] = gates;
        linear::forward(self.g, u, self.w.gates, Some(self.w.gates_bias), MatMut::new(logits, u.rows(), row)?)?;
        let one = |is: bool| f64::from(u8::from(is));
        let scale = [one(spec.forgetting), spec.theta_max, spec.eta_max * one(spec.momentum)];
        gates::forward(self.g, spec.gate_columns(), scale, logits, out)?;
        if !spec.gate_span.is_of_chunk() {
            return Ok(());
        }
        for (number, row) in (at..).zip(out.chunks_exact_mut(row.max(1))) {
            if number.is_multiple_of(spec.memory.chunk as u64) {
                held.become_copy(row);
            } else {
                row.become_copy(held);
            }
        }
        Ok(())
    }

    /// Every memory writes its columns of n rows, and answers.
    fn write(
        &self,
        n: usize,
        memories: &mut [T],
        work: &mut Remembering<'_, T>,
        wanted: RememberCall<'_, T>,
    ) -> Result<u64> {
        let (spec, heads, d, inner) = (self.spec, self.spec.heads, self.spec.head_width, self.spec.inner());
        let RememberCall { at, answers, mut surprise } = wanted;
        let filled = at.checked_rem(spec.memory.period_len() as u64).unwrap_or(0);
        let (gates, layers, mut clipped) = (&*work.gates[0], spec.memory.gate_sets(), 0);
        let blocks = memories.chunks_exact_mut(Stream::<T>::len(&spec.memory).max(1));
        for (h, block) in blocks.enumerate() {
            let gate =
                |i: usize| Gate::strided_tokens(gates.part((i * heads + h) * layers..), spec.gates()).layers(layers, 1);
            let [q, k, v] = &work.qkv;
            let tokens = Tokens {
                k: Mat::strided(k.part(h * d..), n, d, inner, 1)?,
                v: Mat::strided(v.part(h * d..), n, d, inner, 1)?,
                q: Mat::strided(q.part(h * d..), n, d, inner, 1)?,
                alpha: gate(0),
                theta: gate(1),
                eta: gate(2),
                mask: if self.mode.writes() { Mask::Write } else { Mask::ReadOnly },
            };
            let mut y = if answers { Some(MatMut::strided(work.r.part_mut(h * d..), n, d, inner)?) } else { None };
            let mut memory =
                Stream::attach(&spec.memory, spec.read, Counters { filled, ..Counters::default() }, block)?;
            let losses = surprise.is_some().then_some(&mut *work.surprise);
            match memory.write(self.g, &tokens, y.as_mut().map(MatMut::rb), losses, work.own) {
                Err(Error::Diverged { token }) => {
                    self.refused.set(token.min(self.refused.get()));
                    // They were not answered: what is left there need not be a number, and rows are multiplied by the
                    // zeros of those that do not see them.
                    if let Some(y) = y {
                        y.sub(token, n - token).fill(T::ZERO);
                    }
                }
                other => other?,
            }
            clipped += memory.clipped();
            if let Some(out) = &mut surprise {
                for (r, &loss) in work.surprise.iter().enumerate() {
                    out.row_mut(r).put(h, loss);
                }
            }
        }
        Ok(clipped)
    }
}
