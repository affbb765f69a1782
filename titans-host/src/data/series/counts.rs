//! Whether a first column of numbers says when or which a row is, rather than what was measured.

use super::columns::HOLDS_DATES;
use super::dates::is_compact;

/// Words of a column's name that say that it holds times.
const CALLED: [&str; 9] = ["time", "date", "datetime", "timestamp", "ts", "unix", "epoch", "year", "years"];

/// What a first column of numbers of this name counts, if it does: rows; the seconds since 1970 (or parts of them), be
/// it backwards or, where the name says so, in no order; days as 20201231, other dates without marks, or what rises and
/// is called a date, a time or a year. One in ten may be out of order or missing: that is a row to be refused by its
/// line, not a measured number.
pub(super) fn counts(column: &[f64], name: &str) -> Option<&'static str> {
    let known: Vec<f64> = column.iter().copied().filter(|x| !x.is_nan()).collect();
    if known.len() < 3 || !most(known.len(), column.len()) {
        return None;
    }
    let whole = known.iter().all(|x| x.fract() == 0.0);
    let steps = known.len() - 1;
    let many = |is: fn(f64) -> bool| known.windows(2).filter(|pair| is(pair[1] - pair[0])).count();
    let (rises, falls) = (many(|step| step > 0.0), many(|step| step < 0.0) == steps);
    // What begins anew again and again is an hour of the day or the like.
    let mostly = most(rises, steps) && !cycles(&known);
    let all = |is: fn(&f64) -> bool| most(known.iter().filter(|x| is(x)).count(), known.len());
    let name = name.to_ascii_lowercase();
    let called = name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| CALLED.contains(&word));
    let named = whole && ["time", "date", "unix", "epoch"].iter().any(|word| name.contains(word));
    if whole && mostly && (0.0..=1.0).contains(&known[0]) && most(many(|step| step == 1.0), steps) {
        return Some("it numbers the rows");
    }
    if whole && (mostly || falls || named) && all(day) {
        return Some("it holds days");
    }
    if whole && (mostly || falls) && all(|x| is_compact(&x.to_string())) {
        return Some(HOLDS_DATES);
    }
    if mostly && called || rises == steps && (named || whole && name.contains("year")) {
        return Some("it counts time, as it is called");
    }
    // From 1990 to 2100.
    let seconds = 631e6..4.1e9;
    let within = |scale: f64| known.iter().filter(|&x| seconds.contains(&(x / scale))).count();
    let epoch = [1.0, 1e3, 1e6, 1e9].into_iter().any(|scale| most(within(scale), known.len()));
    let ordered = rises == steps || falls || named || whole && mostly;
    (ordered && epoch).then_some("it counts time since 1970")
}

/// Nine of ten or more.
fn most(some: usize, all: usize) -> bool {
    10 * some >= 9 * all
}

/// A day as 20201231, about.
fn day(x: &f64) -> bool {
    (1800e4..2200e4).contains(x) && (101.0..1232.0).contains(&(x % 1e4)) && (1.0..32.0).contains(&(x % 100.0))
}

/// Whether a column goes back twice or more, to the same number each time.
fn cycles(column: &[f64]) -> bool {
    let mut ends = column.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[1]);
    let Some(first) = ends.next() else { return false };
    let mut others = ends.peekable();
    others.peek().is_some() && others.all(|end| end == first)
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn a_column_that_counts_is_known_from_one_that_measures() {
        let rows = |from: f64, step: f64| (0..9).map(|i| from + step * f64::from(i)).collect::<Vec<_>>();
        assert!(counts(&rows(0.0, 1.0), "1").is_some() && counts(&rows(1.0, 1.0), "1").is_some());
        for (from, step) in [(5.0, 1.0), (0.0, 2.0), (0.5, 1.0), (1e14, 1.0), (1.7e9, 0.0)] {
            assert_eq!(counts(&rows(from, step), "1"), None, "{from} {step}");
        }
        for scale in [1.0, 1e3, 1e6, 1e9] {
            for step in [60.0, -60.0] {
                assert!(counts(&rows(1.6e9 * scale, step * scale), "1").unwrap().contains("1970"));
            }
        }
        let shuffled = [1.6e9, 1.6e9 + 60.0, 1.6e9 - 60.0];
        assert!(counts(&shuffled, "load").is_none() && counts(&shuffled, "Timestamp").is_some());
        assert!(counts(&[20200130.0, 20200131.0, 20200201.0], "1").unwrap().contains("days"));
        assert!(counts(&[20200130.0, 20200133.0, 20200201.0], "1").is_none());
        assert!(
            counts(&[1990.0, 1991.0, 1992.0], "Year").is_some() && counts(&[1990.0, 1991.0, 1992.0], "load").is_none()
        );
        assert_eq!(counts(&[0.0, 1.0], "1"), None, "too few to say");
    }

    #[test]
    fn a_row_out_of_order_makes_no_series_of_what_counts() {
        let with = |from: f64, step: f64, at: usize, x: f64| {
            let mut column: Vec<f64> = (0..40).map(|i| from + step * f64::from(i)).collect();
            column[at] = x;
            column
        };
        for (column, name, says) in [
            (with(1.0, 1.0, 20, 20.0), "id", "numbers the rows"),
            (with(1700.0, 1.0, 20, 1719.0), "date", "counts time"),
            (with(1.6e9, 3600.0, 20, 1.6e9), "ts", "counts time"),
            (with(1.6e9, 3600.0, 20, 1.6e9), "x", "since 1970"),
            (with(1.6e9, 3600.0, 20, f64::NAN), "x", "since 1970"),
            (with(43831.5, 0.25, 20, 43831.5), "date", "counts time"),
            (
                with(20_200_101.0, 0.0, 0, 20_200_101.0)
                    .iter()
                    .zip(0..)
                    .map(|(x, i)| x + f64::from(i / 20 * 100 + i % 20))
                    .collect(),
                "x",
                "days",
            ),
            ((0..40).map(|i| f64::from(202_001 + i / 12 * 100 + i % 12)).collect(), "x", "holds dates"),
            ((0..40).map(|i| 202_001_010_000.0 + f64::from(i % 60)).collect(), "x", "holds dates"),
        ] {
            assert!(counts(&column, name).is_some_and(|found| found.contains(says)), "{name} {says} {column:?}");
        }
        // Hours of the day come again, what is measured goes up and down, and years of months stand still.
        let hours: Vec<f64> = (0..96).map(|i| f64::from(i % 24)).collect();
        let years: Vec<f64> = (0..96).map(|i| f64::from(1990 + i / 12)).collect();
        let level: Vec<f64> = (0..96).map(|i| 1e9 + 1e8 * f64::from(i).sin()).collect();
        for (column, name) in [(&hours, "hour"), (&hours, "time"), (&years, "year"), (&level, "level")] {
            assert_eq!(counts(column, name), None, "{name}");
        }
        // An index that begins anew once is two files joined.
        let joined: Vec<f64> = (0..96).map(|i| f64::from(i % 48)).collect();
        assert!(counts(&joined, "").is_some());
    }
}
