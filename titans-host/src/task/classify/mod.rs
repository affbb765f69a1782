//! Classification of sequences: the model reads one token by token, and says after each what class it is.
//!
//! Of a whole sequence the mean of what is said after all tokens counts, or what is said after the last one; either way
//! a stream gives what a batch gives. Of DNA both strands may be read.

mod baselines;
mod evaluate;
mod logistic;
mod measure;
mod run;
mod scores;

pub use baselines::{Baseline, ClassBaselines};
pub use evaluate::{Judging, judge};
pub use logistic::Logistic;
pub use measure::ChosenReading;
pub use run::{ClassifyTask, Example};
pub use scores::{ClassScores, likeliest};

use super::TaskConfig;
use crate::data::alphabet::{Encoder, Letters, Reading, Words};
use crate::data::labelled::{Labelled, LabelledColumns, LabelledRow, read};
use crate::data::tokenizer::Tokenizer;
use crate::error::brief;
use crate::model::{Head, ModelConfig};
use crate::train::{RunConfig, TrainConfig};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use titans_kernel::{Choice, choice};

/// Most classes.
const CLASSES: usize = 4096;
/// Most ids or numbers of a batch.
const BATCH_NUMBERS: usize = 1 << 26;

choice! {
    /// Which of the tokens' logits are those of their sequence.
    #[derive(Default)]
    pub enum Pooling: "pooling" {
        /// Their mean.
        #[default]
        Mean = 0, "mean";
        /// Those after the last one.
        Last = 1, "last";
    }
}

/// The classification task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifyConfig {
    /// Files of sequences with labels to learn from, CSV or FASTA; `.gz` is unpacked.
    pub data: Vec<PathBuf>,
    /// Those by which the best checkpoint is chosen; empty: a share of the rows of `data`.
    pub valid: Vec<PathBuf>,
    /// Those that `titans eval` measures; training does not open them.
    pub test: Vec<PathBuf>,
    /// The columns of CSV files.
    pub columns: LabelledColumns,
    /// What the sequences are made of.
    pub alphabet: Letters,
    /// The characters of the alphabet `characters`, in order: [`ClassifyConfig::measure`] finds them.
    pub letters: String,
    /// The vocabulary of the alphabet `bpe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// What the model reads of the letters.
    pub words: Words,
    /// Training reads either strand of DNA, by chance, and what is said of both is averaged.
    pub both_strands: bool,
    /// Which tokens count.
    pub pooling: Pooling,
    /// Most tokens of a sequence; what is behind them is not read. 0: as many as the longest of training has, 1,024 at
    /// the most ([`ClassifyConfig::measure`] fills it in).
    pub context: usize,
    /// Sequences of a batch.
    pub sequences: usize,
    /// Share of the letters that training hides, by chance: they are unknown ones.
    pub hide: f64,
    /// Share of the rows of `data` that is for validation, where `valid` names no files.
    pub validation: f64,
    /// Rows of the cheap validation during training, spread over those that there are.
    pub cheap_rows: usize,
    /// The classes, in order: [`ClassifyConfig::measure`] finds them.
    pub classes: Vec<String>,
}

impl Default for ClassifyConfig {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            valid: Vec::new(),
            test: Vec::new(),
            columns: LabelledColumns::default(),
            alphabet: Letters::Dna,
            letters: String::new(),
            tokenizer: None,
            words: Words::default(),
            both_strands: false,
            pooling: Pooling::Mean,
            context: 0,
            sequences: 64,
            hide: 0.0,
            validation: 0.1,
            cheap_rows: 4096,
            classes: Vec::new(),
        }
    }
}

impl ClassifyConfig {
    /// What makes tokens of sequences.
    ///
    /// # Errors
    /// As [`Encoder::new`] and [`Tokenizer::open`].
    pub fn encoder(&self) -> Result<Encoder> {
        let tokenizer = match (self.alphabet, &self.tokenizer) {
            (Letters::Bpe, None) => {
                return Err(Error::usage("--alphabet bpe needs --tokenizer FILE: a byte-level BPE vocabulary"));
            }
            (Letters::Bpe, path) => Tokenizer::open(path.as_deref())?,
            (other, Some(_)) => {
                let name = other.name();
                return Err(Error::usage(format!("--tokenizer is for --alphabet bpe, found {name}; leave one out")));
            }
            (_, None) => Tokenizer::Bytes,
        };
        Encoder::new(self.alphabet, &self.letters, tokenizer, self.words)
    }

    /// What is to be said where a file of the test is learned from, or chooses the best checkpoint.
    fn test_file_in_use(&self) -> Option<String> {
        let used = |test: &&PathBuf| self.data.contains(test) || self.valid.contains(test);
        let path = self.test.iter().find(used)?.display();
        Some(format!(
            "{path} is given for the test and for training or validation too: its figures say nothing of new rows"
        ))
    }

    fn validate(&self) -> Result<()> {
        let sizes = [("context", self.context), ("sequences", self.sequences), ("cheap_rows", self.cheap_rows)];
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > 1 << 24) {
            return Err(Error::usage(format!("task.{name}: expected 1 to {}, found {found}", 1 << 24)));
        }
        if !(0.0..1.0).contains(&self.hide) {
            return Err(Error::usage(format!("--hide: expected 0 to below 1, found {}", self.hide)));
        }
        if !(self.validation > 0.0 && self.validation < 1.0) {
            let found = self.validation;
            return Err(Error::usage(format!("task.validation: expected between 0 and 1, found {found}")));
        }
        for (name, files) in [("data", &self.data), ("valid", &self.valid), ("test", &self.test)] {
            let twice = |(i, path): &(usize, &PathBuf)| files[..*i].contains(path);
            if let Some((_, path)) = files.iter().enumerate().find(twice) {
                return Err(Error::usage(format!(
                    "--{name}: expected every file once, found {} again",
                    path.display()
                )));
            }
        }
        if self.both_strands && self.alphabet != Letters::Dna {
            let name = self.alphabet.name();
            return Err(Error::usage(format!("--both-strands is for --alphabet dna, found {name}")));
        }
        if !(2..=CLASSES).contains(&self.classes.len()) {
            let found = self.classes.len();
            return Err(Error::usage(format!(
                "task.classes: expected 2 to {CLASSES}, found {found}; titans train finds them"
            )));
        }
        Ok(())
    }

    fn expect_batch(&self, encoder: &Encoder) -> Result<()> {
        let width = if self.words.reading == Reading::Windows { encoder.inputs() } else { 1 };
        let tokens = self.sequences.saturating_mul(self.context);
        if tokens.saturating_mul(width) > BATCH_NUMBERS {
            return Err(Error::usage(format!(
                "task: a batch of {} sequences of up to {} tokens with {width} numbers each: expected up to {BATCH_NUMBERS} numbers; make \
                 --batch, --context or --word smaller",
                self.sequences, self.context
            )));
        }
        Ok(())
    }

    /// The rows of some files as examples: letters' numbers, and the classes where the files have them and they are
    /// `wanted`.
    ///
    /// # Errors
    /// As [`read`]; [`Error::File`] naming line and letter of what is not in the alphabet, or the class that training
    /// does not know.
    pub fn examples(&self, encoder: &Encoder, files: &[PathBuf], wanted: bool) -> Result<(Vec<Example>, Labelled)> {
        let read = read(files, &self.columns, wanted)?;
        let example = |row: &LabelledRow| {
            let numbers = encoder.numbers(&row.sequence).map_err(|e| place(files, row, &e))?;
            let class = match row.label.as_deref().filter(|_| wanted) {
                Some(label) => Some(self.class(label).ok_or_else(|| {
                    let known = self.classes.iter().take(8).map(|c| brief(c)).collect::<Vec<_>>().join(", ");
                    let more = if self.classes.len() > 8 { ", …" } else { "" };
                    let found = brief(label);
                    let reason = format!("label {found}: expected a class of the training's, {known}{more}");
                    place(files, row, &Error::usage(reason))
                })?),
                None => None,
            };
            Ok(Example { numbers, class: class.unwrap_or(0) })
        };
        Ok((read.rows.iter().map(example).collect::<Result<_>>()?, read))
    }

    /// The number of a class.
    pub fn class(&self, label: &str) -> Option<u32> {
        self.classes.iter().position(|class| class == label).map(|i| i as u32)
    }
}

/// An error about a row.
fn place(files: &[PathBuf], row: &LabelledRow, error: &Error) -> Error {
    let file = files.get(row.file).cloned().unwrap_or_default();
    Error::file(file, format!("line {}: {error}", row.line))
}

/// Epochs of a run whose steps nobody gives.
const EPOCHS: usize = 5;

/// The run that `titans train --task classify` does by default, and what is worth a word about its files.
///
/// # Errors
/// As [`ClassifyConfig::measure`] and [`TaskConfig::run`].
pub fn recipe(mut task: ClassifyConfig, said: ChosenReading) -> Result<(RunConfig, Vec<String>)> {
    let (rows, told) = task.measure(ChosenReading { anew: true, ..said })?;
    let mut model = ModelConfig {
        width: 64,
        blocks: 1,
        heads: 2,
        head_width: 32,
        feed_forward: 128,
        tied: false,
        ..ModelConfig::default()
    };
    model.alpha_bias = -4.0;
    let steps = (rows * EPOCHS).div_ceil(task.sequences.max(1)).max(100);
    let task = TaskConfig::Classify(task);
    task.fit(&mut model)?;
    let train = TrainConfig {
        steps: steps as u64,
        learning_rate: 3e-3,
        validate_every: (steps / 20).max(1) as u64,
        dropout: 0.2,
        ..TrainConfig::default()
    };
    Ok((task.run(model, train)?, told))
}

/// Gives the model the ends that this task needs.
///
/// # Errors
/// As [`ClassifyConfig::encoder`].
pub(super) fn fit(config: &ClassifyConfig, model: &mut ModelConfig) -> Result<()> {
    let encoder = config.encoder()?;
    match config.words.reading {
        Reading::Words => (model.vocabulary, model.inputs) = (encoder.vocabulary(), 0),
        Reading::Windows => model.inputs = encoder.inputs(),
    }
    (model.head, model.outputs, model.tied) = (Head::Classes, config.classes.len(), false);
    Ok(())
}
