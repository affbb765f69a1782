//! What a model says of whole sequences: the classes' probabilities.

use super::{ClassifyConfig, Pooling};
use crate::data::alphabet::{Encoder, Reading};
use crate::device::Device;
use crate::model::{Head, Input, Mode, Model, Source};
use crate::tape::{Shared, Tape};
use crate::train::Interrupt;
use crate::train::task::{Batch, Load};
use crate::{Error, Result};
use std::sync::Arc;
use titans_kernel::Scalar;

/// Tokens that run at once, with their padding, but for one sequence.
const AT_ONCE: usize = 1 << 14;

/// How sequences are read and judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judging {
    /// Which tokens' logits count.
    pub pooling: Pooling,
    /// The mean of the logits of both strands.
    pub both_strands: bool,
    /// Most tokens of a sequence; what is behind them is not read.
    pub context: usize,
    /// What the memories may do.
    pub mode: Mode,
}

impl Judging {
    /// That of a run.
    pub fn of(config: &ClassifyConfig, mode: Mode) -> Self {
        Self { pooling: config.pooling, both_strands: config.both_strands, context: config.context, mode }
    }
}

/// Appends sequences as tokens to an empty batch, padded to the longest.
pub(super) fn fill(encoder: &Encoder, context: usize, sequences: &[&[u32]], batch: &mut Batch) {
    let length = |numbers: &[u32]| encoder.tokens(numbers.len()).min(context);
    let time = sequences.iter().map(|numbers| length(numbers)).max().unwrap_or(0);
    batch.restart(sequences.len(), time);
    for (i, numbers) in sequences.iter().enumerate() {
        match encoder.words().reading {
            Reading::Words => {
                encoder.push_words(numbers, context, &mut batch.ids);
                batch.ids.resize((i + 1) * time, 0);
            }
            Reading::Windows => {
                encoder.push_rows(numbers, context, &mut batch.rows);
                batch.rows.resize((i + 1) * time * encoder.inputs(), 0.0);
            }
        }
        batch.lengths.push(length(numbers) as u32);
    }
}

/// The classes' probabilities of sequences, given by their letters' numbers. What is said of one does not depend on the
/// others.
///
/// # Errors
/// [`Error::Usage`] for a model that tells no classes, or reads other tokens; [`Error::Diverged`] with the number of
/// the first sequence of which something is said that is not finite; what the device reports.
pub fn judge<D: Device>(
    device: &D,
    model: &Model<D>,
    encoder: &Encoder,
    judging: Judging,
    sequences: &[&[u32]],
) -> Result<Vec<Vec<f64>>> {
    judge_until(device, model, encoder, judging, sequences, &Interrupt::new())
}

/// The same, until a request to stop.
///
/// # Errors
/// [`Error::Stopped`] then; as [`judge`].
pub(super) fn judge_until<D: Device>(
    device: &D,
    model: &Model<D>,
    encoder: &Encoder,
    judging: Judging,
    sequences: &[&[u32]],
    interrupt: &Interrupt,
) -> Result<Vec<Vec<f64>>> {
    expect(model, encoder)?;
    let strands = if judging.both_strands { 2 } else { 1 };
    let others: Vec<Vec<u32>> = match judging.both_strands {
        true => sequences.iter().map(|numbers| encoder.other_strand(numbers)).collect(),
        false => Vec::new(),
    };
    let lane = |i: usize| if i < sequences.len() { sequences[i] } else { &others[i - sequences.len()] };
    // Sequences of a length together: less padding.
    let mut order: Vec<usize> = (0..strands * sequences.len()).collect();
    order.sort_by_key(|&i| (lane(i).len(), i));
    let classes = model.config().outputs;
    let mut sums = vec![vec![0.0; classes]; sequences.len()];
    let mut batch = Batch::default();
    let mut left = &order[..];
    while let Some(&first) = left.first() {
        interrupt.check()?;
        let tokens = |i: usize| encoder.tokens(lane(i).len()).min(judging.context);
        let fits = |n: usize| n * tokens(left[n - 1]) <= AT_ONCE;
        let mut n = (AT_ONCE / tokens(first).max(1)).clamp(1, left.len());
        while n > 1 && !fits(n) {
            n -= 1;
        }
        let (some, rest) = left.split_at(n);
        left = rest;
        let some_numbers: Vec<&[u32]> = some.iter().map(|&i| lane(i)).collect();
        fill(encoder, judging.context, &some_numbers, &mut batch);
        let said = logits(device, model, judging, &batch)?;
        for (&i, said) in some.iter().zip(said.chunks(classes)) {
            let row = i % sequences.len();
            if !said.iter().all(|x| x.is_finite()) {
                return Err(Error::Diverged { position: row as u64 });
            }
            sums[row].iter_mut().zip(said).for_each(|(sum, x)| *sum += x / strands as f64);
        }
    }
    Ok(sums.iter().map(|logits| softmax(logits)).collect())
}

fn expect<D: Device>(model: &Model<D>, encoder: &Encoder) -> Result<()> {
    let c = model.config();
    let (expected, found) = match encoder.words().reading {
        Reading::Words => (encoder.vocabulary(), if c.inputs == 0 { c.vocabulary } else { 0 }),
        Reading::Windows => (encoder.inputs(), c.inputs),
    };
    if c.head != Head::Classes || expected != found {
        return Err(Error::usage(format!(
            "the model classifies no such sequences: expected a head of classes and {expected} {}, found {} and {found}",
            encoder.words().reading.of_what(),
            titans_kernel::Choice::name(c.head),
        )));
    }
    Ok(())
}

/// What is said of each sequence of a batch, `[batch, classes]`.
fn logits<D: Device>(device: &D, model: &Model<D>, judging: Judging, batch: &Batch) -> Result<Vec<f64>> {
    let classes = model.config().outputs;
    let (ids, rows);
    let source = if batch.rows.is_empty() {
        ids = Arc::new(device.upload_indices(&batch.ids)?);
        Source::Ids(&ids)
    } else {
        let numbers: Vec<D::Elem> = batch.rows.iter().map(|&x| D::Elem::from_f64(x)).collect();
        rows = Shared::new(device.upload(&numbers)?);
        Source::Rows(&rows)
    };
    let mut tape = Tape::inference(device, &model.params);
    let input = Input { mode: judging.mode, ..Input::of(source, batch.batch, batch.time) };
    let said = model.forward(&mut tape, input)?.logits;
    let numbers = match judging.pooling {
        Pooling::Mean => {
            let lengths = Arc::new(device.upload_indices(&batch.lengths)?);
            let pooled = model.pooled(&mut tape, &said, &lengths, batch.time)?;
            device.download(pooled.buffer())?
        }
        Pooling::Last => {
            let all = device.download(said.buffer())?;
            let last = |(b, &length): (usize, &u32)| (b * batch.time + length as usize - 1) * classes;
            let last = batch.lengths.iter().enumerate().map(last);
            last.flat_map(|at| all[at..at + classes].iter().copied()).collect()
        }
    };
    Ok(numbers.iter().map(|x| x.to_f64()).collect())
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = logits.iter().map(|x| (x - top).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|x| x / sum).collect()
}

/// What the largest batch takes.
pub(super) fn load<T: Scalar>(
    encoder: &Encoder,
    classes: usize,
    judging: Judging,
    rows: usize,
    longest: usize,
) -> Load {
    let time = encoder.tokens(longest).min(judging.context).max(1);
    let lanes = rows.saturating_mul(if judging.both_strands { 2 } else { 1 });
    let batch = (AT_ONCE / time).clamp(1, lanes.max(1));
    let numbers = if encoder.words().reading == Reading::Windows { encoder.inputs() * (8 + T::BYTES) } else { 4 };
    let token = numbers.saturating_add(classes * (8 + T::BYTES));
    let host = (batch * time).saturating_mul(token).saturating_add(lanes.saturating_mul(4 * longest + 8 * classes));
    Load { batch, time, surprise: false, host }
}
