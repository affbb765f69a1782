//! How a file of numbers is written down: what is said about it, and what is guessed where nothing is.

use serde::{Deserialize, Serialize};
use titans_kernel::{Choice, choice};

choice! {
    /// What stands between two fields.
    pub enum Delimiter: "delimiter" {
        /// `,`
        Comma = 0x2c, "comma";
        /// `;`
        Semicolon = 0x3b, "semicolon";
        /// A tab
        Tab = 0x09, "tab";
    }
}

choice! {
    /// What stands before a number's fraction.
    pub enum Decimal: "decimal" {
        /// `1.5`
        Point = 0x2e, "point";
        /// `1,5`
        Comma = 0x2c, "comma";
    }
}

choice! {
    /// What becomes of a number that is not there.
    #[derive(Default)]
    pub enum Gaps: "gaps" {
        /// It is an error that names line and column.
        #[default]
        Refuse = 0, "refuse";
        /// The column's mean stands for it, which is 0 in standardised units.
        Mean = 1, "mean";
        /// The number before it in its column stands for it, the column's mean where there is none.
        Hold = 2, "hold";
    }
}

/// A column as a user names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnRef {
    /// Counted from 1.
    Number(usize),
    /// By its name in the header.
    Name(String),
}

impl ColumnRef {
    /// No column: as that of the dates it says that there are none.
    pub const NONE: Self = Self::Number(0);
}

/// How a file is written down. What is not said is guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableLayout {
    /// Between the fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<Delimiter>,
    /// Before a fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<Decimal>,
    /// Whether the first line names the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Columns that are not read: dates, numbers of rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Vec<ColumnRef>>,
    /// The column of dates, which is not read as numbers; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<ColumnRef>,
    /// The column of times of the day, where they are not in that of dates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<ColumnRef>,
    /// What becomes of missing numbers.
    pub gaps: Gaps,
}

impl TableLayout {
    /// The delimiter, a comma where nothing is said.
    pub fn byte(&self) -> u8 {
        self.delimiter.unwrap_or(Delimiter::Comma).code()
    }

    /// The columns that are left out, from 0, of those that are counted.
    pub fn skipped(&self) -> Vec<usize> {
        let places = self.left_out.iter().flatten();
        let number = |place: &ColumnRef| match place {
            ColumnRef::Number(n) => n.checked_sub(1),
            ColumnRef::Name(_) => None,
        };
        places.filter_map(number).collect()
    }

    /// The number that a field holds; none for a gap, where gaps are allowed.
    ///
    /// # Errors
    /// What was expected, where it holds none that is finite in 32 bits.
    pub fn number(&self, field: &str) -> Result<Option<f64>, String> {
        if self.gaps != Gaps::Refuse && is_gap(field) {
            return Ok(None);
        }
        let x = match self.decimal {
            Some(Decimal::Comma) => finite(field, &decimal_comma(field)),
            _ => finite(field, field),
        };
        x.map(Some)
    }
}

/// A number with a decimal comma, as Rust reads it; with a point it is none.
fn decimal_comma(field: &str) -> String {
    if field.contains('.') { String::new() } else { field.replacen(',', ".", 1) }
}

/// A number that can be computed with, in 32 bits.
fn finite(field: &str, number: &str) -> Result<f64, String> {
    let found = || crate::error::brief(field);
    match number.parse::<f64>() {
        Ok(x) if (x as f32).is_finite() => Ok(x),
        Ok(x) if x.is_finite() => {
            Err(format!("expected a number that is finite in 32 bits (up to 3.4e38), found {}", found()))
        }
        _ => Err(format!("expected a finite number, found {}", found())),
    }
}

/// What stands for a number that is not there.
pub(super) fn is_gap(field: &str) -> bool {
    const GAPS: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "-", "?"];
    GAPS.iter().any(|gap| field.eq_ignore_ascii_case(gap))
}

/// The delimiter that every one of the first lines has the same number of times; a comma where there is none.
pub(in crate::data) fn delimiter(bytes: &[u8]) -> Delimiter {
    let lines: Vec<&[u8]> =
        bytes.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty()).take(LINES).collect();
    let alike = |delimiter: &Delimiter| {
        let mut counts = lines.iter().map(|line| outside_quotes(line, delimiter.code()));
        let first = counts.next().unwrap_or(0);
        first > 0 && counts.all(|count| count == first)
    };
    // Commas may be the decimal ones of the others.
    [Delimiter::Semicolon, Delimiter::Tab].into_iter().find(alike).unwrap_or(Delimiter::Comma)
}

/// How many lines are looked at.
const LINES: usize = 64;

fn outside_quotes(line: &[u8], delimiter: u8) -> usize {
    let mut quoted = false;
    line.iter()
        .filter(|&&b| {
            quoted ^= b == b'"';
            b == delimiter && !quoted
        })
        .count()
}

/// A comma where some fields are numbers with one alone, and none is a number with a point.
pub(super) fn decimal<'a>(delimiter: Delimiter, fields: impl Iterator<Item = &'a str>) -> Decimal {
    let mut commas = 0;
    for field in fields {
        let point = field.contains('.') && field.parse::<f64>().is_ok();
        if delimiter == Delimiter::Comma || point {
            return Decimal::Point;
        }
        commas += usize::from(field.contains(',') && decimal_comma(field).parse::<f64>().is_ok());
    }
    if commas > 0 { Decimal::Comma } else { Decimal::Point }
}

#[cfg(test)]
mod tests {
    use super::{Decimal, Delimiter, Gaps, TableLayout, decimal, delimiter};

    #[test]
    fn delimiters_and_decimal_commas_are_told_apart() {
        for (text, is) in [
            ("a,b\n1,2\n", Delimiter::Comma),
            ("a;b\n1,5;2\n\n3;4\n", Delimiter::Semicolon),
            ("a\tb\r\n1,5\t2\r\n", Delimiter::Tab),
            ("a;b,c\n1,2\n", Delimiter::Comma),
            ("\"a;b\",c\n1,2\n", Delimiter::Comma),
            ("1\n2\n", Delimiter::Comma),
            ("", Delimiter::Comma),
        ] {
            assert_eq!(delimiter(text.as_bytes()), is, "{text}");
        }
        let of = |delimiter, fields: &[&str]| decimal(delimiter, fields.iter().copied());
        assert_eq!(of(Delimiter::Semicolon, &["1,5", "2", "x"]), Decimal::Comma);
        assert_eq!(of(Delimiter::Semicolon, &["1,5", "2.5"]), Decimal::Point);
        assert_eq!(of(Delimiter::Comma, &["1,5"]), Decimal::Point);
        assert_eq!(of(Delimiter::Tab, &["1", "a,b"]), Decimal::Point);
    }

    #[test]
    fn numbers_and_gaps_are_read_as_the_layout_says() {
        let comma = TableLayout { decimal: Some(Decimal::Comma), ..TableLayout::default() };
        assert_eq!((comma.number("-1,5e1"), comma.number("2")), (Ok(Some(-15.0)), Ok(Some(2.0))));
        for bad in ["1.5", "1.234,5", "1,2,3", "", "NA"] {
            assert!(comma.number(bad).unwrap_err().contains(bad), "{bad}");
        }
        let mean = TableLayout { gaps: Gaps::Mean, ..TableLayout::default() };
        for gap in ["", "NA", "n/a", "NaN", "-", "?"] {
            assert_eq!(mean.number(gap), Ok(None));
            assert!(TableLayout::default().number(gap).is_err());
        }
        assert!(mean.number("x").is_err() && mean.number("inf").is_err() && mean.number("1e39").is_err());
    }
}
