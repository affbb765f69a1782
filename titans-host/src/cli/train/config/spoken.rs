//! Errors of configurations in the words of the command line.

use super::ConfigArgs;
use crate::error::Error;

/// Fields of a configuration and the options that say them.
const OPTIONS: [(&str, &str); 36] = [
    ("context", "--context"),
    ("length", "--context"),
    ("sequences", "--batch"),
    ("tokens", "--batch"),
    ("patch", "--patch"),
    ("pairs", "--pairs"),
    ("lengths", "--lengths"),
    ("micro_steps", "--micro-steps"),
    ("carry", "--carry"),
    ("lookback", "--lookback"),
    ("horizons", "--horizon"),
    ("questions", "--questions"),
    ("growth.first_length", "--first-length"),
    ("words.letters", "--word"),
    ("words.stride", "--stride"),
    ("words.positions", "--positions"),
    ("hide", "--hide"),
    ("blocks", "--blocks"),
    ("width", "--width"),
    ("heads", "--heads"),
    ("head_width", "--head-width"),
    ("feed_forward", "--feed-forward"),
    ("conv_width", "--conv-width"),
    ("persistent", "--persistent"),
    ("alpha_bias", "--alpha-bias"),
    ("theta_max", "--theta-max"),
    ("eta_max", "--eta-max"),
    ("learning_rate", "--learning-rate"),
    ("gate_rate", "--gate-rate"),
    ("dropout", "--dropout"),
    ("accumulate", "--accumulate"),
    ("attention.window", "--window"),
    ("attention.segment", "--segment"),
    ("attention.heads", "--attention-heads"),
    ("attention.kv_heads", "--kv-heads"),
    ("attention.rotary", "--no-rotary"),
];
/// Those of the memory.
const MEMORY: [(&str, &str); 4] = [
    ("memory.layers", "--layers"),
    ("memory.hidden", "--hidden"),
    ("memory.chunk", "--chunk"),
    ("memory.compute_chunk", "--compute-chunk"),
];

impl ConfigArgs {
    /// Whether it is said how many parts a step's batch has.
    pub fn names_parts(&self) -> bool {
        self.accumulate.is_some() || self.config.is_some()
    }

    /// An error about a field of the configuration, by the option that says it: of a new run every one that there is,
    /// of one that begins as `--config` says those that were given.
    pub fn spoken(&self, error: Error) -> Error {
        let given = |option: &str| {
            // What a file says of a batch is of its task; of recall sequences are those that are measured.
            if self.config.is_some() && option == "--batch" {
                return false;
            }
            let is =
                |found: &str| found.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
            self.config.is_none() || std::env::args_os().any(|found| found.to_str().is_some_and(is))
        };
        match error {
            Error::Usage(text) => Error::Usage(speak(&text, given)),
            other => other,
        }
    }
}

/// A message about a field of a configuration as one about the option that said it, where `said` knows that an option
/// did.
fn speak(text: &str, said: impl Fn(&str) -> bool) -> String {
    let of = |name: &str| {
        let name = ["task.", "model.", "train."].iter().find_map(|part| name.strip_prefix(part)).unwrap_or(name);
        let found = OPTIONS.iter().chain(&MEMORY).find(|(field, _)| *field == name);
        found.map(|(_, option)| *option).filter(|option| said(option))
    };
    // The fields are what the message begins with; columns and files may be called as they are.
    let of_model = text.strip_prefix("model: ");
    let Some((head, rest)) = of_model.unwrap_or(text).split_once(": ") else { return text.to_owned() };
    let fields = || head.split([' ', '×', ',']).filter(|word| !word.is_empty());
    let configured = of_model.is_some() || fields().any(|word| word.contains('.'));
    if !configured || fields().all(|word| of(word).is_none()) {
        return text.to_owned();
    }
    // Behind them only what is no word of the language.
    let odd = |word: &str| of(word).filter(|_| word.contains(['.', '_']));
    format!("{}: {}", renamed(head, of), renamed(rest, odd))
}

/// A text with other names for some of its words.
fn renamed<'a>(text: &str, of: impl Fn(&str) -> Option<&'a str>) -> String {
    let letter = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    let mut renamed = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c| !letter(c)) {
        let word = piece.trim_end_matches(|c| !letter(c));
        // A sentence's end is no part of a name.
        let name = word.trim_end_matches('.');
        renamed += of(name).unwrap_or(name);
        renamed += &piece[name.len()..];
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::speak;

    #[test]
    fn fields_are_named_by_their_options() {
        for (text, says) in [
            ("train.learning_rate: expected above 0, found -1", "--learning-rate: expected above 0, found -1"),
            (
                "model: attention.segment: expected a multiple of memory.chunk = 4, found 7",
                "--segment: expected a multiple of --chunk = 4, found 7",
            ),
            ("model: width: expected 1 to 9, found the width 0", "--width: expected 1 to 9, found the width 0"),
            (
                "model: heads × head_width: expected up to 3, found 4.",
                "--heads × --head-width: expected up to 3, found 4.",
            ),
            (
                "task.context × task.sequences: expected up to 3 tokens a batch",
                "--context × --batch: expected up to 3 tokens a batch",
            ),
            ("task.validation: expected 0 to 1", "task.validation: expected 0 to 1"),
            ("task.context: see --first-length", "--context: see --first-length"),
            ("in.csv: line 3, column width: expected head_width", "in.csv: line 3, column width: expected head_width"),
            ("width: expected a number", "width: expected a number"),
            ("nothing to name here", "nothing to name here"),
        ] {
            assert_eq!(speak(text, |_| true), says);
        }
        assert_eq!(speak("model: width: no", |option| option != "--width"), "model: width: no");
    }
}
