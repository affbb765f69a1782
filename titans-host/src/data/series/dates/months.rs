//! Months and quarters: 2020-12, 12/2020, 2020M12, 2020Q4, Dec 2020.

use super::written::{DAY, Style, digits, number_of_day, two};

/// Between a year and its part, the first that fits.
const BETWEEN: [&str; 6] = ["-", "/", ", ", " ", "_", ""];
const NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Letters of a name that is cut.
const SHORT: usize = 3;

/// How a month or a quarter of a year is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MonthStyle {
    year_first: bool,
    between: &'static str,
    part: MonthPart,
}

/// What says which part of a year it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MonthPart {
    /// The month's number, with two digits or as many as it takes.
    Number { padded: bool },
    /// The same behind this letter, an M.
    Lettered { letter: char, padded: bool },
    /// The quarter's number behind this letter, a Q.
    Quarter { letter: char },
    /// The month's name; none where May does not say whether others are cut.
    Name { whole: Option<bool>, letters: Capitals },
}

/// How large a name's letters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capitals {
    None,
    First,
    All,
}

/// The first moment of a month or a quarter, and how it is written.
pub(super) fn month(text: &str) -> Option<(i64, Style)> {
    let ahead = text.get(..4).zip(text.get(4..)).map(|(year, rest)| (true, year, rest));
    let at = text.len().saturating_sub(4);
    let behind = text.get(at..).zip(text.get(..at)).map(|(year, rest)| (false, year, rest));
    [ahead, behind].into_iter().flatten().find_map(|(year_first, year, rest)| {
        let year = digits(year, 4).filter(|year| (1000..=9999).contains(year))?;
        let cut = |between: &&'static str| {
            let part = if year_first { rest.strip_prefix(between) } else { rest.strip_suffix(between) };
            part.and_then(|part| Some((*between, part_of_year(part, between)?)))
        };
        let (between, (month, part)) = BETWEEN.iter().find_map(cut)?;
        let style = MonthStyle { year_first, between, part };
        Some((number_of_day(year, month, 1)? * DAY, Style::Month(style)))
    })
}

/// The month, from 1, in which a part of a year begins.
fn part_of_year(text: &str, between: &str) -> Option<(i64, MonthPart)> {
    let padded = |number: &str| number.len() == 2;
    if let Some(month) = digits(text, 2) {
        return ["-", "/"].contains(&between).then_some((month, MonthPart::Number { padded: padded(text) }));
    }
    let letter = text.chars().next()?;
    if let Some(number) = text.get(letter.len_utf8()..).filter(|number| digits(number, 2).is_some()) {
        let found = digits(number, 2)?;
        return match letter {
            'Q' | 'q' if (1..=4).contains(&found) => Some((3 * found - 2, MonthPart::Quarter { letter })),
            'M' | 'm' => Some((found, MonthPart::Lettered { letter, padded: padded(number) })),
            _ => None,
        };
    }
    let is = |name: &&str| name.eq_ignore_ascii_case(text) || name[..SHORT].eq_ignore_ascii_case(text);
    let at = NAMES.iter().position(is)?;
    let letters = match text.bytes().filter(u8::is_ascii_uppercase).count() {
        0 => Capitals::None,
        1 => Capitals::First,
        _ => Capitals::All,
    };
    let whole = (NAMES[at].len() > SHORT).then_some(text.len() > SHORT);
    Some((at as i64 + 1, MonthPart::Name { whole, letters }))
}

impl MonthStyle {
    /// Whether rows of one file may be written so and so.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.part) == std::mem::discriminant(&other.part)
    }

    /// The style of a later row, which is gone on with.
    pub(super) fn with(&self, mut later: Self) -> Self {
        match (self.part, &mut later.part) {
            (MonthPart::Number { padded: before }, MonthPart::Number { padded })
            | (MonthPart::Lettered { padded: before, .. }, MonthPart::Lettered { padded, .. }) => *padded &= before,
            (MonthPart::Name { whole: before, .. }, MonthPart::Name { whole, .. }) => *whole = whole.or(before),
            _ => {}
        }
        later
    }

    pub(super) fn write(&self, year: i64, month: i64) -> String {
        let part = match self.part {
            MonthPart::Number { padded } => two(month, padded),
            MonthPart::Lettered { letter, padded } => format!("{letter}{}", two(month, padded)),
            MonthPart::Quarter { letter } => format!("{letter}{}", (month + 2) / 3),
            MonthPart::Name { whole, letters } => {
                let name = NAMES[(month - 1).clamp(0, 11) as usize];
                let name = if whole == Some(true) { name } else { &name[..SHORT] };
                match letters {
                    Capitals::None => name.to_ascii_lowercase(),
                    Capitals::First => name.to_owned(),
                    Capitals::All => name.to_ascii_uppercase(),
                }
            }
        };
        let Self { between, .. } = self;
        if self.year_first { format!("{year:04}{between}{part}") } else { format!("{part}{between}{year:04}") }
    }
}
