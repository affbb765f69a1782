//! Options of the classification task.

use super::places::{absolute, set};
use crate::cli::options::{count, named, number, size};
use crate::data::alphabet::{Letters, Reading};
use crate::error::{Error, Result};
use crate::task::classify::{ChosenReading, ClassifyConfig, Pooling};
use std::path::PathBuf;

/// Where sequences lie and how they are read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Classification")]
pub struct ClassifyArgs {
    /// Rows by which the best checkpoint is chosen [default: a tenth of the rows of --data, drawn by chance]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    valid: Vec<PathBuf>,
    /// Rows that `titans eval` measures; training does not open them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    test: Vec<PathBuf>,
    /// The column of sequences, by name or number from 1 [default: sequence, seq, text, sentence or x]
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,
    /// The column of labels, by name or number from 1 [default: label, class, target, labels or y]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// What sequences are made of: dna, characters (those that the training rows have), bytes, or bpe (with
    /// --tokenizer) [default: dna where nothing else is found, else characters]
    #[arg(long, value_name = "NAME", value_parser = named::<Letters>())]
    alphabet: Option<Letters>,
    /// What the model reads: words of --word letters as tokens, or windows of --word letters as rows of numbers
    /// [default: windows of dna, words with --both-strands and of all else]
    #[arg(long, value_name = "NAME", value_parser = named::<Reading>())]
    reading: Option<Reading>,
    /// Letters of a word or a window [default: 12 of a window and 6 of a word of dna, else 1]
    #[arg(long, value_name = "N", value_parser = size)]
    word: Option<usize>,
    /// Letters from one word or window to the next [default: 1; of windows of dna 1 to 4, for about 50 in the longest
    /// sequence]
    #[arg(long, value_name = "N", value_parser = size)]
    stride: Option<usize>,
    /// Numbers that tell where in its sequence a window lies; 0: nothing does [default: 16 of windows of dna, else 0]
    #[arg(long, value_name = "N", value_parser = count)]
    positions: Option<usize>,
    /// Training reads either strand, by chance, and what is said of both is averaged (dna)
    #[arg(long)]
    both_strands: bool,
    /// What is said of a sequence: the mean over its tokens, or what is said after the last one [default: mean]
    #[arg(long, value_name = "NAME", value_parser = named::<Pooling>())]
    pooling: Option<Pooling>,
    /// Share of the letters that training hides by chance, against overfitting, 0 to below 1 [default: 0.05 of dna,
    /// else 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = number)]
    hide: Option<f64>,
}

impl ClassifyArgs {
    /// The first option that is given, by name; where data lie is none.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--column", self.column.is_some()),
            ("--label", self.label.is_some()),
            ("--alphabet", self.alphabet.is_some()),
            ("--reading", self.reading.is_some()),
            ("--word", self.word.is_some()),
            ("--stride", self.stride.is_some()),
            ("--positions", self.positions.is_some()),
            ("--both-strands", self.both_strands),
            ("--pooling", self.pooling.is_some()),
            ("--hide", self.hide.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// The first option of this task that is given, where data lie included.
    pub fn any(&self) -> Option<&'static str> {
        let place = if self.valid.is_empty() { None } else { Some("--valid") };
        place.or(if self.test.is_empty() { None } else { Some("--test") }).or_else(|| self.given())
    }

    /// Whether it is said where rows for validation or for the test lie.
    pub fn names_rows(&self) -> bool {
        !(self.valid.is_empty() && self.test.is_empty())
    }

    /// What is said of the alphabet and of what is read.
    pub fn said(&self) -> ChosenReading {
        let Self { alphabet, reading, positions, hide, .. } = *self;
        ChosenReading { alphabet, reading, positions, hide, anew: false }
    }

    /// Puts the places of the rows into the task.
    pub fn places(&self, c: &mut ClassifyConfig) -> Result<()> {
        for (option, given, place) in [("--valid", &self.valid, &mut c.valid), ("--test", &self.test, &mut c.test)] {
            if !given.is_empty() {
                *place = given.iter().map(|path| absolute(option, path)).collect::<Result<_>>()?;
            }
            // The test is opened by eval alone: what is not there would be found out when training is over.
            for path in given {
                std::fs::metadata(path).map_err(|e| Error::io(path, "looking for the data", e))?;
            }
        }
        Ok(())
    }

    /// Puts the options into the task.
    pub fn change(&self, c: &mut ClassifyConfig) -> Result<()> {
        self.places(c)?;
        for (given, place) in [(&self.column, &mut c.columns.sequence), (&self.label, &mut c.columns.label)] {
            if given.is_some() {
                place.clone_from(given);
            }
        }
        set(&mut c.words.reading, self.reading);
        set(&mut c.words.letters, self.word);
        set(&mut c.words.stride, self.stride);
        set(&mut c.words.positions, self.positions);
        c.both_strands |= self.both_strands;
        set(&mut c.pooling, self.pooling);
        set(&mut c.hide, self.hide);
        Ok(())
    }
}
