//! Softmax of scores in columns: a key a row, a query a column.

use crate::part::{Parts, sure};
use core::ops::Range;

use super::tree;
use crate::scalar::Scalar;
use crate::view::MatMut;

/// Queries whose scores lie side by side.
pub const QUERIES: usize = 32;
/// Partial sums of a softmax: key number j goes to sum j mod 16.
pub const SUMS: usize = 16;

/// Neighbouring keys and the queries that see them: query r sees key s of them where r ≤ `ahead` + s and s ≤ `behind` +
/// r.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Row of the scores that is the first key's.
    pub first: usize,
    /// Keys.
    pub len: usize,
    /// Queries behind the first that see the first key too; `usize::MAX` where all keys are seen by all.
    pub ahead: usize,
    /// Keys behind the first that the first query sees too; `usize::MAX` where all keys are seen by all.
    pub behind: usize,
    /// Number of the first key mod 16.
    pub lane: usize,
}

impl Seen {
    /// The keys that some of queries `r .. r + n` see.
    #[inline(always)]
    pub fn range(&self, r: usize, n: usize) -> Range<usize> {
        let end = self.behind.saturating_add(r + n).min(self.len);
        r.saturating_sub(self.ahead).min(end)..end
    }

    /// The keys that all of queries `r .. r + n` see; it may end before it starts.
    #[inline(always)]
    pub fn by_all(&self, r: usize, n: usize) -> Range<usize> {
        (r + n - 1).saturating_sub(self.ahead)..self.behind.saturating_add(r + 1).min(self.len)
    }

    /// Of queries `r .. r + n`, from where to where they see key s.
    #[inline(always)]
    pub fn lanes(&self, s: usize, r: usize, n: usize) -> (usize, usize) {
        let (s, r, n) = (s as isize, r as isize, n as isize);
        let limit = |x: usize| x.min(isize::MAX as usize / 4) as isize;
        let from = (s - r - limit(self.behind)).max(0).min(n);
        let to = (s - r + limit(self.ahead) + 1).min(n).max(from);
        (from as usize, to as usize)
    }
}

/// What [`Arithmetic::softmax_columns`](super::Arithmetic::softmax_columns) works on.
#[derive(Debug)]
pub struct Columns<'a, T> {
    /// Factor of the scores, above 0.
    pub scale: T,
    /// Queries, at most [`QUERIES`].
    pub queries: usize,
    /// The keys, in the order of all sums.
    pub keys: &'a [Seen],
    /// `e^(scale (x − m))` takes the place of x; what no query of a sixteen sees is left as it is there.
    pub scores: &'a mut [[T; QUERIES]],
}

impl<T> Columns<'_, T> {
    /// Whether there are at most [`QUERIES`] queries and no keys beyond the scores, as it is.
    ///
    /// # Panics
    /// With the feature `strict`, when that is not so.
    #[must_use]
    pub(crate) fn check(&self) -> bool {
        let rows = self.scores.len();
        let inside = |run: &Seen| run.first.checked_add(run.len).is_some_and(|end| end <= rows);
        sure!(self.queries <= QUERIES && self.keys.iter().all(inside), "keys of a softmax", false);
        true
    }
}

/// [`Arithmetic::softmax_columns`](super::Arithmetic::softmax_columns) as loops for the compiler to vectorise.
#[inline(always)]
pub(super) fn softmax<T: Scalar>(c: Columns<'_, T>) -> [[T; QUERIES]; 2] {
    let mut found = [[T::ZERO; QUERIES]; 2];
    if !c.check() {
        return found;
    }
    for r in (0..c.queries).step_by(SUMS) {
        let m = largest(c.keys, c.scores, r);
        let sum = exponentials(c.scale, c.keys, c.scores, r, &m);
        for (found, new) in found.iter_mut().zip([m, sum]) {
            found.part_mut(r..r + SUMS).become_copy(&new);
        }
    }
    found
}

/// The largest score of each of sixteen queries; −∞ comes where a query does not see a key. NaN is passed over, and
/// comes back with the exponential.
#[inline(always)]
fn largest<T: Scalar>(keys: &[Seen], scores: &mut [[T; QUERIES]], r: usize) -> [T; SUMS] {
    let nothing = T::from_f64(f64::NEG_INFINITY);
    let mut m = [nothing; SUMS];
    for run in keys {
        for s in run.range(r, SUMS) {
            let (from, to) = run.lanes(s, r, SUMS);
            let Some(x) =
                scores.get_mut(run.first + s).and_then(|row| row.part_mut(r..r + SUMS).first_chunk_mut::<SUMS>())
            else {
                continue;
            };
            if to - from < SUMS {
                x.part_mut(..from).fill(nothing);
                x.part_mut(to..).fill(nothing);
            }
            for l in 0..SUMS {
                m[l] = if x[l] > m[l] { x[l] } else { m[l] };
            }
        }
    }
    m
}

/// `e^(scale (x − m))` of sixteen queries, in place; their sums.
#[inline(always)]
fn exponentials<T: Scalar>(scale: T, keys: &[Seen], scores: &mut [[T; QUERIES]], r: usize, m: &[T; SUMS]) -> [T; SUMS] {
    let mut sums = [[T::ZERO; SUMS]; SUMS];
    for run in keys {
        for s in run.range(r, SUMS) {
            let Some(x) =
                scores.get_mut(run.first + s).and_then(|row| row.part_mut(r..r + SUMS).first_chunk_mut::<SUMS>())
            else {
                continue;
            };
            // x ≤ m: no exponential is above 1, that of m is 1, and the sum is neither infinite nor 0. Of −∞ it is 0.
            let mut e = [T::ZERO; SUMS];
            for l in 0..SUMS {
                e[l] = ((x[l] - m[l]) * scale).exp();
            }
            *x = e;
            // By the key's number in the sequence: the same sum takes it wherever the keys begin.
            let sum = &mut sums[(run.lane + s) % SUMS];
            for l in 0..SUMS {
                sum[l] += e[l];
            }
        }
    }
    // The tree of all reductions over rows, for every query.
    add_half::<T, 8>(&mut sums);
    add_half::<T, 4>(&mut sums);
    add_half::<T, 2>(&mut sums);
    add_half::<T, 1>(&mut sums);
    sums[0]
}

/// One level of the tree: sums HALF .. 2 HALF onto those before them.
#[inline(always)]
fn add_half<T: Scalar, const HALF: usize>(sums: &mut [[T; SUMS]; SUMS]) {
    for i in 0..HALF {
        for l in 0..SUMS {
            sums[i][l] += sums[i + HALF][l];
        }
    }
}

/// [`Arithmetic::softmax_row`](super::Arithmetic::softmax_row) as loops for the compiler to vectorise.
#[inline(always)]
pub(super) fn row<T: Scalar>(scale: T, row: &mut [T]) -> [T; 2] {
    let (blocks, _) = row.as_chunks_mut::<SUMS>();
    let mut m = [T::from_f64(f64::NEG_INFINITY); SUMS];
    for x in blocks.iter() {
        for l in 0..SUMS {
            m[l] = if x[l] > m[l] { x[l] } else { m[l] };
        }
    }
    // The largest is the same number in any order; the sums below are not, and keep theirs.
    let m = m.iter().fold(m[0], |m, &x| if x > m { x } else { m });
    let mut sums = [T::ZERO; SUMS];
    for block in blocks {
        let mut e = [T::ZERO; SUMS];
        for l in 0..SUMS {
            e[l] = ((block[l] - m) * scale).exp();
        }
        for l in 0..SUMS {
            sums[l] += e[l];
        }
        *block = e;
    }
    [m, tree(&sums)]
}

/// [`Arithmetic::scale_rows`](super::Arithmetic::scale_rows) as loops for the compiler to vectorise.
#[inline(always)]
pub(super) fn scale_rows<T: Scalar>(factors: &[T], mut y: MatMut<'_, T>) -> bool {
    // NaN from x · 0 stays in its sum. Blocks of columns, so that the sums stay in registers over the rows.
    const WIDE: usize = 2 * SUMS;
    let mut zeros = [T::ZERO; SUMS];
    // The stride of a single row may be anything.
    let (width, stride) = (y.cols(), y.row_stride().max(y.cols()).max(1));
    let whole = width / WIDE * WIDE;
    for c in (0..whole).step_by(WIDE) {
        let mut some = [T::ZERO; WIDE];
        for (y, &factor) in y.data_mut().part_mut(c..).chunks_mut(stride).zip(factors) {
            if let Some(y) = y.first_chunk_mut::<WIDE>() {
                for l in 0..WIDE {
                    y[l] *= factor;
                    some[l] += y[l] * T::ZERO;
                }
            }
        }
        for l in 0..WIDE {
            zeros[l % SUMS] += some[l];
        }
    }
    for (y, &factor) in y.data_mut().chunks_mut(stride).zip(factors) {
        for y in y.part_mut(whole..width).chunks_mut(SUMS) {
            for (y, zero) in y.iter_mut().zip(&mut zeros) {
                *y *= factor;
                *zero += *y * T::ZERO;
            }
        }
    }
    zeros.iter().fold(true, |all, &zero| all & (zero == T::ZERO))
}
