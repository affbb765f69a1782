//! How an operation's work is split: over outputs, never over a reduction, so the number of threads changes no bit.
//!
//! Tasks are dealt out in order, every thread a run of neighbours, so that a head meets the same cache from call to
//! call. A thread that is done takes what others have not begun, from the ends of their runs. Entering the pool costs
//! less than a microsecond while its threads still wait for more (they do for about a tenth of a millisecond before
//! they sleep) and allocates nothing. Where other programs hold cores, work goes to fewer threads for a while
//! (`device/cpu/patience.rs`).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, ThreadId};

use micropool::{ThreadPool, ThreadPoolBuilder};

use super::patience::{Dealt, Patience};
use crate::error::{Error, Result};

/// Less work than this is not worth a second thread: several times what entering the pool costs.
const INLINE_NS: usize = 5_000;

/// Tasks dealt out at once: they wait on the stack.
const DEAL: usize = 64;

/// A pool of threads, or none for a single one.
pub(super) struct Threads {
    pool: Option<ThreadPool>,
    count: usize,
    /// Whether the others were there when they were needed.
    patience: Patience,
    /// Less work than this many nanoseconds stays on the caller's thread.
    pub(super) inline_ns: usize,
}

impl Threads {
    /// `count` threads, 1 or more; the caller is one of them.
    pub(super) fn new(count: usize) -> Result<Self> {
        let pool = match count {
            0 => return Err(Error::usage("threads: expected 1 or more, found 0; leave the option out for all cores")),
            1 => None,
            _ => Some(pool(count - 1)?),
        };
        Ok(Self { pool, count, patience: Patience::new(), inline_ns: INLINE_NS })
    }

    /// Threads at work.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Threads that will work on `tasks` tasks that take `ns` nanoseconds together on one thread.
    pub(super) fn parts(&self, ns: usize, tasks: usize) -> usize {
        parts(self.count, self.inline_ns, ns, tasks)
    }

    /// Calls `body` on every task; `ns` is a guess at the time they take together on one thread.
    ///
    /// # Errors
    /// The error of one task that failed.
    pub(super) fn run<I: Send, E: Into<Error> + Send>(
        &self,
        ns: usize,
        tasks: impl Iterator<Item = I>,
        body: impl Fn(I) -> std::result::Result<(), E> + Sync,
    ) -> Result<()> {
        self.run_with::<I, (), E>(ns, tasks, &mut [], |task, _| body(task))
    }

    /// Like [`Threads::run`], and every thread has a part of `space` of its own: the whole cut into as many equal parts
    /// as [`Threads::parts`] says for these tasks.
    ///
    /// # Errors
    /// As [`Threads::run`].
    pub(super) fn run_with<I: Send, S: Send, E: Into<Error> + Send>(
        &self,
        ns: usize,
        tasks: impl Iterator<Item = I>,
        space: &mut [S],
        body: impl Fn(I, &mut [S]) -> std::result::Result<(), E> + Sync,
    ) -> Result<()> {
        let mut tasks = tasks;
        match &self.pool {
            Some(pool) if ns >= self.inline_ns => loop {
                let mut dealt = [const { Mutex::new(None) }; DEAL];
                let mut count = 0;
                for (slot, task) in dealt.iter_mut().zip(tasks.by_ref().take(DEAL)) {
                    *slot = Mutex::new(Some(task));
                    count += 1;
                }
                let parts = self.patience.threads(self.count).min(count);
                Deal::new(pool, &dealt[..count], &body).run(&self.patience, parts, space).map_err(Into::into)?;
                if count < DEAL {
                    return Ok(());
                }
            },
            _ => tasks.try_for_each(|task| body(task, space)).map_err(Into::into),
        }
    }

    /// Rows of a task, so that every thread gets about two: a multiple of `multiple`.
    pub(super) fn grain(&self, rows: usize, multiple: usize) -> usize {
        let tasks = if self.count == 1 { 1 } else { 2 * self.count };
        rows.div_ceil(tasks).max(1).next_multiple_of(multiple.max(1))
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Threads").field("count", &self.count).finish_non_exhaustive()
    }
}

/// [`Threads::parts`] of `count` threads.
pub(super) fn default_parts(count: usize, ns: usize, tasks: usize) -> usize {
    parts(count, INLINE_NS, ns, tasks)
}

fn parts(count: usize, inline_ns: usize, ns: usize, tasks: usize) -> usize {
    if ns < inline_ns { 1 } else { count.min(tasks).max(1) }
}

/// A pool of `count` threads besides its caller. They are started here, where the system may refuse, and handed over:
/// the pool itself would panic.
fn pool(count: usize) -> Result<ThreadPool> {
    type Job = Box<dyn FnOnce() + Send>;
    let (begins, begun) = channel();
    let start = |i: usize| -> std::io::Result<(Sender<Job>, JoinHandle<()>)> {
        let (send, receive) = channel::<Job>();
        let begins = begins.clone();
        let wait = move || {
            if let Ok(job) = receive.recv() {
                let _ = begins.send(()); // whoever made the pool waits for it
                job();
            }
        };
        Ok((send, Builder::new().name(format!("titans-{}", i + 1)).spawn(wait)?))
    };
    // Those already started end when a failure drops their senders.
    let mut started = (0..count).map(start).collect::<std::io::Result<Vec<_>>>().map_err(|e| Error::Device {
        device: "cpu",
        reason: format!("cannot start {} threads: {e}; ask for fewer", count + 1),
    })?;
    let builder = ThreadPoolBuilder::default().num_threads(count).spawn_handler(move |_, job| match started.pop() {
        // A thread waits for its job until its sender goes: sending cannot fail.
        Some((send, thread)) => send.send(job).map_or_else(|e| std::thread::spawn(e.0), |()| thread),
        None => std::thread::spawn(job),
    });
    let pool = builder.build();
    // A thread that starts late would take its blocks from the heap in the middle of the work.
    begun.iter().take(count).for_each(drop);
    Ok(pool)
}

/// One deal: the tasks, each until somebody has taken it, and what is done with them.
struct Deal<'a, I, B> {
    pool: &'a ThreadPool,
    tasks: &'a [Mutex<Option<I>>],
    body: &'a B,
    caller: ThreadId,
    /// Whether a thread besides the caller has done a task.
    helped: AtomicBool,
}

impl<'a, I: Send, B> Deal<'a, I, B> {
    fn new(pool: &'a ThreadPool, tasks: &'a [Mutex<Option<I>>], body: &'a B) -> Self {
        Self { pool, tasks, body, caller: std::thread::current().id(), helped: AtomicBool::new(false) }
    }

    /// Deals the tasks out to `parts` threads, and learns how that went.
    fn run<S: Send, E: Send>(&self, patience: &Patience, parts: usize, space: &mut [S]) -> std::result::Result<(), E>
    where
        B: Fn(I, &mut [S]) -> std::result::Result<(), E> + Sync,
    {
        if parts <= 1 {
            return self.work(0..self.tasks.len(), space);
        }
        let (begin, own_end) = (patience.now(), AtomicU64::new(0));
        let ended = || own_end.store(patience.now(), Relaxed);
        let done = self.spread(parts, 0..self.tasks.len(), space, &ended);
        let (own_end, helped) = (own_end.into_inner(), self.helped.load(Relaxed));
        patience.learn(parts, Dealt { begin, own_end, end: patience.now(), helped });
        done
    }

    /// Deals the tasks of `run` out to `parts` threads, by halves. The caller says when it has `ended`.
    fn spread<S: Send, E: Send>(
        &self,
        parts: usize,
        run: Range<usize>,
        space: &mut [S],
        ended: &(impl Fn() + Sync),
    ) -> std::result::Result<(), E>
    where
        B: Fn(I, &mut [S]) -> std::result::Result<(), E> + Sync,
    {
        if parts <= 1 {
            let done = self.work(run, space);
            if self.is_caller() {
                ended();
            }
            return done;
        }
        let left = parts / 2;
        let middle = run.start + run.len() * left / parts;
        let (x, y) = space.split_at_mut(space.len() / parts * left);
        let (a, b) = self.pool.join(
            || self.spread(left, run.start..middle, x, ended),
            || self.spread(parts - left, middle..run.end, y, ended),
        );
        a.and(b)
    }

    /// One thread: its own run in order, then what is left of the others', from their ends.
    fn work<S, E>(&self, run: Range<usize>, space: &mut [S]) -> std::result::Result<(), E>
    where
        B: Fn(I, &mut [S]) -> std::result::Result<(), E>,
    {
        // From the far ends: their owners come from the near ones, so that they meet late.
        let (before, after) = ((0..run.start).rev(), (run.end..self.tasks.len()).rev());
        let mut taken = false;
        let done = run.chain(after).chain(before).try_for_each(|i| {
            let task = self.tasks[i].lock().unwrap_or_else(PoisonError::into_inner).take();
            taken |= task.is_some();
            task.map_or(Ok(()), |task| (self.body)(task, space))
        });
        if taken && !self.is_caller() {
            self.helped.store(true, Relaxed);
        }
        done
    }

    fn is_caller(&self) -> bool {
        std::thread::current().id() == self.caller
    }
}

/// `len` rounded up, so that every thread's part of a scratch starts at a cache line.
pub(super) fn whole_lines(len: usize) -> usize {
    len.checked_next_multiple_of(16).unwrap_or(len)
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

    #[test]
    fn every_thread_has_a_space_of_its_own_and_tasks_beyond_a_deal_run_too() {
        for count in [1, 2, 3, 5] {
            let threads = Threads::new(count).unwrap();
            for tasks in [0, 1, 2, 3, 63, 64, 65, 200] {
                let parts = threads.parts(INLINE_NS, tasks);
                assert_eq!(parts, count.min(tasks).max(1));
                let mut space = vec![0usize; parts * 3];
                let mut done = vec![0; tasks];
                threads
                    .run_with(INLINE_NS, done.iter_mut().enumerate(), &mut space, |(i, done), space| {
                        // Nobody else writes here between these two lines.
                        space.iter_mut().for_each(|s| *s = i);
                        std::thread::yield_now();
                        assert!(space.len() >= 3 && space.iter().all(|&s| s == i));
                        *done = i + 1;
                        Ok::<_, Error>(())
                    })
                    .unwrap();
                assert!(done.iter().enumerate().all(|(i, &done)| done == i + 1), "{count} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn several_callers_share_the_pool() {
        let threads = Threads::new(3).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut x = [0; 10];
                        let add = |x: &mut i32| {
                            *x += 1;
                            Ok::<_, Error>(())
                        };
                        threads.run(INLINE_NS, x.iter_mut(), add).unwrap();
                        assert_eq!(x, [1; 10]);
                    }
                });
            }
        });
    }
}
