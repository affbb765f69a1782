//! A tiny byte-level BPE vocabulary, made here: all single bytes, and tokens merged from them.
#![allow(dead_code)] // each test uses its part

use serde_json::{Map, Value, json};

/// How byte-level vocabularies write a byte: as itself where it is a letter or sign of Latin 1, else from U+0100 on.
pub fn letter(byte: u8) -> char {
    let plain = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..);
    match plain(byte) {
        true => char::from(byte),
        false => char::from_u32(256 + (0..byte).filter(|&b| !plain(b)).count() as u32).unwrap(),
    }
}

/// The same of several.
pub fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| letter(b)).collect()
}

/// Ids 0 to 255 are the bytes; the merges' tokens follow in order.
pub fn vocab(merges: &[(&str, &str)]) -> Map<String, Value> {
    let mut vocab = Map::new();
    for byte in 0..=255u8 {
        vocab.insert(letter(byte).to_string(), json!(byte));
    }
    for (id, (a, b)) in (256..).zip(merges) {
        vocab.insert(letters(a.as_bytes()) + &letters(b.as_bytes()), json!(id));
    }
    vocab
}

/// The content of a `merges.txt`.
pub fn merges(pairs: &[(&str, &str)]) -> String {
    let line = |(a, b): &(&str, &str)| format!("{} {}\n", letters(a.as_bytes()), letters(b.as_bytes()));
    "#version: 0.2\n".to_owned() + &pairs.iter().map(line).collect::<String>()
}

/// The content of a `tokenizer.json`, with `<end>` as a special token behind all others.
pub fn tokenizer(pairs: &[(&str, &str)]) -> Value {
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let end = json!({ "id": 256 + pairs.len(), "content": "<end>", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true });
    let merges: Vec<Value> = pairs.iter().map(|(a, b)| json!([letters(a.as_bytes()), letters(b.as_bytes())])).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [end], "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "vocab": vocab(pairs), "merges": merges },
    })
}
