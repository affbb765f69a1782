//! What classifications are worth: accuracy, Matthews correlation, F1, the area under the ROC curve, and the table of
//! confusions.

use serde::Serialize;

/// Scores of rows whose classes are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Share of the rows whose class was the likeliest one.
    pub accuracy: f64,
    /// Matthews correlation, −1 to 1 (Gorodkin's R_K of several classes); 0 where all rows are, or are said to be, of
    /// one class.
    pub mcc: f64,
    /// The mean of the harmonic mean of precision and recall over the classes that a row is of, or is said to be of; 0
    /// for a class of which no row is right.
    pub f1: f64,
    /// The probability that a row of a class is given more of it than a row of another, ties half: of two classes, of
    /// the second one; of more the mean over the classes. None where the rows are of one class.
    pub auc: Option<f64>,
    /// Mean cross-entropy in nats; none where a row's class was said to be impossible, which makes it infinite.
    pub loss: Option<f64>,
    /// Rows.
    pub rows: usize,
    /// Rows of class i that were said to be of class j, `confusion[i][j]`.
    pub confusion: Vec<Vec<u64>>,
}

/// The likeliest class: the first one wins a tie.
pub fn likeliest(probabilities: &[f64]) -> usize {
    let better =
        |best: usize, (i, p): (usize, &f64)| if probabilities.get(best).is_none_or(|b| p > b) { i } else { best };
    probabilities.iter().enumerate().fold(0, better)
}

impl ClassScores {
    /// Scores of `probabilities`, a row of `classes` each, against the classes that are true.
    pub fn of(classes: usize, probabilities: &[Vec<f64>], truth: &[u32]) -> Self {
        let mut confusion = vec![vec![0u64; classes]; classes];
        for (row, &class) in probabilities.iter().zip(truth) {
            confusion[class as usize][likeliest(row)] += 1;
        }
        let possible = probabilities.iter().zip(truth).all(|(row, &class)| of_true(row, class) > 0.0);
        let n = truth.len().max(1) as f64;
        let right: u64 = (0..classes).map(|i| confusion[i][i]).sum();
        Self {
            accuracy: right as f64 / n,
            mcc: matthews(&confusion),
            f1: mean_f1(&confusion),
            auc: auc(classes, probabilities, truth),
            loss: possible.then(|| bounded_loss(probabilities, truth)),
            rows: truth.len(),
            confusion,
        }
    }

    /// Precision, recall and F1 of a class.
    pub fn of_class(&self, class: usize) -> [f64; 3] {
        let (right, said, there) = counts(&self.confusion, class);
        let share = |of: u64| if of == 0 { 0.0 } else { right as f64 / of as f64 };
        [share(said), share(there), f1(&self.confusion, class)]
    }
}

/// The probability that a row gives its class.
fn of_true(row: &[f64], class: u32) -> f64 {
    row.get(class as usize).copied().unwrap_or(0.0)
}

/// Mean cross-entropy in nats, in which the impossible costs what the least probability does.
pub(super) fn bounded_loss(probabilities: &[Vec<f64>], truth: &[u32]) -> f64 {
    let nats = |(row, &class): (&Vec<f64>, &u32)| -of_true(row, class).max(f64::MIN_POSITIVE).ln();
    probabilities.iter().zip(truth).map(nats).sum::<f64>() / truth.len().max(1) as f64
}

/// The mean over the classes that a row is of, or is said to be of.
fn mean_f1(confusion: &[Vec<u64>]) -> f64 {
    let there = |&i: &usize| {
        let (_, said, there) = counts(confusion, i);
        said + there > 0
    };
    let found: Vec<f64> = (0..confusion.len()).filter(there).map(|i| f1(confusion, i)).collect();
    found.iter().sum::<f64>() / found.len().max(1) as f64
}

/// Rows of the class that are right, that were said to be of it, and that are of it.
fn counts(confusion: &[Vec<u64>], class: usize) -> (u64, u64, u64) {
    let said = confusion.iter().map(|row| row[class]).sum();
    (confusion[class][class], said, confusion[class].iter().sum())
}

fn f1(confusion: &[Vec<u64>], class: usize) -> f64 {
    let (right, said, there) = counts(confusion, class);
    if right == 0 { 0.0 } else { 2.0 * right as f64 / (said + there) as f64 }
}

fn matthews(confusion: &[Vec<u64>]) -> f64 {
    let classes = 0..confusion.len();
    let (mut right, mut all, mut product, mut said, mut there) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for class in classes {
        let (hits, s, t) = counts(confusion, class);
        let (s, t) = (s as f64, t as f64);
        right += hits as f64;
        all += t;
        product += s * t;
        said += s * s;
        there += t * t;
    }
    let below = ((all * all - said) * (all * all - there)).sqrt();
    if below > 0.0 { (right * all - product) / below } else { 0.0 }
}

/// By ranks: the sum of those of a class's rows, ties sharing theirs.
fn auc(classes: usize, probabilities: &[Vec<f64>], truth: &[u32]) -> Option<f64> {
    let of = |class: usize| {
        let mut scored: Vec<(f64, bool)> =
            probabilities.iter().zip(truth).map(|(row, &t)| (row[class], t as usize == class)).collect();
        scored.sort_by(|a, b| a.0.total_cmp(&b.0));
        let inside = scored.iter().filter(|row| row.1).count() as f64;
        let outside = scored.len() as f64 - inside;
        if inside == 0.0 || outside == 0.0 {
            return None;
        }
        let (mut before, mut sum) = (0.0, 0.0);
        for tied in scored.chunk_by(|a, b| a.0 == b.0) {
            let rank = before + (tied.len() as f64 + 1.0) / 2.0;
            sum += rank * tied.iter().filter(|row| row.1).count() as f64;
            before += tied.len() as f64;
        }
        Some((sum - inside * (inside + 1.0) / 2.0) / (inside * outside))
    };
    if classes == 2 {
        return of(1);
    }
    let all: Vec<f64> = (0..classes).filter_map(of).collect();
    if all.is_empty() { None } else { Some(all.iter().sum::<f64>() / all.len() as f64) }
}

#[cfg(test)]
mod tests {
    use super::{ClassScores, likeliest};

    fn two(second: &[f64]) -> Vec<Vec<f64>> {
        second.iter().map(|&p| vec![1.0 - p, p]).collect()
    }

    #[test]
    fn scores_of_two_classes_are_those_of_their_definitions() {
        // True: 4 of class 1, 2 of class 0; said 1: 0.9 0.8 0.6 (right), 0.7 (wrong).
        let scores = ClassScores::of(2, &two(&[0.9, 0.8, 0.6, 0.3, 0.7, 0.1]), &[1, 1, 1, 1, 0, 0]);
        assert_eq!(scores.confusion, [[1, 1], [1, 3]]);
        assert!((scores.accuracy - 4.0 / 6.0).abs() < 1e-12);
        // (3·1 − 1·1) / √(4·4·2·2)
        assert!((scores.mcc - 0.25).abs() < 1e-12, "{}", scores.mcc);
        assert!((scores.f1 - (0.5 + 0.75) / 2.0).abs() < 1e-12);
        // Pairs (1, 0): 8, of which 0.6 < 0.7, 0.3 < 0.7 are wrong.
        assert!((scores.auc.unwrap() - 6.0 / 8.0).abs() < 1e-12);
        let nats = -(0.9f64.ln() + 0.8f64.ln() + 0.6f64.ln() + 0.3f64.ln() + 0.3f64.ln() + 0.9f64.ln()) / 6.0;
        assert!((scores.loss.unwrap() - nats).abs() < 1e-12);
        let [precision, recall, f1] = scores.of_class(1);
        assert_eq!((precision, recall, f1), (0.75, 0.75, 0.75));
    }

    #[test]
    fn ties_chance_and_single_classes_have_their_values() {
        let flat = ClassScores::of(2, &two(&[0.5; 4]), &[0, 1, 0, 1]);
        assert_eq!((flat.accuracy, flat.mcc, flat.auc), (0.5, 0.0, Some(0.5)));
        let one = ClassScores::of(2, &two(&[0.9, 0.2]), &[1, 1]);
        assert_eq!((one.accuracy, one.mcc, one.auc), (0.5, 0.0, None));
        let right = ClassScores::of(2, &two(&[1.0, 0.0]), &[1, 0]);
        assert_eq!((right.accuracy, right.mcc, right.f1, right.auc, right.loss), (1.0, 1.0, 1.0, Some(1.0), Some(0.0)));
        let wrong = ClassScores::of(2, &two(&[0.0, 1.0]), &[1, 0]);
        assert_eq!((wrong.mcc, wrong.auc), (-1.0, Some(0.0)));
        assert!(wrong.loss.is_none() && super::bounded_loss(&two(&[0.0, 1.0]), &[1, 0]).is_finite());
        assert_eq!(ClassScores::of(2, &[], &[]).rows, 0);
        assert_eq!((likeliest(&[0.2, 0.4, 0.4]), likeliest(&[f64::NAN, 0.1])), (1, 0));
    }

    #[test]
    fn several_classes_have_the_mean_and_gorodkins_correlation() {
        let said = |class: usize| (0..3).map(|i| f64::from(u8::from(i == class))).collect::<Vec<_>>();
        let truth = [0, 0, 1, 1, 2, 2];
        let scores = ClassScores::of(3, &[0, 1, 1, 1, 2, 0].map(said), &truth);
        // c = 4, s = 6, t = (2, 2, 2), p = (2, 3, 1): (24 − 12) / √((36 − 14)(36 − 12))
        assert!((scores.mcc - 12.0 / (22.0f64 * 24.0).sqrt()).abs() < 1e-12, "{}", scores.mcc);
        assert!((scores.accuracy - 4.0 / 6.0).abs() < 1e-12);
        assert!((scores.f1 - (0.5 + 0.8 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        // A class of which no row is, nor is said to be, has no part in the mean.
        let four = |class: usize| (0..4).map(|i| f64::from(u8::from(i == class))).collect::<Vec<_>>();
        assert_eq!(ClassScores::of(4, &[0, 1, 1, 1, 2, 0].map(four), &truth).f1, scores.f1);
        assert!(ClassScores::of(4, &[0, 1, 1, 1, 2, 3].map(four), &truth).f1 < scores.f1);
    }
}
