//! Options that say how a file of numbers is written down, and what is told of the guesses where they do not.

use crate::cli::options::named;
use crate::cli::output;
use crate::data::series::{ColumnRef, Decimal, Delimiter, Gaps, TableLayout};
use crate::error::plain;
use clap::ValueEnum;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Answer {
    /// The first line names the columns
    Yes,
    /// The first line is a row
    No,
}

/// How the file of a series is written down. What is not said is guessed, told once and kept in config.toml.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Series")]
pub struct LayoutArgs {
    /// What ends a field [default: what all first lines have in common]
    #[arg(long, value_parser = named::<Delimiter>())]
    delimiter: Option<Delimiter>,
    /// What begins a fraction [default: a comma where numbers have one and fields end otherwise]
    #[arg(long, value_parser = named::<Decimal>())]
    decimal: Option<Decimal>,
    /// Whether the first line names the columns [default: if it holds no number, or stands above dates]
    #[arg(long, value_enum)]
    header: Option<Answer>,
    /// Columns that are not read, by name or number from 1, or none; a name with a comma in double quotes [default: a
    /// first one without numbers, or of row numbers or times, and the first one of dates]
    #[arg(long, value_name = "COLUMN,…", value_parser = columns, allow_hyphen_values = true)]
    leave_out: Option<Columns>,
    /// The column of dates, by name or number from 1, or none; of days and of times of the day, where these are two
    /// columns: DATE,TIME [default: the first one that holds dates, and times beside it]
    #[arg(long, value_name = "COLUMN[,COLUMN]", value_parser = dates)]
    date: Option<Columns>,
    /// What becomes of missing numbers: refuse ends with their line and column; the column's mean stands for them; or
    /// hold, the number before [default: refuse]
    #[arg(long, value_parser = named::<Gaps>())]
    gaps: Option<Gaps>,
}

impl LayoutArgs {
    /// The first option that is given, by name.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--delimiter", self.delimiter.is_some()),
            ("--decimal", self.decimal.is_some()),
            ("--header", self.header.is_some()),
            ("--leave-out", self.leave_out.is_some()),
            ("--date", self.date.is_some()),
            ("--gaps", self.gaps.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// `layout` with what these options say.
    pub fn said(&self, mut layout: TableLayout) -> TableLayout {
        layout.delimiter = self.delimiter.or(layout.delimiter);
        layout.decimal = self.decimal.or(layout.decimal);
        layout.header = self.header.map(|answer| answer == Answer::Yes).or(layout.header);
        if let Some(Columns(columns)) = &self.leave_out {
            layout.left_out = Some(columns.clone());
        }
        if let Some(Columns(date)) = &self.date {
            layout.date = Some(date.first().cloned().unwrap_or(ColumnRef::NONE));
            layout.time = date.get(1).cloned();
        }
        layout.gaps = self.gaps.unwrap_or(layout.gaps);
        layout
    }
}

/// Columns as one option says them.
#[derive(Clone, Debug)]
struct Columns(Vec<ColumnRef>);

/// Columns by number or name, written as fields of CSV; `none` alone is none.
fn columns(said: &str) -> Result<Columns, String> {
    if said == "none" {
        return Ok(Columns(Vec::new()));
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(said.as_bytes());
    let mut fields = csv::StringRecord::new();
    let read = reader.read_record(&mut fields).map_err(|e| e.to_string())?;
    if !read || fields.iter().any(str::is_empty) || reader.read_record(&mut csv::StringRecord::new()).unwrap_or(true) {
        return Err("expected names or numbers of columns between commas, a name with a comma in double quotes".into());
    }
    Ok(Columns(fields.iter().map(place).collect()))
}

/// The column of dates, or those of days and of times of the day.
fn dates(said: &str) -> Result<Columns, String> {
    let Columns(found) = columns(said)?;
    if found.contains(&ColumnRef::NONE) {
        return Err("expected columns by name or number from 1, found 0; none says that there are no dates".into());
    }
    match &found[..] {
        [] | [_] => Ok(Columns(found)),
        [date, time] if date != time => Ok(Columns(found)),
        _ => Err("expected one column, of dates, or two, of days and of times of the day".into()),
    }
}

fn place(name: &str) -> ColumnRef {
    name.parse().map_or_else(|_| ColumnRef::Name(name.to_owned()), ColumnRef::Number)
}

/// Tells what was guessed about a file.
pub fn tell(file: &Path, told: &[String]) {
    told.iter().for_each(|sentence| output::complain(&plain(format_args!("{}: {sentence}", file.display()))));
}
