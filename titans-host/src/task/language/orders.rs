//! Baselines of a text by counting: what bytes came after the last few bytes, and what a packer makes of it.

use crate::{Error, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Write;

/// Bytes that a context has at most, in a text of few different bytes and in any.
const LONGEST: usize = 6;
const LONGEST_OF_ANY: usize = 4;
/// So many different bytes are few: bases, digits.
const FEW: usize = 16;

/// Bits a byte without a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextBaselines {
    /// By the bytes of context (`0` to `4`; to `6` where training has 16 different bytes or fewer): counts of the
    /// training part, mixed with those of all shorter contexts (Witten and Bell).
    pub orders: BTreeMap<usize, f64>,
    /// The same with counts that go on through the evaluated text, as a memory does.
    pub orders_adaptive: BTreeMap<usize, f64>,
    /// gzip at its best, of the evaluated text alone.
    pub gzip: f64,
}

/// Counts `train`, and measures all on `text`, but for its first byte, which no model predicts either.
///
/// # Errors
/// [`Error::Usage`] for a text of fewer than 2 bytes.
pub fn text_baselines(train: &[u8], text: &[u8]) -> Result<TextBaselines> {
    if text.len() < 2 {
        return Err(Error::usage(format!("the data are too short: at least 2 bytes are needed, found {}", text.len())));
    }
    let mut counts = ByteCounts::of(train);
    (0..train.len()).for_each(|i| counts.add(&train[..i], train[i]));
    let orders = counts.measure(text, false);
    let orders_adaptive = counts.measure(text, true);
    Ok(TextBaselines { orders, orders_adaptive, gzip: 8.0 * packed(text) as f64 / text.len() as f64 })
}

/// Bytes of a text behind gzip.
fn packed(text: &[u8]) -> usize {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    gzip.write_all(text).and_then(|()| gzip.finish()).map_or(text.len(), |bytes| bytes.len())
}

/// How often bytes came behind contexts of 0 to [`LONGEST`] bytes.
#[derive(Default)]
struct ByteCounts {
    longest: usize,
    pairs: HashMap<u64, u32, BuildHasherDefault<Mix>>,
    /// How often a context came, and how many bytes have come behind it.
    contexts: HashMap<u64, (u32, u32), BuildHasherDefault<Mix>>,
}

/// A context's key: its length and its bytes. A pair's has the byte behind them.
fn key(before: &[u8], order: usize) -> u64 {
    let bytes = before[before.len() - order..].iter().fold(0, |key, &b| key << 8 | u64::from(b));
    (order as u64) << 56 | bytes << 8
}

impl ByteCounts {
    /// Before anything of such a text was counted.
    fn of(text: &[u8]) -> Self {
        let mut seen = [false; 256];
        text.iter().for_each(|&b| seen[usize::from(b)] = true);
        let few = seen.iter().filter(|&&seen| seen).count() <= FEW;
        Self { longest: if few { LONGEST } else { LONGEST_OF_ANY }, ..Self::default() }
    }

    fn add(&mut self, before: &[u8], byte: u8) {
        for order in 0..=self.longest.min(before.len()) {
            let key = key(before, order);
            let count = self.pairs.entry(key | u64::from(byte)).or_default();
            let context = self.contexts.entry(key).or_default();
            (context.0, context.1) = (context.0.saturating_add(1), context.1 + u32::from(*count == 0));
            *count = count.saturating_add(1);
        }
    }

    /// The probability of a byte by contexts of 0 bytes, of up to 1 byte, and so on.
    fn probabilities(&self, before: &[u8], byte: u8) -> [f64; LONGEST + 1] {
        let (mut p, mut all) = (1.0 / 256.0, [0.0; LONGEST + 1]);
        for (order, said) in all.iter_mut().enumerate() {
            if order <= before.len().min(self.longest) {
                let key = key(before, order);
                if let Some(&(total, distinct)) = self.contexts.get(&key) {
                    let count = self.pairs.get(&(key | u64::from(byte))).copied().unwrap_or(0);
                    p = (f64::from(count) + f64::from(distinct) * p) / (f64::from(total) + f64::from(distinct));
                }
            }
            *said = p;
        }
        all
    }

    fn measure(&mut self, text: &[u8], adapt: bool) -> BTreeMap<usize, f64> {
        let mut bits = [0.0; LONGEST + 1];
        for (i, &byte) in text.iter().enumerate() {
            if i > 0 {
                let said = self.probabilities(&text[..i], byte);
                bits.iter_mut().zip(said).for_each(|(bits, p)| *bits -= p.log2());
            }
            if adapt {
                self.add(&text[..i], byte);
            }
        }
        bits.iter().map(|bits| bits / (text.len() - 1) as f64).enumerate().take(self.longest + 1).collect()
    }
}

/// A quick hash of keys that nobody chooses to collide.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(u64::from(b)));
    }

    fn write_u64(&mut self, key: u64) {
        let mixed = (self.0 ^ key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteCounts, text_baselines};

    #[test]
    fn probabilities_of_all_bytes_are_one_in_every_context() {
        let text = b"abracadabra, abracadabra!";
        let mut counts = ByteCounts::of(text);
        assert_eq!(counts.longest, 6);
        (0..text.len()).for_each(|i| counts.add(&text[..i], text[i]));
        for before in [&b""[..], b"a", b"abra", b"xyz", b"zabr"] {
            let mut sums = [0.0; 7];
            for byte in 0..=255 {
                sums.iter_mut().zip(counts.probabilities(before, byte)).for_each(|(sum, p)| *sum += p);
            }
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12), "{before:?}: {sums:?}");
        }
    }

    #[test]
    fn longer_contexts_and_going_on_to_learn_pay_on_what_repeats() {
        let train: Vec<u8> = (0..2000u32).flat_map(|i| format!("{} bottles\n", i % 10).into_bytes()).collect();
        let new: Vec<u8> = (0..200u32).flat_map(|i| format!("{} glasses\n", i % 10).into_bytes()).collect();
        let found = text_baselines(&train, &new).unwrap();
        assert_eq!(found.orders.len(), 5, "more than 16 different bytes");
        assert!(found.orders[&0] > 2.0 && found.orders_adaptive[&2] < 1.0, "{found:?}");
        assert!(found.orders[&4] > 4.0 * found.orders_adaptive[&4], "{found:?}");
        assert!(text_baselines(&train, &train[..500]).unwrap().orders[&4] < 0.6);
        assert!(found.gzip > 0.0 && found.gzip < 2.0);
        assert!(text_baselines(&train, b"x").is_err() && text_baselines(b"", b"xy").is_ok());
    }

    #[test]
    fn a_byte_of_order_0_costs_what_its_count_says() {
        let found = text_baselines(b"aaab", b"xa").unwrap();
        assert_eq!(found.orders.len(), 7, "few different bytes have longer contexts");
        // 3 of 4 with 2 distinct ones: (3 + 2/256) / 6.
        assert!((found.orders[&0] + ((3.0 + 2.0 / 256.0) / 6.0f64).log2()).abs() < 1e-12);
    }
}
