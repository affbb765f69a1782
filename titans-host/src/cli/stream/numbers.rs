//! Rows of numbers in, predictions and surprise out.

use super::input::{Input, Piece};
use super::{Args, Live, blocks};
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
        if task.width() != size {
            return Self::plain(size);
        }
        Self { columns: task.columns.clone(), rows: task.patch, named: true }
    }

    /// Numbers as they are, a row a token.
    pub(super) fn plain(size: usize) -> Self {
        let column = |i: usize| Column { name: i.to_string(), mean: 0.0, deviation: 1.0 };
        Self { columns: (0..size).map(column).collect(), rows: 1, named: false }
    }

    /// The numbers of a line in the model's units; none for a header, a first line in which nothing is a number. A first field
    /// more than there are columns that is no number is a date.
    fn read(&self, line: u64, record: &csv::StringRecord, first: bool) -> Result<Option<Vec<f32>>> {
        let fields: Vec<&str> = record.iter().map(str::trim).collect();
        let dated = self.named && fields.len() == self.columns.len() + 1 && fields[0].parse::<f64>().is_err();
        let numbers = &fields[usize::from(dated)..];
        let one = |(column, field): (&Column, &&str)| {
            column.number(field).map(|x| x as f32).map_err(|reason| format!("column {}: {reason}", column.name))
        };
        let (expected, found) = (self.columns.len(), fields.join(","));
        let row = if self.named { "" } else { " (a blob takes the rows of a patch side by side)" };
        let read = match numbers.len() == expected {
            true => self.columns.iter().zip(numbers).map(one).collect(),
            false => Err(format!("expected {expected} finite numbers{row}, found {found}")),
        };
        if first && fields.iter().all(|field| field.parse::<f64>().is_err()) {
            return self.expect_header(&fields).map(|()| None);
        }
        read.map(Some).map_err(|reason| Error::usage(format!("standard input, line {line}, {reason}")))
    }

    /// A header must name the columns of the run, after one of dates if there is one more.
    fn expect_header(&self, fields: &[&str]) -> Result<()> {
        let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
        let skipped = usize::from(fields.len() == names.len() + 1);
        if self.named && fields[skipped..] != names[..] {
            let (expected, found) = (names.join(", "), fields[skipped..].join(", "));
            return Err(Error::usage(format!("standard input: expected the run's columns {expected}, found {found}")));
        }
        Ok(())
    }

    fn header(&self, blocks: &[usize]) -> String {
        let row = |r: usize| {
            let behind = if self.rows > 1 { format!("_{r}") } else { String::new() };
            self.columns.iter().map(move |c| format!("prediction_{}{behind}", c.name))
        };
        let surprises = blocks.iter().map(|block| format!("surprise_{block}"));
        (0..self.rows).flat_map(row).chain(surprises).collect::<Vec<_>>().join(",")
    }

    /// The prediction in the input's units, and the surprise of each of so many blocks: 0 where no memory is asked.
    fn values(&self, step: &Step<f32>, blocks: usize) -> String {
        let mean = |heads: &Vec<f32>| f64::from(heads.iter().sum::<f32>()) / heads.len().max(1) as f64;
        let columns = self.columns.iter().cycle();
        let predictions = step.logits.iter().zip(columns).map(|(&x, c)| c.restore(f64::from(x)));
        let surprises = step.surprise.iter().map(mean).chain(std::iter::repeat(0.0)).take(blocks);
        // Finite in standardised units may be too large for 32 bits in the input's.
        let text = |x: f64| if (x as f32).is_finite() { (x as f32).to_string() } else { format!("{x:e}") };
        predictions.chain(surprises).map(text).collect::<Vec<_>>().join(",")
    }
}

pub(super) fn run(
    args: &Args,
    live: &mut Live<'_>,
    patches: &Patches,
    interrupt: &Interrupt,
) -> std::result::Result<(), Failure> {
    if args.generate.is_some() || args.per_token.is_some() || args.json {
        return Err(
            Error::usage("--generate, --per-token and --json are for models of text; this one reads rows").into()
        );
    }
    let result = read(live, patches, interrupt);
    live.tell_resets();
    // Whatever ended it: what was predicted is in the state.
    live.save()?;
    result?;
    if let left @ 1.. = live.open.len() / patches.columns.len() {
        let then = if args.state.is_some() { "the next ones complete it" } else { "they were not read" };
        output::complain(&format!("{left} row(s) at the end are no whole patch of {}; {then}", patches.rows));
    }
    Ok(())
}

fn read(live: &mut Live<'_>, patches: &Patches, interrupt: &Interrupt) -> std::result::Result<(), Failure> {
    let (mut lines, mut headed) = (Lines { input: Input::new(), rest: Vec::new(), number: 0, ended: false }, false);
    let (mut first, blocks) = (true, blocks(live)?);
    // Lines of the open patch: none of a patch that an earlier run began.
    let mut began = None;
    while !interrupt.raised() {
        let line = match lines.next()? {
            Line::Is(line) => line,
            Line::NotYet => {
                live.keep()?;
                continue;
            }
            Line::End => return Ok(()),
        };
        let mut fields = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&line[..]);
        let mut record = csv::StringRecord::new();
        let number = lines.number;
        let wrong = |e: csv::Error| Error::usage(format!("standard input, line {number}: {e}"));
        if !fields.read_record(&mut record).map_err(wrong)? {
            continue; // an empty line
        }
        let numbers = patches.read(number, &record, std::mem::take(&mut first))?;
        if live.open.is_empty() {
            began = Some(number);
        }
        live.open.extend(numbers.into_iter().flatten());
        if live.open.len() < patches.rows * patches.columns.len() {
            continue;
        }
        let patch = std::mem::take(&mut live.open);
        let mut fed = live.feed(1, |session, _| session.take_rows(&patch))?;
        if let Some(position) = fed.refused {
            let place = match began {
                Some(began) if began < number => format!("standard input, lines {began} to {number}"),
                _ => format!("standard input, line {number}"),
            };
            return Err(Failure::failed(live.refusal(&place, position)));
        }
        let Some((_, step)) = fed.steps.pop() else { continue };
        if !headed {
            output::print(patches.header(&blocks))?;
            headed = true;
        }
        output::print(patches.values(&step, blocks.len()))?;
        live.keep()?;
    }
    Ok(())
}

/// Lines of standard input.
struct Lines {
    input: Input,
    rest: Vec<u8>,
    /// Of the line given last, from 1.
    number: u64,
    ended: bool,
}

enum Line {
    Is(Vec<u8>),
    NotYet,
    End,
}

impl Lines {
    fn next(&mut self) -> Result<Line> {
        loop {
            if let Some(end) = self.rest.iter().position(|&b| b == b'\n') {
                self.number += 1;
                return Ok(Line::Is(self.rest.drain(..=end).collect()));
            }
            if self.ended {
                self.number += 1;
                let last = std::mem::take(&mut self.rest);
                return Ok(if last.is_empty() { Line::End } else { Line::Is(last) });
            }
            match self.input.next()? {
                Piece::Bytes(bytes) => self.rest.extend(bytes),
                Piece::Nothing => return Ok(Line::NotYet),
                Piece::End => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Patches, Step};

    #[test]
    fn columns_of_surprise_have_the_numbers_of_their_blocks() {
        let patches = Patches::plain(2);
        assert_eq!(patches.header(&[1, 3]), "prediction_0,prediction_1,surprise_1,surprise_3");
        let step = |surprise| Step { logits: vec![0.5, -1.0], surprise };
        assert_eq!(patches.values(&step(vec![vec![1.0, 2.0], vec![4.0]]), 2), "0.5,-1,1.5,4");
        // Without memory no surprise is told; the columns stay.
        assert_eq!(patches.values(&step(Vec::new()), 2), "0.5,-1,0,0");
    }
}
