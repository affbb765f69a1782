//! From the bytes of a file to rows of numbers.

use super::advice::{guesses, number_of, of_header};
use super::dated::{DateColumns, date_of};
use super::layout::{self, ColumnRef, Decimal, Delimiter, TableLayout};
use super::marks::{Marks, doubt};
use super::{COLUMNS, Column, Read, Series};
use crate::error::{brief, counted};
use titans_kernel::Choice;

/// Most bytes of a field: no number is longer.
const FIELD: usize = 1000;
/// Rows that are looked at for a decimal comma.
const SAMPLE: usize = 64;

/// The numbers of a file, what was found out about how it is written, and what of that was guessed. `run` are the
/// columns, where there is a run already: a first line that names them is a header, and rows that hold nothing else
/// have none left out.
pub(super) fn parse(bytes: &[u8], said: &TableLayout, run: &[Column]) -> Result<Read, String> {
    let known = &run.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    let TableStart { mut layout, table, ahead, first, names, marks } = begin(bytes, said, known)?;
    let LeftOut { mut skipped, mut when, mut why } = left_out(&layout, &names, &ahead[0], known)?;
    let columns = names.len() - skipped.len();
    // Another file's cells are not to blame.
    let here = |name: &String| names.iter().enumerate().any(|(i, found)| found == name && !skipped.contains(&i));
    if layout.header == Some(true) && !known.iter().all(here) {
        return Err(unlike_run(known, &names));
    }
    let mut rows = SeriesReader {
        layout: &layout,
        kept: (0..names.len()).map(|i| !skipped.contains(&i)).collect(),
        names: &names,
        numbers: Vec::new(),
        lines: Vec::new(),
        gaps: 0,
        run: !known.is_empty(),
        whole: names.iter().map(|name| run.iter().any(|column| column.whole && column.name == *name)).collect(),
        marks,
        when,
        dates: Vec::new(),
    };
    let above = if layout.header == Some(true) { "no number" } else { &brief(&first[0]) };
    rows.add_all(table, ahead, why.map(|_| above.trim_matches('"')))?;
    let SeriesReader { mut numbers, lines, gaps, mut dates, .. } = rows;
    if let Some(i) =
        (0..columns).find(|i| known.is_empty() && numbers.iter().skip(*i).step_by(columns).all(|x| x.is_nan()))
    {
        let name = names.iter().enumerate().filter(|(i, _)| !skipped.contains(i)).nth(i).map_or("", |(_, name)| name);
        return Err(format!("column {name}: no row has a number there; leave it out: --leave-out {name}"));
    }
    // A column that counts says nothing that the model could learn from, and leaves the training's range at once.
    if layout.left_out.is_none() && skipped.is_empty() && columns > 1 && known.is_empty() {
        let column: Vec<f64> = numbers.iter().step_by(columns).copied().collect();
        why = layout::counts(&column, &names[0]);
        if why.is_some() {
            skipped = vec![0];
            if layout.date != Some(ColumnRef::NONE) {
                dates = column.iter().map(f64::to_string).collect();
            }
            let mut i = 0;
            numbers.retain(|_| {
                i += 1;
                (i - 1) % columns != 0
            });
        }
    }
    let guesses = guesses(said, &layout, &first, &names, (why, when));
    if !dates.is_empty() {
        when.date.get_or_insert(0);
        when.keep(&mut layout);
    }
    layout.left_out = Some(skipped.iter().map(|&i| ColumnRef::Number(i + 1)).collect());
    let names = names.into_iter().enumerate().filter(|(i, _)| !skipped.contains(i)).map(|(_, name)| name).collect();
    Ok(Read { series: Series { names, numbers, lines }, layout, guesses, gaps, notes: Vec::new(), dates })
}

/// How a file begins.
struct TableStart<'a> {
    /// What was said of how it is written, and what was found.
    layout: TableLayout,
    table: CsvTable<'a>,
    /// The rows of numbers that were looked at, at least one.
    ahead: Vec<CsvRow>,
    /// The fields of the first line, a header or a row.
    first: Vec<String>,
    /// Of all columns; the number of one whose name is empty.
    names: Vec<String>,
    /// Of the rows that were looked at; none where the decimal mark was said.
    marks: Option<Marks>,
}

/// Looks at the first rows.
fn begin<'a>(bytes: &'a [u8], said: &TableLayout, known: &[String]) -> Result<TableStart<'a>, String> {
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
    let mut marks = said.decimal.is_none().then(|| Marks::new(delimiter));
    if let Some(marks) = &mut marks {
        ahead.iter().for_each(|row| marks.look(row.line, row.record.iter()));
        marks.verdict()?;
    }
    let sample = || ahead.iter().flat_map(|row| row.record.iter());
    layout.decimal.get_or_insert_with(|| layout::decimal(delimiter, sample()));
    let first: Vec<String> = ahead[0].record.iter().map(str::to_owned).collect();
    let header = layout.header.filter(|_| known.is_empty()).unwrap_or_else(|| is_header(&first, &layout, known));
    layout.header = Some(header);
    if header {
        ahead.remove(0);
    }
    let Some(start) = ahead.first() else { return Err("expected rows of numbers below the header, found none".into()) };
    let width = start.record.len();
    let number = |i: usize| (i + 1).to_string();
    let named = |(i, name): (usize, &String)| if name.is_empty() { number(i) } else { name.clone() };
    let names: Vec<String> =
        if header { first.iter().enumerate().map(named).collect() } else { (0..width).map(number).collect() };
    if names.len() != width {
        return Err(format!(
            "line {}: the header names {}, the first row has {width}; {}",
            start.line,
            counted(names.len(), "column"),
            of_header(delimiter, names.len(), !known.is_empty())
        ));
    }
    Ok(TableStart { layout, table, ahead, first, names, marks })
}

/// Columns that are no series.
struct LeftOut {
    /// In ascending order.
    skipped: Vec<usize>,
    /// The dates among them.
    when: DateColumns,
    /// Why the first was left out, if nobody said so.
    why: Option<&'static str>,
}

/// Which columns are no series, by what was said, the run's names, and the first row.
fn left_out(layout: &TableLayout, names: &[String], start: &CsvRow, known: &[String]) -> Result<LeftOut, String> {
    let width = names.len();
    // A file of the run's columns alone has no dates.
    let alone = !known.is_empty() && width == known.len();
    let unlike_run = |reason: String| if known.is_empty() { reason } else { unlike_run(known, names) };
    let mut why = None;
    let mut skipped = match &layout.left_out {
        _ if alone => Vec::new(),
        Some(places) => {
            let numbers = places.iter().map(|place| number_of("--leave-out", place, names));
            numbers.collect::<Result<_, _>>().map_err(unlike_run)?
        }
        None if width > 1 && is_date(&start.record[0], layout) => {
            why = Some("it holds no numbers");
            vec![0]
        }
        None => Vec::new(),
    };
    let mut when = DateColumns::default();
    if !alone && layout.date != Some(ColumnRef::NONE) {
        when = dates(layout, names, start, &skipped).map_err(unlike_run)?;
    }
    skipped.extend(when.places());
    skipped.sort_unstable();
    skipped.dedup();
    let columns = width - skipped.len();
    if columns == 0 || columns > COLUMNS {
        let run = if known.is_empty() { String::new() } else { format!(" (the run has {})", known.join(", ")) };
        let found = names.join(", ");
        return Err(format!(
            "expected 1 to {COLUMNS} columns of numbers{run}, found {columns} of {width}: {}",
            brief(&found)
        ));
    }
    distinct(names, &skipped)?;
    Ok(LeftOut { skipped, when, why })
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

/// A header names the columns, or holds no number at all, not even one that cannot be used; a row of numbers with a
/// date before them does.
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

/// Columns are known by their names.
fn distinct(names: &[String], skipped: &[usize]) -> Result<(), String> {
    let kept = || names.iter().enumerate().filter(|(i, _)| !skipped.contains(i));
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

/// The columns of dates, from 0, where `start` is the first row: those that are named, or else a day beside a time of
/// the day, or what holds no number, among those that are not read. A first column of dates may have the second one
/// beside it.
fn dates(layout: &TableLayout, names: &[String], start: &CsvRow, skipped: &[usize]) -> Result<DateColumns, String> {
    if let Some(place) = &layout.date {
        let date = Some(number_of("--date", place, names)?);
        let time = layout.time.as_ref().map(|place| number_of("--date", place, names)).transpose()?;
        return Ok(DateColumns { date, time: time.filter(|_| time != date) });
    }
    let beside = (layout.left_out.is_none() && skipped == [0] && names.len() > 2).then_some(1);
    if let Some(pair) = DateColumns::pair(&start.record, skipped.iter().copied().chain(beside)) {
        return Ok(pair);
    }
    let written = |&i: &usize| start.record.get(i).is_some_and(|field| is_date(field, layout));
    Ok(DateColumns { date: skipped.iter().copied().find(written), time: None })
}

/// What is wrong with a file that has neither the columns of a run nor all that its training file had.
fn unlike_run(known: &[String], names: &[String]) -> String {
    let (run, found) = (known.join(", "), names.join(", "));
    format!(
        "expected the run's columns {} alone, or all that its training file had, found {}: {}",
        brief(&run),
        counted(names.len(), "column"),
        brief(&found)
    )
}

/// What is read.
struct SeriesReader<'a> {
    layout: &'a TableLayout,
    kept: Vec<bool>,
    names: &'a [String],
    numbers: Vec<f64>,
    lines: Vec<u64>,
    gaps: usize,
    /// Whether they are for a run that there is already.
    run: bool,
    /// Columns in which that run's file has whole numbers alone.
    whole: Vec<bool>,
    marks: Option<Marks>,
    when: DateColumns,
    dates: Vec<String>,
}

impl SeriesReader<'_> {
    /// The rows that were looked at, then all others. `dated`: what stands above them in the first column, where that
    /// was taken for dates because it held no number.
    fn add_all(&mut self, mut table: CsvTable<'_>, ahead: Vec<CsvRow>, dated: Option<&str>) -> Result<(), String> {
        let mut ahead = ahead.into_iter();
        while let Some(row) = ahead.next().map_or_else(|| table.next(), |row| Ok(Some(row)))? {
            let number = |field| self.layout.number(field).is_ok_and(|x| x.is_some());
            if let Some(above) = dated
                && number(row.record.get(0).unwrap_or_default())
            {
                return Err(format!(
                    "line {}, column 1: expected a date as in the first row ({above}), found the number {}; the column must hold \
                     numbers or none",
                    row.line,
                    brief(&row.record[0]).trim_matches('"')
                ));
            }
            if let Some(marks) = &mut self.marks {
                marks.look(row.line, row.record.iter());
            }
            self.add(&row)?;
        }
        self.marks.as_ref().map_or(Ok(()), Marks::verdict)
    }

    fn add(&mut self, CsvRow { line, record }: &CsvRow) -> Result<(), String> {
        if record.len() != self.kept.len() {
            let expected = counted(self.kept.len(), "field");
            return Err(format!("line {line}: expected {expected}, found {}", record.len()));
        }
        for (i, field) in record.iter().enumerate().filter(|&(i, _)| self.kept[i]) {
            let number = self.layout.number(field).map_err(|reason| {
                let name = &self.names[i];
                let advice = match self.run {
                    true => self.layout.advice(field),
                    false => self.layout.training_advice(field, self.names.len() == 1),
                };
                format!("line {line}, column {name}: {reason}; {advice}")
            })?;
            if self.whole[i]
                && let Some(doubt) = doubt(field)
            {
                return Err(format!("line {line}, column {}: {doubt}", self.names[i]));
            }
            self.gaps += usize::from(number.is_none());
            self.numbers.push(number.unwrap_or(f64::NAN));
        }
        self.lines.push(*line);
        self.dates.extend(date_of(self.when, record));
        Ok(())
    }
}
