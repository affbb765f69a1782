//! Quotes of a row of CSV, byte by byte: they open at a field's beginning alone.

/// Where a quote opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    /// Its line, from 1.
    pub(super) line: u64,
    /// Its field, from 1.
    pub(super) column: usize,
    /// Whether a line ends in it.
    pub(super) broken: bool,
}

/// Where in a field a byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldPart {
    Begin,
    Inside,
    Quoted,
    /// Behind a quote in quotes, which closes them unless another one follows.
    Closing,
}

/// What was seen of a row.
#[derive(Clone, Debug)]
pub(super) struct Quotes {
    delimiter: u8,
    place: FieldPart,
    /// The field, from 1.
    column: usize,
    /// Line breaks of the row, and those before the quote that opened last.
    breaks: u64,
    before: u64,
    /// Bytes behind that quote.
    bytes: usize,
}

impl Quotes {
    /// Of a row whose fields end so.
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, place: FieldPart::Begin, column: 1, breaks: 0, before: 0, bytes: 0 }
    }

    /// Begins another row.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.delimiter);
    }

    /// Sees the next byte, and says whether the row ends with it.
    pub(super) fn ends(&mut self, b: u8) -> bool {
        let quoted = self.place == FieldPart::Quoted;
        self.breaks += u64::from(b == b'\n');
        if quoted {
            self.bytes += 1;
            if b == b'"' {
                self.place = FieldPart::Closing;
            }
            return false;
        }
        match b {
            b'\n' => return true,
            b'"' if self.place == FieldPart::Closing => self.place = FieldPart::Quoted,
            b'"' if self.place == FieldPart::Begin => {
                (self.place, self.before, self.bytes) = (FieldPart::Quoted, self.breaks, 0)
            }
            _ if b == self.delimiter => (self.place, self.column) = (FieldPart::Begin, self.column + 1),
            _ => self.place = FieldPart::Inside,
        }
        false
    }

    /// The quote that is open, of a row that begins on this line.
    pub(super) fn open(&self, line: u64) -> Option<Quote> {
        let broken = self.breaks > self.before;
        (self.place == FieldPart::Quoted).then_some(Quote { line: line + self.before, column: self.column, broken })
    }

    /// Bytes behind the quote that opened last.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
