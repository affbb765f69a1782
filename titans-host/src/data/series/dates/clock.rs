//! How a time of the day is written.

use super::written::{SECOND, digits, two};

/// How a time of day is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeStyle {
    /// What comes between date and time.
    join: char,
    /// Two digits for hours.
    pub(super) hours: bool,
    /// Whether seconds are written, and digits of their fraction.
    seconds: Option<usize>,
    /// AM or PM behind it, as it is written.
    half: Option<HalfDay>,
    /// A zone, as it is written.
    pub(super) zone: String,
    /// How far the zone is ahead, in microseconds.
    pub(super) ahead: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HalfDay {
    /// A blank before it.
    apart: bool,
    upper: bool,
}

/// Whether a text is a time of the day, and nothing else.
pub(in crate::data::series) fn is_clock(text: &str) -> bool {
    clock(text.trim(), ' ').is_some()
}

/// Microseconds since midnight, there, and how they are written.
pub(super) fn clock(text: &str, join: char) -> Option<(i64, TimeStyle)> {
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

impl TimeStyle {
    pub(super) fn write(&self, micros: i64) -> String {
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
