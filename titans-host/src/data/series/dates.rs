//! Dates of rows: read, checked, and continued behind the last row.

mod clock;
mod latest;
mod months;
mod pace;
mod written;

use crate::error::{brief, plain};
pub(super) use clock::is_clock;
pub use latest::LatestDate;
use pace::{Pace, UnevenRows, pace};
use std::collections::HashSet;
use written::{DateOrder, Style, moment};
pub(super) use written::{is_compact, is_day, is_written};

/// The dates of a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dates {
    last: i64,
    style: Style,
    pace: Pace,
    uneven: UnevenRows,
}

impl Dates {
    /// The dates of rows, with the line of each. None where fewer than two are given, where most are written in no way
    /// that is known (numbers with fractions among them, which must rise all the same), and where 01/02/2020 may be in
    /// January or in February by all rows.
    ///
    /// # Errors
    /// A sentence that names the line of a date that cannot be read, that has a zone where others have none, or that
    /// does not come after the one before.
    pub fn read(texts: &[String], lines: &[u64]) -> Result<Option<Self>, String> {
        if texts.len() < 2 {
            return Ok(None);
        }
        if let Some(numbers) = fractions(texts) {
            let back = numbers.windows(2).position(|pair| pair[1] <= pair[0]);
            return back.map_or(Ok(None), |i| Err(at(lines, i + 1, &not_after(&texts[i], &texts[i + 1], true))));
        }
        let mut found: Vec<Self> = Vec::new();
        let mut wrong: Option<(usize, String)> = None;
        for &order in orders(texts) {
            match Self::in_order(order, texts) {
                Ok(None) => {}
                Ok(Some(dates)) => found.push(dates),
                // What can be read furthest is most likely what is meant.
                Err(e) if wrong.as_ref().is_none_or(|before| before.0 < e.0) => wrong = Some(e),
                Err(_) => {}
            }
        }
        found.sort_by_key(|dates| dates.uneven.count);
        let mut found = found.into_iter();
        match (found.next(), found.next(), wrong) {
            (None, _, Some((row, reason))) => Err(at(lines, row, &reason)),
            (Some(a), Some(b), _) if a.uneven.count == b.uneven.count => Ok(None),
            (first, ..) => Ok(first),
        }
    }

    /// The same with the parts of a date in this order; of a failure the row too.
    fn in_order(order: DateOrder, texts: &[String]) -> Result<Option<Self>, (usize, String)> {
        let Some((known, mut style)) = first_known(order, texts) else { return Ok(None) };
        let (mut moments, mut zoned) = (Vec::<i64>::with_capacity(texts.len()), None);
        for (i, text) in texts.iter().enumerate() {
            let found = moment(text, order).filter(|(_, found)| style.goes_with(found));
            let Some((moment, found)) = found else { return Err((i, unlike(&texts[known], known == 0, text))) };
            match (zoned, found.zoned()) {
                (Some(before), Some(now)) if before != now => return Err((i, other_zone(&texts[i - 1], text, before))),
                (before, now) => zoned = before.or(now),
            }
            if moments.last().is_some_and(|before| *before >= moment) {
                return Err((i, not_after(&texts[i - 1], text, order == DateOrder::Count)));
            }
            moments.push(moment);
            style = style.with(found);
        }
        let Some(&last) = moments.last() else { return Ok(None) };
        let (pace, uneven) = pace(&moments, &style);
        Ok(Some(Self { last, style, pace, uneven }))
    }

    /// The first row whose text an earlier row has too.
    pub fn repeated(texts: &[String]) -> Option<usize> {
        let mut seen = HashSet::with_capacity(texts.len());
        texts.iter().position(|text| !seen.insert(text.as_str()))
    }

    /// Rows after which what goes by the calendar repeats itself: those of a day where rows are less than a day apart,
    /// of a week where they are a day apart (5 where there are none at weekends), of a year where they are months
    /// apart.
    pub fn season(&self) -> Option<usize> {
        if self.counts() { None } else { self.pace.season() }
    }

    /// Whether they are numbers that count: rows, or the time since 1970.
    pub fn counts(&self) -> bool {
        self.style == Style::Count
    }

    /// How many rows have a date that is not the usual step behind that of the row before, and the first of them, from
    /// 0.
    pub fn uneven(&self) -> (usize, usize) {
        (self.uneven.count, self.uneven.first)
    }

    /// The date of the `steps`-th row behind the last.
    pub fn after(&self, steps: usize) -> String {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        self.style.write(self.pace.after(self.last, self.style.ahead(), steps))
    }
}

/// The row whose text says how an order is written: the first one, or where nine of ten are of that order the first of
/// those. None where the first is not, and too few others are.
fn first_known(order: DateOrder, texts: &[String]) -> Option<(usize, Style)> {
    let known = || texts.iter().enumerate().filter_map(|(i, text)| Some((i, moment(text, order)?.1)));
    let first = known().next()?;
    let good = first.0 == 0 || 10 * known().count() >= 9 * texts.len();
    good.then_some(first)
}

/// The orders that come into question: numbers count, unless nine of ten can be dates.
fn orders(texts: &[String]) -> &'static [DateOrder] {
    let dated = texts.iter().filter(|text| moment(text, DateOrder::Year).is_some()).count();
    let counts = texts.first().is_some_and(|text| moment(text, DateOrder::Count).is_some());
    match counts && 10 * dated < 9 * texts.len() {
        true => &[DateOrder::Count],
        false => &[DateOrder::Year, DateOrder::Month, DateOrder::Day],
    }
}

/// Numbers of which some have fractions: they count something, as days since 1900, and are not gone on with.
fn fractions(texts: &[String]) -> Option<Vec<f64>> {
    let number = |text: &String| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    let numbers = texts.iter().map(number).collect::<Option<Vec<f64>>>()?;
    numbers.iter().any(|x| x.fract() != 0.0).then_some(numbers)
}

/// A reason with the line of its row.
fn at(lines: &[u64], row: usize, reason: &str) -> String {
    format!("line {}: {reason}", lines.get(row).copied().unwrap_or(row as u64 + 1))
}

fn unlike(known: &str, first: bool, found: &str) -> String {
    let rows = if first { "the first row" } else { "other rows" };
    format!("expected a date as in {rows} ({}), found {}", plain(known), brief(found))
}

fn other_zone(before: &str, found: &str, zoned: bool) -> String {
    format!(
        "expected a date with{} a zone as in the rows before ({}), found {}; write a zone in every row, or in none",
        if zoned { "" } else { "out" },
        plain(before),
        brief(found)
    )
}

/// `number`: the dates are numbers, which may have been measured instead.
fn not_after(before: &str, found: &str, number: bool) -> String {
    format!(
        "expected a date after {}, that of the row before, found {}; sort the rows by time, and leave one of each date (of training: --date \
         DATE,TIME where two columns are the date, --date none where a column is not all of it{})",
        plain(before),
        plain(found),
        if number { ", --leave-out none where its numbers are measured" } else { "" }
    )
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
            (&["01/12/2020 0:00", "01/13/2020 0:00"], 19, "02/01/2020 0:00"),
            (&["12/1/2020", "13/1/2020"], 19, "1/2/2020"),
            (&["28-02-2020 23:00", "29-02-2020 00:00"], 24, "01-03-2020 00:00"),
            (&["2023-01-31", "2023-02-28", "2023-03-28"], 1, "2023-04-28"),
            (&["2023-02-28", "2023-03-31", "2023-04-30"], 2, "2023-06-30"),
            (&["2023-12-31 00:00", "2024-03-31 00:00", "2024-06-30 00:00"], 3, "2025-03-31 00:00"),
            (&["20200130", "20200131"], 1, "20200201"),
            (&["20200131 22:00", "20200131 23:00"], 1, "20200201 00:00"),
            (&["2020013122", "2020013123"], 1, "2020020100"),
            (&["20191231235958", "20191231235959"], 1, "20200101000000"),
            (&["202011", "202012"], 1, "202101"),
            (&["1990-11", "1990-12"], 1, "1991-01"),
            (&["2020/9", "2020/10"], 11, "2021/9"),
            (&["11/2020", "12/2020"], 1, "01/2021"),
            (&["2020M11", "2020M12"], 1, "2021M01"),
            (&["1950Q3", "1950Q4"], 1, "1951Q1"),
            (&["Q2 1950", "Q3 1950"], 2, "Q1 1951"),
            (&["Nov 1990", "Dec 1990"], 1, "Jan 1991"),
            (&["April 2020", "May 2020"], 1, "June 2020"),
            (&["2020-APR", "2020-MAY"], 1, "2020-JUN"),
            // Seconds of 2027, of which the first could be a date, and numbers that count.
            (&["1801010159", "1801010160", "1801010161"], 1, "1801010162"),
            (&["199011", "199012", "199013"], 1, "199014"),
            (&["01/13/2020 11:00 AM", "01/13/2020 12:00 PM"], 1, "01/13/2020 01:00 PM"),
            (&["1/13/2020 11:30pm", "1/14/2020 12:00am"], 2, "1/14/2020 01:00am"),
            (
                &["2020-10-25T01:00:00+02:00", "2020-10-25T02:00:00+02:00", "2020-10-25T02:00:00+01:00"],
                1,
                "2020-10-25T03:00:00+01:00",
            ),
            (&["2023-01-01", "2023-02-01", "2023-03-01"], 11, "2024-02-01"),
            (&["2023-01-01T00:00:00.250Z", "2023-01-01T00:00:00.500Z"], 2, "2023-01-01T00:00:01.000Z"),
            (&["2023-01-01 00:00+02:00", "2023-01-01 00:10+02:00"], 1, "2023-01-01 00:20+02:00"),
            (&["1700000000", "1700000060"], 3, "1700000240"),
            (&["1969-12-31 23:59", "1970-01-01 00:00", "1970-01-01 00:05", "1970-01-01 00:06"], 1, "1970-01-01 00:07"),
            // From a Thursday over a weekend on: business days, also behind a holiday.
            (&["2024-02-08", "2024-02-09", "2024-02-12", "2024-02-13"], 3, "2024-02-16"),
            (&["2024-02-08", "2024-02-09", "2024-02-12", "2024-02-13"], 4, "2024-02-19"),
            (&["8/2/2024 17:30", "9/2/2024 17:30", "12/2/2024 17:30", "13/2/2024 17:30"], 14, "4/3/2024 17:30"),
            (&["2024-02-07", "2024-02-08", "2024-02-09", "2024-02-13", "2024-02-14"], 3, "2024-02-19"),
            // A Saturday among them, or no weekend that was passed over: every day.
            (&["2024-02-08", "2024-02-09", "2024-02-10", "2024-02-12", "2024-02-13"], 4, "2024-02-17"),
            (&["2024-02-08", "2024-02-09"], 1, "2024-02-10"),
        ] {
            assert_eq!(dates(texts).unwrap().unwrap().after(steps), expected, "{texts:?}");
        }
        let months = dates(&["2020-01", "2020-02", "2020-04", "2020-05"]).unwrap().unwrap();
        assert_eq!((months.uneven(), months.after(1)), ((1, 2), "2020-06".into()));
        assert_eq!(dates(&["1", "2", "5", "6", "9"]).unwrap().unwrap().uneven(), (2, 2));
        assert_eq!(dates(&["2024-02-08", "2024-02-09", "2024-02-12", "2024-02-13"]).unwrap().unwrap().uneven().0, 0);
        let holiday = ["2024-02-07", "2024-02-08", "2024-02-09", "2024-02-13", "2024-02-14"];
        assert_eq!(dates(&holiday).unwrap().unwrap().uneven(), (1, 3));
    }

    #[test]
    fn dates_must_rise_and_be_dates() {
        for (texts, says) in [
            (&["2020-01-02", "2020-01-01"][..], "line 3: expected a date after 2020-01-02"),
            (&["2020-01-01", "2020-01-02", "2020-01-02"], "line 4"),
            (&["2020-01-01", "2020-02-30"], "line 3: expected a date as in the first row (2020-01-01)"),
            (&["2020-01-01", "17"], "line 3"),
            (&["2020-01-01 00:00", "2020-01-01 24:00"], "line 3"),
            (&["2020-01-01 11:00 AM", "2020-01-01 13:00 PM"], "line 3"),
            (&["2021-03-28T07:00+01:00", "2021-03-28T08:00+02:00"], "line 3: expected a date after"),
            (&["20200131", "20200132"], "line 3"),
            (&["2020-01-01", ""], "line 3"),
            (&["1990-02", "1990-02"], "line 3: expected a date after 1990-02"),
            (&["1950Q2", "1950Q1"], "line 3: expected a date after 1950Q2"),
            (&["Mar 1990", "Feb 1990"], "line 3: expected a date after Mar 1990"),
            (&["1990-01", "1990Q2"], "line 3: expected a date as in the first row (1990-01)"),
            (&["1749", "1749"], "line 3: expected a date after 1749"),
            (&["43831.25", "43831.5", "43831.5"], "line 4: expected a date after 43831.5"),
            (
                &["2020-01-01 00:00+05:00", "2020-01-01 03:00"],
                "line 3: expected a date with a zone as in the rows before",
            ),
            (&["2020-01-01", "2020-01-01T01:00", "2020-01-01T02:00Z"], "line 4: expected a date without a zone"),
            (&["01/13/2020", "01/12/2020"], "line 3: expected a date after 01/13/2020"),
            (&["01/01/2020", "01/02/2020", "01/13/2020", "01/12/2020"], "line 5: expected a date after 01/13/2020"),
            (&["13/01/2020", "01/13/2020"], "line 3: expected a date as in the first row (13/01/2020)"),
        ] {
            let error = dates(texts).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let mut hours: Vec<String> = (0..20).map(|i| format!("20200101{i:02}")).collect();
        hours[0] = "2020010124".into();
        let error = Dates::read(&hours, &[]).unwrap_err();
        assert!(
            error.contains("line 1: expected a date as in other rows (2020010101), found \"2020010124\""),
            "{error}"
        );
        assert_eq!(dates(&["43831.25", "43831.5"]).unwrap(), None);
        let texts = ["a", "b", "a"].map(str::to_owned);
        assert_eq!((Dates::repeated(&texts), Dates::repeated(&texts[..2])), (Some(2), None));
        for unknown in [&["Monday", "Tuesday"][..], &["2020-01-01"], &[], &["01/02/2020", "03/04/2020"], &["é", "é"]]
        {
            assert_eq!(dates(unknown).unwrap(), None);
        }
        for either in [&["01/02/2020", "02/02/2020"][..], &["01/01/2020", "01/02/2020", "01/03/2020"]] {
            assert!(dates(either).unwrap().is_none(), "days or months");
        }
        let far = dates(&["9999-12-30", "9999-12-31"]).unwrap().unwrap();
        assert_eq!(far.after(1), "10000-01-01");
        far.after(usize::MAX);
        dates(&["2023-01-01", "2023-02-01"]).unwrap().unwrap().after(usize::MAX);
        dates(&["2024-02-09", "2024-02-12", "2024-02-13"]).unwrap().unwrap().after(usize::MAX);
    }

    #[test]
    fn seasons_are_those_of_the_calendar() {
        for (texts, rows) in [
            (&["2020-01-01 00:00", "2020-01-01 01:00"][..], Some(24)),
            (&["2020-01-01 00:00", "2020-01-01 00:10"], Some(144)),
            (&["2020-01-01", "2020-01-02"], Some(7)),
            (&["2024-02-08", "2024-02-09", "2024-02-12"], Some(5)),
            (&["2020-01-01", "2020-02-01", "2020-03-01"], Some(12)),
            (&["2020-01", "2020-02"], Some(12)),
            (&["1950Q1", "1950Q2"], Some(4)),
            (&["2020010100", "2020010101"], Some(24)),
            (&["2020-01-01 00:00", "2020-01-01 00:07"], None),
            (&["2020-01-01", "2020-01-08"], None),
            (&["1700000000", "1700003600"], None),
        ] {
            assert_eq!(dates(texts).unwrap().unwrap().season(), rows, "{texts:?}");
        }
    }
}
