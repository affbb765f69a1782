//! Rows that move: slices of sequences and their reverse, rows repeated, rows held, sequences cut into parts.

use crate::error::{Error, Result};
use titans_kernel::error::expect_len;

/// Where row r of entry b of a batch lies: at `b · stride + first + r − r mod hold`, counted in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Rows between entries of the batch; 0: all entries share their rows.
    pub stride: usize,
    /// The first row of the first entry.
    pub first: usize,
    /// So many rows in succession lie at the place of the first of them; 1: every row has its own.
    pub hold: usize,
}

impl Place {
    /// Entries `stride` rows apart, the first one from row `first` on, every row at its own place.
    pub const fn new(stride: usize, first: usize) -> Self {
        Self { stride, first, hold: 1 }
    }

    /// `rows` rows of the beginning of each of `batch` entries reach so far.
    fn end(&self, batch: usize, rows: usize) -> usize {
        batch.saturating_sub(1).saturating_mul(self.stride).saturating_add(self.first).saturating_add(rows)
    }

    /// Several rows that move meet in one.
    fn shared(&self, batch: usize, rows: usize) -> bool {
        (self.stride == 0 && batch > 1) || (self.hold > 1 && rows > 1)
    }
}

/// `y[to(b, r)] = x[from(b, r)]`, or `+=`, for r < `rows` and b < `batch`.
///
/// ```
/// use titans_host::device::{Device, MoveRows, Place, cpu::Cpu};
///
/// let cpu = Cpu::<f32>::new(Some(1))?;
/// let x = cpu.upload(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?; // two sequences of three rows
/// let last = MoveRows { batch: 2, rows: 1, width: 1, from: Place::new(3, 2), to: Place::new(1, 0), add: false };
/// let mut y = cpu.zeros(2)?;
/// cpu.move_rows(&last, &x, &mut y)?;
/// assert_eq!(cpu.download(&y)?, [3.0, 6.0]);
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveRows {
    /// Entries.
    pub batch: usize,
    /// Rows of each that move.
    pub rows: usize,
    /// Numbers of a row.
    pub width: usize,
    /// Their places in x.
    pub from: Place,
    /// Their places in y. Rows meet in one place only where they are added; entries never overlap otherwise.
    pub to: Place,
    /// Adds to what y holds, entries and rows in ascending order, instead of overwriting.
    pub add: bool,
}

impl MoveRows {
    /// The backward of this move, which adds: from y's places to x's.
    pub const fn reversed(&self) -> Self {
        Self { from: self.to, to: self.from, add: true, ..*self }
    }

    /// Checks places and lengths; `false` where nothing moves.
    ///
    /// # Errors
    /// [`Error::Usage`] for a `hold` of 0 and for places in y that overlap; [`Error::Kernel`] when `x` or `y` elements
    /// are no whole rows or too few.
    pub(super) fn check(&self, x: usize, y: usize) -> Result<bool> {
        let Self { batch, rows, width, from, to, add } = *self;
        if from.hold == 0 || to.hold == 0 {
            return Err(Error::usage("move rows: hold: expected 1 or more, found 0"));
        }
        if batch == 0 || rows == 0 || width == 0 {
            return Ok(false);
        }
        if to.shared(batch, rows) && !add {
            return Err(Error::usage("move rows: several rows to one place; they can only be added"));
        }
        if batch > 1 && to.stride > 0 && to.stride < rows {
            return Err(Error::usage(format!(
                "move rows: {rows} rows to places {} apart overlap; expected 0 or {rows} and more",
                to.stride
            )));
        }
        for (what, place, len) in [("move rows: x", from, x), ("move rows: y", to, y)] {
            expect_len(what, len - len % width, len)?;
            let needed = place.end(batch, rows);
            if needed > len / width {
                let expected = needed.saturating_mul(width);
                return Err(titans_kernel::Error::Shape { what, expected, found: len }.into());
            }
        }
        Ok(true)
    }
}

/// Parts of sequences that one operation moves at the most.
pub const PARTS: usize = 32;

/// Sequences `[batch, time, width]` cut along time into parts `[batch, rows, width]`, the last of which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Sequences.
    pub batch: usize,
    /// Rows of each.
    pub time: usize,
    /// Numbers of a row.
    pub width: usize,
    /// Rows of a part, at least 1.
    pub rows: usize,
}

impl Cut {
    /// Parts of a sequence.
    pub const fn count(&self) -> usize {
        self.time.div_ceil(if self.rows == 0 { 1 } else { self.rows })
    }

    /// The first one of every [`PARTS`] parts: an operation each.
    pub fn groups(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.count()).step_by(PARTS)
    }

    /// Elements of the whole; saturated where they overflow, so that no buffer fits then.
    pub const fn len(&self) -> usize {
        self.batch.saturating_mul(self.time).saturating_mul(self.width)
    }

    /// Whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows of part i.
    const fn rows_of(&self, i: usize) -> usize {
        let left = self.time.saturating_sub(i.saturating_mul(self.rows));
        if left < self.rows { left } else { self.rows }
    }

    /// Elements of part i.
    pub const fn part_len(&self, i: usize) -> usize {
        self.batch.saturating_mul(self.rows_of(i)).saturating_mul(self.width)
    }

    /// The move of part i out of the whole.
    pub(super) const fn part(&self, i: usize) -> MoveRows {
        let Self { batch, time, width, .. } = *self;
        let (rows, from) = (self.rows_of(i), Place::new(time, i.saturating_mul(self.rows)));
        MoveRows { batch, rows, width, from, to: Place::new(rows, 0), add: false }
    }

    /// The move of part i to its place in the whole.
    pub(super) const fn placed(&self, i: usize) -> MoveRows {
        MoveRows { add: false, ..self.part(i).reversed() }
    }
}

/// The next [`PARTS`] of `parts`, `None` where one is not given, and behind the last.
pub(crate) fn next_parts<P>(parts: &mut impl Iterator<Item = Option<P>>) -> [Option<P>; PARTS] {
    std::array::from_fn(|_| parts.next().flatten())
}

/// The parts that are there, with their numbers, of which the first one's is `first`.
pub(super) fn given<P>(first: usize, parts: [Option<P>; PARTS]) -> impl Iterator<Item = (usize, P)> {
    parts.into_iter().enumerate().filter_map(move |(i, part)| Some((first.saturating_add(i), part?)))
}
