//! The blocks of a model, as streams: a mixer and a feed-forward around the residual rows (`docs/MATH.md` section 6).
//!
//! A block borrows its parameters, keeps its state in parts of the caller's buffer and works in scratch. It takes any
//! number of tokens at a time, and a token's numbers have the same bits with whichever others it comes.

mod attend;
mod choices;
mod mac;
mod mixer;
mod remember;
mod spec;
mod state;
mod weights;
mod work;

use crate::arithmetic::Arithmetic;
use crate::choice;
use crate::error::{Error, Result};
use crate::ops::{linear, silu_gate};
use crate::scalar::Scalar;
use crate::scratch::{Scratch, counted};
use crate::view::{Mat, MatMut};
pub use choices::{Combine, GateSpan, Kind, MacFeed, MacRead, Wiring};
use core::cell::Cell;
pub(crate) use spec::rule;
pub use spec::{BlockSpec, ROTARY_BASE};
pub(crate) use state::{State, StatePart, parts};
pub use weights::{BlockWeights, Projection, Tensor, WeightSource};
pub(crate) use weights::{Numbers, Taking, Visit};
use work::{Feeding, Mixing};

choice! {
    /// What the memories of a model do with its tokens.
    #[derive(Default)]
    pub enum Mode: "memory mode" {
        /// They write every token.
        #[default]
        On = 0, "on";
        /// They answer, and do not change.
        Frozen = 1, "frozen";
        /// They answer 0: what the model is without them.
        Absent = 2, "absent";
    }
}

impl Mode {
    /// Do the memories write?
    pub const fn writes(self) -> bool {
        match self {
            Self::On => true,
            Self::Frozen | Self::Absent => false,
        }
    }

    /// Do the memories answer?
    pub const fn answers(self) -> bool {
        match self {
            Self::On | Self::Frozen => true,
            Self::Absent => false,
        }
    }
}

/// One block at work.
pub(crate) struct BlockRun<'r, T, G> {
    pub(crate) g: &'r G,
    pub(crate) spec: &'r BlockSpec,
    /// Of the model's rows.
    pub(crate) width: usize,
    pub(crate) w: &'r BlockWeights<Mat<'r, T>, &'r [T]>,
    pub(crate) mode: Mode,
    /// The first row of a call that a memory refused: rows from it on are of no meaning, those before it are as they
    /// would be without it. A call goes on to its end nevertheless, as another memory may refuse an earlier row.
    pub(crate) refused: &'r Cell<usize>,
}

/// Numbers of state for pushes of up to `rows` tokens at once; `usize::MAX` where they are more than that.
pub(crate) fn state_len<T: Scalar>(spec: &BlockSpec, rows: usize) -> usize {
    counted(|room| State::<T>::take(spec, rows, room))
}

/// Numbers of scratch for n tokens.
pub(crate) fn scratch_len<T: Scalar>(spec: &BlockSpec, width: usize, n: usize) -> usize {
    let mixing = counted(|room| Mixing::<T>::take(spec, width, n, room));
    mixing.max(counted(|room| Feeding::<T>::take(spec, width, n, room)))
}

impl<T: Scalar, G: Arithmetic<T>> BlockRun<'_, T, G> {
    /// The start of a stream: `state` is whatever it was, but for zeros afterwards where nothing was seen yet. Up to
    /// `rows` persistent rows are taken at once. Returns how many gradients were clipped.
    ///
    /// # Errors
    /// [`Error::Diverged`] naming the persistent row that a memory refused.
    pub(crate) fn reset(&self, rows: usize, state: &mut State<'_, T>, scratch: &mut [T]) -> Result<u64> {
        self.reset_memories(state)?;
        let (mut from, mut clipped) = (0, 0);
        while from < self.w.persistent.rows() {
            let n = rows.max(1).min(self.w.persistent.rows() - from);
            let mut work = Mixing::take(self.spec, self.width, n, &mut Scratch::new(scratch))?;
            clipped += self.begin(from, n, state, &mut work)?;
            if self.refused.get() < n {
                return Err(Error::Diverged { token: from + self.refused.get() });
            }
            from += n;
        }
        Ok(clipped)
    }

    /// n tokens, the first of which is number `position`, through the block: `x` `[n, w]` is changed in place. Of a MAC
    /// they lie in one segment. Returns how many gradients were clipped.
    pub(crate) fn forward(
        &self,
        n: usize,
        position: u64,
        x: &mut [T],
        state: &mut State<'_, T>,
        surprise: Option<MatMut<'_, T>>,
        scratch: &mut [T],
    ) -> Result<u64> {
        let mut work = Mixing::take(self.spec, self.width, n, &mut Scratch::new(scratch))?;
        self.norm(x, self.w.norm, work.n)?;
        let clipped = self.mix(n, position, x, state, &mut work, surprise)?;
        self.add(work.y, x);
        let mut work = Feeding::take(self.spec, self.width, n, &mut Scratch::new(scratch))?;
        self.feed_forward(n, x, &mut work)?;
        self.add(work.y, x);
        Ok(clipped)
    }

    /// `down(silu(gate(n')) ∘ up(n'))`, n' = rms(x).
    fn feed_forward(&self, n: usize, x: &[T], work: &mut Feeding<'_, T>) -> Result<()> {
        let (g, hidden) = (self.g, self.spec.feed_forward);
        self.norm(x, self.w.ff_norm, work.n)?;
        let rows = Mat::new(work.n, n, self.width)?;
        linear::forward(g, rows, self.w.up, None, MatMut::new(work.up, n, hidden)?)?;
        linear::forward(g, rows, self.w.ff_gate, None, MatMut::new(work.gate, n, hidden)?)?;
        silu_gate::forward(g, work.up, work.gate, work.hidden)?;
        linear::forward(g, Mat::new(work.hidden, n, hidden)?, self.w.down, None, MatMut::new(work.y, n, self.width)?)
    }

    /// `x += y`.
    pub(crate) fn add(&self, y: &[T], x: &mut [T]) {
        self.g.vectorise(
            #[inline(always)]
            || {
                for (x, &y) in x.iter_mut().zip(y) {
                    *x += y;
                }
            },
        );
    }
}
