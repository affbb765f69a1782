//! Which columns say when a row was: one of dates, or one of days and one of times of the day.

use super::dates::{is_clock, is_day};
use super::layout::{ColumnRef, TableLayout};
use csv::StringRecord;

/// The places of a row's date, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DateColumns {
    pub(super) date: Option<usize>,
    /// Of the time of day, where it has a column of its own.
    pub(super) time: Option<usize>,
}

impl DateColumns {
    /// Those that hold a day and a time of the day and nothing else, among `places`: one of each.
    pub(super) fn pair(record: &StringRecord, places: impl Iterator<Item = usize> + Clone) -> Option<Self> {
        let first = |is: fn(&str) -> bool| places.clone().find(|&i| record.get(i).is_some_and(is));
        Some(Self { date: Some(first(is_day)?), time: Some(first(is_clock)?) })
    }

    /// Both of them.
    pub(super) fn places(self) -> impl Iterator<Item = usize> {
        self.date.into_iter().chain(self.time)
    }

    /// Keeps in a layout where dates were found.
    pub(super) fn keep(self, layout: &mut TableLayout) {
        let number = |place: Option<usize>| place.map(|i| ColumnRef::Number(i + 1));
        (layout.date, layout.time) = (number(self.date), number(self.time));
    }
}

impl TableLayout {
    /// The places of dates of a layout that was found, from 0.
    fn date_columns(&self) -> DateColumns {
        let place = |column: &Option<ColumnRef>| match column {
            Some(ColumnRef::Number(n)) => n.checked_sub(1),
            Some(ColumnRef::Name(_)) | None => None,
        };
        let date = place(&self.date);
        DateColumns { date, time: place(&self.time).filter(|_| date.is_some()) }
    }

    /// The date of a whole row of a file that is written so, of two columns with a blank between; none where the file
    /// has none.
    pub fn date_of(&self, record: &StringRecord) -> Option<String> {
        date_of(self.date_columns(), record)
    }

    /// Where dates stand, for messages: `column 1`, or `columns 1 and 2`; none where the file has none.
    pub fn date_place(&self) -> Option<String> {
        let DateColumns { date, time } = self.date_columns();
        let date = date? + 1;
        Some(time.map_or_else(|| format!("column {date}"), |time| format!("columns {date} and {}", time + 1)))
    }

    /// What a row's date has in columns of its own: all of it, or the day and the time.
    pub fn date_fields(&self, date: &str) -> Vec<String> {
        match date.split_once(' ').filter(|_| self.date_columns().time.is_some()) {
            Some((day, time)) => vec![day.to_owned(), time.to_owned()],
            None => vec![date.to_owned()],
        }
    }
}

/// The date of a row, in one text.
pub(super) fn date_of(columns: DateColumns, record: &StringRecord) -> Option<String> {
    let field = |place: usize| record.get(place).unwrap_or_default().trim();
    let date = field(columns.date?);
    Some(columns.time.map_or_else(|| date.to_owned(), |time| format!("{date} {}", field(time))))
}

#[cfg(test)]
mod tests {
    use super::{ColumnRef, DateColumns, TableLayout};
    use csv::StringRecord;

    #[test]
    fn a_day_and_a_time_are_one_date() {
        let row = StringRecord::from(vec!["9:45", "x", "2024-02-01", "7"]);
        let found = DateColumns::pair(&row, 0..4).unwrap();
        assert_eq!(found, DateColumns { date: Some(2), time: Some(0) });
        let mut layout = TableLayout::default();
        assert_eq!((layout.date_of(&row), layout.date_place()), (None, None));
        found.keep(&mut layout);
        assert_eq!(
            (layout.date.clone(), layout.time.clone()),
            (Some(ColumnRef::Number(3)), Some(ColumnRef::Number(1)))
        );
        assert_eq!(layout.date_of(&row).unwrap(), "2024-02-01 9:45");
        assert_eq!(layout.date_place().unwrap(), "columns 3 and 1");
        assert_eq!(layout.date_fields("2024-02-01 9:45"), ["2024-02-01", "9:45"]);
        layout.time = None;
        assert_eq!(layout.date_fields("2024-02-01 9:45"), ["2024-02-01 9:45"]);
        assert_eq!(
            (layout.date_of(&row).unwrap(), layout.date_place().unwrap()),
            ("2024-02-01".into(), "column 3".into())
        );
        for other in [vec!["2024-02-01", "7"], vec!["2024-02-01 00:00", "00:00"], vec!["00:00"], vec!["", ":"]] {
            assert_eq!(DateColumns::pair(&StringRecord::from(other), 0..2), None);
        }
    }
}
