//! What to do about a file that cannot be read as it is, and what was guessed about one that can.

use super::columns::HOLDS_DATES;
use super::dated::DateColumns;
use super::dates::is_clock;
use super::layout::{self, ColumnRef, Decimal, Delimiter, TableLayout};
use crate::error::brief;
use titans_kernel::Choice;

impl TableLayout {
    /// What to do about a field that holds no number, among rows for a run whose training file was written so.
    pub fn advice(&self, field: &str) -> &'static str {
        let comma = self.decimal == Some(Decimal::Comma);
        if field.contains(['\n', '\r']) {
            OPEN
        } else if layout::is_gap(field) {
            "fill gaps beforehand, or train with --gaps mean or hold, which let the column's mean or its last number stand for them"
        } else if field.contains(',') && !comma {
            "numbers have decimal points, as in the run's training file: write them so"
        } else if comma && field.parse::<f64>().is_ok() {
            "numbers have decimal commas, as in the run's training file: write them so"
        } else if field.parse::<f64>().is_ok_and(f64::is_finite) {
            LARGE
        } else if field.parse::<f64>().is_ok() {
            "correct it, or train with --gaps mean or hold and leave it empty"
        } else {
            "write numbers without marks for thousands and units, in columns as the run's training file has them"
        }
    }

    /// The same for a file to train on, which was read as one column if `one`.
    pub(super) fn training_advice(&self, field: &str, one: bool) -> &'static str {
        let comma = self.decimal == Some(Decimal::Comma);
        if field.contains(['\n', '\r']) {
            OPEN
        } else if layout::is_gap(field) {
            "fill gaps, and what stands for them, beforehand, or train with --gaps mean (or, to forecast, hold), which lets the column's mean \
             (its last number) stand for them"
        } else if field.parse::<f64>().is_ok_and(f64::is_finite) && !comma {
            LARGE
        } else if field.parse::<f64>().is_ok_and(|x| !x.is_finite()) {
            "correct it, or leave it empty and say --gaps mean (or, to forecast, hold)"
        } else if one {
            "the line was read as one field; fields end with a comma, a semicolon or a tab, which --delimiter says; where commas are decimal \
             ones, with a semicolon or a tab"
        } else if field.contains(',') && !field.contains('.') && !comma && self.delimiter == Some(Delimiter::Comma) {
            "write a decimal point, as the file's other numbers have, or decimal commas in all of them and semicolons or tabs between the \
             fields"
        } else if field.contains(',') && !field.contains('.') && !comma {
            "where all fractions of the file have commas, say --decimal comma (its first rows have whole numbers alone, or points); else \
             write a decimal point"
        } else if comma && field.parse::<f64>().is_ok() {
            "write a decimal comma, as the file's other numbers have"
        } else if is_clock(field) {
            "a column of times of the day belongs to one of dates: --date DATE,TIME names both"
        } else {
            "write numbers without marks for thousands and units; a column that holds none is left out by --leave-out, one of dates named by \
             --date"
        }
    }
}

const OPEN: &str = "a quote opens there and is not closed on its line: close it, or leave it out";
const LARGE: &str = "correct it, or give the column in larger units";

/// What to do about a first row that has more or fewer fields than the header names columns, in a file to train on or
/// for a run.
pub(super) fn of_header(delimiter: Delimiter, columns: usize, run: bool) -> &'static str {
    match (delimiter, columns) {
        _ if run => "expected as many, written as in the run's training file",
        (Delimiter::Comma, 1) => "expected as many; if commas are decimal ones, say --decimal comma",
        (Delimiter::Comma, _) => {
            "expected as many; where commas are decimal ones too, save the file with semicolons or tabs between the fields"
        }
        _ => "expected as many",
    }
}

/// A column's number, from 0.
pub(super) fn number_of(option: &str, place: &ColumnRef, names: &[String]) -> Result<usize, String> {
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

/// What was not said and had to be guessed, with the option that says it; `why` the first column is left out.
pub(super) fn guesses(
    said: &TableLayout,
    found: &TableLayout,
    first: &[String],
    names: &[String],
    (why, dates): (Option<&str>, DateColumns),
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
        guesses.extend(left_out(said, names, why, dates));
    }
    guesses
}

/// Which columns are left out where nobody said so.
fn left_out(said: &TableLayout, names: &[String], why: Option<&str>, dates: DateColumns) -> Vec<String> {
    let name = |i: usize| brief(names.get(i).map_or("", String::as_str));
    let mut told = Vec::new();
    let first = match dates {
        DateColumns { date: Some(date), time: Some(time) } if said.date.is_none() => {
            told.push(format!(
                "columns {} and {} are left out, they hold days and times of the day (--leave-out, --date)",
                name(date),
                name(time)
            ));
            date.min(time)
        }
        DateColumns { date: Some(date), .. }
            if said.date.is_none() && (date > 0 || why.is_none_or(|why| why == HOLDS_DATES)) =>
        {
            told.push(format!("column {} is left out, {HOLDS_DATES} (--leave-out, --date)", name(date)));
            date
        }
        DateColumns { date, .. } => date.filter(|_| said.date.is_some()).unwrap_or(usize::MAX),
    };
    match why.filter(|_| first > 0) {
        Some(why) => told.push(format!("column {} is left out, {why} (--leave-out)", name(0))),
        None if told.is_empty() && first == usize::MAX => told.push("every column is read (--leave-out)".into()),
        None if told.is_empty() => told.push("every column but the dates is read (--leave-out)".into()),
        None => {}
    }
    told
}

/// Whether a decimal comma can be meant where fields end at commas.
pub(super) fn contradiction(said: &TableLayout) -> Option<String> {
    let both = said.decimal == Some(Decimal::Comma) && said.delimiter == Some(Delimiter::Comma);
    both.then(|| {
        "a decimal comma and fields that end at commas: expected one of them; choose --delimiter semicolon or tab"
            .into()
    })
}
