//! The last word of a text (LAMBADA, Paperno et al. 2016).

use super::{Continuation, ContinuationScore, continuation, standard_error};
use crate::Result;
use crate::data::questions::LastWord;
use crate::data::tokenizer::Tokenizer;
use serde::Serialize;

/// How well last words are predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LambadaReport {
    /// Texts.
    pub items: usize,
    /// exp of the mean −ln probability of a last word, all its tokens and the blank before it together.
    pub perplexity: f64,
    /// Share of the words of which every token is the likeliest where it stands.
    pub accuracy: f64,
    /// Of the accuracy, over the items.
    pub standard_error: f64,
    /// Mean −ln probability of a word.
    pub nats_per_word: f64,
    /// Tokens of all words.
    pub tokens: usize,
    /// What words of the context itself would reach.
    pub baselines: WordBaselines,
}

/// Accuracies that guesses from the context have on average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WordBaselines {
    /// Any word of the context, each as likely.
    pub random_word: f64,
    /// Any that begins with a capital letter; no guess where there is none.
    pub random_capitalised: f64,
}

/// What is asked of a model.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn continuations(tokenizer: &Tokenizer, items: &[LastWord]) -> Result<Vec<Continuation>> {
    items.iter().map(|item| continuation(tokenizer, &item.context, &item.word)).collect()
}

/// What a model says of each word, all together; `said` is of `items`, in their order.
pub fn report(items: &[LastWord], said: &[ContinuationScore]) -> LambadaReport {
    let count = items.len().max(1) as f64;
    let nats_per_word = said.iter().map(|s| s.nats).sum::<f64>() / count;
    let accuracy = said.iter().filter(|s| s.greedy).count() as f64 / count;
    let mean = |share: fn(&LastWord) -> f64| items.iter().map(share).sum::<f64>() / count;
    LambadaReport {
        items: items.len(),
        perplexity: nats_per_word.exp(),
        accuracy,
        standard_error: standard_error(accuracy, items.len()),
        nats_per_word,
        tokens: said.iter().map(|s| s.tokens).sum(),
        baselines: WordBaselines {
            random_word: mean(|item| share(item, |_| true)),
            random_capitalised: mean(|item| share(item, |word| word.starts_with(char::is_uppercase))),
        },
    }
}

/// The share of the context's words that are the last word, among those that `counts` lets count. Words are compared
/// without what is no letter or digit around them.
fn share(item: &LastWord, counts: fn(&str) -> bool) -> f64 {
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let target = bare(&item.word);
    let (mut all, mut same) = (0, 0);
    for word in item.context.split_whitespace().map(bare).filter(|word| !word.is_empty() && counts(word)) {
        all += 1;
        same += usize::from(word == target);
    }
    if all == 0 { 0.0 } else { f64::from(same as u32) / f64::from(all) }
}

#[cfg(test)]
mod tests {
    use super::{ContinuationScore, LastWord, report};

    #[test]
    fn perplexity_is_of_words_and_accuracy_of_whole_ones() {
        let item = |context: &str, word: &str| LastWord { line: 1, context: context.into(), word: word.into() };
        let items = [item("Ann met \"Bob\" and Bob. Then", " Bob"), item("so it is", " no")];
        let said = |nats, greedy| ContinuationScore { nats, greedy, tokens: 3 };
        let found = report(&items, &[said(1.0, true), said(3.0, false)]);
        assert_eq!((found.items, found.accuracy, found.nats_per_word, found.tokens), (2, 0.5, 2.0, 6));
        assert!((found.perplexity - 2f64.exp()).abs() < 1e-12);
        assert!((found.standard_error - 0.125f64.sqrt()).abs() < 1e-12);
        assert!((found.baselines.random_word - (2.0 / 6.0) / 2.0).abs() < 1e-12, "two of six words, none of three");
        assert!((found.baselines.random_capitalised - (2.0 / 4.0) / 2.0).abs() < 1e-12, "Ann, Bob, Bob, Then");
    }
}
