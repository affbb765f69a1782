//! What a session goes back to when a token is refused: a copy of its state, and what it was fed since.

use super::zeros;
use crate::error::Result;
use titans_kernel::model::{Feed, Position};
use titans_kernel::{Mat, Scalar};

/// Tokens after which the copy is made anew: its time is small against theirs.
pub(super) const MOST: usize = 1024;

/// A state from which the present one can be had again.
#[derive(Clone)]
pub(super) struct Undo<T> {
    state: Vec<T>,
    position: Position,
    log: Log<T>,
}

/// What was fed since, at most [`MOST`] tokens: ids or numbers, as the model reads.
#[derive(Clone, Default)]
pub(super) struct Log<T> {
    ids: Vec<u32>,
    rows: Vec<T>,
}

impl<T: Scalar> Undo<T> {
    /// Of a session that stands there.
    pub(super) fn of(state: &[T], position: Position) -> Result<Self> {
        let mut kept = zeros(state.len())?;
        kept.copy_from_slice(state);
        Ok(Self { state: kept, position, log: Log { ids: Vec::new(), rows: Vec::new() } })
    }

    /// The session now stands there; how it came there is forgotten.
    pub(super) fn keep(&mut self, state: &[T], position: Position) {
        self.state.copy_from_slice(state);
        self.position = position;
        self.log.ids.clear();
        self.log.rows.clear();
    }

    /// The session took these tokens, `position` is where it stands after them.
    pub(super) fn took(&mut self, feed: &Feed<'_, T>, state: &[T], position: Position) {
        if (position.tokens - self.position.tokens) as usize > MOST {
            return self.keep(state, position);
        }
        match feed {
            Feed::Tokens(ids) => self.log.ids.extend_from_slice(ids),
            Feed::Rows(rows) => (0..rows.rows()).for_each(|r| self.log.rows.extend_from_slice(rows.row(r))),
        }
    }

    /// Writes the old state over this one. Returns where that stands, and what led from there to the present.
    pub(super) fn back(&mut self, state: &mut [T]) -> (Position, Log<T>) {
        state.copy_from_slice(&self.state);
        (self.position, std::mem::take(&mut self.log))
    }

    /// Gives back what [`Undo::back`] took.
    pub(super) fn put(&mut self, log: Log<T>) {
        self.log = log;
    }
}

impl<T: Scalar> Log<T> {
    /// To feed it again, to a model that reads ids or rows of so many numbers.
    pub(super) fn feed(&self, width: Option<usize>) -> Result<Feed<'_, T>> {
        match width {
            None => Ok(Feed::Tokens(&self.ids)),
            Some(width) => Ok(Feed::Rows(Mat::new(&self.rows, self.rows.len() / width.max(1), width)?)),
        }
    }
}
