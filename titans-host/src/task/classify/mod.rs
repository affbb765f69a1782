//! Classification of sequences: the model reads one token by token, and says after each what class it is.
//!
//! Of a whole sequence the mean of what is said after all tokens counts, or what is said after the last one; either way
//! a stream gives what a batch gives. Of DNA both strands may be read.

mod baselines;
mod evaluate;
mod logistic;
mod run;
mod scores;

pub use baselines::{Baseline, ClassBaselines};
pub use evaluate::{Judging, judge};
pub use logistic::Logistic;
pub use run::{ClassifyTask, Example};
pub use scores::{ClassScores, likeliest};

use super::TaskConfig;
use crate::data::alphabet::{self, Encoder, Letters, Reading, Words};
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
/// Most tokens of a sequence, where nothing is said.
const CONTEXT: usize = 1024;
/// Letters of a window of DNA.
const WINDOW: usize = 12;
/// Numbers that say where a window of DNA lies.
const POSITIONS: usize = 16;
/// Share of the letters of DNA that training hides.
const HIDE: f64 = 0.05;
/// Letters of a word of DNA.
const WORD: usize = 6;
/// Windows that a sequence of DNA has, about.
const APART: usize = 50;
/// Most letters from one window to the next.
const STRIDE: usize = 4;
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

/// What is said about sequences, and guessed where it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChosenReading {
    /// What they are made of.
    pub alphabet: Option<Letters>,
    /// What the model reads of them.
    pub reading: Option<Reading>,
    /// Numbers that say where a window lies.
    pub positions: Option<usize>,
    /// Share of the letters that training hides.
    pub hide: Option<f64>,
    /// Nothing was chosen before: what is not said is the recipe's.
    pub anew: bool,
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
    /// Reads the training files and takes from them what is not said: the alphabet, its characters, the sizes of words
    /// that are 0, the classes, the longest sequence. Returns the number of rows, and what is worth a word, a sentence
    /// each.
    ///
    /// # Errors
    /// As [`read`] and [`Encoder::new`]; [`Error::File`] naming the row of a letter that is not of the alphabet;
    /// [`Error::Usage`] for less than two classes.
    pub fn measure(&mut self, said: ChosenReading) -> Result<(usize, Vec<String>)> {
        let Labelled { rows, .. } = read(&self.data, &self.columns, true)?;
        let texts = || rows.iter().map(|row| row.sequence.as_str());
        let mut told = Vec::new();
        self.alphabet = match (said.alphabet, &self.tokenizer) {
            (Some(alphabet), _) => alphabet,
            (None, Some(_)) => Letters::Bpe,
            (None, None) => {
                let guess = alphabet::guess(texts());
                let stray = if guess == Letters::Dna { None } else { alphabet::stray(texts()) };
                let why = stray.map_or(String::new(), |(row, letter, c)| {
                    let reason = format!("letter {}, {c:?}, is no base", letter + 1);
                    format!(": {}, where nine of ten are", place(&self.data, &rows[row], &Error::usage(reason)))
                });
                told.push(format!("guessed: the alphabet is {} (--alphabet){why}", guess.name()));
                guess
            }
        };
        self.letters = match self.alphabet {
            Letters::Characters => alphabet::characters(texts())?,
            _ => String::new(),
        };
        self.classes = classes(&rows)?;
        // A first line whose label nobody shares, where labels are shared: most likely the names of columns that are
        // given by number.
        if let [first, others @ ..] = &rows[..]
            && first.line == 1
            && first.name.is_none()
            && self.classes.len() < rows.len()
            && others.iter().all(|other| other.label != first.label)
        {
            let label = brief(first.label.as_deref().unwrap_or_default());
            let reason = format!(
                "is read as a row, of the class {label} that no other row has; if it names the columns, give them by name"
            );
            told.push(place(&self.data, first, &Error::usage(reason)).to_string().replacen("line 1:", "line 1", 1));
        }
        self.choose_words(said, texts().map(str::len).max().unwrap_or(1));
        let encoder = self.encoder()?;
        let mut longest = 1;
        for row in &rows {
            let numbers = encoder.numbers(&row.sequence).map_err(|e| place(&self.data, row, &e))?;
            longest = longest.max(encoder.tokens(numbers.len()));
        }
        if self.context == 0 {
            self.context = longest.min(CONTEXT);
        }
        if longest > self.context {
            let (context, cut) = (self.context, "what is behind them is not read (--context)");
            told.push(format!("sequences have up to {longest} tokens, of which {context} are read: {cut}"));
        }
        Ok((rows.len(), told))
    }

    /// The recipe of what is read, where sizes are 0: of DNA windows of [`WINDOW`] letters and where they lie, or words
    /// of [`WORD`] where either strand is read (what may lie on either has no fixed place); of all else single letters;
    /// of windows [`APART`] of them to the longest sequence, but no more than [`STRIDE`] letters from one to the next.
    fn choose_words(&mut self, said: ChosenReading, longest: usize) {
        let dna = self.alphabet == Letters::Dna;
        let aligned = dna && !self.both_strands;
        let words = &mut self.words;
        let usual = if aligned { Reading::Windows } else { Reading::Words };
        words.reading = said.reading.unwrap_or(if said.anew { usual } else { words.reading });
        if said.anew && dna {
            let windows = words.reading == Reading::Windows;
            words.positions = said.positions.unwrap_or(if windows { POSITIONS } else { 0 });
            self.hide = said.hide.unwrap_or(HIDE);
        }
        if words.letters == 0 {
            words.letters = match (dna, words.reading) {
                (true, Reading::Windows) => WINDOW,
                (true, Reading::Words) => WORD,
                (false, _) => 1,
            };
        }
        if words.stride == 0 {
            let apart = ((longest + APART / 2) / APART).clamp(1, STRIDE);
            words.stride = if dna && words.reading == Reading::Windows { apart } else { 1 };
        }
    }

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

/// The labels that occur, whole numbers by size, others by their letters.
fn classes(rows: &[LabelledRow]) -> Result<Vec<String>> {
    let found: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| row.label.as_deref()).collect();
    if found.len() > CLASSES || found.len() < 2 {
        let one = found.first().map_or(String::new(), |label| format!(" ({})", brief(label)));
        let found = found.len();
        return Err(Error::usage(format!(
            "the training rows: expected 2 to {CLASSES} classes, found {found}{one}; is --label the column of the labels?"
        )));
    }
    let mut classes: Vec<String> = found.into_iter().map(str::to_owned).collect();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or(0));
    }
    Ok(classes)
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
