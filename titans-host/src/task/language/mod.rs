//! What a model of text is asked beside the text itself: how likely it finds given continuations.

mod choices;
mod lambada;
mod orders;
mod score;

pub use choices::{ChoiceBaselines, ChoiceReport, choose, continuations as of_questions, report as report_choices};
pub use lambada::{LambadaReport, WordBaselines, continuations as of_last_words, report as report_lambada};
pub use orders::{TextBaselines, text_baselines};
pub use score::{Continuation, ContinuationScore, score};

/// Words of a text as word-level perplexity counts them: what stands between blanks, and every line end.
pub fn words(text: &[u8]) -> usize {
    let blank = |b: &u8| b.is_ascii_whitespace();
    let between = text.split(|b| blank(b)).filter(|word| !word.is_empty()).count();
    between + text.iter().filter(|&&b| b == b'\n').count()
}

/// The standard error of a share p of n independent items, √(p(1 − p)/n).
fn standard_error(share: f64, items: usize) -> f64 {
    (share * (1.0 - share) / items.max(1) as f64).sqrt()
}

/// A context's ids, and those of what goes on from it. Blanks at the context's end belong to what follows, as in words
/// of a vocabulary; where there is no context, a line break stands for it.
///
/// # Errors
/// As [`Tokenizer::encode`](crate::data::tokenizer::Tokenizer::encode).
fn continuation(
    tokenizer: &crate::data::tokenizer::Tokenizer,
    context: &str,
    said: &str,
) -> crate::Result<Continuation> {
    let before = context.trim_end();
    let blanks = &context[before.len()..];
    let before = if before.is_empty() { "\n" } else { before };
    let said = format!("{blanks}{said}");
    Ok(Continuation { before: tokenizer.encode(before.as_bytes())?, said: tokenizer.encode(said.as_bytes())? })
}

#[cfg(test)]
mod tests {
    use super::{continuation, standard_error, words};
    use crate::data::tokenizer::Tokenizer;

    #[test]
    fn blanks_between_belong_to_what_follows() {
        let of = |context, said| {
            let found = continuation(&Tokenizer::Bytes, context, said).unwrap();
            [Tokenizer::Bytes.decode(&found.before), Tokenizer::Bytes.decode(&found.said)]
        };
        assert_eq!(of("a b", " c"), [b"a b", &b" c"[..]]);
        assert_eq!(of("a b \n", "c"), [b"a b", &b" \nc"[..]]);
        assert_eq!(of("", "c"), [b"\n", &b"c"[..]]);
        assert_eq!(of(" ", "c"), [b"\n", &b" c"[..]]);
    }

    #[test]
    fn words_are_between_blanks_and_line_ends_are_words() {
        for (text, count) in [(&b""[..], 0), (b" = A b = \n \n", 6), (b"a\tb\r\nc d", 5), (b"\n\n", 2), (b"a", 1)] {
            assert_eq!(words(text), count, "{text:?}");
        }
    }

    #[test]
    fn the_standard_error_is_that_of_shares() {
        assert_eq!((standard_error(0.5, 100), standard_error(1.0, 3), standard_error(0.0, 0)), (0.05, 0.0, 0.0));
    }
}
