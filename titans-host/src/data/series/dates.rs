//! Dates of rows: read, checked, and continued behind the last row.

mod pace;
mod written;

use crate::error::{brief, plain};
use pace::{Pace, pace};
use written::{DateOrder, Style, moment};
pub(super) use written::{is_clock, is_day};

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
    /// The dates of rows, with the line of each. None where fewer than two are given, where the first is written in no
    /// way that is known, and where 01/02/2020 may be in January or in February by all rows.
    ///
    /// # Errors
    /// A sentence that names the line of a date that cannot be read, or that does not come after the one before.
    pub fn read(texts: &[String], lines: &[u64]) -> Result<Option<Self>, String> {
        if texts.len() < 2 {
            return Ok(None);
        }
        let mut found: Vec<Self> = Vec::new();
        let mut wrong: Option<(usize, String)> = None;
        for order in DateOrder::ALL {
            match Self::in_order(order, texts, lines) {
                Ok(None) => {}
                Ok(Some(dates)) => found.push(dates),
                // What can be read furthest is most likely what is meant.
                Err(e) if wrong.as_ref().is_none_or(|before| before.0 < e.0) => wrong = Some(e),
                Err(_) => {}
            }
        }
        found.sort_by_key(|dates| dates.uneven);
        let mut found = found.into_iter();
        match (found.next(), found.next(), wrong) {
            (None, _, Some((_, reason))) => Err(reason),
            (Some(a), Some(b), _) if a.uneven == b.uneven => Ok(None),
            (first, ..) => Ok(first),
        }
    }

    /// The same with the parts of a date in this order; of a failure the row too.
    fn in_order(order: DateOrder, texts: &[String], lines: &[u64]) -> Result<Option<Self>, (usize, String)> {
        let Some((_, mut style)) = texts.first().and_then(|text| moment(text, order)) else { return Ok(None) };
        let mut moments = Vec::with_capacity(texts.len());
        for (i, text) in texts.iter().enumerate() {
            let wrong =
                |reason: String| (i, format!("line {}: {reason}", lines.get(i).copied().unwrap_or(i as u64 + 1)));
            let found = moment(text, order).filter(|(_, found)| (style == Style::Count) == (*found == Style::Count));
            let Some((moment, found)) = found else { return Err(wrong(unlike(&texts[0], text))) };
            if moments.last().is_some_and(|before| *before >= moment) {
                return Err(wrong(not_after(&texts[i - 1], text)));
            }
            moments.push(moment);
            style = style.with(found);
        }
        let Some(&last) = moments.last() else { return Ok(None) };
        let (pace, uneven) = pace(&moments, &style);
        Ok(Some(Self { last, style, pace, uneven }))
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

    /// Rows whose date is not the usual step behind that of the row before.
    pub fn uneven(&self) -> usize {
        self.uneven
    }

    /// The date of the `steps`-th row behind the last.
    pub fn after(&self, steps: usize) -> String {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        self.style.write(self.pace.after(self.last, self.style.ahead(), steps))
    }
}

/// Dates that come one by one: the latest, in every way in which it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatestDate {
    text: String,
    readings: Vec<(DateOrder, i64)>,
}

impl LatestDate {
    /// That of a text; before every other one where the text is no date that is known.
    pub fn of(text: &str) -> Self {
        let by = |order: DateOrder| moment(text, order).map(|(moment, _)| (order, moment));
        Self { text: text.to_owned(), readings: DateOrder::ALL.into_iter().filter_map(by).collect() }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The next one. Where the latest is none, every text is let pass.
    ///
    /// # Errors
    /// A sentence about a text that is no date, or none that comes after the latest.
    pub fn next(&self, text: &str) -> Result<Self, String> {
        let mut next = Self::of(text);
        if self.readings.is_empty() {
            return Ok(next);
        }
        if next.readings.is_empty() {
            return Err(unlike(&self.text, text));
        }
        next.readings.retain(|&(order, moment)| self.readings.iter().any(|&(o, before)| o == order && before < moment));
        if next.readings.is_empty() { Err(not_after(&self.text, text)) } else { Ok(next) }
    }
}

fn unlike(first: &str, found: &str) -> String {
    format!("expected a date as in the first row ({}), found {}", plain(first), brief(found))
}

fn not_after(before: &str, found: &str) -> String {
    format!(
        "expected a date after {}, that of the row before, found {}; sort the rows by time, and leave one of each date (of training: --date \
         DATE,TIME where two columns are the date, --date none where a column is not all of it)",
        plain(before),
        plain(found)
    )
}

#[cfg(test)]
mod tests {
    use super::{Dates, LatestDate};

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
        assert_eq!(dates(&["1", "2", "5"]).unwrap().unwrap().uneven(), 1);
        assert_eq!(dates(&["2024-02-08", "2024-02-09", "2024-02-12", "2024-02-13"]).unwrap().unwrap().uneven(), 0);
        let holiday = ["2024-02-07", "2024-02-08", "2024-02-09", "2024-02-13", "2024-02-14"];
        assert_eq!(dates(&holiday).unwrap().unwrap().uneven(), 1);
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
            (&["01/13/2020", "01/12/2020"], "line 3: expected a date after 01/13/2020"),
            (&["01/01/2020", "01/02/2020", "01/13/2020", "01/12/2020"], "line 5: expected a date after 01/13/2020"),
            (&["13/01/2020", "01/13/2020"], "line 3: expected a date as in the first row (13/01/2020)"),
        ] {
            let error = dates(texts).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
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
            (&["2020-01-01 00:00", "2020-01-01 00:07"], None),
            (&["2020-01-01", "2020-01-08"], None),
            (&["1700000000", "1700003600"], None),
        ] {
            assert_eq!(dates(texts).unwrap().unwrap().season(), rows, "{texts:?}");
        }
    }

    #[test]
    fn dates_that_come_one_by_one_must_rise() {
        let mut latest = LatestDate::default();
        for text in ["02/01/2020", "03/01/2020", "04/01/2020"] {
            latest = latest.next(text).unwrap();
        }
        assert!(
            latest.next("01/05/2020").unwrap().next("13/01/2020").is_err(),
            "the fifth of January is before it as well"
        );
        assert!(LatestDate::of("13/01/2020").next("01/02/2020").unwrap().next("01/03/2020").is_ok());
        for (text, says) in
            [("04/01/2020", "after 04/01/2020"), ("03/01/2020", "after"), ("x", "a date as"), ("", "a date as")]
        {
            assert!(latest.next(text).unwrap_err().contains(says), "{text}");
        }
        let monday = LatestDate::of("Monday");
        assert_eq!(monday.next("Sunday").unwrap().text(), "Sunday", "what is no date says nothing");
        assert_eq!(LatestDate::default().next("").unwrap(), LatestDate::default());
    }
}
