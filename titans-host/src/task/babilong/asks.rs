//! Questions as tokens, and what answers them without a model.

use crate::Result;
use crate::data::babi::{self, BabiPart, BabiQuestion};
use crate::data::haystack::{Haystack, Hidden};
use crate::data::text;
use crate::data::tokenizer::Tokenizer;
use rand::{Rng, RngExt};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A question about a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The number of its task.
    pub task: usize,
    /// Where it comes from.
    pub from: BabiQuestion,
    /// The sentences of the story so far, shared between questions.
    facts: Vec<Arc<[u32]>>,
    question: Vec<u32>,
    answer: Vec<u32>,
}

impl Ask {
    /// Tokens of story, question and answer.
    pub fn tokens(&self) -> usize {
        self.facts.iter().map(|fact| fact.len()).sum::<usize>() + self.question.len() + self.answer.len()
    }

    /// Hides the story at places drawn by chance, in order, so that there are `length` tokens in all, which must be as
    /// many as its own.
    pub(super) fn hide<R: Rng>(&self, rng: &mut R, noise: &Haystack, length: usize) -> Hidden {
        let first = rng.random_range(0..noise.sentences() as u64) as usize;
        let hay = length.saturating_sub(self.tokens());
        let mut places: Vec<usize> = self.facts.iter().map(|_| rng.random_range(0..=hay as u64) as usize).collect();
        places.sort_unstable();
        Hidden {
            head: Vec::new(),
            hidden: places.into_iter().zip(self.facts.iter().map(|fact| fact.to_vec())).collect(),
            question: self.question.clone(),
            answer: self.answer.clone(),
            first,
            hay,
        }
    }
}

/// Turns questions into tokens.
struct AskReader<'a> {
    tokenizer: &'a Tokenizer,
    sentences: BTreeMap<String, Arc<[u32]>>,
}

impl AskReader<'_> {
    fn sentence(&mut self, text: &str) -> Result<Arc<[u32]>> {
        if let Some(ids) = self.sentences.get(text) {
            return Ok(ids.clone());
        }
        let ids: Arc<[u32]> = self.tokenizer.encode(format!(" {text}").as_bytes())?.into();
        self.sentences.insert(text.to_owned(), ids.clone());
        Ok(ids)
    }

    fn ask(&mut self, task: usize, from: BabiQuestion) -> Result<Ask> {
        let facts = from.facts.iter().map(|fact| self.sentence(fact)).collect::<Result<_>>()?;
        let question = self.tokenizer.encode(format!("\n{}", from.question).as_bytes())?;
        let answer = self.sentence(&from.answer)?.to_vec();
        Ok(Ask { task, from, facts, question, answer })
    }
}

fn asks(task: usize, questions: Vec<BabiQuestion>, tokenizer: &Tokenizer) -> Result<Vec<Ask>> {
    let mut reading = AskReader { tokenizer, sentences: BTreeMap::new() };
    questions.into_iter().map(|question| reading.ask(task, question)).collect()
}

/// The training questions of a task, those of the last `share` of its stories apart for validation, and the file's
/// bytes.
pub(super) fn training(
    folder: &Path,
    task: usize,
    share: f64,
    tokenizer: &Tokenizer,
) -> Result<(Vec<Ask>, Vec<Ask>, Vec<u8>)> {
    let path = babi::file(folder, task, BabiPart::Train)?;
    let questions = babi::questions(&path)?;
    let stories = questions.last().map_or(0, |question| question.story + 1);
    let cut = (stories as f64 * (1.0 - share)).floor() as usize;
    let first = questions.partition_point(|question| question.story < cut);
    if first == 0 || first == questions.len() {
        return Err(crate::Error::file(
            &path,
            format!("expected stories for training and for validation, found {stories}; give more"),
        ));
    }
    let mut train = asks(task, questions, tokenizer)?;
    let valid = train.split_off(first);
    Ok((train, valid, text::read(&[path])?.bytes))
}

/// The test questions of a task.
pub(super) fn test(folder: &Path, task: usize, tokenizer: &Tokenizer) -> Result<Vec<Ask>> {
    asks(task, babi::test_questions(folder, task)?, tokenizer)
}

/// Questions by their length.
#[derive(Clone, Debug, Default)]
pub(super) struct Asks {
    asks: Vec<Ask>,
    lengths: Vec<usize>,
}

impl Asks {
    pub(super) fn new(mut asks: Vec<Ask>) -> Self {
        asks.sort_by_key(Ask::tokens);
        let lengths = asks.iter().map(Ask::tokens).collect();
        Self { asks, lengths }
    }

    /// Those of at most so many tokens.
    pub(super) fn fitting(&self, length: usize) -> &[Ask] {
        &self.asks[..self.lengths.partition_point(|&tokens| tokens <= length)]
    }

    pub(super) fn all(&self) -> &[Ask] {
        &self.asks
    }

    /// Tokens of the shortest.
    pub(super) fn least(&self) -> usize {
        self.lengths.first().copied().unwrap_or(1)
    }

    /// Tokens of one that is longer than nine in ten.
    pub(super) fn most(&self) -> usize {
        self.lengths.get(self.lengths.len() * 9 / 10).copied().unwrap_or(1)
    }

    /// Tokens of all.
    pub(super) fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
}

/// Shares of the questions that are answered without a model, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BabiBaselines {
    /// By the commonest answer of the training questions.
    pub majority: f64,
    /// By that of the training answers which the story mentions last.
    pub last_mentioned: f64,
    /// By guessing one of the training answers.
    pub chance: f64,
}

impl BabiBaselines {
    pub(super) fn of<'a>(train: impl Iterator<Item = &'a Ask>, asks: &[&Ask]) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        train.for_each(|ask| *counts.entry(&ask.from.answer).or_default() += 1);
        let commonest = counts.iter().max_by_key(|(_, n)| **n).map_or("", |(answer, _)| *answer);
        let last = |ask: &Ask| {
            let words = ask.from.facts.iter().rev().flat_map(|fact| fact.split([' ', '.', ',']).rev());
            let mut known = words.filter(|word| counts.contains_key(word));
            known.next().is_some_and(|word| word == ask.from.answer)
        };
        let share = |right: usize| right as f64 / asks.len().max(1) as f64;
        Self {
            majority: share(asks.iter().filter(|ask| ask.from.answer == commonest).count()),
            last_mentioned: share(asks.iter().filter(|ask| last(ask)).count()),
            chance: 1.0 / counts.len().max(1) as f64,
        }
    }
}
