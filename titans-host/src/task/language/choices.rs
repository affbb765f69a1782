//! Multiple choice: the choice that a model finds likeliest behind its context (PIQA, HellaSwag, ARC and others).

use super::{Continuation, ContinuationScore, continuation, standard_error};
use crate::Result;
use crate::data::questions::Question;
use crate::data::tokenizer::Tokenizer;
use serde::Serialize;

/// How often the right choice is taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChoiceReport {
    /// Questions.
    pub items: usize,
    /// Share whose right choice has the highest probability.
    pub accuracy: f64,
    /// Of that share, over the items.
    pub standard_error: f64,
    /// Share whose right choice has the highest probability a byte: the log-probability divided by the choice's bytes,
    /// blanks around it not counted.
    pub accuracy_normalised: f64,
    /// Of that share, over the items.
    pub standard_error_normalised: f64,
    /// Mean −ln probability of the right choice.
    pub nats_per_answer: f64,
    /// Tokens of all choices.
    pub tokens: usize,
    /// What is reached without reading.
    pub baselines: ChoiceBaselines,
}

/// Accuracies without reading.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChoiceBaselines {
    /// Any choice, each as likely.
    pub chance: f64,
    /// Always the place that is right most often in this very file.
    pub commonest_place: f64,
    /// The longest choice by bytes; equally long ones share.
    pub longest: f64,
    /// The shortest.
    pub shortest: f64,
}

/// What is asked of a model: every choice of every question, one after another.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn continuations(tokenizer: &Tokenizer, questions: &[Question]) -> Result<Vec<Continuation>> {
    let pairs = questions.iter().flat_map(|q| q.contexts.iter().zip(&q.choices));
    pairs.map(|(context, choice)| continuation(tokenizer, context, choice)).collect()
}

/// The choices that a model takes of one question, by probability and by probability a byte, the first of equals;
/// `said` is of its choices.
pub fn choose(question: &Question, said: &[ContinuationScore]) -> [usize; 2] {
    let raw = said.iter().map(|s| s.nats);
    let by_bytes = said.iter().zip(&question.choices).map(|(s, choice)| s.nats / bytes(choice) as f64);
    [least(raw), least(by_bytes)]
}

fn bytes(choice: &str) -> usize {
    choice.trim().len().max(1)
}

/// Where the least number is, the first of equals.
fn least(numbers: impl Iterator<Item = f64>) -> usize {
    let first = |best: (usize, f64), x: (usize, f64)| if x.1 < best.1 { x } else { best };
    numbers.enumerate().reduce(first).map_or(0, |(i, _)| i)
}

/// What a model says of each choice, all together; `said` is of all choices, in their order.
pub fn report(questions: &[Question], said: &[ContinuationScore]) -> ChoiceReport {
    let items = questions.len();
    let count = items.max(1) as f64;
    let (mut right, mut nats, mut rest) = ([0usize; 2], 0.0, said);
    for q in questions {
        let (own, others) = rest.split_at(q.choices.len().min(rest.len()));
        rest = others;
        for (right, chosen) in right.iter_mut().zip(choose(q, own)) {
            *right += usize::from(chosen == q.answer);
        }
        nats += own.get(q.answer).map_or(0.0, |s| s.nats);
    }
    let [accuracy, accuracy_normalised] = right.map(|right| right as f64 / count);
    let mean = |share: &dyn Fn(&Question) -> f64| questions.iter().map(share).sum::<f64>() / count;
    let by_place = |place| questions.iter().filter(|q| q.answer == place).count();
    let places = questions.iter().map(|q| q.answer + 1).max().unwrap_or(0);
    ChoiceReport {
        items,
        accuracy,
        standard_error: standard_error(accuracy, items),
        accuracy_normalised,
        standard_error_normalised: standard_error(accuracy_normalised, items),
        nats_per_answer: nats / count,
        tokens: said.iter().map(|s| s.tokens).sum(),
        baselines: ChoiceBaselines {
            chance: mean(&|q| 1.0 / q.choices.len() as f64),
            commonest_place: (0..places).map(by_place).max().unwrap_or(0) as f64 / count,
            longest: mean(&|q| extreme(q, usize::max)),
            shortest: mean(&|q| extreme(q, usize::min)),
        },
    }
}

/// The share of the right choice among those of the extreme length; 0 where it is none of them.
fn extreme(question: &Question, of: fn(usize, usize) -> usize) -> f64 {
    let lengths: Vec<usize> = question.choices.iter().map(|c| bytes(c)).collect();
    let Some(wanted) = lengths.iter().copied().reduce(of) else { return 0.0 };
    match lengths.get(question.answer) {
        Some(&length) if length == wanted => 1.0 / lengths.iter().filter(|&&x| x == wanted).count() as f64,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{ContinuationScore, Question, choose, report};

    fn question(choices: &[&str], answer: usize) -> Question {
        let choices: Vec<String> = choices.iter().map(|&c| c.into()).collect();
        Question { line: 1, contexts: vec!["x".into(); choices.len()], choices, answer }
    }

    #[test]
    fn the_likeliest_is_taken_raw_and_by_bytes() {
        let said = |nats| ContinuationScore { nats, greedy: false, tokens: 2 };
        let questions = [question(&[" ab", " abcdef"], 1), question(&["c", "d", "e"], 0)];
        let all = [said(2.0), said(3.0), said(1.0), said(1.0), said(0.5)];
        assert_eq!(choose(&questions[0], &all[..2]), [0, 1], "2 < 3, but 2/2 > 3/6");
        assert_eq!(choose(&questions[1], &[said(1.0); 3]), [0, 0], "the first of equals");
        let found = report(&questions, &all);
        assert_eq!((found.items, found.accuracy, found.accuracy_normalised, found.tokens), (2, 0.0, 0.5, 10));
        assert_eq!((found.nats_per_answer, found.standard_error), (2.0, 0.0));
        let b = found.baselines;
        assert!((b.chance - (0.5 + 1.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!((b.commonest_place, b.shortest), (0.5, 1.0 / 6.0));
        assert!((b.longest - (1.0 + 1.0 / 3.0) / 2.0).abs() < 1e-12);
    }
}
