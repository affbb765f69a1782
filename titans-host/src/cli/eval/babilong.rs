//! Questions about stories in noise, by task and length.

use super::forecast::PartName;
use super::{Args, own};
use crate::cli::{Failure, output};
use crate::data::haystack::{Haystack, Hidden, read};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Mode, Model};
use crate::task::babilong::{
    Ask, BABILONG_COLUMNS, BabilongConfig, BabilongRow, BabilongTable, BabilongTask, babilong_row,
};
use crate::task::hidden::FoundAnswer;
use crate::train::checkpoint::RunState;
use crate::train::plot::{self, Labels};
use crate::train::task::Task;
use std::path::Path;
use titans_kernel::Choice;

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    config: BabilongConfig,
    (seed, state): (u64, &RunState),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    let (task, asks) = args.stories::<D>(config, seed, state)?;
    let config = task.config();
    let valid = args.part == Some(PartName::Valid);
    let tokens = if config.tokenizer.is_some() { "bpe" } else { "bytes" };
    let mut table = BabilongTable {
        part: if valid { "valid" } else { "test" },
        tokens,
        memory: args.mode().name(),
        rows: Vec::new(),
        baselines: None,
    };
    if !args.no_baselines {
        let of = |&number: &usize| {
            let asks: Vec<&Ask> = asks.iter().filter(|ask| ask.task == number).collect();
            (format!("qa{number}"), task.baselines(number, &asks))
        };
        table.baselines = Some(config.questions.iter().map(of).collect());
    }
    let lengths = if args.lengths.is_empty() { &config.lengths } else { &args.lengths };
    let mut items = output::csv_line(BABILONG_COLUMNS.map(str::to_owned))? + "\n";
    for &length in lengths {
        measure(device, args, (&task, &asks, length), model, (&mut table, &mut items))
            .map_err(|e| Failure::hinting(e, "or measure shorter sequences (--lengths)"))?;
    }
    if let Some(path) = &args.per_item {
        output::write_whole(path, items.as_bytes())?;
    }
    if let Some(path) = &args.picture {
        draw(path, &table, lengths)?;
    }
    if args.json {
        return output::print_json(&table);
    }
    output::print(format_args!("\n{} questions by length, a token: {tokens}\n{table}", table.part))?;
    output::print(
        "share of whole answers that are written; on: the memory writes, frozen: it does not; absent: no memory",
    )
}

/// All tasks at one length.
fn measure<D: Device>(
    device: &D,
    args: &Args,
    (task, asks, length): (&BabilongTask, &[Ask], usize),
    model: &Model<D>,
    (table, items): (&mut BabilongTable, &mut String),
) -> Result<()> {
    let samples = task.hide(asks, length);
    let found = task.find(device, model, &samples, args.mode())?;
    for ((ask, sample), found) in asks.iter().zip(&samples).zip(&found) {
        let row = babilong_row(ask, (length, sample.len()), found, &found.said(task.tokenizer()));
        *items += &output::csv_line(row).map_err(|e| Error::usage(e.to_string()))?;
        items.push('\n');
    }
    let compares = args.memory.is_none() && !args.no_baselines && model.config().remembering().next().is_some();
    let other = |mode| if compares { task.find(device, model, &samples, mode).map(Some) } else { Ok(None) };
    let (frozen, absent) = (other(Mode::Frozen)?, other(Mode::Absent)?);
    for &number in &task.config().questions {
        let of = |found: &[FoundAnswer]| -> BabilongRow {
            let own = asks.iter().zip(found).filter(|(ask, _)| ask.task == number);
            let own: Vec<&FoundAnswer> = own.map(|(_, found)| found).collect();
            let tokens = asks.iter().zip(&samples).filter(|(ask, _)| ask.task == number);
            BabilongRow::of(number, length, tokens.map(|(_, sample)| Hidden::len(sample)).sum(), &own)
        };
        let mut row = of(&found);
        row.frozen = frozen.as_deref().map(|found| of(found).accuracy);
        row.absent = absent.as_deref().map(|found| of(found).accuracy);
        table.rows.push(row);
    }
    Ok(())
}

impl Args {
    /// The run's task, and the questions that are asked.
    fn stories<D: Device>(
        &self,
        config: BabilongConfig,
        seed: u64,
        state: &RunState,
    ) -> Result<(BabilongTask, Vec<Ask>)> {
        let mut config = config;
        if self.tokenizer.is_some() {
            config.tokenizer.clone_from(&self.tokenizer);
        }
        if let Some(samples) = self.sequences {
            config.samples = samples.saturating_mul(config.questions.len());
        }
        let mut task = BabilongTask::read(config, seed).map_err(own)?;
        Task::<D>::restore(&mut task, &state.task).map_err(own)?;
        if !self.data.is_empty() {
            let (texts, notes) = read(&self.data)?;
            output::tell(&notes);
            let texts = Haystack::texts(task.tokenizer(), &texts).map_err(|e| e.in_files(&self.data))?;
            task.set_noise(texts);
        }
        if self.part == Some(PartName::Valid) {
            let asks = task.valid().to_vec();
            return Ok((task, asks));
        }
        let mut asks = task.test()?;
        if let Some(most) = self.sequences {
            let mut taken = std::collections::BTreeMap::<usize, usize>::new();
            asks.retain(|ask| {
                let n = taken.entry(ask.task).or_default();
                *n += 1;
                *n <= most
            });
        }
        Ok((task, asks))
    }
}

fn draw(path: &Path, table: &BabilongTable, lengths: &[usize]) -> Result<()> {
    let mut tasks: Vec<String> = Vec::new();
    for row in &table.rows {
        if !tasks.contains(&row.task) {
            tasks.push(row.task.clone());
        }
    }
    let at = |task: &str, length| {
        let row = table.rows.iter().find(|row| row.task == task && row.length == length);
        row.map(|row| row.accuracy)
    };
    let shares: Vec<Vec<Option<f64>>> =
        tasks.iter().map(|task| lengths.iter().map(|&length| at(task, length)).collect()).collect();
    let columns: Vec<String> = lengths.iter().map(usize::to_string).collect();
    let title = format!("BABILong, {} questions answered", table.part);
    let x = if table.tokens == "bytes" { "length in bytes" } else { "length in tokens" };
    plot::heat(path, &Labels { title: &title, x, y: "task" }, (&columns, &tasks), &shares)
}
