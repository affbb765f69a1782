//! JSON by lines: one object a line.

use super::text::{self, Content};
use crate::error::brief;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What some editors put before a text.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The objects of a file.
#[derive(Clone, Debug)]
pub struct Objects {
    /// In the file's order.
    pub lines: Vec<ObjectLine>,
    /// What is worth a word about the file, a sentence each that names it.
    pub notes: Vec<String>,
}

/// One object, and where it stands.
#[derive(Clone, Debug)]
pub struct ObjectLine {
    path: PathBuf,
    /// Its line, from 1.
    pub number: usize,
    fields: Map<String, Value>,
}

/// Reads a file of objects, one a line; `.gz` is decompressed. A byte order mark, carriage returns and empty lines are
/// passed over.
///
/// # Errors
/// As [`text::read`]; [`Error::File`] with the line, and the column where there is one, of what is no UTF-8, no JSON or
/// no object, and for a file without an object.
pub fn read(path: &Path) -> Result<Objects> {
    let Content { bytes, notes } = text::read(&[path])?;
    let bytes = bytes.strip_prefix(BOM).unwrap_or(&bytes);
    let mut lines = Vec::new();
    for (i, line) in bytes.split(|&b| b == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            lines.push(object(path, i + 1, line)?);
        }
    }
    if lines.is_empty() {
        return Err(Error::file(path, "expected a JSON object on every line, found none"));
    }
    Ok(Objects { lines, notes })
}

fn object(path: &Path, number: usize, line: &[u8]) -> Result<ObjectLine> {
    let wrong = |reason: String| Error::file(path, format!("line {number}{reason}"));
    let text = std::str::from_utf8(line).map_err(|e| {
        let (column, byte) = (e.valid_up_to() + 1, line.get(e.valid_up_to()).copied().unwrap_or_default());
        wrong(format!(", column {column}: expected text in UTF-8, found the byte {byte:#04x}"))
    })?;
    let value: Value = serde_json::from_str(text).map_err(|e| {
        let said = e.to_string();
        let reason = said.rsplit_once(" at line").map_or(said.as_str(), |(reason, _)| reason);
        wrong(format!(", column {}: expected a JSON object, found damage or another format: {reason}", e.column()))
    })?;
    match value {
        Value::Object(fields) => Ok(ObjectLine { path: path.to_path_buf(), number, fields }),
        other => Err(wrong(format!(": expected a JSON object, found {}", kind(&other)))),
    }
}

impl ObjectLine {
    /// What is wrong with one of its fields.
    pub fn wrong(&self, field: &str, reason: &str) -> Error {
        Error::file(&self.path, format!("line {}, field {field}: {reason}", self.number))
    }

    /// A field that must be there; `expected` says what it should be.
    ///
    /// # Errors
    /// [`Error::File`] with line and field.
    pub fn field(&self, name: &str, expected: &str) -> Result<&Value> {
        self.fields.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
            self.wrong(name, &format!("expected {expected}, found none among {}", brief(&names.join(", "))))
        })
    }

    /// A text.
    ///
    /// # Errors
    /// [`Error::File`] with line and field.
    pub fn text(&self, name: &str) -> Result<&str> {
        let value = self.field(name, "a text")?;
        value.as_str().ok_or_else(|| self.wrong(name, &format!("expected a text, found {}", kind(value))))
    }

    /// Texts.
    ///
    /// # Errors
    /// [`Error::File`] with line and field, and the number of what is none.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        let value = self.field(name, "a list of texts")?;
        let of = |found: &str| self.wrong(name, &format!("expected a list of texts, found {found}"));
        let list = value.as_array().ok_or_else(|| of(kind(value)))?;
        let one = |(i, x): (usize, &Value)| match x.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(of(&format!("{} at number {i} of it", kind(x)))),
        };
        list.iter().enumerate().map(one).collect()
    }
}

/// What a value is, in a word or two.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::path::PathBuf;

    fn file(folder: &tempfile::TempDir, content: &[u8]) -> PathBuf {
        let path = folder.path().join("items.jsonl");
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn marks_carriage_returns_and_empty_lines_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, b"\xef\xbb\xbf{\"text\": \"a b\"}\r\n\r\n  \n{\"text\": \"c\", \"more\": [\"x\"]}");
        let lines = read(&path).unwrap().lines;
        let found: Vec<_> = lines.iter().map(|l| (l.number, l.text("text").unwrap())).collect();
        assert_eq!(found, [(1, "a b"), (4, "c")]);
        assert_eq!(lines[1].texts("more").unwrap(), ["x"]);
    }

    #[test]
    fn what_is_no_line_of_an_object_is_named_by_line_and_column() {
        let folder = tempfile::tempdir().unwrap();
        let cases: [(&[u8], &[&str]); 6] = [
            (b"{}\n{\"a\": }", &["line 2, column 7", "expected value"]),
            (b"{}\n\n{\"a\": 1", &["line 3", "EOF"]),
            (b"[1]", &["line 1", "found a list"]),
            (b"{}\n{\"a\": \"\xff\"}", &["line 2, column 8", "0xff"]),
            (b"text", &["line 1", "column"]),
            (b"\n\n", &["found none"]),
        ];
        for (content, says) in cases {
            let error = read(&file(&folder, content)).unwrap_err().to_string();
            for say in says.iter().chain(&["items.jsonl"]) {
                assert!(error.contains(say), "{say}: {error}");
            }
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, b"{}\n{\"text\": 3, \"list\": [\"a\", null], \"other\": {}}");
        let lines = read(&path).unwrap().lines;
        let said = |error: crate::Error| error.to_string();
        assert!(said(lines[0].text("text").unwrap_err()).contains("line 1, field text: expected a text, found none"));
        assert!(
            said(lines[1].text("text").unwrap_err()).contains("line 2, field text: expected a text, found a number")
        );
        assert!(said(lines[1].texts("list").unwrap_err()).contains("found null at number 1"));
        assert!(said(lines[1].texts("other").unwrap_err()).contains("found an object"));
        assert!(said(lines[1].texts("none").unwrap_err()).contains("list, other, text"));
    }
}
