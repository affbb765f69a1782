//! What is learned and measured: recall, text, series of numbers and forecasts of them, classes of sequences, state
//! tracking, needles, questions about stories; and studies, which compare configurations by them.

pub mod babilong;
pub mod classify;
pub mod curriculum;
pub mod evaluate;
pub mod forecast;
pub mod generate;
pub mod growth;
pub mod hidden;
mod judged;
pub mod language;
pub mod needle;
pub mod pieces;
mod plan;
pub mod reader;
pub mod recall;
pub mod runnable;
pub mod series;
pub mod study;
pub mod table;
pub mod text;
pub mod track;

pub use crate::train::task::{Batch, Task, Validation};

use crate::data::alphabet::Reading;
use crate::data::tokenizer::Tokenizer;
use crate::device::Device;
use crate::model::{Choice, Head, ModelConfig};
use crate::train::{RunConfig, TrainConfig};
use crate::{Error, Result};
use babilong::{BabilongConfig, BabilongTask};
use classify::{ClassifyConfig, ClassifyTask};
use forecast::{ForecastConfig, ForecastTask, Frame};
use needle::{NeedleConfig, NeedleTask};
use recall::{Recall, RecallConfig};
use serde::{Deserialize, Serialize};
use series::{SeriesConfig, SeriesTask};
use text::{Text, TextConfig};
use titans_kernel::choice;
use track::{Track, TrackConfig};

/// How `titans study` can be of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StudyBy {
    /// Options say all that it needs.
    Options,
    /// A study's file says what options do not.
    File,
    /// It cannot.
    Nothing,
}

/// What options and studies want to know of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskFacts {
    /// How studies can be of it.
    pub study: StudyBy,
    /// Whether it learns from the files of `--data`, and from nothing else.
    pub from_files: bool,
    /// Whether its sequences are as long as they are: no study of it is by length.
    pub own_lengths: bool,
    /// Where its sequences end and so make no stream: what to do with a run of it instead.
    pub ends: Option<&'static str>,
}

impl TaskFacts {
    /// Sequences that are made, of any length, and no study.
    const MADE: Self = Self { study: StudyBy::Nothing, from_files: false, own_lengths: false, ends: None };
}

/// What is done with sequences of a made task.
pub const MEASURED: &str = "titans eval measures it";

/// Declares the tasks: what each is, its configuration, its name in configurations and on the command line, and its
/// facts.
macro_rules! tasks {
    ($($(#[$about:meta])* $variant:ident($config:ty) = $code:literal, $name:literal, $facts:expr;)+) => {
        choice! {
            /// What is learned.
            pub enum TaskName: "task" {
                $($(#[$about])* $variant = $code, $name;)+
            }
        }

        /// The task's part of a [`RunConfig`].
        ///
        /// ```
        /// use titans_host::device::cpu::Cpu;
        /// use titans_host::model::ModelConfig;
        /// use titans_host::task::recall::RecallConfig;
        /// use titans_host::task::{self, TaskConfig};
        /// use titans_host::train::{LossUnit, TrainConfig};
        ///
        /// let task = TaskConfig::Recall(RecallConfig::default());
        /// let mut model = ModelConfig::default();
        /// task.fit(&mut model)?; // its vocabulary
        /// let config = task.run(model, TrainConfig::default())?;
        /// assert_eq!(TaskConfig::of(&config)?, task);
        /// let opened = task::open::<Cpu<f32>>(&config)?; // ready for a `Trainer`
        /// assert_eq!(opened.unit(), LossUnit::Nats);
        /// # Ok::<(), titans_host::Error>(())
        /// ```
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum TaskConfig {
            $($(#[$about])* #[serde(rename = $name)] $variant($config),)+
        }

        impl TaskName {
            /// What options and studies want to know of it.
            pub const fn facts(self) -> TaskFacts {
                match self {
                    $(Self::$variant => $facts,)+
                }
            }
        }

        impl TaskConfig {
            /// Which task it is of.
            pub fn task(&self) -> TaskName {
                match self {
                    $(Self::$variant(_) => TaskName::$variant,)+
                }
            }
        }
    };
}

tasks! {
    /// Key–value pairs in noise.
    Recall(RecallConfig) = 0, "recall", TaskFacts { study: StudyBy::Options, ends: Some(MEASURED), ..TaskFacts::MADE };
    /// Text, byte by byte or token by token.
    Text(TextConfig) = 1, "text", TaskFacts { study: StudyBy::Options, from_files: true, ..TaskFacts::MADE };
    /// Series of numbers, patch by patch.
    Series(SeriesConfig) = 2, "series", TaskFacts { from_files: true, ..TaskFacts::MADE };
    /// Forecasts of series of numbers.
    Forecast(ForecastConfig) = 3, "forecast", TaskFacts {
        study: StudyBy::Options,
        from_files: true,
        own_lengths: true,
        ..TaskFacts::MADE
    };
    /// Products of a finite group.
    Track(TrackConfig) = 4, "track", TaskFacts { study: StudyBy::Options, ends: Some(MEASURED), ..TaskFacts::MADE };
    /// Classes of sequences.
    Classify(ClassifyConfig) = 5, "classify", TaskFacts {
        study: StudyBy::Options,
        from_files: true,
        own_lengths: true,
        ends: Some("titans classify says of which class they are"),
    };
    /// Needles in haystacks.
    Needle(NeedleConfig) = 6, "needle", TaskFacts { study: StudyBy::Options, ..TaskFacts::MADE };
    /// Questions about stories in noise.
    Babilong(BabilongConfig) = 7, "babilong", TaskFacts { study: StudyBy::File, ..TaskFacts::MADE };
}

impl TaskConfig {
    /// The task's part of `config`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used.
    pub fn of(config: &RunConfig) -> Result<Self> {
        serde_json::from_value(config.task.clone()).map_err(|e| Error::usage(format!("task: {e}")))
    }

    /// A whole run of this task.
    ///
    /// # Errors
    /// [`Error::Usage`] when the task's configuration cannot be written down, e.g. a path that is not Unicode.
    pub fn run(&self, model: ModelConfig, train: TrainConfig) -> Result<RunConfig> {
        let task = serde_json::to_value(self).map_err(|e| Error::usage(format!("task: {e}")))?;
        Ok(RunConfig { task, model, train })
    }

    /// The task's name in configurations and on the command line.
    pub fn name(&self) -> &'static str {
        self.task().name()
    }

    /// Gives a model the vocabulary or the ends that this task needs.
    ///
    /// # Errors
    /// As [`Tokenizer::open`].
    pub fn fit(&self, model: &mut ModelConfig) -> Result<()> {
        match self {
            Self::Recall(c) => model.vocabulary = c.alphabet.vocabulary(),
            Self::Text(c) => model.vocabulary = Tokenizer::open(c.tokenizer.as_deref())?.vocabulary(),
            Self::Series(c) => series::fit(c, model),
            Self::Forecast(c) => forecast::fit(c, model),
            Self::Track(c) => c.fit(model),
            Self::Classify(c) => classify::fit(c, model)?,
            Self::Needle(c) => model.vocabulary = Tokenizer::open(c.tokenizer.as_deref())?.vocabulary(),
            Self::Babilong(c) => model.vocabulary = Tokenizer::open(c.tokenizer.as_deref())?.vocabulary(),
        }
        Ok(())
    }
}

/// The task of a run, ready to train: text and series are read from their files.
///
/// # Errors
/// [`Error::Usage`] for a configuration that cannot be used; what reading the data reports.
pub fn open<D: Device>(config: &RunConfig) -> Result<Box<dyn Task<D>>> {
    let (model, seed) = (&config.model, config.train.seed);
    let same = |field: &str, what: &str, needed: usize, found: usize| match needed == found {
        true => Ok(()),
        false => Err(Error::usage(format!("model.{field}: this task has {needed} {what}, found {found}"))),
    };
    let task = TaskConfig::of(config)?;
    let head = match task {
        TaskConfig::Series(_) | TaskConfig::Forecast(_) => Head::Regression,
        TaskConfig::Recall(_)
        | TaskConfig::Text(_)
        | TaskConfig::Track(_)
        | TaskConfig::Needle(_)
        | TaskConfig::Babilong(_) => Head::Tokens,
        TaskConfig::Classify(_) => Head::Classes,
    };
    if model.head != head {
        return Err(Error::usage(format!(
            "model.head: the task {} trains {}, found {}",
            task.name(),
            head.name(),
            model.head.name()
        )));
    }
    Ok(match task {
        TaskConfig::Recall(c) => {
            same("vocabulary", "symbols", c.alphabet.vocabulary(), model.vocabulary)?;
            Box::new(Recall::new(c, seed)?)
        }
        TaskConfig::Text(c) => {
            let name = c.tokenizer.as_ref().map_or("bytes".into(), |path| path.display().to_string());
            let text = Text::read(c, seed)?;
            let (needed, found) = (text.tokenizer().vocabulary(), model.vocabulary);
            if needed != found {
                return Err(Error::usage(format!("model.vocabulary: {name} has {needed} symbols, the model {found}")));
            }
            Box::new(text)
        }
        TaskConfig::Series(c) => {
            same("inputs", "numbers a patch", c.width(), model.inputs)?;
            same("outputs", "numbers a patch", c.width(), model.outputs)?;
            Box::new(SeriesTask::read(c, seed)?)
        }
        TaskConfig::Forecast(c) => {
            let frame = Frame::of(&c);
            same("inputs", "numbers a token", frame.inputs(), model.inputs)?;
            same("outputs", "numbers a forecast", frame.outputs(), model.outputs)?;
            Box::new(ForecastTask::read(c, seed)?)
        }
        TaskConfig::Classify(c) => {
            let task = ClassifyTask::read(c, seed, config.train.accumulate)?;
            match task.encoder().words().reading {
                Reading::Words => same("vocabulary", "words", task.encoder().vocabulary(), model.vocabulary)?,
                Reading::Windows => same("inputs", "numbers a token", task.encoder().inputs(), model.inputs)?,
            }
            same("outputs", "classes", task.config().classes.len(), model.outputs)?;
            Box::new(task)
        }
        TaskConfig::Babilong(c) => {
            let task = BabilongTask::read(c, seed)?;
            same("vocabulary", "symbols", task.tokenizer().vocabulary(), model.vocabulary)?;
            Box::new(task)
        }
        TaskConfig::Needle(c) => {
            let task = NeedleTask::read(c, seed)?;
            same("vocabulary", "symbols", task.tokenizer().vocabulary(), model.vocabulary)?;
            Box::new(task)
        }
        TaskConfig::Track(c) => {
            let task = Track::new(c, seed)?;
            same("vocabulary", "spellings of its group's elements", task.config().vocabulary(), model.vocabulary)?;
            Box::new(task)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{TaskConfig, open};
    use crate::device::cpu::Cpu;
    use crate::model::{Choice, Head, ModelConfig};
    use crate::task::recall::RecallConfig;
    use crate::task::text::TextConfig;
    use crate::train::TrainConfig;

    #[test]
    fn a_head_that_the_task_cannot_train_is_refused_by_name() {
        for task in [TaskConfig::Recall(RecallConfig::default()), TaskConfig::Text(TextConfig::default())] {
            for head in [Head::Classes, Head::Regression] {
                let model = ModelConfig { head, outputs: 256, tied: false, ..ModelConfig::default() };
                let run = task.run(model, TrainConfig::default()).unwrap();
                let error = open::<Cpu<f32>>(&run).err().unwrap().to_string();
                assert!(error.contains("model.head") && error.contains(head.name()), "{error}");
            }
        }
    }
}
