//! What is hidden in a haystack, and what is asked about it.

use super::Haystack;
use crate::device::IGNORE;
use crate::{Error, Result};

/// Sentences hidden in a haystack, a question, and its answer: as many tokens as are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// What comes first.
    pub head: Vec<u32>,
    /// What is hidden, in order: each stands before the first sentence of the haystack that begins after so many of its
    /// tokens or more, or at its end.
    pub hidden: Vec<(usize, Vec<u32>)>,
    /// What comes behind the haystack.
    pub question: Vec<u32>,
    /// The last tokens, which are to be predicted.
    pub answer: Vec<u32>,
    /// The sentence with which the haystack begins; behind its last one its first one follows.
    pub first: usize,
    /// Tokens of the haystack, whose last sentence is cut where they end.
    pub hay: usize,
}

impl Hidden {
    /// Tokens of all but the haystack.
    pub fn least(&self) -> usize {
        let hidden: usize = self.hidden.iter().map(|(_, ids)| ids.len()).sum();
        self.head.len() + hidden + self.question.len() + self.answer.len()
    }

    /// Tokens in all.
    pub fn len(&self) -> usize {
        self.least() + self.hay
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes as much of a haystack as makes `length` tokens.
    ///
    /// # Errors
    /// [`Error::Usage`] with the tokens that are needed.
    pub fn stretch(&mut self, length: usize) -> Result<()> {
        let least = self.least();
        self.hay = length.checked_sub(least).ok_or_else(|| {
            Error::usage(format!(
                "length: what is hidden, the question and its answer need {least} tokens at least, found {length}"
            ))
        })?;
        Ok(())
    }

    /// Token by token, each with the one that is to be predicted after it: the answer's, [`IGNORE`] elsewhere. Any
    /// length takes the same few bytes.
    pub fn tokens<'a>(&'a self, haystack: &'a Haystack) -> HiddenTokens<'a> {
        HiddenTokens { sample: self, haystack, place: HayPlace::default(), given: 0, next: None }
    }
}

/// Where the haystack's iterator stands.
#[derive(Clone, Copy, Debug, Default)]
struct HayPlace {
    /// Tokens of the head, of the haystack, of the question and of the answer that were given.
    head: usize,
    hay: usize,
    tail: usize,
    /// The sentence, counted from the sample's first, and tokens of it that were given.
    sentence: usize,
    within: usize,
    /// What was hidden, and tokens of what is being hidden; none while a sentence goes on.
    hidden: usize,
    open: Option<usize>,
}

/// The tokens of a [`Hidden`], one after another.
#[derive(Clone, Debug)]
pub struct HiddenTokens<'a> {
    sample: &'a Hidden,
    haystack: &'a Haystack,
    place: HayPlace,
    given: usize,
    next: Option<u32>,
}

impl HiddenTokens<'_> {
    fn id(&mut self) -> Option<u32> {
        let (sample, p) = (self.sample, &mut self.place);
        if let Some(&id) = sample.head.get(p.head) {
            p.head += 1;
            return Some(id);
        }
        while let Some((at, ids)) = sample.hidden.get(p.hidden) {
            if p.open.is_none() && (p.within != 0 || *at > p.hay) && p.hay < sample.hay {
                break;
            }
            let open = p.open.get_or_insert(0);
            if let Some(&id) = ids.get(*open) {
                *open += 1;
                return Some(id);
            }
            (p.hidden, p.open) = (p.hidden + 1, None);
        }
        if p.hay < sample.hay {
            let sentence = self.haystack.sentence(sample.first.wrapping_add(p.sentence));
            let id = sentence[p.within];
            (p.hay, p.within) = (p.hay + 1, p.within + 1);
            if p.within == sentence.len() {
                (p.sentence, p.within) = (p.sentence + 1, 0);
            }
            return Some(id);
        }
        let tail = p.tail;
        p.tail += 1;
        sample.question.get(tail).or_else(|| sample.answer.get(tail - sample.question.len().min(tail))).copied()
    }
}

impl Iterator for HiddenTokens<'_> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let id = match self.next.take() {
            Some(id) => id,
            None if self.given == 0 => self.id()?,
            None => return None,
        };
        self.next = self.id();
        self.given += 1;
        let asked = self.given + self.sample.answer.len() >= self.sample.len();
        Some((id, self.next.filter(|_| asked).unwrap_or(IGNORE)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Haystack;
    use super::Hidden;
    use crate::data::tokenizer::Tokenizer;
    use crate::device::IGNORE;

    fn haystack() -> Haystack {
        Haystack::texts(&Tokenizer::Bytes, &[b"aa. bbbb. cc.".to_vec()]).unwrap()
    }

    fn text(sample: &Hidden) -> (String, String) {
        let haystack = haystack();
        let tokens: Vec<(u32, u32)> = sample.tokens(&haystack).collect();
        let said = |of: fn(&(u32, u32)) -> u32| {
            let byte = |t| match of(t) {
                IGNORE => '~',
                id => char::from(u8::try_from(id).unwrap()),
            };
            tokens.iter().map(byte).collect::<String>()
        };
        (said(|t| t.0), said(|t| t.1))
    }

    fn sample(hidden: &[(usize, &str)]) -> Hidden {
        let ids = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
        Hidden {
            head: ids("<"),
            hidden: hidden.iter().map(|&(at, text)| (at, ids(text))).collect(),
            question: ids("?"),
            answer: ids("xy"),
            first: 1,
            hay: 0,
        }
    }

    #[test]
    fn what_is_hidden_stands_between_sentences_and_the_answer_is_asked() {
        let mut one = sample(&[(7, "!"), (7, "#")]);
        one.stretch(26).unwrap();
        let (ids, targets) = text(&one);
        assert_eq!(ids, "< bbbb. cc.!# aa. bbbb.?xy", "after 10, the first place from 7 on");
        assert_eq!(targets, format!("{}xy~", "~".repeat(23)));
        let mut cut = sample(&[(0, "!"), (9, "#")]);
        cut.stretch(14).unwrap();
        assert_eq!(text(&cut).0, "<! bbbb. c#?xy", "at the end, where the last sentence is cut");
        let mut none = sample(&[(0, "!"), (0, "#")]);
        none.stretch(6).unwrap();
        assert_eq!(text(&none).0, "<!#?xy");
        let error = none.stretch(5).unwrap_err().to_string();
        assert!(error.contains("need 6 tokens") && error.contains("found 5"), "{error}");
        assert_eq!((none.len(), none.is_empty(), Hidden::default().tokens(&haystack()).next()), (6, false, None));
    }

    #[test]
    fn parts_share_no_sentence() {
        let (train, valid) = haystack().split(0.3).unwrap();
        assert_eq!((train.sentences(), valid.sentences(), train.len() + valid.len()), (2, 1, haystack().len()));
        let one = Haystack::texts(&Tokenizer::Bytes, &[b"One.".to_vec()]).unwrap();
        assert!(one.split(0.3).unwrap_err().to_string().contains("give more text"));
        assert_eq!(haystack().split(0.999).unwrap().0.sentences(), 1, "training keeps one");
        assert!(Haystack::texts(&Tokenizer::Bytes, &[b"# x\n".to_vec()]).is_err());
        assert_eq!(Haystack::noise(&Tokenizer::Bytes).unwrap().sentences(), 5);
    }
}
