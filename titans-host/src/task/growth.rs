//! From short to long: how long the sequences are among which something is to be found.

use crate::data::{Purpose, rng};
use crate::{Error, Result};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Where the lengths begin and when they grow; where they end is the task's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrowthConfig {
    /// Tokens of the longest sequence at the beginning; 0: a little more than the shortest that there can be.
    pub first_length: usize,
    /// Growth of the longest sequence.
    pub growth: f64,
    /// It grows while the running accuracy is above this.
    pub threshold: f64,
    /// Fewest steps between two growths.
    pub every: u64,
    /// Weight of the newest step in the running accuracy.
    pub memory: f64,
}

impl Default for GrowthConfig {
    fn default() -> Self {
        Self { first_length: 0, growth: 1.15, threshold: 0.9, every: 5, memory: 0.1 }
    }
}

impl GrowthConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, range: &str| Err(Error::usage(format!("task.growth.{name}: expected {range}")));
        if !(self.growth > 1.0 && self.growth <= 2.0) {
            return wrong("growth", "above 1, up to 2");
        }
        if !((0.0..1.0).contains(&self.threshold) && self.memory > 0.0 && self.memory <= 1.0) {
            return wrong("threshold and memory", "0 to 1");
        }
        Ok(())
    }

    /// Checks that the first length lies between the least that there is and the most.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field.
    pub fn expect(&self, least: usize, most: usize) -> Result<()> {
        match self.first_length {
            0 => Ok(()),
            first if (least..=most.max(least)).contains(&first) => Ok(()),
            first => Err(Error::usage(format!(
                "task.growth.first_length: expected {least}, the least that holds a sample, to {most}, the longest, found {first}"
            ))),
        }
    }

    /// The beginning: sequences of `least` to `most` tokens, most of which come later.
    pub fn start(&self, least: usize, most: usize) -> Growth {
        let first = if self.first_length == 0 { least.saturating_add(least / 8) } else { self.first_length };
        Growth { length: first.max(least).min(most) as f64, accuracy: 0.0, since: 0 }
    }
}

/// Where the lengths stand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Tokens of the longest sequence now.
    pub length: f64,
    /// Running accuracy, 0 to 1.
    pub accuracy: f64,
    /// Steps since the last growth.
    pub since: u64,
}

impl Growth {
    /// Hears a step's accuracy and grows, up to `most` tokens.
    pub fn feedback(&mut self, config: &GrowthConfig, most: usize, accuracy: f64) {
        self.accuracy += config.memory * (accuracy - self.accuracy);
        self.since += 1;
        if self.accuracy > config.threshold && self.since >= config.every {
            self.length = (self.length * config.growth).max(self.length + 1.0).min(most as f64);
            self.since = 0;
        }
    }

    /// Tokens of the sequences of step `step`: log-uniform from the shortest, `least`, to the longest now.
    pub fn size(&self, seed: u64, step: u64, least: usize) -> usize {
        let mut rng = rng(seed, Purpose::Sizes, step, 0);
        let longest = (self.length as usize).max(least).max(1);
        let (low, high) = ((least.max(1) as f64).ln(), ((longest + 1) as f64).ln());
        let length = (low + rng.random::<f64>() * (high - low)).exp() as usize;
        length.clamp(least.max(1), longest)
    }

    /// Whether it can be the state of lengths up to `most`.
    pub fn fits(&self, most: usize) -> bool {
        (1.0..=most as f64).contains(&self.length) && (0.0..=1.0).contains(&self.accuracy)
    }
}

#[cfg(test)]
mod tests {
    use super::{Growth, GrowthConfig};

    #[test]
    fn lengths_grow_while_answers_are_right_and_end_at_the_longest() {
        let config = GrowthConfig::default();
        config.validate().unwrap();
        let mut growth = config.start(100, 4096);
        assert_eq!((growth.length, config.start(100, 80).length), (112.0, 80.0));
        (0..1000).for_each(|_| growth.feedback(&config, 4096, 0.85));
        assert_eq!(growth.length, 112.0, "85 % is not enough");
        (0..50).for_each(|_| growth.feedback(&config, 4096, 1.0));
        assert!(growth.length > 300.0 && growth.length < 4096.0, "{growth:?}");
        (0..500).for_each(|_| growth.feedback(&config, 4096, 1.0));
        assert!(growth.length == 4096.0 && growth.fits(4096) && !growth.fits(4095));
    }

    #[test]
    fn sizes_are_a_function_of_seed_and_step_and_within_bounds() {
        let growth = Growth { length: 4096.0, accuracy: 0.0, since: 0 };
        let sizes: Vec<usize> = (0..2000).map(|step| growth.size(7, step, 100)).collect();
        assert_eq!(sizes, (0..2000).map(|step| growth.size(7, step, 100)).collect::<Vec<_>>());
        assert!(sizes.iter().all(|size| (100..=4096).contains(size)));
        let short = sizes.iter().filter(|&&size| size < 640).count();
        assert!((900..1100).contains(&short), "half of them below the geometric mean: {short}");
        assert_eq!(Growth { length: 1.0, ..growth }.size(7, 0, 100), 100);
    }

    #[test]
    fn bad_fields_are_refused() {
        let good = GrowthConfig::default();
        for bad in [
            GrowthConfig { growth: 1.0, ..good },
            GrowthConfig { growth: f64::NAN, ..good },
            GrowthConfig { threshold: 1.0, ..good },
            GrowthConfig { memory: 0.0, ..good },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
