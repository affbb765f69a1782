//! A text read as a stream: bytes in, what every one of them cost, what may come next, and text that goes on.

use super::generate::{Sampling, sample};
use crate::data::tokenizer::Tokenizer;
use crate::data::{Purpose, rng};
use crate::error::{Error, Result};
use crate::model::{Mode, Session, Step, Weights};
use std::sync::Arc;
use titans_kernel::arch::Simd;
use titans_kernel::model::{Input, KeptState};

/// Logits that are there at once.
const LOGITS: usize = 1 << 20;

/// What became of a text that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadText {
    /// Tokens that are in.
    pub tokens: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Tokens among them that were predicted: all but a stream's very first.
    pub predicted: u64,
    /// Bytes of those.
    pub predicted_bytes: u64,
    /// What those cost, in nats, all together.
    pub nats: f64,
}

/// A model that reads a text and learns from it. Cloning forks it.
#[derive(Clone, Debug)]
pub struct TextReader {
    session: Session<f32>,
    tokenizer: Tokenizer,
    /// What the model says after the last token.
    said: Option<Vec<f32>>,
}

impl TextReader {
    /// Before the first byte.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model of another vocabulary, or one that reads numbers; as [`Session::of`].
    pub fn new(weights: Arc<Weights<f32>>, tokenizer: Tokenizer, mode: Mode) -> Result<Self> {
        let (spec, expected) = (*weights.model()?.spec(), tokenizer.vocabulary());
        if spec.input != Input::Tokens(expected) || spec.outputs != expected {
            let found = match spec.input {
                Input::Tokens(_) => {
                    format!("a model of {} symbols that says {} numbers", spec.input.size(), spec.outputs)
                }
                Input::Rows(size) => format!("a model that reads rows of {size} numbers"),
            };
            return Err(Error::usage(format!(
                "expected a model of text with the vocabulary's {expected} symbols, found {found}; name its own vocabulary, or a model of text"
            )));
        }
        Ok(Self { session: Session::of(weights, Simd::best(), mode)?, tokenizer, said: None })
    }

    /// How bytes become tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Tokens read so far.
    pub fn position(&self) -> u64 {
        self.session.position()
    }

    /// Tokens that are fed at once.
    fn at_once(&self) -> usize {
        (LOGITS / self.tokenizer.vocabulary()).clamp(1, 1024)
    }

    /// Reads a text, which is tokens for itself: one that is cut within a word is other tokens (bytes are not). `go_on`
    /// is told after every few hundred tokens how many of how many are in, and says whether to go on.
    ///
    /// # Errors
    /// With what was read before: [`Error::Refused`] for a token that cannot be taken, its number counted from this
    /// text's first; [`Error::Diverged`] for one whose cost is not finite. Before anything is read: as
    /// [`Tokenizer::encode`].
    pub fn feed(&mut self, text: &[u8], mut go_on: impl FnMut(u64, u64) -> bool) -> (ReadText, Result<()>) {
        let mut read = ReadText::default();
        let ids = match self.tokenizer.encode(text) {
            Ok(ids) => ids,
            Err(error) => return (read, Err(error)),
        };
        for piece in ids.chunks(self.at_once()) {
            if let Err(error) = self.piece(piece, &mut read) {
                return (read, Err(error));
            }
            if !go_on(read.tokens, ids.len() as u64) {
                break;
            }
        }
        (read, Ok(()))
    }

    fn piece(&mut self, ids: &[u32], read: &mut ReadText) -> Result<()> {
        let taken = self.session.take(ids)?;
        let before = read.tokens;
        for (&id, step) in ids.iter().zip(taken.steps) {
            let bytes = self.tokenizer.bytes(id).len() as u64;
            read.tokens += 1;
            read.bytes += bytes;
            if let Some(logits) = self.said.take() {
                let nats = Step { logits, surprise: vec![] }.nats(id)?;
                if !nats.is_finite() {
                    self.said = Some(step.logits);
                    return Err(Error::Diverged { position: self.session.position() });
                }
                read.predicted += 1;
                read.predicted_bytes += bytes;
                read.nats += nats;
            }
            self.said = Some(step.logits);
        }
        match taken.refused {
            None => Ok(()),
            Some(position) => {
                Err(Error::Refused { token: (read.tokens - before) as usize + before as usize, position })
            }
        }
    }

    /// log p of every token that may come next, in nats; even odds before the first token.
    pub fn next(&self) -> Vec<f64> {
        let n = self.tokenizer.vocabulary();
        match &self.said {
            Some(logits) => Step { logits: logits.clone(), surprise: vec![] }.log_probabilities(),
            None => vec![-(n as f64).ln(); n],
        }
    }

    /// Writes up to `sampling.tokens` tokens that go on from here, and reads them: they are learned like any text.
    /// `each` receives the bytes of every token, which may end within a character, and says whether to go on. Before
    /// the first token the text begins with a line break. Returns how many were written.
    ///
    /// To leave the reader as it is, call it on a clone.
    ///
    /// # Errors
    /// [`Error::Usage`] for sampling out of range; [`Error::Refused`] and [`Error::NotFinite`] as the model reads what
    /// it wrote.
    pub fn write(&mut self, sampling: &Sampling, mut each: impl FnMut(&[u8]) -> bool) -> Result<usize> {
        sampling.validate()?;
        if self.said.is_none() && sampling.tokens > 0 {
            self.feed(b"\n", |_, _| true).1?;
        }
        let mut random = rng(sampling.seed, Purpose::Generation, 0, self.position());
        for made in 0..sampling.tokens {
            let token = sample(&self.next(), sampling.temperature, sampling.top_p, &mut random);
            let token = token.ok_or(Error::NotFinite {
                what: "the odds of the next token",
                step: self.position(),
                kept: "generation stops".into(),
            })? as u32;
            self.piece(&[token], &mut ReadText::default())?;
            if !each(self.tokenizer.bytes(token)) {
                return Ok(made + 1);
            }
        }
        Ok(sampling.tokens)
    }

    /// Begins anew, with the same weights and mode.
    ///
    /// # Errors
    /// As [`Session::reset`].
    pub fn reset(&mut self) -> Result<()> {
        self.session.reset()?;
        self.said = None;
        Ok(())
    }

    /// Lets the memories write from the next token on, or not any more.
    ///
    /// # Errors
    /// As [`Session::set_mode`].
    pub fn set_mode(&mut self, mode: Mode) -> Result<()> {
        self.session.set_mode(mode)
    }

    /// Where it stands, as `titans stream --state` keeps it.
    ///
    /// # Errors
    /// None that a reader can meet.
    pub fn save(&mut self) -> Result<Vec<u8>> {
        let said = self.said.as_deref().unwrap_or(&[]);
        let mut bytes = vec![0; KeptState::head_len(said.len())];
        KeptState::write_head(None, said, &mut bytes)?;
        bytes.extend(self.session.save()?);
        Ok(bytes)
    }

    /// Goes on from where a reader, or `titans stream --state`, stood; a token that waited there is read. Nothing
    /// changes on error.
    ///
    /// # Errors
    /// [`Error::Kernel`] for bytes that are no state of these weights, or damaged; [`Error::Refused`] for the token
    /// that waits.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let kept = KeptState::parse(bytes)?;
        let mut next = self.session.clone();
        next.load(kept.stream)?;
        let vocabulary = self.tokenizer.vocabulary();
        let said = match kept.pending {
            Some(id) => next.push(&[id])?.pop().map(|step| step.logits),
            None if kept.open().len() == vocabulary => Some(kept.open().collect()),
            None if kept.open().len() == 0 => None,
            None => {
                return Err(Error::usage(format!(
                    "expected a state of text, found one with {} open numbers",
                    kept.open().len()
                )));
            }
        };
        if said.as_ref().is_some_and(|said: &Vec<f32>| said.iter().any(|x| !x.is_finite())) {
            return Err(Error::usage("expected a state with finite odds, found others: it is damaged"));
        }
        (self.session, self.said) = (next, said);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadText, TextReader};
    use crate::data::tokenizer::Tokenizer;
    use crate::device::cpu::Cpu;
    use crate::model::{Mode, Model, ModelConfig, Weights};
    use crate::task::generate::Sampling;
    use std::sync::Arc;

    fn reader() -> TextReader {
        let device = Cpu::<f32>::new(Some(1)).unwrap();
        let config =
            ModelConfig { width: 8, blocks: 1, heads: 2, head_width: 4, feed_forward: 8, ..ModelConfig::default() };
        let weights = Weights::of(&device, &Model::new(&device, config, 1).unwrap()).unwrap();
        TextReader::new(Arc::new(weights), Tokenizer::Bytes, Mode::On).unwrap()
    }

    const TEXT: &[u8] = b"what it reads, it remembers; what it remembers, it reads";

    #[test]
    fn cuts_and_saves_change_no_bit_and_costs_are_those_of_the_odds() {
        let mut whole = reader();
        assert!(whole.next().iter().all(|&x| x == -256f64.ln()));
        let (read, done) = whole.feed(TEXT, |_, _| true);
        done.unwrap();
        assert_eq!((read.tokens, read.bytes, read.predicted), (56, 56, 55));
        let (mut cut, mut sum) = (reader(), 0.0);
        for (i, &byte) in TEXT.iter().enumerate() {
            let odds = cut.next()[usize::from(byte)];
            let (one, done) = cut.feed(&[byte], |_, _| true);
            done.unwrap();
            assert!(
                i == 0 && one == ReadText { tokens: 1, bytes: 1, ..ReadText::default() }
                    || (one.nats + odds).abs() < 1e-5
            );
            sum += one.nats;
            let saved = cut.save().unwrap();
            cut = reader();
            cut.load(&saved).unwrap();
        }
        assert!((sum - read.nats).abs() < 1e-9);
        assert_eq!(cut.save().unwrap(), whole.save().unwrap());
        assert_eq!(cut.next(), whole.next());
    }

    #[test]
    fn what_is_written_is_read_and_a_clone_leaves_the_reader_alone() {
        let mut first = reader();
        first.feed(TEXT, |_, _| true).1.unwrap();
        let before = first.save().unwrap();
        let sampling = Sampling { tokens: 20, ..Sampling::default() };
        let (mut text, mut fork) = (vec![], first.clone());
        assert_eq!(
            fork.write(&sampling, |bytes| {
                text.extend_from_slice(bytes);
                true
            })
            .unwrap(),
            20
        );
        assert_eq!((text.len(), first.save().unwrap()), (20, before));
        first.feed(&text, |_, _| true).1.unwrap();
        assert_eq!(first.save().unwrap(), fork.save().unwrap());
        assert_eq!(fork.write(&sampling, |_| false).unwrap(), 1);
        fork.reset().unwrap();
        assert_eq!(fork.save().unwrap(), reader().save().unwrap());
        let damaged = [&before_half(&fork.save().unwrap()), &[][..]].concat();
        assert!(fork.load(&damaged).is_err());
    }

    fn before_half(bytes: &[u8]) -> Vec<u8> {
        bytes[..bytes.len() / 2].to_vec()
    }
}
