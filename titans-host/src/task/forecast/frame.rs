//! How a series becomes tokens: each token is the look-back that ends at one moment, and is followed by a forecast.

use super::{Channels, ForecastConfig, Normalise};

/// Added to the variance of a look-back, in standardised units: one that is constant has no scale of its own.
const FLOOR: f64 = 1e-5;

/// Standardised numbers, column by column.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesTable {
    /// Of each column, the numbers over time; where one is missing, what stands for it.
    pub columns: Vec<Vec<f64>>,
    /// Of each column, whether the number is missing in the file; empty where none is.
    pub missing: Vec<Vec<bool>>,
}

impl SeriesTable {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// The number of a column at a row, if it was measured.
    pub fn known(&self, column: usize, row: usize) -> Option<f64> {
        let missing = self.missing.get(column).and_then(|m| m.get(row)).copied().unwrap_or(false);
        self.columns.get(column)?.get(row).copied().filter(|_| !missing)
    }
}

/// What a token's numbers were made of, and predictions are made into: number = said · scale + shift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// What was taken away.
    pub shift: f64,
    /// What the rest was divided by, above 0.
    pub scale: f64,
}

/// The sizes and places of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Rows that a token sees.
    pub lookback: usize,
    /// Rows from one token to the next.
    pub patch: usize,
    /// Tokens of a sequence.
    pub context: usize,
    /// Rows that are forecast after each token.
    pub horizon: usize,
    /// Columns of the table.
    pub columns: usize,
    /// The columns that are forecast.
    pub targets: Vec<usize>,
    /// What is taken away from a look-back and put back.
    pub normalise: Normalise,
    /// Whether columns have sequences of their own.
    pub channels: Channels,
}

impl Frame {
    /// That of a configuration.
    pub fn of(config: &ForecastConfig) -> Self {
        Self {
            lookback: config.lookback,
            patch: config.patch,
            context: config.context,
            horizon: config.horizons.iter().copied().max().unwrap_or(1),
            columns: config.columns.len(),
            targets: config.targets(),
            normalise: config.normalise,
            channels: config.channels,
        }
    }

    /// Sequences that a moment has.
    pub fn lanes(&self) -> usize {
        if self.channels == Channels::Mixed { 1 } else { self.targets.len() }
    }

    /// Columns that a lane reads.
    pub fn read(&self, lane: usize) -> Vec<usize> {
        match self.channels {
            Channels::Mixed => (0..self.columns).collect(),
            Channels::Independent => self.targets.get(lane..=lane).unwrap_or_default().to_vec(),
        }
    }

    /// Columns that a lane forecasts.
    pub fn said(&self, lane: usize) -> &[usize] {
        match self.channels {
            Channels::Mixed => &self.targets,
            Channels::Independent => self.targets.get(lane..=lane).unwrap_or_default(),
        }
    }

    /// Numbers of a token: the look-back of each column read, the logarithms of their scales, and which lane it is.
    pub fn inputs(&self) -> usize {
        let columns = if self.channels == Channels::Mixed { self.columns } else { 1 };
        columns.saturating_mul(self.lookback).saturating_add(columns * self.scales()).saturating_add(self.marks())
    }

    /// Numbers of a forecast: the columns of the first row ahead, those of the second …
    pub fn outputs(&self) -> usize {
        self.horizon.saturating_mul(if self.channels == Channels::Mixed { self.targets.len() } else { 1 })
    }

    /// Rows that a forecast behind a whole sequence has seen.
    pub fn reach(&self) -> usize {
        self.context.saturating_sub(1).saturating_mul(self.patch).saturating_add(self.lookback)
    }

    fn scales(&self) -> usize {
        usize::from(self.normalise == Normalise::Instance)
    }

    /// One number a lane says which one it is; a single lane needs none.
    fn marks(&self) -> usize {
        if self.lanes() > 1 { self.lanes() } else { 0 }
    }

    /// Appends the token of a lane that has seen the rows before `moment` (at least the look-back of them), and says
    /// how the columns that are forecast were normalised.
    pub fn token(&self, table: &SeriesTable, moment: usize, lane: usize, out: &mut Vec<f64>) -> Vec<Level> {
        let read = self.read(lane);
        let mut levels = Vec::with_capacity(read.len());
        for &column in &read {
            let window = &table.columns[column][moment - self.lookback..moment];
            let level = self.normalise.level(window);
            out.extend(window.iter().map(|x| (x - level.shift) / level.scale));
            levels.push(level);
        }
        if self.scales() > 0 {
            out.extend(levels.iter().map(|level| level.scale.ln()));
        }
        out.extend((0..self.marks()).map(|other| if other == lane { 1.0 } else { 0.0 }));
        let of = |column: &usize| read.iter().position(|c| c == column).and_then(|i| levels.get(i)).copied();
        self.said(lane).iter().filter_map(of).collect()
    }
}

impl Normalise {
    /// What a window's numbers are measured from, and in which unit.
    pub fn level(self, window: &[f64]) -> Level {
        let n = window.len().max(1) as f64;
        let mean = window.iter().sum::<f64>() / n;
        match self {
            Self::Instance => {
                let variance = window.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                Level { shift: mean, scale: (variance + FLOOR).sqrt() }
            }
            Self::Mean => Level { shift: mean, scale: 1.0 },
            Self::Last => Level { shift: window.last().copied().unwrap_or(0.0), scale: 1.0 },
            Self::None => Level { shift: 0.0, scale: 1.0 },
        }
    }
}
