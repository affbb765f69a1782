//! How many threads it pays to share work with just now.
//!
//! Beside a program that never rests, other threads of a pool are of little use. One that shares its core with the
//! caller begins when everything is done, and is waited for nevertheless. One whose core is taken away in the middle of
//! a task leaves everybody waiting for a time slice, some milliseconds, in which one thread alone would have finished
//! hundreds of such tasks. So it is noticed when nobody helps, and when somebody is waited for out of all proportion.
//! Then work goes to fewer threads for a while: [`ALONE`] times as long as was lost, twice as long each time it happens
//! again, at most [`AT_MOST`]. What a neighbour can cost is bounded, and a core that is free again is noticed within a
//! second. Results do not depend on it: which thread runs a task changes no bit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Shorter waits are those of a thread that wakes up, or of tasks of unequal length.
const LONG: Duration = Duration::from_micros(500);

/// A wait is out of proportion if it is this many times as long as the caller's own part of the work.
const PROPORTION: u64 = 3;

/// So long may work go without help, less [`WORTH`] times the time with help: threads that sleep need some time to
/// come.
const UNAIDED: Duration = Duration::from_millis(1);

/// A deal with help is worth this many without.
const WORTH: u64 = 4;

/// For how many times what was lost work then goes to fewer threads, the first time.
const ALONE: u64 = 32;

/// The longest time until all threads are tried again.
const AT_MOST: Duration = Duration::from_secs(1);

/// What was learned from sharing. Times are nanoseconds since `epoch`.
pub(super) struct Patience {
    epoch: Instant,
    /// Threads to do without, and until when; 0: none.
    without: AtomicUsize,
    until: AtomicU64,
    /// How long the last time without them was, and its end.
    last: AtomicU64,
    since: AtomicU64,
    /// Time without help, less that with help.
    unaided: AtomicU64,
}

/// One deal, when it has ended.
#[derive(Clone, Copy)]
pub(super) struct Dealt {
    /// When it began, and when the caller had nothing more to do.
    pub(super) begin: u64,
    pub(super) own_end: u64,
    pub(super) end: u64,
    /// Whether another thread did any of its tasks.
    pub(super) helped: bool,
}

impl Patience {
    pub(super) fn new() -> Self {
        let [until, last, since, unaided] = [const { AtomicU64::new(0) }; 4];
        Self { epoch: Instant::now(), without: AtomicUsize::new(0), until, last, since, unaided }
    }

    /// With how many of `count` threads work should be shared now: 1 or more.
    pub(super) fn threads(&self, count: usize) -> usize {
        match self.without.load(Relaxed) {
            0 => count,
            _ => self.threads_at(count, self.now()),
        }
    }

    fn threads_at(&self, count: usize, now: u64) -> usize {
        if self.until.load(Relaxed) <= now {
            self.since.store(now, Relaxed);
            self.without.store(0, Relaxed);
        }
        count.saturating_sub(self.without.load(Relaxed)).max(1)
    }

    pub(super) fn now(&self) -> u64 {
        nanoseconds(self.epoch.elapsed())
    }

    /// Learns from a deal to `count` threads.
    pub(super) fn learn(&self, count: usize, dealt: Dealt) {
        let Dealt { begin, own_end, end, helped } = dealt;
        let (own, wait) = (own_end.saturating_sub(begin), end.saturating_sub(own_end));
        if wait > nanoseconds(LONG) && wait > own.saturating_mul(PROPORTION) {
            return self.do_without(1, wait, end);
        }
        let unaided = self.unaided.load(Relaxed);
        let unaided = if helped { unaided.saturating_sub(WORTH * own) } else { unaided + own + wait };
        self.unaided.store(unaided, Relaxed);
        if unaided > nanoseconds(UNAIDED) {
            self.do_without(count, unaided, end);
        }
    }

    /// Does without so many threads more.
    fn do_without(&self, threads: usize, lost: u64, now: u64) {
        let last = self.last.load(Relaxed);
        let again = now.saturating_sub(self.since.load(Relaxed)) < last;
        let first = lost.saturating_mul(ALONE);
        let time = if again { first.max(2 * last) } else { first }.min(nanoseconds(AT_MOST));
        self.last.store(time, Relaxed);
        self.unaided.store(0, Relaxed);
        self.until.fetch_max(now.saturating_add(time), Relaxed);
        self.without.fetch_add(threads, Relaxed);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{ALONE, AT_MOST, Dealt, LONG, PROPORTION, Patience, UNAIDED, WORTH, nanoseconds};

    const MS: u64 = 1_000_000;

    /// A deal that began at `begin`, and what the caller did and how long it waited.
    fn dealt(begin: u64, own: u64, wait: u64, helped: bool) -> Dealt {
        Dealt { begin, own_end: begin + own, end: begin + own + wait, helped }
    }

    #[test]
    fn a_long_wait_takes_a_thread_away_for_a_while_and_no_longer() {
        let patience = Patience::new();
        assert_eq!(patience.threads_at(2, 5 * MS), 2);
        patience.learn(2, dealt(5 * MS, 10_000, 3 * MS, true));
        let (end, until) = (8 * MS + 10_000, 8 * MS + 10_000 + 3 * MS * ALONE);
        assert_eq!([end, until - 1, until].map(|now| patience.threads_at(2, now)), [1, 1, 2]);
        assert_eq!(patience.threads(2), 2, "the clock is not asked again");
        patience.learn(8, dealt(until, 1, 3 * MS, true));
        patience.learn(7, dealt(until + 3 * MS, 1, 3 * MS, true));
        assert_eq!(patience.threads_at(8, until + 6 * MS + 2), 6);
    }

    #[test]
    fn work_that_nobody_helps_with_stays_with_its_caller() {
        let patience = Patience::new();
        let (mut now, step) = (0, nanoseconds(UNAIDED) / 10);
        for i in 0..10 {
            assert_eq!(patience.threads_at(4, now), 4, "{i}");
            patience.learn(4, dealt(now, step, 1, false));
            now += step + 1;
        }
        assert_eq!(patience.threads_at(4, now), 1);
        // With help now and then it does not.
        let patience = Patience::new();
        for i in 0..100 {
            patience.learn(4, dealt(i * step, step, 0, i % WORTH == 0));
        }
        assert_eq!(patience.threads_at(4, 100 * step), 4);
    }

    #[test]
    fn a_neighbour_that_stays_is_tried_ever_less_and_one_that_left_is_forgotten() {
        let patience = Patience::new();
        let (mut now, mut alone) = (0, Vec::new());
        for _ in 0..8 {
            patience.learn(2, dealt(now, 1, MS, true));
            now += MS + 1;
            let first = now;
            while patience.threads_at(2, now) == 1 {
                now += MS;
            }
            alone.push(now - first);
        }
        assert_eq!(alone[..3], [ALONE * MS, 2 * ALONE * MS, 4 * ALONE * MS]);
        assert_eq!(alone[7], nanoseconds(AT_MOST));
        now += 2 * nanoseconds(AT_MOST);
        patience.learn(2, dealt(now, 1, MS, true));
        assert_eq!(patience.threads_at(2, now + 1 + MS + ALONE * MS), 2);
    }

    #[test]
    fn unequal_parts_and_short_waits_are_no_reason() {
        let patience = Patience::new();
        patience.learn(2, dealt(0, 10 * MS, 10 * MS * PROPORTION, true));
        patience.learn(2, dealt(0, 1, nanoseconds(LONG), true));
        assert_eq!(patience.threads_at(2, 0), 2);
        patience.learn(2, dealt(0, 10 * MS, 10 * MS * PROPORTION + 1, true));
        assert_eq!(patience.threads_at(2, 0), 1);
    }
}
