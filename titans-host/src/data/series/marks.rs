//! Marks that may be those of thousands or those of decimals: `1,059` in a column that also has `998`.

use super::layout::Delimiter;

/// A mark, its name, and from which size on whole numbers beside it make it doubtful.
const MARKS: [(char, &str, u64); 2] = [(',', "comma", 0), ('.', "point", 100)];

/// What a file's columns have shown so far.
pub(super) struct Marks {
    /// Where fields end at commas, points are decimal ones and commas none.
    looks: bool,
    columns: Vec<[Seen; MARKS.len()]>,
}

/// Of one column and one mark.
#[derive(Clone, Default)]
struct Seen {
    /// The first field with the mark, and its line.
    marked: Option<(u64, String)>,
    /// Whether one was no number of groups of three digits.
    decimal: bool,
    /// The first whole number without it that is large enough.
    whole: Option<String>,
}

impl Marks {
    pub fn new(delimiter: Delimiter) -> Self {
        Self { looks: delimiter != Delimiter::Comma, columns: Vec::new() }
    }

    /// Looks at a row.
    pub fn look<'a>(&mut self, line: u64, fields: impl Iterator<Item = &'a str>) {
        for (column, field) in fields.enumerate().take_while(|_| self.looks) {
            if column == self.columns.len() {
                self.columns.push(Default::default());
            }
            for (seen, (mark, _, least)) in self.columns[column].iter_mut().zip(MARKS) {
                if field.contains(mark) {
                    seen.decimal |= !grouped(field, mark);
                    seen.marked.get_or_insert_with(|| (line, field.to_owned()));
                } else if seen.whole.is_none() && field.parse::<i64>().is_ok_and(|x| x.unsigned_abs() >= least) {
                    seen.whole = Some(field.to_owned());
                }
            }
        }
    }

    /// A comma (or a point) before groups of three digits, in a column that has whole numbers without one too, may be
    /// one of thousands or of decimals; a point where whole numbers come near a thousand.
    pub fn verdict(&self) -> Result<(), String> {
        for (column, seen) in self.columns.iter().enumerate() {
            for (seen, (_, name, _)) in seen.iter().zip(MARKS) {
                if let (Some((line, found)), Some(whole), false) = (&seen.marked, &seen.whole, seen.decimal) {
                    return Err(format!(
                        "line {line}, column {}: {found} stands in a column with whole numbers such as {whole}: is its {name} one of \
                         thousands or of decimals? Write it without, or say --decimal {name}",
                        column + 1
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What is doubtful about a field of a column that has whole numbers alone in the run's training file, some of them of
/// three digits and more.
pub(super) fn doubt(field: &str) -> Option<String> {
    let (_, name, _) = MARKS.into_iter().find(|&(mark, _, _)| field.contains(mark) && grouped(field, mark))?;
    Some(format!(
        "found {field} where the run's training file has whole numbers alone: is its {name} one of thousands or of decimals? Write a \
         whole number without it, any other with one digit more"
    ))
}

/// Digits in groups of three behind the first, which is no 0, with a mark between them: `1,059`.
fn grouped(field: &str, mark: char) -> bool {
    let mut groups = field.trim_start_matches(['-', '+']).split(mark);
    let digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let first = groups.next().is_some_and(|g| (1..=3).contains(&g.len()) && digits(g) && !g.starts_with('0'));
    first && groups.all(|group| group.len() == 3 && digits(group))
}
