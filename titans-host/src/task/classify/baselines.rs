//! What a classification is worth anything against: the most frequent class, and logistic regressions on counts of
//! words.

use super::{ClassScores, Example, Logistic};
use crate::Result;
use serde::Serialize;

/// Letters of the words that are counted.
const WORDS: [usize; 2] = [4, 6];

/// The scores of one baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Its scores.
    #[serde(flatten)]
    pub scores: ClassScores,
    /// The ridge that validation chose; none where there is none to choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ridge: Option<f64>,
}

/// The scores of the baselines on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassBaselines {
    /// The classes as often as in the training rows, whatever the sequence.
    pub majority: Baseline,
    /// Logistic regression on how often each word of 4 letters occurs.
    pub words_4: Baseline,
    /// The same with 6 letters.
    pub words_6: Baseline,
}

impl ClassBaselines {
    /// Fits them to the training rows, chooses ridges by the validation rows, and measures them on `rows`.
    ///
    /// # Errors
    /// As [`Logistic::fit`].
    pub fn measure(classes: usize, train: &[Example], valid: &[Example], rows: &[Example]) -> Result<Self> {
        let truth: Vec<u32> = rows.iter().map(|row| row.class).collect();
        let mut often = vec![0.0; classes];
        train.iter().for_each(|row| often[row.class as usize] += 1.0 / train.len() as f64);
        let majority = ClassScores::of(classes, &vec![often; rows.len()], &truth);
        fn pairs(rows: &[Example]) -> Vec<(&[u32], u32)> {
            rows.iter().map(|row| (&row.numbers[..], row.class)).collect()
        }
        let of = |letters: usize| {
            let found = Logistic::fit(letters, classes, &pairs(train), &pairs(valid))?;
            let said: Vec<Vec<f64>> = rows.iter().map(|row| found.probabilities(&row.numbers)).collect();
            Result::Ok(Baseline { scores: ClassScores::of(classes, &said, &truth), ridge: Some(found.ridge) })
        };
        let [words_4, words_6] = WORDS.map(of);
        Ok(Self { majority: Baseline { scores: majority, ridge: None }, words_4: words_4?, words_6: words_6? })
    }
}
