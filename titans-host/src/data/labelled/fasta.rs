//! FASTA: a line `>name …`, then the sequence in any number of lines.

use super::LabelledRow;
use crate::error::brief;

/// Appends the records of a file, whose label is `class` where their headers name none.
pub(super) fn read(
    bytes: &[u8],
    file: usize,
    class: Option<&str>,
    wanted: bool,
    rows: &mut Vec<LabelledRow>,
) -> Result<(), String> {
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
            let label = label(header, class);
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
    finish(open, rows)
}

/// What follows `label=`; else the class of the file; else the last of several words.
fn label(header: &str, class: Option<&str>) -> Option<String> {
    let words = || header.split_whitespace();
    let said = words().find_map(|word| word.strip_prefix("label=")).filter(|label| !label.is_empty());
    let last = || words().nth(1).and_then(|_| words().last());
    said.or(class).or_else(last).map(str::to_owned)
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
