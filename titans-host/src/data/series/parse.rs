//! From the bytes of a file to rows of numbers.

use super::advice::guesses;
use super::begin::{TableStart, begin};
use super::columns::{LeftOut, left_out, unlike_run};
use super::counts::counts;
use super::dated::{DateColumns, date_of};
use super::layout::{ColumnRef, TableLayout};
use super::marks::{Marks, doubt};
use super::table::{CsvRow, CsvTable};
use super::{Column, Read, Series};
use crate::error::{brief, counted};

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
        header: if layout.header == Some(true) { &first } else { &[] },
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
    rows.add_table(table, ahead, why.map(|_| above.trim_matches('"')))?;
    let SeriesReader { mut numbers, lines, gaps, mut dates, .. } = rows;
    if known.is_empty() {
        expect_numbers(&numbers, &names, &skipped)?;
    }
    // A column that counts says nothing that the model could learn from, and leaves the training's range at once.
    if layout.left_out.is_none() && !skipped.contains(&0) && columns > 1 && known.is_empty() {
        let column: Vec<f64> = numbers.iter().step_by(columns).copied().collect();
        why = counts(&column, &names[0]);
        if why.is_some() {
            skipped.insert(0, 0);
            if layout.date != Some(ColumnRef::NONE) && when.date.is_none() {
                when.date = Some(0);
                // What is missing is no date.
                let text = |x: &f64| if x.is_nan() { String::new() } else { x.to_string() };
                dates = column.iter().map(text).collect();
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
        when.keep(&mut layout);
    }
    layout.left_out = Some(skipped.iter().map(|&i| ColumnRef::Number(i + 1)).collect());
    let headed = layout.header == Some(true) && !dates.is_empty();
    let date_names = when.places().filter(|_| headed).filter_map(|i| first.get(i).cloned()).collect();
    let names = names.into_iter().enumerate().filter(|(i, _)| !skipped.contains(i)).map(|(_, name)| name).collect();
    let series = Series { names, numbers, lines };
    Ok(Read { series, layout, guesses, gaps, notes: Vec::new(), dates, when: None, date_names })
}

/// Refuses a column without any number; `skipped` are those that are not read.
fn expect_numbers(numbers: &[f64], names: &[String], skipped: &[usize]) -> Result<(), String> {
    let kept: Vec<usize> = (0..names.len()).filter(|i| !skipped.contains(i)).collect();
    let empty = |c: &usize| numbers.iter().skip(*c).step_by(kept.len()).all(|x| x.is_nan());
    let Some(place) = (0..kept.len()).find(empty).map(|c| kept[c]) else { return Ok(()) };
    // Who names one column names all that are left out.
    let mut out: Vec<usize> = skipped.iter().copied().chain([place]).collect();
    out.sort_unstable();
    let out: Vec<&str> = out.into_iter().map(|i| names[i].as_str()).collect();
    let name = &names[place];
    Err(format!("column {name}: no row has a number there; leave it out: --leave-out {}", out.join(",")))
}

/// What is read.
struct SeriesReader<'a> {
    layout: &'a TableLayout,
    kept: Vec<bool>,
    names: &'a [String],
    /// The fields of the header; none where there is none.
    header: &'a [String],
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
    fn add_table(&mut self, mut table: CsvTable<'_>, ahead: Vec<CsvRow>, dated: Option<&str>) -> Result<(), String> {
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

    fn add(&mut self, row: &CsvRow) -> Result<(), String> {
        let CsvRow { line, record } = row;
        row.expect_other_than(self.header)?;
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
