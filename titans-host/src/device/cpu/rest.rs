//! When a second thread does more harm than good: another program holds its core, and who needs its part of the work waits for it.
//!
//! A wait that is far longer than the work itself says so. The caller then works alone for a while, and tries again: at first soon, for one
//! such wait may be chance, and later the more seldom the more often it was in vain.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shorter waits are no sign: several times what it costs to wake a thread.
const LATE: Duration = Duration::from_millis(1);
/// So many times the caller's own work is no matter of tasks that cannot be shared out evenly.
const UNEVEN: u32 = 4;
/// Longest rest, in waits.
const MOST: u32 = 64;

/// Whether to work alone, and until when.
#[derive(Debug)]
pub(super) struct Rest {
    start: Instant,
    /// Nanoseconds from the start at which the last rest ends.
    until: AtomicU64,
    /// Length of the next rest, in waits.
    next: AtomicU32,
}

impl Rest {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), until: AtomicU64::new(0), next: AtomicU32::new(1) }
    }

    /// Whether the caller should work alone now.
    pub(super) fn alone(&self) -> bool {
        // No rest yet: nobody looks at a clock.
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && self.nanoseconds(Instant::now()) < until
    }

    /// The caller's own part took from `begin` to `mine`, the last of the others to `end`.
    pub(super) fn waited(&self, begin: Instant, mine: Instant, end: Instant) {
        let (worked, wait) = (mine.duration_since(begin), end.duration_since(mine));
        if wait < LATE || wait < worked.saturating_mul(UNEVEN) {
            return;
        }
        let (now, until) = (self.nanoseconds(end), self.until.load(Ordering::Relaxed));
        let next = self.next.load(Ordering::Relaxed);
        let last = as_nanoseconds(wait).saturating_mul(next.into());
        // What went well for as long as the last rest has earned a fresh start.
        let next = if now.saturating_sub(until) > last { 1 } else { next.saturating_mul(2).min(MOST) };
        self.next.store(next, Ordering::Relaxed);
        self.until.store(now.saturating_add(as_nanoseconds(wait).saturating_mul(next.into())), Ordering::Relaxed);
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        as_nanoseconds(at.duration_since(self.start))
    }
}

fn as_nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{MOST, Rest};
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    #[test]
    fn rests_grow_while_waits_follow_them_and_begin_anew_after_good_times() {
        let rest = Rest::new();
        let ms = Duration::from_millis;
        let mut now = Instant::now() + ms(5);
        let mut wait = |good: Duration, own: Duration, wait: Duration| {
            let begin = now + good;
            now = begin + own + wait;
            rest.waited(begin, begin + own, now);
            let until = Duration::from_nanos(rest.until.load(Ordering::Relaxed));
            let left = (rest.start + until).saturating_duration_since(now);
            now = now.max(rest.start + until);
            left
        };
        assert_eq!(wait(ms(1), ms(0), Duration::from_micros(900)), ms(0), "too short to mean anything");
        assert_eq!(wait(ms(1), ms(3), ms(9)), ms(0), "uneven tasks");
        assert_eq!(wait(ms(500), ms(0), ms(3)), ms(3));
        assert_eq!([(); 4].map(|()| wait(ms(1), ms(0), ms(3))), [6, 12, 24, 48].map(ms));
        for _ in 0..9 {
            wait(ms(1), ms(0), ms(3));
        }
        assert_eq!(wait(ms(1), ms(0), ms(3)), ms(3) * MOST);
        assert_eq!(wait(ms(500), ms(0), ms(3)), ms(3), "long without a wait");
    }

    #[test]
    fn who_rests_works_alone_until_the_rest_is_over() {
        let rest = Rest::new();
        assert!(!rest.alone());
        let now = Instant::now();
        rest.waited(now, now, now + Duration::from_secs(3600));
        assert!(rest.alone());
        rest.until.store(1, Ordering::Relaxed);
        assert!(!rest.alone());
    }
}
