//! What a model should have said.

use super::{Head, Model};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::{Losses, Shared, Tape, Var};
use std::sync::Arc;

/// One target for every token, or for every sequence.
pub enum Targets<'a, D: Device> {
    /// The next token or the class; [`IGNORE`](crate::device::IGNORE) for none. `[batch, time]`.
    Ids(&'a Arc<D::Indices>),
    /// One class for each sequence, of the mean of what is said after its first tokens.
    Pooled {
        /// The classes, `[batch]`.
        classes: &'a Arc<D::Indices>,
        /// How many of its tokens count, `[batch]`: what is behind them is padding.
        lengths: &'a Arc<D::Indices>,
        /// Tokens of every sequence with its padding.
        time: usize,
    },
    /// The predicted numbers `[batch, time, outputs]`.
    Numbers(&'a Shared<D>),
    /// The same where every number has a weight w between 0 and 1, by which its error is multiplied before it is
    /// squared.
    Weighted {
        /// The numbers times w.
        numbers: &'a Shared<D>,
        /// ln w − ln(1 − w): σ of it is w.
        gates: &'a Shared<D>,
    },
}

impl<D: Device> Clone for Targets<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device> Copy for Targets<'_, D> {}

impl<D: Device> Model<D> {
    /// The mean of what is said after each sequence's first `lengths[b]` of `time` tokens, `[batch, said]`.
    ///
    /// # Errors
    /// As [`Tape::pool`].
    pub fn pooled(
        &self,
        tape: &mut Tape<'_, D>,
        said: &Var<D>,
        lengths: &Arc<D::Indices>,
        time: usize,
    ) -> Result<Var<D>> {
        tape.pool(time, self.config.said(), lengths, said)
    }

    /// A loss for every token, or for every sequence where its tokens are pooled: cross entropy in nats, or the mean
    /// square of the numbers' errors.
    ///
    /// # Errors
    /// [`Error::Usage`] for targets that are not the head's; as [`Tape::cross_entropy`].
    pub fn loss(&self, tape: &mut Tape<'_, D>, said: &Var<D>, targets: Targets<'_, D>) -> Result<Losses<D>> {
        match (targets, self.config.head) {
            (Targets::Ids(ids), Head::Tokens | Head::Classes) => tape.cross_entropy(self.config.said(), said, ids),
            (Targets::Pooled { classes, lengths, time }, Head::Tokens | Head::Classes) => {
                let pooled = self.pooled(tape, said, lengths, time)?;
                tape.cross_entropy(self.config.said(), &pooled, classes)
            }
            (Targets::Numbers(numbers), Head::Regression) => tape.squared_error(said, numbers, self.config.said()),
            (Targets::Weighted { numbers, gates }, Head::Regression) => {
                let said = tape.sigmoid_gate(said, &Var::of(gates.clone()))?;
                tape.squared_error(&said, numbers, self.config.said())
            }
            (Targets::Numbers(_) | Targets::Weighted { .. }, _) => {
                Err(Error::usage("model: expected ids as its targets, found numbers"))
            }
            (Targets::Ids(_) | Targets::Pooled { .. }, _) => {
                Err(Error::usage("model: expected numbers as its targets, found ids"))
            }
        }
    }
}
