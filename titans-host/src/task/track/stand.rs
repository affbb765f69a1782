//! From easy to hard: of how many of a group's elements words are made, and how long they are.
//!
//! Words of a few elements are learned as a walk over all states, which short words of sixty elements are not: those are learned by heart.

use serde::{Deserialize, Serialize};

/// Words grow while this share of the products is right, …
const THRESHOLD: f64 = 0.95;
/// … by this factor, …
const GROWTH: f64 = 1.15;
/// … but not more often than every so many steps.
const EVERY: u64 = 5;
/// Weight of the newest step in the running accuracy.
const NEWEST: f64 = 0.1;

/// In runs of before every element came up from the first step on.
const fn all() -> f64 {
    super::ALL as f64
}

/// Where the curriculum stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stand {
    /// Elements of the longest word now.
    pub length: f64,
    /// Of how many of the group's elements words are made now.
    #[serde(default = "all")]
    pub elements: f64,
    /// Running accuracy, 0 to 1.
    pub accuracy: f64,
    /// Steps since the last growth.
    pub since: u64,
}

impl Stand {
    /// Hears a step's accuracy and grows: words of more elements up to `order`, then longer ones up to `length`.
    pub fn hear(&mut self, accuracy: f64, order: usize, length: usize) {
        self.accuracy += NEWEST * (accuracy - self.accuracy);
        self.since += 1;
        if self.accuracy > THRESHOLD && self.since >= EVERY {
            let grown = |x: f64, most: usize| (x * GROWTH).max(x + 1.0).min(most as f64);
            if self.elements < order as f64 {
                self.elements = grown(self.elements, order);
            } else {
                self.length = grown(self.length, length);
            }
            self.since = 0;
        }
    }

    /// This place in a curriculum that ends at `order` elements and words of `length`; none where it cannot be one.
    pub fn fitted(self, order: usize, length: usize) -> Option<Self> {
        let fits = (1.0..=length as f64).contains(&self.length)
            && self.elements >= 1.0
            && (0.0..=1.0).contains(&self.accuracy);
        fits.then(|| Self { elements: self.elements.min(order as f64), ..self })
    }
}
