//! Splits one caller's buffer into the pieces an operation works in.

use crate::error::{Error, Result};
use crate::view::MatMut;

/// A bump allocator over a borrowed slice; it never allocates and never frees.
///
/// Operations state their need as a number of elements beforehand; a buffer that is too small is
/// [`Error::Buffer`] with both numbers.
#[derive(Debug)]
pub struct Scratch<'a, T> {
    rest: &'a mut [T],
    given: usize,
}

impl<'a, T: Copy> Scratch<'a, T> {
    /// Starts taking from `buffer`.
    pub const fn new(buffer: &'a mut [T]) -> Self {
        let given = buffer.len();
        Self { rest: buffer, given }
    }

    /// The next `len` elements. Their contents are whatever the buffer held.
    ///
    /// # Errors
    /// [`Error::Buffer`] when fewer are left.
    pub fn take(&mut self, len: usize) -> Result<&'a mut [T]> {
        if len > self.rest.len() {
            let used = self.given - self.rest.len();
            return Err(Error::Buffer { what: "scratch", needed: used.saturating_add(len), given: self.given });
        }
        let (head, tail) = core::mem::take(&mut self.rest).split_at_mut(len);
        self.rest = tail;
        Ok(head)
    }

    /// The next `rows * cols` elements as a matrix.
    ///
    /// # Errors
    /// As [`Scratch::take`].
    pub fn mat(&mut self, rows: usize, cols: usize) -> Result<MatMut<'a, T>> {
        MatMut::new(self.take(rows.saturating_mul(cols))?, rows, cols)
    }

    /// What is left, to be split further by somebody else.
    pub fn rest(self) -> &'a mut [T] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::Scratch;
    use crate::error::Error;

    #[test]
    fn takes_until_empty_and_then_says_both_numbers() {
        let mut b = [0u8; 10];
        let mut s = Scratch::new(&mut b);
        assert_eq!(s.take(4).unwrap().len(), 4);
        assert_eq!(s.mat(2, 3).unwrap().rows(), 2);
        assert_eq!(s.take(1).unwrap_err(), Error::Buffer { what: "scratch", needed: 11, given: 10 });
    }
}
