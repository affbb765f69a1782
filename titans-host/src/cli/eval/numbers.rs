//! Series: the error of the next patch.

use super::{Args, own};
use crate::cli::{Failure, output};
use crate::data::series;
use crate::device::Device;
use crate::error::{Error, Result, counted};
use crate::model::Model;
use crate::task::series::{SeriesConfig, SeriesTask, SeriesTotals, evaluate};
use crate::train::checkpoint::RunState;
use crate::train::task::Task;

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    task: SeriesConfig,
    run: (u64, &RunState),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    let window = args.window.unwrap_or(task.window);
    let numbers = args.numbers::<D>(task, run)?;
    let totals = evaluate(device, model, &numbers, (window, usize::MAX), args.mode())
        .map_err(|error| Failure::hinting(error, super::SHORTER))?;
    if args.json {
        return output::print_json(&totals);
    }
    let SeriesTotals { patches, mean_squared_error, unchanged } = totals;
    output::print(format_args!(
        "{}, mean squared error {mean_squared_error:.6} in standardised units ({unchanged:.6} if nothing changed)",
        counted(patches, "patch")
    ))
}

impl Args {
    /// The numbers to predict, standardised as in training.
    fn numbers<D: Device>(&self, task: SeriesConfig, (seed, state): (u64, &RunState)) -> Result<Vec<f64>> {
        let [file] = &self.data[..] else {
            if self.data.is_empty() {
                let mut series = SeriesTask::read(task, seed).map_err(own)?;
                Task::<D>::restore(&mut series, &state.task).map_err(own)?;
                output::tell(Task::<D>::notes(&series));
                return Ok(series.validation_numbers().to_vec());
            }
            return Err(Error::usage(format!("--data: expected one file of numbers, found {}", self.data.len())));
        };
        let read = series::read(file, &task.layout, &task.columns)?;
        output::tell(read.notes.iter().chain(&read.uneven(file)));
        let series = read.series;
        let named = |error: Error| Error::file(file, error.to_string());
        let mut numbers = series.z_scores(&task.columns).map_err(named)?;
        match self.tail {
            Some(share) => Ok(numbers.split_off(series.split(share, (0, 1))? * series.columns())),
            None => Ok(numbers),
        }
    }
}
