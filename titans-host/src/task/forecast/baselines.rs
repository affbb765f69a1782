//! What a forecast is worth anything against: that nothing changes, that all repeats itself, and a linear map.

use super::frame::SeriesTable;
use super::linear::Linear;
use super::scores::{Scores, Tally};
use super::{Frame, Parts};
use crate::Result;
use serde::Serialize;
use std::ops::Range;
use titans_kernel::arch::Simd;

/// Forecasts of each column by which a season is sought.
const SEEKING: usize = 100;

/// The scores of the baselines on the same windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baselines {
    /// The last row goes on.
    pub last: Scores,
    /// The last season repeats itself.
    pub seasonal: Scores,
    /// Least squares on look-backs that are measured from their level.
    pub linear: Scores,
    /// Rows of a season.
    pub season: usize,
    /// The ridge of the linear map.
    pub ridge: f64,
}

impl Baselines {
    /// Leaves other horizons out than these.
    pub fn keep(&mut self, horizons: &[usize]) {
        for scores in [&mut self.last, &mut self.seasonal, &mut self.linear] {
            scores.0.retain(|horizon, _| horizons.contains(horizon));
        }
    }

    /// Measures all of them on forecasts from `moments`, of which every row before `end` counts. Season and linear map
    /// come from the training rows of `learned`.
    ///
    /// # Errors
    /// As [`Linear::fit`].
    pub fn measure(
        frame: &Frame,
        learned: (&SeriesTable, &Parts, usize),
        table: &SeriesTable,
        (moments, end): (Range<usize>, usize),
        horizons: &[usize],
    ) -> Result<Self> {
        let (training, parts, season) = learned;
        let season = if season > 0 { season } else { seek_season(frame, training, parts.train.end, horizons) };
        let linear = Linear::fit(frame, training, parts, horizons)?;
        let mut tally = Tally::new(horizons, end);
        linear.measure(&Simd::best(), frame, table, moments.clone(), &mut tally)?;
        Ok(Self {
            last: repeated(frame, table, 1, moments.clone(), Tally::new(horizons, end)),
            seasonal: repeated(frame, table, season, moments, Tally::new(horizons, end)),
            linear: tally.scores(),
            season,
            ridge: linear.ridge,
        })
    }
}

/// The scores of repeating the last `season` rows.
fn repeated(
    frame: &Frame,
    table: &SeriesTable,
    season: usize,
    moments: impl Iterator<Item = usize> + Clone,
    mut tally: Tally,
) -> Scores {
    for &column in &frame.targets {
        for moment in moments.clone().filter(|&moment| moment >= season) {
            let numbers = &table.columns[column];
            let error = |i: usize| Some(table.known(column, moment + i)? - numbers[moment - season + i % season]);
            tally.add(moment, (0..frame.horizon).map(error));
        }
    }
    tally.scores()
}

/// The number of rows, below the look-back, whose repetition forecasts the training rows best and better than one row
/// more or less does; 1 where there is none.
fn seek_season(frame: &Frame, table: &SeriesTable, end: usize, horizons: &[usize]) -> usize {
    let first = horizons.iter().copied().min().unwrap_or(1);
    let moments = frame.lookback..(end + 1).saturating_sub(first);
    let step = moments.len().div_ceil(SEEKING).max(1);
    let error = |season: usize| {
        let tally = Tally::new(&[first], end);
        repeated(&Frame { horizon: first, ..frame.clone() }, table, season, moments.clone().step_by(step), tally)
            .mean()
            .mse
    };
    let errors: Vec<f64> = (1..=frame.lookback).map(error).collect();
    // A season is better than those beside it: that little changes in a row or two is none.
    let seasons =
        (1..errors.len().saturating_sub(1)).filter(|&i| errors[i] < errors[i - 1] && errors[i] < errors[i + 1]);
    seasons.min_by(|&a, &b| errors[a].total_cmp(&errors[b])).map_or(1, |i| i + 1)
}
