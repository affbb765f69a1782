//! Sequences with labels, from CSV and from FASTA.

mod fasta;

use super::series::{CsvRow, CsvTable, guessed_delimiter};
use super::text;
use crate::error::brief;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Most bytes of a field, which may be a whole sequence.
const FIELD: usize = 1 << 26;
/// Names of the column of sequences, where none is named.
const SEQUENCES: [&str; 5] = ["sequence", "seq", "text", "sentence", "x"];
/// Names of the column of labels, where none is named.
const LABELS: [&str; 5] = ["label", "class", "target", "labels", "y"];

/// One sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledRow {
    /// Its text, as in the file but for blanks around it (and line ends in it, in FASTA).
    pub sequence: String,
    /// Its label; none where none was asked for, or the file has none.
    pub label: Option<String>,
    /// What the file calls it (FASTA).
    pub name: Option<String>,
    /// The number of its file among those read, from 0.
    pub file: usize,
    /// The line that it begins in, from 1.
    pub line: u64,
}

/// The columns of a CSV file, by their names, or by their numbers from 1. What is not said is sought among usual names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelledColumns {
    /// That of the sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// That of the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labelled {
    /// The rows of all files, in order.
    pub rows: Vec<LabelledRow>,
    /// What is worth a word about the files, a sentence each that names its file.
    pub notes: Vec<String>,
    /// CRC-32 of the files' bytes, unpacked.
    pub crc32: u32,
}

/// Reads files one after the other; `.gz` is unpacked. A file whose first letter is `>` is FASTA, any other CSV (comma,
/// semicolon or tab, whichever its first lines have in common), whose first line names the columns unless both are
/// given by number and it has none of the usual names there. In FASTA a label is what follows `label=` in the header,
/// or the header's last word; of several FASTA files without one in any header, each is a class that is called as its
/// file is, up to the first dot. With `wanted`, every row must have a label.
///
/// # Errors
/// [`Error::Usage`] without a file, [`Error::Io`] for one that cannot be read, [`Error::File`] naming line and column
/// of what is empty, of other bytes than UTF-8, or missing.
pub fn read(paths: &[PathBuf], columns: &LabelledColumns, wanted: bool) -> Result<Labelled> {
    if paths.is_empty() {
        return Err(Error::usage("no data: name at least one file"));
    }
    let (mut all, mut crc) = (Labelled::default(), flate2::Crc::new());
    let (mut said, mut by_name) = (false, None);
    for (file, path) in paths.iter().enumerate() {
        let text::Content { bytes, notes } = text::read(&[path])?;
        text::expect_unpacked(path, &bytes)?;
        crc.update(&bytes);
        all.notes.extend(notes);
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let named = |reason: String| Error::file(path, reason);
        let before = all.rows.len();
        if bytes.trim_ascii_start().starts_with(b">") {
            let class = (paths.len() > 1).then(|| stem(path));
            let sources = fasta::read(bytes, file, class.as_deref(), wanted, &mut all.rows).map_err(named)?;
            said |= sources.said;
            by_name = by_name.or(sources.by_name.map(|line| (path, line)));
        } else {
            csv(bytes, file, columns, wanted, &mut all.rows).map_err(named)?;
        }
        if all.rows.len() == before {
            return Err(named("expected sequences, found none".into()));
        }
    }
    if let Some((path, line)) = by_name.filter(|_| said && wanted) {
        return Err(Error::file(
            path,
            format!(
                "line {line}: expected label=NAME in the header, as other headers of these files have it, found none; the names of \
                 files are labels where no header has one"
            ),
        ));
    }
    all.crc32 = crc.sum();
    Ok(all)
}

/// A file's name up to its first dot.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn csv(
    bytes: &[u8],
    file: usize,
    columns: &LabelledColumns,
    wanted: bool,
    rows: &mut Vec<LabelledRow>,
) -> std::result::Result<(), String> {
    let mut table = CsvTable::open(bytes, guessed_delimiter(bytes), FIELD);
    let Some(first) = table.next()? else { return Err("expected rows of sequences, found none".into()) };
    let by_number = |name: &Option<String>| name.as_deref().and_then(|name| name.parse::<usize>().ok());
    let numbers = (by_number(&columns.sequence), by_number(&columns.label));
    let headless = numbers.0.is_some() && (numbers.1.is_some() || !wanted) && !usual_names(&first, numbers);
    let (sequence, label) = places(&first, columns, headless, wanted)?;
    let width = first.record.len();
    let header: Vec<String> = if headless { Vec::new() } else { first.record.iter().map(str::to_owned).collect() };
    let mut ahead = if headless { Some(first) } else { None };
    while let Some(row) = match ahead.take() {
        Some(row) => Some(row),
        None => table.next()?,
    } {
        row.expect_other_than(&header)?;
        let CsvRow { line, record } = row;
        if record.len() != width {
            let advice = match record.iter().any(|field| field.contains('\n')) {
                true => "a quote opens there and is not closed on its line: close it, or leave it out",
                false => "a field with the delimiter in it needs quotes",
            };
            return Err(format!("line {line}: expected {width} fields, found {}; {advice}", record.len()));
        }
        let field = |i: usize, what: &str| match record.get(i).unwrap_or_default() {
            "" => Err(format!(
                "line {line}, column {}: expected a {what}, found nothing; fill it or leave the row out",
                i + 1
            )),
            field => Ok(field.to_owned()),
        };
        let label = label.map(|i| field(i, "label")).transpose()?;
        rows.push(LabelledRow { sequence: field(sequence, "sequence")?, label, name: None, file, line });
    }
    Ok(())
}

/// Whether a first line has one of the usual names in one of these columns, counted from 1.
fn usual_names(first: &CsvRow, (sequence, label): (Option<usize>, Option<usize>)) -> bool {
    let is = |place: Option<usize>, usual: &[&str]| {
        let name = place.and_then(|n| first.record.get(n.checked_sub(1)?));
        name.is_some_and(|name| usual.iter().any(|usual| name.eq_ignore_ascii_case(usual)))
    };
    // One letter may be a sequence, or a class, of that name.
    is(sequence, SEQUENCES.split_last().map_or(&[], |(_, long)| long))
        || is(label, LABELS.split_last().map_or(&[], |(_, long)| long))
}

/// The columns of sequences and labels, from 0.
fn places(
    first: &CsvRow,
    columns: &LabelledColumns,
    headless: bool,
    wanted: bool,
) -> std::result::Result<(usize, Option<usize>), String> {
    let names: Vec<&str> = first.record.iter().collect();
    let known = || names.iter().map(|name| brief(name)).collect::<Vec<_>>().join(", ");
    let find = |said: &Option<String>, usual: &[&str], option: &str| match said {
        Some(name) => {
            let by_name = names.iter().position(|n| n == name).filter(|_| !headless);
            let by_number = name.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).filter(|&n| n < names.len());
            by_name.or(by_number).ok_or_else(|| {
                format!("{option} {name}: expected a column's name or its number from 1, found the columns {}", known())
            })
        }
        None => {
            let is = |usual: &&str| names.iter().position(|name| name.eq_ignore_ascii_case(usual));
            usual.iter().find_map(is).ok_or_else(|| {
                format!(
                    "line {}: expected a header with a column called {}, found {}; titans train says which it is with {option} (a name, or its \
                     number from 1; with numbers for both there is no header)",
                    first.line,
                    usual.join(", "),
                    known()
                )
            })
        }
    };
    let alone = |i: usize, option: &str| match names.iter().filter(|name| **name == names[i]).count() {
        2.. if !headless => Err(format!(
            "line {}: two columns or more are named {}; {option} says which it is by its number from 1",
            first.line,
            brief(names[i])
        )),
        _ => Ok(i),
    };
    let numbered = |said: &Option<String>| said.as_deref().is_some_and(|name| name.parse::<usize>().is_ok());
    let sequence = find(&columns.sequence, &SEQUENCES, "--column")?;
    if !numbered(&columns.sequence) {
        alone(sequence, "--column")?;
    }
    let label = match find(&columns.label, &LABELS, "--label") {
        Ok(label) if numbered(&columns.label) => Some(label),
        Ok(label) => Some(alone(label, "--label")?),
        Err(_) if !wanted => None,
        Err(reason) => return Err(reason),
    };
    if label == Some(sequence) {
        return Err(format!("--column and --label: expected two columns, found {} for both", sequence + 1));
    }
    Ok((sequence, label))
}

#[cfg(test)]
mod tests;
