//! Logistic regression on how often each word of k letters occurs: the baseline of sequence classification.
//!
//! Counts are divided by their root mean square, the loss is the mean cross-entropy plus ridge / 2 · ‖W‖² (no ridge for
//! the biases), solved by L-BFGS from the strongest ridge to the weakest; that with the lowest loss on the validation
//! rows is taken.

use crate::{Error, Result};
use std::collections::{HashMap, VecDeque};

/// Most words that count, the most frequent ones in the training rows.
const WORDS: usize = 1 << 17;
/// Ridges, from the strongest on.
const RIDGES: [f64; 7] = [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4];
/// Steps of the solver at one ridge, at most.
const STEPS: usize = 120;
/// Steps that its picture of the curvature is made of.
const HISTORY: usize = 8;
/// It stops where the gradient is so small.
const SMALL: f64 = 1e-5;

/// Counts of words, row by row, as the words' numbers with their scaled counts.
#[derive(Debug)]
struct WordCounts {
    rows: Vec<Vec<(u32, f64)>>,
}

/// A fitted baseline.
#[derive(Debug)]
pub struct Logistic {
    k: usize,
    classes: usize,
    words: HashMap<Box<[u32]>, u32>,
    scale: f64,
    /// `[words + 1, classes]`, the last row the biases.
    weights: Vec<f64>,
    /// The ridge that was taken.
    pub ridge: f64,
}

impl Logistic {
    /// Fits words of `k` letters to rows of letters' numbers and their classes.
    ///
    /// # Errors
    /// [`Error::Usage`] without rows.
    pub fn fit(k: usize, classes: usize, train: &[(&[u32], u32)], valid: &[(&[u32], u32)]) -> Result<Self> {
        if train.is_empty() || valid.is_empty() || k == 0 {
            return Err(Error::usage("logistic regression: expected training and validation rows, found none"));
        }
        let mut often: HashMap<&[u32], u64> = HashMap::new();
        train.iter().flat_map(|(row, _)| row.windows(k)).for_each(|word| *often.entry(word).or_default() += 1);
        let mut often: Vec<(&[u32], u64)> = often.into_iter().collect();
        often.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        often.truncate(WORDS);
        let words = often.iter().zip(0..).map(|((word, _), i)| (Box::from(*word), i)).collect();
        let mut found = Self { k, classes, words, scale: 1.0, weights: Vec::new(), ridge: 0.0 };
        let squares: f64 = train.iter().flat_map(|(row, _)| found.count(row)).map(|(_, x)| x * x).sum();
        found.scale = (squares / (train.len() * found.words.len().max(1)) as f64).sqrt().max(f64::MIN_POSITIVE);
        let counts =
            |rows: &[(&[u32], u32)]| WordCounts { rows: rows.iter().map(|(row, _)| found.count(row)).collect() };
        let (x, x_valid) = (counts(train), counts(valid));
        let class = |rows: &[(&[u32], u32)]| rows.iter().map(|row| row.1).collect::<Vec<_>>();
        let (y, y_valid) = (class(train), class(valid));
        let mut weights = vec![0.0; (found.words.len() + 1) * classes];
        let mut best: Option<(f64, Vec<f64>, f64)> = None;
        for ridge in RIDGES {
            minimise(&mut weights, |w, gradient| objective(classes, &x, &y, ridge, w, gradient));
            let loss = objective(classes, &x_valid, &y_valid, 0.0, &weights, &mut []);
            if best.as_ref().is_some_and(|best| loss > best.0) {
                break;
            }
            best = Some((loss, weights.clone(), ridge));
        }
        if let Some((_, weights, ridge)) = best {
            (found.weights, found.ridge) = (weights, ridge);
        }
        Ok(found)
    }

    /// The classes' probabilities of a row.
    pub fn probabilities(&self, row: &[u32]) -> Vec<f64> {
        let mut said = vec![0.0; self.classes];
        say(self.classes, &self.count(row), &self.weights, &mut said);
        softmax(&mut said);
        said
    }

    fn count(&self, row: &[u32]) -> Vec<(u32, f64)> {
        let mut words: Vec<u32> = row.windows(self.k).filter_map(|word| self.words.get(word).copied()).collect();
        words.sort_unstable();
        words.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f64 / self.scale)).collect()
    }
}

/// Logits of a row.
fn say(classes: usize, row: &[(u32, f64)], weights: &[f64], said: &mut [f64]) {
    let (body, biases) = weights.split_at(weights.len().saturating_sub(classes));
    said.copy_from_slice(biases);
    for &(word, count) in row {
        let weights = &body[word as usize * classes..][..classes];
        said.iter_mut().zip(weights).for_each(|(y, w)| *y += count * w);
    }
}

/// Logits become probabilities; returns their log-sum-exp.
fn softmax(x: &mut [f64]) -> f64 {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    x.iter_mut().for_each(|x| *x = (*x - top).exp());
    let sum: f64 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= sum);
    sum.ln() + top
}

/// The mean loss with its ridge, and where `gradient` has room, its gradient.
fn objective(classes: usize, x: &WordCounts, y: &[u32], ridge: f64, weights: &[f64], gradient: &mut [f64]) -> f64 {
    let n = y.len().max(1) as f64;
    let body = weights.len() - classes;
    gradient.fill(0.0);
    let (mut loss, mut said) = (0.0, vec![0.0; classes]);
    for (row, &class) in x.rows.iter().zip(y) {
        say(classes, row, weights, &mut said);
        let logit = said[class as usize];
        loss += softmax(&mut said) - logit;
        if gradient.is_empty() {
            continue;
        }
        said[class as usize] -= 1.0;
        for &(word, count) in row {
            let d = &mut gradient[word as usize * classes..][..classes];
            d.iter_mut().zip(&said).for_each(|(d, p)| *d += count * p);
        }
        gradient[body..].iter_mut().zip(&said).for_each(|(d, p)| *d += p);
    }
    gradient.iter_mut().for_each(|d| *d /= n);
    gradient.iter_mut().zip(&weights[..body]).for_each(|(d, w)| *d += ridge * w);
    loss / n + ridge / 2.0 * weights[..body].iter().map(|w| w * w).sum::<f64>()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// L-BFGS with halving steps: `of` gives value and gradient.
fn minimise(w: &mut Vec<f64>, of: impl Fn(&[f64], &mut [f64]) -> f64) {
    let mut gradient = vec![0.0; w.len()];
    let mut value = of(w, &mut gradient);
    let mut history: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    for _ in 0..STEPS {
        if dot(&gradient, &gradient).sqrt() < SMALL {
            return;
        }
        let direction = newton(&gradient, &history);
        let slope = dot(&direction, &gradient);
        let (mut step, mut next, mut next_gradient) = (1.0, w.clone(), vec![0.0; w.len()]);
        let found = (0..30).find_map(|_| {
            next.iter_mut().zip(w.iter()).zip(&direction).for_each(|((next, w), d)| *next = w - step * d);
            let found = of(&next, &mut next_gradient);
            if found <= value - 1e-4 * step * slope {
                return Some(found);
            }
            step /= 2.0;
            None
        });
        let Some(found) = found else { return };
        let s: Vec<f64> = next.iter().zip(w.iter()).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        if dot(&s, &y) > 0.0 {
            history.push_back((s, y));
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
        let gain = value - found;
        (*w, gradient, value) = (next, next_gradient, found);
        if gain < 1e-9 * value.abs() {
            return;
        }
    }
}

/// The two loops: the gradient times what the history says of the inverse curvature.
fn newton(gradient: &[f64], history: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut shares = Vec::with_capacity(history.len());
    for (s, y) in history.iter().rev() {
        let share = dot(s, &q) / dot(s, y);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= share * y);
        shares.push(share);
    }
    let scale = history.back().map_or(1.0, |(s, y)| dot(s, y) / dot(y, y));
    q.iter_mut().for_each(|q| *q *= scale);
    for ((s, y), share) in history.iter().zip(shares.iter().rev()) {
        let other = dot(y, &q) / dot(s, y);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (share - other) * s);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::{Logistic, WordCounts, minimise, objective};

    #[test]
    fn the_gradient_is_that_of_the_objective_and_its_minimum_is_found() {
        let rows = vec![vec![(0, 1.0), (2, 0.5)], vec![(1, 2.0)], vec![(0, 0.5), (1, 1.0), (2, 1.5)], vec![]];
        let (x, y) = (WordCounts { rows }, [2, 0, 1, 2]);
        let of = |w: &[f64], d: &mut [f64]| objective(3, &x, &y, 0.1, w, d);
        let w: Vec<f64> = (0..12).map(|i| f64::from(i * 7 % 5) / 5.0 - 0.4).collect();
        let mut gradient = vec![f64::NAN; 12];
        let value = of(&w, &mut gradient);
        for i in 0..12 {
            let at = |h: f64| {
                let mut moved = w.clone();
                moved[i] += h;
                of(&moved, &mut [])
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((difference - gradient[i]).abs() < 1e-9, "{i}: {difference} {}", gradient[i]);
        }
        let mut least = w.clone();
        minimise(&mut least, of);
        assert!(of(&least, &mut gradient) < value);
        assert!(gradient.iter().all(|d| d.abs() < 1e-4), "{gradient:?}");
    }

    #[test]
    fn a_word_that_tells_classes_apart_is_found() {
        // Class 1 has the word 0 1 2 somewhere.
        let letters = |i: u32| -> Vec<u32> {
            let mut row: Vec<u32> =
                (0..20).map(|t| (i * 31 + t * t * (i + 3)) % 3).map(|x| if x == 1 { 3 } else { x }).collect();
            if i % 2 == 1 {
                row[(i as usize * 7) % 17..][..3].copy_from_slice(&[0, 1, 2]);
            }
            row
        };
        let rows: Vec<(Vec<u32>, u32)> = (0..200).map(|i| (letters(i), i % 2)).collect();
        let of = |range: std::ops::Range<usize>| {
            rows[range].iter().map(|(row, class)| (&row[..], *class)).collect::<Vec<_>>()
        };
        let (train, valid) = (of(0..120), of(120..160));
        let found = Logistic::fit(3, 2, &train, &valid).unwrap();
        for (row, class) in of(160..200) {
            let p = found.probabilities(row);
            assert!(p[class as usize] > 0.5 && (p[0] + p[1] - 1.0).abs() < 1e-12, "{row:?} {p:?}");
        }
        assert!(Logistic::fit(3, 2, &[], &valid).is_err());
        // Shorter than a word: the biases alone.
        assert_eq!(found.probabilities(&[0]).len(), 2);
    }
}
