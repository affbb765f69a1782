//! Repeated timing of one piece of work.

use crate::error::Result;
use serde::Serialize;
use std::time::Instant;

/// A rate and its spread over the repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the repetitions were faster.
    pub median: f64,
    /// One in ten was slower.
    pub p10: f64,
    /// One in ten was faster.
    pub p90: f64,
}

/// Runs `work` until it is warm, then for about `seconds` and at least five times; rates are `amount` a second.
pub fn rates(amount: f64, seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<Spread> {
    let start = Instant::now();
    work()?;
    while start.elapsed().as_secs_f64() < 0.1 * seconds {
        work()?;
    }
    let (mut rates, start) = (Vec::new(), Instant::now());
    while rates.len() < 5 || start.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        work()?;
        rates.push(amount / begin.elapsed().as_secs_f64().max(1e-9));
    }
    Ok(spread(rates))
}

/// Median and deciles, between neighbours by proportion.
fn spread(mut rates: Vec<f64>) -> Spread {
    rates.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (rates.len() - 1) as f64;
        let (low, part) = (place.floor() as usize, place.fract());
        rates[low] + part * (rates[(low + 1).min(rates.len() - 1)] - rates[low])
    };
    Spread { median: at(0.5), p10: at(0.1), p90: at(0.9) }
}

#[cfg(test)]
mod tests {
    use super::{Spread, rates, spread};

    #[test]
    fn deciles_of_eleven_and_of_one() {
        let eleven = (0..=10).rev().map(f64::from).collect();
        assert_eq!(spread(eleven), Spread { median: 5.0, p10: 1.0, p90: 9.0 });
        assert_eq!(spread(vec![3.0]), Spread { median: 3.0, p10: 3.0, p90: 3.0 });
        let mut calls = 0;
        rates(1.0, 0.0, || {
            calls += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(calls, 6);
    }
}
