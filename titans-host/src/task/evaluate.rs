//! How well a model predicts a text: in windows with fresh memories, or in one uncut stream.

use crate::data::tokenizer::Tokenizer;
use crate::device::Device;
use crate::model::{Forward, Head, Input, Mode, Model, ModelConfig, Session};
use crate::tape::Tape;
use crate::train::Interrupt;
use crate::train::task::Load;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use titans_kernel::Scalar;
use titans_kernel::arch::SimdScalar;

/// Tokens that run at once: bounds the device memory, whatever the window.
const AT_ONCE: usize = 8192;
/// Logits that are there at once, where a window allows it: with large vocabularies they take most.
const LOGITS: usize = 1 << 25;
/// But so many tokens always.
const LEAST: usize = 1024;

/// One predicted token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRow {
    /// Its place among the tokens, from 0; the first is never predicted.
    pub position: u64,
    /// The token: with bytes, the byte.
    pub token: u32,
    /// Natural logarithm of the probability that the model gave it.
    pub log_probability: f64,
    /// For every block with memories the surprise at the token before it, the last one fed: the inner loss c ‖M(k) −
    /// v‖² with its scale c, mean over the heads. Zeros where the memory is absent.
    pub surprise: Vec<f64>,
}

/// Totals of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Tokens predicted.
    pub tokens: u64,
    /// Bytes that these stand for.
    pub bytes: u64,
    /// Mean of −log probability, in nats.
    pub nats_per_token: f64,
    /// The sum of −log probability in bits, by the bytes.
    pub bits_per_byte: f64,
}

/// Which tokens are fed from fresh memories: ranges of positions; each token of a range is fed and the next predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows(Vec<Range<usize>>);

impl Windows {
    /// Windows of `window` tokens over `tokens` tokens, 0 for one uncut stream. Every token but the first is predicted
    /// once; the last window may be shorter.
    pub fn new(tokens: usize, window: usize) -> Self {
        let fed = tokens.saturating_sub(1);
        let window = if window == 0 { fed.max(1) } else { window };
        Self((0..fed).step_by(window).map(|start| start..(start + window).min(fed)).collect())
    }

    /// How many of the first ones run side by side, where so many tokens run at once.
    fn beside(windows: &[Range<usize>], at_once: usize) -> usize {
        let length = windows.first().map_or(1, Range::len).max(1);
        windows.iter().take((at_once / length).max(1)).take_while(|w| w.len() == length).count().max(1)
    }

    /// Keeps at most `count`, evenly spread.
    pub fn thin(&mut self, count: usize) {
        let all = self.0.len();
        if count < all {
            self.0 = (0..count).map(|i| self.0[i * all / count].clone()).collect();
        }
    }
}

/// Evaluates `model` on `ids`, a text as `tokenizer` reads it, in windows of `window` tokens, 0 for one uncut stream.
/// `each` receives every predicted token, in order.
///
/// # Errors
/// [`Error::Usage`] for fewer than 2 tokens or a model of another vocabulary; [`Error::Diverged`] at the first token
/// whose loss, or whose surprise if `each` is there to hear of it, is not finite, or before which a stream refuses one:
/// `each` does not hear of it; what the device and `each` report.
pub fn evaluate<D: Device>(
    device: &D,
    model: &Model<D>,
    tokenizer: &Tokenizer,
    ids: &[u32],
    window: usize,
    mode: Mode,
    each: Option<&mut dyn FnMut(TokenRow) -> Result<()>>,
) -> Result<Totals> {
    let mut each = each;
    let mut hear = |nats: f64, at: usize, row: &dyn Fn() -> TokenRow| {
        let diverged = || Err(Error::Diverged { position: at as u64 });
        if !nats.is_finite() {
            return diverged();
        }
        let Some(each) = &mut each else { return Ok(()) };
        let row = row();
        if row.surprise.iter().all(|x| x.is_finite()) { each(row) } else { diverged() }
    };
    walk(device, model, (tokenizer, ids), &Windows::new(ids.len(), window), mode, &mut hear)
}

/// The totals over any windows, finite or not, until a request to stop.
///
/// # Errors
/// [`Error::Usage`] as [`evaluate`]; [`Error::Diverged`] where a stream refuses a token; [`Error::Stopped`]; what the
/// device reports.
pub(super) fn run<D: Device>(
    device: &D,
    model: &Model<D>,
    text: (&Tokenizer, &[u32]),
    windows: &Windows,
    mode: Mode,
    interrupt: &Interrupt,
) -> Result<Totals> {
    walk(device, model, text, windows, mode, &mut |_, _, _| interrupt.check())
}

fn walk<D: Device>(
    device: &D,
    model: &Model<D>,
    (tokenizer, ids): (&Tokenizer, &[u32]),
    windows: &Windows,
    mode: Mode,
    hear: &mut Hear<'_>,
) -> Result<Totals> {
    let vocabulary = tokenizer.vocabulary();
    reads(model, tokenizer)?;
    if windows.0.iter().any(|w| w.end >= ids.len()) || windows.0.is_empty() {
        return Err(Error::usage(format!("the data are too short: at least 2 tokens are needed, found {}", ids.len())));
    }
    let walk = Walk { device, model, ids, mode, at_once: at_once(vocabulary) };
    let (mut tokens, mut bytes, mut nats) = (0, 0, 0.0);
    let mut left = &windows.0[..];
    while !left.is_empty() {
        let group = Windows::beside(left, walk.at_once);
        let (now, rest) = left.split_at(group);
        left = rest;
        walk.group(now, &mut |row_nats, at, row| {
            tokens += 1;
            bytes += tokenizer.bytes(ids[at]).len() as u64;
            nats += row_nats;
            hear(row_nats, at, row)
        })?;
    }
    let bits_per_byte = nats / std::f64::consts::LN_2 / bytes as f64;
    Ok(Totals { tokens, bytes, nats_per_token: nats / tokens as f64, bits_per_byte })
}

/// Tokens that run at once.
pub(super) fn at_once(vocabulary: usize) -> usize {
    (LOGITS / vocabulary.max(1)).clamp(LEAST, AT_ONCE)
}

/// What the first of these windows, the longest, take at once.
///
/// # Errors
/// As [`Session::space`].
pub fn load<T: SimdScalar>(model: &ModelConfig, windows: &Windows) -> Result<Load> {
    let (at_once, time) = (at_once(model.vocabulary), windows.0.first().map_or(0, Range::len));
    if time > at_once {
        // What a push says, and the same as steps.
        let said = at_once.saturating_mul(model.vocabulary).saturating_mul(2 * T::BYTES);
        return Ok(Load { host: Session::<T>::space(model)?.saturating_add(said), ..Load::default() });
    }
    let batch = Windows::beside(&windows.0, at_once);
    // Positions; ids and targets, here and in the device's form; losses and surprise.
    let surprise = model.remembering().count() * model.heads;
    let token = size_of::<usize>() + 4 * size_of::<u32>() + (1 + surprise) * T::BYTES;
    Ok(Load { batch, time, surprise: true, host: (batch * time).saturating_mul(token) })
}

/// Whether a model reads what the tokenizer gives.
///
/// # Errors
/// [`Error::Usage`] with both vocabularies.
pub fn reads<D: Device>(model: &Model<D>, tokenizer: &Tokenizer) -> Result<()> {
    let (found, vocabulary) = (model.config().vocabulary, tokenizer.vocabulary());
    if model.config().inputs > 0 || model.config().head != Head::Tokens {
        return Err(Error::usage("the model reads no text: it was trained on another task"));
    }
    if found == vocabulary {
        return Ok(());
    }
    let what = if tokenizer.crc32().is_some() { "the tokenizer has" } else { "bytes are" };
    Err(Error::usage(format!(
        "the model has {found} symbols, {what} {vocabulary}; it was trained on another task or with another tokenizer"
    )))
}

/// Hears of one predicted token: its nats, its position, and the rest if it asks.
type Hear<'a> = dyn FnMut(f64, usize, &dyn Fn() -> TokenRow) -> Result<()> + 'a;

struct Walk<'a, D: Device> {
    device: &'a D,
    model: &'a Model<D>,
    ids: &'a [u32],
    mode: Mode,
    at_once: usize,
}

impl<D: Device> Walk<'_, D> {
    /// Windows of one length: several short ones side by side, or one long one as a stream.
    fn group(&self, windows: &[Range<usize>], hear: &mut Hear<'_>) -> Result<()> {
        match windows {
            [window] if window.len() > self.at_once => self.stream(window, hear),
            _ => self.batch(windows, hear),
        }
    }

    fn batch(&self, ranges: &[Range<usize>], hear: &mut Hear<'_>) -> Result<()> {
        let time = ranges[0].len();
        let positions: Vec<usize> = ranges.iter().cloned().flatten().collect();
        let ids: Vec<u32> = positions.iter().map(|&p| self.ids[p]).collect();
        let targets: Vec<u32> = positions.iter().map(|&p| self.ids[p + 1]).collect();
        let ids = Arc::new(self.device.upload_indices(&ids)?);
        let targets = Arc::new(self.device.upload_indices(&targets)?);
        let mut tape = Tape::inference(self.device, &self.model.params);
        let input = Input { mode: self.mode, surprise: true, ..Input::new(&ids, ranges.len(), time) };
        let Forward { logits, surprise, .. } = self.model.forward(&mut tape, input)?;
        let losses = tape.cross_entropy(self.model.config().vocabulary, &logits, &targets)?;
        let losses = self.device.download(losses.buffer())?;
        let surprise: Vec<Vec<D::Elem>> = surprise.iter().map(|s| self.device.download(s)).collect::<Result<_>>()?;
        let heads = self.model.config().heads;
        for (i, (&position, loss)) in positions.iter().zip(&losses).enumerate() {
            let layers = || surprise.iter().map(|layer| mean(&layer[i * heads..][..heads])).collect();
            self.hear(position, loss.to_f64(), &layers, hear)?;
        }
        Ok(())
    }

    /// Token by token of one sequence, in pieces; whatever its length, in the same memory.
    fn stream(&self, window: &Range<usize>, hear: &mut Hear<'_>) -> Result<()> {
        let mut session = Session::new(self.device, self.model, self.mode)?;
        for start in window.clone().step_by(self.at_once) {
            let piece = start..(start + self.at_once).min(window.end);
            let taken = session.take(&self.ids[piece.clone()])?;
            let refused = taken.refused.map(|_| (piece.start + taken.steps.len() + 1) as u64);
            for (position, step) in piece.zip(taken.steps) {
                let nats = step.nats(self.ids[position + 1])?;
                let layers = || step.surprise.iter().map(|layer| mean(layer)).collect();
                self.hear(position, nats, &layers, hear)?;
            }
            // The token behind the refused one is the first that cannot be predicted.
            if let Some(position) = refused {
                return Err(Error::Diverged { position });
            }
        }
        Ok(())
    }

    fn hear(&self, position: usize, nats: f64, layers: &dyn Fn() -> Vec<f64>, hear: &mut Hear<'_>) -> Result<()> {
        let row = || {
            let mut surprise = layers();
            if surprise.is_empty() {
                surprise = vec![0.0; self.model.config().remembering().count()];
            }
            let token = self.ids[position + 1];
            TokenRow { position: position as u64 + 1, token, log_probability: -nats, surprise }
        };
        hear(nats, position + 1, &row)
    }
}

/// Mean over the heads.
fn mean<T: Scalar>(heads: &[T]) -> f64 {
    heads.iter().map(|x| x.to_f64()).sum::<f64>() / heads.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::Windows;

    #[test]
    fn every_token_but_the_first_is_predicted_once() {
        for tokens in [2, 3, 7, 512, 513, 514, 1025, 5000] {
            for window in [0, 1, 2, 511, 512, 513, 10_000] {
                let windows = Windows::new(tokens, window);
                let fed: Vec<usize> = windows.0.iter().cloned().flatten().collect();
                assert_eq!(fed, (0..tokens - 1).collect::<Vec<_>>(), "{tokens} tokens in windows of {window}");
                assert!(window == 0 || windows.0.iter().all(|w| w.len() <= window));
            }
            assert_eq!(Windows::new(tokens, 0).0.len(), 1);
        }
        assert!(Windows::new(1, 4).0.is_empty() && Windows::new(0, 0).0.is_empty());
    }

    #[test]
    fn thinning_spreads() {
        let mut windows = Windows::new(1001, 10);
        windows.thin(4);
        assert_eq!(windows.0, [0..10, 250..260, 500..510, 750..760]);
        windows.thin(9);
        assert_eq!(windows.0.len(), 4);
    }
}
