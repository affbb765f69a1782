//! Errors of forecasts, by horizon.

use crate::error::{Error, Result};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The mean errors of one horizon, in standardised units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Of the squares.
    pub mse: f64,
    /// Of the absolute values.
    pub mae: f64,
}

/// Horizons and their scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores(pub BTreeMap<usize, Score>);

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(horizon, score)| (horizon.to_string(), score)))
    }
}

impl Scores {
    /// The mean over the horizons.
    pub fn mean(&self) -> Score {
        let n = self.0.len().max(1) as f64;
        let of = |value: fn(&Score) -> f64| self.0.values().map(value).sum::<f64>() / n;
        Score { mse: of(|s| s.mse), mae: of(|s| s.mae) }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    squares: f64,
    absolute: f64,
    numbers: u64,
}

/// Adds up errors. A forecast counts for every horizon whose rows all lie in the part that is measured.
#[derive(Clone, Debug)]
pub struct Tally {
    sums: BTreeMap<usize, Sums>,
    /// The first row that is not measured any more.
    end: usize,
    /// Forecasts of the first horizon.
    windows: u64,
}

impl Tally {
    /// Nothing yet, for these horizons and the rows before `end`.
    pub fn new(horizons: &[usize], end: usize) -> Self {
        Self { sums: horizons.iter().map(|&h| (h, Sums::default())).collect(), end, windows: 0 }
    }

    /// The forecast of one column from the row `moment` on: `wanted` and what was said, row by row; rows that are not
    /// known have none. Returns the mean square of the longest horizon that counts.
    pub fn add(&mut self, moment: usize, errors: impl Iterator<Item = Option<f64>>) -> Option<f64> {
        let (mut run, mut longest) = (Sums::default(), None);
        let mut horizons = self.sums.iter_mut().filter(|(h, _)| moment + **h <= self.end).peekable();
        self.windows += u64::from(horizons.peek().is_some());
        for (h, error) in errors.enumerate() {
            if let Some(error) = error {
                run.squares += error * error;
                run.absolute += error.abs();
                run.numbers += 1;
            }
            if let Some((_, sums)) = horizons.next_if(|(horizon, _)| **horizon == h + 1) {
                sums.squares += run.squares;
                sums.absolute += run.absolute;
                sums.numbers += run.numbers;
                longest = (run.numbers > 0).then(|| run.squares / run.numbers as f64);
            }
            if horizons.peek().is_none() {
                break;
            }
        }
        longest
    }

    /// Forecasts of the first horizon so far, of each column.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Nothing, if every horizon has a number that was compared.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the first horizon that has none, where `part` lacks the numbers of the columns that are
    /// forecast.
    pub fn expect_numbers(&self, part: &str) -> Result<()> {
        match self.sums.iter().find(|(_, sums)| sums.numbers == 0) {
            None => Ok(()),
            Some((horizon, _)) => Err(Error::usage(format!(
                "{part} has no number to compare with within {horizon} rows of any forecast: it ends before, or the columns that are \
                 forecast are missing there; give more rows, or rows that have them, or forecast others (--target)"
            ))),
        }
    }

    /// The means; NaN where nothing was measured.
    pub fn scores(&self) -> Scores {
        let score = |s: &Sums| Score { mse: s.squares / s.numbers as f64, mae: s.absolute / s.numbers as f64 };
        Scores(self.sums.iter().map(|(&h, sums)| (h, score(sums))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn a_forecast_counts_for_the_horizons_that_it_fills() {
        let mut tally = Tally::new(&[3, 1], 10);
        let errors = [2.0, -1.0, 4.0, 9.0].map(Some);
        assert_eq!(tally.add(7, errors.into_iter()), Some(7.0));
        assert_eq!(tally.add(8, errors.into_iter()), Some(4.0));
        assert_eq!(tally.add(10, errors.into_iter()), None);
        let scores = tally.scores();
        assert_eq!((scores.0[&1].mse, scores.0[&1].mae), (4.0, 2.0));
        assert!((scores.0[&3].mse - 7.0).abs() < 1e-12 && (scores.0[&3].mae - 7.0 / 3.0).abs() < 1e-12);
        assert_eq!((tally.windows(), scores.mean().mse), (2, 5.5));
        assert_eq!(serde_json::to_value(&scores).unwrap()["3"]["mse"], 7.0);
    }

    #[test]
    fn what_is_not_known_is_no_error() {
        let mut tally = Tally::new(&[2], 9);
        tally.add(0, [None, Some(3.0)].into_iter());
        assert_eq!(tally.scores().0[&2].mse, 9.0);
        assert!(Tally::new(&[2], 9).scores().0[&2].mse.is_nan());
        tally.expect_numbers("the part").unwrap();
        let error = Tally::new(&[2], 9).expect_numbers("the part").unwrap_err().to_string();
        assert!(error.contains("the part has no number") && error.contains("within 2 rows"), "{error}");
    }
}
