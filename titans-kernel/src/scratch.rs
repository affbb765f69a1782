//! Splits one caller's buffer into the pieces an operation works in.
//!
//! One walk over a buffer's parts answers both questions: where are they ([`Scratch`] hands them out), and how long is
//! the buffer (`Count` adds them up). So no length is a sum that somebody wrote beside the walk.

use crate::error::{Error, Result};
use crate::part::Parts;
use crate::view::MatMut;

/// A bump allocator over a borrowed slice; it never allocates and never frees.
///
/// Operations state their need as a number of elements beforehand; a buffer that is too small is
/// [`Error::Buffer`] with both numbers.
///
/// ```
/// use titans_kernel::Scratch;
///
/// let mut buffer = [0.0; 10];
/// let mut scratch = Scratch::new(&mut buffer);
/// let (row, square) = (scratch.take(4)?, scratch.mat(2, 2)?);
/// assert_eq!((row.len(), square.rows(), scratch.rest().len()), (4, 2, 2));
/// # Ok::<(), titans_kernel::Error>(())
/// ```
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
        let (head, tail) = core::mem::take(&mut self.rest).halves_mut(len);
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

/// Bytes of a cache line, and the most numbers in it.
const LINE_BYTES: usize = 64;
const LINE: usize = LINE_BYTES / size_of::<f32>();

/// Whoever hands out the parts of a buffer.
pub(crate) trait Room<'a, T> {
    /// The next part.
    fn take(&mut self, len: usize) -> Result<&'a mut [T]>;

    /// Leaves out what lies before the next whole cache line; counted as a whole one, as nobody knows beforehand where
    /// a buffer will begin.
    fn align(&mut self) -> Result<()>;

    /// The next `rows · cols` numbers.
    fn area(&mut self, rows: usize, cols: usize) -> Result<&'a mut [T]> {
        self.take(rows.saturating_mul(cols))
    }
}

impl<'a, T: Copy> Room<'a, T> for Scratch<'a, T> {
    fn take(&mut self, len: usize) -> Result<&'a mut [T]> {
        Scratch::take(self, len)
    }

    fn align(&mut self) -> Result<()> {
        let skipped = self.rest.as_ptr().align_offset(LINE_BYTES).min(LINE);
        Scratch::take(self, skipped).map(drop)
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

    fn align(&mut self) -> Result<()> {
        self.place(LINE);
        Ok(())
    }
}

impl Count {
    /// Where the next part begins, which is `len` long.
    pub(crate) const fn place(&mut self, len: usize) -> usize {
        let at = self.0;
        self.0 = at.saturating_add(len);
        at
    }
}

/// Elements that a walk takes; `usize::MAX`, which no buffer has, where it fails.
pub(crate) fn counted<P>(walk: impl FnOnce(&mut Count) -> Result<P>) -> usize {
    let mut count = Count::default();
    match walk(&mut count) {
        Ok(_) => count.0,
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE, LINE_BYTES, Room, Scratch, counted};
    use crate::error::Error;

    #[test]
    fn takes_until_empty_and_then_says_both_numbers() {
        let mut b = [0u8; 10];
        let mut s = Scratch::new(&mut b);
        assert_eq!(s.take(4).unwrap().len(), 4);
        assert_eq!(s.mat(2, 3).unwrap().rows(), 2);
        assert_eq!(s.take(1).unwrap_err(), Error::Buffer { what: "scratch", needed: 11, given: 10 });
    }
    #[test]
    fn an_aligned_part_begins_a_line_wherever_the_buffer_begins() {
        fn walk<'a, R: Room<'a, f32>>(room: &mut R) -> crate::error::Result<&'a mut [f32]> {
            room.align()?;
            room.take(5)
        }
        let len = counted(walk);
        assert_eq!(len, LINE + 5);
        let mut b = [0.0; 2 * LINE + 5];
        for from in 0..LINE {
            let part = walk(&mut Scratch::new(&mut b[from..from + len])).unwrap();
            assert_eq!((part.as_ptr().addr() % LINE_BYTES, part.len()), (0, 5));
        }
    }
    #[test]
    fn a_walk_takes_what_it_counts() {
        fn walk<'a, R: Room<'a, u8>>(room: &mut R) -> crate::error::Result<[&'a mut [u8]; 2]> {
            Ok([room.area(2, 3)?, room.take(4)?])
        }
        assert_eq!(counted(walk), 10);
        let mut b = [0u8; 10];
        let mut s = Scratch::new(&mut b);
        assert_eq!(walk(&mut s).unwrap().map(|part| part.len()), [6, 4]);
        assert!(s.rest().is_empty());
        assert_eq!(counted(|room| Room::<u8>::area(room, usize::MAX, 2).and(walk(room))), usize::MAX);
    }
}
