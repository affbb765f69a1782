//! Recall against length.

use super::Args;
use crate::cli::{Failure, output};
use crate::device::Device;
use crate::model::Model;
use crate::task::recall::{Recall, RecallConfig};
use crate::task::table::Table;

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    mut task: RecallConfig,
    seed: u64,
    model: &Model<D>,
) -> Result<(), Failure> {
    if !args.lengths.is_empty() {
        task.lengths.clone_from(&args.lengths);
    }
    task.sequences = args.sequences.unwrap_or(task.sequences);
    let table = Recall::new(task, seed)?
        .table(device, model, &mut |_| {})
        .map_err(|error| Failure::hinting(error, "or measure shorter sequences (--lengths)"))?;
    if args.json { output::print_json(&table) } else { print(&table) }
}

/// The table for people.
pub fn print(table: &Table) -> Result<(), Failure> {
    output::print(format_args!("\nrecall by length of the sequence; chance is about 3 %\n{table}"))?;
    output::print("on: the memory writes while it reads; frozen: it does not; absent: no memory")
}
