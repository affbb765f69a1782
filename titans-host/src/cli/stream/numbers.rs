//! Rows of numbers in, predictions and surprise out.

use super::lines::{Line, LineReader};
use super::{Args, Live, blocks};
use crate::cli::{Failure, output};
use crate::data::series::{Column, TableLayout, no_record};
use crate::error::{Error, Result, brief, counted};
use crate::model::Step;
use crate::task::series::SeriesConfig;
use crate::train::Interrupt;
use std::cell::Cell;

/// How rows become the model's patches and its predictions rows.
pub(super) struct Patches {
    columns: Vec<Column>,
    /// Rows of a patch.
    rows: usize,
    /// Whether the columns have names.
    named: bool,
    /// How rows are written down.
    layout: TableLayout,
    /// Fields of the first line: a row that lacks one of a whole row's may have as many as the run has columns.
    fields: Cell<Option<usize>>,
    /// Gaps are told from numbers, as NaN, whatever stands for them.
    marked: bool,
}

impl Patches {
    /// As the series task trained it.
    pub(super) fn of(task: &SeriesConfig, size: usize) -> Self {
        if task.width() != size {
            return Self::plain(size);
        }
        Self {
            columns: task.columns.clone(),
            rows: task.patch,
            named: true,
            layout: task.layout.clone(),
            fields: Cell::default(),
            marked: false,
        }
    }

    /// Rows of a table, one by one, in a run's units; NaN for a gap, which is no number that was measured.
    pub(super) fn table(columns: &[Column], layout: &TableLayout) -> Self {
        let (columns, layout) = (columns.to_vec(), layout.clone());
        Self { columns, rows: 1, named: true, layout, fields: Cell::default(), marked: true }
    }

    /// Numbers as they are, a row a token.
    pub(super) fn plain(size: usize) -> Self {
        let column = |i: usize| Column { name: i.to_string(), mean: 0.0, deviation: 1.0, whole: false };
        let columns = (0..size).map(column).collect();
        let (layout, fields) = (TableLayout::default(), Cell::default());
        Self { columns, rows: 1, named: false, layout, fields, marked: false }
    }

    /// The numbers of a line in the model's units; none for a header: a first line that names the columns, or in which
    /// nothing is a number.
    pub(super) fn read(&self, line: u64, record: &csv::StringRecord, first: bool) -> Result<Option<Vec<f32>>> {
        let fields: Vec<&str> = record.iter().map(str::trim).collect();
        let found = fields.len();
        let fields = self.kept(fields);
        let width = self.fields.get().unwrap_or(found);
        if fields.len() == self.columns.len() && found != width {
            return Err(Error::usage(format!(
                "standard input, line {line}: expected {} as in the first line, found {found}: {}",
                counted(width, "field"),
                brief(&fields.join(","))
            )));
        }
        self.fields.set(Some(width));
        if first && self.is_header(&fields, line)? {
            return Ok(None);
        }
        let one = |(column, field): (&Column, &&str)| {
            let gap = self.marked && self.layout.number(field) == Ok(None);
            let number = if gap { Ok(f64::NAN) } else { column.number(field, &self.layout) };
            let way_out = if self.named { format!("; {}", self.layout.advice(field)) } else { String::new() };
            number.map(|x| x as f32).map_err(|reason| format!(", column {}: {reason}{way_out}", column.name))
        };
        let read: std::result::Result<_, String> = match self.columns.len() == fields.len() {
            true => self.columns.iter().zip(&fields).map(one).collect(),
            false => Err(format!(": {}, found {found}: {}", self.expected(), brief(&fields.join(",")))),
        };
        read.map(Some).map_err(|reason| Error::usage(format!("standard input, line {line}{reason}")))
    }

    /// How many fields a row has.
    fn expected(&self) -> String {
        let (columns, beside) = (self.columns.len(), self.layout.skipped().len());
        if !self.named {
            return format!(
                "expected {} (a blob takes the rows of a patch side by side; of a forecaster name the run instead)",
                counted(columns, "field")
            );
        }
        let ends = match self.layout.byte() {
            b';' => "a semicolon",
            b'\t' => "a tab",
            _ => "a comma",
        };
        let whole =
            if beside > 0 { format!(", or {} as in its training file", columns + beside) } else { String::new() };
        format!("expected {} of the run's columns{whole}, which end with {ends}", counted(columns, "field"))
    }

    /// The fields that the run reads of a whole row; in a run of before there were layouts, all but a date before them.
    fn kept<'a>(&self, fields: Vec<&'a str>) -> Vec<&'a str> {
        let skipped = match &self.layout.left_out {
            Some(_) => self.layout.skipped(),
            None if self.named && fields[0].parse::<f64>().is_err() => vec![0],
            None => Vec::new(),
        };
        if fields.len() != self.columns.len() + skipped.len() {
            return fields;
        }
        fields.into_iter().enumerate().filter(|(i, _)| !skipped.contains(i)).map(|(_, field)| field).collect()
    }

    /// Whether a first line is a header, which must name the columns of the run.
    fn is_header(&self, fields: &[&str], line: u64) -> Result<bool> {
        let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
        // A column without a name is called by its number.
        let same = |(field, name): (&&str, &&str)| field == name || field.is_empty();
        let all = fields.len() == names.len() && fields.iter().zip(&names).all(same);
        if self.named && all && fields.iter().any(|field| !field.is_empty()) {
            return Ok(true);
        }
        let number = |field: &&str| field.parse::<f64>().is_ok() || matches!(self.layout.number(field), Ok(Some(_)));
        let gap = |field: &&str| self.layout.number(field) == Ok(None);
        if fields.iter().any(number) || fields.iter().all(gap) {
            return Ok(false);
        }
        match self.named {
            true => Err(Error::usage(format!(
                "standard input, line {line}: expected the run's columns {}, found {}",
                names.join(", "),
                brief(&fields.join(", ")).trim_matches('"')
            ))),
            false => Ok(true),
        }
    }

    fn header(&self, blocks: &[usize]) -> Vec<String> {
        let row = |r: usize| {
            let behind = if self.rows > 1 { format!("_{r}") } else { String::new() };
            self.columns.iter().map(move |c| format!("prediction_{}{behind}", c.name))
        };
        let surprises = blocks.iter().map(|block| format!("surprise_{block}"));
        (0..self.rows).flat_map(row).chain(surprises).collect()
    }

    /// The prediction in the input's units, and the surprise of each of so many blocks: 0 where no memory is asked.
    fn values(&self, step: &Step<f32>, blocks: usize) -> Vec<String> {
        let mean = |heads: &Vec<f32>| f64::from(heads.iter().sum::<f32>()) / heads.len().max(1) as f64;
        let columns = self.columns.iter().cycle();
        let predictions = step.logits.iter().zip(columns).map(|(&x, c)| (c.restore(f64::from(x)), c.deviation));
        let surprises = step.surprise.iter().map(mean).chain(std::iter::repeat(0.0)).take(blocks);
        predictions.chain(surprises.map(|x| (x, x.abs()))).map(|(x, scale)| output::digits(x, scale)).collect()
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
        let are = if left == 1 { "is" } else { "are" };
        let (rows, of) = (counted(left, "row"), patches.rows);
        output::complain(&format!("{rows} at the end {are} no whole patch of {of}; {then}"));
    }
    Ok(())
}

fn read(live: &mut Live<'_>, patches: &Patches, interrupt: &Interrupt) -> std::result::Result<(), Failure> {
    let (mut lines, mut headed) = (LineReader::new(&patches.layout), false);
    let (mut first, blocks) = (true, blocks(live)?);
    // Lines of the open patch: none of a patch that an earlier run began.
    let mut began = None;
    while !interrupt.requested() {
        let line = match lines.next()? {
            Line::Is(line) => line,
            Line::NotYet => {
                live.keep()?;
                continue;
            }
            Line::End => return Ok(()),
        };
        let mut fields = csv::ReaderBuilder::new();
        fields.has_headers(false).flexible(true).delimiter(patches.layout.byte());
        let mut fields = fields.from_reader(&line[..]);
        let mut record = csv::StringRecord::new();
        let number = lines.number();
        // The reader has seen this row alone.
        let wrong = |e: csv::Error| Error::usage(format!("standard input, {}", no_record(e, |_| number)));
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
            output::print(output::csv_line(patches.header(&blocks))?)?;
            headed = true;
        }
        output::print(output::csv_line(patches.values(&step, blocks.len()))?)?;
        live.keep()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Patches, Step};
    use crate::data::series::{Column, Gaps, TableLayout};

    #[test]
    fn gaps_of_a_table_are_no_numbers_and_headers_may_have_gaps() {
        for gaps in [Gaps::Mean, Gaps::Hold] {
            let layout = TableLayout { gaps, left_out: Some(Vec::new()), ..TableLayout::default() };
            let column = |name: &str| Column { name: name.into(), mean: 1.0, deviation: 2.0, whole: false };
            let patches = Patches::table(&["na", "2"].map(column), &layout);
            let read = |fields: [&str; 2], first| {
                patches.read(1, &csv::StringRecord::from(fields.to_vec()), first).unwrap().map(|row| format!("{row:?}"))
            };
            assert_eq!(read(["na", ""], true), None, "a header");
            assert_eq!(read(["", "NA"], true).unwrap(), "[NaN, NaN]", "a row");
            assert_eq!(read(["5", ""], false).unwrap(), "[2.0, NaN]");
        }
    }

    #[test]
    fn columns_of_surprise_have_the_numbers_of_their_blocks() {
        let patches = Patches::plain(2);
        assert_eq!(patches.header(&[1, 3]).join(","), "prediction_0,prediction_1,surprise_1,surprise_3");
        let step = |surprise| Step { logits: vec![0.5, -1.0], surprise };
        assert_eq!(patches.values(&step(vec![vec![1.0, 2.0], vec![4.0]]), 2).join(","), "0.5,-1,1.5,4");
        // Without memory no surprise is told; the columns stay.
        assert_eq!(patches.values(&step(Vec::new()), 2).join(","), "0.5,-1,0,0");
    }
}
