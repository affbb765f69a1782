//! Readers and generators that yield token ids or rows of numbers. Every batch is a function of a seed and a step's
//! number, so that a resumed run draws what an uninterrupted one would have drawn, without saving a generator.

pub mod alphabet;
pub mod babi;
pub mod haystack;
pub mod jsonl;
pub mod labelled;
pub mod needle;
pub mod questions;
pub mod recall;
pub mod series;
pub mod text;
pub mod tokenizer;
pub mod track;

use crate::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Shares of the data for training and validation that leave something for a test.
pub(crate) fn expect_shares(train: f64, valid: f64) -> Result<()> {
    let good = |x: f64| x > 0.0 && x < 1.0;
    if good(train) && good(valid) && train + valid < 1.0 {
        return Ok(());
    }
    Err(Error::usage(format!(
        "--split: expected shares above 0 for training and validation that leave something for the test, found {train},{valid}"
    )))
}

/// What random numbers are drawn for: two purposes never share a sequence of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Sizes that all sequences of a step share.
    Sizes,
    /// The content of one training sequence.
    Training,
    /// The content of one sequence of a validation or a test.
    Evaluation,
    /// Sampling a continuation.
    Generation,
    /// What a training step drops; the sequence is the part of its batch.
    Dropout,
    /// Whether a step's sequences begin with the memories of the text before them.
    Carry,
}

/// The generator of sequence `sequence` of step `step`: the four numbers are its key.
pub fn rng(seed: u64, purpose: Purpose, step: u64, sequence: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, step, sequence]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::{Purpose, rng};
    use rand::Rng;

    #[test]
    fn each_of_the_four_numbers_changes_the_sequence() {
        let first = |seed, purpose, step, sequence| rng(seed, purpose, step, sequence).next_u64();
        let base = first(1, Purpose::Training, 2, 3);
        assert_eq!(base, first(1, Purpose::Training, 2, 3));
        assert_ne!(base, first(2, Purpose::Training, 2, 3));
        assert_ne!(base, first(1, Purpose::Evaluation, 2, 3));
        assert_ne!(base, first(1, Purpose::Training, 3, 3));
        assert_ne!(base, first(1, Purpose::Training, 2, 4));
    }
}
