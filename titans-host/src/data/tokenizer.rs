//! From bytes to token ids and back: the bytes themselves, or byte-level BPE from a vocabulary file.
//!
//! Both lose nothing: what the ids stand for, one after another, is the text, whatever bytes it has. That is what makes
//! bits a byte of one comparable with the other, and is checked while a text is read.

mod learn;

use super::text::{self, Content};
use crate::{Error, Result};
use flate2::Crc;
pub use learn::{Learned, learn};
use serde_json::{Value, json};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a text that are encoded at once, about: bounds the memory.
const PIECE: usize = 1 << 18;
/// Most ids of a vocabulary.
const IDS: usize = 1 << 20;

/// A way to read bytes as token ids.
///
/// ```
/// use titans_host::data::tokenizer::Tokenizer;
///
/// let tokenizer = Tokenizer::open(None)?; // bytes; with a path the vocabulary of a file such as `tokenizer.json`
/// let ids = tokenizer.encode("né".as_bytes())?;
/// assert_eq!((tokenizer.vocabulary(), &ids[..]), (256, &[110, 195, 169][..]));
/// assert_eq!(tokenizer.decode(&ids), "né".as_bytes());
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum Tokenizer {
    /// Every byte is its own id.
    #[default]
    Bytes,
    /// Byte-level byte-pair encoding.
    Bpe(Arc<Bpe>),
}

/// Byte-level BPE: every id stands for a run of bytes.
pub struct Bpe {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    /// What each id stands for; nothing for numbers that no token has.
    bytes: Vec<Box<[u8]>>,
    /// The ids of single bytes.
    singles: Vec<Option<u32>>,
    crc32: u32,
    notes: Vec<String>,
}

impl Tokenizer {
    /// Bytes without a path, else the vocabulary at `path`: a `tokenizer.json`, or the `vocab.json` of a pair with its
    /// `merges.txt` beside it. Names that end in `.gz` are decompressed.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`] naming the file and why it is no byte-level BPE.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        match path {
            None => Ok(Self::Bytes),
            Some(path) => Bpe::open(path).map(|bpe| Self::Bpe(Arc::new(bpe))).map_err(|error| match error {
                Error::Io { path, source, .. } if source.kind() == ErrorKind::NotFound => {
                    Error::io(path, "opening the vocabulary, whose place --tokenizer says", source)
                }
                error => error,
            }),
        }
    }

    /// Ids are below this.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Bpe(bpe) => bpe.bytes.len(),
        }
    }

    /// CRC-32 of the vocabulary's files, none for bytes: what tells one vocabulary from another.
    pub fn crc32(&self) -> Option<u32> {
        match self {
            Self::Bytes => None,
            Self::Bpe(bpe) => Some(bpe.crc32),
        }
    }

    /// What is worth a word about the vocabulary's files, a sentence each that names its file.
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Bytes => &[],
            Self::Bpe(bpe) => &bpe.notes,
        }
    }

    /// The ids of a text. Bytes that are not UTF-8 are encoded one by one. Long texts are encoded in pieces that begin
    /// with a space after a letter, which is where words begin anyway.
    ///
    /// # Errors
    /// [`Error::File`] naming the vocabulary when its ids do not give the text back.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        match self {
            Self::Bytes => Ok(text.iter().map(|&b| u32::from(b)).collect()),
            Self::Bpe(bpe) => bpe.encode(text),
        }
    }

    /// The bytes that an id stands for; none for a number that no token has.
    pub fn bytes(&self, id: u32) -> &[u8] {
        static ALL: [u8; 256] = {
            let mut all = [0; 256];
            let mut i = 0;
            while i < 256 {
                all[i] = i as u8;
                i += 1;
            }
            all
        };
        let id = id as usize;
        match self {
            Self::Bytes => ALL.get(id..id + 1).unwrap_or_default(),
            Self::Bpe(bpe) => bpe.bytes.get(id).map_or(&[], |bytes| bytes),
        }
    }

    /// The bytes that ids stand for, one after another.
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.bytes(id)).copied().collect()
    }
}

impl Bpe {
    fn open(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::file(path, reason);
        let Content { bytes, mut notes } = text::read(&[path])?;
        let mut crc = Crc::new();
        crc.update(&bytes);
        let json: Value = serde_json::from_slice(&bytes).map_err(|e| {
            wrong(format!("expected the JSON of a tokenizer.json or a vocab.json, found damage or another format: {e}"))
        })?;
        let mut json = if json.get("model").is_some_and(Value::is_object) {
            json
        } else {
            let merges = merges_beside(path)?;
            notes.extend(merges.notes);
            crc.update(&merges.bytes);
            pair(json, &String::from_utf8_lossy(&merges.bytes))
        };
        // What would cut, fill or add to a text.
        for part in ["truncation", "padding", "post_processor"] {
            json[part] = Value::Null;
        }
        let model = &json["model"];
        let kind = model["type"].as_str().unwrap_or("BPE");
        if kind != "BPE" {
            return Err(wrong(format!("expected a model of type BPE, found {kind}; use a byte-level BPE vocabulary")));
        }
        if model["dropout"].as_f64().is_some_and(|p| p > 0.0) {
            return Err(wrong(
                "model.dropout: expected none, found some: a text would have other ids each time".into(),
            ));
        }
        let inner = tokenizers::Tokenizer::from_bytes(json.to_string())
            .map_err(|e| wrong(format!("expected a vocabulary of byte-level BPE: {e}")))?;
        Ok(Self { notes, ..Self::new(path, inner, crc.sum())? })
    }

    fn new(path: &Path, inner: tokenizers::Tokenizer, crc32: u32) -> Result<Self> {
        let wrong = |reason: String| Error::file(path, reason);
        let added = inner.get_added_tokens_decoder();
        let vocab = inner.get_vocab(true);
        let count = vocab.values().max().map_or(0, |&id| id as usize + 1);
        if count == 0 || count > IDS {
            return Err(wrong(format!("expected 1 to {IDS} tokens, found ids up to {count}")));
        }
        let (mut bytes, mut singles) = (vec![Box::default(); count], vec![None; 256]);
        for (token, &id) in &vocab {
            let said: Option<Vec<u8>> = match added.contains_key(&id) {
                true => Some(token.as_bytes().to_vec()),
                false => token.chars().map(byte).collect(),
            };
            let said = said.ok_or_else(|| {
                wrong(format!(
                    "token {id}, {token:?}: expected bytes in the letters of byte-level BPE, found another one"
                ))
            })?;
            if let (&[byte], false) = (&said[..], added.contains_key(&id)) {
                singles[usize::from(byte)] = Some(id);
            }
            bytes[id as usize] = said.into_boxed_slice();
        }
        Ok(Self { path: path.to_path_buf(), inner, bytes, singles, crc32, notes: Vec::new() })
    }

    fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        for chunk in text.utf8_chunks() {
            let mut left = chunk.valid();
            while !left.is_empty() {
                let (piece, rest) = left.split_at(cut(left.as_bytes(), PIECE));
                self.piece(piece, &mut ids)?;
                left = rest;
            }
            for &byte in chunk.invalid() {
                let id = self.singles[usize::from(byte)].ok_or_else(|| {
                    Error::file(
                        &self.path,
                        format!("the text has the byte {byte:#04x}, the vocabulary no token for it"),
                    )
                })?;
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn piece(&self, piece: &str, ids: &mut Vec<u32>) -> Result<()> {
        let wrong = |reason: String| Error::file(&self.path, reason);
        let encoding = self.inner.encode_fast(piece, false).map_err(|e| wrong(format!("encoding the text: {e}")))?;
        let mut left = piece.as_bytes();
        for &id in encoding.get_ids() {
            let said = self.bytes.get(id as usize).map_or(&[][..], |bytes| bytes);
            left = left.strip_prefix(said).filter(|_| !said.is_empty()).ok_or_else(|| lossy(&self.path, left))?;
        }
        if !left.is_empty() {
            return Err(lossy(&self.path, left));
        }
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

/// The text does not come back from its ids at `left`.
fn lossy(path: &Path, left: &[u8]) -> Error {
    let text = String::from_utf8_lossy(&left[..left.len().min(24)]).into_owned();
    Error::file(
        path,
        format!(
            "the ids do not give the text back at {text:?}: expected byte-level BPE with all bytes, without a normalizer or an \
             added space; use another vocabulary, or bytes"
        ),
    )
}

/// Where a text is cut after `least` bytes: before a space after a letter, or at its end.
fn cut(text: &[u8], least: usize) -> usize {
    let from = least.min(text.len());
    let place = text[from..].windows(2).position(|w| w[0].is_ascii_alphabetic() && w[1] == b' ');
    place.map_or(text.len(), |i| from + i + 1)
}

/// The `merges.txt` of a `vocab.json`: the same name with "vocab" and ".json" changed, in the same folder.
fn merges_beside(path: &Path) -> Result<Content> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let named =
        path.file_name().unwrap_or_default().to_string_lossy().replace("vocab", "merges").replace(".json", ".txt");
    let plain = named.strip_suffix(".gz").unwrap_or(&named);
    let places = [folder.join(plain), folder.join(format!("{plain}.gz"))];
    match places.iter().find(|p| *p != path && p.is_file()) {
        Some(merges) => text::read(&[merges]),
        None => Err(Error::file(
            path,
            format!(
                "it has no `model`, and as a vocab.json it needs {} beside it, which is not there",
                places[0].display()
            ),
        )),
    }
}

/// A `tokenizer.json` of a pair, as GPT-2 splits words.
fn pair(vocab: Value, merges: &str) -> Value {
    let lines = merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
    let merges: Vec<&str> = lines.collect();
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    })
}

/// The byte that a letter of byte-level BPE stands for: printable Latin 1 as itself, the other 68 bytes from U+0100 on.
fn byte(letter: char) -> Option<u8> {
    match u32::from(letter) {
        x @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => u8::try_from(x).ok(),
        x @ 0x100..=0x120 => u8::try_from(x - 0x100).ok(),
        x @ 0x121..=0x142 => u8::try_from(x - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

impl fmt::Debug for Bpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bpe").field("path", &self.path).field("vocabulary", &self.bytes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "../../../tests/common/vocabulary.rs"]
mod vocabulary;
