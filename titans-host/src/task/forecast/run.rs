//! The task: batches of sequences, the linear map that a new model begins with, and validation.

use super::evaluate::{Forecast, Manner, forecast, load, moments};
use super::{Baselines, ForecastConfig, Frame, Linear, Parts, SeriesTable, Tally, table};
use crate::data::series::{Dates, Series, SeriesFingerprint, read};
use crate::data::{Purpose, rng};
use crate::device::Device;
use crate::error::counted;
use crate::model::{Mode, Model, ModelConfig, Shortcut};
use crate::train::Interrupt;
use crate::train::task::{Batch, Load, LossUnit, Task, Validation};
use crate::{Error, Result};
use rand::RngExt;
use serde_json::Value;
use std::ops::Range;
use titans_kernel::Scalar;

/// The task, with its numbers.
#[derive(Clone, Debug)]
pub struct ForecastTask {
    config: ForecastConfig,
    frame: Frame,
    parts: Parts,
    table: SeriesTable,
    seed: u64,
    data: SeriesFingerprint,
    notes: Vec<String>,
    /// Rows of a season: what the configuration says, or the calendar; 0 where neither does.
    season: usize,
}

impl ForecastTask {
    /// Reads the configuration's file.
    ///
    /// # Errors
    /// As [`read`] and [`ForecastTask::new`].
    pub fn read(config: ForecastConfig, seed: u64) -> Result<Self> {
        let read = read(&config.data, &config.layout, &config.columns)?;
        let season = read.when.as_ref().and_then(Dates::season).filter(|&rows| rows <= config.lookback);
        let uneven = read.uneven(&config.data);
        let mut task = Self::new(config, &read.series, seed)?;
        if task.season == 0 {
            task.season = season.unwrap_or(0);
        }
        task.notes = read.notes;
        task.notes.extend(uneven);
        task.notes.extend(task.too_far());
        Ok(task)
    }

    /// The task over `series`, whatever file the configuration names.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used, or when there are other columns or too few rows.
    pub fn new(config: ForecastConfig, series: &Series, seed: u64) -> Result<Self> {
        config.validate()?;
        let named = |error: Error| match config.data.as_os_str().is_empty() {
            true => error,
            false => Error::file(&config.data, error.to_string()),
        };
        let (frame, parts) = (Frame::of(&config), config.split.parts(series.rows()).map_err(named)?);
        let enough = |what: &str, rows: usize, needed: usize| match rows >= needed {
            true => Ok(()),
            false => Err(named(Error::usage(format!(
                "{what}: expected {needed} rows or more (look-back {}, {} tokens {} rows apart, {} rows ahead), found {rows}; give more \
                 rows, or less --lookback, --context, --patch or --horizon",
                frame.lookback, frame.context, frame.patch, frame.horizon
            )))),
        };
        enough("the training rows", parts.train.len(), frame.reach().saturating_add(frame.horizon))?;
        enough("the validation rows", parts.valid.len(), frame.horizon)?;
        enough("the test rows", parts.test.len(), config.horizons.first().copied().unwrap_or(1))?;
        if config.season > parts.train.end {
            let rows = parts.train.end;
            return Err(Error::usage(format!(
                "--season: expected 0 to {rows}, the training rows, found {}",
                config.season
            )));
        }
        let table = table(series, &config.columns, &config.layout).map_err(named)?;
        let data = SeriesFingerprint::of(series);
        Ok(Self { season: config.season, config, frame, parts, table, seed, data, notes: Vec::new() })
    }

    /// The horizons for which there are too few test rows, if there are any: what eval will not measure.
    fn too_far(&self) -> Option<String> {
        let rows = self.parts.test.len();
        let far: Vec<String> =
            self.config.horizons.iter().filter(|&&horizon| horizon > rows).map(usize::to_string).collect();
        let few = format!("{} are too few to measure horizon {}", counted(rows, "test row"), far.join(", "));
        (!far.is_empty()).then(|| format!("{few}, which eval leaves out; give more rows, or less to --split"))
    }

    /// Sizes and places of its tokens.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Its rows' parts.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Its numbers, standardised.
    pub fn table(&self) -> &SeriesTable {
        &self.table
    }

    /// The baselines on forecasts that lie in `part`.
    ///
    /// # Errors
    /// As [`Baselines::measure`].
    pub fn baselines(&self, part: &Range<usize>) -> Result<Baselines> {
        self.measure_on(&self.table, part)
    }

    /// The same of another table in the units of the run.
    ///
    /// # Errors
    /// As [`Baselines::measure`].
    pub fn measure_on(&self, table: &SeriesTable, part: &Range<usize>) -> Result<Baselines> {
        let moments = moments(&self.frame, part, &self.config.horizons);
        let learned = (&self.table, &self.parts, self.season);
        Baselines::measure(&self.frame, learned, table, (moments, part.end), &self.config.horizons)
    }

    /// One sequence of a batch, drawn by its number: where it begins, and its lane.
    fn draw(&self, step: u64, number: u64) -> (usize, usize) {
        let mut random = rng(self.seed, Purpose::Training, step, number);
        let lane = random.random_range(0..self.frame.lanes() as u64) as usize;
        let first = self.config.horizons.first().copied().unwrap_or(1);
        // The last token's first horizon is known.
        let last = self.parts.train.end - first - (self.frame.reach() - self.frame.lookback);
        (random.random_range(self.frame.lookback as u64..=last as u64) as usize, lane)
    }
}

impl<D: Device> Task<D> for ForecastTask {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let (frame, sequences) = (&self.frame, self.config.sequences);
        batch.restart(sequences, frame.context);
        let first = part * sequences as u64;
        for number in first..first + sequences as u64 {
            let (start, lane) = self.draw(step, number);
            for t in 0..frame.context {
                let moment = start + t * frame.patch;
                let levels = frame.token(&self.table, moment, lane, &mut batch.rows);
                for row in moment..moment + frame.horizon {
                    for (&column, level) in frame.said(lane).iter().zip(&levels) {
                        let known = self.table.known(column, row).filter(|_| row < self.parts.train.end);
                        batch.wanted.push(known.map_or(0.0, |x| (x - level.shift) / level.scale));
                        batch.weights.push(known.map_or(0.0, |_| level.scale));
                    }
                }
            }
        }
        Ok(())
    }

    fn prepare(&self, device: &D, model: &mut Model<D>) -> Result<()> {
        let c = model.config();
        let Some(id) = model.params.id("shortcut.weight").filter(|_| c.shortcut != Shortcut::None) else {
            return Ok(());
        };
        let linear = Linear::fit(&self.frame, &self.table, &self.parts, &self.config.horizons)?;
        let mut weights = vec![D::Elem::ZERO; self.frame.inputs() * self.frame.outputs()];
        let (l, h, outputs) = (self.frame.lookback, self.frame.horizon, self.frame.outputs());
        let (read, said) = (self.frame.read(0), self.frame.said(0));
        for (to, column) in said.iter().enumerate() {
            let from = read.iter().position(|c| c == column).unwrap_or(0);
            for i in 0..l {
                for ahead in 0..h {
                    let place = (from * l + i) * outputs + ahead * said.len() + to;
                    weights[place] = D::Elem::from_f64(linear.weights[i * h + ahead]);
                }
            }
        }
        device.write(&weights, model.params.value_mut(id)?)
    }

    fn state(&self) -> Value {
        serde_json::to_value(self.data).unwrap_or_default()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.data.expect(state, &self.config.data)
    }

    fn unit(&self) -> LossUnit {
        LossUnit::Squares
    }

    fn held(&self) -> usize {
        self.table.rows().saturating_mul(self.table.columns.len()).saturating_mul(size_of::<f64>())
    }

    fn peak_loads(&self, _: &ModelConfig) -> Result<Vec<Load>> {
        let sequences = self.parts.valid.len().saturating_mul(self.frame.lanes());
        Ok(vec![load::<D::Elem>(&self.frame, sequences)])
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The mean of the horizons' mean squared errors.
    fn validate_until(
        &self,
        device: &D,
        model: &Model<D>,
        thorough: bool,
        interrupt: &Interrupt,
    ) -> Result<Validation> {
        let (part, horizons) = (&self.parts.valid, &self.config.horizons);
        // Every forecast counts for every horizon here.
        let all = moments(&self.frame, part, &[self.frame.horizon]);
        let step = if thorough { 1 } else { all.len().div_ceil(self.config.cheap_windows).max(1) };
        let moments: Vec<usize> = all.step_by(step).collect();
        let mut tally = Tally::new(horizons, part.end);
        let manner = Manner { mode: Mode::On, carry: false, surprise: false };
        let loss = forecast(device, model, (&self.frame, &self.table), &moments, manner, |f: Forecast<'_>| {
            let error = |(i, y): (usize, &f64)| Some(self.table.known(f.column, f.moment + i)? - y);
            tally.add(f.moment, f.said.iter().enumerate().map(error));
            interrupt.check()
        });
        let loss = match loss {
            Ok(()) => {
                tally.expect_numbers("the validation part")?;
                tally.scores().mean().mse
            }
            Err(Error::Diverged { .. }) => f64::NAN,
            Err(error) => return Err(error),
        };
        Ok(Validation { loss, accuracy: None, tokens: tally.windows() })
    }
}
