//! FASTA: a line `>name …`, then the sequence in any number of lines.

use super::LabelledRow;
use crate::error::brief;

/// Where the labels of a file come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelSources {
    /// A header says `label=`.
    pub(super) said: bool,
    /// The line of the first header without, whose label is the file's name.
    pub(super) by_name: Option<u64>,
}

/// Appends the records of a file, whose label is `class` where their headers name none.
pub(super) fn read(
    bytes: &[u8],
    file: usize,
    class: Option<&str>,
    wanted: bool,
    rows: &mut Vec<LabelledRow>,
) -> Result<LabelSources, String> {
    let mut sources = LabelSources::default();
    let mut open: Option<LabelledRow> = None;
    for (i, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let number = i as u64 + 1;
        let text = std::str::from_utf8(line).map_err(|e| {
            format!(
                "line {number}, column {}: expected text in UTF-8, found other bytes; save the file as UTF-8",
                e.valid_up_to() + 1
            )
        })?;
        let text = text.trim();
        if let Some(header) = text.strip_prefix('>') {
            finish(open.take(), rows)?;
            let said = said(header);
            sources.said |= said.is_some();
            if said.is_none() && class.is_some() {
                sources.by_name.get_or_insert(number);
            }
            let label = said.or(class).or_else(|| last(header)).map(str::to_owned);
            if wanted && label.is_none() {
                return Err(format!(
                    "line {number}: expected a label in the header (label=NAME, or its last word), found {}; or give one file for each class",
                    brief(header)
                ));
            }
            let name = header.split_whitespace().next().map(str::to_owned);
            open = Some(LabelledRow { sequence: String::new(), label, name, file, line: number });
        } else if let Some(record) = &mut open {
            record.sequence.push_str(text);
        } else if !text.is_empty() {
            return Err(format!("line {number}: expected a header that begins with >, found {}", brief(text)));
        }
    }
    finish(open, rows)?;
    Ok(sources)
}

/// What follows `label=`.
fn said(header: &str) -> Option<&str> {
    header.split_whitespace().find_map(|word| word.strip_prefix("label=")).filter(|label| !label.is_empty())
}

/// The last of several words.
fn last(header: &str) -> Option<&str> {
    header.split_whitespace().skip(1).last()
}

fn finish(record: Option<LabelledRow>, rows: &mut Vec<LabelledRow>) -> Result<(), String> {
    match record {
        Some(record) if record.sequence.is_empty() => {
            Err(format!("line {}: expected a sequence behind this header, found none", record.line))
        }
        Some(record) => {
            rows.push(record);
            Ok(())
        }
        None => Ok(()),
    }
}
