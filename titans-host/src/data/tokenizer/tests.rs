//! Vocabularies against texts of every kind, and what is none.

use super::vocabulary::{letter, merges, tokenizer, vocab};
use super::{Tokenizer, byte, cut};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const MERGES: [(&str, &str); 5] = [("t", "h"), ("th", "e"), (" ", "the"), ("\n", "\n"), ("v", "u")];

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn open(json: &Value) -> crate::Result<Tokenizer> {
    let folder = tempfile::tempdir().unwrap();
    Tokenizer::open(Some(&write(folder.path(), "tokenizer.json", &json.to_string())))
}

#[test]
fn letters_are_bytes() {
    for b in 0..=255 {
        assert_eq!(byte(letter(b)), Some(b));
    }
    assert_eq!((byte(' '), byte('▁'), byte('\u{144}'), byte('\u{AD}')), (None, None, None, None));
}

#[test]
fn texts_come_back_whatever_their_bytes() {
    let bpe = open(&tokenizer(&MERGES)).unwrap();
    assert_eq!((bpe.vocabulary(), Tokenizer::Bytes.vocabulary()), (256 + 5 + 1, 256));
    assert_eq!(bpe.encode(b"the the").unwrap(), [257, 258]);
    assert_eq!(bpe.encode(b"the<end>\n\n").unwrap(), [257, 261, 259]);
    assert_eq!(bpe.bytes(258), b" the");
    assert_eq!((bpe.bytes(262), Tokenizer::Bytes.bytes(256)), (&b""[..], &b""[..]));
    let all: Vec<u8> = (0..=255).collect();
    let texts: [&[u8]; 6] = [
        b"",
        &all,
        "très vu, ∀x: été 😀".as_bytes(),
        b"\xff\xfe the \xe2\x82",
        &[0xf0, 0x9f, 0x98],
        b" the\r\n\tthe  the",
    ];
    for text in texts {
        for tokenizer in [&bpe, &Tokenizer::Bytes] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids), text);
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary()));
        }
    }
    assert_eq!(Tokenizer::Bytes.encode(b"\x00a\xff").unwrap(), [0, 97, 255]);
}

#[test]
fn pieces_of_a_long_text_have_the_ids_of_the_whole() {
    assert_eq!(cut(b"ab cd ef", 3), 5);
    assert_eq!(cut(b"ab cd ef", 6), 8, "no space is left");
    assert_eq!((cut(b"a. b", 0), cut(b"", 9)), (4, 0));
    let bpe = open(&tokenizer(&MERGES)).unwrap();
    let text = "the other  the\n\n the, Theé.".repeat(30_000);
    let Tokenizer::Bpe(inner) = &bpe else { panic!() };
    let mut whole = Vec::new();
    inner.piece(&text, &mut whole).unwrap();
    assert!(text.len() > 2 * super::PIECE);
    assert_eq!(bpe.encode(text.as_bytes()).unwrap(), whole);
}

#[test]
fn a_pair_of_files_is_the_same_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let path = write(here, "vocab.json", &Value::Object(vocab(&MERGES)).to_string());
    let error = Tokenizer::open(Some(&path)).unwrap_err().to_string();
    assert!(error.contains("vocab.json") && error.contains("merges.txt"), "{error}");
    write(here, "merges.txt", &merges(&MERGES));
    let of_pair = Tokenizer::open(Some(&path)).unwrap();
    let whole = open(&tokenizer(&MERGES)).unwrap();
    let text = "then the été,\n\nthere".as_bytes();
    assert_eq!(of_pair.encode(text).unwrap(), whole.encode(text).unwrap());
    assert_eq!(of_pair.vocabulary() + 1, whole.vocabulary(), "but for the special token");
    // Another merge is another vocabulary.
    let before = of_pair.crc32();
    write(here, "merges.txt", &merges(&MERGES[..4]));
    assert_ne!(Tokenizer::open(Some(&path)).unwrap().crc32(), before);
    assert_eq!(Tokenizer::Bytes.crc32(), None);
}

#[test]
fn what_is_no_byte_level_bpe_is_refused_by_name() {
    let good = tokenizer(&MERGES);
    type Spoil = fn(&mut Value);
    let bad: [(&str, Spoil); 5] = [
        ("WordPiece", |j| j["model"]["type"] = json!("WordPiece")),
        ("dropout", |j| j["model"]["dropout"] = json!(0.1)),
        ("▁the", |j| j["model"]["vocab"]["▁the"] = json!(500)),
        ("byte-level BPE", |j| j["model"]["merges"] = json!([["never", "seen"]])),
        ("1048576", |j| j["model"]["vocab"]["thee"] = json!(1 << 24)),
    ];
    for (says, spoil) in bad {
        let mut json = good.clone();
        spoil(&mut json);
        let error = open(&json).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json") && error.contains(says), "{error}");
    }
    // These open, but do not give a text back.
    let lossy: [Spoil; 3] = [
        |j| j["normalizer"] = json!({ "type": "Lowercase" }),
        |j| j["pre_tokenizer"]["add_prefix_space"] = json!(true),
        |j| drop(j["model"]["vocab"].as_object_mut().unwrap().remove("z")),
    ];
    for spoil in lossy {
        let mut json = good.clone();
        spoil(&mut json);
        let error = open(&json).unwrap().encode(b"The z").unwrap_err().to_string();
        assert!(error.contains("give the text back"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    for content in ["", "{", "[1]", "\"x\"", "{\"model\": {}}"] {
        let error = Tokenizer::open(Some(&write(folder.path(), "t.json", content))).unwrap_err().to_string();
        assert!(error.contains("t.json"), "{content}: {error}");
    }
    assert!(Tokenizer::open(Some(&folder.path().join("absent"))).is_err());
}
