//! Language as its users meet it: a vocabulary, a split with a test, perplexity of words, last words, multiple choice.

use crate::common::{fails, json, keys, ok, run};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use tempfile::{TempDir, tempdir};

const SMALL: &str = "train --task text --data text.txt --quiet --context 32 --batch 4 --width 16 --blocks 2 --heads 2 --head-width 8 \
                     --feed-forward 16 --steps 3";

fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    let line = |i: u32| format!("{} green bottles hanging on wall {}\n", i * i % 97, i % 7);
    std::fs::write(folder.path().join("text.txt"), (0..120).map(line).collect::<String>()).unwrap();
    folder
}

fn train(here: &Path, more: &[&str]) -> String {
    ok(here, &SMALL.split_whitespace().chain(more.iter().copied()).collect::<Vec<_>>())
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn read(here: &Path, name: &str) -> String {
    std::fs::read_to_string(here.join(name)).unwrap()
}

#[test]
fn a_vocabulary_is_learned_and_trained_with() {
    let folder = folder();
    let here = folder.path();
    let learn = ["tokenizer", "train", "--vocab", "300", "--data", "text.txt", "--out", "tokenizer.json"];
    let found = json(here, &[&learn[..], &["--json"]].concat());
    assert_eq!(keys(&found), ["bytes", "bytes_per_token", "file", "tokens", "vocabulary"]);
    assert_eq!((found["vocabulary"].as_u64(), found["file"].as_str()), (Some(300), Some("tokenizer.json")));
    assert!(number(&found, "bytes_per_token") > 2.0, "{found}");
    let first = read(here, "tokenizer.json");
    assert!(ok(here, &learn).contains("300 tokens"));
    assert_eq!(read(here, "tokenizer.json"), first, "the same text gives the same file");
    ok(here, &[&learn[..6], &["--head", "0.5", "--out", "half.json"]].concat());
    assert_ne!(read(here, "half.json"), first);
    train(here, &["--tokenizer", "tokenizer.json", "--out", "run"]);
    assert!(read(here, "run/config.toml").contains("vocabulary = 300"));
    // Too few pairs are told; what cannot be is refused, and the file stays.
    std::fs::write(here.join("few.txt"), "ab ab").unwrap();
    let said = run(here, &["tokenizer", "train", "--vocab", "999", "--data", "few.txt", "--out", "few.json"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("instead of 999"), "{said:?}");
    std::fs::write(here.join("empty.txt"), "").unwrap();
    std::fs::write(here.join("binary.txt"), b"\xff\xfe").unwrap();
    for (more, says) in [
        (&["--vocab", "255", "--data", "text.txt"][..], &["expected 256", "found 255"][..]),
        (&["--vocab", "300", "--data", "none.txt"], &["none.txt"]),
        (&["--vocab", "300", "--data", "empty.txt"], &["empty.txt", "empty"]),
        (&["--vocab", "300", "--data", "binary.txt"], &["found nothing in UTF-8"]),
        (&["--vocab", "300", "--data", "text.txt", "--head", "1.5"], &["--head", "between 0 and 1"]),
        (&["--vocab", "300", "--data", "tokenizer.json"], &["--data and --out", "same file"]),
    ] {
        fails(here, &[&["tokenizer", "train", "--out", "tokenizer.json"], more].concat(), 2, says);
        assert_eq!(read(here, "tokenizer.json"), first);
    }
}

#[test]
fn a_run_with_a_split_has_a_test() {
    let folder = folder();
    let here = folder.path();
    train(here, &["--split", "0.8,0.1", "--out", "run"]);
    assert!(read(here, "run/config.toml").contains("shares = [0.8, 0.1]"), "{}", read(here, "run/config.toml"));
    let text = read(here, "text.txt");
    let at = |share: f64| (text.len() as f64 * share).round() as usize;
    std::fs::write(here.join("test.txt"), &text[at(0.8 + 0.1)..]).unwrap();
    std::fs::write(here.join("valid.txt"), &text[at(0.8)..at(0.8 + 0.1)]).unwrap();
    for (part, file) in [("test", "test.txt"), ("valid", "valid.txt")] {
        for more in [&[][..], &["--window", "0", "--memory", "frozen"]] {
            let own = json(here, &[&["eval", "run", "--part", part, "--json"], more].concat());
            let other = json(here, &[&["eval", "run", "--data", file, "--json"], more].concat());
            assert_eq!((&own["nats_per_token"], &own["bytes"]), (&other["nats_per_token"], &other["bytes"]), "{part}");
            assert_eq!(own["part"], part);
            assert!(other.get("part").is_none());
        }
    }
    assert_eq!(json(here, &["eval", "run", "--json"])["part"], "test");
    let said = ok(here, &["eval", "run", "--window", "0", "--memory", "frozen"]);
    assert!(said.contains("(one uncut stream, memory frozen)"), "{said}");
    let said = ok(here, &["eval", "run"]);
    assert!(said.contains("(windows of 512 tokens, memory on)"), "{said}");
    ok(here, &["train", "--resume", "run", "--steps", "5", "--quiet"]);
    // What there is no test of, and splits that do not fit.
    train(here, &["--out", "plain"]);
    assert!(json(here, &["eval", "plain", "--json"]).get("part").is_none());
    fails(here, &["eval", "plain", "--part", "test"], 2, &["--part test", "--split"]);
    ok(here, &["eval", "plain", "--part", "valid"]);
    let with = |split: &'static str| SMALL.split_whitespace().chain(["--split", split]).collect::<Vec<_>>();
    fails(here, &with("enwik8"), 2, &["--split enwik8", "100000000", &text.len().to_string()]);
    fails(here, &with("0.9,0.1"), 2, &["--split", "0.9,0.1"]);
    fails(here, &with("ett-hour"), 2, &["--split", "enwik8", "ett-hour"]);
    fails(here, &with("0.001,0.5"), 2, &["too short", "for training"]);
    fails(here, &["train", "--split", "0.8,0.1"], 2, &["--split", "recall"]);
    std::fs::write(here.join("text.txt"), "x".repeat(text.len())).unwrap();
    fails(here, &["eval", "run"], 2, &["text.txt", "changed", "--data FILE"]);
}

#[test]
fn perplexity_of_words_counts_every_token_and_compares_vocabularies() {
    let folder = folder();
    let here = folder.path();
    ok(here, &["tokenizer", "train", "--vocab", "300", "--data", "text.txt", "--out", "tokenizer.json"]);
    train(here, &["--tokenizer", "tokenizer.json", "--out", "pairs"]);
    train(here, &["--out", "bytes"]);
    std::fs::write(here.join("few.txt"), " ten green bottles\n\nten more \n").unwrap();
    for (run, vocabulary) in [("bytes", 256.0f64), ("pairs", 300.0)] {
        let found = json(here, &["eval", run, "--data", "few.txt", "--word-perplexity", "--baselines", "--json"]);
        let all = ["baselines", "bits_per_byte", "bytes", "nats_per_token", "tokens", "word_perplexity", "words"];
        assert_eq!(keys(&found), all);
        let nats = number(&found, "nats_per_token") * number(&found, "tokens") + vocabulary.ln();
        assert_eq!(found["words"], 8, "five words, three line ends");
        assert!((number(&found, "word_perplexity").ln() - nats / 8.0).abs() < 1e-9, "{found}");
        assert_eq!(keys(&found["baselines"]), ["gzip", "orders", "orders_adaptive"]);
        assert_eq!(keys(&found["baselines"]["orders"]), ["0", "1", "2", "3", "4"]);
    }
    // One word of 3,000 letters: its perplexity is no number any more.
    std::fs::write(here.join("long.txt"), "x".repeat(3_000)).unwrap();
    let long = ["eval", "bytes", "--data", "long.txt", "--word-perplexity"];
    let output = run(here, &[&long[..], &["--json"]].concat());
    let (found, says) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert!(output.status.success() && found["word_perplexity"].is_null() && found["words"] == 1, "{found} {says}");
    assert!(keys(&found).contains(&"word_perplexity") && number(&found, "bits_per_byte") > 0.0, "{found}");
    for part in ["between blanks", "3000 bytes has 1 word:", "beyond all numbers", "bits a byte", "put blanks"] {
        assert!(says.contains(part), "{part} in {says}");
    }
    assert!(ok(here, &long).contains("bits a byte"));
    std::fs::write(here.join("long.jsonl"), format!("{{\"text\": \"one {}\"}}\n", "x".repeat(3_000))).unwrap();
    fails(here, &["eval", "bytes", "--lambada", "long.jsonl", "--json"], 1, &["perplexity of a last word"]);
    let said = ok(here, &["eval", "bytes", "--word-perplexity", "--baselines", "--picture", "by.svg"]);
    assert!(said.contains("perplexity of a word") && said.contains("gzip"), "{said}");
    assert!(read(here, "by.svg").contains("tokens read before"));
    let plain = json(here, &["eval", "bytes", "--json"]);
    let drawn = json(here, &["eval", "bytes", "--json", "--picture", "by.svg", "--per-token", "by.csv"]);
    assert_eq!(plain, drawn, "a picture changes nothing");
    fails(here, &["eval", "bytes", "--picture", "same", "--per-token", "same"], 2, &["--picture", "same"]);
}

const TEXTS: [&str; 4] = [
    "{\"text\": \"ten green bottles hanging on wall 3\"}",
    "{\"text\": \"Ann met Bob. \\\"Oh\\\" said Bob\", \"more\": [1]}",
    "{\"text\": \"one two\\n\"}",
    "{\"text\": \"6 green bottles hanging on wall\"}",
];

#[test]
fn last_words_are_predicted_each_from_the_same_memory() {
    let folder = folder();
    let here = folder.path();
    train(here, &["--out", "run"]);
    std::fs::write(here.join("words.jsonl"), TEXTS.join("\n")).unwrap();
    let all = ["eval", "run", "--lambada", "words.jsonl", "--per-item", "items.csv", "--picture", "words.svg"];
    let found = json(here, &[&all[..], &["--json"]].concat());
    let names = ["accuracy", "baselines", "items", "memory", "nats_per_word", "perplexity", "standard_error", "tokens"];
    assert_eq!(keys(&found), names);
    assert_eq!(keys(&found["baselines"]), ["random_capitalised", "random_word"]);
    assert_eq!((found["items"].as_u64(), found["tokens"].as_u64()), (Some(4), Some(2 + 4 + 4 + 5)));
    let table = read(here, "items.csv");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["line", "word", "log_probability", "tokens", "right"]);
    assert_eq!(rows.iter().skip(1).map(|row| row[1]).collect::<Vec<_>>(), ["3", "Bob", "two", "wall"]);
    let mean: f64 = rows[1..].iter().map(|row| -row[2].parse::<f64>().unwrap()).sum::<f64>() / 4.0;
    assert!((number(&found, "nats_per_word") - mean).abs() < 1e-9);
    assert!((number(&found, "perplexity").ln() - mean).abs() < 1e-9);
    assert!(read(here, "words.svg").contains("<svg"));
    assert!(ok(here, &all).contains("4 last words"));
    // In another order, with a byte order mark, carriage returns and an empty line, and packed in two members: the same
    // numbers.
    let mut turned: Vec<&str> = TEXTS.into();
    turned.reverse();
    let mut packed = Vec::new();
    for part in [format!("\u{feff}{}\r\n\r\n", turned[..2].join("\r\n")), turned[2..].join("\r\n")] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(part.as_bytes()).unwrap();
        packed.extend(encoder.finish().unwrap());
    }
    std::fs::write(here.join("turned.jsonl.gz"), packed).unwrap();
    ok(here, &["eval", "run", "--lambada", "turned.jsonl.gz", "--per-item", "turned.csv"]);
    let other = read(here, "turned.csv");
    let mut other: Vec<&str> = other.lines().skip(1).map(|line| line.split_once(',').unwrap().1).collect();
    other.reverse();
    let first: Vec<&str> = table.lines().skip(1).map(|line| line.split_once(',').unwrap().1).collect();
    assert_eq!(other, first);
    let frozen = json(here, &["eval", "run", "--lambada", "words.jsonl", "--memory", "frozen", "--json"]);
    assert_eq!(frozen["memory"], "frozen");
    // What is no such file, and what goes with something else.
    for (text, says) in [
        ("{\"text\": \"a b\"}\n{\"words\": \"a b\"}", &["bad.jsonl: line 2, field text"][..]),
        ("{\"text\": \"a b\"}\n{\"text\": \"a\"}", &["line 2, field text: expected two words"]),
        ("{\"text\": \"a b\"}\n{\"text\": \"a b}", &["bad.jsonl: line 2, column"]),
    ] {
        std::fs::write(here.join("bad.jsonl"), text).unwrap();
        fails(here, &["eval", "run", "--lambada", "bad.jsonl", "--per-item", "new.csv"], 2, says);
        assert!(!here.join("new.csv").exists());
    }
    fails(here, &["eval", "run", "--lambada", "words.jsonl", "--window", "9"], 2, &["--window"]);
    fails(here, &["eval", "run", "--lambada", "words.jsonl", "--per-item", "words.jsonl"], 2, &["same file"]);
    fails(here, &["eval", "run", "--per-item", "x.csv"], 2, &["--per-item", "--lambada"]);
}

#[test]
fn choices_are_scored_apart_and_chosen_raw_and_by_bytes() {
    let folder = folder();
    let here = folder.path();
    train(here, &["--out", "run"]);
    let question = |context: &str, choices: &[&str], answer: usize| {
        serde_json::json!({ "context": context, "choices": choices, "answer": answer }).to_string()
    };
    let lines = [
        question("ten green bottles hanging on", &[" wall 3", " zzzzz"], 0),
        question("6 green", &[" xx", " bottles", " qqqqq"], 1),
        "{\"context\": [\"The cat\", \"The dog\"], \"choices\": [\" sat.\", \" sat.\"], \"answer\": 1}".into(),
    ];
    std::fs::write(here.join("q.jsonl"), lines.join("\n")).unwrap();
    let all = ["eval", "run", "--choices", "q.jsonl", "--per-item", "items.csv", "--picture", "q.svg"];
    let found = json(here, &[&all[..], &["--json"]].concat());
    let names = [
        "accuracy",
        "accuracy_normalised",
        "baselines",
        "items",
        "memory",
        "nats_per_answer",
        "standard_error",
        "standard_error_normalised",
        "tokens",
    ];
    assert_eq!(keys(&found), names);
    assert_eq!(keys(&found["baselines"]), ["chance", "commonest_place", "longest", "shortest"]);
    assert!((number(&found["baselines"], "chance") - (0.5 + 1.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12);
    let table = read(here, "items.csv");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0].join(","), "line,choice,answer,log_probability,tokens,bytes,chosen,chosen_normalised");
    assert_eq!(rows.len(), 1 + 2 + 3 + 2);
    let right = rows[1..].iter().filter(|row| row[2] == "1" && row[6] == "1").count();
    assert!((number(&found, "accuracy") - right as f64 / 3.0).abs() < 1e-12);
    for question in ["1", "2", "3"] {
        let own: Vec<_> = rows[1..].iter().filter(|row| row[0] == question).collect();
        let best = |by: &dyn Fn(&Vec<&str>) -> f64| own.iter().map(|row| by(row)).fold(f64::NEG_INFINITY, f64::max);
        let log = |row: &Vec<&str>| row[3].parse::<f64>().unwrap();
        let by_byte = |row: &Vec<&str>| log(row) / row[5].parse::<f64>().unwrap();
        let chosen = |column: usize| own.iter().find(|row| row[column] == "1").unwrap();
        assert_eq!((log(chosen(6)), by_byte(chosen(7))), (best(&log), best(&by_byte)), "{question}");
    }
    assert!(ok(here, &all).contains("3 questions") && read(here, "q.svg").contains("<svg"));
    // A choice's score is its own: another one beside it, or none of the other questions, changes no digit of it.
    std::fs::write(here.join("one.jsonl"), question("6 green", &[" bottles", " something quite else"], 0)).unwrap();
    ok(here, &["eval", "run", "--choices", "one.jsonl", "--per-item", "one.csv"]);
    let one = read(here, "one.csv");
    let score = |row: &str| row.split(',').nth(3).unwrap().to_owned();
    assert_eq!(score(one.lines().nth(1).unwrap()), rows[4][3], "of the same choice");
    for (text, says) in [
        (question("a", &["b"], 0), "line 1, field choices"),
        (
            question("a", &["b", "c"], 2),
            "line 1, field answer: expected the number of the right choice, 0 to 1, found 2",
        ),
        ("{\"choices\": [\"a\", \"b\"], \"answer\": 0}".into(), "line 1, field context"),
        ("[]".into(), "line 1: expected a JSON object"),
    ] {
        std::fs::write(here.join("bad.jsonl"), text).unwrap();
        fails(here, &["eval", "run", "--choices", "bad.jsonl"], 2, &["bad.jsonl", says]);
    }
    fails(here, &["eval", "run", "--choices", "q.jsonl", "--lambada", "q.jsonl"], 2, &["--lambada"]);
}
