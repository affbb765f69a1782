//! Texts to hide something in: sentences one after another, a few that repeat or those of a text, and what is hidden
//! among them.

mod hidden;
mod sentences;

use super::text;
use super::tokenizer::Tokenizer;
use crate::{Error, Result};
pub use hidden::{Hidden, HiddenTokens};
pub use sentences::sentences;
use std::path::PathBuf;

/// What a haystack without a text repeats.
pub const NOISE: [&str; 5] =
    ["The grass is green.", "The sky is blue.", "The sun is yellow.", "Here we go.", "There and back again."];

/// Sentences as token ids, each with the blank in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Haystack {
    ids: Vec<u32>,
    /// Where each sentence begins, and where the last one ends.
    starts: Vec<usize>,
}

impl Haystack {
    /// The sentences of [`NOISE`].
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn noise(tokenizer: &Tokenizer) -> Result<Self> {
        Self::of(tokenizer, NOISE)
    }

    /// The [`sentences`] of texts, one text after the other.
    ///
    /// # Errors
    /// [`Error::Usage`] for texts without any; as [`Tokenizer::encode`].
    pub fn texts(tokenizer: &Tokenizer, texts: &[Vec<u8>]) -> Result<Self> {
        let all: Vec<String> = texts.iter().flat_map(|text| sentences(&String::from_utf8_lossy(text))).collect();
        Self::of(tokenizer, all.iter().map(String::as_str))
    }

    fn of<'a>(tokenizer: &Tokenizer, sentences: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut haystack = Self { ids: Vec::new(), starts: vec![0] };
        for sentence in sentences {
            haystack.ids.extend(tokenizer.encode(format!(" {sentence}").as_bytes())?);
            haystack.starts.push(haystack.ids.len());
        }
        if haystack.sentences() == 0 {
            return Err(Error::usage("expected a text with sentences to hide in (headings count as none), found none"));
        }
        Ok(haystack)
    }

    /// How many sentences there are: 1 or more.
    pub fn sentences(&self) -> usize {
        self.starts.len() - 1
    }

    /// Tokens of all of them.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never: there is a sentence at least, of a token at least.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The first sentences and the last ones, these about `share` of the tokens.
    ///
    /// # Errors
    /// [`Error::Usage`] where one part would have no sentence.
    pub fn split(&self, share: f64) -> Result<(Self, Self)> {
        let cut = self.len() as f64 * (1.0 - share);
        let first = self.starts.partition_point(|&start| (start as f64) < cut).min(self.sentences());
        if first == 0 || first == self.sentences() {
            return Err(Error::usage(format!(
                "expected sentences to hide in for training and for validation, found {}; give more text",
                self.sentences()
            )));
        }
        let at = self.starts[first];
        let part = |starts: &[usize]| {
            let (begin, end) = (starts[0], starts[starts.len() - 1]);
            Self { ids: self.ids[begin..end].to_vec(), starts: starts.iter().map(|start| start - begin).collect() }
        };
        debug_assert!(at > 0, "the first part has a token");
        Ok((part(&self.starts[..=first]), part(&self.starts[first..])))
    }

    /// Tokens of sentence `number`, counted round.
    fn sentence(&self, number: usize) -> &[u32] {
        let number = number % self.sentences();
        &self.ids[self.starts[number]..self.starts[number + 1]]
    }
}

/// The texts of files, each whole, and what is worth a word about them.
///
/// # Errors
/// As [`text::read`] and [`text::utf8`].
pub fn read(paths: &[PathBuf]) -> Result<(Vec<Vec<u8>>, Vec<String>)> {
    if paths.is_empty() {
        return Err(Error::usage("no data: name at least one file"));
    }
    let (mut texts, mut notes) = (Vec::new(), Vec::new());
    for path in paths {
        let content = text::read(&[path])?;
        texts.push(text::utf8(path, &content.bytes)?.as_bytes().to_vec());
        notes.extend(content.notes);
    }
    Ok((texts, notes))
}
