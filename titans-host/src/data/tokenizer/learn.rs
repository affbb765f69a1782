//! Byte-level BPE learned from a text.

use super::{Bpe, IDS, PIECE, cut};
use crate::{Error, Result};
use std::path::Path;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// The tokens that every vocabulary has: all bytes.
const BYTES: usize = 256;

/// A vocabulary that was learned.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The content of its `tokenizer.json`.
    pub json: String,
    /// Its tokens; fewer than were asked for where the text has no more pairs that come so often.
    pub vocabulary: usize,
    /// Tokens that the text is in it.
    pub tokens: usize,
}

/// Learns `vocabulary` tokens from a text: all 256 bytes, and the most frequent pairs of tokens that come `least` times
/// or more, merged one after another inside of GPT-2's words. Bytes that are not UTF-8 are passed over. The same text
/// gives the same vocabulary.
///
/// # Errors
/// [`Error::Usage`] for a size out of range, or a text without a character.
pub fn learn(text: &[u8], vocabulary: usize, least: u64) -> Result<Learned> {
    if !(BYTES..=IDS).contains(&vocabulary) {
        return Err(Error::usage(format!(
            "vocabulary: expected {BYTES} (every byte is a token) to {IDS} tokens, found {vocabulary}"
        )));
    }
    let wrong = |e: tokenizers::Error| Error::usage(format!("learning a vocabulary: {e}"));
    let pieces: Vec<&str> = pieces(text).collect();
    if pieces.is_empty() {
        return Err(Error::usage("expected a text to learn from, found nothing in UTF-8"));
    }
    let trainer = BpeTrainer::builder()
        .vocab_size(vocabulary)
        .min_frequency(least)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut inner = tokenizers::Tokenizer::new(ModelWrapper::BPE(BPE::default()));
    inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    inner.with_decoder(Some(ByteLevel::new(false, true, true)));
    inner.train(&mut TrainerWrapper::BpeTrainer(trainer), pieces.into_iter()).map_err(wrong)?;
    let json = inner.to_string(true).map_err(wrong)?;
    // What cannot give the text back would be refused where it is used.
    let bpe = Bpe::new(Path::new("the new vocabulary"), inner, 0)?;
    let tokens = bpe.encode(text)?.len();
    Ok(Learned { json, vocabulary: bpe.bytes.len(), tokens })
}

/// The text in UTF-8, in the pieces in which it is encoded.
fn pieces(text: &[u8]) -> impl Iterator<Item = &str> {
    text.utf8_chunks().flat_map(|chunk| {
        let mut left = chunk.valid();
        std::iter::from_fn(move || {
            let (piece, rest) = left.split_at(cut(left.as_bytes(), PIECE));
            left = rest;
            (!piece.is_empty()).then_some(piece)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use super::{Learned, learn, pieces};
    use crate::data::tokenizer::PIECE;

    fn text() -> Vec<u8> {
        (0..400).flat_map(|i| format!("the {} bottles, été {}\n", i * i % 97, i % 7).into_bytes()).collect()
    }

    fn open(learned: &Learned) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, &learned.json).unwrap();
        Tokenizer::open(Some(&path)).unwrap()
    }

    #[test]
    fn a_vocabulary_has_the_size_asked_for_and_gives_any_text_back() {
        let learned = learn(&text(), 300, 2).unwrap();
        let tokenizer = open(&learned);
        assert_eq!((learned.vocabulary, tokenizer.vocabulary()), (300, 300));
        let ids = tokenizer.encode(&text()).unwrap();
        assert_eq!((ids.len(), tokenizer.decode(&ids)), (learned.tokens, text()));
        assert!(2 * ids.len() < text().len(), "pairs were merged");
        assert!((0..300).any(|id| tokenizer.bytes(id) == b" bottles"), "a frequent word is a token");
        let odd = b"\xff\xfe never \x00 seen \xe2\x82";
        assert_eq!(tokenizer.decode(&tokenizer.encode(odd).unwrap()), odd);
    }

    #[test]
    fn the_same_text_gives_the_same_vocabulary() {
        let first = learn(&text(), 320, 2).unwrap();
        for _ in 0..5 {
            assert_eq!(learn(&text(), 320, 2).unwrap().json, first.json);
        }
    }

    #[test]
    fn a_text_without_so_many_pairs_gives_fewer_and_no_text_none() {
        let learned = learn(b"ab ab ab", 1000, 2).unwrap();
        assert_eq!(learned.vocabulary, 256 + 2, "ab, and a blank with it");
        assert_eq!(learn(b"ab ab ab", 256, 2).unwrap().tokens, 8);
        for (text, size, says) in [
            (&b""[..], 300, "found nothing"),
            (b"\xff\xfe", 300, "found nothing"),
            (b"ab", 255, "found 255"),
            (b"ab", (1 << 20) + 1, "1048577"),
        ] {
            let error = learn(text, size, 2).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn pieces_are_the_text_without_what_is_no_utf8() {
        let mut long = "word ".repeat(PIECE / 2).into_bytes();
        long.extend(b"\xff end");
        let joined: String = pieces(&long).collect();
        assert_eq!(joined.len(), long.len() - 1);
        assert!(pieces(&long).count() > 2 && pieces(b"").next().is_none());
    }
}
