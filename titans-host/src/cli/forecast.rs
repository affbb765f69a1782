//! `titans forecast`: what comes after the last row of a file.

use super::checkpoint::{CheckpointArgs, spare};
use super::options::{DeviceArgs, named, size, svg};
use super::output::{self, digits};
use super::{Failure, on_device};
use crate::data::series::{self, Column, Dates, TableLayout};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Mode, Model};
use crate::task::TaskConfig;
use crate::task::forecast::{Forecast, ForecastConfig, Frame, Manner, SeriesTable, forecast, table};
use crate::train::plot::{Curve, Labels, lines};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Columns that a picture shows.
const DRAWN: usize = 4;

/// Forecast the rows behind the last one of a file, with a run of --task forecast
///
/// The rows of --data are read as those of the training were. The forecast comes as CSV in the file's units, its dates
/// continued as the file writes them: every day, or Monday to Friday where the file has no weekends (rows are numbered
/// where there are none).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A forecast sees the last rows of the file: the look-back and --context - 1 times --patch more, as in training. With --carry the memories
read the whole file before.

JSON keys: rows (of the file), rows_seen, horizon, surprise, dates (texts; numbers where the file counts rows or seconds, or has no dates),
columns {NAME: [numbers]}.

Examples:
  titans forecast runs/forecast --data measured.csv
  titans forecast runs/forecast --data measured.csv.gz --horizon 24 --out day.csv --picture day.svg
  titans forecast runs/forecast --data measured.csv --carry --json")]
pub struct Args {
    /// A run folder (its best checkpoint), or a checkpoint
    #[arg(value_name = "RUN")]
    run: PathBuf,

    #[command(flatten)]
    which: CheckpointArgs,

    /// The rows so far: the run's columns, or all that its training file had
    #[arg(long, value_name = "FILE")]
    data: PathBuf,

    /// Rows ahead [default: as many as the run forecasts]
    #[arg(long, value_name = "N", value_parser = size)]
    horizon: Option<usize>,

    /// Where the forecast is written [default: standard output]
    #[arg(long, value_name = "OUT.csv")]
    out: Option<PathBuf>,

    /// Draw the forecast behind the rows that it saw last
    #[arg(long, value_name = "OUT.svg", value_parser = svg())]
    picture: Option<PathBuf>,

    /// What the memories do: write every token (on), stay as training left them (frozen), answer 0 (absent)
    #[arg(long, default_value = "on", value_parser = named::<Mode>())]
    memory: Mode,

    /// The memories read the whole file, not only what one forecast sees
    #[arg(long)]
    carry: bool,

    /// Print JSON
    #[arg(long, conflicts_with = "out")]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

/// What is printed.
#[derive(Serialize)]
struct Told<'a> {
    rows: usize,
    rows_seen: usize,
    horizon: usize,
    surprise: f64,
    dates: Vec<DateOrRow>,
    columns: BTreeMap<&'a str, &'a [f64]>,
}

/// When a row is.
#[derive(Serialize)]
#[serde(untagged)]
enum DateOrRow {
    /// A date, as the file writes it.
    Date(String),
    /// What counts, rows or the time since 1970.
    Count(i64),
    /// The number of a row.
    Row(usize),
}

impl DateOrRow {
    /// Of the row so many steps behind the last one of `rows`.
    fn of(dates: Option<&Dates>, rows: usize, step: usize) -> Self {
        match dates {
            None => Self::Row(rows + step),
            Some(dates) => {
                let text = dates.after(step);
                match text.parse().ok().filter(|_| dates.counts()) {
                    Some(count) => Self::Count(count),
                    None => Self::Date(text),
                }
            }
        }
    }

    fn fields(&self, layout: &TableLayout) -> Vec<String> {
        match self {
            Self::Date(text) => layout.date_fields(text),
            Self::Count(count) => vec![count.to_string()],
            Self::Row(row) => vec![row.to_string()],
        }
    }
}

/// A forecast in the file's units.
struct Forecasts {
    /// The columns, each with its numbers.
    columns: Vec<(usize, Vec<f64>)>,
    surprise: f64,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    on_device!(args.on, device => on(&device, args))
}

fn on<D: Device>(device: &D, args: &Args) -> std::result::Result<(), Failure> {
    spare(&args.run, &[("--out", args.out.as_deref()), ("--picture", args.picture.as_deref())])?;
    output::expect_distinct(&[
        ("--data", &args.data),
        ("--out", args.out.as_deref().unwrap_or(Path::new("/dev/stdout"))),
        ("--picture", args.picture.as_deref().unwrap_or(Path::new("/dev/null"))),
    ])?;
    let (config, _, model) = args.which.load(device, &args.run)?;
    let task = match TaskConfig::of(&config)? {
        TaskConfig::Forecast(task) => task,
        other => {
            let (run, name) = (args.run.display(), other.name());
            return Err(
                Error::usage(format!("{run}: is a run of the {name} task, expected one of --task forecast")).into()
            );
        }
    };
    let frame = Frame::of(&task);
    let horizon = args.horizon.unwrap_or(frame.horizon);
    if horizon > frame.horizon {
        let most = frame.horizon;
        return Err(Error::usage(format!(
            "--horizon: expected 1 to {most}, what the run forecasts, found {horizon}; train with --horizon {horizon}"
        ))
        .into());
    }
    let read = series::read(&args.data, &task.layout, &task.columns)?;
    output::tell(read.notes.iter().chain(&read.uneven(&args.data)));
    let named = |error: Error| Error::file(&args.data, error.to_string());
    let table = table(&read.series, &task.columns, &task.layout).map_err(named)?;
    let ahead = args.ahead(device, &model, (&task, &frame, &table), horizon)?;
    let rows = table.rows();
    let when: Vec<DateOrRow> = (1..=horizon).map(|step| DateOrRow::of(read.when.as_ref(), rows, step)).collect();
    if let Some(path) = &args.picture {
        draw(path, (&task, &table), &ahead)?;
    }
    if args.json {
        let name = |c: usize| task.columns[c].name.as_str();
        let columns = ahead.columns.iter().map(|(c, numbers)| (name(*c), &numbers[..])).collect();
        let (rows_seen, surprise) = (frame.reach(), ahead.surprise);
        return output::print_json(&Told { rows, rows_seen, horizon, surprise, dates: when, columns });
    }
    let text = csv(&task.columns, &read, &when, &ahead)?;
    match &args.out {
        Some(path) => Ok(output::write_whole(path, text.as_bytes())?),
        None => output::print(text.trim_end()),
    }
}

impl Args {
    fn ahead<D: Device>(
        &self,
        device: &D,
        model: &Model<D>,
        (task, frame, table): (&ForecastConfig, &Frame, &SeriesTable),
        horizon: usize,
    ) -> std::result::Result<Forecasts, Failure> {
        let (rows, reach) = (table.rows(), frame.reach());
        if rows < reach {
            let file = self.data.display();
            return Err(Error::usage(format!(
                "{file}: expected {reach} rows or more, which a forecast sees, found {rows}"
            ))
            .into());
        }
        // Those of all moments so far that are whole patches before the last one.
        let first = if self.carry { reach + (rows - reach) % frame.patch } else { rows };
        let moments: Vec<usize> = (first..=rows).step_by(frame.patch).collect();
        let manner = Manner { mode: self.memory, carry: self.carry, surprise: true };
        let mut ahead = Forecasts { columns: Vec::new(), surprise: 0.0 };
        forecast(device, model, (frame, table), &moments, manner, |f: Forecast<'_>| {
            if f.moment == rows {
                let column = &task.columns[f.column];
                ahead.columns.push((f.column, f.said.iter().take(horizon).map(|&x| column.restore(x)).collect()));
                ahead.surprise += f.surprise / frame.targets.len() as f64;
            }
            Ok(())
        })
        .map_err(|error| Failure::hinting(error, "or forecast with --memory frozen"))?;
        Ok(ahead)
    }
}

/// What stands above the dates: the file's own names, so that a forecast can be put behind its rows.
fn first_names(read: &series::Read) -> Vec<String> {
    let usual: &[&str] = match read.layout.time {
        _ if read.when.is_none() => return vec!["row".into()],
        Some(_) => &["date", "time"],
        None => &["date"],
    };
    let name = |(i, &usual): (usize, &&str)| {
        read.date_names.get(i).filter(|name| !name.is_empty()).map_or_else(|| usual.to_owned(), String::clone)
    };
    usual.iter().enumerate().map(name).collect()
}

/// The forecast as a table.
fn csv(
    columns: &[Column],
    read: &series::Read,
    when: &[DateOrRow],
    ahead: &Forecasts,
) -> std::result::Result<String, Failure> {
    let names = ahead.columns.iter().map(|(c, _)| columns[*c].name.clone());
    let mut text = output::csv_line(first_names(read).into_iter().chain(names))? + "\n";
    for (i, date) in when.iter().enumerate() {
        let number = |(c, numbers): &(usize, Vec<f64>)| {
            digits(numbers.get(i).copied().unwrap_or(f64::NAN), columns[*c].deviation)
        };
        let fields = date.fields(&read.layout).into_iter().chain(ahead.columns.iter().map(number));
        text += &(output::csv_line(fields)? + "\n");
    }
    Ok(text)
}

/// The last rows and the forecast, of the first columns.
fn draw(path: &Path, (task, table): (&ForecastConfig, &SeriesTable), ahead: &Forecasts) -> Result<()> {
    let mut curves = Vec::new();
    for (c, numbers) in ahead.columns.iter().take(DRAWN) {
        let (column, rows) = (&task.columns[*c], table.rows());
        let from = rows.saturating_sub(2 * numbers.len());
        let known = (from..rows).filter_map(|row| Some((row as f64 + 1.0, column.restore(table.known(*c, row)?))));
        let said = numbers.iter().enumerate().map(|(i, &x)| ((rows + i) as f64 + 1.0, x));
        let name = |what: &str| format!("{} {what}", column.name);
        curves.push(Curve { name: name("so far"), points: known.collect(), marked: false });
        curves.push(Curve { name: name("forecast"), points: said.collect(), marked: false });
    }
    lines(path, &Labels { title: "Forecast", x: "row", y: "as in the file" }, &curves)
}
