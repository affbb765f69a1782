//! Rows of standard input: its lines, but for line breaks in quotes.

use super::input::{ByteInput, Piece};
use crate::error::{Error, Result};

/// Longest row: more than the numbers of any model take.
const LONGEST: usize = 1 << 24;

/// What came.
pub(super) enum Line {
    /// A row with its end.
    Is(Vec<u8>),
    /// None yet.
    NotYet,
    /// None any more.
    End,
}

/// The rows.
pub(super) struct LineReader {
    input: ByteInput,
    rows: RowSplitter,
    ended: bool,
}

impl LineReader {
    /// Begins to read.
    pub(super) fn new() -> Self {
        Self { input: ByteInput::new(), rows: RowSplitter::default(), ended: false }
    }

    /// The line on which the row given last begins, from 1.
    pub(super) fn number(&self) -> u64 {
        self.rows.number
    }

    /// The next row, or nothing after a while.
    pub(super) fn next(&mut self) -> Result<Line> {
        loop {
            if let Some(row) = self.rows.next(self.ended)? {
                return Ok(Line::Is(row));
            }
            if self.ended {
                return Ok(Line::End);
            }
            match self.input.next()? {
                Piece::Bytes(bytes) => self.rows.rest.extend(bytes),
                Piece::Nothing => return Ok(Line::NotYet),
                Piece::End => self.ended = true,
            }
        }
    }
}

/// Bytes on their way to rows.
#[derive(Default)]
struct RowSplitter {
    rest: Vec<u8>,
    /// Bytes that hold no end, and whether a quote is open behind them.
    seen: usize,
    quoted: bool,
    /// The line of the row given last, and line breaks up to its end.
    number: u64,
    breaks: u64,
}

impl RowSplitter {
    fn next(&mut self, ended: bool) -> Result<Option<Vec<u8>>> {
        let end = self.rest[self.seen..].iter().position(|&b| {
            self.quoted ^= b == b'"';
            b == b'\n' && !self.quoted
        });
        let end = match end {
            Some(end) => self.seen + end + 1,
            None if self.rest.len() > LONGEST => {
                return Err(Error::usage(format!(
                    "standard input, line {}: expected a row of numbers, found {} bytes without its end; is a quote not closed, or is \
                     it a file of another kind?",
                    self.breaks + 1,
                    self.rest.len()
                )));
            }
            None if ended && !self.rest.is_empty() => self.rest.len(),
            None => {
                self.seen = self.rest.len();
                return Ok(None);
            }
        };
        let row: Vec<u8> = self.rest.drain(..end).collect();
        let inside = row.strip_suffix(b"\n").map_or(&row[..], |row| row.strip_suffix(b"\r").unwrap_or(row));
        if inside.contains(&b'\r') && !inside.contains(&b'"') && !inside.trim_ascii_end().is_empty() {
            return Err(Error::usage(format!(
                "standard input, line {}: expected lines that end in a line feed, found carriage returns within one; convert the line ends",
                self.breaks + 1
            )));
        }
        (self.seen, self.quoted, self.number) = (0, false, self.breaks + 1);
        self.breaks += row.iter().filter(|&&b| b == b'\n').count() as u64;
        Ok(Some(row))
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, RowSplitter};

    fn rows(pieces: &[&str]) -> Vec<(u64, String)> {
        let (mut rows, mut all) = (RowSplitter::default(), Vec::new());
        let mut take = |rows: &mut RowSplitter, ended| {
            while let Some(row) = rows.next(ended).unwrap() {
                all.push((rows.number, String::from_utf8(row).unwrap()));
            }
        };
        for piece in pieces {
            rows.rest.extend(piece.bytes());
            take(&mut rows, false);
        }
        take(&mut rows, true);
        all
    }

    #[test]
    fn rows_end_at_line_breaks_that_are_in_no_quotes_however_they_come() {
        let text = "a,\"b\nc\"\n1,2\n\n3,4";
        let expected = [(1, "a,\"b\nc\"\n"), (3, "1,2\n"), (4, "\n"), (5, "3,4")].map(|(n, row)| (n, row.to_owned()));
        for cut in 0..text.len() {
            assert_eq!(rows(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
        assert_eq!(rows(&["1\n"]), [(1, "1\n".to_owned())]);
        assert_eq!(rows(&[]), []);
    }

    #[test]
    fn carriage_returns_alone_end_no_line() {
        let mut rows = RowSplitter { rest: b"1\r\n2\r3\r4\r".to_vec(), ..RowSplitter::default() };
        assert!(rows.next(true).unwrap().is_some());
        assert!(rows.next(true).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut rows = RowSplitter { rest: b"1\n".to_vec(), ..RowSplitter::default() };
        assert!(rows.next(false).unwrap().is_some());
        rows.rest = vec![b'x'; LONGEST + 1];
        let error = rows.next(false).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("16777217 bytes"), "{error}");
    }
}
