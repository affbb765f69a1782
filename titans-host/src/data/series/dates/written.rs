//! How a moment is written.

use crate::data::series::calendar::{civil, day_number, days_of};

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;

/// What a date begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DateOrder {
    /// 2020-12-31; and numbers that count.
    Year,
    /// 12/31/2020
    Month,
    /// 31.12.2020
    Day,
}

impl DateOrder {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Year, Self::Month, Self::Day];
}

/// How a moment is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A number that counts.
    Count,
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

/// How a time of day is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeStyle {
    /// What comes between date and time.
    join: char,
    /// Two digits for hours.
    hours: bool,
    /// Whether seconds are written, and digits of their fraction.
    seconds: Option<usize>,
    /// AM or PM behind it, as it is written.
    half: Option<HalfDay>,
    /// A zone, as it is written.
    zone: String,
    /// How far the zone is ahead, in microseconds.
    ahead: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HalfDay {
    /// A blank before it.
    apart: bool,
    upper: bool,
}

/// Microseconds since 1970 in Greenwich, or a count, and how it is written; none for what is no date in this order.
pub(super) fn moment(text: &str, order: DateOrder) -> Option<(i64, Style)> {
    let text = text.trim();
    if order == DateOrder::Year && text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
        let (year, month, day) = (digits(text.get(..4)?, 4)?, digits(text.get(4..6)?, 2)?, digits(text.get(6..)?, 2)?);
        if (1800..2200).contains(&year)
            && let Some(number) = number_of_day(year, month, day)
        {
            return Some((number * DAY, Style::Date(DayStyle { between: None, order, padded: true }, None)));
        }
    }
    if let Ok(count) = text.parse::<f64>() {
        let whole = order == DateOrder::Year && count.fract() == 0.0 && count.abs() < 9e15;
        return whole.then_some((count as i64, Style::Count));
    }
    let (date, time) = text.split_at(text.find([' ', 'T']).unwrap_or(text.len()));
    let between = date.chars().find(|c| !c.is_ascii_digit()).filter(|c| ['-', '/', '.'].contains(c))?;
    let parts: Vec<&str> = date.split(between).collect();
    let &[a, b, c] = &parts[..] else { return None };
    let (year, month, day) = match order {
        DateOrder::Year => (a, b, c),
        DateOrder::Month => (c, a, b),
        DateOrder::Day => (c, b, a),
    };
    if between == '.' && order != DateOrder::Day || year.len() != 4 {
        return None;
    }
    let style = DayStyle { between: Some(between), order, padded: month.len() == 2 && day.len() == 2 };
    let day = number_of_day(digits(year, 4)?, digits(month, 2)?, digits(day, 2)?)? * DAY;
    let Some(join) = time.chars().next() else { return Some((day, Style::Date(style, None))) };
    let (clock, time) = clock(time.get(1..)?, join)?;
    Some((day + clock - time.ahead, Style::Date(style, Some(time))))
}

/// Whether a text is a day, in any order of its parts, and nothing else.
pub(in crate::data::series) fn is_day(text: &str) -> bool {
    DateOrder::ALL.into_iter().any(|order| matches!(moment(text, order), Some((_, Style::Date(_, None)))))
}

/// Whether a text is a time of the day, and nothing else.
pub(in crate::data::series) fn is_clock(text: &str) -> bool {
    clock(text.trim(), ' ').is_some()
}

/// A number of so many digits, at most.
fn digits(x: &str, most: usize) -> Option<i64> {
    let good = (1..=most).contains(&x.len()) && x.bytes().all(|b| b.is_ascii_digit());
    good.then(|| x.parse().ok()).flatten()
}

/// Days since 1970, of a day that there is.
fn number_of_day(year: i64, month: i64, day: i64) -> Option<i64> {
    let there = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    there.then(|| day_number(year, month, day))
}

/// Microseconds since midnight, there, and how they are written.
fn clock(text: &str, join: char) -> Option<(i64, TimeStyle)> {
    let (clock, behind) =
        text.split_at(text.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(text.len()));
    let mut parts = clock.split(':');
    let hour = parts.next()?;
    let (mut hours, minutes) = (digits(hour, 2)?, digits(parts.next()?, 2).filter(|m| *m < 60)?);
    let mark = behind.trim();
    let half = ["AM", "PM"].iter().position(|half| mark.eq_ignore_ascii_case(half));
    if let Some(half) = half {
        hours = (1..=12).contains(&hours).then_some(hours % 12 + 12 * half as i64)?;
    }
    let mut moment = (hours.checked_mul(3600).filter(|_| hours < 24)? + minutes * 60) * SECOND;
    let mut seconds = None;
    if let Some(text) = parts.next() {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        moment += digits(whole, 2).filter(|s| *s < 60)? * SECOND;
        if !part.is_empty() {
            digits(part, 9)?;
            moment += format!("{part:0<6}").get(..6)?.parse::<i64>().ok()?;
        }
        seconds = Some(part.len().min(6));
    }
    if parts.next().is_some() {
        return None;
    }
    let upper = mark.bytes().all(|b| b.is_ascii_uppercase());
    let half = half.map(|_| HalfDay { apart: behind.starts_with(' '), upper });
    let (zone, ahead) = if half.is_some() { (String::new(), 0) } else { (behind.to_owned(), ahead(mark)?) };
    Some((moment, TimeStyle { join, hours: hour.len() == 2, seconds, half, zone, ahead }))
}

/// How far a zone is ahead of Greenwich, in microseconds; a name that is not known stands for one place that is.
fn ahead(zone: &str) -> Option<i64> {
    let Some(sign) = zone.chars().next().filter(|c| ['+', '-'].contains(c)) else {
        return (zone.len() <= 5 && zone.bytes().all(|b| b.is_ascii_alphabetic())).then_some(0);
    };
    let figures: String = zone.get(1..)?.chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = match figures.len() {
        2 => (digits(&figures, 2)?, 0),
        4 => (digits(figures.get(..2)?, 2)?, digits(figures.get(2..)?, 2)?),
        _ => return None,
    };
    let size = (hours * 3600 + minutes * 60) * SECOND;
    Some(if sign == '-' { -size } else { size })
}

impl Style {
    /// How far its zone is ahead, in microseconds.
    pub(super) fn ahead(&self) -> i64 {
        match self {
            Self::Date(_, Some(time)) => time.ahead,
            _ => 0,
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
            (_, later) => later,
        }
    }

    pub(super) fn write(&self, moment: i64) -> String {
        let Self::Date(style, time) = self else { return moment.to_string() };
        let moment = moment.saturating_add(self.ahead());
        let (year, month, day) = civil(moment.div_euclid(DAY));
        let (month, day) = (two(month, style.padded), two(day, style.padded));
        let between = style.between.map_or(String::new(), String::from);
        let mut text = match style.order {
            DateOrder::Year => format!("{year:04}{between}{month}{between}{day}"),
            DateOrder::Month => format!("{month}{between}{day}{between}{year:04}"),
            DateOrder::Day => format!("{day}{between}{month}{between}{year:04}"),
        };
        if let Some(time) = time {
            text += &time.write(moment.rem_euclid(DAY));
        }
        text
    }
}

impl TimeStyle {
    fn write(&self, micros: i64) -> String {
        let (clock, fraction) = (micros / SECOND, micros % SECOND);
        let hour = clock / 3600;
        let shown = if self.half.is_some() { (hour + 11) % 12 + 1 } else { hour };
        let mut text = format!("{}{}:{:02}", self.join, two(shown, self.hours), clock / 60 % 60);
        if let Some(digits) = self.seconds {
            text += &format!(":{:02}", clock % 60);
            if digits > 0 {
                text += &format!(".{}", &format!("{fraction:06}")[..digits]);
            }
        }
        if let Some(HalfDay { apart, upper }) = self.half {
            let half = if hour < 12 { "am" } else { "pm" };
            text += if apart { " " } else { "" };
            text += &if upper { half.to_ascii_uppercase() } else { half.to_owned() };
        }
        text + &self.zone
    }
}

fn two(x: i64, padded: bool) -> String {
    if padded { format!("{x:02}") } else { x.to_string() }
}
