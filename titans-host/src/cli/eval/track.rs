//! Products of a group against the length of the word.

use super::Args;
use crate::cli::{Failure, output};
use crate::device::Device;
use crate::error::Error;
use crate::model::Model;
use crate::task::track::{Track, TrackConfig, TrackTable};

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    mut task: TrackConfig,
    seed: u64,
    model: &Model<D>,
) -> Result<(), Failure> {
    if !args.lengths.is_empty() {
        task.lengths.clone_from(&args.lengths);
    }
    task.sequences = args.sequences.unwrap_or(task.sequences);
    let task = Track::new(task, seed)?;
    let mut table = TrackTable::default();
    let row = |words: &[_]| task.row(device, model, words).map_err(|e| Failure::hinting(e, "or measure shorter words"));
    if args.data.is_empty() {
        for &length in &task.config().lengths {
            table.0.insert(length, row(&task.words(length))?);
        }
    } else if !args.lengths.is_empty() || args.sequences.is_some() {
        return Err(Error::usage(
            "--lengths and --sequences are for words that are drawn; those of --data are as they are",
        )
        .into());
    }
    for path in &args.data {
        let words = task.products().read(path)?;
        let length = words.first().map_or(0, Vec::len);
        if table.0.insert(length, row(&words)?).is_some() {
            return Err(Error::file(
                path,
                format!("expected words of another length in every file, found {length} again"),
            )
            .into());
        }
    }
    if args.json { output::print_json(&table) } else { print(&table) }
}

/// The table for people.
pub fn print(table: &TrackTable) -> Result<(), Failure> {
    output::print(format_args!("\nproducts by length of the word\n{table}"))?;
    output::print(
        "products, and words of which every product was right; frozen: products where the memory does not write",
    )
}
