//! The attention of a block: queries, keys and values of some tokens, and what its state adds to them.

use super::BlockRun;
use super::spec::BlockSpec;
use super::state::{KeyValues, State, in_segment, seen_from, window_start};
use super::weights::Projection;
use super::work::Attending;
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::ops::attention::{self, Keys, Span};
use crate::ops::rotary::{self, Rotary};
use crate::ops::{Tail, linear, silu_gate};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// What is visible to a token.
fn span(spec: &BlockSpec) -> Span {
    if spec.kind.has_context() { Span::Segment(spec.segment) } else { Span::Window(spec.window) }
}

/// Elements of scratch of one head for n queries.
pub(super) fn scratch_len(spec: &BlockSpec, n: usize) -> usize {
    if spec.kind.has_attention() {
        attention::scratch_len(span(spec), n, spec.persistent, spec.kind.has_context())
    } else {
        0
    }
}

/// Rows `from .. from + n` of keys or values of this width.
fn rows<T: Scalar>(x: &mut [T], from: usize, n: usize, width: usize) -> Result<MatMut<'_, T>> {
    Ok(MatMut::new(x, from.saturating_add(n), width)?.sub(from, n))
}

/// Keys and values of one head: the first `rows` rows, columns `at .. at + width` of rows of `stride`.
fn head<'x, T: Scalar>(
    x: &'x KeyValues<'_, T>,
    rows: usize,
    at: usize,
    width: usize,
    stride: usize,
) -> Result<(Mat<'x, T>, Mat<'x, T>)> {
    Ok((Mat::strided(x.k.part(at..), rows, width, stride, 1)?, Mat::strided(x.v.part(at..), rows, width, stride, 1)?))
}

impl<T: Scalar, G: Arithmetic<T>> BlockRun<'_, T, G> {
    /// Positions of tokens, or of the context; none without rotary positions.
    fn rotary(&self, context: bool) -> Option<Rotary> {
        let (spec, base) = (self.spec, self.spec.rotary);
        let period = if spec.kind.has_context() { spec.segment } else { 0 };
        let shift = if context { -(period as i64) } else { 0 };
        (base != 0.0).then_some(Rotary { width: spec.attention_width(), base, period, shift })
    }

    /// `out = conv(z W)`, the convolution going on from its tail; rows without one (no tail) are `z W`. `t` is as long
    /// as `out`.
    fn map(
        &self,
        z: Mat<'_, T>,
        p: &Projection<Mat<'_, T>, &[T]>,
        tail: Option<&mut [T]>,
        t: &mut [T],
        mut out: MatMut<'_, T>,
    ) -> Result<()> {
        let (n, width, taps) = (z.rows(), out.cols(), self.spec.attention_taps());
        let Some(tail) = tail.filter(|_| taps > 0) else { return linear::forward(self.g, z, p.weight, None, out) };
        let t = t.part_mut(..n * width);
        linear::forward(self.g, z, p.weight, None, MatMut::new(t, n, width)?)?;
        Tail::resume(taps, width, tail)?.run(self.g, Mat::new(t, n, width)?, p.conv, p.bias, out.rb())
    }

    /// Keys and values of rows z `[n, w]`, to rows `from ..` of `out`; `k` is for those that rotate, `t` for
    /// convolutions. Tokens have `tails`, other rows none.
    fn keys_values(
        &self,
        z: Mat<'_, T>,
        tails: Option<[&mut [T]; 2]>,
        rotary: Option<(Rotary, u64)>,
        from: usize,
        [k, t]: [&mut [T]; 2],
        out: &mut KeyValues<'_, T>,
    ) -> Result<()> {
        let (n, width, [_, wk, wv]) = (z.rows(), self.spec.kv_width(), &self.w.attention);
        let keys = rows(out.k, from, n, width)?;
        let [k_tail, v_tail] = tails.map_or([None, None], |tails| tails.map(Some));
        match rotary {
            Some((rotary, first)) => {
                self.map(z, wk, k_tail, t, MatMut::new(k, n, width)?)?;
                rotary::forward(self.g, &rotary, first, Mat::new(k, n, width)?, keys)?;
            }
            None => self.map(z, wk, k_tail, t, keys)?,
        }
        self.map(z, wv, v_tail, t, rows(out.v, from, n, width)?)
    }

    /// Rows z `[n, w]` become the persistent keys and values from row `from` on.
    pub(crate) fn persist(
        &self,
        z: Mat<'_, T>,
        from: usize,
        state: &mut State<'_, T>,
        work: &mut Attending<'_, T>,
    ) -> Result<()> {
        self.keys_values(z, None, None, from, [&mut *work.k, &mut *work.a], &mut state.persistent)
    }

    /// Context rows h `[n, w]` of the tokens from `position` on become keys and values of their segment.
    pub(crate) fn recall(
        &self,
        h: Mat<'_, T>,
        position: u64,
        state: &mut State<'_, T>,
        work: &mut Attending<'_, T>,
    ) -> Result<()> {
        let rotary = self.rotary(true).map(|r| (r, position));
        let spaces = [&mut *work.k, &mut *work.a];
        self.keys_values(h, None, rotary, in_segment(self.spec, position), spaces, &mut state.context)
    }

    /// Attention of tokens z `[n, w]`, the first of which is number `position`, to `work.a` `[n, I]`. Their keys and
    /// values enter the state; what no later token sees leaves it.
    pub(crate) fn attend(
        &self,
        z: Mat<'_, T>,
        position: u64,
        state: &mut State<'_, T>,
        work: &mut Attending<'_, T>,
    ) -> Result<()> {
        let (g, spec, n) = (self.g, self.spec, z.rows());
        let (inner, width, kv_width) = (spec.inner(), spec.attention_width(), spec.kv_width());
        // The numbers of the first key and of the first query: those of a segment count from its start, as in a batch.
        let (start, first, kept) = seen_from(spec, position);
        let rotary = self.rotary(false);
        let [q_tail, k_tail, v_tail] = &mut state.attention_tails;
        let (tails, spaces) = (Some([&mut **k_tail, &mut **v_tail]), [&mut *work.k, &mut *work.a]);
        self.keys_values(z, tails, rotary.map(|r| (r, position)), kept, spaces, &mut state.tokens)?;
        let [q, rotated] = &mut work.q;
        self.map(z, &self.w.attention[0], Some(q_tail), work.a, MatMut::new(q, n, inner)?)?;
        let rotated = match rotary {
            Some(rotary) => {
                rotary::forward(g, &rotary, position, Mat::new(q, n, inner)?, MatMut::new(rotated, n, inner)?)?;
                &**rotated
            }
            None => &**q,
        };
        let total = kept.saturating_add(n);
        for number in 0..spec.attention_heads {
            let (at, kv_at) = (number * width, spec.kv_head(number) * width);
            let head = |x, rows| head(x, rows, kv_at, width, kv_width);
            let keys = Keys {
                persistent: if spec.persistent > 0 { Some(head(&state.persistent, spec.persistent)?) } else { None },
                context: if spec.kind.has_context() { Some(head(&state.context, total)?) } else { None },
                tokens: head(&state.tokens, total)?,
                first: start,
            };
            let q = Mat::strided(q.part(at..), n, width, inner, 1)?;
            let rotated = Mat::strided(rotated.part(at..), n, width, inner, 1)?;
            let y = MatMut::strided(work.a.part_mut(at..), n, width, inner)?;
            attention::forward(
                g,
                span(spec),
                attention::Queries { first, q, q_rotated: rotated },
                &keys,
                y,
                None,
                work.own,
            )?;
        }
        if spec.kind.has_window() {
            let next = position.saturating_add(n as u64);
            let gone = (window_start(spec, next) - start) as usize * kv_width;
            let end = total * kv_width;
            if gone > 0 {
                state.tokens.k.move_within(gone, end - gone, 0);
                state.tokens.v.move_within(gone, end - gone, 0);
            }
        }
        if self.spec.residual() { self.read_attention(z, work) } else { Ok(()) }
    }

    /// `a ← rms(a; head by head)`, times silu of its own gate of z where it has one.
    fn read_attention(&self, z: Mat<'_, T>, work: &mut Attending<'_, T>) -> Result<()> {
        let [normal, gate] = &mut work.q;
        self.norm(work.a, self.w.attention_read_norm, normal)?;
        if self.w.attention_gate.rows() == 0 {
            work.a.become_copy(normal);
            return Ok(());
        }
        linear::forward(self.g, z, self.w.attention_gate, None, MatMut::new(gate, z.rows(), self.spec.inner())?)?;
        silu_gate::forward(self.g, normal, gate, work.a)
    }
}
