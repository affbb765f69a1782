//! Repeated timing of one piece of work, alone or beside what limits it.

use crate::error::Result;
use serde::Serialize;
use std::time::Instant;

/// A figure and its spread over the repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the repetitions gave more.
    pub median: f64,
    /// One in ten gave less.
    pub p10: f64,
    /// One in ten gave more.
    pub p90: f64,
}

impl Spread {
    /// Every figure times `factor`.
    pub fn times(self, factor: f64) -> Self {
        Self { median: factor * self.median, p10: factor * self.p10, p90: factor * self.p90 }
    }
}

/// Fewest repetitions, however long each takes.
const LEAST: usize = 5;

/// Runs `work` until it is warm, then for about `seconds` and at least five times; rates are `amount` a second.
pub fn sample(amount: f64, seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<Spread> {
    let start = Instant::now();
    work()?;
    while start.elapsed().as_secs_f64() < 0.1 * seconds {
        work()?;
    }
    let (mut rates, start) = (Vec::new(), Instant::now());
    while rates.len() < LEAST || start.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        work()?;
        rates.push(amount / begin.elapsed().as_secs_f64().max(1e-9));
    }
    Ok(spread(rates))
}

/// A rate, its limit, and the share of the limit that it reached.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// Of the work.
    pub rate: Spread,
    /// The highest rate that the machine allowed at the same time.
    pub limit: Spread,
    /// Of the repetitions' own shares: what slows the machine down for a while slows both.
    pub share: Spread,
    /// How often each was measured.
    pub repetitions: usize,
}

/// Runs `work` and `limit` by turns for about `seconds`, at least five times. `work` does `amount`, and is repeated
/// within a turn until it takes some milliseconds; `limit` gives the highest rate possible just then. A turn's share is
/// its rate over the mean of the limits before and behind it.
pub fn beside(
    amount: f64,
    seconds: f64,
    mut limit: impl FnMut() -> Result<f64>,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Beside> {
    const TURN: f64 = 8e-3;
    let begin = Instant::now();
    work()?;
    let once = begin.elapsed().as_secs_f64();
    let calls = if seconds > 0.0 { (TURN / once.max(1e-9)).ceil().clamp(1.0, 1e6) } else { 1.0 };
    let turn = |work: &mut dyn FnMut() -> Result<()>| {
        let begin = Instant::now();
        (0..calls as usize).try_for_each(|_| work())?;
        Result::Ok(calls * amount / begin.elapsed().as_secs_f64().max(1e-9))
    };
    turn(&mut work)?;
    let mut limits = vec![limit()?];
    let (mut rates, mut shares, start) = (Vec::new(), Vec::new(), Instant::now());
    while rates.len() < LEAST || start.elapsed().as_secs_f64() < seconds {
        let before = limits.last().copied().unwrap_or(f64::NAN);
        let rate = turn(&mut work)?;
        let behind = limit()?;
        shares.push(rate / (0.5 * (before + behind)));
        rates.push(rate);
        limits.push(behind);
    }
    let repetitions = rates.len();
    Ok(Beside { rate: spread(rates), limit: spread(limits), share: spread(shares), repetitions })
}

/// Median and deciles, between neighbours by proportion. There is at least one figure.
pub fn spread(mut figures: Vec<f64>) -> Spread {
    figures.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (figures.len() - 1) as f64;
        let (low, part) = (place.floor() as usize, place.fract());
        figures[low] + part * (figures[(low + 1).min(figures.len() - 1)] - figures[low])
    };
    Spread { median: at(0.5), p10: at(0.1), p90: at(0.9) }
}

#[cfg(test)]
mod tests {
    use super::{Spread, beside, sample, spread};

    #[test]
    fn deciles_of_eleven_and_of_one() {
        let eleven = (0..=10).rev().map(f64::from).collect();
        assert_eq!(spread(eleven), Spread { median: 5.0, p10: 1.0, p90: 9.0 });
        assert_eq!(spread(vec![3.0]), Spread { median: 3.0, p10: 3.0, p90: 3.0 });
        let mut calls = 0;
        sample(1.0, 0.0, || {
            calls += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(calls, 6);
    }

    #[test]
    fn work_and_limit_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let note = |c| order.borrow_mut().push(c);
        let limit = || {
            note('l');
            Ok(2.0)
        };
        let found = beside(1.0, 0.0, limit, || {
            note('w');
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok(())
        });
        let found = found.unwrap();
        assert_eq!(order.into_inner(), "wwlwlwlwlwlwl");
        assert_eq!((found.repetitions, found.limit.median), (5, 2.0));
        assert!((found.share.median - found.rate.median / 2.0).abs() < 1e-9 * found.share.median);
        assert_eq!(found.rate.times(2.0).p90, 2.0 * found.rate.p90);
    }
}
