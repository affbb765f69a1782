//! From the bytes of a file to rows of numbers.

use super::layout::{self, ColumnRef, Decimal, Delimiter, TableLayout};
use super::{COLUMNS, Read, Series};
use crate::error::brief;

/// Most bytes of a field: no number is longer.
const FIELD: usize = 1000;
/// Rows that are looked at for a decimal comma.
const SAMPLE: usize = 64;

/// The numbers of a file, what was found out about how it is written, and what of that was guessed. `known` are the names of the columns,
/// where there is a run already: a first line that names them is a header, and rows that hold nothing else have none left out.
pub(super) fn parse(bytes: &[u8], said: &TableLayout, known: &[String]) -> Result<Read, String> {
    let mut layout = said.clone();
    let delimiter = *layout.delimiter.get_or_insert_with(|| match (layout::delimiter(bytes), said.decimal) {
        // One column, whose commas are decimal ones.
        (Delimiter::Comma, Some(Decimal::Comma)) => Delimiter::Semicolon,
        (delimiter, _) => delimiter,
    });
    let mut table = CsvTable::open(bytes, delimiter, FIELD);
    let Some(first) = table.next()? else { return Err("expected rows of numbers, found none".into()) };
    let mut ahead = vec![first];
    while ahead.len() < SAMPLE
        && let Some(row) = table.next()?
    {
        ahead.push(row);
    }
    let fields = |row: &CsvRow| row.record.iter().map(str::to_owned).collect::<Vec<_>>();
    let sample = || ahead.iter().flat_map(|row| row.record.iter());
    if said.decimal.is_none() {
        thousands(&ahead, delimiter)?;
    }
    layout.decimal.get_or_insert_with(|| layout::decimal(delimiter, sample()));
    let first = fields(&ahead[0]);
    let header = layout.header.filter(|_| known.is_empty()).unwrap_or_else(|| is_header(&first, &layout, known));
    layout.header = Some(header);
    let names = header.then(|| first.clone());
    if header {
        ahead.remove(0);
    }
    let Some(start) = ahead.first() else { return Err("expected rows of numbers below the header, found none".into()) };
    let width = start.record.len();
    let names = names.unwrap_or_else(|| (1..=width).map(|i| i.to_string()).collect());
    if names.len() != width {
        return Err(format!(
            "line {}: the header names {} columns, the first row has {width}; if commas are decimal ones, say --decimal comma",
            start.line,
            names.len()
        ));
    }
    let mut why = None;
    let mut skipped = match &layout.left_out {
        _ if !known.is_empty() && width == known.len() => Vec::new(),
        Some(places) => places.iter().map(|place| number_of("--leave-out", place, &names)).collect::<Result<_, _>>()?,
        None if width > 1 && is_date(&start.record[0], &layout) => {
            why = Some("it holds no numbers");
            vec![0]
        }
        None => Vec::new(),
    };
    // A file of the run's columns alone has no dates.
    let alone = !known.is_empty() && width == known.len();
    let dateless = layout.date == Some(ColumnRef::NONE);
    let named = layout.date.as_ref().filter(|_| !alone && !dateless);
    let date = named.map(|place| number_of("--date", place, &names)).transpose()?;
    let written = |&i: &usize| !dateless && start.record.get(i).is_some_and(|field| is_date(field, &layout));
    let date = date.or_else(|| skipped.iter().copied().find(written));
    skipped.extend(date);
    skipped.sort_unstable();
    skipped.dedup();
    let dated = why.is_some();
    let columns = width - skipped.len();
    if columns == 0 || columns > COLUMNS {
        let run = if known.is_empty() { String::new() } else { format!(" (the run has {})", known.join(", ")) };
        let found = names.join(", ");
        return Err(format!(
            "expected 1 to {COLUMNS} columns of numbers{run}, found {columns} of {width}: {}",
            brief(&found)
        ));
    }
    distinct(&names, &skipped)?;
    let above = if header { "no number".into() } else { brief(&first[0]).trim_matches('"').to_owned() };
    let kept: Vec<bool> = (0..width).map(|i| !skipped.contains(&i)).collect();
    let mut rows = SeriesReader {
        layout: &layout,
        kept,
        names: &names,
        numbers: Vec::new(),
        lines: Vec::new(),
        gaps: 0,
        date,
        dates: Vec::new(),
    };
    let mut ahead = ahead.into_iter();
    while let Some(row) = ahead.next().map_or_else(|| table.next(), |row| Ok(Some(row)))? {
        if dated && layout.number(row.record.get(0).unwrap_or_default()).is_ok_and(|x| x.is_some()) {
            return Err(format!(
                "line {}, column 1: expected a date as in the first row ({above}), found the number {}; the column must hold numbers \
                 or none",
                row.line,
                brief(&row.record[0]).trim_matches('"')
            ));
        }
        rows.add(&row)?;
    }
    let SeriesReader { mut numbers, lines, gaps, mut dates, .. } = rows;
    // A column that counts says nothing that the model could learn from, and leaves the training's range at once.
    if layout.left_out.is_none() && skipped.is_empty() && columns > 1 && known.is_empty() {
        let column: Vec<f64> = numbers.iter().step_by(columns).copied().collect();
        why = layout::counts(&column, &names[0]);
        if why.is_some() {
            skipped = vec![0];
            if !dateless {
                dates = column.iter().map(f64::to_string).collect();
            }
            let mut i = 0;
            numbers.retain(|_| {
                i += 1;
                (i - 1) % columns != 0
            });
        }
    }
    let guesses = guesses(said, &layout, &first, &names, why);
    if !dates.is_empty() {
        layout.date = Some(ColumnRef::Number(date.unwrap_or(0) + 1));
    }
    layout.left_out = Some(skipped.iter().map(|&i| ColumnRef::Number(i + 1)).collect());
    let names = names.into_iter().enumerate().filter(|(i, _)| !skipped.contains(i)).map(|(_, name)| name).collect();
    Ok(Read { series: Series { names, numbers, lines }, layout, guesses, gaps, notes: Vec::new(), dates })
}

/// One row and where it begins.
pub(in crate::data) struct CsvRow {
    pub(in crate::data) line: u64,
    pub(in crate::data) record: csv::StringRecord,
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
        builder.has_headers(false).flexible(true).trim(csv::Trim::All).delimiter(delimiter.byte());
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

/// A header names the columns, or holds no number at all, not even one that cannot be used; a row of numbers with a date before them does.
fn is_header(first: &[String], layout: &TableLayout, known: &[String]) -> bool {
    let skipped = layout.skipped();
    let kept = first.iter().enumerate().filter(|(i, _)| !skipped.contains(i)).map(|(_, name)| name);
    let named = !known.is_empty() && (first == known || kept.eq(known.iter()));
    named || first.iter().all(|field| field.parse::<f64>().is_err() && layout.number(field).is_err())
}

/// Neither a number, good or bad, nor what stands for one.
fn is_date(field: &str, layout: &TableLayout) -> bool {
    !layout::is_gap(field) && field.parse::<f64>().is_err() && layout.number(field).is_err()
}

/// A comma (or a point) before groups of three digits, in a column that has whole numbers without one too, may be one of thousands or of
/// decimals; a point where whole numbers come near a thousand.
fn thousands(rows: &[CsvRow], delimiter: Delimiter) -> Result<(), String> {
    let width = rows.iter().map(|row| row.record.len()).max().unwrap_or(0);
    for column in (0..width).filter(|_| delimiter != Delimiter::Comma) {
        let fields = || rows.iter().filter_map(|row| Some((row.line, row.record.get(column)?)));
        for (mark, name, least) in [(',', "comma", 0), ('.', "point", 100)] {
            let mut marked = fields().filter(|(_, field)| field.contains(mark)).peekable();
            let Some(&(line, found)) = marked.peek() else { continue };
            let large = |field: &str| field.parse::<i64>().is_ok_and(|x| x.saturating_abs() >= least);
            let whole = fields().find(|(_, field)| !field.contains(mark) && large(field));
            if let Some((_, whole)) = whole.filter(|_| marked.all(|(_, field)| grouped(field, mark))) {
                return Err(format!(
                    "line {line}, column {}: {found} stands in a column with whole numbers such as {whole}: is its {name} one of \
                     thousands or of decimals? Write it without, or say --decimal {name}",
                    column + 1
                ));
            }
        }
    }
    Ok(())
}

/// Digits in groups of three behind the first, which is no 0, with a mark between them: `1,059`.
fn grouped(field: &str, mark: char) -> bool {
    let mut groups = field.trim_start_matches(['-', '+']).split(mark);
    let digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let first = groups.next().is_some_and(|g| (1..=3).contains(&g.len()) && digits(g) && !g.starts_with('0'));
    first && groups.all(|group| group.len() == 3 && digits(group))
}

/// Columns are known by their names.
fn distinct(names: &[String], skipped: &[usize]) -> Result<(), String> {
    let kept = || names.iter().enumerate().filter(|(i, name)| !skipped.contains(i) && !name.is_empty());
    for (i, name) in kept() {
        if let Some((first, _)) = kept().take_while(|(j, _)| *j < i).find(|(_, other)| *other == name) {
            return Err(format!(
                "the header: columns {} and {} are both named {}; expected a name of its own for each",
                first + 1,
                i + 1,
                brief(name)
            ));
        }
    }
    Ok(())
}

/// A column's number, from 0.
fn number_of(option: &str, place: &ColumnRef, names: &[String]) -> Result<usize, String> {
    let found = match place {
        ColumnRef::Number(n) => n.checked_sub(1).filter(|&i| i < names.len()),
        ColumnRef::Name(name) => names.iter().position(|n| n == name),
    };
    found.ok_or_else(|| {
        let place = match place {
            ColumnRef::Number(n) => n.to_string(),
            ColumnRef::Name(name) => brief(name),
        };
        format!("{option} {place}: expected one of {} columns: {}", names.len(), names.join(", "))
    })
}

/// What is read.
struct SeriesReader<'a> {
    layout: &'a TableLayout,
    kept: Vec<bool>,
    names: &'a [String],
    numbers: Vec<f64>,
    lines: Vec<u64>,
    gaps: usize,
    date: Option<usize>,
    dates: Vec<String>,
}

impl SeriesReader<'_> {
    fn add(&mut self, CsvRow { line, record }: &CsvRow) -> Result<(), String> {
        if record.len() != self.kept.len() {
            return Err(format!("line {line}: expected {} fields, found {}", self.kept.len(), record.len()));
        }
        for (i, field) in record.iter().enumerate().filter(|&(i, _)| self.kept[i]) {
            let number = self.layout.number(field).map_err(|reason| {
                let whole = self.names.len() == 1 && !field.trim().is_empty();
                let name = if self.names[i].is_empty() { (i + 1).to_string() } else { self.names[i].clone() };
                let way_out = if field.contains(',') && !whole {
                    "write a decimal point; a file of decimal commas has fields that end at semicolons or tabs, and --decimal comma says so"
                } else if field.parse::<f64>().is_ok_and(f64::is_finite) {
                    "correct it, or give the column in larger units"
                } else if !whole && !layout::is_gap(field) {
                    "write numbers without marks for thousands and units; a column that holds none is left out by --leave-out, one of \
                     dates named by --date"
                } else if whole {
                    "the line was read as one field; fields end with a comma, a semicolon or a tab, which --delimiter says"
                } else {
                    "fill gaps, and what stands for them, beforehand, or train with --gaps mean, which lets the column's mean stand \
                     for them"
                };
                format!("line {line}, column {name}: {reason}; {way_out}")
            })?;
            self.gaps += usize::from(number.is_none());
            self.numbers.push(number.unwrap_or(f64::NAN));
        }
        self.lines.push(*line);
        if let Some(date) = self.date {
            self.dates.push(record.get(date).unwrap_or_default().to_owned());
        }
        Ok(())
    }
}

/// What was not said and had to be guessed, with the option that says it.
fn guesses(
    said: &TableLayout,
    found: &TableLayout,
    first: &[String],
    names: &[String],
    why: Option<&str>,
) -> Vec<String> {
    let mut guesses = Vec::new();
    if let (None, Some(delimiter)) = (said.delimiter, found.delimiter) {
        guesses.push(format!("fields end at a {} (--delimiter)", delimiter.name()));
    }
    if let (None, Some(decimal)) = (said.decimal, found.decimal) {
        guesses.push(format!("decimal {} (--decimal)", decimal.name()));
    }
    if said.header.is_none() {
        let line = brief(&first.join(","));
        guesses.push(match found.header {
            Some(true) => format!("the first line is the header {line} (--header)"),
            _ => format!("no header, the first line is numbers: {line} (--header)"),
        });
    }
    if said.left_out.is_none() {
        guesses.push(match why {
            Some(why) => format!("column {} is left out, {why} (--leave-out)", brief(&names[0])),
            None => "every column is read (--leave-out)".into(),
        });
    }
    guesses
}

/// Whether a decimal comma can be meant where fields end at commas.
pub(super) fn contradiction(said: &TableLayout) -> Option<String> {
    let both = said.decimal == Some(Decimal::Comma) && said.delimiter == Some(Delimiter::Comma);
    both.then(|| {
        "a decimal comma and fields that end at commas: expected one of them; choose --delimiter semicolon or tab"
            .into()
    })
}
