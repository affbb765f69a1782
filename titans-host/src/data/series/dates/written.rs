//! How a moment is written.

use super::clock::{TimeStyle, clock};
use super::months::{MonthStyle, month};
use crate::data::series::calendar::{civil, day_number, days_of};

/// Microseconds of a second.
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;
/// Years of dates without marks, which other numbers may look like.
const YEARS: std::ops::Range<i64> = 1800..2200;

/// What a date begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DateOrder {
    /// 2020-12-31, and all that names a month.
    Year,
    /// 12/31/2020
    Month,
    /// 31.12.2020
    Day,
    /// A number that counts.
    Count,
}

/// How a moment is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A number that counts.
    Count,
    /// So many digits without marks: 202012 has 6, 2020123123 has 10, 12 have minutes, 14 have seconds.
    Digits(usize),
    /// A month or a quarter.
    Month(MonthStyle),
    /// A date, and maybe a time.
    Date(DayStyle, Option<TimeStyle>),
}

/// How a day is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DayStyle {
    /// Between its parts; none in 20201231.
    between: Option<char>,
    order: DateOrder,
    /// Two digits for months and days.
    padded: bool,
}

/// Microseconds since 1970 in Greenwich, or a count, and how it is written; none for what is no date in this order.
pub(super) fn moment(text: &str, order: DateOrder) -> Option<(i64, Style)> {
    let text = text.trim();
    match order {
        DateOrder::Count => count(text),
        DateOrder::Year => compact(text).or_else(|| month(text)).or_else(|| date(text, order)),
        DateOrder::Month | DateOrder::Day => date(text, order),
    }
}

/// A whole number.
fn count(text: &str) -> Option<(i64, Style)> {
    let count = text.parse::<f64>().ok().filter(|x| x.fract() == 0.0 && x.abs() < 9e15)?;
    counts(text).then_some((count as i64, Style::Count))
}

/// Whether a text that is a number may count: what can be a date of 8, 12 or 14 digits is one, while seconds have 10
/// digits, and 6 are few.
pub(super) fn counts(text: &str) -> bool {
    [6, 10].contains(&text.len()) || moment(text, DateOrder::Year).is_none()
}

/// 202012, 2020123123, 202012312359 or 20201231235959.
fn compact(text: &str) -> Option<(i64, Style)> {
    let length = text.len();
    if ![6, 10, 12, 14].contains(&length) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, least: i64| text.get(from..from + 2).map_or(Some(least), |part| digits(part, 2));
    let year = digits(text.get(..4)?, 4).filter(|year| YEARS.contains(year))?;
    let (hour, minute, second) = (part(8, 0)?, part(10, 0)?, part(12, 0)?);
    let day = number_of_day(year, part(4, 1)?, part(6, 1)?).filter(|_| hour < 24 && minute < 60 && second < 60)?;
    Some((day * DAY + ((hour * 60 + minute) * 60 + second) * SECOND, Style::Digits(length)))
}

/// A day, and maybe a time behind a blank or a T.
fn date(text: &str, order: DateOrder) -> Option<(i64, Style)> {
    let (date, time) = text.split_at(text.find([' ', 'T']).unwrap_or(text.len()));
    let (style, year, month, day) = parts_of_day(date, order)?;
    let day = number_of_day(digits(year, 4)?, digits(month, 2)?, digits(day, 2)?)? * DAY;
    let Some(join) = time.chars().next() else { return Some((day, Style::Date(style, None))) };
    let (clock, time) = clock(time.get(1..)?, join)?;
    Some((day + clock - time.ahead, Style::Date(style, Some(time))))
}

/// Year, month and day as they are written.
fn parts_of_day(date: &str, order: DateOrder) -> Option<(DayStyle, &str, &str, &str)> {
    if order == DateOrder::Year && date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) {
        let year = date.get(..4).filter(|year| digits(year, 4).is_some_and(|year| YEARS.contains(&year)))?;
        return Some((DayStyle { between: None, order, padded: true }, year, date.get(4..6)?, date.get(6..)?));
    }
    let between = date.chars().find(|c| !c.is_ascii_digit()).filter(|c| ['-', '/', '.'].contains(c))?;
    let parts: Vec<&str> = date.split(between).collect();
    let &[a, b, c] = &parts[..] else { return None };
    let (year, month, day) = match order {
        DateOrder::Year => (a, b, c),
        DateOrder::Month => (c, a, b),
        DateOrder::Day => (c, b, a),
        DateOrder::Count => return None,
    };
    if between == '.' && order != DateOrder::Day || year.len() != 4 {
        return None;
    }
    let padded = month.len() == 2 && day.len() == 2;
    Some((DayStyle { between: Some(between), order, padded }, year, month, day))
}

/// The orders in which a text can be a date.
const DATED: [DateOrder; 3] = [DateOrder::Year, DateOrder::Month, DateOrder::Day];

/// Whether a text is a day, in any order of its parts, and nothing else.
pub(in crate::data::series) fn is_day(text: &str) -> bool {
    DATED.into_iter().any(|order| matches!(moment(text, order), Some((_, Style::Date(_, None)))))
}

/// Whether a text is a date of any kind.
pub(in crate::data::series) fn is_written(text: &str) -> bool {
    DATED.into_iter().any(|order| moment(text, order).is_some())
}

/// Whether a text is a date of digits without marks, more or fewer than the 8 of a day.
pub(in crate::data::series) fn is_compact(text: &str) -> bool {
    compact(text).is_some()
}

/// A number of so many digits, at most.
pub(super) fn digits(x: &str, most: usize) -> Option<i64> {
    let good = (1..=most).contains(&x.len()) && x.bytes().all(|b| b.is_ascii_digit());
    good.then(|| x.parse().ok()).flatten()
}

/// Days since 1970, of a day that there is.
pub(super) fn number_of_day(year: i64, month: i64, day: i64) -> Option<i64> {
    let there = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    there.then(|| day_number(year, month, day))
}

impl Style {
    /// How far its zone is ahead, in microseconds.
    pub(super) fn ahead(&self) -> i64 {
        match self {
            Self::Date(_, Some(time)) => time.ahead,
            Self::Date(_, None) | Self::Count | Self::Digits(_) | Self::Month(_) => 0,
        }
    }

    /// Whether a time has a zone; none where there is no time.
    pub(super) fn zoned(&self) -> Option<bool> {
        match self {
            Self::Date(_, Some(time)) => Some(!time.zone.trim().is_empty()),
            Self::Date(_, None) | Self::Count | Self::Digits(_) | Self::Month(_) => None,
        }
    }

    /// Whether it tells months and nothing finer.
    pub(super) fn tells_months(&self) -> bool {
        match self {
            Self::Month(_) => true,
            Self::Digits(length) => *length == 6,
            Self::Date(..) | Self::Count => false,
        }
    }

    /// Whether rows of one file may be written so and so.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Digits(a), Self::Digits(b)) => a == b,
            (Self::Month(a), Self::Month(b)) => a.goes_with(b),
            (Self::Date(..), Self::Date(..)) | (Self::Count, Self::Count) => true,
            (Self::Date(..) | Self::Count | Self::Digits(_) | Self::Month(_), _) => false,
        }
    }

    /// The style of a later row, which is gone on with; 10:00 does not say how 9:00 is written, so one digit anywhere
    /// counts.
    pub(super) fn with(&self, later: Self) -> Self {
        match (self, later) {
            (Self::Date(day, time), Self::Date(mut later, mut clock)) => {
                later.padded &= day.padded;
                if let (Some(time), Some(clock)) = (time, &mut clock) {
                    clock.hours &= time.hours;
                }
                Self::Date(later, clock)
            }
            (Self::Month(month), Self::Month(later)) => Self::Month(month.with(later)),
            (_, later) => later,
        }
    }

    pub(super) fn write(&self, moment: i64) -> String {
        let there = moment.saturating_add(self.ahead());
        let ((year, month, day), clock) = (civil(there.div_euclid(DAY)), there.rem_euclid(DAY));
        let (style, time) = match self {
            Self::Count => return moment.to_string(),
            Self::Month(style) => return style.write(year, month),
            Self::Digits(length) => {
                let seconds = clock / SECOND;
                let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                let whole = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
                return whole.get(..*length).unwrap_or(&whole).to_owned();
            }
            Self::Date(style, time) => (style, time),
        };
        let (month, day) = (two(month, style.padded), two(day, style.padded));
        let between = style.between.map_or(String::new(), String::from);
        let mut text = match style.order {
            DateOrder::Year | DateOrder::Count => format!("{year:04}{between}{month}{between}{day}"),
            DateOrder::Month => format!("{month}{between}{day}{between}{year:04}"),
            DateOrder::Day => format!("{day}{between}{month}{between}{year:04}"),
        };
        if let Some(time) = time {
            text += &time.write(clock);
        }
        text
    }
}

pub(super) fn two(x: i64, padded: bool) -> String {
    if padded { format!("{x:02}") } else { x.to_string() }
}
