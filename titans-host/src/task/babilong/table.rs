//! Answers by task and length: as a table, for JSON and for people.

use super::{Ask, BabiBaselines};
use crate::task::hidden::FoundAnswer;
use serde::Serialize;
use std::collections::BTreeMap;

/// One task at one length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BabilongRow {
    /// The task: `qa1`, …
    pub task: String,
    /// Tokens that were asked for; 0 is the story alone.
    pub length: usize,
    /// Questions.
    pub samples: usize,
    /// Mean tokens of the sequences.
    pub mean_tokens: f64,
    /// Share of the questions whose whole answer the model writes, 0 to 1.
    pub accuracy: f64,
    /// Its standard error, by the questions.
    pub standard_error: f64,
    /// Mean −log p of an answer.
    pub nats: f64,
    /// The share where the memory does not write; none where it was not measured or there is no memory.
    pub frozen: Option<f64>,
    /// The share without the memory; likewise.
    pub absent: Option<f64>,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BabilongTable {
    /// Which questions: test or valid.
    pub part: &'static str,
    /// What a token is: bytes or bpe.
    pub tokens: &'static str,
    /// What the memory did.
    pub memory: &'static str,
    /// By task and length.
    pub rows: Vec<BabilongRow>,
    /// By task, the same at every length: without a model; none where they were not asked for.
    pub baselines: Option<BTreeMap<String, BabiBaselines>>,
}

impl BabilongRow {
    /// Of the questions of one task at one length, and what was said to them; `tokens` are those of their sequences.
    pub fn of(task: usize, length: usize, tokens: usize, found: &[&FoundAnswer]) -> Self {
        let n = found.len().max(1) as f64;
        let accuracy = found.iter().filter(|f| f.right()).count() as f64 / n;
        Self {
            task: format!("qa{task}"),
            length,
            samples: found.len(),
            mean_tokens: tokens as f64 / n,
            accuracy,
            standard_error: (accuracy * (1.0 - accuracy) / n).sqrt(),
            nats: found.iter().map(|f| f.nats()).sum::<f64>() / n,
            frozen: None,
            absent: None,
        }
    }
}

impl std::fmt::Display for BabilongTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let p = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.1} %", 100.0 * x));
        writeln!(
            f,
            "{:<6}{:>9}{:>12}{:>9}{:>10}{:>9}{:>9}{:>9}",
            "task", "length", "mean tokens", "samples", self.memory, "±", "frozen", "absent"
        )?;
        for row in &self.rows {
            let (on, error) = (p(Some(row.accuracy)), p(Some(row.standard_error)));
            let (frozen, absent) = (p(row.frozen), p(row.absent));
            let BabilongRow { task, length, samples, mean_tokens, .. } = row;
            writeln!(f, "{task:<6}{length:>9}{mean_tokens:>12.0}{samples:>9}{on:>10}{error:>9}{frozen:>9}{absent:>9}")?;
        }
        for (task, b) in self.baselines.iter().flatten() {
            let (majority, last, chance) = (p(Some(b.majority)), p(Some(b.last_mentioned)), p(Some(b.chance)));
            writeln!(f, "{task}: the commonest answer {majority}, the last one mentioned {last}, guessing {chance}")?;
        }
        Ok(())
    }
}

/// The columns of [`babilong_row`].
pub const BABILONG_COLUMNS: [&str; 9] =
    ["task", "length", "tokens", "number", "question", "answer", "said", "nats", "right"];

/// A question and what the model said, as a row of a table.
pub fn babilong_row(ask: &Ask, (length, tokens): (usize, usize), found: &FoundAnswer, said: &str) -> Vec<String> {
    vec![
        format!("qa{}", ask.task),
        length.to_string(),
        tokens.to_string(),
        ask.from.number.to_string(),
        ask.from.question.clone(),
        ask.from.answer.clone(),
        said.trim().to_owned(),
        found.nats().to_string(),
        u8::from(found.right()).to_string(),
    ]
}
