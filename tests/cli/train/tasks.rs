//! Vocabularies, series and recall by length, from training to evaluation.

use super::{TEXT, folder, text_run};
use crate::common::{fails, json, keys, ok};
use crate::vocabulary;
use std::path::Path;

const MERGES: [(&str, &str); 5] = [(" ", "b"), ("l", "e"), ("t", "t"), ("tt", "le"), ("g", "r")];

fn write_tokenizer(here: &Path) {
    std::fs::write(here.join("tokenizer.json"), vocabulary::tokenizer(&MERGES).to_string()).unwrap();
}

#[test]
fn a_vocabulary_is_trained_evaluated_and_generated() {
    let folder = folder();
    let here = folder.path();
    write_tokenizer(here);
    text_run(here, &["--out", "run", "--steps", "4", "--tokenizer", "tokenizer.json"]);
    let config = std::fs::read_to_string(here.join("run/config.toml")).unwrap();
    assert!(config.contains("vocabulary = 262") && config.contains("tokenizer.json"), "{config}");
    let report = json(here, &["eval", "run", "--json"]);
    assert_eq!(keys(&report), ["bits_per_byte", "bytes", "nats_per_token", "tokens"]);
    let number = |key: &str| report[key].as_f64().unwrap();
    assert!(number("bytes") > 1.1 * number("tokens"), "{report}");
    let bits = number("nats_per_token") * number("tokens") / std::f64::consts::LN_2 / number("bytes");
    assert!((number("bits_per_byte") - bits).abs() < 1e-9, "{report}");
    std::fs::write(here.join("few.txt"), "ten green bottles").unwrap();
    ok(here, &["eval", "run", "--data", "few.txt", "--window", "0", "--per-token", "out.csv"]);
    let table = std::fs::read_to_string(here.join("out.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "position,token,bytes,log_probability,surprise_0,surprise_1");
    let bytes: usize = lines[1..].iter().map(|l| l.split(',').nth(2).unwrap().parse::<usize>().unwrap()).sum();
    assert_eq!(bytes, "ten green bottles".len() - 1, "all but the first token, a t");
    let write = |more: &[&str]| ok(here, &[&["generate", "run", "--prompt", "ten né", "-n", "20"], more].concat());
    assert!(write(&[]).starts_with("ten né") && write(&[]) == write(&[]));
    assert!(ok(here, &["eval", "run"]).contains("nats a token"));
    // Where the file has gone, and that it is the same.
    std::fs::rename(here.join("tokenizer.json"), here.join("moved.json")).unwrap();
    fails(here, &["eval", "run"], 2, &["tokenizer.json: opening the vocabulary, whose place --tokenizer says"]);
    ok(here, &["eval", "run", "--tokenizer", "moved.json"]);
    write(&["--tokenizer", "moved.json"]);
    std::fs::write(here.join("tokenizer.json"), vocabulary::tokenizer(&MERGES[..4]).to_string()).unwrap();
    for args in [&["eval", "run"][..], &["generate", "run"]] {
        fails(here, args, 2, &["tokenizer.json", "vocabulary", "CRC-32"]);
    }
    fails(here, &["train", "--resume", "run", "--steps", "6"], 2, &["tokenizer.json", "261 symbols", "262"]);
    std::fs::rename(here.join("moved.json"), here.join("tokenizer.json")).unwrap();
    ok(here, &["train", "--resume", "run", "--steps", "6", "--quiet"]);
    fails(here, &[&TEXT[..], &["--tokenizer", "text.txt"]].concat(), 2, &["text.txt", "JSON"]);
    fails(
        here,
        &["train", "--tokenizer", "tokenizer.json"],
        2,
        &["--tokenizer", "text, classify, needle or babilong task"],
    );
}

#[test]
fn a_series_is_trained_and_evaluated() {
    let folder = folder();
    let here = folder.path();
    let row = |i: u32| format!("day {i},{},{}\n", 20.0 + (f64::from(i) * 0.4).sin(), i % 5);
    let rows: String = (0..400).map(row).collect();
    std::fs::write(here.join("two.csv"), format!("date,level,phase\n{rows}")).unwrap();
    let train = ["train", "--task", "series", "--data", "two.csv", "--quiet", "--width", "16", "--heads", "2"];
    let small = ["--head-width", "8", "--feed-forward", "16", "--context", "16", "--batch", "4", "--patch", "2"];
    let run = |more: &[&'static str]| [&train[..], &small[..], more].concat();
    let report = json(here, &run(&["--steps", "5", "--json"]));
    assert_eq!(report["run"], "runs/series");
    assert_eq!(report["validation"]["tokens"], 19, "40 rows are 20 patches");
    let config = std::fs::read_to_string(here.join("runs/series/config.toml")).unwrap();
    for text in ["inputs = 4", "outputs = 4", "name = \"phase\"", "mean = 2.0", "head = \"regression\""] {
        assert!(config.contains(text), "{text} in {config}");
    }
    let text = ok(here, &run(&["--steps", "2", "--block", "mag", "--out", "mag"]));
    assert!(text.contains("squared deviations") && !text.contains("bits"), "{text}");
    let found = json(here, &["eval", "runs/series", "--json"]);
    assert_eq!(keys(&found), ["mean_squared_error", "patches", "unchanged"]);
    assert_eq!(found["mean_squared_error"], report["validation"]["loss"]);
    assert_eq!(json(here, &["eval", "runs/series", "--data", "two.csv", "--tail", "0.1", "--json"]), found);
    assert_eq!(json(here, &["eval", "runs/series", "--data", "two.csv", "--json"])["patches"], 199);
    assert!(ok(here, &["eval", "runs/series", "--memory", "absent"]).contains("standardised"));
    ok(here, &["train", "--resume", "runs/series", "--steps", "7", "--quiet"]);
    ok(here, &["inspect", "--memory", "runs/series"]);
    // What belongs elsewhere, and what is no series.
    fails(here, &["generate", "runs/series"], 2, &["the text task"]);
    fails(
        here,
        &["eval", "runs/series", "--lengths", "64"],
        2,
        &["--lengths", "recall, track, needle and babilong task"],
    );
    fails(here, &["train", "--task", "series"], 2, &["--data FILE.csv", "found 0"]);
    fails(here, &["train", "--task", "series", "--data", "text.txt"], 2, &["text.txt"]);
    let long = ["--head-width", "8", "--feed-forward", "16", "--batch", "4", "--patch", "2", "--context", "300"];
    fails(here, &[&train[..], &long].concat(), 2, &["too short"]);
    fails(here, &run(&["--pairs", "3"]), 2, &["--pairs", "recall task"]);
    std::fs::write(here.join("gap.csv"), rows.replacen(",3\n", ",\n", 1)).unwrap();
    fails(here, &["train", "--task", "series", "--data", "gap.csv"], 2, &["gap.csv: line 4, column 3"]);
    fails(here, &["train", "--resume", "runs/series", "--patch", "3"], 2, &["--patch", "--resume"]);
    fails(here, &["train", "--resume", "runs/series", "--minutes", "0.0000001"], 2, &["--minutes", "beginning"]);
    // The validation part of other data is another one.
    std::fs::write(here.join("two.csv"), format!("date,level,phase\n{rows}{rows}")).unwrap();
    fails(here, &["eval", "runs/series"], 2, &["two.csv", "changed", "--data FILE"]);
    ok(here, &["eval", "runs/series", "--data", "two.csv", "--tail", "0.1"]);
}

#[test]
fn recall_is_evaluated_at_any_length() {
    let folder = folder();
    let here = folder.path();
    let train = ["train", "--config", "recall.toml", "--quiet", "--json", "--steps", "2"];
    let report = json(here, &[&train[..], &["--out", "run", "--pairs", "3", "--lengths", "48,20"]].concat());
    assert_eq!(keys(&report["recall"]), ["20", "48"]);
    let table = json(here, &["eval", "run", "--json"]);
    assert_eq!(table, report["recall"], "the same lengths and sequences");
    let other = json(here, &["eval", "run", "--lengths", "48,100", "--json"]);
    assert_eq!((keys(&other), &other["48"]), (vec!["100", "48"], &table["48"]));
    let long = json(here, &["eval", "run", "--lengths", "40000", "--sequences", "1", "--json"]);
    assert!((0.0..=1.0).contains(&long["40000"]["on"].as_f64().unwrap()), "{long}");
    let text = ok(here, &["eval", "run", "--lengths", "64"]);
    assert!(text.contains("frozen") && text.contains('%'), "{text}");
    // Without memory there is one column; more pairs than keys make more keys.
    let none = ["--block", "attention", "--out", "none", "--pairs", "40", "--lengths", "160", "--context", "160"];
    let report = json(here, &[&train[..], &none].concat());
    assert_eq!(keys(&report["recall"]["160"]), ["on"]);
    assert!(std::fs::read_to_string(here.join("none/config.toml")).unwrap().contains("vocabulary = 104"));
    let line = ok(here, &["eval", "none"]).lines().find(|l| l.trim_start().starts_with("160")).unwrap().to_owned();
    assert_eq!(line.split_whitespace().filter(|&word| word == "-").count(), 2, "{line}");
    fails(here, &["eval", "run", "--lengths", "11"], 2, &["3 pairs", "at least 12", "found 11"]);
    fails(here, &["eval", "run", "--window", "9"], 2, &["--window", "recall task"]);
    fails(here, &["eval", "run", "--lengths", "x"], 2, &["--lengths"]);
    fails(here, &["train", "--pairs", "100"], 2, &["100 pairs", "at least 400"]);
}
