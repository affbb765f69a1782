//! Items that a language model is asked about: the last word of a text, and choices that go on from a context.

use super::jsonl::{self, ObjectLine, kind};
use crate::Result;
use serde_json::Value;
use std::path::Path;

/// A text whose last word is to be predicted (LAMBADA).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWord {
    /// Its line in the file, from 1.
    pub line: usize,
    /// All before the word and the blank in front of it.
    pub context: String,
    /// The word, with that blank.
    pub word: String,
}

/// Ways for a text to go on, one of which is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What stands before each choice: as many as there are choices.
    pub contexts: Vec<String>,
    /// How it may go on.
    pub choices: Vec<String>,
    /// The right choice, from 0.
    pub answer: usize,
}

/// Reads items, and what is worth a word about their file.
type Items<T> = (Vec<T>, Vec<String>);

/// Reads texts from lines `{"text": "…"}`; other fields are passed over, and so are blanks at a text's end.
///
/// # Errors
/// As [`jsonl::read`]; [`crate::Error::File`] with line and field for a text without two words.
pub fn last_words(path: &Path) -> Result<Items<LastWord>> {
    let found = jsonl::read(path)?;
    let one = |line: &ObjectLine| {
        let text = line.text("text")?.trim_end();
        let at = text.rfind(char::is_whitespace).filter(|&at| !text[..at].trim().is_empty());
        let at = at.ok_or_else(|| line.wrong("text", "expected two words or more, the last of which is predicted"))?;
        // Several blanks belong to the word, so that what is read before it ends in a word.
        let context = text[..at].trim_end();
        Ok(LastWord { line: line.number, context: context.into(), word: text[context.len()..].into() })
    };
    Ok((found.lines.iter().map(one).collect::<Result<_>>()?, found.notes))
}

/// Reads questions from lines `{"context": "…", "choices": ["…", …], "answer": 0}`; `context` may be a list, a context
/// for each choice. Other fields are passed over.
///
/// # Errors
/// As [`jsonl::read`]; [`crate::Error::File`] with line and field for what is no such item.
pub fn questions(path: &Path) -> Result<Items<Question>> {
    let found = jsonl::read(path)?;
    Ok((found.lines.iter().map(question).collect::<Result<_>>()?, found.notes))
}

fn question(line: &ObjectLine) -> Result<Question> {
    let choices = line.texts("choices")?;
    if choices.len() < 2 {
        return Err(line.wrong("choices", &format!("expected two or more, found {}", choices.len())));
    }
    if let Some(i) = choices.iter().position(|choice| choice.trim().is_empty()) {
        return Err(line.wrong("choices", &format!("expected something to read in each, found none in number {i}")));
    }
    let contexts = match line.field("context", "a text, or one for each choice")? {
        Value::Array(_) => line.texts("context")?,
        _ => vec![line.text("context")?.to_owned(); choices.len()],
    };
    if contexts.len() != choices.len() {
        let (expected, found) = (choices.len(), contexts.len());
        return Err(
            line.wrong("context", &format!("expected a text, or one for each of {expected} choices, found {found}"))
        );
    }
    let last = choices.len() - 1;
    let value = line.field("answer", &format!("the number of the right choice, 0 to {last}"))?;
    let answer = value.as_u64().and_then(|x| usize::try_from(x).ok()).filter(|&x| x <= last).ok_or_else(|| {
        let found = if value.is_number() { value.to_string() } else { kind(value).into() };
        line.wrong("answer", &format!("expected the number of the right choice, 0 to {last}, found {found}"))
    })?;
    Ok(Question { line: line.number, contexts, choices, answer })
}

#[cfg(test)]
mod tests {
    use super::{LastWord, Question, last_words, questions};
    use std::path::PathBuf;

    fn file(folder: &tempfile::TempDir, content: &str) -> PathBuf {
        let path = folder.path().join("items.jsonl");
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn the_last_word_has_its_blank() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            "{\"text\": \"one two three\"}\n{\"text\": \" a\\n\\n\\\"b\\\" \\n\", \"id\": 7}\n{\"text\": \"the  end\"}";
        let (items, notes) = last_words(&file(&folder, text)).unwrap();
        let of = |line, context: &str, word: &str| LastWord { line, context: context.into(), word: word.into() };
        assert_eq!(items, [of(1, "one two", " three"), of(2, " a", "\n\n\"b\""), of(3, "the", "  end")]);
        assert!(notes.is_empty());
        for text in ["{\"text\": \"one\"}", "{\"text\": \" one \"}", "{\"text\": \"\"}"] {
            let error = last_words(&file(&folder, &format!("{{\"text\": \"a b\"}}\n{text}"))).unwrap_err().to_string();
            assert!(error.contains("line 2, field text: expected two words"), "{error}");
        }
    }

    #[test]
    fn questions_have_one_context_or_one_for_each_choice() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{\"context\": \"A\", \"choices\": [\" b\", \" c\"], \"answer\": 1, \"id\": \"x\"}\n\
                    {\"context\": [\"A\", \"\"], \"choices\": [\" b\", \" b\"], \"answer\": 0}";
        let (items, _) = questions(&file(&folder, text)).unwrap();
        let texts = |list: &[&str]| list.iter().map(|&x| x.to_owned()).collect::<Vec<_>>();
        let of = |line, contexts: [&str; 2], choices: [&str; 2], answer| Question {
            line,
            contexts: texts(&contexts),
            choices: texts(&choices),
            answer,
        };
        assert_eq!(items, [of(1, ["A", "A"], [" b", " c"], 1), of(2, ["A", ""], [" b", " b"], 0)]);
    }

    #[test]
    fn what_is_no_question_is_named_by_line_and_field() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            ("{\"choices\": [\"a\", \"b\"], \"answer\": 0}", "field context: expected a text, or one"),
            (
                "{\"context\": 1, \"choices\": [\"a\", \"b\"], \"answer\": 0}",
                "field context: expected a text, found a number",
            ),
            ("{\"context\": [\"x\"], \"choices\": [\"a\", \"b\"], \"answer\": 0}", "each of 2 choices, found 1"),
            ("{\"context\": \"x\", \"answer\": 0}", "field choices: expected a list"),
            (
                "{\"context\": \"x\", \"choices\": \"a\", \"answer\": 0}",
                "field choices: expected a list of texts, found a text",
            ),
            (
                "{\"context\": \"x\", \"choices\": [\"a\"], \"answer\": 0}",
                "field choices: expected two or more, found 1",
            ),
            ("{\"context\": \"x\", \"choices\": [\"a\", \" \"], \"answer\": 0}", "found none in number 1"),
            ("{\"context\": \"x\", \"choices\": [\"a\", 2], \"answer\": 0}", "found a number at number 1"),
            ("{\"context\": \"x\", \"choices\": [\"a\", \"b\"]}", "field answer: expected the number"),
            ("{\"context\": \"x\", \"choices\": [\"a\", \"b\"], \"answer\": 2}", "0 to 1, found 2"),
            ("{\"context\": \"x\", \"choices\": [\"a\", \"b\"], \"answer\": -1}", "found -1"),
            ("{\"context\": \"x\", \"choices\": [\"a\", \"b\"], \"answer\": 0.5}", "found 0.5"),
            ("{\"context\": \"x\", \"choices\": [\"a\", \"b\"], \"answer\": \"a\"}", "found a text"),
        ];
        let good = "{\"context\": \"x\", \"choices\": [\"a\", \"b\"], \"answer\": 0}";
        for (text, says) in cases {
            let error = questions(&file(&folder, &format!("{good}\n{text}"))).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("items.jsonl: line 2, field"), "{error}");
        }
    }
}
