//! One description of a buffer's parts for both questions: how long is it, and where are they.

use crate::error::Result;
use crate::scratch::Scratch;

/// Whoever hands out the parts of a buffer.
pub(crate) trait Room<'a, T> {
    /// The next part.
    fn take(&mut self, len: usize) -> Result<&'a mut [T]>;

    /// The next `rows · cols` numbers.
    fn area(&mut self, rows: usize, cols: usize) -> Result<&'a mut [T]> {
        self.take(rows.saturating_mul(cols))
    }
}

impl<'a, T: Copy> Room<'a, T> for Scratch<'a, T> {
    fn take(&mut self, len: usize) -> Result<&'a mut [T]> {
        Scratch::take(self, len)
    }
}

/// Counts what would be taken, up to `usize::MAX`, and hands out empty parts.
#[derive(Debug, Default)]
pub(crate) struct Count(pub(crate) usize);

impl<'a, T> Room<'a, T> for Count {
    fn take(&mut self, len: usize) -> Result<&'a mut [T]> {
        self.0 = self.0.saturating_add(len);
        Ok(&mut [])
    }
}
