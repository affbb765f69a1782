//! The probability of continuations, in batches or, where one is long, as a stream.

use crate::device::{Device, IGNORE};
use crate::model::{Input, Mode, Model, Session, Step};
use crate::tape::Tape;
use crate::task::evaluate::at_once;
use crate::train::trainer::right;
use crate::{Error, Result};
use std::sync::Arc;
use titans_kernel::Scalar;

/// Something that is read, and something that goes on from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// Ids that are read first, one or more.
    pub before: Vec<u32>,
    /// Ids whose probability is asked for, one or more.
    pub said: Vec<u32>,
}

/// What a model says of a continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContinuationScore {
    /// −ln of its probability, all its tokens together; not finite where the memory diverged.
    pub nats: f64,
    /// Whether each of its tokens is the likeliest where it stands.
    pub greedy: bool,
    /// Its tokens.
    pub tokens: usize,
}

impl Continuation {
    /// Tokens that are fed: all but the last.
    fn fed(&self) -> usize {
        self.before.len() + self.said.len() - 1
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        self.before.iter().chain(&self.said).copied().take(self.fed())
    }
}

/// Scores every continuation, each from a fresh memory. What a model says of one does not depend, to the bit, on which
/// others there are.
///
/// # Errors
/// [`Error::Usage`] for a continuation without a token before it or of its own; what the device reports, an id beyond
/// the vocabulary among it.
pub fn score<D: Device>(
    device: &D,
    model: &Model<D>,
    continuations: &[Continuation],
    mode: Mode,
) -> Result<Vec<ContinuationScore>> {
    if let Some(i) = continuations.iter().position(|c| c.before.is_empty() || c.said.is_empty()) {
        return Err(Error::usage(format!(
            "continuation {i}: expected a token or more before it and in it, found none"
        )));
    }
    let most = at_once(model.config().vocabulary);
    // Those of like length side by side; what fills the shorter ones up stands behind all that is asked.
    let mut order: Vec<usize> = (0..continuations.len()).collect();
    order.sort_by_key(|&i| continuations[i].fed());
    let mut found = vec![ContinuationScore { nats: 0.0, greedy: true, tokens: 0 }; continuations.len()];
    let mut left = &order[..];
    while !left.is_empty() {
        let fits = |count: &usize| *count == 1 || count * continuations[left[count - 1]].fed() <= most;
        let count = (1..=left.len()).take_while(fits).last().unwrap_or(1);
        let (now, rest) = left.split_at(count);
        left = rest;
        let some: Vec<&Continuation> = now.iter().map(|&i| &continuations[i]).collect();
        let said = match some[..] {
            [one] if one.fed() > most => vec![stream(device, model, one, mode, most)?],
            _ => batch(device, model, &some, mode)?,
        };
        for (&i, said) in now.iter().zip(said) {
            found[i] = said;
        }
    }
    Ok(found)
}

fn batch<D: Device>(
    device: &D,
    model: &Model<D>,
    some: &[&Continuation],
    mode: Mode,
) -> Result<Vec<ContinuationScore>> {
    let time = some.iter().map(|c| c.fed()).max().unwrap_or(0);
    let (mut ids, mut targets) = (Vec::with_capacity(some.len() * time), vec![IGNORE; some.len() * time]);
    for (row, one) in some.iter().enumerate() {
        ids.extend(one.ids());
        ids.resize((row + 1) * time, 0);
        targets[row * time + one.before.len() - 1..][..one.said.len()].copy_from_slice(&one.said);
    }
    let (ids, wanted) = (Arc::new(device.upload_indices(&ids)?), Arc::new(device.upload_indices(&targets)?));
    let vocabulary = model.config().vocabulary;
    let mut tape = Tape::inference(device, &model.params);
    let forward = model.forward(&mut tape, Input { mode, ..Input::new(&ids, some.len(), time) })?;
    let losses = tape.cross_entropy(vocabulary, &forward.logits, &wanted)?;
    let losses = device.download(losses.buffer())?;
    let logits = device.download(forward.logits.buffer())?;
    let said = |(row, one): (usize, &&Continuation)| {
        let from = row * time + one.before.len() - 1;
        let mut said = ContinuationScore { nats: 0.0, greedy: true, tokens: one.said.len() };
        for (i, &target) in (from..).zip(&one.said) {
            said.nats += losses[i].to_f64();
            said.greedy &= right(&logits[i * vocabulary..][..vocabulary], vocabulary, &[target]).all(|right| right);
        }
        said
    };
    Ok(some.iter().enumerate().map(said).collect())
}

/// One that is too long for a batch, in the memory of a piece of it.
fn stream<D: Device>(
    device: &D,
    model: &Model<D>,
    one: &Continuation,
    mode: Mode,
    piece: usize,
) -> Result<ContinuationScore> {
    let mut session = Session::new(device, model, mode)?;
    let mut said = ContinuationScore { nats: 0.0, greedy: true, tokens: one.said.len() };
    let fed: Vec<u32> = one.ids().collect();
    let first = one.before.len() - 1;
    for (number, ids) in fed.chunks(piece).enumerate() {
        let taken = session.take(ids)?;
        if taken.refused.is_some() {
            return Ok(ContinuationScore { nats: f64::NAN, greedy: false, ..said });
        }
        for (i, step) in (number * piece..).zip(taken.steps) {
            if i >= first {
                add(&mut said, &step, one.said[i - first])?;
            }
        }
    }
    Ok(said)
}

fn add<T: Scalar>(said: &mut ContinuationScore, step: &Step<T>, target: u32) -> Result<()> {
    said.nats += step.nats(target)?;
    said.greedy &= right(&step.logits, step.logits.len(), &[target]).all(|right| right);
    Ok(())
}
