//! Dates of rows: read, checked, and continued behind the last row.

use super::calendar::{civil, day_number, days_of};
use std::collections::BTreeMap;

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// How a moment is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Style {
    /// A number that counts.
    Count,
    /// A date, and maybe a time.
    Date {
        /// Between the parts of the date; with a point the day comes first, else the year.
        between: char,
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

/// From one row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Microseconds, or counts.
    Even(i64),
    /// Months of whatever length.
    Months(i64),
}

/// The dates of a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dates {
    last: i64,
    style: Style,
    pace: Pace,
    /// Rows that are another step behind the one before.
    uneven: usize,
}

impl Dates {
    /// The dates of rows, with the line of each. None where fewer than two are given, or the first is written in no way that is known.
    ///
    /// # Errors
    /// A sentence that names the line of a date that cannot be read, or that does not come after the one before.
    pub fn read(texts: &[String], lines: &[u64]) -> Result<Option<Self>, String> {
        let Some((_, mut style)) = texts.first().and_then(|text| moment(text)) else { return Ok(None) };
        if texts.len() < 2 {
            return Ok(None);
        }
        let mut moments = Vec::with_capacity(texts.len());
        for (i, text) in texts.iter().enumerate() {
            let line = lines.get(i).copied().unwrap_or(i as u64 + 1);
            let Some((moment, found)) = moment(text) else {
                return Err(format!("line {line}: expected a date as in the first row ({}), found {text:?}", texts[0]));
            };
            if (style == Style::Count) != (found == Style::Count) {
                return Err(format!("line {line}: expected a date as in the first row ({}), found {text:?}", texts[0]));
            }
            if moments.last().is_some_and(|before| *before >= moment) {
                return Err(format!(
                    "line {line}: expected a date after {}, that of the row before, found {text}; sort the rows by time, and leave one of \
                     each date",
                    texts[i - 1]
                ));
            }
            moments.push(moment);
            style = style.with(found);
        }
        let Some(&last) = moments.last() else { return Ok(None) };
        let (pace, uneven) = pace(&moments, &style);
        Ok(Some(Self { last, style, pace, uneven }))
    }

    /// Rows whose date is not the usual step behind that of the row before.
    pub fn uneven(&self) -> usize {
        self.uneven
    }

    /// The date of the `steps`-th row behind the last.
    pub fn after(&self, steps: usize) -> String {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        let moment = match self.pace {
            Pace::Even(step) => self.last.saturating_add(step.saturating_mul(steps)),
            Pace::Months(step) => months_after(self.last, step.saturating_mul(steps)),
        };
        self.style.write(moment)
    }
}

/// The step that is there most often, and how many others there are.
fn pace(moments: &[i64], style: &Style) -> (Pace, usize) {
    let pairs = || moments.windows(2).map(|pair| (pair[0], pair[1]));
    if *style != Style::Count && pairs().all(|(a, b)| b - a >= 28 * DAY) {
        let month = |moment: i64| {
            let (year, month, _) = civil(moment.div_euclid(DAY));
            year * 12 + month
        };
        let mut steps = pairs().map(|(a, b)| month(b) - month(a));
        if let Some(first) = steps.next().filter(|&first| first > 0)
            && steps.all(|step| step == first)
            && pairs().all(|(a, b)| months_after(a, first) == b)
        {
            return (Pace::Months(first), 0);
        }
    }
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    pairs().for_each(|(a, b)| *counts.entry(b - a).or_default() += 1);
    let most =
        counts.iter().max_by_key(|&(step, count)| (*count, -*step)).map_or((1, 0), |(&step, &count)| (step, count));
    (Pace::Even(most.0), moments.len().saturating_sub(1 + most.1))
}

/// The same day so many months later, or the last one of a shorter month.
fn months_after(moment: i64, months: i64) -> i64 {
    let (year, month, day) = civil(moment.div_euclid(DAY));
    let count = (year * 12 + month - 1).saturating_add(months).clamp(-400_000, 400_000);
    let (year, month) = (count.div_euclid(12), count.rem_euclid(12) + 1);
    day_number(year, month, day.min(days_of(year, month))) * DAY + moment.rem_euclid(DAY)
}

/// Microseconds since 1970, or a count, and how it is written.
fn moment(text: &str) -> Option<(i64, Style)> {
    let text = text.trim();
    if let Ok(count) = text.parse::<f64>() {
        return (count.fract() == 0.0 && count.abs() < 9e15).then_some((count as i64, Style::Count));
    }
    let end = text.find([' ', 'T']).unwrap_or(text.len());
    let (date, time) = text.split_at(end);
    let between = date.chars().find(|c| !c.is_ascii_digit()).filter(|c| ['-', '/', '.'].contains(c))?;
    let parts: Vec<&str> = date.split(between).collect();
    let &[a, month, b] = &parts[..] else { return None };
    let (year, day) = if between == '.' { (b, a) } else { (a, b) };
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
    let mut style = Style::Date { between, padded, join: None, hours: true, seconds: None, zone: String::new() };
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
    fn with(&self, later: Self) -> Self {
        match (self, later) {
            (Self::Date { padded, hours, .. }, Self::Date { between, padded: p, join, hours: h, seconds, zone }) => {
                Self::Date { between, padded: *padded && p, join, hours: *hours && h, seconds, zone }
            }
            (_, later) => later,
        }
    }

    fn write(&self, moment: i64) -> String {
        let Self::Date { between, padded, join, hours, seconds, zone } = self else { return moment.to_string() };
        let (year, month, day) = civil(moment.div_euclid(DAY));
        let two = |x: i64, padded: bool| if padded { format!("{x:02}") } else { x.to_string() };
        let (month, day) = (two(month, *padded), two(day, *padded));
        let mut text = match between {
            '.' => format!("{day}.{month}.{year:04}"),
            _ => format!("{year:04}{between}{month}{between}{day}"),
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

#[cfg(test)]
mod tests {
    use super::Dates;

    fn dates(texts: &[&str]) -> Result<Option<Dates>, String> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Dates::read(&texts, &(2..).take(texts.len()).collect::<Vec<_>>())
    }

    #[test]
    fn dates_go_on_as_they_were_written() {
        for (texts, steps, expected) in [
            (&["2016-07-01 22:00:00", "2016-07-01 23:00:00"][..], 1, "2016-07-02 00:00:00"),
            (&["2016/7/1 9:45", "2016/7/1 10:00"], 56, "2016/7/2 0:00"),
            (&["2016/9/30 9:00", "2016/10/10 10:00", "2016/10/20 11:00"], 2, "2016/11/9 13:00"),
            (&["2020-02-27", "2020-02-28"], 2, "2020-03-01"),
            (&["31.12.1999", "01.01.2000"], 59, "29.02.2000"),
            (&["2023-01-31", "2023-02-28", "2023-03-28"], 1, "2023-04-28"),
            (&["2023-01-01", "2023-02-01", "2023-03-01"], 11, "2024-02-01"),
            (&["2023-01-01T00:00:00.250Z", "2023-01-01T00:00:00.500Z"], 2, "2023-01-01T00:00:01.000Z"),
            (&["2023-01-01 00:00+02:00", "2023-01-01 00:10+02:00"], 1, "2023-01-01 00:20+02:00"),
            (&["1700000000", "1700000060"], 3, "1700000240"),
            (&["1969-12-31 23:59", "1970-01-01 00:00", "1970-01-01 00:05", "1970-01-01 00:06"], 1, "1970-01-01 00:07"),
        ] {
            assert_eq!(dates(texts).unwrap().unwrap().after(steps), expected, "{texts:?}");
        }
        assert_eq!(dates(&["1", "2", "5"]).unwrap().unwrap().uneven(), 1);
    }

    #[test]
    fn dates_must_rise_and_be_dates() {
        for (texts, says) in [
            (&["2020-01-02", "2020-01-01"][..], "line 3: expected a date after 2020-01-02"),
            (&["2020-01-01", "2020-01-02", "2020-01-02"], "line 4"),
            (&["2020-01-01", "2020-02-30"], "line 3: expected a date as in the first row (2020-01-01)"),
            (&["2020-01-01", "17"], "line 3"),
            (&["2020-01-01 00:00", "2020-01-01 24:00"], "line 3"),
            (&["2020-01-01", ""], "line 3"),
        ] {
            let error = dates(texts).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        for unknown in [&["Monday", "Tuesday"][..], &["2020-01-01"], &[], &["01/02/2020", "02/02/2020"], &["é", "é"]]
        {
            assert_eq!(dates(unknown).unwrap(), None);
        }
        let far = dates(&["9999-12-30", "9999-12-31"]).unwrap().unwrap();
        assert_eq!(far.after(1), "10000-01-01");
        far.after(usize::MAX);
        dates(&["2023-01-01", "2023-02-01"]).unwrap().unwrap().after(usize::MAX);
    }
}
