//! What a model answers in one sequence of any length, read piece by piece.

use crate::device::IGNORE;
use crate::model::{ModelConfig, Session};
use crate::train::task::{Load, Validation};
use crate::{Error, Result};
use titans_kernel::arch::SimdScalar;

/// Tokens of a stream that evaluations read at once.
pub(super) const PIECE: usize = 4096;

/// Takes the next ids and appends the logits after each.
pub type Reader<'a> = dyn FnMut(&[u32], &mut Vec<f64>) -> Result<()> + 'a;

/// A [`Reader`] that pushes to a session.
pub(super) fn reading<T: SimdScalar>(
    session: &mut Session<T>,
) -> impl FnMut(&[u32], &mut Vec<f64>) -> Result<()> + use<'_, T> {
    |ids, logits| {
        let steps = session.push(ids)?;
        logits.extend(steps.iter().flat_map(|step| &step.logits).map(|x| x.to_f64()));
        Ok(())
    }
}

/// What reading a stream by pieces takes.
pub(super) fn load<T: SimdScalar>(model: &ModelConfig) -> Result<Load> {
    // A piece's logits as they are said, as steps and as they are scored.
    let piece = PIECE.saturating_mul(model.vocabulary).saturating_mul(2 * T::BYTES + size_of::<f64>());
    Ok(Load { host: Session::<T>::space(model)?.saturating_add(piece), ..Load::default() })
}

/// What a model says where it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    /// What should be predicted.
    pub target: u32,
    /// What the model finds likeliest; the first of several.
    pub predicted: u32,
    /// −log p of the target.
    pub nats: f64,
}

impl Answered {
    /// By the logits of the token before.
    pub fn of<T: Copy + Into<f64>>(logits: &[T], target: u32) -> Self {
        let mut best = (0, f64::NEG_INFINITY);
        for (i, &x) in logits.iter().enumerate() {
            if x.into() > best.1 {
                best = (i as u32, x.into());
            }
        }
        Self { target, predicted: best.0, nats: nats(logits, target) }
    }

    /// Whether the model would have written the target.
    pub fn right(&self) -> bool {
        self.predicted == self.target
    }
}

/// Scores one sequence, given token by token with its targets
/// ([`Alphabet::tokens`](crate::data::recall::Alphabet::tokens)). `read` takes the next up to `piece` ids and appends
/// the logits after each, `classes` numbers a token; it keeps the stream's state. So the memory that this takes does
/// not grow with the sequence.
///
/// # Errors
/// As [`answers`].
pub fn score(
    tokens: impl Iterator<Item = (u32, u32)>,
    sizes: (usize, usize),
    read: &mut Reader<'_>,
) -> Result<Validation> {
    let found = answers(tokens, sizes, read)?;
    let share = |x: f64| x / found.len() as f64;
    let right = found.iter().filter(|answer| answer.right()).count();
    let loss = share(found.iter().map(|answer| answer.nats).sum());
    Ok(Validation { loss, accuracy: Some(share(right as f64)), tokens: found.len() as u64 })
}

/// The same, answer by answer.
///
/// # Errors
/// [`Error::Usage`] for a piece of 0 tokens, another number of logits or a sequence that scores nothing;
/// [`Error::Diverged`] where a scored loss is not finite; what `read` reports.
pub fn answers(
    tokens: impl Iterator<Item = (u32, u32)>,
    (classes, piece): (usize, usize),
    read: &mut Reader<'_>,
) -> Result<Vec<Answered>> {
    if piece == 0 || classes == 0 {
        return Err(Error::usage(format!("expected pieces and classes of 1 or more, found {piece} and {classes}")));
    }
    let mut tokens = tokens.peekable();
    let (mut ids, mut targets, mut logits) = (Vec::new(), Vec::new(), Vec::new());
    let (mut position, mut found) = (0u64, Vec::new());
    while tokens.peek().is_some() {
        ids.clear();
        targets.clear();
        logits.clear();
        for (id, target) in tokens.by_ref().take(piece) {
            ids.push(id);
            targets.push(target);
        }
        read(&ids, &mut logits)?;
        if logits.len() != ids.len() * classes {
            let (expected, found) = (ids.len() * classes, logits.len());
            return Err(Error::usage(format!("expected {expected} logits of {} tokens, found {found}", ids.len())));
        }
        for (row, &target) in logits.chunks_exact(classes).zip(&targets) {
            if target != IGNORE {
                let answer = Answered::of(row, target);
                if !answer.nats.is_finite() {
                    return Err(Error::Diverged { position });
                }
                found.push(answer);
            }
            position += 1;
        }
    }
    if found.is_empty() {
        return Err(Error::usage("the sequence has no token that is scored"));
    }
    Ok(found)
}

/// −log softmax at `target`; NaN where there is no such class.
fn nats<T: Copy + Into<f64>>(logits: &[T], target: u32) -> f64 {
    let top = logits.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x.into()));
    let sum: f64 = logits.iter().map(|&x| (x.into() - top).exp()).sum();
    logits.get(target as usize).map_or(f64::NAN, |&x| top + sum.ln() - x.into())
}

#[cfg(test)]
mod tests {
    use super::score;
    use crate::Error;
    use crate::data::recall::Alphabet;
    use crate::data::{Purpose, rng};

    const ALPHABET: Alphabet = Alphabet { keys: 16, values: 8, noise: 8 };
    const CLASSES: usize = 32;

    /// A reader that remembers which value followed a key, as no model does without error.
    fn listener() -> impl FnMut(&[u32], &mut Vec<f64>) -> crate::Result<()> {
        let (mut known, mut last) = ([None; 16], None);
        move |ids, logits| {
            for &id in ids {
                if let Some(key) = last.take() {
                    let place: &mut Option<u32> = &mut known[key as usize];
                    place.get_or_insert(id);
                }
                let mut row = [0.0; CLASSES];
                if id < 16 {
                    last = Some(id);
                    row[known[id as usize].unwrap_or(0) as usize] = 20.0;
                }
                logits.extend(row);
            }
            Ok(())
        }
    }

    #[test]
    fn pieces_change_nothing_and_memory_recalls_all() {
        let tokens = || ALPHABET.tokens(rng(3, Purpose::Evaluation, 0, 0), 100_001, 9).unwrap();
        let whole = score(tokens(), (CLASSES, 1 << 20), &mut listener()).unwrap();
        assert_eq!((whole.accuracy, whole.tokens), (Some(1.0), 9));
        assert!(whole.loss > 0.0 && whole.loss < 1e-6, "{whole:?}");
        for piece in [1, 7, 4096] {
            assert_eq!(score(tokens(), (CLASSES, piece), &mut listener()).unwrap(), whole, "{piece}");
        }
        let forgetful = &mut |ids: &[u32], logits: &mut Vec<f64>| {
            logits.extend(vec![0.0; ids.len() * CLASSES]);
            Ok(())
        };
        let found = score(tokens(), (CLASSES, 100), forgetful).unwrap();
        assert!((found.loss - (CLASSES as f64).ln()).abs() < 1e-12 && found.accuracy == Some(0.0), "{found:?}");
    }

    #[test]
    fn wrong_readers_are_told() {
        let tokens = || ALPHABET.tokens(rng(3, Purpose::Evaluation, 0, 0), 40, 2).unwrap();
        assert!(score(tokens(), (CLASSES, 0), &mut listener()).is_err());
        assert!(score(tokens(), (CLASSES, 8), &mut |_, _| Ok(())).unwrap_err().to_string().contains("256 logits"));
        assert!(score(tokens().take(36), (CLASSES, 8), &mut listener()).unwrap_err().to_string().contains("scored"));
        let broken = &mut |ids: &[u32], logits: &mut Vec<f64>| {
            logits.extend(vec![f64::NAN; ids.len() * CLASSES]);
            Ok(())
        };
        assert!(matches!(score(tokens(), (CLASSES, 8), broken), Err(Error::Diverged { position: 36 })));
        let full = &mut |_: &[u32], _: &mut Vec<f64>| Err(Error::usage("full"));
        assert_eq!(score(tokens(), (CLASSES, 8), full).unwrap_err().to_string(), "full");
    }
}
