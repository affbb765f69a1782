//! Needles by length and depth.

use super::{Args, own};
use crate::cli::{Failure, output};
use crate::data::haystack::{Haystack, read};
use crate::device::Device;
use crate::error::Result;
use crate::model::{Mode, Model};
use crate::task::needle::{COLUMNS, NeedleCell, NeedleConfig, NeedleLength, NeedleTable, NeedleTask, row};
use crate::train::checkpoint::RunState;
use crate::train::plot::{self, Labels};
use crate::train::task::Task;
use std::path::Path;
use titans_kernel::Choice;

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    config: NeedleConfig,
    (seed, state): (u64, &RunState),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    let task = args.needles::<D>(config, seed, state)?;
    let config = task.config();
    let text = if args.data.is_empty() && config.haystack.is_empty() { "noise" } else { "text" };
    let mut table = NeedleTable::new(config, text, args.mode().name());
    let mut items = output::csv_line(COLUMNS.map(str::to_owned))? + "\n";
    for &length in &config.lengths {
        measure(device, args, (&task, length), model, (&mut table, &mut items))
            .map_err(|e| Failure::hinting(e, "or measure shorter sequences (--lengths)"))?;
    }
    if let Some(path) = &args.per_item {
        output::write_whole(path, items.as_bytes())?;
    }
    if let Some(path) = &args.picture {
        draw(path, &table)?;
    }
    if args.json { output::print_json(&table) } else { print(&table) }
}

/// One length.
fn measure<D: Device>(
    device: &D,
    args: &Args,
    (task, length): (&NeedleTask, usize),
    model: &Model<D>,
    (table, rows): (&mut NeedleTable, &mut String),
) -> Result<()> {
    let first = table.cells.len();
    let mut others = [(Mode::Frozen, 0.0), (Mode::Absent, 0.0)];
    let compares = args.memory.is_none() && !args.no_baselines && model.config().remembering().next().is_some();
    for &depth in &task.config().depths {
        let items = task.items(length, Some(depth))?;
        let found = task.find(device, model, &items, args.mode())?;
        for (item, found) in items.iter().zip(&found) {
            let line = output::csv_line(row(item, found, &found.said(task.tokenizer())));
            rows.push_str(&line.map_err(|e| crate::Error::usage(e.to_string()))?);
            rows.push('\n');
        }
        table.cells.push(NeedleCell::of(length, depth, &found));
        for (mode, sum) in others.iter_mut().filter(|_| compares) {
            *sum += NeedleCell::of(length, depth, &task.find(device, model, &items, *mode)?).accuracy;
        }
    }
    let mut whole = NeedleLength::of(length, &table.cells[first..]);
    if compares {
        let share = |sum: f64| Some(sum / task.config().depths.len() as f64);
        (whole.frozen, whole.absent) = (share(others[0].1), share(others[1].1));
    }
    table.lengths.push(whole);
    Ok(())
}

impl Args {
    /// The run's task, with what this verb asks of it.
    fn needles<D: Device>(&self, mut config: NeedleConfig, seed: u64, state: &RunState) -> Result<NeedleTask> {
        if self.tokenizer.is_some() {
            config.tokenizer.clone_from(&self.tokenizer);
        }
        // The checkpoint's curriculum fits to the lengths of training.
        let mut task = NeedleTask::read(config.clone(), seed).map_err(own)?;
        Task::<D>::restore(&mut task, &state.task).map_err(own)?;
        if !self.lengths.is_empty() {
            config.lengths.clone_from(&self.lengths);
        }
        if !self.depths.is_empty() {
            config.depths.clone_from(&self.depths);
        }
        config.samples = self.sequences.unwrap_or(config.samples);
        task.ask(config)?;
        if !self.data.is_empty() {
            let (texts, notes) = read(&self.data)?;
            output::tell(&notes);
            let texts = Haystack::texts(task.tokenizer(), &texts).map_err(|e| e.in_files(&self.data))?;
            task.set_haystack(texts);
        }
        Ok(task)
    }
}

fn draw(path: &Path, table: &NeedleTable) -> Result<()> {
    let mut depths: Vec<f64> = Vec::new();
    for cell in &table.cells {
        if !depths.contains(&cell.depth) {
            depths.push(cell.depth);
        }
    }
    let columns: Vec<String> = table.lengths.iter().map(|row| row.length.to_string()).collect();
    let rows: Vec<String> = depths.iter().map(|depth| format!("{depth} %")).collect();
    let at = |length, depth| {
        let cell = table.cells.iter().find(|cell| cell.length == length && cell.depth == depth);
        cell.map(|cell| cell.accuracy)
    };
    let shares: Vec<Vec<Option<f64>>> =
        depths.iter().map(|&depth| table.lengths.iter().map(|row| at(row.length, depth)).collect()).collect();
    let title = format!("Needles found ({}, {})", table.kind.name(), table.haystack);
    let x = if table.tokens == "bytes" { "length in bytes" } else { "length in tokens" };
    plot::heat(path, &Labels { title: &title, x, y: "depth" }, (&columns, &rows), &shares)
}

fn print(table: &NeedleTable) -> std::result::Result<(), Failure> {
    let NeedleTable { kind, haystack, tokens, chance, .. } = table;
    output::print(format_args!(
        "\n{} in {haystack} by length, a token: {tokens}; chance {chance:.1e}\n{table}",
        kind.name()
    ))?;
    output::print(
        "share of samples whose whole value is written; on: the memory writes, frozen: it does not; absent: no memory",
    )
}
