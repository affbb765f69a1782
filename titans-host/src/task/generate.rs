//! Continuing a text.

use super::evaluate::reads;
use crate::data::tokenizer::Tokenizer;
use crate::data::{Purpose, rng};
use crate::device::Device;
use crate::model::{Mode, Model, Session, Step};
use crate::{Error, Result};
use rand::{Rng, RngExt};

/// Tokens of the prompt that are read at once: every one leaves its logits.
const PIECE: usize = 256;

/// How to continue.
///
/// ```
/// use titans_host::data::tokenizer::Tokenizer;
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Model, ModelConfig};
/// use titans_host::task::generate::{Sampling, generate};
///
/// let cpu = Cpu::<f32>::new(Some(1))?;
/// let small = ModelConfig { width: 16, blocks: 1, heads: 1, head_width: 16, feed_forward: 32, ..Default::default() };
/// let model = Model::new(&cpu, small, 1)?; // which says nothing that makes sense
/// let (sampling, mut text) = (Sampling { tokens: 5, ..Sampling::default() }, Vec::new());
/// generate(&cpu, &model, &Tokenizer::Bytes, b"Once upon a", &sampling, &mut |bytes| {
///     text.extend_from_slice(bytes);
///     Ok(true) // goes on
/// })?;
/// assert_eq!(text.len(), 5);
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Tokens to generate.
    pub tokens: usize,
    /// 0 takes the likeliest token; 1 the model's own odds; more is wilder.
    pub temperature: f64,
    /// Draws among the likeliest tokens that together have this probability, above 0 up to 1.
    pub top_p: f64,
    /// Seed of the draws.
    pub seed: u64,
    /// What the memories may do.
    pub mode: Mode,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { tokens: 500, temperature: 0.8, top_p: 0.95, seed: 0, mode: Mode::On }
    }
}

impl Sampling {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field, the range and the value found.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(Error::usage(format!("temperature: expected 0 or above, found {}", self.temperature)));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::usage(format!("top-p: expected above 0, up to 1, found {}", self.top_p)));
        }
        Ok(())
    }
}

/// Feeds `prompt` (a line break if it is empty) and generates; `each` receives the bytes of every token, which may end
/// within a character, and says whether to go on. Returns how many tokens were generated.
///
/// # Errors
/// [`Error::Usage`] for sampling out of range or a model of another vocabulary; [`Error::NotFinite`] when the model's
/// odds are not finite; as [`Tokenizer::encode`]; what the device and `each` report.
pub fn generate<D: Device>(
    device: &D,
    model: &Model<D>,
    tokenizer: &Tokenizer,
    prompt: &[u8],
    sampling: &Sampling,
    each: &mut dyn FnMut(&[u8]) -> Result<bool>,
) -> Result<usize> {
    sampling.validate()?;
    reads(model, tokenizer)?;
    let mut session = Session::new(device, model, sampling.mode)?;
    let mut rng = rng(sampling.seed, Purpose::Generation, 0, 0);
    let prompt = tokenizer.encode(if prompt.is_empty() { b"\n" } else { prompt })?;
    let mut last = None;
    for piece in prompt.chunks(PIECE) {
        last = session.push(piece)?.pop();
    }
    let mut made = 0;
    while made < sampling.tokens {
        let odds = last.as_ref().map(Step::log_probabilities).unwrap_or_default();
        let token = sample(&odds, sampling.temperature, sampling.top_p, &mut rng).ok_or(Error::NotFinite {
            what: "the odds of the next token",
            step: session.position(),
            kept: "generation stops".into(),
        })? as u32;
        made += 1;
        if !each(tokenizer.bytes(token))? {
            break;
        }
        if made < sampling.tokens {
            last = session.push(&[token])?.pop();
        }
    }
    Ok(made)
}

/// Draws an index by its log-probability. `None` when they are empty or one is NaN.
pub(crate) fn sample<R: Rng>(log_probabilities: &[f64], temperature: f64, top_p: f64, rng: &mut R) -> Option<usize> {
    if log_probabilities.iter().any(|x| x.is_nan()) {
        return None;
    }
    let mut order: Vec<usize> = (0..log_probabilities.len()).collect();
    order.sort_by(|&a, &b| log_probabilities[b].total_cmp(&log_probabilities[a]));
    let &best = order.first()?;
    if temperature == 0.0 {
        return Some(best);
    }
    let top = log_probabilities[best];
    let weight = |i: usize| ((log_probabilities[i] - top) / temperature).exp();
    let total: f64 = order.iter().map(|&i| weight(i)).sum();
    let mut kept = 0.0;
    let nucleus = order.iter().position(|&i| {
        kept += weight(i);
        kept >= top_p * total
    });
    let nucleus = &order[..nucleus.map_or(order.len(), |last| last + 1)];
    let mut draw = rng.random::<f64>() * nucleus.iter().map(|&i| weight(i)).sum::<f64>();
    for &i in nucleus {
        draw -= weight(i);
        if draw < 0.0 {
            return Some(i);
        }
    }
    nucleus.last().copied()
}

#[cfg(test)]
mod tests {
    use super::{Sampling, sample};
    use crate::data::{Purpose, rng};

    fn shares(temperature: f64, top_p: f64) -> Vec<f64> {
        let odds = [0.5f64, 0.3, 0.15, 0.05].map(f64::ln);
        let mut rng = rng(1, Purpose::Generation, 0, 0);
        let mut counts = vec![0.0; 4];
        for _ in 0..20_000 {
            counts[sample(&odds, temperature, top_p, &mut rng).unwrap()] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn draws_follow_temperature_and_nucleus() {
        let close = |got: Vec<f64>, want: [f64; 4]| {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.015), "{got:?} {want:?}");
        };
        close(shares(1.0, 1.0), [0.5, 0.3, 0.15, 0.05]);
        close(shares(0.0, 1.0), [1.0, 0.0, 0.0, 0.0]);
        let squares = [0.25, 0.09, 0.0225, 0.0025].map(|x| x / 0.365);
        close(shares(0.5, 1.0), squares);
        close(shares(1.0, 0.79), [0.625, 0.375, 0.0, 0.0]);
        close(shares(1.0, 1e-9), [1.0, 0.0, 0.0, 0.0]);
        close(shares(1e9, 1.0), [0.25; 4]);
    }

    #[test]
    fn odd_inputs_are_answered() {
        let mut rng = rng(1, Purpose::Generation, 0, 0);
        assert_eq!(sample(&[], 1.0, 1.0, &mut rng), None);
        assert_eq!(sample(&[0.0, f64::NAN], 1.0, 1.0, &mut rng), None);
        assert_eq!(sample(&[f64::NEG_INFINITY, 0.0], 1.0, 1.0, &mut rng), Some(1));
        assert!(Sampling::default().validate().is_ok());
        for (temperature, top_p) in [(-1.0, 1.0), (f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, 0.0), (1.0, 1.1)] {
            assert!(Sampling { temperature, top_p, ..Sampling::default() }.validate().is_err());
        }
    }
}
