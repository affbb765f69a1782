//! Dates that come one by one.

use super::written::{DateOrder, counts, moment};
use super::{not_after, other_zone, unlike};

/// Dates that come one by one: the latest, in every way in which it can be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatestDate {
    text: String,
    /// As a date.
    readings: Vec<(DateOrder, i64)>,
    /// As a number that counts.
    number: Option<f64>,
    /// Whether it has a zone, where it has a time.
    zoned: Option<bool>,
}

impl LatestDate {
    /// That of a text; before every other one where the text is no date that is known.
    pub fn of(text: &str) -> Self {
        let orders = [DateOrder::Year, DateOrder::Month, DateOrder::Day];
        let found: Vec<_> = orders.into_iter().filter_map(|order| Some((order, moment(text, order)?))).collect();
        let number = text.trim().parse::<f64>().ok().filter(|x| x.is_finite() && counts(text.trim()));
        Self {
            text: text.to_owned(),
            zoned: found.iter().find_map(|(_, (_, style))| style.zoned()),
            readings: found.into_iter().map(|(order, (moment, _))| (order, moment)).collect(),
            number,
        }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The next one. Where the latest is none, every text is let pass.
    ///
    /// # Errors
    /// A sentence about a text that is no date as the latest, or none that comes after it.
    pub fn next(&self, text: &str) -> Result<Self, String> {
        let mut next = Self::of(text);
        if self.readings.is_empty() && self.number.is_none() {
            return Ok(next);
        }
        if let (Some(before), Some(now)) = (self.zoned, next.zoned)
            && before != now
        {
            return Err(other_zone(&self.text, text, before));
        }
        let before = |order| self.readings.iter().find(|(o, _)| *o == order).map(|(_, moment)| *moment);
        next.readings.retain(|&(order, _)| before(order).is_some());
        let numbers = self.number.zip(next.number);
        if next.readings.is_empty() && numbers.is_none() {
            return Err(unlike(&self.text, false, text));
        }
        next.readings.retain(|&(order, moment)| before(order).is_some_and(|before| before < moment));
        next.number = numbers.filter(|(before, now)| before < now).map(|(_, now)| now);
        if next.readings.is_empty() && next.number.is_none() {
            return Err(not_after(&self.text, text, numbers.is_some()));
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::LatestDate;

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

    #[test]
    fn numbers_and_zones_that_come_one_by_one_are_checked_too() {
        let all = |texts: &[&str]| {
            let mut latest = LatestDate::default();
            texts.iter().try_for_each(|text| latest.next(text).map(|next| latest = next))
        };
        for good in [
            &["1700", "1701", "1800"][..],
            &["43831.5", "43831.75", "43832"],
            &["2020010122", "2020010123", "2020010200"],
            // Seconds of 2027, of which the first could be a date.
            &["1801010159", "1801010160", "1801010220"],
            &["Jan 2020", "Feb 2020"],
            &["2020-01-01 00:00+01:00", "2020-01-01 00:00-01:00"],
        ] {
            assert_eq!(all(good), Ok(()), "{good:?}");
        }
        for (bad, says) in [
            (&["1701", "1700"][..], "expected a date after 1701"),
            (&["43831.5", "43831.5"], "after 43831.5"),
            (&["20200131", "20200132"], "expected a date as in other rows (20200131)"),
            (&["2020-01", "17"], "a date as in other rows"),
            (&["Feb 2020", "Jan 2020"], "after Feb 2020"),
            (&["2020-01-01 00:00+01:00", "2020-01-01 02:00"], "a date with a zone"),
            (&["2020-01-01 00:00", "2020-01-01 02:00Z"], "a date without a zone"),
        ] {
            assert!(all(bad).unwrap_err().contains(says), "{bad:?}: {:?}", all(bad));
        }
    }
}
