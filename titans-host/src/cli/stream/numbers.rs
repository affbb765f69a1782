//! Rows of numbers in, predictions and surprise out.

use super::{Args, Live};
use crate::cli::{Failure, output};
use crate::error::Error;
use crate::model::Step;
use crate::train::Interrupt;

pub(super) fn run(
    args: &Args,
    live: &mut Live<'_>,
    size: usize,
    interrupt: &Interrupt,
) -> std::result::Result<(), Failure> {
    if args.generate > 0 || args.per_token.is_some() || args.json {
        return Err(
            Error::usage("--generate, --per-token and --json are for models of text; this one reads rows").into()
        );
    }
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(std::io::stdin().lock());
    let mut headed = false;
    for (line, record) in rows.records().enumerate() {
        if interrupt.raised() {
            break;
        }
        let record = record.map_err(|e| Error::usage(format!("standard input: {e}")))?;
        let numbers: Result<Vec<f32>, _> = record.iter().map(|field| field.trim().parse::<f32>()).collect();
        let numbers = match numbers {
            Ok(numbers) if numbers.len() == size && numbers.iter().all(|x| x.is_finite()) => numbers,
            Err(_) if line == 0 => continue, // a header
            _ => {
                let found = record.iter().collect::<Vec<_>>().join(",");
                let line = line + 1;
                return Err(Error::usage(format!(
                    "standard input, line {line}: expected {size} finite numbers, found {found}"
                ))
                .into());
            }
        };
        let Some(step) = live.session.push_rows(&numbers)?.pop() else { continue };
        if !headed {
            output::print(header(&step))?;
            headed = true;
        }
        output::print(values(&step))?;
        live.keep()?;
    }
    live.save()?;
    Ok(())
}

fn header(step: &Step<f32>) -> String {
    let predictions = (0..step.logits.len()).map(|i| format!("prediction_{i}"));
    let surprises = (0..step.surprise.len()).map(|i| format!("surprise_{i}"));
    predictions.chain(surprises).collect::<Vec<_>>().join(",")
}

fn values(step: &Step<f32>) -> String {
    let mean = |heads: &Vec<f32>| heads.iter().sum::<f32>() / heads.len().max(1) as f32;
    let numbers = step.logits.iter().copied().chain(step.surprise.iter().map(mean));
    numbers.map(|x| x.to_string()).collect::<Vec<_>>().join(",")
}
