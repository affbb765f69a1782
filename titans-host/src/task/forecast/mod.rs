//! Forecasting: the model reads look-backs and says what the next rows will be.
//!
//! A token is the look-back that ends at one moment ([`Frame`]), normalised by itself; a sequence is tokens a few rows
//! apart, and after each the model forecasts. The memories thus see one forecast's situation after another, and may go
//! on doing so without an end.

mod baselines;
mod evaluate;
mod frame;
mod linear;
mod run;
mod scores;
mod split;

pub use baselines::Baselines;
pub use evaluate::{Forecast, Manner, forecast, moments};
pub use frame::{Frame, Level, SeriesTable};
pub use linear::Linear;
pub use run::ForecastTask;
pub use scores::{Score, Scores, Tally};
pub use split::{Parts, Split};

use super::TaskConfig;
use crate::data::series::{Column, Dates, Series, TableLayout, read};
use crate::error::brief;
use crate::model::{Head, ModelConfig, Shortcut};
use crate::train::{RunConfig, TrainConfig};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use titans_kernel::choice;

/// Most numbers of a batch's tokens or forecasts.
const BATCH_NUMBERS: usize = 1 << 26;

choice! {
    /// What is taken away from a look-back before it is read, and put back into its forecast.
    #[derive(Default)]
    pub enum Normalise: "normalise" {
        /// Its mean, and its deviation by division.
        #[default]
        Instance = 0, "instance";
        /// Its mean.
        Mean = 1, "mean";
        /// Its last number.
        Last = 2, "last";
        /// Nothing.
        None = 3, "none";
    }
}

choice! {
    /// Whether a model reads columns one by one or together.
    #[derive(Default)]
    pub enum Channels: "channels" {
        /// Every column is a sequence of its own; the weights are shared.
        #[default]
        Independent = 0, "independent";
        /// A token holds the look-backs of all columns.
        Mixed = 1, "mixed";
    }
}

/// The forecasting task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForecastConfig {
    /// A file of comma-separated numbers; `.gz` is decompressed.
    pub data: PathBuf,
    /// Rows ahead that are measured, rising; the model forecasts the most of them.
    pub horizons: Vec<usize>,
    /// Rows that a token sees.
    pub lookback: usize,
    /// Rows from one token to the next.
    pub patch: usize,
    /// Tokens of a sequence.
    pub context: usize,
    /// Sequences of a batch.
    pub sequences: usize,
    /// Which rows are learned from, chosen by and measured.
    pub split: Split,
    /// The columns that are forecast; empty for all.
    pub target: Vec<String>,
    /// What is taken away from a look-back.
    pub normalise: Normalise,
    /// Columns one by one or together.
    pub channels: Channels,
    /// Rows after which the seasonal baseline repeats itself; 0: sought in the training rows.
    pub season: usize,
    /// Moments of the cheap validation during training, spread over the validation rows.
    pub cheap_windows: usize,
    /// How the file is written down: [`ForecastConfig::measure`] fills in what is not said.
    pub layout: TableLayout,
    /// The columns and how they are standardised, by the training rows: [`ForecastConfig::measure`] fills it in.
    pub columns: Vec<Column>,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            horizons: vec![96],
            lookback: 336,
            patch: 24,
            context: 4,
            sequences: 64,
            split: Split::default(),
            target: Vec::new(),
            normalise: Normalise::Instance,
            channels: Channels::Independent,
            season: 0,
            cheap_windows: 128,
            layout: TableLayout::default(),
            columns: Vec::new(),
        }
    }
}

impl ForecastConfig {
    /// Reads the file and takes columns, means and deviations from its training rows. Returns what is worth a word, a
    /// sentence each.
    ///
    /// # Errors
    /// As [`read`] and [`Split::parts`].
    pub fn measure(&mut self) -> Result<Vec<String>> {
        let read = read(&self.data, &self.layout, &[])?;
        let named = |error: Error| Error::file(&self.data, error.to_string());
        let rows = self.split.parts(read.series.rows()).map_err(named)?.train.end;
        self.columns = read.series.measure(rows);
        let mut told = read.told(rows);
        if read.when.is_none() && read.dates.len() > 1 {
            let again = Dates::repeated(&read.dates).map_or(String::new(), |row| {
                let (line, text) = (read.series.lines.get(row).copied().unwrap_or_default(), &read.dates[row]);
                format!("; line {line} has {} of an earlier row again", brief(text))
            });
            let first = brief(&read.dates[0]);
            told.push(format!("dates as {first} are not understood: forecasts will number their rows{again}"));
        }
        self.layout = read.layout;
        Ok(told)
    }

    /// The columns that are forecast, by their numbers.
    pub fn targets(&self) -> Vec<usize> {
        let is = |name: &String| self.target.is_empty() || self.target.contains(name);
        self.columns.iter().enumerate().filter(|(_, c)| is(&c.name)).map(|(i, _)| i).collect()
    }

    fn validate(&self) -> Result<()> {
        let sizes = [
            ("lookback", self.lookback),
            ("patch", self.patch),
            ("context", self.context),
            ("sequences", self.sequences),
            ("cheap_windows", self.cheap_windows),
        ];
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > 1 << 24) {
            return Err(Error::usage(format!("task.{name}: expected 1 to {}, found {found}", 1 << 24)));
        }
        let rising = self.horizons.windows(2).all(|pair| pair[0] < pair[1]);
        let far = self.horizons.iter().all(|h| (1..=1 << 20).contains(h));
        if self.horizons.is_empty() || !rising || !far {
            return Err(Error::usage(format!(
                "task.horizons: expected rising numbers of rows, 1 to {}, found {:?}",
                1 << 20,
                self.horizons
            )));
        }
        let good = |c: &Column| c.mean.is_finite() && c.deviation.is_finite() && c.deviation > 0.0;
        if self.columns.is_empty() || !self.columns.iter().all(good) {
            return Err(Error::usage(
                "task.columns: expected for every column a finite mean and a deviation above 0; titans train --data takes \
                 them from the file",
            ));
        }
        if let Some(name) = self.target.iter().find(|name| self.columns.iter().all(|c| c.name != **name)) {
            let known = self.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::usage(format!("--target {name}: expected one of the columns {known}")));
        }
        let frame = Frame::of(self);
        let tokens = self.sequences.saturating_mul(self.context);
        let numbers = tokens.saturating_mul(frame.inputs().max(frame.outputs()));
        if numbers > BATCH_NUMBERS {
            return Err(Error::usage(format!(
                "task: a batch of {tokens} tokens with {} numbers in and {} out: expected up to {BATCH_NUMBERS} numbers; make \
                 --batch, --context, --lookback or --horizon smaller, or --channels independent",
                frame.inputs(),
                frame.outputs()
            )));
        }
        Ok(())
    }
}

/// The run that `titans train --task forecast` does by default, and what is worth a word about its file.
///
/// # Errors
/// As [`ForecastConfig::measure`] and [`TaskConfig::run`].
pub fn recipe(mut task: ForecastConfig) -> Result<(RunConfig, Vec<String>)> {
    let told = task.measure()?;
    let mut model = ModelConfig {
        width: 64,
        blocks: 2,
        heads: 2,
        head_width: 32,
        feed_forward: 128,
        shortcut: Shortcut::Fixed,
        ..ModelConfig::default()
    };
    model.alpha_bias = -4.0;
    let task = TaskConfig::Forecast(task);
    task.fit(&mut model)?;
    let train =
        TrainConfig { steps: 500, learning_rate: 1e-3, validate_every: 50, dropout: 0.2, ..TrainConfig::default() };
    Ok((task.run(model, train)?, told))
}

/// Gives the model the ends that this task needs.
pub(super) fn fit(config: &ForecastConfig, model: &mut ModelConfig) {
    let frame = Frame::of(config);
    (model.inputs, model.outputs) = (frame.inputs(), frame.outputs());
    (model.head, model.tied) = (Head::Regression, false);
}

/// A series in the units of a run.
///
/// # Errors
/// As [`Series::z_scores`].
pub fn table(series: &Series, columns: &[Column], layout: &TableLayout) -> Result<SeriesTable> {
    let numbers = series.filled(columns, layout)?;
    let width = columns.len().max(1);
    let of = |c: usize| numbers.iter().skip(c).step_by(width).copied().collect();
    let gap = |c: usize| series.numbers.iter().skip(c).step_by(width).map(|x| x.is_nan()).collect();
    let gaps = series.numbers.iter().any(|x| x.is_nan());
    Ok(SeriesTable {
        columns: (0..columns.len()).map(of).collect(),
        missing: if gaps { (0..columns.len()).map(gap).collect() } else { Vec::new() },
    })
}
