//! How a sequence of letters becomes tokens: words of a few letters that overlap, or windows of letters as rows of
//! numbers.

use super::tokenizer::Tokenizer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use titans_kernel::choice;

/// The letters of DNA, in the order of their numbers: a letter's complement is 3 minus it.
const DNA: [char; 4] = ['A', 'C', 'G', 'T'];
/// What stands for one of several bases, or for none.
const AMBIGUOUS: &str = "RYSWKMBDHVN-.";
/// Most letters that are found.
const LETTERS: usize = 4096;
/// Most words of a vocabulary.
const WORDS: usize = 1 << 20;
/// Most numbers of a row.
const ROW: usize = 1 << 16;

choice! {
    /// What the letters of a sequence are.
    #[derive(Default)]
    pub enum Letters: "alphabet" {
        /// Bases A, C, G, T (or U), in either case; the letters for several bases (N and others) are one unknown
        /// letter.
        #[default]
        Dna = 0, "dna";
        /// The characters that the training sequences have.
        Characters = 1, "characters";
        /// Bytes.
        Bytes = 2, "bytes";
        /// Tokens of a byte-level BPE.
        Bpe = 3, "bpe";
    }
}

choice! {
    /// What the model reads of the letters.
    #[derive(Default)]
    pub enum Reading: "reading" {
        /// Every word of so many letters is a token of its own.
        #[default]
        Words = 0, "words";
        /// A row of numbers: for every letter of a window a 1 at the place of its number, and where the window lies.
        Windows = 1, "windows";
    }
}

impl Reading {
    /// What there are so many of.
    pub fn of_what(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Windows => "numbers a row",
        }
    }
}

/// Sizes of what the model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Words {
    /// What it is.
    pub reading: Reading,
    /// Letters of a word or window; 0, and a stride of 0, stand for a recipe's.
    pub letters: usize,
    /// Letters from one to the next.
    pub stride: usize,
    /// Numbers that say where in its sequence a window lies (windows only).
    pub positions: usize,
}

impl Default for Words {
    fn default() -> Self {
        Self { reading: Reading::Words, letters: 0, stride: 0, positions: 0 }
    }
}

/// From text to letters' numbers, and from these to tokens.
#[derive(Clone, Debug)]
pub struct Encoder {
    alphabet: Letters,
    letters: Vec<char>,
    tokenizer: Tokenizer,
    words: Words,
}

/// The alphabet of some sequences: DNA where nothing else is in them.
pub fn guess<'a>(mut texts: impl Iterator<Item = &'a str>) -> Letters {
    match texts.all(|text| text.chars().all(|c| base(c).is_some())) {
        true => Letters::Dna,
        false => Letters::Characters,
    }
}

/// The first letter that is no base, where nine of ten are: the number of its sequence and its place in it, from 0. It
/// is most likely a slip.
pub fn stray<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Option<(usize, usize, char)> {
    let (mut bases, mut all) = (0u64, 0u64);
    for c in texts.clone().flat_map(str::chars) {
        (bases, all) = (bases + u64::from(base(c).is_some()), all + 1);
    }
    let mut letters = texts.enumerate().flat_map(|(row, text)| text.chars().enumerate().map(move |(i, c)| (row, i, c)));
    let found = letters.find(|&(_, _, c)| base(c).is_none());
    found.filter(|_| 10 * bases >= 9 * all)
}

/// The different characters of some sequences, in order.
///
/// # Errors
/// [`Error::Usage`] for too many.
pub fn characters<'a>(texts: impl Iterator<Item = &'a str>) -> Result<String> {
    let found: BTreeSet<char> = texts.flat_map(str::chars).collect();
    if found.len() > LETTERS {
        return Err(Error::usage(format!(
            "--alphabet characters: expected {LETTERS} different ones at the most, found {}; use --alphabet bytes or --tokenizer",
            found.len()
        )));
    }
    Ok(found.into_iter().collect())
}

/// The number of a base, 4 for an unknown one; nothing for what is none.
fn base(c: char) -> Option<u32> {
    let upper = c.to_ascii_uppercase();
    let upper = if upper == 'U' { 'T' } else { upper };
    let known = DNA.iter().position(|&base| base == upper).map(|i| i as u32);
    known.or_else(|| AMBIGUOUS.contains(upper).then_some(DNA.len() as u32))
}

/// The number of every character, or the first one that has none, with what was expected and with what to train.
fn numbered(text: &str, of: impl Fn(char) -> Option<u32>, expected: &str, instead: &str) -> Result<Vec<u32>> {
    let number = |(i, c)| {
        of(c).ok_or_else(|| {
            Error::usage(format!(
                "letter {}: expected {expected}, found {c:?}; correct the sequence, or train with {instead} instead",
                i + 1
            ))
        })
    };
    text.chars().enumerate().map(number).collect()
}

impl Encoder {
    /// Of an alphabet; `letters` are those of [`Letters::Characters`], in order.
    ///
    /// # Errors
    /// [`Error::Usage`] for sizes that cannot be.
    pub fn new(alphabet: Letters, letters: &str, tokenizer: Tokenizer, words: Words) -> Result<Self> {
        let letters = match alphabet {
            Letters::Dna => DNA.to_vec(),
            Letters::Characters => letters.chars().collect(),
            Letters::Bytes | Letters::Bpe => Vec::new(),
        };
        let found = Self { alphabet, letters, tokenizer, words };
        let Words { letters, stride, positions, reading } = words;
        for (name, size, least, most) in
            [("letters", letters, 1, 4096), ("stride", stride, 1, 4096), ("positions", positions, 0, 4096)]
        {
            if !(least..=most).contains(&size) {
                return Err(Error::usage(format!("task.words.{name}: expected {least} to {most}, found {size}")));
            }
        }
        if alphabet == Letters::Characters && !found.letters.is_sorted_by(|a, b| a < b) {
            return Err(Error::usage("task.letters: expected every character once, in order; titans train finds them"));
        }
        if found.letters() == 0 {
            return Err(Error::usage("task.letters: expected one or more for the alphabet characters, found none"));
        }
        match reading {
            Reading::Words if positions > 0 => {
                Err(Error::usage("--positions: words of their own say nothing else; expected 0, or --reading windows"))
            }
            Reading::Words if found.vocabulary() > WORDS => Err(Error::usage(format!(
                "--word {letters}: expected {WORDS} different words at the most, found {} to the power of {letters}; make --word \
                 smaller, or --reading windows",
                found.letters()
            ))),
            Reading::Windows if found.inputs() > ROW => Err(Error::usage(format!(
                "--word {letters}: expected rows of {ROW} numbers at the most, found {} ({letters} times {} letters); make --word smaller",
                found.inputs(),
                found.letters()
            ))),
            _ => Ok(found),
        }
    }

    /// Sizes of what the model reads.
    pub fn words(&self) -> Words {
        self.words
    }

    /// The vocabulary of [`Letters::Bpe`].
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Different letters, the unknown one not among them, whose number this is.
    pub fn letters(&self) -> usize {
        match self.alphabet {
            Letters::Bytes | Letters::Bpe => self.tokenizer.vocabulary(),
            Letters::Dna | Letters::Characters => self.letters.len(),
        }
    }

    /// Words, and the unknown one behind them.
    pub fn vocabulary(&self) -> usize {
        let power = |n: usize| self.letters().checked_pow(n.try_into().ok()?);
        power(self.words.letters).map_or(usize::MAX, |n| n.saturating_add(1))
    }

    /// Numbers of a row.
    pub fn inputs(&self) -> usize {
        self.words.letters.saturating_mul(self.letters()).saturating_add(self.words.positions)
    }

    /// The numbers of a sequence's letters.
    ///
    /// # Errors
    /// [`Error::Usage`] with the first letter that is not of the alphabet, and its place, from 1; for BPE as
    /// [`Tokenizer::encode`].
    pub fn numbers(&self, text: &str) -> Result<Vec<u32>> {
        match self.alphabet {
            Letters::Bytes | Letters::Bpe => self.tokenizer.encode(text.as_bytes()),
            Letters::Dna => {
                numbered(text, base, "a base (A, C, G, T, U, or a letter for several as N)", "--alphabet characters")
            }
            Letters::Characters => numbered(
                text,
                |c| self.letters.binary_search(&c).ok().map(|i| i as u32),
                "a character that training's sequences have",
                "--alphabet bytes, which knows all,",
            ),
        }
    }

    /// The other strand: the complements, in reverse. Unknown letters stay so. Of DNA alone.
    pub fn other_strand(&self, numbers: &[u32]) -> Vec<u32> {
        numbers.iter().rev().map(|&n| if n < 4 { 3 - n } else { n }).collect()
    }

    /// Tokens of a sequence of so many letters: windows that begin a stride apart, up to the first that has the last
    /// letter, and none beyond the end.
    pub fn tokens(&self, letters: usize) -> usize {
        let Words { letters: window, stride, .. } = self.words;
        (letters.saturating_sub(window).div_ceil(stride) + 1).min(letters.div_ceil(stride)).max(1)
    }

    /// Appends the words of a sequence, `most` at the most. A word with an unknown letter, or one beyond the end, is
    /// the unknown word.
    pub fn push_words(&self, numbers: &[u32], most: usize, ids: &mut Vec<u32>) {
        let letters = self.letters() as u32;
        let unknown = self.vocabulary() as u32 - 1;
        for t in 0..self.tokens(numbers.len()).min(most) {
            let from = t * self.words.stride;
            let word = numbers.get(from..from + self.words.letters);
            let known = word.filter(|word| word.iter().all(|&n| n < letters));
            ids.push(known.map_or(unknown, |word| word.iter().fold(0, |id, &n| id * letters + n)));
        }
    }

    /// Appends the rows of a sequence, `most` at the most: for every letter of a window a 1 at its number (zeros for an
    /// unknown one, and beyond the end), and where the window lies: 1 at the nearest of as many places from the
    /// sequence's beginning to its end as there are numbers for it, shared out between the nearest two.
    pub fn push_rows(&self, numbers: &[u32], most: usize, rows: &mut Vec<f64>) {
        let (letters, Words { positions, stride, letters: window, .. }) = (self.letters(), self.words);
        let tokens = self.tokens(numbers.len());
        for t in 0..tokens.min(most) {
            let start = rows.len();
            rows.resize(start + self.inputs(), 0.0);
            let row = &mut rows[start..];
            for (i, &n) in numbers.iter().skip(t * stride).take(window).enumerate() {
                if (n as usize) < letters {
                    row[i * letters + n as usize] = 1.0;
                }
            }
            if positions > 0 {
                let share = if tokens > 1 { t as f64 / (tokens - 1) as f64 } else { 0.0 };
                let place = share * (positions - 1) as f64;
                let (low, part) = (place.floor() as usize, place.fract());
                row[window * letters + low] += 1.0 - part;
                if part > 0.0 {
                    row[window * letters + low + 1] += part;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoder, Letters, Reading, Words, characters, guess, stray};
    use crate::data::tokenizer::Tokenizer;

    const LETTER: Words = Words { reading: Reading::Words, letters: 1, stride: 1, positions: 0 };

    fn dna(words: Words) -> Encoder {
        Encoder::new(Letters::Dna, "", Tokenizer::Bytes, words).unwrap()
    }

    #[test]
    fn words_overlap_and_what_is_unknown_is_one_word() {
        let encoder = dna(Words { letters: 2, ..LETTER });
        assert_eq!(encoder.vocabulary(), 17);
        let words = |text: &str, most| {
            let mut ids = vec![];
            encoder.push_words(&encoder.numbers(text).unwrap(), most, &mut ids);
            ids
        };
        assert_eq!(words("ACGT", 9), [1, 6, 11]);
        assert_eq!(words("acgu", 2), [1, 6]);
        assert_eq!(words("ANGT", 9), [16, 16, 11]);
        assert_eq!(words("A", 9), [16]);
        let apart = dna(Words { letters: 2, stride: 3, ..LETTER });
        for letters in 1..20 {
            let mut ids = vec![];
            apart.push_words(&vec![0; letters], 99, &mut ids);
            assert_eq!(ids.len(), apart.tokens(letters), "{letters}");
            assert!((ids.len() - 1) * 3 < letters.max(1) && ids.len() * 3 >= letters, "{letters}");
        }
    }

    #[test]
    fn rows_say_which_letters_and_where() {
        let encoder = dna(Words { reading: Reading::Windows, letters: 2, stride: 2, positions: 3 });
        assert_eq!(encoder.inputs(), 11);
        let mut rows = vec![];
        encoder.push_rows(&encoder.numbers("ACNTG").unwrap(), 9, &mut rows);
        let window = |a: usize, b: usize| (0..8).map(|i| f64::from(u8::from(i == a || i == 4 + b))).collect::<Vec<_>>();
        assert_eq!(rows[..8], window(0, 1));
        assert_eq!(rows[11..19], window(9, 3), "an unknown letter says nothing");
        assert_eq!(rows[22..30], window(2, 9), "and so do those beyond the end");
        assert_eq!([&rows[8..11], &rows[19..22], &rows[30..]].concat(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let four = dna(Words { reading: Reading::Windows, letters: 1, stride: 1, positions: 2 });
        let mut rows = vec![];
        four.push_rows(&[0; 5], 2, &mut rows);
        assert_eq!(rows[4..6], [1.0, 0.0]);
        assert_eq!((rows.len(), &rows[10..]), (12, &[0.75, 0.25][..]));
    }

    #[test]
    fn the_other_strand_of_the_other_is_the_first() {
        let encoder = dna(LETTER);
        let numbers = encoder.numbers("AACGTNC").unwrap();
        assert_eq!(encoder.other_strand(&numbers), encoder.numbers("GNACGTT").unwrap());
        assert_eq!(encoder.other_strand(&encoder.other_strand(&numbers)), numbers);
    }

    #[test]
    fn alphabets_are_found_and_letters_that_are_not_in_them_are_named() {
        assert_eq!(guess(["ACGT", "nnacgu"].into_iter()), Letters::Dna);
        assert_eq!(guess(["ACGT", "MKV?"].into_iter()), Letters::Characters);
        assert_eq!(stray(["ACGTACGTACGT", "ACGTXC"].into_iter()), Some((1, 4, 'X')));
        assert_eq!(stray(["ACGT", "nnacgu"].into_iter()), None);
        assert_eq!(stray(["ACGT", "MKV?LLPE"].into_iter()), None, "a text of its own");
        let letters = characters(["xyx", "ß y"].into_iter()).unwrap();
        assert_eq!(letters, " xyß");
        let of = |alphabet| Encoder::new(alphabet, &letters, Tokenizer::Bytes, LETTER).unwrap();
        assert_eq!(of(Letters::Characters).numbers("ß x").unwrap(), [3, 0, 1]);
        let error = of(Letters::Characters).numbers("xaz").unwrap_err().to_string();
        assert!(error.contains("letter 2") && error.contains("'a'"), "{error}");
        let error = dna(LETTER).numbers("ACGTACXT").unwrap_err().to_string();
        assert!(error.contains("letter 7") && error.contains("'X'") && error.contains("base"), "{error}");
        assert_eq!(of(Letters::Bytes).numbers("ß").unwrap(), [0xc3, 0x9f]);
        assert_eq!(of(Letters::Bytes).vocabulary(), 257);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_by_name() {
        for (words, letters, says) in [
            (Words { letters: 0, ..LETTER }, "", "words.letters"),
            (Words { stride: 0, ..LETTER }, "", "words.stride"),
            (Words { positions: 2, ..LETTER }, "", "--positions"),
            (Words { letters: 11, ..LETTER }, "", "--word 11"),
            (Words { letters: 4096, ..LETTER }, "", "--word 4096"),
        ] {
            let error = Encoder::new(Letters::Dna, letters, Tokenizer::Bytes, words).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for letters in ["", "ba", "aa"] {
            let error = Encoder::new(Letters::Characters, letters, Tokenizer::Bytes, LETTER);
            assert!(error.unwrap_err().to_string().contains("task.letters"));
        }
        let wide = Words { reading: Reading::Windows, letters: 300, ..LETTER };
        assert!(Encoder::new(Letters::Bytes, "", Tokenizer::Bytes, wide).is_err());
    }
}
