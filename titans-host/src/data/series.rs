//! Series of numbers from CSV: rows in time, columns that are predicted together.

mod advice;
mod begin;
mod calendar;
mod columns;
mod counts;
mod dated;
mod dates;
mod fingerprint;
mod layout;
mod marks;
mod parse;
mod table;

pub use dates::{Dates, LatestDate};
pub use fingerprint::SeriesFingerprint;
pub(super) use layout::delimiter as guessed_delimiter;
pub use layout::{ColumnRef, Decimal, Delimiter, Gaps, TableLayout};
pub use table::no_record;
pub(super) use table::{CsvRow, CsvTable};

use super::text;
use crate::error::counted;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Columns that are told by name.
const NAMED: usize = 8;
/// Most columns.
const COLUMNS: usize = 1 << 16;

/// Rows of numbers as a file has them.
///
/// ```
/// use titans_host::data::series::{TableLayout, read};
///
/// let folder = tempfile::tempdir().expect("a folder");
/// let path = folder.path().join("weather.csv");
/// std::fs::write(&path, "day,rain,wind\n2026-01-01,0.5,3\n2026-01-02,0,4\n").expect("a file");
/// let read = read(&path, &TableLayout::default(), &[])?; // guesses what is not said
/// assert_eq!(read.series.names, ["rain", "wind"]);
/// assert_eq!(read.series.numbers, [0.5, 3.0, 0.0, 4.0]);
/// assert_eq!(read.dates, ["2026-01-01", "2026-01-02"]);
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The columns' names, from the header or counted from 1.
    pub names: Vec<String>,
    /// The numbers, row by row.
    pub numbers: Vec<f64>,
    /// The line of each row in its file; empty where there is no file.
    pub lines: Vec<u64>,
}

/// The numbers of a column that are there.
type Numbers<'a> = Box<dyn Iterator<Item = f64> + 'a>;

/// One column and how it is standardised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Mean of its training part.
    pub mean: f64,
    /// Standard deviation of its training part; 1 where that is constant.
    pub deviation: f64,
    /// Whether its training file has whole numbers alone there, some of them of three digits and more: then `1.059` is
    /// doubtful.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

impl Column {
    /// A number in units of the deviation from the mean.
    pub fn standardise(&self, x: f64) -> f64 {
        (x - self.mean) / self.deviation
    }

    /// The number that a field holds, standardised; 0, the mean, for a gap where the layout allows one.
    ///
    /// # Errors
    /// What was expected, where it holds none, one that is not finite in the 32 bits that are computed in, standardised
    /// or not, or one whose mark may be of thousands.
    pub fn number(&self, field: &str, layout: &TableLayout) -> std::result::Result<f64, String> {
        let number = layout.number(field)?;
        if self.whole
            && let Some(doubt) = marks::doubt(field)
        {
            return Err(doubt);
        }
        match number {
            Some(x) => self.checked(x).ok_or_else(|| self.expected(field)),
            None => Ok(0.0),
        }
    }

    fn checked(&self, x: f64) -> Option<f64> {
        Some(self.standardise(x)).filter(|x| (*x as f32).is_finite())
    }

    fn expected(&self, found: impl std::fmt::Debug) -> String {
        let Self { mean, deviation, .. } = self;
        format!(
            "expected a number that is finite in 32 bits when the training's mean {mean:e} is taken away and it is divided by the \
             deviation {deviation:e}, found {found:?}"
        )
    }

    /// The number that [`Column::standardise`] made into `x`.
    pub fn restore(&self, x: f64) -> f64 {
        x * self.deviation + self.mean
    }
}

/// What was read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The rows; NaN where a number is missing and the layout allows that.
    pub series: Series,
    /// How the file is written, all of it said.
    pub layout: TableLayout,
    /// What of that was guessed, a few words each.
    pub guesses: Vec<String>,
    /// Numbers that are missing.
    pub gaps: usize,
    /// What else is worth a word, a sentence each that names the file.
    pub notes: Vec<String>,
    /// The dates of the rows as they are written; empty where the file has none.
    pub dates: Vec<String>,
    /// The same as far as they are understood.
    pub when: Option<Dates>,
    /// What the file calls its columns of dates, one or two; empty where it has no header, or no dates.
    pub date_names: Vec<String>,
}

impl Read {
    /// What is worth a word about the file, of which the first `rows` rows are for training: a sentence each.
    pub fn told(&self, rows: usize) -> Vec<String> {
        let mut told = Vec::new();
        if !self.guesses.is_empty() {
            told.push(format!("guessed: {}", self.guesses.join("; ")));
        }
        if self.gaps > 0 {
            let stands = match self.layout.gaps {
                Gaps::Hold => "the number before",
                Gaps::Refuse | Gaps::Mean => "their column's mean",
            };
            told.push(format!("{}, for which {stands} stands (--gaps)", counted(self.gaps, "missing number")));
        }
        if let empty @ [_, ..] = &self.series.empty(rows)[..]
            && rows > 0
        {
            told.push(format!(
                "without any number in the training rows, so that mean 0 and deviation 1 are taken: {} (--leave-out)",
                some_of(empty)
            ));
        }
        if let constant @ [_, ..] = &self.series.constant(rows)[..] {
            told.push(format!(
                "constant in the training rows, so that deviation 1 is taken: {} (--leave-out)",
                some_of(constant)
            ));
        }
        told
    }

    /// A sentence about rows of the file `path` that are not the usual step apart, if there are some.
    pub fn uneven(&self, path: &Path) -> Option<String> {
        let (count, first) = self.when.as_ref().map(Dates::uneven).filter(|(count, _)| *count > 0)?;
        let (line, date) = (self.series.lines.get(first)?, self.dates.get(first)?);
        let (rows, are) = (counted(count, "row"), if count == 1 { "is" } else { "are" });
        let which = if count == 1 { format!("line {line}") } else { format!("first line {line}") };
        Some(format!(
            "{}: {rows} {are} not the usual step behind the row before ({which}, {date}); the model takes all rows as equally far apart",
            path.display()
        ))
    }
}

/// The first names, and how many more there are.
fn some_of(names: &[&str]) -> String {
    let first = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED { format!("{first} and {} more", names.len() - NAMED) } else { first }
}

/// Reads a file of numbers in rows; `.gz` is decompressed. What `said` leaves open is guessed: fields that end at
/// semicolons or tabs, decimal commas; a first line that is no row of numbers is the header; a first column that holds
/// no number in any row, or that counts the rows or the time, is left out, and so is the first column of dates.
/// `known` names the columns of a run that there is already: those are sought.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::File`] naming the line and column of what is no number that is finite
/// in 32 bits, or of a row of another length, of a date that does not come after the one before, of a comma that may be
/// one of thousands or of decimals, and columns of one name.
pub fn read(path: &Path, said: &TableLayout, known: &[Column]) -> Result<Read> {
    if let Some(reason) = advice::contradiction(said) {
        return Err(Error::usage(reason));
    }
    let text::Content { bytes, notes } = text::read(&[path])?;
    text::expect_unpacked(path, &bytes)?;
    let read = parse::parse(&bytes, said, known).map_err(|reason| Error::file(path, reason))?;
    // Rows are in time: what a model reads as what comes next must not lie before.
    let when = dates(&read).map_err(|reason| Error::file(path, reason))?;
    Ok(Read { notes, when, ..read })
}

/// The dates of the rows, as far as they are understood.
///
/// # Errors
/// A sentence that names line and column of a date that cannot be read, or that does not come after the one before.
fn dates(read: &Read) -> std::result::Result<Option<Dates>, String> {
    Dates::read(&read.dates, &read.series.lines).map_err(|reason| match read.layout.date_place() {
        Some(place) => reason.replacen(':', &format!(", {place}:"), 1),
        None => reason,
    })
}

impl Series {
    /// Columns, at least 1.
    pub fn columns(&self) -> usize {
        self.names.len().max(1)
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.numbers.len() / self.columns()
    }

    /// Rows before the last `fraction` of them, which is for validation.
    ///
    /// # Errors
    /// [`Error::Usage`] when `fraction` is not between 0 and 1 (both excluded), or when fewer than `least.0` rows are
    /// left for training or `least.1` for validation.
    pub fn split(&self, fraction: f64, least: (usize, usize)) -> Result<usize> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::usage(format!(
                "--tail, or task.validation: expected between 0 and 1, found {fraction}"
            )));
        }
        let rows = self.rows();
        let tail = ((rows as f64 * fraction).round() as usize).min(rows);
        let head = rows - tail;
        if least.0 == 0 && tail < least.1 {
            return Err(Error::usage(format!(
                "--tail: expected a share of {} or more, found {fraction}, which is {tail} of {}",
                counted(least.1, "row"),
                counted(rows, "row")
            )));
        }
        if head < least.0 || tail < least.1 {
            return Err(Error::usage(format!(
                "the series is too short: of {} there are {head} for training and {tail} for validation, at least {} and {} \
                 are needed; give more rows, a shorter context or smaller patches",
                counted(rows, "row"),
                least.0,
                least.1
            )));
        }
        Ok(head)
    }

    /// Names, means and deviations over the first `rows` rows, of the numbers that are there.
    pub fn measure(&self, rows: usize) -> Vec<Column> {
        let (columns, rows) = (self.columns(), rows.min(self.rows()));
        let of = |c: usize| self.numbers[..rows * columns].iter().skip(c).step_by(columns).filter(|x| !x.is_nan());
        let column = |(c, name): (usize, &String)| {
            // From the first number on: a large offset then takes no digits from what varies, and a constant does not
            // vary at all.
            let (n, from) = (of(c).count().max(1) as f64, of(c).next().copied().unwrap_or(0.0));
            let shift = of(c).map(|x| x - from).sum::<f64>() / n;
            let deviation = of(c).map(|x| (x - from - shift).powi(2) / n).sum::<f64>().sqrt();
            let varies = deviation.is_finite() && deviation > 0.0;
            let deviation = if varies { deviation } else { 1.0 };
            // Of all rows: what the file has, not what is trained on.
            let all = || self.numbers.iter().skip(c).step_by(columns).filter(|x| !x.is_nan());
            let whole = all().all(|x| x.fract() == 0.0) && all().any(|x| x.abs() >= 100.0);
            Column { name: name.clone(), mean: from + shift, deviation, whole }
        };
        self.names.iter().enumerate().map(column).collect()
    }

    /// The names of columns whose numbers are the same in all of the first `rows` rows.
    pub fn constant(&self, rows: usize) -> Vec<&str> {
        let same = |mut numbers: Numbers<'_>| numbers.next().is_some_and(|first| numbers.all(|x| x == first));
        self.named(rows, same)
    }

    /// The names of columns that have no number in any of the first `rows` rows.
    pub fn empty(&self, rows: usize) -> Vec<&str> {
        self.named(rows, |mut numbers| numbers.next().is_none())
    }

    /// The names of columns of which that holds, by the numbers that are there in the first `rows` rows.
    fn named(&self, rows: usize, is: impl Fn(Numbers<'_>) -> bool) -> Vec<&str> {
        let (columns, rows) = (self.columns(), rows.min(self.rows()));
        let of = |c: usize| -> Numbers<'_> {
            let column = self.numbers[..rows * columns].iter().skip(c).step_by(columns);
            Box::new(column.copied().filter(|x| !x.is_nan()))
        };
        self.names.iter().enumerate().filter(|&(c, _)| is(of(c))).map(|(_, name)| name.as_str()).collect()
    }

    /// All numbers, standardised; for one that is missing what the layout says: the column's mean, or the number before
    /// it (the mean where there is none).
    ///
    /// # Errors
    /// As [`Series::z_scores`].
    pub fn filled(&self, columns: &[Column], layout: &TableLayout) -> Result<Vec<f64>> {
        let mut numbers = self.z_scores(columns)?;
        if layout.gaps == Gaps::Hold {
            let width = columns.len().max(1);
            for i in width..numbers.len() {
                if self.numbers.get(i).is_some_and(|x| x.is_nan()) {
                    numbers[i] = numbers[i - width];
                }
            }
        }
        Ok(numbers)
    }

    /// All numbers, standardised; 0, the mean, where one is missing.
    ///
    /// # Errors
    /// [`Error::Usage`] when the columns are not these, or naming the line and column of a number that they make too
    /// large for 32 bits.
    pub fn z_scores(&self, columns: &[Column]) -> Result<Vec<f64>> {
        let expected: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        if expected != self.names.iter().map(String::as_str).collect::<Vec<_>>() {
            return Err(Error::usage(format!(
                "the series has the columns {}, the run was made for {}",
                self.names.join(", "),
                expected.join(", ")
            )));
        }
        let number = |(i, (&x, column)): (usize, (&f64, &Column))| {
            let known = if x.is_nan() { Some(0.0) } else { column.checked(x) };
            known.ok_or_else(|| {
                let row = i / columns.len();
                let place = self.lines.get(row).map_or(format!("row {}", row + 1), |line| format!("line {line}"));
                Error::usage(format!("{place}, column {}: {}", column.name, column.expected(x)))
            })
        };
        self.numbers.iter().zip(columns.iter().cycle()).enumerate().map(number).collect()
    }
}

#[cfg(test)]
mod tests;
