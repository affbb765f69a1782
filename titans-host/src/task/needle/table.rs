//! Needles by length and depth: as a table, for JSON and for people.

use super::{NeedleConfig, NeedleItem};
use crate::data::needle::NeedleKind;
use crate::task::hidden::{FoundAnswer, share};
use serde::Serialize;

/// One length and depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NeedleCell {
    /// Tokens.
    pub length: usize,
    /// Percent of the haystack before the needle.
    pub depth: f64,
    /// Samples.
    pub samples: usize,
    /// Share of them whose whole value the model writes, 0 to 1.
    pub accuracy: f64,
    /// Mean −log p of a value.
    pub nats: f64,
}

/// One length, over all depths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NeedleLength {
    /// Tokens.
    pub length: usize,
    /// Samples.
    pub samples: usize,
    /// Share of them whose whole value the model writes, 0 to 1.
    pub accuracy: f64,
    /// Its standard error, by the samples.
    pub standard_error: f64,
    /// The share where the memory does not write; none where it was not measured or there is no memory.
    pub frozen: Option<f64>,
    /// The share without the memory; likewise.
    pub absent: Option<f64>,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NeedleTable {
    /// What was hidden.
    pub kind: NeedleKind,
    /// In what: noise (sentences that repeat) or text.
    pub haystack: &'static str,
    /// What a token is: bytes or bpe.
    pub tokens: &'static str,
    /// What the memory did.
    pub memory: &'static str,
    /// By length.
    pub lengths: Vec<NeedleLength>,
    /// By length and depth.
    pub cells: Vec<NeedleCell>,
    /// The share that guessing a value would get right.
    pub chance: f64,
}

impl NeedleCell {
    /// Of the samples of one length and depth, and what was said to them.
    pub fn of(length: usize, depth: f64, found: &[FoundAnswer]) -> Self {
        let nats = found.iter().map(FoundAnswer::nats).sum::<f64>() / found.len().max(1) as f64;
        Self { length, depth, samples: found.len(), accuracy: share(found), nats }
    }
}

impl NeedleLength {
    /// Over the cells of one length.
    pub fn of(length: usize, cells: &[NeedleCell]) -> Self {
        let samples: usize = cells.iter().map(|cell| cell.samples).sum();
        let right: f64 = cells.iter().map(|cell| cell.accuracy * cell.samples as f64).sum();
        let accuracy = right / samples.max(1) as f64;
        let standard_error = (accuracy * (1.0 - accuracy) / samples.max(1) as f64).sqrt();
        Self { length, samples, accuracy, standard_error, frozen: None, absent: None }
    }
}

impl NeedleTable {
    /// Before anything is measured.
    pub fn new(config: &NeedleConfig, haystack: &'static str, memory: &'static str) -> Self {
        let tokens = if config.tokenizer.is_some() { "bpe" } else { "bytes" };
        let (kind, chance) = (config.kind, config.kind.chance());
        Self { kind, haystack, tokens, memory, lengths: Vec::new(), cells: Vec::new(), chance }
    }
}

impl std::fmt::Display for NeedleTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut depths: Vec<f64> = Vec::new();
        for cell in &self.cells {
            if !depths.contains(&cell.depth) {
                depths.push(cell.depth);
            }
        }
        let heads: String = depths.iter().map(|depth| format!("{:>9}", format!("{depth} %"))).collect();
        writeln!(f, "{:>9}  {:>8}  {:>8}  {:>8}  by depth{heads}", "tokens", self.memory, "frozen", "absent")?;
        let p = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.1} %", 100.0 * x));
        for row in &self.lengths {
            let at = |depth: &f64| {
                let cell = self.cells.iter().find(|cell| cell.length == row.length && cell.depth == *depth);
                format!("{:>9}", p(cell.map(|cell| cell.accuracy)))
            };
            let cells: String = depths.iter().map(at).collect();
            let (on, frozen, absent) = (p(Some(row.accuracy)), p(row.frozen), p(row.absent));
            writeln!(f, "{:>9}  {on:>8}  {frozen:>8}  {absent:>8}          {cells}", row.length)?;
        }
        Ok(())
    }
}

/// The columns of [`row`].
pub const COLUMNS: [&str; 8] = ["length", "depth", "number", "key", "value", "said", "nats", "right"];

/// A sample and what the model said, as a row of a table.
pub fn row(item: &NeedleItem, found: &FoundAnswer, said: &str) -> Vec<String> {
    vec![
        item.hidden.len().to_string(),
        item.depth.to_string(),
        item.number.to_string(),
        item.needle.key.clone(),
        item.needle.value.clone(),
        said.trim_start().to_owned(),
        found.nats().to_string(),
        u8::from(found.right()).to_string(),
    ]
}
