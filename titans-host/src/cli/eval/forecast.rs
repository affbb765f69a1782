//! Forecasts: errors by horizon, beside the baselines.

use super::{Args, own};
use crate::cli::{Failure, output};
use crate::data::series;
use crate::device::Device;
use crate::error::{Error, Result, counted};
use crate::model::Model;
use crate::task::forecast::{
    Baselines, Forecast, ForecastConfig, ForecastTask, Frame, Manner, Score, Scores, SeriesTable, Tally, forecast,
    moments, table,
};
use crate::train::checkpoint::RunState;
use crate::train::task::Task;
use serde::Serialize;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;
use titans_kernel::Choice;

/// Least width of a table's columns.
const CELL: usize = 16;

/// Which rows are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum PartName {
    /// Those behind the validation rows
    Test,
    /// Those by which the best checkpoint was chosen
    Valid,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    mse: f64,
    mae: f64,
    horizons: Scores,
    mean: Score,
    part: Option<PartName>,
    windows: u64,
    columns: usize,
    lookback: usize,
    rows_seen: usize,
    memory: &'static str,
    carry: bool,
    seconds: f64,
    baselines: Option<Baselines>,
}

/// What is measured.
struct EvaluationSeries {
    table: SeriesTable,
    moments: Range<usize>,
    end: usize,
    /// Those for which there are enough rows.
    horizons: Vec<usize>,
    /// Rows before the first one, in its file.
    part: Option<PartName>,
    baselines: Option<Baselines>,
}

/// One forecast's row of `--per-window` and `--per-item`.
struct WindowRow {
    moment: usize,
    column: usize,
    /// None where none of its rows has a number.
    mse: Option<f64>,
    surprise: f64,
}

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    task: ForecastConfig,
    run: (u64, &RunState),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    let frame = Frame::of(&task);
    let measured = args.evaluation_series::<D>(&task, &frame, run)?;
    let (each, start) = (args.per_window.as_ref().or(args.per_item.as_ref()), Instant::now());
    let surprise = each.is_some() || args.picture.is_some();
    let manner = Manner { mode: args.mode(), carry: args.carry, surprise };
    let (mut tally, mut rows) = (Tally::new(&measured.horizons, measured.end), Vec::new());
    let all: Vec<usize> = measured.moments.clone().collect();
    forecast(device, model, (&frame, &measured.table), &all, manner, |f: Forecast<'_>| {
        let error = |(i, y): (usize, &f64)| Some(measured.table.known(f.column, f.moment + i)? - y);
        let mse = tally.add(f.moment, f.said.iter().enumerate().map(error));
        if manner.surprise {
            rows.push(WindowRow { moment: f.moment, column: f.column, mse, surprise: f.surprise });
        }
        Ok(())
    })
    .map_err(|error| Failure::hinting(error, "or evaluate with --memory frozen, or without --carry"))?;
    tally.expect_numbers("the part that is measured")?;
    rows.sort_by_key(|row| (row.moment, row.column));
    let names: Vec<&str> = task.columns.iter().map(|c| c.name.as_str()).collect();
    if let Some(path) = each {
        write_rows(path, &rows, &names)?;
    }
    if let Some(path) = &args.picture {
        draw(path, &rows)?;
    }
    let scores = tally.scores();
    let first = scores.0.values().next().copied().ok_or_else(|| Error::usage("no horizon to measure"))?;
    let report = Report {
        mse: first.mse,
        mae: first.mae,
        mean: scores.mean(),
        horizons: scores,
        part: measured.part,
        windows: tally.windows() / frame.targets.len().max(1) as u64,
        columns: frame.targets.len(),
        lookback: frame.lookback,
        rows_seen: frame.reach(),
        memory: manner.mode.name(),
        carry: manner.carry,
        seconds: start.elapsed().as_secs_f64(),
        baselines: measured.baselines,
    };
    if args.json { output::print_json(&report) } else { print(&report) }
}

impl Args {
    /// The rows to measure, standardised as in training.
    fn evaluation_series<D: Device>(
        &self,
        task: &ForecastConfig,
        frame: &Frame,
        (seed, state): (u64, &RunState),
    ) -> Result<EvaluationSeries> {
        let horizons = &task.horizons;
        let [file] = &self.data[..] else {
            if !self.data.is_empty() {
                return Err(Error::usage(format!("--data: expected one file of numbers, found {}", self.data.len())));
            }
            let mut run = ForecastTask::read(task.clone(), seed).map_err(own)?;
            Task::<D>::restore(&mut run, &state.task).map_err(own)?;
            output::tell(Task::<D>::notes(&run));
            let name = self.part.unwrap_or(PartName::Test);
            let part = if name == PartName::Test { run.parts().test.clone() } else { run.parts().valid.clone() };
            let moments = expect_some(moments(frame, &part, horizons), part.len(), frame)?;
            let baselines = if self.no_baselines { None } else { Some(run.baselines(&part)?) };
            let measured = EvaluationSeries {
                table: run.table().clone(),
                moments,
                end: part.end,
                horizons: horizons.clone(),
                part: Some(name),
                baselines,
            };
            // The run has told of horizons that its test rows are too few for.
            return Ok(measured.reaching(frame, &part).0);
        };
        let read = series::read(file, &task.layout, &task.columns)?;
        output::tell(read.notes.iter().chain(&read.uneven(file)));
        let (series, named) = (read.series, |error: Error| Error::file(file, error.to_string()));
        let table = table(&series, &task.columns, &task.layout).map_err(named)?;
        let rows = table.rows();
        let from = match self.tail {
            Some(share) => series.split(share, (0, 1))?,
            None => 0,
        };
        let moments = expect_some(moments(frame, &(from..rows), horizons), rows, frame).map_err(named)?;
        let baselines =
            if self.no_baselines { None } else { learned::<D>(task, (seed, state), &table, &(from..rows))? };
        let measured =
            EvaluationSeries { table, moments, end: rows, horizons: horizons.clone(), part: None, baselines };
        let (measured, told) = measured.reaching(frame, &(from..rows));
        output::tell(&told.map(|told| format!("{}: {told}", file.display())));
        Ok(measured)
    }
}

impl EvaluationSeries {
    /// The same without horizons that no forecast of `part` reaches, and what is worth a word about these.
    fn reaching(mut self, frame: &Frame, part: &Range<usize>) -> (Self, Option<String>) {
        let (near, far): (Vec<usize>, Vec<usize>) =
            self.horizons.iter().partition(|&&horizon| !moments(frame, part, &[horizon]).is_empty());
        let told = far.first().map(|horizon| {
            format!(
                "horizon {} is not measured: expected {horizon} rows or more behind the {} that a forecast sees, found {} to measure of {}",
                far.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
                frame.reach(),
                part.len(),
                counted(self.table.rows(), "row")
            )
        });
        if let Some(baselines) = &mut self.baselines {
            baselines.keep(&near);
        }
        self.horizons = near;
        (self, told)
    }
}

/// The baselines on another table, by what the training rows say, if these are still there and those of the training.
fn learned<D: Device>(
    task: &ForecastConfig,
    (seed, state): (u64, &RunState),
    table: &SeriesTable,
    part: &Range<usize>,
) -> Result<Option<Baselines>> {
    let own = ForecastTask::read(task.clone(), seed).and_then(|mut run| {
        Task::<D>::restore(&mut run, &state.task)?;
        Ok(run)
    });
    match own {
        Ok(run) => run.measure_on(table, part).map(Some),
        Err(error) => {
            output::complain(&format!("no baselines, which come of the training rows: {error}"));
            Ok(None)
        }
    }
}

fn expect_some(moments: Range<usize>, rows: usize, frame: &Frame) -> Result<Range<usize>> {
    if !moments.is_empty() {
        return Ok(moments);
    }
    Err(Error::usage(format!(
        "expected rows for one forecast or more, {} that are seen before it and the first horizon behind it, found {}",
        frame.reach(),
        counted(rows, "row")
    )))
}

fn write_rows(path: &Path, rows: &[WindowRow], names: &[&str]) -> std::result::Result<(), Failure> {
    let mut text = String::from("row,column,mse,surprise\n");
    for row in rows {
        let name = names.get(row.column).copied().unwrap_or_default();
        let fields = [
            (row.moment + 1).to_string(),
            name.to_owned(),
            row.mse.map_or(String::new(), |mse| mse.to_string()),
            row.surprise.to_string(),
        ];
        text.push_str(&output::csv_line(fields)?);
        text.push('\n');
    }
    Ok(output::write_whole(path, text.as_bytes())?)
}

/// Error and surprise over the rows, means over the columns.
fn draw(path: &Path, rows: &[WindowRow]) -> Result<()> {
    use crate::train::plot::{Curve, Labels, lines};
    // Of the columns that have a number.
    let mean = |name: &str, value: fn(&WindowRow) -> Option<f64>| {
        let of = |rows: &[WindowRow]| {
            let known: Vec<f64> = rows.iter().filter_map(value).collect();
            (!known.is_empty()).then(|| (rows[0].moment as f64 + 1.0, known.iter().sum::<f64>() / known.len() as f64))
        };
        let points = rows.chunk_by(|a, b| a.moment == b.moment).filter_map(of);
        Curve { name: name.into(), points: points.collect(), marked: false }
    };
    let curves =
        [mean("mean squared error of the forecast", |r| r.mse), mean("surprise of the memory", |r| Some(r.surprise))];
    let labels = Labels { title: "Error and surprise", x: "row", y: "squared deviations; inner loss" };
    lines(path, &labels, &curves)
}

fn print(report: &Report) -> std::result::Result<(), Failure> {
    let Report { windows, columns, rows_seen, memory, carry, baselines, .. } = report;
    let carried = if *carry { ", carried on from forecast to forecast" } else { "" };
    output::print(format_args!(
        "{} of {} from {} each, memory {memory}{carried}; errors in standardised units",
        counted(windows, "forecast"),
        counted(columns, "column"),
        counted(rows_seen, "row")
    ))?;
    let mut table: Vec<(String, &Scores)> = vec![("model".into(), &report.horizons)];
    if let Some(b) = baselines {
        table.push(("linear".into(), &b.linear));
        table.push((
            if b.season == 1 { "last row, too".into() } else { format!("last {} rows", b.season) },
            &b.seasonal,
        ));
        table.push(("last row".into(), &b.last));
    }
    let cell = |s: &Score| format!("{} / {}", output::places(s.mse), output::places(s.mae));
    let cells = |scores: &Scores| scores.0.values().chain([&scores.mean()]).map(cell).collect::<Vec<_>>();
    let heads = report.horizons.0.keys().map(usize::to_string).chain(["mean".into()]).collect();
    let rows = table.into_iter().map(|(name, scores)| (name, cells(scores)));
    let rows: Vec<(String, Vec<String>)> = std::iter::once(("mse / mae".into(), heads)).chain(rows).collect();
    let width = rows.iter().flat_map(|(_, cells)| cells).map(String::len).max().unwrap_or(0).max(CELL);
    for (name, cells) in rows {
        let cells = cells.iter().map(|cell| format!(" {cell:>width$}")).collect::<String>();
        output::print(format_args!("{name:<CELL$}{cells}"))?;
    }
    Ok(())
}
