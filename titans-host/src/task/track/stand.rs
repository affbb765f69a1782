//! From easy to hard: of how many of a group's elements words are made, and how long they are.
//!
//! Words of a few elements are learned as a walk over all states, which short words of sixty elements are not: those
//! are learned by heart.

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

#[cfg(test)]
mod tests {
    use super::Stand;

    #[test]
    fn first_all_elements_come_up_then_words_grow() {
        let mut stand = Stand { length: 8.0, elements: 6.0, accuracy: 0.0, since: 0 };
        for _ in 0..100 {
            stand.hear(0.9, 60, 64);
        }
        assert_eq!((stand.length, stand.elements), (8.0, 6.0), "90 % are not tracked");
        let mut places = vec![(6.0, 8.0)];
        for _ in 0..1000 {
            stand.hear(1.0, 60, 64);
            if *places.last().unwrap() != (stand.elements, stand.length) {
                places.push((stand.elements, stand.length));
            }
        }
        assert!(places.windows(2).all(|p| p[0].0 <= p[1].0 && p[0].1 <= p[1].1), "{places:?}");
        assert!(places.iter().all(|p| p.0 == 60.0 || p.1 == 8.0), "words grow when all came up: {places:?}");
        assert!(places.contains(&(7.0, 8.0)) && places.last() == Some(&(60.0, 64.0)), "{places:?}");
    }

    #[test]
    fn a_place_of_before_has_all_elements_and_one_that_cannot_be_is_none() {
        let before: Stand = serde_json::from_str(r#"{"length": 9.0, "accuracy": 0.5, "since": 3}"#).unwrap();
        assert_eq!(before.fitted(6, 64).unwrap().elements, 6.0);
        for wrong in [
            Stand { length: 65.0, ..before },
            Stand { length: 0.0, ..before },
            Stand { elements: 0.5, ..before },
            Stand { accuracy: f64::NAN, ..before },
            Stand { elements: f64::NAN, ..before },
        ] {
            assert_eq!(wrong.fitted(6, 64), None, "{wrong:?}");
        }
    }
}
