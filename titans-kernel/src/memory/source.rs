//! The state that answers: it stays as it is, or its chunk closes while it answers.

use super::close::{End, close_gamma, close_panel};
use super::frame::Frame;
use super::open::Past;
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::scalar::Scalar;

/// The state `[W | S]` that answers.
#[derive(Debug)]
pub(super) enum StateSource<'a, T> {
    /// It stays as it is.
    Stays(&'a [T]),
    /// The chunk closes: a panel becomes that at the chunk's end as soon as it has answered, so that a large state
    /// is loaded once. `scaled`: [`close_scratch`](super::close::close_scratch) elements.
    Closes { state: &'a mut [T], end: End, scaled: &'a mut [T] },
}

impl<T: Scalar> StateSource<'_, T> {
    /// As it is now.
    pub fn state(&self) -> &[T] {
        match self {
            Self::Stays(state) => state,
            Self::Closes { state, .. } => state,
        }
    }

    /// A panel of layer l has answered.
    pub fn panel_done<G: Arithmetic<T>>(
        &mut self,
        on: Frame<'_, G>,
        (l, columns): (usize, (usize, usize)),
        past: Past<'_, T>,
    ) -> Result<()> {
        match self {
            Self::Stays(_) => Ok(()),
            Self::Closes { state, end, scaled } => close_panel(on, (l, columns), *end, past, scaled, state),
        }
    }

    /// All layers have answered.
    pub fn all_done<G: Arithmetic<T>>(self, on: Frame<'_, G>, past: Past<'_, T>) -> Result<()> {
        match self {
            Self::Stays(_) => Ok(()),
            Self::Closes { state, end, scaled } => close_gamma(on, end, past, scaled, state),
        }
    }
}
