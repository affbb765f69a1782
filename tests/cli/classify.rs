//! The classification task as its users meet it: train, eval, classify, and what bad files end in.

use crate::common::{fails, json, keys, ok, run};

const SMALL: &str = "train --task classify --quiet --width 16 --blocks 1 --heads 2 --head-width 8 --feed-forward 16 --batch 4 --reading words";

fn small(more: &[&'static str]) -> Vec<&'static str> {
    let word: &[&str] = if more.contains(&"--word") { &[] } else { &["--word", "3"] };
    let reading = |x: &&str| !(more.contains(&"windows") && ["--reading", "words"].contains(x));
    SMALL.split_whitespace().filter(reading).chain(word.iter().copied()).chain(more.iter().copied()).collect()
}

fn rows(from: usize, count: usize) -> String {
    let letters =
        |i: usize| (0..12 + i % 5).map(|t| ['A', 'C', 'G', 'T'][(i * i + t * (i % 7) + t * t) % 4]).collect::<String>();
    let row = |i: usize| match i % 3 {
        0 => format!("{}CCCCCC,rich\n", letters(i)),
        _ => format!("{}ATATAT,poor\n", letters(i)),
    };
    "sequence,label\n".to_owned() + &(from..from + count).map(row).collect::<String>()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, from, count) in [("a.csv", 0, 60), ("valid.csv", 60, 12), ("test.csv", 72, 15)] {
        std::fs::write(folder.path().join(name), rows(from, count)).unwrap();
    }
    folder
}

#[test]
fn a_classifier_is_trained_evaluated_and_classifies() {
    let folder = folder();
    let here = folder.path();
    let train = small(&[
        "--data",
        "a.csv",
        "--valid",
        "valid.csv",
        "--test",
        "test.csv",
        "--steps",
        "30",
        "--out",
        "run",
        "--json",
    ]);
    let report = json(here, &train);
    let validation = &report["validation"];
    assert_eq!(validation["tokens"].as_u64(), Some(12));
    assert!(validation["accuracy"].is_f64() && report["best"]["step"].is_u64(), "{report}");
    let config = std::fs::read_to_string(here.join("run/config.toml")).unwrap();
    for text in [
        "name = \"classify\"",
        "classes = [\"poor\", \"rich\"]",
        "alphabet = \"dna\"",
        "head = \"classes\"",
        "outputs = 2",
    ] {
        assert!(config.contains(text), "{text} in {config}");
    }
    let found = json(here, &["eval", "run", "--json", "--per-item", "items.csv", "--picture", "table.svg"]);
    let expected = [
        "accuracy",
        "auc",
        "baselines",
        "classes",
        "confusion",
        "f1",
        "loss",
        "mcc",
        "memory",
        "part",
        "rows",
        "seconds",
        "strands",
    ];
    assert_eq!(keys(&found), expected);
    assert_eq!((found["rows"].as_u64(), &found["part"]), (Some(15), &"test".into()));
    assert_eq!(keys(&found["baselines"]), ["majority", "words_4", "words_6"]);
    assert_eq!(found["baselines"]["majority"]["accuracy"].as_f64(), Some(10.0 / 15.0));
    assert_eq!(keys(&found["classes"][0]), ["f1", "name", "precision", "recall", "rows"]);
    let items = std::fs::read_to_string(here.join("items.csv")).unwrap();
    let lines: Vec<&str> = items.lines().collect();
    assert_eq!((lines[0], lines.len()), ("row,line,name,label,predicted,probability_poor,probability_rich", 16));
    assert!(lines[1].starts_with("1,2,,rich,"), "{}", lines[1]);
    // What is told row by row is what the scores are made of.
    let right = lines[1..].iter().filter(|line| line.split(',').nth(3) == line.split(',').nth(4)).count();
    assert_eq!(found["accuracy"].as_f64(), Some(right as f64 / 15.0));
    let picture = std::fs::read_to_string(here.join("table.svg")).unwrap();
    assert!(picture.contains("poor") && picture.contains("Confusions"));
    let text = ok(here, &["eval", "run", "--part", "valid", "--memory", "frozen"]);
    assert!(
        text.contains("12 rows (valid), memory frozen") && text.contains("words of 6") && text.contains("majority"),
        "{text}"
    );
    let other = json(here, &["eval", "run", "--data", "a.csv", "--no-baselines", "--json"]);
    assert!(other["baselines"].is_null() && other["rows"].as_u64() == Some(60) && other["part"] == "data");
    // New rows need no labels; the order of the classes is that of training.
    std::fs::write(here.join("new.fa"), ">first\nACGTAC\nGGTTTT\n>second\nCCCCCCCCCCCC\n").unwrap();
    let csv = ok(here, &["classify", "run", "--data", "new.fa"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("row,line,name,predicted,probability_poor,probability_rich", 3));
    assert!(lines[2].starts_with("2,4,second,"), "{csv}");
    let said = json(here, &["classify", "run", "--sequence", "CCCCCCCCCCCC", "--json"]);
    let p: f64 = lines[2].split(',').nth(5).unwrap().parse().unwrap();
    assert_eq!(said["rows"][0]["probabilities"]["rich"].as_f64(), Some(p), "alone or among others");
    // The rest of the command.
    ok(here, &["inspect", "--memory", "run"]);
    ok(here, &["export", "run"]);
    fails(here, &["stream", "run"], 2, &["classify task", "titans classify"]);
    fails(here, &["generate", "run"], 2, &["the text task", "the classify task", "titans classify says"]);
    let blob = ["a blob of `titans export`, which knows no task", "name the run"];
    fails(here, &["classify", "run/model.titans", "--sequence", "A"], 2, &blob);
    fails(here, &["forecast", "run", "--data", "a.csv"], 2, &["classify task", "--task forecast"]);
    fails(here, &["eval", "run", "--window", "3"], 2, &["--window", "text and series"]);
    ok(here, &["train", "--resume", "run", "--steps", "32", "--quiet"]);
    fails(here, &["train", "--resume", "run", "--word", "4"], 2, &["--word", "--resume"]);
    std::fs::rename(here.join("a.csv"), here.join("b.csv")).unwrap();
    fails(here, &["train", "--resume", "run", "--steps", "34"], 2, &["a.csv", "--data"]);
    ok(here, &["train", "--resume", "run", "--steps", "34", "--quiet", "--data", "b.csv"]);
    std::fs::write(here.join("b.csv"), rows(1, 60)).unwrap();
    fails(here, &["train", "--resume", "run", "--steps", "36"], 2, &["the data have changed"]);
}

#[test]
fn other_alphabets_and_shapes_of_files_are_learned_from() {
    let folder = folder();
    let here = folder.path();
    let fasta = |name: &str, letters: &str| {
        let record = |i: usize| format!(">{i}\n{}\n", letters.repeat(3 + i % 4));
        std::fs::write(here.join(name), (0..12).map(record).collect::<String>()).unwrap();
    };
    fasta("helix.fa", "MKV");
    fasta("sheet.fa", "TIV");
    let more: [&[&'static str]; 4] = [
        &["--data", "helix.fa", "sheet.fa", "--out", "protein", "--pooling", "last"],
        &[
            "--data",
            "a.csv",
            "--out",
            "strands",
            "--both-strands",
            "--reading",
            "windows",
            "--stride",
            "2",
            "--positions",
            "4",
        ],
        &["--data", "a.csv", "--out", "bytes", "--alphabet", "bytes", "--word", "1", "--hide", "0.1", "--block", "mac"],
        &["--data", "a.csv", "--out", "cut", "--context", "6", "--accumulate", "2", "--dropout", "0.1"],
    ];
    for more in more {
        ok(here, &small(&[&["--steps", "3"], more].concat()));
        let name = more[more.iter().position(|x| *x == "--out").unwrap() + 1];
        let found = json(here, &["eval", name, "--json"]);
        assert_eq!(found["part"], "valid", "no test was given");
        assert!(
            found["loss"].as_f64().unwrap().is_finite() && found["baselines"]["words_4"]["ridge"].is_f64(),
            "{found}"
        );
        fails(here, &["eval", name, "--part", "test"], 2, &["--part test", "without --test"]);
    }
    let config = std::fs::read_to_string(here.join("protein/config.toml")).unwrap();
    assert!(config.contains("letters = \"IKMTV\"") && config.contains("alphabet = \"characters\""), "{config}");
    fails(
        here,
        &["classify", "protein", "--sequence", "MKX"],
        2,
        &["--sequence", "letter 3", "'X'", "--alphabet bytes"],
    );
}

#[test]
fn a_letter_that_makes_dna_a_text_of_its_own_is_told() {
    let folder = folder();
    let here = folder.path();
    std::fs::write(here.join("slip.csv"), rows(0, 60) + "ACGTACGTACXT,poor\n").unwrap();
    let output = run(here, &small(&["--data", "slip.csv", "--steps", "2", "--out", "run"]));
    let said = String::from_utf8_lossy(&output.stderr);
    for text in ["the alphabet is characters", "slip.csv: line 62: letter 11, 'X', is no base"] {
        assert!(output.status.success() && said.contains(text), "{text} in {said}");
    }
    std::fs::write(here.join("head.csv"), rows(0, 60).replacen("sequence,label", "ACGTACGT,kind", 1)).unwrap();
    let columns = ["--data", "head.csv", "--column", "1", "--label", "2", "--steps", "2", "--out", "head"];
    let output = run(here, &small(&columns));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("head.csv: line 1 is read as a row, of the class \"kind\""),
        "{said}"
    );
    fails(
        here,
        &small(&["--data", "slip.csv", "--alphabet", "dna", "--out", "dna"]),
        2,
        &["line 62", "letter 11", "'X'"],
    );
}

#[test]
fn rows_that_are_learned_from_and_judged_by_are_told() {
    let folder = folder();
    let here = folder.path();
    let told = |more: &[&'static str]| {
        let out = run(here, &small(&[&["--data", "a.csv", "--steps", "2"], more].concat()));
        assert!(out.status.success());
        String::from_utf8(out.stderr).unwrap()
    };
    let said = told(&["--valid", "a.csv"]);
    assert!(said.contains("60 of 60 validation rows stand among the training rows too"), "{said}");
    std::fs::write(here.join("new.csv"), "sequence,label\nGGGGTTTT,rich\nTTTTGGGG,poor\n").unwrap();
    let said = told(&["--valid", "new.csv", "--test", "new.csv"]);
    assert!(said.contains("new.csv is given for the test and for training or validation too"), "{said}");
    assert!(!said.contains("stand among the training rows"), "{said}");
}

#[test]
fn bad_files_are_told_by_line_and_column() {
    let folder = folder();
    let here = folder.path();
    ok(here, &small(&["--data", "a.csv", "--steps", "2", "--out", "run"]));
    let write = |text: &[u8]| std::fs::write(here.join("bad.csv"), text).unwrap();
    for (text, says) in [
        (&b"sequence,label\nACGT,0\n,1\n"[..], &["bad.csv: line 3, column 1: expected a sequence"][..]),
        (b"sequence,label\nACGT,0\nACGT,\n", &["line 3, column 2: expected a label"]),
        (b"sequence,label\nACGT,0\nAC\xffT,1\n", &["line 3, column 1", "UTF-8"]),
        (b"sequence,label\nACGT,0\nACGT\n", &["line 3: expected 2 fields"]),
        (b"sequence,label\nACGT,0\n", &["expected 2 to 4096 classes, found 1", "\"0\""]),
        (b"sequence,label\n", &["found none"]),
        (b"", &["bad.csv", "empty"]),
        (b"dna,class\nACGT,0\nCC,1\n", &["--column", "\"dna\""]),
        (b"sequence,kind\nACGT,0\nCC,1\n", &["--label", "\"kind\""]),
    ] {
        write(text);
        fails(here, &small(&["--data", "bad.csv", "--out", "none"]), 2, says);
        assert!(!here.join("none").exists());
    }
    write(b"sequence,label\nACGT,0\nACXT,1\n");
    fails(here, &small(&["--data", "bad.csv", "--alphabet", "dna", "--out", "none"]), 2, &["line 3: letter 3", "'X'"]);
    fails(here, &["eval", "run", "--data", "bad.csv"], 2, &["bad.csv: line 2: label \"0\"", "\"poor\", \"rich\""]);
    write(b"sequence,label\nACGT,poor\nACXT,rich\n");
    fails(here, &["eval", "run", "--data", "bad.csv"], 2, &["bad.csv: line 3: letter 3", "'X'"]);
    fails(here, &["classify", "run", "--data", "bad.csv"], 2, &["bad.csv: line 3: letter 3", "'X'"]);
    // One class alone can be measured; what has no value then is null.
    std::fs::write(here.join("one.csv"), "\u{feff}sequence,label\r\n\"acgtn\",poor\r\n").unwrap();
    let found = json(here, &["eval", "run", "--data", "one.csv", "--json"]);
    assert!(
        found["auc"].is_null() && found["mcc"].as_f64() == Some(0.0) && found["rows"].as_u64() == Some(1),
        "{found}"
    );
    // A class that validation alone has.
    write(b"sequence,label\nACGT,poor\nACT,third\n");
    let more = small(&["--data", "a.csv", "--valid", "bad.csv", "--out", "none"]);
    fails(here, &more, 2, &["bad.csv: line 3: label \"third\""]);
    let two = "sequence,label\nACGT,0\nCC,1\n";
    write(two.as_bytes());
    ok(here, &small(&["--data", "bad.csv", "--steps", "1", "--out", "two"]));
    write(&two.as_bytes()[..22]);
    for (args, says) in [
        (&["--data", "a.csv", "--alphabet", "bpe"][..], "--tokenizer"),
        (&["--data", "a.csv", "--both-strands", "--alphabet", "bytes", "--word", "1"], "--both-strands"),
        (&["--data", "a.csv", "--reading", "words", "--positions", "3"], "--positions"),
        (&["--data", "a.csv", "--hide", "1"], "--hide"),
        (&["--pooling", "last"], "--data"),
        (&["--data", "a.csv", "--horizon", "3"], "--horizon"),
    ] {
        let args: Vec<&str> = ["train", "--task", "classify", "--out", "none"].iter().chain(args).copied().collect();
        fails(here, &args, 2, &[says]);
    }
    fails(here, &["train", "--pooling", "last"], 2, &["--pooling", "classify"]);
    fails(here, &["train", "--task", "text", "--data", "a.csv", "--valid", "a.csv"], 2, &["--valid", "classify"]);
    let output = run(here, &["classify", "run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--data <FILE>") && said.contains("--sequence"), "{said}");
    let both = run(here, &["classify", "run", "--data", "a.csv", "--sequence", "ACGT"]);
    assert_eq!(both.status.code(), Some(2), "one of them");
    fails(here, &["classify", "two-runs", "--sequence", "A"], 2, &["two-runs"]);
}
