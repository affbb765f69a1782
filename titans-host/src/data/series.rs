//! Series of numbers from CSV: rows in time, columns that are predicted together.

use super::text;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Most columns.
const COLUMNS: usize = 1 << 16;

/// Rows of numbers as a file has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The columns' names, from the header or counted from 1.
    pub names: Vec<String>,
    /// The numbers, row by row.
    pub numbers: Vec<f64>,
    /// The line of each row in its file; empty where there is no file.
    pub lines: Vec<u64>,
}

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
}

impl Column {
    /// A number in units of the deviation from the mean.
    pub fn standardise(&self, x: f64) -> f64 {
        (x - self.mean) / self.deviation
    }

    /// The number that a field holds, standardised.
    ///
    /// # Errors
    /// What was expected, where it holds none, or one that is not finite in the 32 bits that are computed in, standardised or not.
    pub fn number(&self, field: &str) -> std::result::Result<f64, String> {
        self.checked(finite(field)?).ok_or_else(|| self.expected(field))
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

/// Reads a file of comma-separated numbers; `.gz` is decompressed. A first line that is no row of numbers is the header; a first
/// column that holds no number in any row (dates) is left out.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::File`] naming the line and column of what is no number that is finite in 32 bits, or of a
/// row of another length.
pub fn read(path: &Path) -> Result<Series> {
    parse(&text::read(&[path])?).map_err(|reason| Error::file(path, reason))
}

fn parse(bytes: &[u8]) -> std::result::Result<Series, String> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let mut rows = reader.records();
    let mut next = || rows.next().transpose().map_err(|e| format!("expected comma-separated values, found {e}"));
    let Some(first) = next()? else { return Err("expected rows of numbers, found none".into()) };
    let (mut names, mut headless): (Option<Vec<String>>, bool) = (None, true);
    let mut row = Some(first.clone());
    // A header holds no number at all, not even one that cannot be used; a row of numbers with a date before them does.
    if first.iter().all(|field| field.parse::<f64>().is_err()) {
        (names, headless) = (Some(first.iter().map(str::to_owned).collect()), false);
        row = next()?;
    }
    let Some(start) = &row else { return Err("expected rows of numbers below the header, found none".into()) };
    let fields = start.len();
    let dates = usize::from(fields > 1 && start.get(0).is_some_and(|field| number(field).is_none() && !gap(field)));
    let columns = fields - dates;
    if columns == 0 || columns > COLUMNS {
        return Err(format!("expected 1 to {COLUMNS} columns of numbers, found {columns}"));
    }
    let names = names.unwrap_or_else(|| (1..=fields).map(|i| i.to_string()).collect());
    if names.len() != fields {
        return Err(format!("the header names {} columns, the first row has {fields}", names.len()));
    }
    let names = names[dates..].to_vec();
    let (mut numbers, mut lines) = (Vec::new(), Vec::new());
    while let Some(record) = row {
        let line = record.position().map_or(0, |place| line(bytes, place));
        if record.len() != fields {
            return Err(format!("line {line}: expected {fields} fields, found {}", record.len()));
        }
        if let Some(found) = record.get(0).filter(|field| dates == 1 && number(field).is_some()) {
            let above = first.get(0).filter(|_| headless).unwrap_or("no number");
            return Err(format!(
                "line {line}, column 1: expected a date as in the first row ({above}), found the number {found}; the column must \
                 hold numbers or none"
            ));
        }
        for (field, name) in record.iter().skip(dates).zip(&names) {
            numbers.push(finite(field).map_err(|reason| {
                format!("line {line}, column {name}: {reason}; fill gaps, and what stands for them, before training")
            })?);
        }
        lines.push(line);
        row = next()?;
    }
    Ok(Series { names, numbers, lines })
}

/// The line of the record at `place`, which is before the empty lines above it.
fn line(bytes: &[u8], place: &csv::Position) -> u64 {
    let from = bytes.get(place.byte() as usize..).unwrap_or_default();
    let empty = from.iter().take_while(|b| matches!(b, b'\n' | b'\r')).filter(|&&b| b == b'\n').count();
    place.line() + empty as u64
}

/// What stands for a number that is not there.
fn gap(field: &str) -> bool {
    const GAPS: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "-", "?"];
    GAPS.iter().any(|gap| field.eq_ignore_ascii_case(gap)) || field.parse::<f64>().is_ok()
}

fn number(field: &str) -> Option<f64> {
    finite(field).ok()
}

/// A number that can be computed with, in 32 bits.
fn finite(field: &str) -> std::result::Result<f64, String> {
    match field.parse::<f64>() {
        Ok(x) if (x as f32).is_finite() => Ok(x),
        Ok(x) if x.is_finite() => {
            Err(format!("expected a number that is finite in 32 bits (up to 3.4e38), found {field:?}"))
        }
        _ => Err(format!("expected a finite number, found {field:?}")),
    }
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
    /// [`Error::Usage`] when `fraction` is not between 0 and 1 (both excluded), or when fewer than `least.0` rows are left for
    /// training or `least.1` for validation.
    pub fn split(&self, fraction: f64, least: (usize, usize)) -> Result<usize> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::usage(format!("validation fraction: expected between 0 and 1, found {fraction}")));
        }
        let rows = self.rows();
        let tail = ((rows as f64 * fraction).round() as usize).min(rows);
        let head = rows - tail;
        if head < least.0 || tail < least.1 {
            return Err(Error::usage(format!(
                "the series is too short: {rows} rows leave {head} for training and {tail} for validation, at least {} and {} \
                 are needed; give more rows, a shorter context or smaller patches",
                least.0, least.1
            )));
        }
        Ok(head)
    }

    /// Names, means and deviations over the first `rows` rows.
    pub fn measure(&self, rows: usize) -> Vec<Column> {
        let (columns, rows) = (self.columns(), rows.min(self.rows()));
        let of = |c: usize| self.numbers[..rows * columns].iter().skip(c).step_by(columns);
        let n = rows.max(1) as f64;
        let column = |(c, name): (usize, &String)| {
            let mean = of(c).sum::<f64>() / n;
            let deviation = of(c).map(|x| (x - mean).powi(2) / n).sum::<f64>().sqrt();
            // What rounding leaves of a constant is no deviation.
            let varies = deviation.is_finite() && deviation > 1e-12 * mean.abs();
            Column { name: name.clone(), mean, deviation: if varies { deviation } else { 1.0 } }
        };
        self.names.iter().enumerate().map(column).collect()
    }

    /// All numbers, standardised.
    ///
    /// # Errors
    /// [`Error::Usage`] when the columns are not these, or naming the line and column of a number that they make too large for 32 bits.
    pub fn standardised(&self, columns: &[Column]) -> Result<Vec<f64>> {
        let expected: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        if expected != self.names.iter().map(String::as_str).collect::<Vec<_>>() {
            return Err(Error::usage(format!(
                "the series has the columns {}, the run was made for {}",
                self.names.join(", "),
                expected.join(", ")
            )));
        }
        let number = |(i, (&x, column)): (usize, (&f64, &Column))| {
            column.checked(x).ok_or_else(|| {
                let row = i / columns.len();
                let place = self.lines.get(row).map_or(format!("row {}", row + 1), |line| format!("line {line}"));
                Error::usage(format!("{place}, column {}: {}", column.name, column.expected(x)))
            })
        };
        self.numbers.iter().zip(columns.iter().cycle()).enumerate().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Column, parse, read};

    #[test]
    fn headers_and_dates_are_recognised() {
        let plain = parse(b"1,2\n3,-4e1\n").unwrap();
        assert_eq!((plain.names.join(" "), &plain.numbers[..]), ("1 2".into(), &[1., 2., 3., -40.][..]));
        let header = parse(b"a, b\n1, 2\n3,4").unwrap();
        assert_eq!((header.names.join(" "), header.numbers, plain.columns()), ("a b".into(), vec![1., 2., 3., 4.], 2));
        let dates = parse(b"date,a\n2016-07-01 00:00:00,1\n2016-07-01 01:00:00,2\n").unwrap();
        assert_eq!((dates.names.join(" "), dates.rows(), dates.numbers), ("a".into(), 2, vec![1., 2.]));
        let bare = parse(b"mon,1,2\ntue,3,4\n").unwrap();
        assert_eq!((bare.names.join(" "), bare.rows()), ("2 3".into(), 2), "dates without a header");
        let one = parse(b"x\n5\n6\n7\n").unwrap();
        assert_eq!((one.names.join(" "), one.rows()), ("x".into(), 3));
    }

    #[test]
    fn what_is_no_number_is_named() {
        for (text, says) in [
            ("", "found none"),
            ("a,b\n", "below the header"),
            ("1,2\n3,x\n", "line 2, column 2"),
            ("a,b\n1,2\n\n3,\n", "line 4, column b"),
            ("a,b\r\n1,2\r\n3,\r\n", "line 3, column b"),
            ("a,b\n,1\n2,3\n", "line 2, column a"),
            ("a,b\nNA,1\n2,3\n", "line 2, column a"),
            ("nan,1\n2,3\n", "line 1, column 1"),
            ("1e,2\n3,4\n", "line 2, column 1: expected a date as in the first row (1e), found the number 3"),
            ("a,b\nmon,1\n2,3\n", "line 3, column 1"),
            ("a,b\n1,2\n3,NaN\n", "finite number"),
            ("a,b\n1,2\n3,inf\n", "finite number"),
            ("a,b\n1,2\n3,1e39\n", "line 3, column b: expected a number that is finite in 32 bits"),
            ("1.7976931348623157e308,1\n", "line 1, column 1: expected a number that is finite in 32 bits"),
            ("nan,nan\n1,2\n", "line 1, column 1"),
            ("a,b\n1,2\n3\n", "line 3: expected 2 fields, found 1"),
            ("a,b,c\n1,2\n", "names 3 columns"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.csv");
        std::fs::write(&path, "1\nx\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("bad.csv: line 2"));
    }

    #[test]
    fn columns_are_standardised_by_the_first_rows_alone() {
        let series = parse(b"a,b,c\n1,5,1e9\n3,5,1e9\n9,5,1e9\n").unwrap();
        let columns = series.measure(2);
        let column = |mean, deviation, name: &str| Column { name: name.into(), mean, deviation };
        assert_eq!(columns, [column(2., 1., "a"), column(5., 1., "b"), column(1e9, 1., "c")]);
        let numbers = series.standardised(&columns).unwrap();
        assert_eq!(numbers, [-1., 0., 0., 1., 0., 0., 7., 0., 0.]);
        let back: Vec<f64> = numbers.iter().zip(columns.iter().cycle()).map(|(&x, c)| c.restore(x)).collect();
        assert_eq!(back, series.numbers);
        let other = parse(b"a,x,c\n1,2,3\n").unwrap();
        assert!(other.standardised(&columns).unwrap_err().to_string().contains("a, x, c"));
        assert_eq!(series.measure(0).len(), 3, "no rows have mean 0");
        // What 32 bits hold may be too much in units of a small deviation.
        let series = parse(b"a,b\n1,0\n1,0.001\n\n1,1e38\n").unwrap();
        let error = series.standardised(&series.measure(2)).unwrap_err().to_string();
        assert!(error.contains("line 5, column b: expected") && error.contains("1e38"), "{error}");
        let column = &series.measure(2)[1];
        assert!(column.number("1e38").is_err() && column.number("inf").is_err() && column.number("1e39").is_err());
        assert_eq!(column.number("0.0005"), Ok(0.0));
    }

    #[test]
    fn the_tail_is_for_validation() {
        let series = parse("1\n".repeat(100).as_bytes()).unwrap();
        assert_eq!(series.split(0.1, (90, 10)).unwrap(), 90);
        assert!(series.split(0.1, (91, 1)).unwrap_err().to_string().contains("too short"));
        assert!(series.split(0.1, (1, 11)).is_err());
        for fraction in [0.0, 1.0, f64::NAN] {
            assert!(series.split(fraction, (1, 1)).is_err());
        }
    }
}
