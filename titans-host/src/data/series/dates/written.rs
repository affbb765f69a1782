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
    Date {
        /// Between the parts of the date.
        between: char,
        /// Which of them comes first.
        order: DateOrder,
        /// Two digits for months and days.
        padded: bool,
        /// What comes between date and time.
        join: Option<char>,
        /// Two digits for hours.
        hours: bool,
        /// Whether seconds are written, and digits of their fraction.
        seconds: Option<usize>,
        /// A zone, as it is written.
        zone: String,
    },
}

/// Microseconds since 1970, or a count, and how it is written; none for what is no date in this order.
pub(super) fn moment(text: &str, order: DateOrder) -> Option<(i64, Style)> {
    let text = text.trim();
    if let Ok(count) = text.parse::<f64>() {
        let whole = order == DateOrder::Year && count.fract() == 0.0 && count.abs() < 9e15;
        return whole.then_some((count as i64, Style::Count));
    }
    let end = text.find([' ', 'T']).unwrap_or(text.len());
    let (date, time) = text.split_at(end);
    let between = date.chars().find(|c| !c.is_ascii_digit()).filter(|c| ['-', '/', '.'].contains(c))?;
    let parts: Vec<&str> = date.split(between).collect();
    let &[a, b, c] = &parts[..] else { return None };
    let (year, month, day) = match order {
        DateOrder::Year => (a, b, c),
        DateOrder::Month => (c, a, b),
        DateOrder::Day => (c, b, a),
    };
    if between == '.' && order != DateOrder::Day {
        return None;
    }
    let padded = month.len() == 2 && day.len() == 2;
    let digits = |x: &str, most: usize| -> Option<i64> {
        let good = (1..=most).contains(&x.len()) && x.bytes().all(|b| b.is_ascii_digit());
        good.then(|| x.parse().ok()).flatten()
    };
    let (year, month, day) = (digits(year, 4).filter(|_| year.len() == 4)?, digits(month, 2)?, digits(day, 2)?);
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let mut moment = day_number(year, month, day) * DAY;
    let mut style = Style::Date { between, order, padded, join: None, hours: true, seconds: None, zone: String::new() };
    let Some(join) = time.chars().next() else { return Some((moment, style)) };
    let rest = &time[1..];
    let end = rest.find(['Z', '+', '-', ' ']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(end);
    let mut parts = clock.split(':');
    let hour = parts.next()?;
    let (hours, minutes) = (digits(hour, 2).filter(|h| *h < 24)?, digits(parts.next()?, 2).filter(|m| *m < 60)?);
    let mut fraction = None;
    moment += (hours * 3600 + minutes * 60) * SECOND;
    if let Some(seconds) = parts.next() {
        let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
        moment += digits(whole, 2).filter(|s| *s < 60)? * SECOND;
        if !part.is_empty() {
            let micros = format!("{part:0<6}");
            digits(part, 9)?;
            moment += micros.get(..6)?.parse::<i64>().ok()?;
        }
        fraction = Some(part.len().min(6));
    }
    if parts.next().is_some() {
        return None;
    }
    if let Style::Date { join: j, hours: h, seconds: s, zone: z, .. } = &mut style {
        (*j, *h, *s, *z) = (Some(join), hour.len() == 2, fraction, zone.to_owned());
    }
    Some((moment, style))
}

impl Style {
    /// The style of a later row, which is gone on with; 10:00 does not say how 9:00 is written, so one digit anywhere counts.
    pub(super) fn with(&self, later: Self) -> Self {
        match (self, later) {
            (
                Self::Date { padded, hours, .. },
                Self::Date { between, order, padded: p, join, hours: h, seconds, zone },
            ) => Self::Date { between, order, padded: *padded && p, join, hours: *hours && h, seconds, zone },
            (_, later) => later,
        }
    }

    pub(super) fn write(&self, moment: i64) -> String {
        let Self::Date { between, order, padded, join, hours, seconds, zone } = self else { return moment.to_string() };
        let (year, month, day) = civil(moment.div_euclid(DAY));
        let two = |x: i64, padded: bool| if padded { format!("{x:02}") } else { x.to_string() };
        let (month, day) = (two(month, *padded), two(day, *padded));
        let mut text = match order {
            DateOrder::Year => format!("{year:04}{between}{month}{between}{day}"),
            DateOrder::Month => format!("{month}{between}{day}{between}{year:04}"),
            DateOrder::Day => format!("{day}{between}{month}{between}{year:04}"),
        };
        if let Some(join) = join {
            let micros = moment.rem_euclid(DAY);
            let (clock, fraction) = (micros / SECOND, micros % SECOND);
            text += &format!("{join}{}:{:02}", two(clock / 3600, *hours), clock / 60 % 60);
            if let Some(digits) = seconds {
                text += &format!(":{:02}", clock % 60);
                if *digits > 0 {
                    text += &format!(".{}", &format!("{fraction:06}")[..*digits]);
                }
            }
            text += zone;
        }
        text
    }
}
