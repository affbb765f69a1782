//! How a text is shared out for training, validation and test.

use crate::data::expect_shares;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Bytes of enwik8, and of its validation and test parts.
const ENWIK8: [usize; 3] = [100_000_000, 5_000_000, 5_000_000];

/// Bytes for training, validation and test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextSplit {
    /// The usual split of the first 10⁸ bytes of Wikipedia: 90, 5 and 5 million bytes.
    Enwik8,
    /// Shares of the bytes for training and validation; the rest is the test.
    Shares(f64, f64),
}

/// Where the parts of a text begin and end, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextParts {
    /// What is learned from.
    pub train: Range<usize>,
    /// By which the best checkpoint is chosen.
    pub valid: Range<usize>,
    /// What is measured.
    pub test: Range<usize>,
}

impl std::str::FromStr for TextSplit {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let share = |x: &str| x.trim().parse::<f64>().ok();
        match (text, text.split_once(',').and_then(|(a, b)| share(a).zip(share(b)))) {
            ("enwik8", _) => Ok(Self::Enwik8),
            (_, Some((train, valid))) => Ok(Self::Shares(train, valid)),
            _ => Err("expected enwik8, or two shares as 0.9,0.05 (training, validation)".into()),
        }
    }
}

impl TextSplit {
    /// The parts of so many bytes.
    ///
    /// # Errors
    /// [`Error::Usage`] for shares that are none, and for another number of bytes than the split is of.
    pub fn parts(self, bytes: usize) -> Result<TextParts> {
        let (valid, test) = match self {
            Self::Enwik8 => {
                let [all, valid, test] = ENWIK8;
                if bytes != all {
                    return Err(Error::usage(format!(
                        "--split enwik8: expected the {all} bytes of enwik8, found {bytes}; give that file alone, or shares as --split \
                         0.9,0.05"
                    )));
                }
                (all - test - valid, all - test)
            }
            Self::Shares(train, valid) => {
                expect_shares(train, valid)?;
                let at = |share: f64| ((bytes as f64 * share).round() as usize).min(bytes);
                (at(train), at(train + valid))
            }
        };
        Ok(TextParts { train: 0..valid, valid: valid..test, test: test..bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::TextSplit;

    #[test]
    fn parts_are_those_of_the_benchmark_and_of_shares() {
        let parts = TextSplit::Enwik8.parts(100_000_000).unwrap();
        assert_eq!((parts.train, parts.valid), (0..90_000_000, 90_000_000..95_000_000));
        assert_eq!(parts.test, 95_000_000..100_000_000);
        let parts = "0.9,0.05".parse::<TextSplit>().unwrap().parts(1000).unwrap();
        assert_eq!((parts.train, parts.valid, parts.test), (0..900, 900..950, 950..1000));
    }

    #[test]
    fn what_is_no_split_is_refused() {
        for text in ["", "enwik", "0.9", "a,b", "0.9;0.05"] {
            assert!(text.parse::<TextSplit>().is_err(), "{text}");
        }
        for bytes in [0, 99_999_999, 100_000_001] {
            let error = TextSplit::Enwik8.parts(bytes).unwrap_err().to_string();
            assert!(error.contains("100000000") && error.contains(&bytes.to_string()), "{error}");
        }
        for (train, valid) in [(0.0, 0.1), (0.9, 0.1), (f64::NAN, 0.1), (0.5, -0.1), (0.5, f64::INFINITY)] {
            let error = TextSplit::Shares(train, valid).parts(100).unwrap_err().to_string();
            assert!(error.contains("shares above 0"), "{error}");
        }
    }
}
