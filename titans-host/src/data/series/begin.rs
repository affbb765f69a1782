//! How a file begins: what stands between its fields, and whether its first line names the columns.

use super::advice::of_header;
use super::dates::is_written;
use super::layout::{self, Decimal, Delimiter, Gaps, TableLayout};
use super::marks::Marks;
use super::table::{CsvRow, CsvTable};
use crate::error::counted;

/// Most bytes of a field: no number is longer.
const FIELD: usize = 1000;
/// Rows that are looked at for a decimal comma.
const SAMPLE: usize = 64;

/// How a file begins.
pub(super) struct TableStart<'a> {
    /// What was said of how it is written, and what was found.
    pub(super) layout: TableLayout,
    pub(super) table: CsvTable<'a>,
    /// The rows of numbers that were looked at, at least one.
    pub(super) ahead: Vec<CsvRow>,
    /// The fields of the first line, a header or a row.
    pub(super) first: Vec<String>,
    /// Of all columns; the number of one whose name is empty.
    pub(super) names: Vec<String>,
    /// Of the rows that were looked at; none where the decimal mark was said.
    pub(super) marks: Option<Marks>,
}

/// Looks at the first rows.
pub(super) fn begin<'a>(bytes: &'a [u8], said: &TableLayout, known: &[String]) -> Result<TableStart<'a>, String> {
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
    let second: Vec<&str> = ahead.get(1).map(|row| row.record.iter().collect()).unwrap_or_default();
    let guess = || is_header(&first, &second, &layout, known);
    let header = layout.header.filter(|_| known.is_empty()).unwrap_or_else(guess);
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

/// A header names the columns, or stands above dates where it has none itself, or holds no number at all, not even one
/// that cannot be used; where gaps are allowed, something else than gaps behind its first field, which may be a date.
fn is_header(first: &[String], second: &[&str], layout: &TableLayout, known: &[String]) -> bool {
    let skipped = layout.skipped();
    let kept = first.iter().enumerate().filter(|(i, _)| !skipped.contains(i)).map(|(_, name)| name);
    let named = !known.is_empty() && (first == known || kept.eq(known.iter()));
    let above_date =
        |(name, field): (&String, &&str)| is_text(name, layout) && !is_written(name) && is_date(field, layout);
    let said = |field: &String| layout.gaps == Gaps::Refuse || !layout::is_gap(field);
    let number = |field: &String| said(field) && is_number(field, layout);
    let behind = first.iter().skip(usize::from(first.len() > 1)).any(said);
    named || first.iter().zip(second).any(above_date) || behind && !first.iter().any(number)
}

/// A number, good or bad.
fn is_number(field: &str, layout: &TableLayout) -> bool {
    field.parse::<f64>().is_ok() || matches!(layout.number(field), Ok(Some(_)))
}

/// Neither a number, good or bad, nor what stands for one.
pub(super) fn is_text(field: &str, layout: &TableLayout) -> bool {
    !layout::is_gap(field) && !is_number(field, layout)
}

/// A date that is no number.
pub(super) fn is_date(field: &str, layout: &TableLayout) -> bool {
    is_text(field, layout) && is_written(field)
}
