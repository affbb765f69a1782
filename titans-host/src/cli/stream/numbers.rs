//! Rows of numbers in, predictions and surprise out.

use super::{Args, Live};
use crate::cli::{Failure, output};
use crate::data::series::Column;
use crate::error::{Error, Result};
use crate::model::Step;
use crate::task::series::SeriesConfig;
use crate::train::Interrupt;

/// How rows become the model's patches and its predictions rows.
pub(super) struct Patches {
    columns: Vec<Column>,
    /// Rows of a patch.
    rows: usize,
    /// Columns before those that the model reads, e.g. a date.
    named: bool,
}

impl Patches {
    /// As the series task trained it.
    pub(super) fn of(task: &SeriesConfig, size: usize) -> Self {
        if task.columns.len() * task.patch != size {
            return Self::plain(size);
        }
        Self { columns: task.columns.clone(), rows: task.patch, named: true }
    }

    /// Numbers as they are, a row a token.
    pub(super) fn plain(size: usize) -> Self {
        let column = |i: usize| Column { name: i.to_string(), mean: 0.0, deviation: 1.0 };
        Self { columns: (0..size).map(column).collect(), rows: 1, named: false }
    }

    /// The numbers of a line in the model's units; none for a header. A first field more than there are columns is a date.
    fn read(&self, line: usize, record: &csv::StringRecord) -> Result<Option<Vec<f32>>> {
        let dated = usize::from(self.named && record.len() == self.columns.len() + 1);
        let fields: Vec<&str> = record.iter().skip(dated).map(str::trim).collect();
        let numbers: std::result::Result<Vec<f64>, _> = fields.iter().map(|field| field.parse::<f64>()).collect();
        match numbers {
            Ok(numbers) if numbers.len() == self.columns.len() && numbers.iter().all(|x| x.is_finite()) => {
                Ok(Some(self.columns.iter().zip(numbers).map(|(c, x)| c.standardise(x) as f32).collect()))
            }
            Err(_) if line == 0 => Ok(None),
            _ => Err(Error::usage(format!(
                "standard input, line {}: expected {} finite numbers, found {}",
                line + 1,
                self.columns.len(),
                record.iter().collect::<Vec<_>>().join(",")
            ))),
        }
    }

    fn header(&self, step: &Step<f32>) -> String {
        let row = |r: usize| {
            let behind = if self.rows > 1 { format!("_{r}") } else { String::new() };
            self.columns.iter().map(move |c| format!("prediction_{}{behind}", c.name))
        };
        let surprises = (0..step.surprise.len()).map(|i| format!("surprise_{i}"));
        (0..self.rows).flat_map(row).chain(surprises).collect::<Vec<_>>().join(",")
    }

    /// The prediction in the input's units, and the surprise of each block.
    fn values(&self, step: &Step<f32>) -> String {
        let mean = |heads: &Vec<f32>| f64::from(heads.iter().sum::<f32>()) / heads.len().max(1) as f64;
        let columns = self.columns.iter().cycle();
        let predictions = step.logits.iter().zip(columns).map(|(&x, c)| f64::from(x) * c.deviation + c.mean);
        predictions.chain(step.surprise.iter().map(mean)).map(|x| (x as f32).to_string()).collect::<Vec<_>>().join(",")
    }
}

pub(super) fn run(
    args: &Args,
    live: &mut Live<'_>,
    patches: &Patches,
    interrupt: &Interrupt,
) -> std::result::Result<(), Failure> {
    if args.generate > 0 || args.per_token.is_some() || args.json {
        return Err(
            Error::usage("--generate, --per-token and --json are for models of text; this one reads rows").into()
        );
    }
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(std::io::stdin().lock());
    let (mut patch, mut headed) = (Vec::new(), false);
    for (line, record) in rows.records().enumerate() {
        if interrupt.raised() {
            break;
        }
        let record = record.map_err(|e| Error::usage(format!("standard input: {e}")))?;
        let Some(numbers) = patches.read(line, &record)? else { continue };
        patch.extend(numbers);
        if patch.len() < patches.rows * patches.columns.len() {
            continue;
        }
        let Some(step) = live.session.push_rows(&patch)?.pop() else { continue };
        patch.clear();
        if !headed {
            output::print(patches.header(&step))?;
            headed = true;
        }
        output::print(patches.values(&step))?;
        live.keep()?;
    }
    live.save()?;
    if patch.is_empty() {
        return Ok(());
    }
    let left = patch.len() / patches.columns.len();
    output::complain(&format!(
        "{left} rows at the end are no whole patch of {}; the stream has not seen them",
        patches.rows
    ));
    Ok(())
}
