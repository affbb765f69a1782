//! From arguments to the configuration of a run.

mod foreign;
mod often;
mod own;
mod spoken;

use super::classify::ClassifyArgs;
use super::forecast::ForecastArgs;
use super::layout::{LayoutArgs, tell};
use super::model::ModelArgs;
use super::names;
use super::places::{absolute, set, split};
use super::room;
use crate::cli::options::{count, explained, named, number, size, whole};
use crate::data::series::TableLayout;
use crate::data::track::Group;
use crate::device::Boundaries;
use crate::error::{Error, Result};
use crate::model::{Choice, Preset};
use crate::task::{TaskConfig, TaskName, classify, forecast, recall, series, text, track};
use crate::train::RunConfig;
use own::OwnArgs;
use std::path::PathBuf;

/// What a new run is. Whatever is not given comes from `--config`, or else from the task's recipe.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// What is learned [default: recall]
    #[arg(long, value_parser = explained(names::task))]
    task: Option<TaskName>,

    /// Files of text, one after the other (of FASTA, named .fa, .fna, .faa or .fasta, the sequences alone, a line end
    /// between them), or one of comma-separated numbers (series, forecast); the last tenth is for validation (of
    /// forecasts see --split); or of sequences with labels (classify), CSV or FASTA; .gz is read as it is
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// Byte-level BPE (text, classify, needle, babilong): a tokenizer.json, or a vocab.json with its merges.txt beside
    /// it [default: bytes]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// Rows of a patch, which are read and predicted together (series) [default: 1], or rows from one token to the next
    /// (forecast) [default: 24]
    #[arg(long, value_name = "N", value_parser = size)]
    patch: Option<usize>,

    /// Training, validation and test: ett-hour or ett-minute (12, 4 and 4 months of 30 days), or the shares of the
    /// first two (forecast) [default: 0.7,0.1]; enwik8 (90, 5 and 5 million bytes), or such shares (text) [default: 0.9
    /// and 0.1, no test]
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,

    #[command(flatten)]
    layout: LayoutArgs,

    #[command(flatten)]
    forecast: ForecastArgs,

    #[command(flatten)]
    classify: ClassifyArgs,

    #[command(flatten)]
    own: OwnArgs,

    /// Most pairs of a sequence (recall) [default: 16]
    #[arg(long, value_name = "N", value_parser = size)]
    pairs: Option<usize>,

    /// The group whose products are tracked (track): parity, s3, z60, a5 or s5 [default: parity]
    #[arg(long, value_name = "NAME", value_parser = named::<Group>())]
    group: Option<Group>,
    /// Tokens that say one element, each a step of the memory (track) [default: parity 1; s3, z60, a5 2; s5 4]
    #[arg(long, value_name = "N", value_parser = size)]
    micro_steps: Option<usize>,

    /// Lengths of the table at the end (recall) [default: 256,512,1024,2048,4096] (track) [default: 16,64,256,1024]; of
    /// eval (needle, babilong)
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = count)]
    lengths: Vec<usize>,

    /// A run's config.toml to start from; the other options change it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Seed of the first weights and of every batch
    #[arg(long, value_name = "N", value_parser = whole)]
    seed: Option<u64>,

    #[command(flatten)]
    model: ModelArgs,

    /// Highest learning rate
    #[arg(long, value_name = "X", help_heading = "Training", allow_negative_numbers = true, value_parser = number)]
    learning_rate: Option<f64>,
    /// Sequences of a batch (text, series, forecast, classify), or tokens of one (recall, track, needle, babilong)
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = size)]
    batch: Option<usize>,
    /// Tokens or patches of a training sequence (classify: the most that are read of one); the longest of the
    /// curriculum (recall, track, needle, babilong)
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = size)]
    context: Option<usize>,
    /// Batches whose gradients are added up to one step, over all processes [default: 1, or one a process]
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = whole)]
    accumulate: Option<u64>,
    /// Share of the steps whose sequences begin with the memories of the text before them instead of fresh ones (text)
    /// [default: 0; without a number: 0.5]
    #[arg(long, value_name = "P", num_args = 0..=1, default_missing_value = "0.5", help_heading = "Training", allow_negative_numbers = true, value_parser = number)]
    carry: Option<f64>,
    /// Share of what each block adds to the stream that a training step drops, against overfitting, 0 to below 1
    /// [default: 0; text that is read more than four times: 0.1; forecast: 0.2]
    #[arg(long, value_name = "P", help_heading = "Training", allow_negative_numbers = true, value_parser = number)]
    dropout: Option<f64>,
    /// By what the learning rate of memories' gates is multiplied [default: 1; parity: 30; needle, recall by lmm: 10]
    #[arg(long, value_name = "X", help_heading = "Training", allow_negative_numbers = true, value_parser = number)]
    gate_rate: Option<f64>,
    /// Chunk boundaries of the memories that wait for the backward; sqrt takes less memory and more time
    #[arg(long, value_parser = named::<Boundaries>(), help_heading = "Training")]
    boundaries: Option<Boundaries>,
    /// Keep only the blocks' inputs and compute the blocks again in the backward: less memory, more time
    #[arg(long, help_heading = "Training")]
    recompute: bool,
}

impl ConfigArgs {
    /// Puts the places where a run's data lie now into its task, and says whether any was given.
    ///
    /// # Errors
    /// [`Error::Usage`] for a task that has no such data.
    pub fn moved(&self, task: &mut TaskConfig) -> Result<bool> {
        self.foreign(task)?;
        match task {
            TaskConfig::Recall(_) | TaskConfig::Track(_) => {}
            TaskConfig::Text(c) => {
                self.texts(&mut c.data, &mut c.tokenizer)?;
            }
            TaskConfig::Classify(c) => {
                self.texts(&mut c.data, &mut c.tokenizer)?;
                self.classify.places(c)?;
            }
            TaskConfig::Series(c) => {
                if !self.data.is_empty() {
                    c.data = self.series(TaskName::Series)?;
                }
            }
            TaskConfig::Forecast(c) => {
                if !self.data.is_empty() {
                    c.data = self.series(TaskName::Forecast)?;
                }
            }
            task => self.own_places(task)?,
        }
        let own = self.classify.names_rows() || self.own.names_files();
        Ok(own || !self.data.is_empty() || self.tokenizer.is_some())
    }

    /// Whether it is said where the data lie.
    pub fn names_data(&self) -> bool {
        !self.data.is_empty()
    }

    /// Whether it is said where the vocabulary lies.
    pub fn names_tokenizer(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// The first option that says something about a new run, by name: none of them fits to `--resume`. Where data lie
    /// is no part of it.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--task", self.task.is_some()),
            ("--patch", self.patch.is_some()),
            ("--split", self.split.is_some()),
            ("--pairs", self.pairs.is_some()),
            ("--group", self.group.is_some()),
            ("--micro-steps", self.micro_steps.is_some()),
            ("--lengths", !self.lengths.is_empty()),
            ("--config", self.config.is_some()),
            ("--seed", self.seed.is_some()),
            ("--learning-rate", self.learning_rate.is_some()),
            ("--batch", self.batch.is_some()),
            ("--context", self.context.is_some()),
            ("--accumulate", self.accumulate.is_some()),
            ("--carry", self.carry.is_some()),
            ("--dropout", self.dropout.is_some()),
            ("--gate-rate", self.gate_rate.is_some()),
            ("--boundaries", self.boundaries.is_some()),
            ("--recompute", self.recompute),
        ];
        let own = options.into_iter().find(|(_, given)| *given).map(|(name, _)| name);
        let own =
            own.or_else(|| self.layout.given()).or_else(|| self.forecast.given()).or_else(|| self.classify.given());
        let own = own.or_else(|| self.own.given());
        own.or_else(|| self.model.given())
    }

    /// The configuration of a new run.
    ///
    /// # Errors
    /// Options that contradict each other or the configuration file.
    pub fn run_config(&self) -> Result<RunConfig> {
        let mut run = self.base()?;
        let mut task = TaskConfig::of(&run)?;
        self.foreign(&task)?;
        if self.change_task(&mut task)? {
            task.fit(&mut run.model)?;
        }
        run = task.run(run.model, run.train)?;
        self.model.change(&mut run.model);
        self.forecast.change_model(&mut run.model);
        let train = &mut run.train;
        set(&mut train.learning_rate, self.model.preset.and_then(Preset::learning_rate));
        set(&mut train.seed, self.seed);
        set(&mut train.learning_rate, self.learning_rate);
        set(&mut train.accumulate, self.accumulate);
        set(&mut train.dropout, self.dropout);
        set(&mut train.gate_rate, self.gate_rate);
        set(&mut train.boundaries, self.boundaries);
        train.recompute |= self.recompute;
        run.validate()?;
        self.model.expect_meaning(&run.model)?;
        Ok(run)
    }

    fn base(&self) -> Result<RunConfig> {
        let mut run = match (&self.config, self.task.unwrap_or(TaskName::Recall)) {
            (Some(path), _) => return RunConfig::read(path),
            (None, TaskName::Recall) => {
                return recall::default_run(self.model.layers.unwrap_or(1), &self.model.block);
            }
            (None, TaskName::Track) => {
                return track::default_run(self.group.unwrap_or_default(), self.model.layers.unwrap_or(1));
            }
            (None, TaskName::Text) => text::default_run(Vec::new())?,
            (None, TaskName::Classify) => {
                let mut task = classify::ClassifyConfig::default();
                self.change_classify(&mut task)?;
                room::expect_data(&TaskConfig::Classify(task.clone()))?;
                let file = task.data.first().cloned().unwrap_or_default();
                let (run, told) = classify::recipe(task, self.classify.said())?;
                tell(&file, &told);
                run
            }
            (None, TaskName::Series) => {
                let file = self.series(TaskName::Series)?;
                let task = series::SeriesConfig { data: file.clone(), ..series::SeriesConfig::default() };
                room::expect_data(&TaskConfig::Series(task))?;
                let (run, told) = series::recipe(file.clone(), self.layout.said(TableLayout::default()))?;
                tell(&file, &told);
                run
            }
            (None, TaskName::Forecast) => {
                let file = self.series(TaskName::Forecast)?;
                let mut task = forecast::ForecastConfig { data: file.clone(), ..forecast::ForecastConfig::default() };
                task.layout = self.layout.said(task.layout);
                self.change_forecast(&mut task)?;
                room::expect_data(&TaskConfig::Forecast(task.clone()))?;
                let (run, told) = forecast::recipe(task)?;
                tell(&file, &told);
                run
            }
            (None, name) => return self.own_base(name),
        };
        run.model.set_layers(self.model.layers.unwrap_or(1));
        Ok(run)
    }

    /// Puts the options into the task, and says whether the model must be fitted to it.
    fn change_task(&self, task: &mut TaskConfig) -> Result<bool> {
        match task {
            TaskConfig::Recall(c) => {
                set(&mut c.length, self.context);
                set(&mut c.tokens, self.batch);
                set(&mut c.pairs, self.pairs);
                if !self.lengths.is_empty() {
                    c.lengths.clone_from(&self.lengths);
                }
                // Every pair has a key of its own.
                let more = c.pairs > c.alphabet.keys && self.pairs.is_some();
                if more {
                    c.alphabet.keys = c.pairs;
                }
                Ok(more)
            }
            TaskConfig::Track(c) => {
                set(&mut c.group, self.group);
                set(&mut c.micro_steps, self.micro_steps);
                set(&mut c.length, self.context);
                set(&mut c.tokens, self.batch);
                if !self.lengths.is_empty() {
                    c.lengths.clone_from(&self.lengths);
                }
                Ok(self.group.is_some() || self.micro_steps.is_some())
            }
            TaskConfig::Text(c) => {
                self.texts(&mut c.data, &mut c.tokenizer)?;
                if c.data.is_empty() {
                    return Err(Error::usage("--task text needs --data FILE…: text to learn from"));
                }
                set(&mut c.context, self.context);
                set(&mut c.sequences, self.batch);
                set(&mut c.carry, self.carry);
                c.split = split(self.split.as_deref())?.or(c.split);
                Ok(self.tokenizer.is_some())
            }
            TaskConfig::Classify(c) => {
                let anew = self.config.is_some() && (!self.data.is_empty() || self.classify.given().is_some());
                self.change_classify(c)?;
                if anew {
                    if self.context.is_none() {
                        c.context = 0;
                    }
                    let (_, told) = c.measure(self.classify.said())?;
                    tell(&c.data[0], &told);
                }
                Ok(anew)
            }
            TaskConfig::Series(c) => {
                let said = self.layout.said(c.layout.clone());
                let other = !self.data.is_empty() && self.series(TaskName::Series)? != c.data;
                // What was found out about one file is no more than a guess about another.
                let anew = other || (self.config.is_some() && self.layout.given().is_some());
                if other {
                    c.data = self.series(TaskName::Series)?;
                }
                if anew {
                    c.layout = if other { self.layout.said(TableLayout::default()) } else { said };
                    let told = c.measure()?;
                    tell(&c.data, &told);
                }
                set(&mut c.patch, self.patch);
                set(&mut c.context, self.context);
                set(&mut c.sequences, self.batch);
                Ok(anew || self.patch.is_some())
            }
            TaskConfig::Forecast(c) => {
                let other = !self.data.is_empty() && self.series(TaskName::Forecast)? != c.data;
                let given = self.layout.given().is_some() || self.split.is_some();
                let anew = other || (self.config.is_some() && given);
                if other {
                    c.data = self.series(TaskName::Forecast)?;
                }
                self.change_forecast(c)?;
                if anew {
                    let before = if other { TableLayout::default() } else { c.layout.clone() };
                    c.layout = self.layout.said(before);
                    let told = c.measure()?;
                    tell(&c.data, &told);
                }
                Ok(true)
            }
            task => self.change_own(task),
        }
    }

    /// Puts the options into a classification task.
    fn change_classify(&self, c: &mut classify::ClassifyConfig) -> Result<()> {
        self.texts(&mut c.data, &mut c.tokenizer)?;
        if c.data.is_empty() {
            return Err(Error::usage("--task classify needs --data FILE…: sequences with labels, CSV or FASTA"));
        }
        self.classify.change(c)?;
        set(&mut c.context, self.context);
        set(&mut c.sequences, self.batch);
        Ok(())
    }

    /// Puts the options into a forecasting task.
    fn change_forecast(&self, c: &mut forecast::ForecastConfig) -> Result<()> {
        self.forecast.change(c)?;
        c.split = split(self.split.as_deref())?.unwrap_or(c.split.clone());
        set(&mut c.patch, self.patch);
        set(&mut c.context, self.context);
        set(&mut c.sequences, self.batch);
        Ok(())
    }

    /// The files of a text and its vocabulary, as far as they are given.
    fn texts(&self, data: &mut Vec<PathBuf>, tokenizer: &mut Option<PathBuf>) -> Result<()> {
        if !self.data.is_empty() {
            *data = self.data.iter().map(|path| absolute("--data", path)).collect::<Result<_>>()?;
        }
        if let Some(path) = &self.tokenizer {
            *tokenizer = Some(absolute("--tokenizer", path)?);
        }
        Ok(())
    }

    /// The one file of a series.
    fn series(&self, task: TaskName) -> Result<PathBuf> {
        match &self.data[..] {
            [file] => absolute("--data", file),
            files => {
                let (task, found) = (task.name(), files.len());
                Err(Error::usage(format!("--task {task} needs --data FILE.csv: expected one file, found {found}")))
            }
        }
    }
}
