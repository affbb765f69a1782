//! Series of numbers: the model reads patches of rows and predicts the next patch.

mod evaluate;

pub use evaluate::{SeriesTotals, evaluate};

use super::TaskConfig;
use crate::data::series::{Column, Gaps, Series, SeriesFingerprint, TableLayout, read};
use crate::data::{Purpose, rng};
use crate::device::Device;
use crate::model::{Head, Mode, Model, ModelConfig};
use crate::train::task::{Batch, Load, LossUnit, Task, Validation};
use crate::train::{Interrupt, RunConfig, TrainConfig};
use crate::{Error, Result};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Most patches of a batch.
const BATCH_PATCHES: usize = 1 << 26;

/// The series task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeriesConfig {
    /// A file of comma-separated numbers; `.gz` is decompressed.
    pub data: PathBuf,
    /// Rows of a patch, which is one token of the model.
    pub patch: usize,
    /// Patches of a training sequence.
    pub context: usize,
    /// Sequences of a batch.
    pub sequences: usize,
    /// Share of the rows, the last ones, that is for validation.
    pub validation: f64,
    /// Patches of a validation window, each with fresh memories.
    pub window: usize,
    /// Windows of the cheap validation during training, spread over the validation rows.
    pub cheap_windows: usize,
    /// How the file is written down: [`SeriesConfig::measure`] fills in what is not said.
    pub layout: TableLayout,
    /// The columns and how they are standardised, by the training rows: [`SeriesConfig::measure`] fills it in.
    pub columns: Vec<Column>,
}

impl Default for SeriesConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            patch: 1,
            context: 128,
            sequences: 16,
            validation: 0.1,
            window: 512,
            cheap_windows: 8,
            layout: TableLayout::default(),
            columns: Vec::new(),
        }
    }
}

impl SeriesConfig {
    /// Reads the file and takes columns, means and deviations from its training rows. Returns what was guessed about it
    /// and is worth a word, a sentence each.
    ///
    /// # Errors
    /// As [`read`] and [`Series::split`].
    pub fn measure(&mut self) -> Result<Vec<String>> {
        self.expect_policy()?;
        let read = read(&self.data, &self.layout, &[])?;
        let rows = read.series.split(self.validation, (1, 1))?;
        self.columns = read.series.measure(rows);
        let told = read.told(rows);
        self.layout = read.layout;
        Ok(told)
    }

    /// A stream of patches knows no rows before.
    fn expect_policy(&self) -> Result<()> {
        if self.layout.gaps == Gaps::Hold {
            return Err(Error::usage("--gaps hold is for --task forecast; expected refuse or mean"));
        }
        Ok(())
    }

    /// Numbers of a patch.
    pub fn width(&self) -> usize {
        self.patch.saturating_mul(self.columns.len())
    }

    fn validate(&self) -> Result<()> {
        self.expect_policy()?;
        let sizes = [
            ("patch", self.patch),
            ("context", self.context),
            ("sequences", self.sequences),
            ("window", self.window),
            ("cheap_windows", self.cheap_windows),
        ];
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > 1 << 30) {
            return Err(Error::usage(format!("task.{name}: expected 1 to {}, found {found}", 1 << 30)));
        }
        let patches = self.context.saturating_mul(self.sequences);
        if patches.saturating_mul(self.width()) > BATCH_PATCHES {
            return Err(Error::usage(format!(
                "task.context × task.sequences × numbers of a patch: expected up to {BATCH_PATCHES}, found {patches} × {}",
                self.width()
            )));
        }
        let good = |c: &Column| c.mean.is_finite() && c.deviation.is_finite() && c.deviation > 0.0;
        if self.columns.is_empty() || !self.columns.iter().all(good) {
            return Err(Error::usage(
                "task.columns: expected for every column a finite mean and a deviation above 0; titans train --data takes \
                 them from the file",
            ));
        }
        Ok(())
    }
}

/// The run that `titans train --task series` does by default on this file.
///
/// # Errors
/// As [`recipe`].
pub fn default_run(data: PathBuf) -> Result<RunConfig> {
    recipe(data, TableLayout::default()).map(|(run, _)| run)
}

/// The same of a file about which something is said, and what was guessed of it.
///
/// # Errors
/// As [`SeriesConfig::measure`] and [`TaskConfig::run`].
pub fn recipe(data: PathBuf, layout: TableLayout) -> Result<(RunConfig, Vec<String>)> {
    let mut task = SeriesConfig { data, layout, ..SeriesConfig::default() };
    let told = task.measure()?;
    let mut model =
        ModelConfig { width: 64, blocks: 2, heads: 2, head_width: 32, feed_forward: 128, ..ModelConfig::default() };
    model.alpha_bias = -4.0;
    let task = TaskConfig::Series(task);
    task.fit(&mut model)?;
    let train = TrainConfig { steps: 1000, learning_rate: 1e-3, validate_every: 100, ..TrainConfig::default() };
    Ok((task.run(model, train)?, told))
}

/// Gives the model the ends that this task needs.
pub(super) fn fit(config: &SeriesConfig, model: &mut ModelConfig) {
    (model.inputs, model.outputs) = (config.width(), config.width());
    (model.head, model.tied) = (Head::Regression, false);
}

/// The task, with its numbers.
#[derive(Clone, Debug)]
pub struct SeriesTask {
    config: SeriesConfig,
    seed: u64,
    head: Vec<f64>,
    tail: Vec<f64>,
    data: SeriesFingerprint,
    notes: Vec<String>,
}

impl SeriesTask {
    /// Reads the configuration's file.
    ///
    /// # Errors
    /// As [`read`] and [`SeriesTask::new`].
    pub fn read(config: SeriesConfig, seed: u64) -> Result<Self> {
        let read = read(&config.data, &config.layout, &config.columns)?;
        let uneven = read.uneven(&config.data);
        let notes = read.notes.into_iter().chain(uneven).collect();
        Ok(Self { notes, ..Self::new(config, &read.series, seed)? })
    }

    /// The task over `series`, whatever file the configuration names.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used, or when there are other columns or too few rows.
    pub fn new(config: SeriesConfig, series: &Series, seed: u64) -> Result<Self> {
        config.validate()?;
        let rows = config.context.saturating_add(1).saturating_mul(config.patch);
        let split = series.split(config.validation, (rows, config.patch.saturating_mul(2)))?;
        let named = |error: Error| match config.data.as_os_str().is_empty() {
            true => error,
            false => Error::file(&config.data, error.to_string()),
        };
        let mut head = series.z_scores(&config.columns).map_err(named)?;
        let tail = head.split_off(split * config.columns.len());
        let data = SeriesFingerprint::of(series);
        Ok(Self { config, seed, head, tail, data, notes: Vec::new() })
    }

    /// The standardised numbers that validation measures, row by row.
    pub fn validation_numbers(&self) -> &[f64] {
        &self.tail
    }
}

impl<D: Device> Task<D> for SeriesTask {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let SeriesConfig { context, sequences, patch, .. } = self.config;
        let (columns, width) = (self.config.columns.len(), self.config.width());
        batch.restart(sequences, context);
        let first = part * sequences as u64;
        for number in first..first + sequences as u64 {
            let last = (self.head.len() / columns - (context + 1) * patch) as u64;
            let start = rng(self.seed, Purpose::Training, step, number).random_range(0..=last) as usize;
            let numbers = &self.head[start * columns..][..(context + 1) * width];
            batch.rows.extend_from_slice(&numbers[..context * width]);
            batch.wanted.extend_from_slice(&numbers[width..]);
        }
        Ok(())
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
        (self.head.len() + self.tail.len()) * size_of::<f64>()
    }

    fn peak_loads(&self, _: &ModelConfig) -> Result<Vec<Load>> {
        Ok(vec![evaluate::load::<D::Elem>(self.tail.len(), self.config.width(), self.config.window)])
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn validate_until(
        &self,
        device: &D,
        model: &Model<D>,
        thorough: bool,
        interrupt: &Interrupt,
    ) -> Result<Validation> {
        let most = if thorough { usize::MAX } else { self.config.cheap_windows };
        let (found, _) = evaluate::run(device, model, &self.tail, (self.config.window, most), Mode::On, interrupt)?;
        Ok(Validation { loss: found.mean_squared_error, accuracy: None, tokens: found.patches })
    }
}

#[cfg(test)]
mod tests {
    use super::{SeriesConfig, SeriesTask};
    use crate::data::series::Series;
    use crate::device::cpu::Cpu;
    use crate::train::task::{Batch, Task};

    fn series(rows: usize) -> Series {
        let numbers = (0..2 * rows).map(|i| (i / 2) as f64 * if i % 2 == 0 { 1.0 } else { -3.0 }).collect();
        Series { names: vec!["a".into(), "b".into()], numbers, lines: Vec::new() }
    }

    fn config(patch: usize, context: usize) -> SeriesConfig {
        let columns = series(90).measure(90);
        SeriesConfig { patch, context, sequences: 3, columns, ..SeriesConfig::default() }
    }

    fn batch(task: &SeriesTask, step: u64, part: u64) -> Batch {
        let mut batch = Batch { ids: vec![7], targets: vec![7], batch: 9, time: 9, ..Batch::default() };
        Task::<Cpu<f32>>::batch(task, step, part, &mut batch).unwrap();
        batch.validate().unwrap();
        batch
    }

    #[test]
    fn the_next_patch_is_wanted_and_the_tail_stays_unseen() {
        let config = config(3, 7);
        let task = SeriesTask::new(config.clone(), &series(100), 1).unwrap();
        assert_eq!(task.validation_numbers().len(), 2 * 10);
        for step in 0..20 {
            let b = batch(&task, step, 0);
            assert_eq!((b.rows.len(), b.wanted.len(), b.scored()), (3 * 7 * 6, 3 * 7 * 6, 21));
            for (rows, wanted) in b.rows.chunks(7 * 6).zip(b.wanted.chunks(7 * 6)) {
                assert_eq!(rows[6..], wanted[..6 * 6]);
                let first = config.columns[0].restore(rows[0]).round();
                for (i, pair) in rows.chunks(2).chain(wanted[6 * 6..].chunks(2)).enumerate() {
                    let row = config.columns[0].restore(pair[0]);
                    assert!((row - first - i as f64).abs() < 1e-9 && row < 89.5, "{step} {i}: {row}");
                    assert!((config.columns[1].restore(pair[1]) + 3.0 * row).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn batches_are_a_function_of_seed_and_step() {
        let of =
            |sequences, seed| SeriesTask::new(SeriesConfig { sequences, ..config(2, 5) }, &series(100), seed).unwrap();
        let (small, big) = (of(2, 4), of(4, 4));
        let parts = [batch(&small, 9, 0), batch(&small, 9, 1)];
        assert_eq!([&parts[0].rows[..], &parts[1].rows[..]].concat(), batch(&big, 9, 0).rows);
        assert_ne!(parts[0].rows, parts[1].rows);
        assert_ne!(batch(&small, 10, 0).rows, parts[0].rows);
        assert_ne!(batch(&of(2, 5), 9, 0).rows, parts[0].rows);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let refused = |config: SeriesConfig, says: &str| {
            let error = SeriesTask::new(config, &series(100), 0).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        refused(config(0, 7), "task.patch");
        refused(config(1, 0), "task.context");
        refused(config(usize::MAX, 7), "task.patch");
        refused(config(1, 90), "too short");
        refused(config(6, 4), "too short"); // one patch of validation predicts nothing
        refused(SeriesConfig { columns: Vec::new(), ..config(1, 7) }, "task.columns");
        refused(SeriesConfig { sequences: 1 << 25, ..config(1, 7) }, "67108864");
        let mut spoilt = config(1, 7);
        spoilt.columns[1].deviation = 0.0;
        refused(spoilt, "task.columns");
        let mut other = config(1, 7);
        other.columns[1].name = "c".into();
        refused(other, "a, c");
    }

    #[test]
    fn other_data_do_not_continue_a_run() {
        let of = |rows| SeriesTask::new(config(1, 7), &series(rows), 0).unwrap();
        let state = Task::<Cpu<f32>>::state(&of(100));
        Task::<Cpu<f32>>::restore(&mut of(100), &state).unwrap();
        let error = Task::<Cpu<f32>>::restore(&mut of(101), &state).unwrap_err().to_string();
        assert!(error.contains("100 rows") && error.contains("changed"), "{error}");
        assert!(Task::<Cpu<f32>>::restore(&mut of(100), &serde_json::Value::Null).is_err());
    }
}
