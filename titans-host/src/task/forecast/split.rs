//! Which rows a forecaster learns from, chooses by and is measured on.

use crate::data::expect_shares;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Rows of a month of 30 days, hour by hour.
const MONTH: usize = 30 * 24;

/// How rows are shared out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// 12, 4 and 4 months of 30 days, hour by hour; rows behind them are not used.
    EttHour,
    /// The same by quarters of an hour.
    EttMinute,
    /// Shares of the rows for training and validation; the rest is the test.
    Shares(f64, f64),
}

impl Default for Split {
    fn default() -> Self {
        Self::Shares(0.7, 0.1)
    }
}

impl std::str::FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let share = |x: &str| x.trim().parse::<f64>().ok();
        match text {
            "ett-hour" => Ok(Self::EttHour),
            "ett-minute" => Ok(Self::EttMinute),
            _ => match text.split_once(',').and_then(|(a, b)| share(a).zip(share(b))) {
                Some((train, valid)) => Ok(Self::Shares(train, valid)),
                None => Err("expected ett-hour, ett-minute, or two shares as 0.7,0.1 (training, validation)".into()),
            },
        }
    }
}

/// Where the parts of a table begin and end. What is forecast lies in its part; what is looked back at may lie before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Rows that are learned from.
    pub train: Range<usize>,
    /// Rows by which the best checkpoint is chosen.
    pub valid: Range<usize>,
    /// Rows that are measured.
    pub test: Range<usize>,
}

impl Split {
    /// The parts of so many rows.
    ///
    /// # Errors
    /// [`Error::Usage`] for shares that are none, and for too few rows.
    pub fn parts(&self, rows: usize) -> Result<Parts> {
        let (train, valid, end) = match *self {
            Self::EttHour => (12 * MONTH, 16 * MONTH, 20 * MONTH),
            Self::EttMinute => (48 * MONTH, 64 * MONTH, 80 * MONTH),
            Self::Shares(train, valid) => {
                expect_shares(train, valid)?;
                // As the benchmarks count: the first and the last part are rounded down, the middle is what is left.
                let test = (rows as f64 * (1.0 - train - valid) + 1e-9) as usize;
                ((rows as f64 * train + 1e-9) as usize, rows - test, rows)
            }
        };
        if end > rows {
            return Err(Error::usage(format!("--split: expected {end} rows or more for this one, found {rows}")));
        }
        Ok(Parts { train: 0..train, valid: train..valid, test: valid..end })
    }
}

#[cfg(test)]
mod tests {
    use super::Split;

    #[test]
    fn parts_are_those_of_the_benchmarks() {
        let parts = Split::EttHour.parts(17_420).unwrap();
        assert_eq!((parts.train.end, parts.valid.end, parts.test.end), (8640, 11_520, 14_400));
        let parts = Split::EttMinute.parts(69_680).unwrap();
        assert_eq!((parts.train.end, parts.valid.end, parts.test.end), (34_560, 46_080, 57_600));
        let parts = Split::Shares(0.7, 0.1).parts(52_696).unwrap();
        assert_eq!((parts.train.end, parts.valid.end, parts.test.end), (36_887, 42_157, 52_696));
        let parts = Split::Shares(0.7, 0.1).parts(7588).unwrap();
        assert_eq!((parts.train.end, parts.test.start), (5311, 6071));
    }

    #[test]
    fn what_is_no_split_is_refused() {
        for text in ["", "ett", "0.7", "0.7;0.1", "a,b"] {
            assert!(text.parse::<Split>().is_err(), "{text}");
        }
        for (train, valid) in [(0.0, 0.1), (0.7, 0.3), (f64::NAN, 0.1), (0.7, -0.1), (0.7, f64::INFINITY)] {
            assert!(Split::Shares(train, valid).parts(100).is_err());
        }
        assert!(Split::EttHour.parts(14_399).unwrap_err().to_string().contains("14400"));
    }
}
