//! From easy to hard: how long the sequences of the recall task are and how many pairs they hold.
//!
//! Straight at the full size nothing is learned; growing both while the task is solved, everything is.

use crate::data::recall::Alphabet;
use crate::data::{Purpose, rng};
use crate::{Error, Result};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Where the curriculum begins, ends, and when it moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurriculumConfig {
    /// Longest sequence at the beginning, in tokens.
    pub first_length: usize,
    /// Most pairs at the beginning.
    pub first_pairs: usize,
    /// Growth of the longest sequence.
    pub length_growth: f64,
    /// Growth of the most pairs.
    pub pairs_growth: f64,
    /// Both grow while the running accuracy is above this.
    pub threshold: f64,
    /// Fewest steps between two growths.
    pub every: u64,
    /// Weight of the newest step in the running accuracy.
    pub memory: f64,
}

impl Default for CurriculumConfig {
    fn default() -> Self {
        Self {
            first_length: 24,
            first_pairs: 2,
            length_growth: 1.15,
            pairs_growth: 1.1,
            threshold: 0.85,
            every: 5,
            memory: 0.1,
        }
    }
}

/// Where a curriculum stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    /// Longest sequence now.
    pub length: f64,
    /// Most pairs now.
    pub pairs: f64,
    /// Running accuracy, 0 to 1.
    pub accuracy: f64,
    /// Steps since the last growth.
    pub since: u64,
}

impl CurriculumConfig {
    /// The beginning of a curriculum that ends at `length` tokens and `pairs` pairs.
    pub fn start(&self, length: usize, pairs: usize) -> Curriculum {
        let (length, pairs) = (self.first_length.min(length) as f64, self.first_pairs.min(pairs) as f64);
        Curriculum { length, pairs, accuracy: 0.0, since: 0 }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, range: &str| Err(Error::usage(format!("task.curriculum.{name}: expected {range}")));
        if self.first_pairs == 0 {
            return wrong("first_pairs", "1 or more");
        }
        if self.first_length < Alphabet::least_length(self.first_pairs) {
            return wrong("first_length", "at least 4 times first_pairs");
        }
        let growth = |g: f64| g > 1.0 && g <= 2.0;
        if !(growth(self.length_growth) && growth(self.pairs_growth)) {
            return wrong("length_growth and pairs_growth", "above 1, up to 2");
        }
        if !((0.0..1.0).contains(&self.threshold) && self.memory > 0.0 && self.memory <= 1.0) {
            return wrong("threshold and memory", "0 to 1");
        }
        Ok(())
    }
}

impl Curriculum {
    /// Hears a step's accuracy and grows, up to `length` and `pairs`.
    pub fn feedback(&mut self, config: &CurriculumConfig, length: usize, pairs: usize, accuracy: f64) {
        self.accuracy += config.memory * (accuracy - self.accuracy);
        self.since += 1;
        if self.accuracy > config.threshold && self.since >= config.every {
            self.length = (self.length * config.length_growth).min(length as f64);
            self.pairs = (self.pairs * config.pairs_growth).min(pairs as f64);
            self.since = 0;
        }
    }

    /// Sizes of step `step`: pairs evenly from 2 to the most, the length log-uniform from the shortest that holds
    /// them to the longest. Returns (length, pairs).
    pub fn sizes(&self, seed: u64, step: u64) -> (usize, usize) {
        let mut rng = rng(seed, Purpose::Sizes, step, 0);
        let longest = (self.length as usize).max(4);
        let most = (self.pairs as usize).clamp(1, longest / 4) as u64;
        let pairs = rng.random_range(most.min(2)..=most) as usize;
        let shortest = Alphabet::least_length(pairs).max(16).min(longest);
        let (low, high) = ((shortest as f64).ln(), ((longest + 1) as f64).ln());
        let length = (low + rng.random::<f64>() * (high - low)).exp() as usize;
        (length.clamp(shortest, longest), pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::{Curriculum, CurriculumConfig};

    #[test]
    fn grows_while_the_task_is_solved_and_stops_at_the_goal() {
        let config = CurriculumConfig::default();
        config.validate().unwrap();
        let mut c = config.start(256, 16);
        assert_eq!((c.length, c.pairs), (24.0, 2.0));
        for _ in 0..1000 {
            c.feedback(&config, 256, 16, 0.8);
        }
        assert_eq!((c.length, c.pairs), (24.0, 2.0), "80 % is not solved");
        let mut growths = Vec::new();
        for step in 0..300 {
            let before = c;
            c.feedback(&config, 256, 16, 1.0);
            if c.length > before.length || c.pairs > before.pairs {
                growths.push(step);
            }
        }
        assert_eq!((c.length, c.pairs), (256.0, 16.0));
        assert!(growths.windows(2).all(|w| w[1] - w[0] >= 5), "{growths:?}");
        assert_eq!(growths.len(), 22, "pairs need 22 growths of 10 %, lengths 17 of 15 %");
    }

    #[test]
    fn sizes_are_a_function_of_seed_and_step_and_within_bounds() {
        let c = Curriculum { length: 256.0, pairs: 16.9, accuracy: 0.0, since: 0 };
        let (mut lengths, mut pairs) = (Vec::new(), Vec::new());
        for step in 0..2000 {
            let (length, p) = c.sizes(7, step);
            assert_eq!((length, p), c.sizes(7, step));
            assert!(length >= 4 * p && length <= 256);
            lengths.push(length);
            pairs.push(p);
        }
        assert_eq!((pairs.iter().min(), pairs.iter().max()), (Some(&2), Some(&16)));
        assert!(lengths.contains(&256) && lengths.iter().any(|&l| l < 32));
        let tiny = Curriculum { length: 5.0, pairs: 1.0, ..c };
        assert!((0..50).all(|step| matches!(tiny.sizes(0, step), (4..=5, 1))));
    }

    #[test]
    fn bad_fields_are_refused() {
        let good = CurriculumConfig::default();
        for bad in [
            CurriculumConfig { first_pairs: 0, ..good },
            CurriculumConfig { first_length: 7, ..good },
            CurriculumConfig { length_growth: 1.0, ..good },
            CurriculumConfig { pairs_growth: f64::NAN, ..good },
            CurriculumConfig { threshold: 1.0, ..good },
            CurriculumConfig { memory: 0.0, ..good },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
