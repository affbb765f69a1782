//! Studies as their users meet them: described, run, stopped and gone on with, and what wrong files end in.

use crate::common::{check_failure, fails, json, keys, ok, run, titans};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const FILE: &str = "\
kind = \"ablation\"
seeds = [0, 1]
lengths = [16, 40]
tolerance = 0.02
[task]
name = \"recall\"
length = 32
pairs = 2
tokens = 128
lengths = [32]
sequences = 4
[model]
width = 16
heads = 2
head_width = 8
feed_forward = 24
[train]
steps = 3
[[configuration]]
name = \"deep\"
layers = 2
paper = 27.01
[[configuration]]
name = \"no momentum\"
model.momentum = false
[[configuration]]
name = \"MAC\"
model = { block = \"mac\", attention.segment = 8, persistent = 2 }
";

fn write(here: &Path, name: &str, text: &str) {
    std::fs::write(here.join(name), text).unwrap();
}

fn read(here: &Path, name: &str) -> String {
    std::fs::read_to_string(here.join(name)).unwrap()
}

/// What each run found, without its times.
fn found(here: &Path, study: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for name in ["deep", "mac", "no-momentum"] {
        for seed in [0, 1] {
            let mut result: Value =
                serde_json::from_str(&read(here, &format!("{study}/runs/{name}-seed-{seed}/result.json"))).unwrap();
            result.as_object_mut().unwrap().remove("seconds");
            all.push(result);
        }
    }
    all
}

#[test]
fn a_study_has_one_size_a_table_and_pictures_and_does_nothing_twice() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    write(here, "study.toml", FILE);
    let all = ["study", "ablation", "--file", "study.toml", "--out", "out", "--quiet"];
    let report = json(here, &[&all[..], &["--json"]].concat());
    let names =
        ["by_length", "configurations", "done", "kind", "of", "parameters", "seeds", "steps", "task", "tolerance"];
    assert_eq!(keys(&report), names);
    assert_eq!((&report["kind"], &report["task"]), (&"ablation".into(), &"recall".into()));
    assert_eq!((report["done"].as_u64(), report["of"].as_u64(), report["steps"].as_u64()), (Some(6), Some(6), Some(3)));
    let target = report["parameters"].as_f64().unwrap();
    for arm in report["configurations"].as_array().unwrap() {
        let names =
            ["accuracy", "feed_forward", "lengths", "loss", "name", "paper", "parameters", "perplexity", "throughput"];
        assert_eq!(keys(arm), names);
        let size = arm["parameters"].as_f64().unwrap();
        assert!((size - target).abs() <= 0.02 * target, "{arm}");
        assert_eq!(keys(&arm["loss"]), ["deviation", "mean", "seeds"]);
        assert_eq!(arm["loss"]["seeds"].as_array().unwrap().len(), 2);
        assert_eq!(keys(&arm["lengths"]), ["16", "40"]);
        assert!(arm["loss"]["deviation"].as_f64().unwrap() > 0.0, "seeds differ");
    }
    assert_eq!(report["configurations"][0]["paper"], 27.01);
    let kept: Value = serde_json::from_str(&read(here, "out/results.json")).unwrap();
    assert_eq!(kept, report);
    assert!(read(here, "out/ablation.svg").contains("no momentum"));
    assert!(read(here, "out/by-length.svg").contains("MAC"));
    let table = read(here, "out/table.txt");
    for text in ["deep", "no momentum", "MAC", "27.01", "±", "6 of 6 runs"] {
        assert!(table.contains(text), "{text} in {table}");
    }
    // Each run is one of titans train, with the size that was found.
    let config = read(here, "out/runs/mac-seed-1/config.toml");
    let width = report["configurations"][2]["feed_forward"].as_u64().unwrap();
    assert!(config.contains(&format!("feed_forward = {width}\n")) && config.contains("seed = 1\n"), "{config}");
    ok(here, &["eval", "out/runs/mac-seed-1", "--lengths", "16"]);
    // Again: nothing runs a second time, from the folder alone as well.
    let stamp = |name: &str| std::fs::metadata(here.join(name)).unwrap().modified().unwrap();
    let before = stamp("out/runs/deep-seed-0/result.json");
    assert_eq!(json(here, &[&all[..], &["--json"]].concat()), report);
    assert!(ok(here, &["study", "ablation", "--out", "out"]).contains("6 of 6 runs"));
    assert_eq!(stamp("out/runs/deep-seed-0/result.json"), before);
    // One result less: that run alone is measured anew, to the same numbers.
    let numbers = found(here, "out");
    std::fs::remove_file(here.join("out/runs/mac-seed-0/result.json")).unwrap();
    ok(here, &all);
    assert_eq!(found(here, "out"), numbers);
    assert_eq!(stamp("out/runs/deep-seed-0/result.json"), before);
    // What is another study, or was changed since.
    fails(here, &["study", "depth", "--out", "out"], 2, &["study.toml", "kind: expected depth", "found ablation"]);
    fails(here, &["study", "ablation", "--out", "out", "--steps", "9"], 2, &["another study"]);
    write(here, "out/study.toml", &read(here, "out/study.toml").replace("steps = 3", "steps = 4"));
    fails(here, &["study", "ablation", "--out", "out"], 2, &["result.json", "another configuration"]);
    assert_eq!(found(here, "out"), numbers);
}

#[cfg(unix)]
#[test]
fn a_study_that_is_stopped_goes_on_to_the_numbers_of_one_that_is_not() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    write(here, "study.toml", &FILE.replace("steps = 3", "steps = 20").replace("lengths = [16, 40]", "lengths = [16]"));
    let all = |out: &'static str| ["study", "ablation", "--file", "study.toml", "--out", out, "--threads", "1"];
    ok(here, &all("whole"));
    let mut stops = 0;
    for round in 0..12 {
        let mut command = titans(here);
        let mut child = command.args(all("cut")).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begin = Instant::now();
        // At ever other places, the first of them in the middle of a run.
        let wait = Duration::from_millis(60).mul_f64(1.4f64.powi(round));
        while begin.elapsed() < wait && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_none() {
            std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            break;
        }
        stops += 1;
        // A signal before anybody listens ends the process as it always does.
        if output.status.code().is_some() {
            check_failure(&output, "stopped", 130, &["go on with: titans study ablation --out cut"]);
        }
    }
    assert!(stops > 0, "it was stopped at least once");
    ok(here, &["study", "ablation", "--out", if here.join("cut/study.toml").exists() { "cut" } else { "whole" }]);
    assert_eq!(found(here, "cut"), found(here, "whole"));
}

#[test]
fn depth_and_throughput_take_the_time_of_steps() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let timed = "step_tokens = 64\nrepeats = 2\n";
    let text = FILE.replace("seeds = [0, 1]", "seeds = [3]").replace("tolerance", &format!("{timed}tolerance"));
    for (kind, learns) in [("depth", true), ("throughput", false), ("length", true)] {
        write(here, "study.toml", &text.replace("\"ablation\"", &format!("\"{kind}\"")));
        let report = json(here, &["study", kind, "--file", "study.toml", "--out", kind, "--quiet", "--json"]);
        for arm in report["configurations"].as_array().unwrap() {
            assert_eq!(arm["loss"].is_null(), !learns, "{kind}");
            let expected: &[&str] = if kind == "length" { &[] } else { &["16", "40"] };
            assert_eq!(keys(&arm["throughput"]), expected, "{kind}");
            assert!(expected.iter().all(|l| arm["throughput"][l]["mean"].as_f64().unwrap() > 0.0));
        }
        assert_eq!(here.join(kind).join("throughput.svg").exists(), kind != "length");
        assert_eq!(here.join(kind).join("by-length.svg").exists(), learns);
        assert!(!here.join(kind).join("ablation.svg").exists());
    }
}

#[test]
fn options_describe_a_study_of_text_that_a_file_repeats() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let line = |i: u32| format!("{} green bottles hanging on wall {}\n", i * i % 97, i % 7);
    write(here, "text.txt", &(0..120).map(line).collect::<String>());
    let options = [
        "study",
        "length",
        "--task",
        "text",
        "--data",
        "text.txt",
        "--steps",
        "1",
        "--context",
        "16",
        "--batch",
        "2",
        "--width",
        "16",
        "--blocks",
        "1",
        "--lengths",
        "8,64",
        "--seeds",
        "5",
    ];
    let described = ok(here, &[&options[..], &["--describe"]].concat());
    for text in ["kind = \"length\"", "seeds = [5]", "context = 16", "steps = 1", "text.txt", "block = \"mal\""] {
        assert!(described.contains(text), "{text} in {described}");
    }
    // The small models of a test: as few parameters as the fewest need.
    let small = described.replace("[model]\n", "[model]\nheads = 2\nhead_width = 8\nfeed_forward = 64\n");
    write(here, "study.toml", &small);
    let report = json(here, &["study", "length", "--file", "study.toml", "--out", "out", "--quiet", "--json"]);
    let arms = report["configurations"].as_array().unwrap();
    assert_eq!((arms.len(), report["by_length"].as_str()), (5, Some("bits a byte")));
    for arm in arms {
        assert_eq!(keys(&arm["lengths"]), ["64", "8"]);
        let (loss, perplexity) = (arm["loss"]["mean"].as_f64().unwrap(), arm["perplexity"]["mean"].as_f64().unwrap());
        assert!((perplexity.ln() - loss).abs() < 1e-9 && loss > 0.0, "{arm}");
    }
}

#[test]
fn forecasters_and_classifiers_are_compared_by_validation() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let rows: String = (0..300).map(|i| format!("{},{}\n", (f64::from(i) * 0.5).sin(), f64::from(i % 7))).collect();
    write(here, "two.csv", &format!("a,b\n{rows}"));
    let letters =
        |i: usize| (0..14).map(|t| ['A', 'C', 'G', 'T'][(i * i + t * (i % 7) + t * t) % 4]).collect::<String>();
    let rows: String = (0..60).map(|i| format!("{},{}\n", letters(i), i % 2)).collect();
    write(here, "rows.csv", &format!("sequence,label\n{rows}"));
    for (task, data, sizes) in [
        ("forecast", "data = \"two.csv\"", "lookback = 12\npatch = 3\ncontext = 2\nhorizons = [4]"),
        ("classify", "data = [\"rows.csv\"]", "sequences = 4"),
    ] {
        let small = "width = 16\nheads = 2\nhead_width = 8\nfeed_forward = 16\nblocks = 1";
        let arms = "[[configuration]]\nname = \"linear\"\n[[configuration]]\nname = \"deep\"\nlayers = 2\n";
        let file = format!(
            "kind = \"ablation\"\n[task]\nname = \"{task}\"\n{data}\n{sizes}\n[model]\n{small}\n[train]\nsteps = 2\n{arms}"
        );
        write(here, "study.toml", &file);
        let out = format!("{task}-study");
        let report = json(here, &["study", "ablation", "--file", "study.toml", "--out", &out, "--quiet", "--json"]);
        assert_eq!((report["task"].as_str(), report["done"].as_u64()), (Some(task), Some(2)));
        for arm in report["configurations"].as_array().unwrap() {
            assert!(arm["loss"]["mean"].as_f64().unwrap().is_finite() && arm["perplexity"].is_null(), "{arm}");
        }
        // The options make such a file too.
        let described = ok(
            here,
            &[
                "study",
                "ablation",
                "--task",
                task,
                "--data",
                data.split('"').nth(1).unwrap(),
                "--steps",
                "2",
                "--describe",
            ],
        );
        assert!(described.contains(&format!("name = \"{task}\"")) && described.contains("steps = 2"), "{described}");
    }
}

#[test]
fn what_is_no_study_is_refused_by_its_line() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let cases = [
        ("width = 16", "widht = 16", &["line 13", "widht"][..]),
        ("steps = 3", "steps = 0", &["steps", "at least 1"]),
        ("steps = 3", "minutes = 1.0", &["train.steps"]),
        ("seeds = [0, 1]", "seeds = [1, 1]", &["line 2: seeds"]),
        ("model.momentum = false", "model.momentum = 3", &["line 25"]),
        ("name = \"MAC\"", "name = \"Deep\"", &["line 27: name: expected another"]),
        ("layers = 2", "layers = 9", &["line 21: layers: expected 1 to 4, found 9"]),
        ("tolerance = 0.02", "parameters = 5", &["configuration \"deep\"", "5 parameters"]),
        ("\"recall\"", "\"recal\"", &["line", "recal"]),
        ("segment = 8", "segment = 0", &["configuration \"MAC\"", "attention.segment"]),
        ("kind = \"ablation\"", "kind = ", &["line 1"]),
    ];
    for (old, new, says) in cases {
        write(here, "bad.toml", &FILE.replacen(old, new, 1));
        let said = fails(here, &["study", "ablation", "--file", "bad.toml", "--out", "out"], 2, says);
        assert!(!here.join("out/runs").exists(), "{said}");
    }
    fails(here, &["study", "ablation"], 2, &["--out"]);
    fails(here, &["study", "ablations", "--out", "out"], 2, &["ablations", "throughput"]);
    fails(here, &["study", "ablation", "--out", "out", "--data", "x"], 2, &["--data", "text, forecast and classify"]);
    let forecast = ["study", "throughput", "--out", "out", "--task", "forecast", "--data", "x", "--lengths", "4"];
    fails(here, &forecast, 2, &["lengths", "forecast", "validation alone"]);
    fails(here, &["study", "ablation", "--out", "out", "--task", "classify"], 2, &["--data FILE"]);
    fails(here, &["study", "ablation", "--out", "out", "--file", "none.toml"], 2, &["none.toml"]);
    fails(
        here,
        &["study", "ablation", "--out", "out", "--file", "bad.toml", "--steps", "1"],
        2,
        &["--steps", "--file"],
    );
    fails(here, &["study", "ablation", "--out", "out", "--task", "text"], 2, &["--data FILE"]);
    assert!(!here.join("out").exists(), "nothing is left behind");
    std::fs::create_dir(here.join("empty")).unwrap();
    fails(here, &["study", "length", "--out", "empty"], 2, &["empty: holds no study", "--file"]);
    assert_eq!(run(here, &["study", "length", "--describe"]).status.code(), Some(0));
}
