//! Questions about little stories (bAbI, Weston et al. 2015), and which of the test questions BABILong asks.
//!
//! A file `qaN_…_train.txt` or `qaN_…_test.txt`, `.gz` or not, has a line for each sentence: its number in the story,
//! which begins anew at 1, and the sentence; or the question, its answer and the numbers of the sentences that it
//! follows from, with tabs between them.

use super::text;
use crate::error::brief;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file in a folder of facts that names the test questions.
pub const INDEX: &str = "babilong_test_100_idxs.json";

/// A question, with what its story has told so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BabiQuestion {
    /// Its number in its file, from 0.
    pub number: usize,
    /// The number of its story in the file, from 0.
    pub story: usize,
    /// The sentences before it, without questions.
    pub facts: Vec<String>,
    /// What is asked.
    pub question: String,
    /// The answer.
    pub answer: String,
}

/// Which file of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BabiPart {
    /// Questions to learn from.
    Train,
    /// Questions that are asked once.
    Test,
}

impl BabiPart {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// The file of task `number` in a folder.
///
/// # Errors
/// [`Error::Io`] for a folder that cannot be read, [`Error::File`] where there is no such file, or several.
pub fn file(folder: &Path, number: usize, part: BabiPart) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, "reading the folder of facts", e))?;
    let (first, middle) = (format!("qa{number}_"), format!("_{}", part.name()));
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(folder, "reading the folder of facts", e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = name.strip_suffix(".gz").unwrap_or(&name).ends_with(".txt");
        if text && name.starts_with(&first) && name.contains(&middle) {
            found.push(entry.path());
        }
    }
    found.sort();
    match &found[..] {
        [one] => Ok(one.clone()),
        found => Err(Error::file(
            folder,
            format!("expected one file {first}…{middle}.txt or .txt.gz, found {}", found.len()),
        )),
    }
}

/// The questions of a file.
///
/// # Errors
/// As [`text::read`]; [`Error::File`] with the line for what is none.
pub fn questions(path: &Path) -> Result<Vec<BabiQuestion>> {
    let content = text::read(&[path])?;
    let text = text::utf8(path, &content.bytes)?;
    let (mut found, mut facts, mut stories) = (Vec::new(), Vec::<String>::new(), 0usize);
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |expected: &str| Error::file(path, format!("line {}: expected {expected}, found {}", i + 1, brief(line)));
        let (id, rest) = line.trim().split_once(' ').ok_or_else(|| wrong("a number and a sentence"))?;
        let id: usize = id.parse().map_err(|_| wrong("the sentence's number in its story"))?;
        if id == 1 {
            facts.clear();
            stories += 1;
        }
        if stories == 0 {
            return Err(wrong("the first sentence of a story, number 1"));
        }
        let mut parts = rest.split('\t').map(str::trim);
        let sentence = parts.next().unwrap_or_default();
        match parts.next() {
            None if sentence.contains('?') => return Err(wrong("a tab and the answer behind the question")),
            None => facts.push(sentence.to_owned()),
            Some("") => return Err(wrong("an answer behind the question")),
            Some(answer) if facts.is_empty() => return Err(wrong(&format!("a sentence before the answer {answer}"))),
            Some(answer) => found.push(BabiQuestion {
                number: found.len(),
                story: stories - 1,
                facts: facts.clone(),
                question: sentence.to_owned(),
                answer: answer.to_owned(),
            }),
        }
    }
    if found.is_empty() {
        return Err(Error::file(path, "expected questions (a question, a tab, its answer), found none"));
    }
    Ok(found)
}

/// Which test questions are asked of each task (`qa1`, …), by their numbers; none where the folder has no [`INDEX`].
///
/// # Errors
/// [`Error::Io`] and [`Error::File`] for an index that cannot be read.
pub fn index(folder: &Path) -> Result<Option<BTreeMap<String, Vec<usize>>>> {
    let path = folder.join(INDEX);
    match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(&path, "reading the index of test questions", e)),
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            Error::file(&path, format!("expected a list of numbers for each task, as {{\"qa1\": [1, 4]}}, found {e}"))
        }),
    }
}

/// The test questions of task `number` that are asked: those of the folder's index, or all of them.
///
/// # Errors
/// As [`file()`], [`questions`] and [`index`]; [`Error::File`] for an index that names other ones.
pub fn test_questions(folder: &Path, number: usize) -> Result<Vec<BabiQuestion>> {
    let path = file(folder, number, BabiPart::Test)?;
    let all = questions(&path)?;
    let Some(mut index) = index(folder)? else { return Ok(all) };
    let name = format!("qa{number}");
    let wrong = |reason: String| Error::file(folder.join(INDEX), reason);
    let numbers = index.remove(&name).ok_or_else(|| wrong(format!("expected the questions of {name}, found none")))?;
    let pick = |i: usize| {
        let last = all.len() - 1;
        all.get(i).cloned().ok_or_else(|| wrong(format!("{name}: expected numbers from 0 to {last}, found {i}")))
    };
    numbers.into_iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::{BabiPart, BabiQuestion, INDEX, file, questions, test_questions};
    use std::path::Path;

    const STORIES: &str = "1 Mary moved to the hall.\n2 Where is Mary? \thall\t1\n3 John went out.\n4 Where is Mary?\thall\t1\n\
                           1 Ann sat.\n2 Who sat?\tAnn\t1\n";

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn questions_know_what_their_story_told_before_them() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "qa1_x_train.txt", STORIES);
        write(folder, "qa10_x_train.txt", STORIES);
        write(folder, "qa1_x_test.txt", STORIES);
        let path = file(folder, 1, BabiPart::Train).unwrap();
        let of = |number, story, facts: &[&str], question: &str, answer: &str| BabiQuestion {
            number,
            story,
            facts: facts.iter().map(|&fact| fact.into()).collect(),
            question: question.into(),
            answer: answer.into(),
        };
        let all = [
            of(0, 0, &["Mary moved to the hall."], "Where is Mary?", "hall"),
            of(1, 0, &["Mary moved to the hall.", "John went out."], "Where is Mary?", "hall"),
            of(2, 1, &["Ann sat."], "Who sat?", "Ann"),
        ];
        assert_eq!(questions(&path).unwrap(), all);
        assert_eq!(test_questions(folder, 1).unwrap(), all);
        write(folder, INDEX, "{\"qa1\": [2, 0]}");
        assert_eq!(test_questions(folder, 1).unwrap(), [all[2].clone(), all[0].clone()]);
        for (index, says) in
            [("{\"qa1\": [3]}", "0 to 2, found 3"), ("{}", "questions of qa1"), ("[", "a list of numbers")]
        {
            write(folder, INDEX, index);
            let error = test_questions(folder, 1).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(INDEX), "{error}");
        }
        write(folder, "qa1_y_train.txt", STORIES);
        assert!(file(folder, 1, BabiPart::Train).unwrap_err().to_string().contains("found 2"));
        assert!(file(folder, 2, BabiPart::Test).unwrap_err().to_string().contains("found 0"));
    }

    #[test]
    fn what_is_no_story_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        for (text, says) in [
            ("1 A.\nx B.\n", "line 2: expected the sentence's number"),
            ("word\n", "line 1: expected a number and a sentence"),
            ("2 A.\n", "line 1: expected the first sentence"),
            ("1 Who?\tMary\t1\n", "line 1: expected a sentence before"),
            ("1 A.\n2 Who?\t\t1\n", "line 2: expected an answer"),
            ("1 A.\n", "expected questions"),
        ] {
            write(folder.path(), "qa1_x_train.txt", text);
            let error = questions(&folder.path().join("qa1_x_train.txt")).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
