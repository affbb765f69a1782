//! What a configuration takes from the training files where nothing is said, and what is told of it.

use super::{CLASSES, ClassifyConfig, place};
use crate::data::alphabet::{self, Encoder, Letters, Reading, Words};
use crate::data::labelled::{Labelled, LabelledRow, read};
use crate::error::{brief, counted};
use crate::{Error, Result};
use std::collections::BTreeSet;
use titans_kernel::Choice;

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

impl ClassifyConfig {
    /// Reads the training files and takes from them what is not said: the alphabet, its characters, the sizes of words
    /// that are 0, the classes, the longest sequence. Returns the number of rows, and what is worth a word, a sentence
    /// each.
    ///
    /// # Errors
    /// As [`read`] and [`Encoder::new`]; [`Error::File`] naming the row of a letter that is not of the alphabet, for
    /// less than two classes, and for words of more letters than any sequence has.
    pub fn measure(&mut self, said: ChosenReading) -> Result<(usize, Vec<String>)> {
        let Labelled { rows, .. } = read(&self.data, &self.columns, true)?;
        let texts = || rows.iter().map(|row| row.sequence.as_str());
        let mut told = Vec::new();
        self.alphabet = match (said.alphabet, &self.tokenizer) {
            (Some(alphabet), _) => alphabet,
            (None, Some(_)) => Letters::Bpe,
            (None, None) => self.guess_alphabet(&rows, &mut told),
        };
        self.letters = match self.alphabet {
            Letters::Characters => alphabet::characters(texts())?,
            Letters::Dna | Letters::Bytes | Letters::Bpe => String::new(),
        };
        self.classes = classes(&rows).map_err(|e| e.in_files(&self.data))?;
        told.extend(self.first_line(&rows));
        self.choose_words(said, texts().map(str::len).max().unwrap_or(1));
        let encoder = self.encoder()?;
        let mut letters = Vec::with_capacity(rows.len());
        for row in &rows {
            letters.push(encoder.numbers(&row.sequence).map_err(|e| place(&self.data, row, &e))?.len());
        }
        let (most, longest) = (letters.iter().copied().max().unwrap_or(1), longest(&encoder, &letters));
        told.extend(self.told_words(most)?);
        if self.context == 0 {
            self.context = longest.min(CONTEXT);
        }
        told.extend(self.told_cut(longest));
        Ok((rows.len(), told))
    }

    /// The alphabet of some rows, which is told.
    fn guess_alphabet(&self, rows: &[LabelledRow], told: &mut Vec<String>) -> Letters {
        let texts = || rows.iter().map(|row| row.sequence.as_str());
        let guess = alphabet::guess(texts());
        let stray = if guess == Letters::Dna { None } else { alphabet::stray(texts()) };
        let why = stray.map_or(String::new(), |(row, letter, c)| {
            let reason = format!("letter {}, {c:?}, is no base", letter + 1);
            format!(": {}, where nine of ten are", place(&self.data, &rows[row], &Error::usage(reason)))
        });
        told.push(format!("guessed: the alphabet is {} (--alphabet){why}", guess.name()));
        guess
    }

    /// What is worth a word about the sizes of words, where the longest sequence has so many letters. Words of more are
    /// all unknown, and refused.
    fn told_words(&self, most: usize) -> Result<Option<String>> {
        let Words { reading, letters, stride, .. } = self.words;
        if reading == Reading::Words && letters > most {
            let reason = format!("--word: expected 1 to {most}, the letters of the longest sequence, found {letters}");
            return Err(Error::usage(reason).in_files(&self.data));
        }
        let name = reading.name();
        let between = "what lies between is not read (--stride)";
        Ok((stride > letters)
            .then(|| format!("{name} of {} begin {stride} letters apart: {between}", counted(letters, "letter"))))
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
                (true, Reading::Words) => WORD.min(longest.max(1)),
                (false, _) => 1,
            };
        }
        if words.stride == 0 {
            let apart = ((longest + APART / 2) / APART).clamp(1, STRIDE);
            words.stride = if dna && words.reading == Reading::Windows { apart } else { 1 };
        }
    }

    /// A first line whose label nobody shares, where labels are shared: most likely the names of columns that are given
    /// by number.
    fn first_line(&self, rows: &[LabelledRow]) -> Option<String> {
        if let [first, others @ ..] = rows
            && first.line == 1
            && first.name.is_none()
            && self.classes.len() < rows.len()
            && others.iter().all(|other| other.label != first.label)
        {
            let label = brief(first.label.as_deref().unwrap_or_default());
            let reason = format!(
                "is read as a row, of the class {label} that no other row has; if it names the columns, give them by name"
            );
            return Some(place(&self.data, first, &Error::usage(reason)).to_string().replacen("line 1:", "line 1", 1));
        }
        None
    }

    /// What is not read of sequences, given by their letters' numbers: a sentence, where there is something.
    pub fn cut(&self, encoder: &Encoder, sequences: &[&[u32]]) -> Option<String> {
        let letters: Vec<usize> = sequences.iter().map(|numbers| numbers.len()).collect();
        let longer = letters.iter().filter(|&&letters| encoder.tokens(letters) > self.context).count();
        let told = self.told_cut(longest(encoder, &letters))?;
        let are = if longer == 1 { "is" } else { "are" };
        Some(format!("{} {are} cut: {told}", counted(longer, "sequence")))
    }

    fn told_cut(&self, longest: usize) -> Option<String> {
        let (context, cut) = (self.context, "what is behind them is not read (--context of training)");
        (longest > context)
            .then(|| format!("sequences have up to {longest} tokens, of which {context} are read: {cut}"))
    }
}

/// Tokens of the longest of sequences of so many letters.
fn longest(encoder: &Encoder, letters: &[usize]) -> usize {
    letters.iter().map(|&letters| encoder.tokens(letters)).max().unwrap_or(1)
}

/// The labels that occur, whole numbers by size, others by their letters.
fn classes(rows: &[LabelledRow]) -> Result<Vec<String>> {
    let found: BTreeSet<&str> = rows.iter().filter_map(|row| row.label.as_deref()).collect();
    if found.len() > CLASSES || found.len() < 2 {
        let one = found.first().map_or(String::new(), |label| format!(" ({})", brief(label)));
        let found = found.len();
        return Err(Error::usage(format!(
            "expected 2 to {CLASSES} classes, found {found}{one}; is --label the column of the labels?"
        )));
    }
    let mut classes: Vec<String> = found.into_iter().map(str::to_owned).collect();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or(0));
    }
    Ok(classes)
}
