//! Texts with a vocabulary of words: a blob and its `tokenizer.json` through the C functions.

#[path = "../common/vocabulary.rs"]
mod vocabulary;

use crate::streams::support::weights;
use crate::support::expect;
use crate::texts::Reader;
use crate::tools::temporary;
use std::ffi::CString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use titans::titans_status::*;
use titans::*;
use titans_host::model::ModelConfig;

const MERGES: [(&str, &str); 4] = [("t", "h"), ("th", "e"), (" ", "the"), ("a", "n")];
/// 256 bytes, the merges' tokens, and `<end>`.
const SYMBOLS: usize = 256 + 4 + 1;

/// A blob and its vocabulary, in files of that name.
fn files(name: &str) -> (PathBuf, PathBuf) {
    let config = ModelConfig {
        width: 8,
        blocks: 1,
        heads: 2,
        head_width: 4,
        feed_forward: 8,
        vocabulary: SYMBOLS,
        ..ModelConfig::default()
    };
    let (blob, words) = (temporary(&format!("{name}.titans")), temporary(&format!("{name}.json")));
    std::fs::write(&blob, weights(&config).bytes()).unwrap();
    std::fs::write(&words, vocabulary::tokenizer(&MERGES).to_string()).unwrap();
    (blob, words)
}

/// A reader of words.
pub fn reader(name: &str) -> Reader {
    let (blob, words) = files(name);
    reader_of(&blob, &words).unwrap_or_else(|status| panic!("opening ends with {status}"))
}

/// Such a blob, and the vocabulary packed by gzip.
pub fn packed(name: &str) -> (PathBuf, PathBuf) {
    let (blob, words) = files(name);
    let to = words.with_extension("json.gz");
    let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    gz.write_all(&std::fs::read(words).unwrap()).unwrap();
    std::fs::write(&to, gz.finish().unwrap()).unwrap();
    (blob, to)
}

/// A reader with the model and the vocabulary in these files, or what opening them ends with.
pub fn reader_of(blob: &Path, words: &Path) -> Result<Reader, i32> {
    let c = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
    let (blob, words, mut model, mut text) = (c(blob), c(words), null_mut(), null_mut());
    let mut options = std::mem::MaybeUninit::<titans_host_options>::uninit();
    // SAFETY: borrows.
    unsafe {
        let size = size_of::<titans_host_options>();
        expect(titans_host_options_init(options.as_mut_ptr(), size, TITANS_ABI_VERSION, null_mut()), TITANS_OK);
        let mut options = options.assume_init();
        options.tokenizer = words.as_ptr();
        let status = titans_host_open(blob.as_ptr(), &options, &mut model, null_mut());
        if status != 0 {
            return Err(status);
        }
        expect(titans_text_open(model, null(), &mut text, null_mut()), TITANS_OK);
        titans_host_close(model);
    }
    Ok(Reader(text))
}

#[test]
fn words_are_tokens_of_several_bytes_and_cost_what_the_odds_say() {
    let mut text = reader("words");
    let (mut count, mut len, mut bytes) = (0, 77, [9u8; 8]);
    // SAFETY: borrows with their lengths.
    unsafe {
        expect(titans_text_vocabulary(text.0, &mut count, null_mut()), TITANS_OK);
        let token = |id, capacity, len: &mut usize, bytes: &mut [u8; 8]| {
            titans_text_token(text.0, id, bytes.as_mut_ptr(), capacity, len, null_mut())
        };
        expect(token(258, 3, &mut len, &mut bytes), TITANS_ERROR_BUFFER_TOO_SMALL);
        assert_eq!((len, bytes), (77, [9; 8]));
        expect(token(258, 8, &mut len, &mut bytes), TITANS_OK);
        assert_eq!((len, &bytes[..5]), (4, &b" the\x09"[..]));
        expect(titans_text_token(text.0, 258, null_mut(), 0, &mut len, null_mut()), TITANS_OK);
        expect(token(SYMBOLS as u32, 8, &mut len, &mut bytes), TITANS_ERROR_TOKEN_RANGE);
    }
    assert_eq!((count, len), (SYMBOLS, 4));
    let first = text.feed(b"an");
    assert_eq!((first.tokens, first.bytes, first.predicted), (1, 2, 0));
    let mut odds = vec![f64::NAN; SYMBOLS];
    // SAFETY: borrows with their lengths.
    unsafe {
        expect(titans_text_next(text.0, odds.as_mut_ptr(), 256, null_mut()), TITANS_ERROR_LENGTH);
        expect(titans_text_next(text.0, odds.as_mut_ptr(), SYMBOLS, null_mut()), TITANS_OK);
    }
    let next = text.feed(b" the");
    assert_eq!((next.tokens, next.bytes, next.predicted, next.predicted_bytes), (1, 4, 1, 4));
    assert!((next.nats + odds[258].ln()).abs() < 1e-5, "{} nats, {}", next.nats, odds[258]);
    // A word that is cut between two calls becomes other tokens.
    assert_eq!((text.feed(b" t").tokens, text.feed(b"he").tokens), (2, 2));
}
