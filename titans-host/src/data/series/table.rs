//! The rows of a file as fields, each with the line that it begins in.

use super::layout::Delimiter;
use crate::error::brief;
use titans_kernel::Choice;

/// One row and where it begins.
pub(in crate::data) struct CsvRow {
    pub(in crate::data) line: u64,
    pub(in crate::data) record: csv::StringRecord,
}

impl CsvRow {
    /// Refuses the header again, where `header` has fields: files that were joined whole.
    pub(in crate::data) fn expect_other_than<T: AsRef<str>>(&self, header: &[T]) -> Result<(), String> {
        if header.is_empty() || !self.record.iter().eq(header.iter().map(AsRef::as_ref)) {
            return Ok(());
        }
        let fields: Vec<&str> = self.record.iter().collect();
        Err(format!(
            "line {}: expected a row, found the header again: {}; leave the line out (files joined one behind the other have one each)",
            self.line,
            brief(&fields.join(","))
        ))
    }
}

/// The rows of a file, none of them empty.
pub(in crate::data) struct CsvTable<'a> {
    bytes: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    longest: usize,
}

impl<'a> CsvTable<'a> {
    /// Fields of more than `longest` bytes are errors.
    pub(in crate::data) fn open(bytes: &'a [u8], delimiter: Delimiter, longest: usize) -> Self {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).trim(csv::Trim::All).delimiter(delimiter.code());
        Self { bytes, reader: builder.from_reader(bytes), longest }
    }

    /// The next row that is not empty.
    pub(in crate::data) fn next(&mut self) -> Result<Option<CsvRow>, String> {
        let mut record = csv::StringRecord::new();
        let more = self.reader.read_record(&mut record);
        if !more.map_err(|e| no_record(e, |place| line(self.bytes, place)))? {
            return Ok(None);
        }
        let line = record.position().map_or(0, |place| line(self.bytes, place));
        if let Some((column, field)) = record.iter().enumerate().find(|(_, field)| field.len() > self.longest) {
            return Err(format!(
                "line {line}, column {}: expected {} bytes at the most, found {}; is a quote not closed, or is it a file of another kind?",
                column + 1,
                self.longest,
                brief(field)
            ));
        }
        Ok(Some(CsvRow { line, record }))
    }
}

/// Why there is no record, by line and column from 1; `line` is that of a place.
pub fn no_record(error: csv::Error, line: impl Fn(&csv::Position) -> u64) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { pos: Some(place), err } => format!(
            "line {}, column {}: expected text in UTF-8, found other bytes behind the first {} of the field; save the file as UTF-8",
            line(place),
            err.field() + 1,
            err.valid_up_to()
        ),
        _ => format!("expected comma-separated values, found {error}"),
    }
}

/// The line of the record at `place`, which is before the empty lines above it.
fn line(bytes: &[u8], place: &csv::Position) -> u64 {
    let from = bytes.get(place.byte() as usize..).unwrap_or_default();
    let empty = from.iter().take_while(|b| matches!(b, b'\n' | b'\r')).filter(|&&b| b == b'\n').count();
    place.line() + empty as u64
}
