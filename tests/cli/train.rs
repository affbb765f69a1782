//! `titans train`, `eval`, `generate` and `inspect` on runs that take seconds: good input, bad input, and
//! interruptions.

mod blocks;
mod checkpoints;
mod edges;
mod ended;
mod fasta;
mod foreign;
mod names;
mod tasks;

use crate::common;
use crate::common::{fails, json, keys, ok, titans};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};

const RECALL: &str = "\
[task]
name = \"recall\"
length = 32
pairs = 2
tokens = 256
lengths = [32, 64]
sequences = 4
[model]
vocabulary = 96
width = 16
blocks = 1
heads = 2
head_width = 8
feed_forward = 16
eta_max = 0.5
[model.memory]
chunk = 8
[train]
steps = 6
";

/// Options of a tiny text run.
const TEXT: [&str; 20] = [
    "train",
    "--task",
    "text",
    "--data",
    "text.txt",
    "--quiet",
    "--context",
    "32",
    "--batch",
    "4",
    "--width",
    "16",
    "--blocks",
    "2",
    "--heads",
    "2",
    "--head-width",
    "8",
    "--feed-forward",
    "16",
];

/// A folder with some text in it.
fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    let line = |i: u32| format!("{} green bottles hanging on wall {}\n", i * i % 97, i % 7);
    std::fs::write(folder.path().join("text.txt"), (0..120).map(line).collect::<String>()).unwrap();
    std::fs::write(folder.path().join("recall.toml"), RECALL).unwrap();
    folder
}

fn text_run(here: &Path, more: &[&str]) -> String {
    ok(here, &[&TEXT[..], more].concat())
}

#[test]
fn recall_ends_with_a_table_and_a_picture() {
    let folder = folder();
    let here = folder.path();
    let report = json(here, &["train", "--config", "recall.toml", "--quiet", "--json", "--threads", "2"]);
    assert_eq!(keys(&report), ["best", "parameters", "recall", "run", "seconds", "steps", "tokens", "validation"]);
    assert_eq!((report["run"].as_str(), report["steps"].as_u64()), (Some("runs/recall"), Some(6)));
    let run = here.join("runs/recall");
    let table: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("recall.json")).unwrap()).unwrap();
    assert_eq!(keys(&table), ["32", "64"]);
    assert_eq!(keys(&table["64"]), ["absent", "frozen", "on"]);
    assert_eq!(table, report["recall"]);
    for file in ["config.toml", "metrics.jsonl", "loss.svg", "latest.safetensors", "best.safetensors", "recall.svg"] {
        assert!(std::fs::metadata(run.join(file)).unwrap().len() > 0, "{file}");
    }
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    assert!(first["loss"].as_f64().unwrap() > 0.0 && first["step"] == 1, "{first}");
    // The next run without a name takes the next folder; the table is for people too.
    let text = ok(here, &["train", "--config", "recall.toml", "--quiet", "--steps", "1"]);
    assert!(text.contains("runs/recall-2") && text.contains("frozen"), "{text}");
    fails(here, &["train", "--config", "recall.toml", "--out", "runs/recall"], 2, &["runs/recall", "resume"]);
    fails(here, &["eval", "runs/recall", "--data", "text.txt"], 2, &["--data", "recall task"]);
    fails(here, &["generate", "runs/recall"], 2, &["the text task", "the recall task"]);
}

/// The lines of a run's `config.toml` that a recipe decides.
fn recipe(here: &Path, args: &[&str]) -> Vec<String> {
    ok(here, &[args, &["--out", "recipe", "--steps", "1"]].concat());
    let config = std::fs::read_to_string(here.join("recipe/config.toml")).unwrap();
    std::fs::remove_dir_all(here.join("recipe")).unwrap();
    let decided = ["theta_max", "eta_max", "chunk", "compute_chunk", "clip", "loss", "network"];
    let lines = config.split("[train]").next().unwrap().lines();
    lines.filter(|line| decided.contains(&line.split(' ').next().unwrap())).map(str::to_owned).collect()
}

#[test]
fn recipes_are_exact_for_one_layer_and_short_and_clipped_for_more() {
    let folder = folder();
    let here = folder.path();
    let linear = ["theta_max = 1.0", "eta_max = 0.5", "chunk = 1", "compute_chunk = 64", "loss = \"half\""];
    let deep = ["theta_max = 0.2", "eta_max = 0.5", "chunk = 4", "compute_chunk = 0", "network = \"plain\""];
    let deep = [&deep[..], &["loss = \"half\"", "clip = 0.5"]].concat();
    for block in ["lmm", "mac"] {
        let text = |more: &[&str]| recipe(here, &[&TEXT[..], &["--block", block], more].concat());
        assert_eq!(text(&[]), linear, "{block}");
        assert_eq!(text(&["--layers", "2"]), deep, "{block}");
        let said = text(&["--layers", "2", "--chunk", "8", "--theta-max", "0.05"]);
        assert!(said.contains(&"chunk = 8".into()) && said.contains(&"theta_max = 0.05".into()), "{said:?}");
        let short = text(&["--chunk", "5", "--segment", "20"][..if block == "mac" { 4 } else { 2 }]);
        assert!(short.contains(&"compute_chunk = 60".into()), "{short:?}");
    }
    let small = ["train", "--quiet", "--context", "32", "--pairs", "2", "--lengths", "32", "--batch", "64"];
    assert_eq!(recipe(here, &small), linear);
    assert_eq!(recipe(here, &[&small[..], &["--layers", "2"]].concat()), deep);
}

#[test]
fn a_run_may_be_prolonged_and_a_finished_one_stays() {
    let folder = folder();
    let here = folder.path();
    text_run(here, &["--out", "whole", "--steps", "6", "--threads", "2"]);
    text_run(here, &["--out", "cut", "--steps", "3", "--threads", "1", "--dropout", "0.2"]);
    ok(here, &["train", "--resume", "cut", "--steps", "6", "--quiet"]);
    let latest = |run: &str| json(here, &["inspect", run, "--checkpoint", "latest", "--json"]);
    let steps = |run: &str| latest(run)["metadata"]["titans.state"]["step"].clone();
    assert_eq!((steps("whole"), steps("cut")), (6.into(), 6.into()));
    // A finished run is resumed to itself, bit for bit.
    let state = |run: &str| latest(run)["tensors"].clone();
    let before = state("whole");
    ok(here, &["train", "--resume", "whole", "--quiet"]);
    assert_eq!(state("whole"), before);
    // config.toml follows, fewer steps than were done are refused, and so are other data.
    let config = std::fs::read_to_string(here.join("cut/config.toml")).unwrap();
    assert!(config.contains("steps = 6") && config.contains("dropout = 0.2"), "{config}");
    fails(here, &["train", "--resume", "cut", "--steps", "5"], 2, &["--steps", "6", "found 5"]);
    let text = std::fs::read(here.join("text.txt")).unwrap();
    std::fs::write(here.join("text.txt"), text.to_ascii_uppercase()).unwrap();
    fails(here, &["train", "--resume", "cut", "--steps", "9"], 2, &["text.txt", "changed", "CRC-32"]);
    std::fs::write(here.join("text.txt"), text).unwrap();
    fails(here, &["train", "--resume", "whole", "--layers", "2"], 2, &["--layers", "--resume"]);
    fails(here, &["train", "--resume", "whole", "--dropout", "0.1"], 2, &["--dropout", "--resume"]);
    fails(here, &["train", "--resume", "nowhere"], 2, &["nowhere"]);
}

#[test]
fn text_is_evaluated_and_generated() {
    let folder = folder();
    let here = folder.path();
    text_run(here, &["--out", "run", "--steps", "4"]);
    let report = json(here, &["eval", "run", "--json"]);
    assert_eq!(keys(&report), ["bits_per_byte", "bytes", "nats_per_token", "tokens"]);
    let nats = report["nats_per_token"].as_f64().unwrap();
    assert!((report["bits_per_byte"].as_f64().unwrap() - nats / std::f64::consts::LN_2).abs() < 1e-9);
    assert!(nats > 1.0 && nats < 8.0);
    let frozen = json(here, &["eval", "run", "--json", "--memory", "frozen"]);
    assert_ne!(frozen["nats_per_token"], report["nats_per_token"]);
    std::fs::write(here.join("few.txt"), "ten green bottles").unwrap();
    let data =
        ["eval", "run/best.safetensors", "--data", "few.txt", "--window", "0", "--json", "--per-token", "out.csv"];
    let report = json(here, &data);
    assert_eq!(report["tokens"], 16);
    let table = std::fs::read_to_string(here.join("out.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines[0], lines.len()), ("position,byte,log_probability,surprise_0,surprise_1", 17));
    assert!(lines[1].starts_with("1,101,-"), "{}", lines[1]);
    let sum: f64 = lines[1..].iter().map(|l| l.split(',').nth(2).unwrap().parse::<f64>().unwrap()).sum();
    assert!((sum / 16.0 + report["nats_per_token"].as_f64().unwrap()).abs() < 1e-9);
    let write = |seed: &str| ok(here, &["generate", "run", "--prompt", "ten", "-n", "20", "--seed", seed]);
    assert!(write("1").starts_with("ten") && write("1") == write("1") && write("1") != write("2"));
    let file = ok(here, &["generate", "run", "--prompt-file", "few.txt", "-n", "20"]);
    assert_eq!(file, ok(here, &["generate", "run", "--prompt", "ten green bottles", "-n", "20"]));
    fails(here, &["generate", "run", "--temperature", "-1"], 2, &["temperature"]);
    fails(here, &["eval", "run", "--data", "missing.txt"], 2, &["missing.txt"]);
    fails(here, &["eval", "run", "--per-token", "no/folder/out.csv"], 2, &["no/folder/out.csv"]);
    fails(here, &["eval", "run", "--data", "few.txt", "--tail", "1.5"], 2, &["1.5"]);
}

#[test]
fn a_loss_that_is_not_finite_fails_and_writes_nothing() {
    let folder = folder();
    let here = folder.path();
    // The first step finds it; the checkpoint from before that is there to evaluate.
    fails(here, &[&TEXT[..], &["--out", "run", "--theta-max", "1e30"]].concat(), 1, &["not finite"]);
    fails(here, &["eval", "run", "--json"], 1, &["not finite", "position"]);
    let says = fails(here, &["eval", "run", "--per-token", "out.csv"], 1, &["not finite", "theta_max"]);
    assert!(!here.join("out.csv").exists() && !says.contains("the content failed"), "{says}");
    assert!(says.contains("--window"), "{says}");
    let prompt = ["generate", "run", "--prompt", "ten green bottles and then some more", "-n", "20"];
    fails(here, &prompt, 1, &["token ", "is refused", "--theta-max", "--memory frozen"]);
}

#[test]
fn bad_training_input_is_named() {
    let folder = folder();
    let here = folder.path();
    fails(here, &["train", "--task", "text"], 2, &["--data"]);
    fails(here, &["train", "--data", "text.txt"], 2, &["--task text"]);
    fails(here, &["train", "--task", "text", "--data", "missing.txt"], 2, &["missing.txt"]);
    fails(here, &["train", "--dropout", "1"], 2, &["--dropout", "0 to below 1", "found 1"]);
    fails(here, &["train", "--dropout", "-0.1"], 2, &["--dropout", "-0.1"]);
    // Options are named as they are typed, fields of a file as they stand there.
    for (option, value, says) in [
        ("--conv-width", "999", "--conv-width: expected 0 to 256, found 999"),
        ("--learning-rate", "-1", "--learning-rate: expected above 0 and finite in 32 bits, found -1"),
        ("--learning-rate", "1e39", "--learning-rate: expected above 0 and finite in 32 bits, found 1"),
        ("--gate-rate", "1e39", "--gate-rate: expected above 0 and finite in 32 bits, found 1"),
        ("--alpha-bias", "1e39", "--alpha-bias: expected a number that is finite in 32 bits, found 1"),
        ("--theta-max", "1e39", "--theta-max: expected above 0, finite in 32 bits, found 1"),
        ("--theta-max", "1e-50", "--theta-max: expected above 0, finite in 32 bits, found 0"),
        ("--eta-max", "1e-50", "--eta-max: expected above 0, at most 1, found 0"),
        ("--eta-max", "3", "--eta-max: expected above 0, at most 1, found 3"),
        ("--layers", "9", "--layers: expected 1 to 4, found 9"),
        ("--accumulate", "0", "--accumulate: expected 1 to 1048576"),
        ("--lengths", "0", "--lengths: expected 1 to"),
    ] {
        let said = fails(here, &["train", option, value], 2, &[says]);
        assert!(!["model: ", "train.", "task."].iter().any(|field| said.contains(field)), "{said}");
    }
    fails(
        here,
        &[&TEXT[..], &["--carry", "3"]].concat(),
        2,
        &["error: --carry: expected a share from 0 to 1, found 3"],
    );
    let segment = ["--block", "mac", "--segment", "7", "--chunk", "4"];
    fails(here, &[&TEXT[..], &segment].concat(), 2, &["error: --segment: expected a multiple of --chunk = 4, found 7"]);
    std::fs::write(here.join("taps.toml"), RECALL.replace("width = 16", "width = 16\nconv_width = 999")).unwrap();
    fails(here, &["train", "--config", "taps.toml"], 2, &["model: conv_width: expected 0 to 256, found 999"]);
    fails(here, &["train", "--config", "recall.toml", "--conv-width", "998"], 2, &["error: --conv-width: expected"]);
    fails(here, &["train", "--config", "text.txt"], 2, &["text.txt"]);
    // Sizes far from any use are refused before anything is allocated.
    for (args, field) in [
        (&["--width", "100000", "--feed-forward", "100000"][..], "parameters"),
        (&["--layers", "4", "--hidden", "1048576"], "parameters"),
        (&["--blocks", "1048576"], "blocks"),
        (&["--task", "text", "--data", "text.txt", "--batch", "1048576", "--context", "10000"], "context"),
    ] {
        fails(here, &[&["train"], args].concat(), 2, &[field, "expected", "found"]);
    }
    for (field, value) in [("length", "length = 32"), ("tokens", "tokens = 256"), ("sequences", "sequences = 4")] {
        for huge in ["1099511627776", "9223372036854775807"] {
            let config = RECALL.replacen(&format!("\n{value}\n"), &format!("\n{field} = {huge}\n"), 1);
            std::fs::write(here.join("huge.toml"), config).unwrap();
            fails(here, &["train", "--config", "huge.toml"], 2, &[&format!("task.{field}:"), huge]);
        }
    }
    fails(here, &["train", "--minutes", "0"], 2, &["minutes"]);
    // What could not matter is not passed over.
    fails(here, &["train", "--window", "8"], 2, &["--window", "attention"]);
    fails(here, &["train", "--hidden", "8"], 2, &["--hidden", "--layers"]);
    fails(here, &["train", "--block", "attention", "--chunk", "8"], 2, &["--chunk", "memory"]);
    fails(here, &["train", "--no-momentum", "--eta-max", "0.9"], 2, &["--eta-max", "momentum"]);
    fails(here, &["train", "--eta-max", "1.5"], 2, &["--eta-max", "at most 1", "1.5"]);
    fails(here, &["train", "--gates", "chunk"], 2, &["--gates", "--chunk"]);
    fails(here, &["train", "--shared-gates"], 2, &["--shared-gates", "--layers"]);
    fails(
        here,
        &["train", "--chunk", "5", "--compute-chunk", "64"],
        2,
        &["--compute-chunk: expected a multiple of --chunk", "5", "64"],
    );
    // A configuration of a time when momentum went up to 1 would silently be another model.
    std::fs::write(here.join("old.toml"), RECALL.replace("eta_max = 0.5\n", "")).unwrap();
    fails(here, &["train", "--config", "old.toml"], 2, &["old.toml", "eta_max", "missing", "eta_max = 1"]);
    fails(here, &["inspect", "--memory", "old.toml"], 2, &["old.toml", "eta_max", "missing"]);
    fails(here, &["train", "--block", "mac", "--window", "8"], 2, &["--window", "mag"]);
    std::fs::write(here.join("short.txt"), "short").unwrap();
    fails(here, &["train", "--task", "text", "--data", "short.txt"], 2, &["too short"]);
    std::fs::write(here.join("bad.gz"), "not gzip at all").unwrap();
    fails(here, &["train", "--task", "text", "--data", "bad.gz"], 2, &["bad.gz", "gzip"]);
    fails(here, &[&TEXT[..], &["--out", "text.txt/run"]].concat(), 2, &["text.txt/run"]);
    assert!(!here.join("runs").exists());
}

#[test]
fn damaged_checkpoints_are_refused_everywhere() {
    let folder = folder();
    let here = folder.path();
    text_run(here, &["--out", "run", "--steps", "1"]);
    let whole = std::fs::read(here.join("run/latest.safetensors")).unwrap();
    let refused = |bytes: &[u8], says: &str| {
        for file in ["best.safetensors", "latest.safetensors"] {
            std::fs::write(here.join("run").join(file), bytes).unwrap();
        }
        for args in [&["inspect", "run"][..], &["eval", "run"], &["generate", "run"], &["export", "run"]] {
            fails(here, args, 2, &["best.safetensors", says]);
            fails(here, &[args, &["--checkpoint", "latest"]].concat(), 2, &["latest.safetensors", says]);
        }
        fails(here, &["train", "--resume", "run"], 2, &["latest.safetensors", says]);
    };
    refused(&whole[..whole.len() / 2], "safetensors");
    refused(b"", "safetensors");
    let mut flipped = whole.clone();
    let middle = whole.len() * 2 / 3;
    flipped[middle] ^= 1;
    refused(&flipped, "checksum");
    std::fs::remove_file(here.join("run/latest.safetensors")).unwrap();
    fails(here, &["train", "--resume", "run"], 2, &["latest.safetensors"]);
    fails(here, &[&TEXT[..], &["--out", "run"]].concat(), 2, &["run", "holds a run already"]);
    std::fs::remove_file(here.join("run/best.safetensors")).unwrap();
    fails(here, &["eval", "run"], 2, &["run", "best.safetensors", "latest.safetensors", "neither"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_keeps_the_previous_checkpoint() {
    let folder = folder();
    let here = folder.path();
    text_run(here, &["--out", "run", "--steps", "2"]);
    let before = std::fs::read(here.join("run/latest.safetensors")).unwrap();
    // Files may grow to 16 blocks of 512 bytes: the checkpoint does not fit.
    let limited = "ulimit -f 16; trap '' XFSZ; exec \"$0\" train --resume run --steps 4 --quiet";
    let output = std::process::Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_titans")])
        .current_dir(here)
        .output()
        .unwrap();
    common::check_failure(&output, "full disk", 1, &["safetensors: writing the checkpoint"]);
    assert_eq!(std::fs::read(here.join("run/latest.safetensors")).unwrap(), before);
    let left = std::fs::read_dir(here.join("run")).unwrap();
    assert!(left.map(|f| f.unwrap().file_name()).all(|name| !name.to_string_lossy().contains("tmp")));
    ok(here, &["train", "--resume", "run", "--steps", "4", "--quiet"]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_says_where_and_the_rest_has_the_bits_of_an_uncut_run() {
    let folder = folder();
    let here = folder.path();
    // A constant learning rate, so that the number of steps says nothing about those done; and so many steps that the
    // signal never comes late.
    text_run(here, &["--out", "short", "--steps", "1"]);
    let config = std::fs::read_to_string(here.join("short/config.toml")).unwrap();
    assert!(config.contains("floor = 0.0"), "{config}");
    std::fs::write(here.join("flat.toml"), config.replace("floor = 0.0", "floor = 1.0")).unwrap();
    let args = ["train", "--config", "flat.toml", "--quiet", "--out", "run", "--steps", "1000000000"];
    let child = titans(here).args(args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let metrics = here.join("run/metrics.jsonl");
    let start = Instant::now();
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "no step in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    common::check_failure(&output, "Ctrl-C", 130, &["interrupted", "run/latest.safetensors", "--resume run"]);
    let latest = json(here, &["inspect", "run", "--checkpoint", "latest", "--json"]);
    let state = latest["metadata"]["titans.state"].clone();
    let step = state["step"].as_u64().unwrap();
    assert!((1..1_000_000_000).contains(&step), "{state}");
    let end = (step + 20).to_string();
    ok(here, &["train", "--resume", "run", "--quiet", "--threads", "1", "--steps", &end]);
    ok(here, &["train", "--config", "flat.toml", "--quiet", "--out", "whole", "--threads", "2", "--steps", &end]);
    assert!(tensors(&here.join("run")) == tensors(&here.join("whole")), "weights or moments differ");
}

/// The bytes of all tensors of a run's latest checkpoint.
#[cfg(unix)]
fn tensors(run: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(run.join("latest.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect();
    tensors.sort();
    assert!(tensors.len() > 30);
    tensors
}
