//! Rows of standard input: its lines, but for line breaks in quotes.

use super::input::{ByteInput, Piece};
use super::quotes::{Quote, Quotes};
use crate::cli::output;
use crate::data::series::TableLayout;
use crate::error::{Error, Result, counted};

/// Longest row: more than the numbers of any model take.
const LONGEST: usize = 1 << 24;
/// Longest field in quotes: no number, date or name of a column is longer.
const QUOTED: usize = 1000;

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
    /// The line of a quote that was told to be open while nothing came.
    told: u64,
}

impl LineReader {
    /// Begins to read rows that are written so.
    pub(super) fn new(layout: &TableLayout) -> Self {
        Self { input: ByteInput::new(), rows: RowSplitter::new(layout.byte()), ended: false, told: 0 }
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
                Piece::Nothing => {
                    self.tell_open();
                    return Ok(Line::NotYet);
                }
                Piece::End => self.ended = true,
            }
        }
    }

    /// Who waits for an answer to a line hears, once, that the line is not over.
    fn tell_open(&mut self) {
        if let Some(Quote { line, column, broken: true }) = self.rows.open()
            && self.told != line
        {
            self.told = line;
            output::complain(&format!(
                "standard input, line {line}, column {column}: a quote opens there and is not closed yet: what comes is read as that field"
            ));
        }
    }
}

/// Bytes on their way to rows.
struct RowSplitter {
    rest: Vec<u8>,
    /// Bytes that hold no end, and the quotes in them.
    seen: usize,
    quotes: Quotes,
    /// The line of the row given last, and line breaks up to its end.
    number: u64,
    breaks: u64,
}

impl RowSplitter {
    fn new(delimiter: u8) -> Self {
        Self { rest: Vec::new(), seen: 0, quotes: Quotes::new(delimiter), number: 0, breaks: 0 }
    }

    /// The quote that is open, if one is.
    fn open(&self) -> Option<Quote> {
        self.quotes.open(self.breaks + 1)
    }

    fn next(&mut self, ended: bool) -> Result<Option<Vec<u8>>> {
        let end = self.rest[self.seen..].iter().position(|&b| self.quotes.ends(b));
        let end = match end {
            Some(end) => self.seen + end + 1,
            None => {
                self.seen = self.rest.len();
                self.expect_closed(ended)?;
                if self.rest.len() > LONGEST {
                    return Err(Error::usage(format!(
                        "standard input, line {}: expected a row of numbers, found {} without its end; is it a file of another kind?",
                        self.breaks + 1,
                        counted(self.rest.len(), "byte")
                    )));
                }
                if !ended || self.rest.is_empty() {
                    return Ok(None);
                }
                self.rest.len()
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
        (self.seen, self.number) = (0, self.breaks + 1);
        self.quotes.restart();
        self.breaks += row.iter().filter(|&&b| b == b'\n').count() as u64;
        Ok(Some(row))
    }

    /// A quote that is open for longer than any field, or at the end, was not meant to be.
    fn expect_closed(&self, ended: bool) -> Result<()> {
        let (Some(Quote { line, column, .. }), bytes) = (self.open(), self.quotes.bytes()) else { return Ok(()) };
        if !ended && bytes <= QUOTED {
            return Ok(());
        }
        let behind = counted(bytes, "byte");
        Err(Error::usage(format!(
            "standard input, line {line}, column {column}: a quote opens there: expected its end, found {} {behind} behind it; close it, or \
             leave it out",
            if ended { "the end of the input" } else { "none in" }
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, RowSplitter};

    fn rows(pieces: &[&str]) -> Vec<(u64, String)> {
        let (mut rows, mut all) = (RowSplitter::new(b','), Vec::new());
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
        // A quote within a field opens none.
        assert_eq!(rows(&["1,5\"\n2\"\",\"3\"\n"]), [(1, "1,5\"\n".to_owned()), (2, "2\"\",\"3\"\n".to_owned())]);
        assert_eq!(rows(&[]), []);
    }

    #[test]
    fn carriage_returns_alone_end_no_line() {
        let mut rows = RowSplitter { rest: b"1\r\n2\r3\r4\r".to_vec(), ..RowSplitter::new(b',') };
        assert!(rows.next(true).unwrap().is_some());
        assert!(rows.next(true).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut rows = RowSplitter { rest: b"1\n".to_vec(), ..RowSplitter::new(b',') };
        assert!(rows.next(false).unwrap().is_some());
        rows.rest = vec![b'x'; LONGEST + 1];
        let error = rows.next(false).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("16777217 bytes"), "{error}");
    }

    #[test]
    fn a_quote_that_stays_open_is_told_by_the_place_where_it_opens() {
        let of = |text: &[u8], ended| {
            let mut rows = RowSplitter { rest: text.to_vec(), ..RowSplitter::new(b';') };
            while rows.next(ended).map_err(|e| e.to_string())?.is_some() {}
            Ok::<_, String>(rows.open().is_some_and(|quote| quote.broken))
        };
        let long = [&b"1;2\n3;\"4\n"[..], &b"5;6\n".repeat(300)].concat();
        for (text, ended) in [(&b"1;2\n3;\"4\n5;6\n"[..], true), (&long, false), (&long, true), (b"1;2\n3;\"", true)] {
            let error = of(text, ended).unwrap_err();
            assert!(error.contains("line 2, column 2: a quote opens there") && error.contains("close it"), "{error}");
        }
        assert_eq!(of(b"1;2\n3;\"4", false), Ok(false), "a line that is coming");
        assert_eq!(of(b"1;2\n3;\"4\n", false), Ok(true), "a line that is over");
        assert_eq!(of(b"1;2\n3;\"4\n\"\n", false), Ok(false));
    }
}
