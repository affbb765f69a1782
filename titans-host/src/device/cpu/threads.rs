//! How an operation's work is split: over outputs, never over a reduction, so the number of threads changes no bit.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Waking the threads from outside of the pool costs about a quarter of this.
const INLINE_NS: usize = 40_000;

/// A pool of threads, or none for a single one.
#[derive(Debug)]
pub(super) struct Threads {
    pool: Option<rayon::ThreadPool>,
    count: usize,
    /// Less work than this many nanoseconds stays on the caller's thread.
    pub(super) inline_ns: usize,
}

impl Threads {
    /// `count` threads, 1 or more.
    pub(super) fn new(count: usize) -> Result<Self> {
        let pool = match count {
            0 => return Err(Error::usage("threads: expected 1 or more, found 0; leave the option out for all cores")),
            1 => None,
            _ => {
                let builder = rayon::ThreadPoolBuilder::new().num_threads(count);
                let pool = builder.thread_name(|i| format!("titans-{i}")).build();
                Some(pool.map_err(|e| Error::Device {
                    device: "cpu",
                    reason: format!("cannot start {count} threads: {e}; ask for fewer"),
                })?)
            }
        };
        Ok(Self { pool, count, inline_ns: INLINE_NS })
    }

    /// Threads at work.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Calls `body` on every task; `ns` is a guess at the time they take together on one thread.
    ///
    /// # Errors
    /// The error of one task that failed.
    pub(super) fn run<I: Send, E: Into<Error> + Send>(
        &self,
        ns: usize,
        tasks: impl Iterator<Item = I>,
        body: impl Fn(I) -> std::result::Result<(), E> + Sync + Send,
    ) -> Result<()> {
        match &self.pool {
            Some(pool) if ns >= self.inline_ns => {
                let tasks: Vec<I> = tasks.collect();
                pool.install(|| tasks.into_par_iter().with_max_len(1).try_for_each(body)).map_err(Into::into)
            }
            _ => {
                let mut tasks = tasks;
                tasks.try_for_each(body).map_err(Into::into)
            }
        }
    }

    /// Rows of a task, so that every thread gets about two: a multiple of `multiple`.
    pub(super) fn grain(&self, rows: usize, multiple: usize) -> usize {
        let tasks = if self.count == 1 { 1 } else { 2 * self.count };
        rows.div_ceil(tasks).max(1).next_multiple_of(multiple.max(1))
    }
}

/// Cuts `rows` rows of `width` elements into tasks of `grain` rows. Nothing comes out where there is nothing to write.
pub(super) fn split_rows<T>(x: &mut [T], width: usize, grain: usize) -> impl Iterator<Item = (Range<usize>, &mut [T])> {
    let (width, grain) = (width.max(1), grain.max(1));
    x.chunks_mut(grain.saturating_mul(width)).enumerate().map(move |(i, chunk)| {
        let first = i * grain;
        (first..first + chunk.len() / width, chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::{INLINE_NS, Threads, split_rows};
    use titans_kernel::Error;

    #[test]
    fn every_row_comes_once_whatever_the_split() {
        for rows in [0, 1, 7, 8, 9, 31] {
            for grain in [1, 3, 8, 40] {
                let mut x = vec![0; rows * 3];
                let mut seen = 0;
                for (range, chunk) in split_rows(&mut x, 3, grain) {
                    assert_eq!((range.start, range.len() * 3), (seen, chunk.len()));
                    seen = range.end;
                }
                assert_eq!(seen, rows);
            }
        }
        assert_eq!(split_rows::<f32>(&mut [], 0, 0).count(), 0);
    }

    #[test]
    fn tasks_all_run_and_an_error_comes_back() {
        for count in [1, 2, 3] {
            let threads = Threads::new(count).unwrap();
            for ns in [0, INLINE_NS] {
                let mut x = [0; 100];
                threads
                    .run(ns, x.iter_mut(), |x| {
                        *x += 1;
                        Ok::<_, Error>(())
                    })
                    .unwrap();
                assert_eq!(x, [1; 100]);
                let fails = |i| if i == 57 { Err(Error::Value { what: "x", index: i }) } else { Ok(()) };
                assert!(threads.run(ns, 0..100, fails).unwrap_err().to_string().contains("x[57]"));
            }
        }
        assert!(Threads::new(0).is_err());
    }
}
