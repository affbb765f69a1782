//! Series: the error of the next patch.

use super::Args;
use crate::cli::{Failure, output};
use crate::data::series;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::task::series::{SeriesConfig, SeriesTask, Totals, evaluate};

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    task: SeriesConfig,
    seed: u64,
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    let window = args.window.unwrap_or(task.window);
    let numbers = args.numbers(task, seed)?;
    let totals = evaluate(device, model, &numbers, (window, usize::MAX), args.mode())?;
    if args.json {
        return output::print_json(&totals);
    }
    let Totals { patches, mean_squared_error, unchanged } = totals;
    output::print(format_args!(
        "{patches} patches, mean squared error {mean_squared_error:.6} in standardised units ({unchanged:.6} if nothing changed)"
    ))
}

impl Args {
    /// The numbers to predict, standardised as in training.
    fn numbers(&self, task: SeriesConfig, seed: u64) -> Result<Vec<f64>> {
        let [file] = &self.data[..] else {
            if self.data.is_empty() {
                return Ok(SeriesTask::read(task, seed)?.validation_numbers().to_vec());
            }
            return Err(Error::usage(format!("--data: expected one file of numbers, found {}", self.data.len())));
        };
        let series = series::read(file)?;
        let mut numbers = series.standardised(&task.columns)?;
        match self.tail {
            Some(share) => Ok(numbers.split_off(series.split(share, (0, 1))? * series.columns())),
            None => Ok(numbers),
        }
    }
}
