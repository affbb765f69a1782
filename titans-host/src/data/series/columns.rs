//! Which columns are series, and which are dates or are left out.

use super::COLUMNS;
use super::advice::number_of;
use super::begin::{is_date, is_text};
use super::dated::DateColumns;
use super::layout::{ColumnRef, TableLayout};
use super::table::CsvRow;
use crate::error::{brief, counted};

/// Why a column is left out whose first row is a date.
pub(super) const HOLDS_DATES: &str = "it holds dates";

/// Columns that are no series.
pub(super) struct LeftOut {
    /// In ascending order.
    pub(super) skipped: Vec<usize>,
    /// The dates among them.
    pub(super) when: DateColumns,
    /// Why the first was left out, if nobody said so.
    pub(super) why: Option<&'static str>,
}

/// Which columns are no series, by what was said, the run's names, and the first row.
pub(super) fn left_out(
    layout: &TableLayout,
    names: &[String],
    start: &CsvRow,
    known: &[String],
) -> Result<LeftOut, String> {
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
        None if width > 1 => {
            let mut found = Vec::new();
            if is_text(&start.record[0], layout) {
                why = Some(if is_date(&start.record[0], layout) { HOLDS_DATES } else { "it holds no numbers" });
                found.push(0);
            }
            // Where the dates were said, nothing else is sought.
            if layout.date.as_ref().is_none_or(|date| *date == ColumnRef::NONE) {
                found.extend((0..width).find(|&i| is_date(&start.record[i], layout)));
            }
            found
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
        let found = brief(&names.join(", "));
        return Err(unlike_run(format!(
            "expected 1 to {COLUMNS} columns of numbers, found {columns} of {width}: {found}"
        )));
    }
    distinct(names, &skipped)?;
    Ok(LeftOut { skipped, when, why })
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
/// the day, or a date, or what holds no number, among those that are not read. Where nobody said which are not read, a
/// day and a time of the day may stand beside each other.
fn dates(layout: &TableLayout, names: &[String], start: &CsvRow, skipped: &[usize]) -> Result<DateColumns, String> {
    if let Some(place) = &layout.date {
        let date = Some(number_of("--date", place, names)?);
        let time = layout.time.as_ref().map(|place| number_of("--date", place, names)).transpose()?;
        return Ok(DateColumns { date, time: time.filter(|_| time != date) });
    }
    let found = |&i: &usize| layout.left_out.is_none() && names.len() > 2 && i < names.len();
    let beside = skipped.iter().flat_map(|&i| [i.wrapping_sub(1), i + 1]).filter(found);
    if let Some(pair) = DateColumns::pair(&start.record, skipped.iter().copied().chain(beside)) {
        return Ok(pair);
    }
    let first = |is: fn(&str, &TableLayout) -> bool| {
        skipped.iter().copied().find(|&i| start.record.get(i).is_some_and(|field| is(field, layout)))
    };
    Ok(DateColumns { date: first(is_date).or_else(|| first(is_text)), time: None })
}

/// What is wrong with a file that has neither the columns of a run nor all that its training file had.
pub(super) fn unlike_run(known: &[String], names: &[String]) -> String {
    let (run, found) = (known.join(", "), names.join(", "));
    format!(
        "expected the run's columns {} alone, or all that its training file had, found {}: {}",
        brief(&run),
        counted(names.len(), "column"),
        brief(&found)
    )
}
