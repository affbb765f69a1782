//! Days of the Gregorian calendar, counted from 1970.

/// The number of a day.
pub(super) fn day_number(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March: the leap day is then the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day's number.
pub(super) fn civil(number: i64) -> (i64, i64, i64) {
    let shifted = number + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (years + era * 400, if month < 10 { month + 3 } else { month - 9 });
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// Days of a month.
pub(super) fn days_of(year: i64, month: i64) -> i64 {
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    day_number(next.0, next.1, 1) - day_number(year, month, 1)
}

#[cfg(test)]
mod tests {
    use super::{civil, day_number, days_of};

    #[test]
    fn days_are_counted_through() {
        assert_eq!((day_number(1970, 1, 1), civil(0)), (0, (1970, 1, 1)));
        assert_eq!((day_number(2000, 3, 1), day_number(1969, 12, 31)), (11_017, -1));
        let mut expected = (1599, 12, 31);
        for number in day_number(1600, 1, 1)..day_number(2101, 1, 1) {
            let (year, month, day) = expected;
            expected = match (month, day == days_of(year, month)) {
                (_, false) => (year, month, day + 1),
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
            };
            assert_eq!(civil(number), expected);
            assert_eq!(day_number(expected.0, expected.1, expected.2), number);
        }
        assert_eq!([1900, 2000, 2023, 2024].map(|year| days_of(year, 2)), [28, 29, 28, 29]);
    }
}
