//! The mixers LMM, MAG, MAL and attention: how their layers follow one another. MAC is in `mac`.

use super::BlockRun;
use super::choices::{Combine, Kind, Wiring};
use super::remember::RememberCall;
use super::state::State;
use super::work::{Mixing, Remembering};
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::ops::{linear, rms_norm, silu, silu_gate};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

impl<T: Scalar, G: Arithmetic<T>> BlockRun<'_, T, G> {
    /// Mixer(n) of n tokens from number `position` on, from `work.n`. Its last layer's output is written to `work.y`,
    /// for the caller to add to x `[n, w]`; the layers before it have added theirs. Returns how many gradients were
    /// clipped.
    pub(crate) fn mix(
        &self,
        n: usize,
        position: u64,
        x: &mut [T],
        state: &mut State<'_, T>,
        work: &mut Mixing<'_, T>,
        surprise: Option<MatMut<'_, T>>,
    ) -> Result<u64> {
        let (width, inner) = (self.width, self.spec.inner());
        if self.spec.kind.has_context() {
            return match self.spec.wiring {
                Wiring::Letter => self.mac(n, position, state, work, surprise),
                Wiring::Residual => self.mac_residual(n, position, x, state, work, surprise),
            };
        }
        let rows = Mat::new(work.n, n, width)?;
        let persistent = if self.spec.remembers_persistent() { self.spec.persistent } else { 0 };
        let at = position.saturating_add(persistent as u64);
        let wanted = RememberCall { at, answers: true, surprise };
        let clipped = if self.spec.kind.has_memory() {
            self.answers([rows; 3], state, &mut work.memory, work.t[0], wanted)?
        } else {
            0
        };
        let inner_rows = match self.spec.kind {
            Kind::Lmm => {
                self.output_gate(rows, work.memory.r, &mut work.t)?;
                &*work.memory.r
            }
            Kind::Mal => {
                self.output_gate(rows, work.memory.r, &mut work.t)?;
                self.pass_on(n, x, work.memory.r, work.y, work.z)?;
                self.attend(Mat::new(work.z, n, width)?, position, state, &mut work.attention)?;
                &*work.attention.a
            }
            Kind::Mag => {
                self.attend(rows, position, state, &mut work.attention)?;
                self.join(rows, work.attention.a, work.memory.r, &mut work.t)?;
                &*work.memory.r
            }
            // MAC's own function has returned before.
            Kind::Attention | Kind::Mac => {
                self.attend(rows, position, state, &mut work.attention)?;
                &*work.attention.a
            }
        };
        linear::forward(self.g, Mat::new(inner_rows, n, inner)?, self.w.out, None, MatMut::new(work.y, n, width)?)?;
        Ok(clipped)
    }

    /// Persistent rows P `from .. from + n`, before the first token: the memories see them, and attention will.
    pub(crate) fn begin(
        &self,
        from: usize,
        n: usize,
        state: &mut State<'_, T>,
        work: &mut Mixing<'_, T>,
    ) -> Result<u64> {
        let (kind, rows) = (self.spec.kind, self.w.persistent.sub(from, n));
        let mut clipped = 0;
        if self.spec.remembers_persistent() {
            let wanted = RememberCall { at: from as u64, answers: kind.attends_to_answers(), surprise: None };
            clipped = self.answers([rows; 3], state, &mut work.memory, work.t[0], wanted)?;
        }
        if kind.attends_to_answers() && !self.spec.residual() {
            self.output_gate(rows, work.memory.r, &mut work.t)?;
            self.pass_on(n, &mut [], work.memory.r, work.y, work.z)?;
            self.persist(Mat::new(work.z, n, self.width)?, from, state, &mut work.attention)?;
        } else if kind.has_attention() {
            self.persist(rows, from, state, &mut work.attention)?;
        }
        Ok(clipped)
    }

    /// What the memories answer to rows, in `work.r`; nothing where they are absent.
    pub(crate) fn answers(
        &self,
        u: [Mat<'_, T>; 3],
        state: &mut State<'_, T>,
        work: &mut Remembering<'_, T>,
        t: &mut [T],
        wanted: RememberCall<'_, T>,
    ) -> Result<u64> {
        if self.mode.answers() {
            return self.remember(u, state, work, t, wanted);
        }
        work.r.fill(T::ZERO);
        if let Some(mut surprise) = wanted.surprise {
            surprise.fill(T::ZERO);
        }
        Ok(0)
    }

    /// `r ← rms(r; g_r) ∘ silu(u W_gate)`, a norm for each head.
    pub(crate) fn output_gate(&self, u: Mat<'_, T>, r: &mut [T], [normal, gate]: &mut [&mut [T]; 2]) -> Result<()> {
        self.norm(r, self.w.read_norm, normal)?;
        linear::forward(self.g, u, self.w.gate, None, MatMut::new(gate, u.rows(), self.spec.inner())?)?;
        silu_gate::forward(self.g, normal, gate, r)
    }

    /// MAL: what attention sees, `z = rms(r W_m)`, or `x ← x + r W_m, z = rms(x)`.
    fn pass_on(&self, n: usize, x: &mut [T], r: &[T], t: &mut [T], z: &mut [T]) -> Result<()> {
        let r = Mat::new(r, n, self.spec.inner())?;
        linear::forward(self.g, r, self.w.memory_out, None, MatMut::new(t, n, self.width)?)?;
        if !self.spec.residual() {
            return self.norm(t, self.w.attention_norm, z);
        }
        self.add(t, x);
        self.norm(x, self.w.attention_norm, z)
    }

    /// MAG: what attention and memory say of rows u, together, to r.
    fn join(&self, u: Mat<'_, T>, a: &[T], r: &mut [T], t: &mut [&mut [T]; 2]) -> Result<()> {
        match self.spec.combine {
            Combine::Gates => {
                self.output_gate(u, r, t)?;
                self.add(a, r);
                Ok(())
            }
            Combine::Gated => {
                let [sum, gate] = t;
                self.norm(r, self.w.read_norm, sum)?;
                self.add(a, sum);
                linear::forward(self.g, u, self.w.gate, None, MatMut::new(gate, u.rows(), self.spec.inner())?)?;
                silu_gate::forward(self.g, sum, gate, r)
            }
            Combine::Product | Combine::Silu | Combine::Sigmoid | Combine::Sum => {
                let [normal, m] = t;
                self.norm(a, self.w.combine[0], normal)?;
                self.norm(r, self.w.combine[1], m)?;
                self.combine(normal, m, r)
            }
        }
    }

    /// `y = rms(x; weight)` over rows of the weight's length.
    pub(crate) fn norm(&self, x: &[T], weight: &[T], y: &mut [T]) -> Result<()> {
        let (rows, d) = (x.len() / weight.len().max(1), weight.len());
        rms_norm::forward(self.g, Mat::new(x, rows, d)?, weight, MatMut::new(y, rows, d)?)
    }

    /// `out = a ⊗ m`; a is overwritten.
    pub(crate) fn combine(&self, a: &mut [T], m: &[T], out: &mut [T]) -> Result<()> {
        let g = self.g;
        match self.spec.combine {
            Combine::Product => {
                silu::forward(g, a, out)?;
                a.become_copy(out);
                silu_gate::forward(g, a, m, out)
            }
            Combine::Silu => silu_gate::forward(g, a, m, out),
            Combine::Sigmoid => g.vectorise(
                #[inline(always)]
                || {
                    pairs(
                        a,
                        m,
                        out,
                        #[inline(always)]
                        |a, m| a * m.sigmoid(),
                    )
                },
            ),
            // Those of the other wiring never come here.
            Combine::Sum | Combine::Gated | Combine::Gates => g.vectorise(
                #[inline(always)]
                || {
                    pairs(
                        a,
                        m,
                        out,
                        #[inline(always)]
                        |a, m| a + m,
                    )
                },
            ),
        }
    }
}

/// `out[i] = f(a[i], m[i])`, slices of one length.
#[inline(always)]
fn pairs<T: Scalar>(a: &[T], m: &[T], out: &mut [T], f: impl Fn(T, T) -> T) -> Result<()> {
    for ((out, &a), &m) in out.iter_mut().zip(a).zip(m) {
        *out = f(a, m);
    }
    Ok(())
}
