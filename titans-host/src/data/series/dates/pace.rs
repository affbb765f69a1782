//! How far dates are apart, and how they go on.

use super::written::{DAY, Style};
use crate::data::series::calendar::{civil, day_number, days_of};
use std::collections::BTreeMap;

/// Days of a week, and those of them that are worked on, from Monday on.
const WEEK: i64 = 7;
const WORKED: i64 = 5;

/// From one row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Microseconds, or counts.
    Even(i64),
    /// The next of Monday to Friday.
    Weekdays,
    /// Months of whatever length.
    Months(i64),
    /// The last days of months, so many apart.
    MonthEnds(i64),
}

impl Pace {
    /// Rows of a day, of a week or of a year, where that is a whole number of them.
    pub(super) fn season(self) -> Option<usize> {
        let of = |whole: i64, step: i64| (step > 0 && whole % step == 0 && whole / step > 1).then_some(whole / step);
        let rows = match self {
            Self::Months(step) | Self::MonthEnds(step) => of(12, step),
            Self::Even(DAY) => Some(WEEK),
            Self::Weekdays => Some(WORKED),
            Self::Even(step) => of(DAY, step),
        };
        rows.and_then(|rows| usize::try_from(rows).ok())
    }

    /// So many steps behind `last`, where clocks are so far `ahead` of Greenwich.
    pub(super) fn after(self, last: i64, ahead: i64, steps: i64) -> i64 {
        let there = last.saturating_add(ahead);
        let months = |step: i64| months_after(there, step.saturating_mul(steps));
        match self {
            Self::Even(step) => last.saturating_add(step.saturating_mul(steps)),
            Self::Weekdays => weekdays_after(there, steps).saturating_sub(ahead),
            Self::Months(step) => months(step) - ahead,
            Self::MonthEnds(step) => month_end(months(step)) - ahead,
        }
    }
}

/// Rows that are another step behind the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnevenRows {
    pub(super) count: usize,
    /// The first of them, from 0.
    pub(super) first: usize,
}

impl UnevenRows {
    /// Of the rows from the second on, those of which that does not hold.
    fn unless(even: impl Iterator<Item = bool>) -> Self {
        let mut uneven = even.enumerate().filter(|(_, even)| !even).map(|(i, _)| i + 1);
        uneven.next().map_or(Self::default(), |first| Self { count: 1 + uneven.count(), first })
    }
}

/// The step that is there most often, and the rows that are another one apart.
pub(super) fn pace(moments: &[i64], style: &Style) -> (Pace, UnevenRows) {
    if style.tells_months() {
        return by_months(moments);
    }
    let ahead = style.ahead();
    let pairs = || moments.windows(2).map(|pair| (pair[0] + ahead, pair[1] + ahead));
    if *style != Style::Count && pairs().all(|(a, b)| b - a >= 28 * DAY) {
        let mut steps = pairs().map(|(a, b)| month_number(b) - month_number(a));
        if let Some(first) = steps.next().filter(|&first| first > 0)
            && steps.all(|step| step == first)
        {
            let ends = |moment: &i64| month_end(*moment + ahead) == *moment + ahead;
            // The 28th of February alone says nothing.
            if moments.len() > 2 && moments.iter().all(ends) {
                return (Pace::MonthEnds(first), UnevenRows::default());
            }
            if pairs().all(|(a, b)| months_after(a, first) == b) {
                return (Pace::Months(first), UnevenRows::default());
            }
        }
    }
    let most = commonest(pairs().map(|(a, b)| b - a));
    if *style != Style::Count && most == DAY && on_weekdays(pairs()) {
        return (Pace::Weekdays, UnevenRows::unless(pairs().map(|(a, b)| weekdays_after(a, 1) == b)));
    }
    (Pace::Even(most), UnevenRows::unless(pairs().map(|(a, b)| b - a == most)))
}

/// The same of moments that are months and nothing finer.
fn by_months(moments: &[i64]) -> (Pace, UnevenRows) {
    let steps = || moments.windows(2).map(|pair| month_number(pair[1]) - month_number(pair[0]));
    let most = commonest(steps());
    (Pace::Months(most), UnevenRows::unless(steps().map(|step| step == most)))
}

/// The step that is there most often, the least of equals.
fn commonest(steps: impl Iterator<Item = i64>) -> i64 {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    steps.for_each(|step| *counts.entry(step).or_default() += 1);
    counts.iter().max_by_key(|&(step, count)| (*count, -*step)).map_or(1, |(&step, _)| step)
}

/// Months since the year 0.
fn month_number(moment: i64) -> i64 {
    let (year, month, _) = civil(moment.div_euclid(DAY));
    year * 12 + month
}

/// Whether rows are of Monday to Friday alone, at one time of the day, and pass over a weekend; days that are missing
/// among them are holidays.
fn on_weekdays(mut pairs: impl Iterator<Item = (i64, i64)> + Clone) -> bool {
    let works = |moment: i64| weekday(moment.div_euclid(DAY)) < WORKED;
    let passes = |(a, b): (i64, i64)| weekday(b.div_euclid(DAY)) < weekday(a.div_euclid(DAY)) || b - a >= WEEK * DAY;
    pairs.clone().all(|(a, b)| works(a) && works(b) && (b - a) % DAY == 0) && pairs.any(passes)
}

/// 0 for Monday; the first day of 1970 was a Thursday.
fn weekday(day: i64) -> i64 {
    day.saturating_add(3).rem_euclid(WEEK)
}

/// So many of Monday to Friday later, at the same time.
fn weekdays_after(moment: i64, steps: i64) -> i64 {
    let (day, time) = (moment.div_euclid(DAY), moment.rem_euclid(DAY));
    let from = weekday(day);
    let ahead = from.saturating_add(steps);
    let later = (ahead / WORKED).saturating_mul(WEEK).saturating_add(ahead % WORKED);
    day.saturating_sub(from).saturating_add(later).saturating_mul(DAY).saturating_add(time)
}

/// The last day of its month, at the same time.
fn month_end(moment: i64) -> i64 {
    let (year, month, _) = civil(moment.div_euclid(DAY));
    day_number(year, month, days_of(year, month)) * DAY + moment.rem_euclid(DAY)
}

/// The same day so many months later, or the last one of a shorter month.
fn months_after(moment: i64, months: i64) -> i64 {
    let (year, month, day) = civil(moment.div_euclid(DAY));
    let count = (year * 12 + month - 1).saturating_add(months).clamp(-400_000, 400_000);
    let (year, month) = (count.div_euclid(12), count.rem_euclid(12) + 1);
    day_number(year, month, day.min(days_of(year, month))) * DAY + moment.rem_euclid(DAY)
}
