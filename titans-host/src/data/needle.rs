//! One needle in a haystack: a sentence that gives a key its value, and at the end the question for it (the
//! single-needle tasks of RULER, Hsieh et al. 2024, by their published wording).

use super::haystack::{Haystack, Hidden};
use super::tokenizer::Tokenizer;
use crate::Result;
use rand::{Rng, RngExt};
use titans_kernel::choice;

choice! {
    /// What is hidden.
    #[derive(Default)]
    pub enum NeedleKind: "needle" {
        /// A number of 7 digits; its haystack is a few sentences that repeat.
        #[default]
        Passkey = 0, "passkey";
        /// A number of 7 digits in a text.
        Number = 1, "number";
        /// A UUID, 32 hexadecimal digits in groups, in a text.
        Uuid = 2, "uuid";
    }
}

/// Keys are an adjective and a noun.
const ADJECTIVES: [&str; 48] = [
    "able", "amber", "ancient", "bitter", "brave", "brief", "bright", "broad", "calm", "clever", "cold", "common",
    "crimson", "curious", "deep", "distant", "dusty", "early", "eager", "faint", "gentle", "golden", "grand", "hollow",
    "humble", "icy", "jolly", "keen", "lively", "lonely", "loud", "mellow", "narrow", "noble", "odd", "pale", "plain",
    "proud", "quiet", "rapid", "rough", "silent", "slender", "steady", "tender", "vivid", "warm", "young",
];
const NOUNS: [&str; 64] = [
    "anchor", "apple", "arrow", "barrel", "basket", "beacon", "bridge", "bucket", "button", "candle", "carpet",
    "castle", "cloud", "copper", "corner", "cradle", "dagger", "desert", "engine", "falcon", "feather", "fiddle",
    "forest", "garden", "goblet", "hammer", "harbor", "helmet", "island", "jacket", "kettle", "ladder", "lantern",
    "lemon", "marble", "meadow", "mirror", "needle", "ocean", "orchard", "paddle", "pebble", "pencil", "pepper",
    "pillow", "planet", "pocket", "pond", "puzzle", "ribbon", "river", "rocket", "saddle", "shadow", "signal",
    "silver", "spider", "temple", "thunder", "ticket", "tunnel", "valley", "window", "winter",
];

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// What is asked for.
    pub key: String,
    /// The answer.
    pub value: String,
}

impl NeedleKind {
    /// Draws a key and its value.
    pub fn needle<R: Rng>(self, rng: &mut R) -> Needle {
        let adjective = ADJECTIVES[rng.random_range(0..ADJECTIVES.len() as u64) as usize];
        let noun = NOUNS[rng.random_range(0..NOUNS.len() as u64) as usize];
        Needle { key: format!("{adjective}-{noun}"), value: self.value(rng) }
    }

    fn value<R: Rng>(self, rng: &mut R) -> String {
        match self {
            Self::Passkey | Self::Number => rng.random_range(1_000_000..10_000_000u32).to_string(),
            Self::Uuid => {
                // Version 4, as most programs draw them.
                let bits = rng.random::<u128>() & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
                let hex = format!("{bits:032x}");
                [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
            }
        }
    }

    /// Values differ by so many ways that a guess is right in one of them.
    pub fn chance(self) -> f64 {
        match self {
            Self::Passkey | Self::Number => 1.0 / 9e6,
            Self::Uuid => (-122f64).exp2(),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Passkey | Self::Number => "number",
            Self::Uuid => "uuid",
        }
    }

    /// Hides a needle, `depth` of the haystack from its beginning (0 to 1), in so much of it that there are `length`
    /// tokens in all. The haystack begins with sentence `first`.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] with the tokens that are needed; as [`Tokenizer::encode`].
    pub fn hide(
        self,
        needle: &Needle,
        tokenizer: &Tokenizer,
        (length, depth, first): (usize, f64, usize),
    ) -> Result<Hidden> {
        let (what, Needle { key, value }) = (self.noun(), needle);
        let encode = |text: String| tokenizer.encode(text.as_bytes());
        let mut hidden = Hidden {
            head: encode(format!(
                "A special magic {what} is hidden within the following text. Make sure to memorize it. I will quiz you about the {what} \
                 afterwards.\n"
            ))?,
            hidden: vec![(0, encode(format!(" One of the special magic {what}s for {key} is: {value}."))?)],
            question: encode(format!(
                "\nWhat is the special magic {what} for {key} mentioned in the provided text? The special magic {what} for {key} mentioned in \
                 the provided text is"
            ))?,
            answer: encode(format!(" {value}"))?,
            first,
            hay: 0,
        };
        hidden.stretch(length)?;
        hidden.hidden[0].0 = (depth.clamp(0.0, 1.0) * hidden.hay as f64).round() as usize;
        Ok(hidden)
    }

    /// Tokens with which every needle and its question fit, exactly so for bytes.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn least_length(self, tokenizer: &Tokenizer) -> Result<usize> {
        let longest = |words: &[&str]| words.iter().map(|word| word.len()).max().unwrap_or(0);
        let (key, value) = (longest(&ADJECTIVES) + longest(&NOUNS) + 1, if self == Self::Uuid { 36 } else { 7 });
        let none = Needle { key: String::new(), value: String::new() };
        // A key stands in three places, a value in two, and no word has more tokens than bytes.
        Ok(self.hide(&none, tokenizer, (usize::MAX / 2, 0.0, 0))?.least() + 3 * key + 2 * value)
    }

    /// Draws a sample of `length` tokens; `depth` by chance where it is not given.
    ///
    /// # Errors
    /// As [`NeedleKind::hide`].
    pub fn draw<R: Rng>(
        self,
        rng: &mut R,
        (tokenizer, haystack): (&Tokenizer, &Haystack),
        length: usize,
        depth: Option<f64>,
    ) -> Result<(Needle, Hidden)> {
        let needle = self.needle(rng);
        let first = rng.random_range(0..haystack.sentences() as u64) as usize;
        let depth = depth.unwrap_or_else(|| rng.random());
        let hidden = self.hide(&needle, tokenizer, (length, depth, first))?;
        Ok((needle, hidden))
    }
}
