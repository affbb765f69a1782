//! The state that answers: it stays as it is, or its chunk closes while it answers.

use super::close::{close_gamma, close_panel};
use super::coefficients::Coefficients;
use super::layout::{Layout, Seen};
use crate::error::Result;
use crate::gemm::Gemm;
use crate::scalar::Scalar;

/// The state `[W | S]` that answers.
#[derive(Debug)]
pub(super) enum Source<'a, T> {
    /// It stays as it is.
    Stays(&'a [T]),
    /// The chunk closes: a panel becomes that after the open chunk's first `n` tokens (coefficients of row `row`) as soon as it has
    /// answered, so that a large state comes near once. `scaled`: [`close_scratch`](super::close::close_scratch) elements.
    Closes { state: &'a mut [T], row: usize, n: usize, scaled: &'a mut [T] },
}

impl<T: Scalar> Source<'_, T> {
    /// As it is now.
    pub fn state(&self) -> &[T] {
        match self {
            Self::Stays(state) => state,
            Self::Closes { state, .. } => state,
        }
    }

    /// A panel of layer l has answered; these are the layer's coefficients.
    pub fn panel_done<G: Gemm<T>>(
        &mut self,
        g: &G,
        lay: Layout<'_>,
        l: usize,
        columns: (usize, usize),
        open: Seen<'_, T>,
        coefficients: &Coefficients<'_, T>,
    ) -> Result<()> {
        match self {
            Self::Stays(_) => Ok(()),
            Self::Closes { state, row, n, scaled } => {
                close_panel(g, lay, l, columns, (*row, *n), open, coefficients, scaled, state)
            }
        }
    }

    /// All layers have answered.
    pub fn all_done<G: Gemm<T>>(
        self,
        g: &G,
        lay: Layout<'_>,
        open: Seen<'_, T>,
        coefficients: &[Coefficients<'_, T>],
    ) -> Result<()> {
        match self {
            Self::Stays(_) => Ok(()),
            Self::Closes { state, row, n, scaled } => close_gamma(g, lay, (row, n), open, coefficients, scaled, state),
        }
    }
}
