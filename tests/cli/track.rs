//! State tracking as its users meet it: train, eval on drawn words and on files, and what wrong files end in.

use crate::common::{fails, json, keys, ok};

const SMALL: &str = "train --task track --group s3 --quiet --width 16 --heads 2 --head-width 8 --feed-forward 16 --context 8 --batch 128 \
                     --steps 3 --lengths 4,9 --out run";

#[test]
fn products_are_tracked_measured_and_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let small: Vec<&str> = SMALL.split_whitespace().collect();
    let report = json(here, &small.iter().copied().chain(["--json"]).collect::<Vec<_>>());
    assert_eq!(keys(&report["track"]), ["4", "9"]);
    assert_eq!(keys(&report["track"]["9"]), ["chance", "frozen", "products", "words"]);
    assert!(report["recall"].is_null());
    let config = std::fs::read_to_string(here.join("run/config.toml")).unwrap();
    for text in ["name = \"track\"", "group = \"s3\"", "micro_steps = 2", "vocabulary = 12", "theta_max = 2.0"] {
        assert!(config.contains(text), "{text} in {config}");
    }
    let found = json(here, &["eval", "run", "--lengths", "5", "--sequences", "7", "--json"]);
    assert_eq!(keys(&found), ["5"]);
    // Of a file: 0 is the identity, 3 and 4 are the turns by a third.
    std::fs::write(here.join("words.csv"), "seed,input,target\n1,3 3 3,3 4 0\n1,0 1 1,0 1 0\n").unwrap();
    std::fs::write(here.join("more.csv"), "input,target\n3 3,3 4\n").unwrap();
    let found = json(here, &["eval", "run", "--data", "words.csv", "more.csv", "--json"]);
    assert_eq!(keys(&found), ["2", "3"]);
    let said = ok(here, &["eval", "run", "--data", "words.csv"]);
    assert!(said.contains("products") && said.contains('%'), "{said}");
    let items = ["eval", "run", "--data", "words.csv", "--per-item", "items.csv", "--picture", "words.svg"];
    ok(here, &items);
    let written = std::fs::read_to_string(here.join("items.csv")).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines[0], "length,number,products,first_wrong");
    assert!(lines.len() == 3 && lines[1].starts_with("3,0,") && lines[2].starts_with("3,1,"), "{written}");
    assert!(std::fs::read_to_string(here.join("words.svg")).unwrap().contains("words of 3"));
    fails(here, &["eval", "run", "--data", "words.csv", "--per-item", "words.csv"], 2, &["--per-item", "words.csv"]);
    fails(here, &["eval", "run", "--data", "words.csv", "words.csv"], 2, &["another length", "found 3 again"]);
    fails(here, &["eval", "run", "--data", "words.csv", "--lengths", "5"], 2, &["--lengths", "--data"]);
    fails(here, &["eval", "run", "--window", "5"], 2, &["--window", "track"]);
    std::fs::write(here.join("other.csv"), "input,target\n3 3,3 3\n").unwrap();
    fails(here, &["eval", "run", "--data", "other.csv"], 2, &["other.csv", "line 2", "product 4", "s3"]);
    fails(here, &["train", "--task", "track", "--data", "words.csv"], 2, &["--data", "track"]);
    fails(here, &["train", "--task", "recall", "--group", "s3"], 2, &["--group", "track"]);
    fails(here, &["train", "--task", "recall", "--micro-steps", "2"], 2, &["--micro-steps", "track"]);
    fails(
        here,
        &["train", "--task", "track", "--micro-steps", "17"],
        2,
        &["--micro-steps: expected 1 to 16, found 17"],
    );
    fails(here, &["train", "--task", "track", "--group", "s9"], 2, &["s9", "parity"]);
}

#[test]
fn an_element_may_be_several_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let small: Vec<&str> = SMALL.split_whitespace().chain(["--micro-steps", "3"]).collect();
    ok(here, &small);
    let config = std::fs::read_to_string(here.join("run/config.toml")).unwrap();
    assert!(config.contains("micro_steps = 3") && config.contains("vocabulary = 18"), "{config}");
    std::fs::write(here.join("words.csv"), "input,target\n3 3 3,3 4 0\n").unwrap();
    let found = json(here, &["eval", "run", "--data", "words.csv", "--json"]);
    assert_eq!(keys(&found), ["3"], "lengths are of elements");
}
