//! Sequences of the recall task: key–value pairs hidden in noise, then every key again with its value.
//!
//! A sequence of `length` tokens with `pairs` pairs holds `pairs` times `key value` at random places of a stream of
//! noise, and ends with `pairs` times `key value` in another order. The task is to predict each of these last values
//! from its key. A longer sequence has more noise and more distance, never more pairs.

use crate::device::IGNORE;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// How many symbols of each kind there are. Ids: keys first, then values, then noise.
///
/// ```
/// use titans_host::data::recall::Alphabet;
/// use titans_host::data::{Purpose, rng};
///
/// let alphabet = Alphabet::default();
/// let sequence = alphabet.sequence(&mut rng(1, Purpose::Training, 0, 0), 64, 4)?; // 4 pairs in 64 tokens
/// assert_eq!(sequence.ids.len(), 64);
/// assert!(sequence.ids.iter().all(|&id| (id as usize) < alphabet.vocabulary()));
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alphabet {
    /// Symbols that are keys.
    pub keys: usize,
    /// Symbols that are values: chance is 1 in this many.
    pub values: usize,
    /// Symbols that mean nothing.
    pub noise: usize,
}

impl Default for Alphabet {
    fn default() -> Self {
        Self { keys: 32, values: 32, noise: 32 }
    }
}

/// One sequence: `ids` to read, and for each the `target` it should predict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// At each queried key its value, [`IGNORE`] elsewhere.
    pub targets: Vec<u32>,
}

impl Alphabet {
    /// Symbols in all.
    pub fn vocabulary(&self) -> usize {
        self.keys.saturating_add(self.values).saturating_add(self.noise)
    }

    /// Shortest sequence that holds `pairs` pairs twice: no noise at all.
    pub const fn least_length(pairs: usize) -> usize {
        pairs.saturating_mul(4)
    }

    /// Draws one sequence of exactly `length` tokens with exactly `pairs` different keys.
    ///
    /// # Errors
    /// [`Error::Usage`] when there are no pairs, more pairs than keys, no values, noise to write but no noise
    /// symbols, or when the pairs do not fit in the length.
    pub fn sequence<R: Rng>(&self, rng: &mut R, length: usize, pairs: usize) -> Result<Sequence> {
        let tokens = self.tokens(rng, length, pairs)?;
        let mut sequence = Sequence { ids: Vec::with_capacity(length), targets: Vec::with_capacity(length) };
        for (id, target) in tokens {
            sequence.ids.push(id);
            sequence.targets.push(target);
        }
        Ok(sequence)
    }

    /// The same token by token, each id with its target: any length in the same few bytes.
    ///
    /// # Errors
    /// As [`Alphabet::sequence`].
    pub fn tokens<R: Rng>(&self, mut rng: R, length: usize, pairs: usize) -> Result<Tokens<R>> {
        self.check(length, pairs)?;
        let mut keys: Vec<u32> = (0..self.keys as u32).collect();
        keys.shuffle(&mut rng);
        let value = |rng: &mut R| (self.keys + below(rng, self.values)) as u32;
        let shown = keys[..pairs].iter().map(|&key| (key, value(&mut rng))).collect();
        let noise = length - Self::least_length(pairs);
        Ok(Tokens { alphabet: *self, rng, shown, queried: None, pairs, noise, second: None })
    }

    /// Whether [`Alphabet::sequence`] can draw such sequences.
    ///
    /// # Errors
    /// As [`Alphabet::sequence`].
    pub fn check(&self, length: usize, pairs: usize) -> Result<()> {
        let needed = Self::least_length(pairs);
        if pairs == 0 || pairs > self.keys {
            return Err(Error::usage(format!("pairs: expected 1 to {} (one a key), found {pairs}", self.keys)));
        }
        if length < needed {
            return Err(Error::usage(format!(
                "{pairs} pairs need at least {needed} tokens, found {length}; give longer sequences, or fewer --pairs in training"
            )));
        }
        if self.values == 0 || (self.noise == 0 && length > needed) {
            return Err(Error::usage("alphabet: expected at least one value and one noise symbol, found 0"));
        }
        if self.vocabulary() > 1 << 20 {
            return Err(Error::usage(format!("alphabet: at most 1048576 symbols, found {}", self.vocabulary())));
        }
        Ok(())
    }
}

/// The tokens of a sequence, one after another ([`Alphabet::tokens`]).
#[derive(Debug)]
pub struct Tokens<R> {
    alphabet: Alphabet,
    rng: R,
    shown: Vec<(u32, u32)>,
    /// The pairs still to be queried, the next one last; none before the queries begin.
    queried: Option<Vec<(u32, u32)>>,
    /// Pairs and noise tokens still to be shown.
    pairs: usize,
    noise: usize,
    /// The value behind the key that was given.
    second: Option<u32>,
}

impl<R: Rng> Iterator for Tokens<R> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(value) = self.second.take() {
            return Some((value, IGNORE));
        }
        // Pairs and noise tokens are units in a random order: choosing units in turn with the odds of those left.
        let units = self.pairs + self.noise;
        if units > 0 {
            if below(&mut self.rng, units) < self.pairs {
                let (key, value) = self.shown[self.shown.len() - self.pairs];
                self.pairs -= 1;
                self.second = Some(value);
                return Some((key, IGNORE));
            }
            self.noise -= 1;
            let Alphabet { keys, values, noise } = self.alphabet;
            return Some(((keys + values + below(&mut self.rng, noise)) as u32, IGNORE));
        }
        let (shown, rng) = (&self.shown, &mut self.rng);
        let queried = self.queried.get_or_insert_with(|| {
            let mut queried = shown.clone();
            queried.shuffle(rng);
            if queried == *shown {
                queried.rotate_left(1); // "another order", also when the shuffle gave the same one
            }
            queried.reverse();
            queried
        });
        let (key, value) = queried.pop()?;
        self.second = Some(value);
        Some((key, value))
    }
}

fn below<R: Rng>(rng: &mut R, n: usize) -> usize {
    rng.random_range(0..n as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::{Alphabet, IGNORE};
    use crate::data::{Purpose, rng};
    use std::collections::HashMap;

    /// Reads a sequence as a listener would, and checks every promise of the module's description.
    fn check(alphabet: Alphabet, ids: &[u32], targets: &[u32], pairs: usize) {
        let start = ids.len() - 2 * pairs;
        let (keys, values) = (alphabet.keys as u32, alphabet.values as u32);
        let mut shown = HashMap::new();
        let mut order = Vec::new();
        let mut at = 0;
        while at < start {
            if ids[at] < keys {
                assert!((keys..keys + values).contains(&ids[at + 1]), "a value follows its key");
                assert!(shown.insert(ids[at], ids[at + 1]).is_none(), "a key is shown once");
                order.push(ids[at]);
                at += 2;
            } else {
                assert!((keys + values..alphabet.vocabulary() as u32).contains(&ids[at]), "noise");
                at += 1;
            }
        }
        assert_eq!(shown.len(), pairs);
        let queried: Vec<u32> = ids[start..].iter().copied().step_by(2).collect();
        for (i, key) in queried.iter().enumerate() {
            assert_eq!(shown.get(key), Some(&ids[start + 2 * i + 1]), "every queried key was shown with this value");
            assert_eq!(targets[start + 2 * i], ids[start + 2 * i + 1]);
        }
        assert!(pairs == 1 || queried != order, "another order");
        let scored = targets.iter().filter(|&&t| t != IGNORE).count();
        assert_eq!(scored, pairs, "scored on the queried values only");
        let mut all = queried;
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), pairs, "every key is queried once");
    }

    #[test]
    fn every_queried_key_was_shown_and_pairs_do_not_depend_on_the_length() {
        let alphabet = Alphabet::default();
        assert_eq!(alphabet.vocabulary(), 96);
        for (i, length) in [64, 65, 256, 1021, 4096].into_iter().enumerate() {
            for seed in 0..20 {
                let mut rng = rng(seed, Purpose::Training, i as u64, 0);
                let s = alphabet.sequence(&mut rng, length, 16).unwrap();
                assert_eq!((s.ids.len(), s.targets.len()), (length, length));
                check(alphabet, &s.ids, &s.targets, 16);
            }
        }
        for pairs in 1..=32 {
            let s = alphabet.sequence(&mut rng(9, Purpose::Training, 0, 0), 4 * pairs, pairs).unwrap();
            check(alphabet, &s.ids, &s.targets, pairs);
        }
    }

    #[test]
    fn pairs_are_spread_over_the_whole_stream() {
        let alphabet = Alphabet::default();
        let (mut early, mut late) = (0, 0);
        for seed in 0..50 {
            let s = alphabet.sequence(&mut rng(seed, Purpose::Training, 0, 0), 1000, 4).unwrap();
            early += s.ids[..496].iter().filter(|&&id| id < 32).count();
            late += s.ids[496..992].iter().filter(|&&id| id < 32).count();
        }
        assert_eq!(early + late, 200);
        assert!((70..=130).contains(&early), "half of the pairs on each side: {early} and {late}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let alphabet = Alphabet::default();
        let mut rng = rng(0, Purpose::Training, 0, 0);
        assert!(alphabet.sequence(&mut rng, 63, 16).unwrap_err().to_string().contains("at least 64"));
        assert!(alphabet.sequence(&mut rng, 400, 33).unwrap_err().to_string().contains("1 to 32"));
        assert!(alphabet.sequence(&mut rng, 400, 0).is_err());
        let silent = Alphabet { noise: 0, ..alphabet };
        assert!(silent.sequence(&mut rng, 8, 2).is_ok());
        assert!(silent.sequence(&mut rng, 9, 2).is_err());
        assert!(Alphabet { values: 0, ..alphabet }.sequence(&mut rng, 8, 2).is_err());
    }
}
