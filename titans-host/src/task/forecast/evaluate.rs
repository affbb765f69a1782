//! Forecasts of a model: from fresh memories at every moment, or carried on from moment to moment.

use super::frame::SeriesTable;
use super::{Frame, Level};
use crate::device::Device;
use crate::model::{Head, Input, Mode, Model, Source};
use crate::tape::{Shared, Tape};
use crate::train::task::Load;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use titans_kernel::Scalar;

/// Numbers of tokens and forecasts that are on the device at once, at most, but for one sequence.
const AT_ONCE: usize = 1 << 22;

/// One forecast of one column.
#[derive(Clone, Copy, Debug)]
pub struct Forecast<'a> {
    /// The first row that is forecast; rows before it were seen.
    pub moment: usize,
    /// The column.
    pub column: usize,
    /// The forecast, row by row, in standardised units.
    pub said: &'a [f64],
    /// The mean inner loss of all memories at the last token read; 0 where none is asked.
    pub surprise: f64,
}

/// What the memories do from one moment to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Whether they may write, and whether they are there.
    pub mode: Mode,
    /// They go on from the moment a token's length before, back to the first, instead of beginning anew before every
    /// forecast.
    pub carry: bool,
    /// Whether the surprise is asked for.
    pub surprise: bool,
}

/// Sequences that are forecast together: the moments of their first tokens, and their lanes.
struct Sequences<'a> {
    starts: &'a [(usize, usize)],
    /// Tokens of each.
    time: usize,
    /// The first token whose forecast is asked for.
    from: usize,
}

/// Forecasts from every one of `moments`, in an order of its own. Fresh memories read a whole sequence before each.
/// Those that are carried begin with a whole sequence at the first moments, one for every row of a patch, and go on
/// from there, through the moments between that are a patch apart, asked for or not; what a forecast has seen lies
/// before its moment all the same.
///
/// # Errors
/// [`Error::Usage`] for a model of another frame, for rows that are not there; [`Error::Diverged`] with the first
/// moment whose forecast is not finite; what the device and `visit` report.
pub fn forecast<D: Device>(
    device: &D,
    model: &Model<D>,
    (frame, table): (&Frame, &SeriesTable),
    moments: &[usize],
    manner: Manner,
    mut visit: impl FnMut(Forecast<'_>) -> Result<()>,
) -> Result<()> {
    let c = model.config();
    if c.head != Head::Regression || (c.inputs, c.outputs) != (frame.inputs(), frame.outputs()) {
        return Err(Error::usage(format!(
            "the model forecasts no such series: expected tokens of {} numbers and forecasts of {}, found {} and {}",
            frame.inputs(),
            frame.outputs(),
            c.inputs,
            c.outputs
        )));
    }
    let before = frame.reach() - frame.lookback;
    let starts: Vec<usize> = moments.iter().filter_map(|moment| moment.checked_sub(before)).collect();
    let good = |&start: &usize| start >= frame.lookback && start + before <= table.rows();
    if starts.len() < moments.len() || !starts.iter().all(good) {
        return Err(Error::usage(format!(
            "a forecast sees the {} rows before it (look-back {}, {} more tokens {} rows apart), and {} rows are there; give more rows, \
             a shorter --lookback or --context",
            frame.reach(),
            frame.lookback,
            frame.context - 1,
            frame.patch,
            table.rows()
        )));
    }
    let mut run = |starts: &[(usize, usize)], time: usize, from: usize| {
        let one = time.saturating_mul(frame.inputs().saturating_add(frame.outputs()));
        for starts in starts.chunks((AT_ONCE / one.max(1)).max(1)) {
            batch(device, model, (frame, table), &Sequences { starts, time, from }, manner, &mut visit)?;
        }
        Ok(())
    };
    let lanes = |start: usize| (0..frame.lanes()).map(move |lane| (start, lane));
    if !manner.carry {
        let starts: Vec<_> = starts.into_iter().flat_map(lanes).collect();
        return run(&starts, frame.context, frame.context - 1);
    }
    // One stream for each row of a patch: its first and its last start.
    let mut streams: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for start in starts {
        let ends = streams.entry(start % frame.patch).or_insert((start, start));
        *ends = (ends.0.min(start), ends.1.max(start));
    }
    for (first, last) in streams.into_values() {
        let time = (last - first) / frame.patch + frame.context;
        run(&lanes(first).collect::<Vec<_>>(), time, frame.context - 1)?;
    }
    Ok(())
}

/// What the largest batch of fresh forecasts takes.
pub(super) fn load<T: Scalar>(frame: &Frame, sequences: usize) -> Load {
    let numbers = frame.inputs().saturating_add(frame.outputs());
    let batch = (AT_ONCE / frame.context.saturating_mul(numbers).max(1)).clamp(1, sequences.max(1));
    let tokens = batch.saturating_mul(frame.context);
    Load { batch, time: frame.context, surprise: false, host: tokens.saturating_mul(2 * numbers * (8 + T::BYTES)) }
}

fn batch<D: Device>(
    device: &D,
    model: &Model<D>,
    (frame, table): (&Frame, &SeriesTable),
    sequences: &Sequences<'_>,
    manner: Manner,
    visit: &mut impl FnMut(Forecast<'_>) -> Result<()>,
) -> Result<()> {
    let &Sequences { starts, time, from } = sequences;
    let (mut rows, mut levels) = (Vec::with_capacity(starts.len() * time * frame.inputs()), Vec::new());
    for &(start, lane) in starts {
        levels.extend((0..time).map(|t| frame.token(table, start + t * frame.patch, lane, &mut rows)));
    }
    let rows: Vec<D::Elem> = rows.into_iter().map(D::Elem::from_f64).collect();
    let rows = Shared::new(device.upload(&rows)?);
    let mut tape = Tape::inference(device, &model.params);
    let input =
        Input { mode: manner.mode, surprise: manner.surprise, ..Input::of(Source::Rows(&rows), starts.len(), time) };
    let answer = model.forward(&mut tape, input)?;
    let said = device.download(answer.logits.buffer())?;
    let surprise = surprises(device, &answer.surprise, starts.len() * time)?;
    for (i, &(start, lane)) in starts.iter().enumerate() {
        for t in from..time {
            let (token, moment) = (i * time + t, start + t * frame.patch);
            let said = &said[token * frame.outputs()..][..frame.outputs()];
            let surprise = surprise.get(token).copied().unwrap_or(0.0);
            each_column(frame, (moment, lane), said, &levels[token], |column, said| {
                visit(Forecast { moment, column, said, surprise })
            })?;
        }
    }
    Ok(())
}

/// What was said of one moment, column by column, in standardised units.
pub(super) fn each_column<T: Scalar>(
    frame: &Frame,
    (moment, lane): (usize, usize),
    said: &[T],
    levels: &[Level],
    mut visit: impl FnMut(usize, &[f64]) -> Result<()>,
) -> Result<()> {
    let columns = frame.said(lane);
    for (i, (&column, level)) in columns.iter().zip(levels).enumerate() {
        let of_column = said.iter().skip(i).step_by(columns.len());
        let numbers: Vec<f64> = of_column.map(|x| x.to_f64() * level.scale + level.shift).collect();
        if !numbers.iter().all(|x| x.is_finite()) {
            return Err(Error::Diverged { position: moment as u64 });
        }
        visit(column, &numbers)?;
    }
    Ok(())
}

/// The mean over all memories at every token.
fn surprises<D: Device>(device: &D, layers: &[D::Buffer], tokens: usize) -> Result<Vec<f64>> {
    let mut sums = vec![0.0; if layers.is_empty() { 0 } else { tokens }];
    let mut heads = 0;
    for layer in layers {
        let numbers = device.download(layer)?;
        let each = numbers.len() / tokens.max(1);
        heads += each;
        for (sum, numbers) in sums.iter_mut().zip(numbers.chunks(each.max(1))) {
            *sum += numbers.iter().map(|x| x.to_f64()).sum::<f64>();
        }
    }
    sums.iter_mut().for_each(|sum| *sum /= heads.max(1) as f64);
    Ok(sums)
}

/// Moments from which forecasts lie in `part`: at least the first horizon, with all that they look back at in the
/// table.
pub fn moments(frame: &Frame, part: &Range<usize>, horizons: &[usize]) -> Range<usize> {
    let first = horizons.iter().copied().min().unwrap_or(1);
    let from = part.start.max(frame.reach());
    from..(part.end + 1).saturating_sub(first).max(from)
}
