//! The forecasting task as its users meet it: train, eval, forecast, stream, and what bad files end in.

mod dates;

use crate::common::{fails, json, keys, ok, run, titans};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

const SMALL: &str = "train --task forecast --quiet --width 16 --blocks 1 --heads 2 --head-width 8 --feed-forward 16 --horizon 4,2 --lookback 12 \
                     --patch 3 --context 2 --batch 4";

fn rows(count: usize) -> Vec<String> {
    let row = |i: usize| {
        let x = i as f64 * 0.5;
        format!("2024-02-{:02} {:02}:00,{:.4},{:.5}", 1 + i / 24, i % 24, 20.0 + 3.0 * x.sin(), 0.5 + 0.01 * x.cos())
    };
    (0..count).map(row).collect()
}

fn write(here: &Path, name: &str, rows: &[String]) {
    std::fs::write(here.join(name), format!("date,level,drift\n{}\n", rows.join("\n"))).unwrap();
}

fn small(more: &[&'static str]) -> Vec<&'static str> {
    SMALL.split_whitespace().chain(more.iter().copied()).collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "two.csv", &rows(300));
    folder
}

fn stream(here: &Path, args: &[&str], input: &str) -> std::process::Output {
    let mut child = titans(here)
        .args(["stream", "run"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_forecaster_is_trained_evaluated_and_forecasts() {
    let folder = folder();
    let here = folder.path();
    let report = json(here, &small(&["--data", "two.csv", "--steps", "6", "--out", "run", "--json"]));
    assert!(report["validation"]["loss"].as_f64().unwrap().is_finite() && report["best"]["step"].is_u64());
    let config = std::fs::read_to_string(here.join("run/config.toml")).unwrap();
    for text in ["name = \"forecast\"", "horizons = [", "shortcut = \"fixed\"", "outputs = 4", "inputs = 15"] {
        assert!(config.contains(text), "{text} in {config}");
    }
    let found = json(here, &["eval", "run", "--json"]);
    let expected = [
        "baselines",
        "carry",
        "columns",
        "horizons",
        "lookback",
        "mae",
        "mean",
        "memory",
        "mse",
        "part",
        "rows_seen",
        "seconds",
        "windows",
    ];
    assert_eq!(keys(&found), expected);
    assert_eq!(keys(&found["horizons"]), ["2", "4"]);
    assert_eq!(keys(&found["baselines"]), ["last", "linear", "ridge", "season", "seasonal"]);
    assert_eq!((&found["mse"], &found["mae"]), (&found["horizons"]["2"]["mse"], &found["horizons"]["2"]["mae"]));
    // Every window of the last fifth: 60 rows, horizon 2.
    assert_eq!(
        (found["windows"].as_u64(), found["rows_seen"].as_u64(), &found["part"]),
        (Some(59), Some(15), &"test".into())
    );
    for more in [&["--memory", "frozen"][..], &["--memory", "absent", "--carry"], &["--carry", "--part", "valid"]] {
        let other = json(here, &[&["eval", "run", "--json", "--no-baselines"], more].concat());
        assert!(other["baselines"].is_null() && other["mse"].as_f64().unwrap().is_finite(), "{other}");
    }
    let text = ok(here, &["eval", "run", "--per-window", "out.csv", "--picture", "out.svg"]);
    assert!(
        text.contains("59 forecasts of 2 columns") && text.contains("linear") && text.contains("last row"),
        "{text}"
    );
    let table = std::fs::read_to_string(here.join("out.csv")).unwrap();
    assert_eq!((table.lines().next(), table.lines().count()), (Some("row,column,mse,surprise"), 1 + 2 * 59));
    assert!(std::fs::read_to_string(here.join("out.svg")).unwrap().contains("surprise of the memory"));
    // Another file beside what the training rows say of it, as long as they are there.
    let other = json(here, &["eval", "run", "--data", "two.csv", "--tail", "0.2", "--json"]);
    assert_eq!((&other["mse"], &other["baselines"]), (&found["mse"], &found["baselines"]));
    write(here, "new.csv", &rows(300));
    write(here, "two.csv", &rows(299));
    let other = json(here, &["eval", "run", "--data", "new.csv", "--tail", "0.2", "--json"]);
    assert!(
        other["mse"] == found["mse"] && other["baselines"].is_null(),
        "other rows than those of training say nothing: {other}"
    );
    write(here, "two.csv", &rows(300));
    fails(here, &small(&["--data", "two.csv", "--season", "900", "--out", "x"]), 2, &["--season", "found 900"]);
    ok(here, &["eval", "run", "--per-item", "items.csv", "--no-baselines"]);
    assert_eq!(std::fs::read_to_string(here.join("items.csv")).unwrap(), table);
    fails(here, &["eval", "run", "--per-item", "a.csv", "--per-window", "b.csv"], 2, &["--per-window", "--per-item"]);
    // Forecasts go on where the file ends, in its units.
    let csv = ok(here, &["forecast", "run", "--data", "two.csv", "--horizon", "3", "--picture", "ahead.svg"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("date,level,drift", 4));
    assert!(lines[1].starts_with("2024-02-13 12:00,") && lines[3].starts_with("2024-02-13 14:00,"), "{csv}");
    let level: f64 = lines[1].split(',').nth(1).unwrap().parse().unwrap();
    assert!((level - (20.0 + 3.0 * 150.0_f64.sin())).abs() < 1.5, "{level}");
    assert!(std::fs::read_to_string(here.join("ahead.svg")).unwrap().contains("level forecast"));
    let said = json(here, &["forecast", "run", "--data", "two.csv", "--carry", "--json"]);
    assert_eq!(keys(&said), ["columns", "dates", "horizon", "rows", "rows_seen", "surprise"]);
    assert_eq!((said["columns"]["drift"].as_array().unwrap().len(), said["rows"].as_u64()), (4, Some(300)));
    fails(
        here,
        &["forecast", "run", "--data", "two.csv", "--horizon", "5"],
        2,
        &["--horizon", "expected 1 to 4", "found 5"],
    );
    write(here, "few.csv", &rows(14));
    fails(here, &["forecast", "run", "--data", "few.csv"], 2, &["few.csv", "expected 15 rows", "found 14"]);
    fails(here, &["eval", "run", "--data", "few.csv"], 2, &["few.csv", "found 14 rows"]);
    fails(here, &["eval", "run", "--window", "3"], 2, &["--window", "text and series"]);
    fails(here, &["generate", "run"], 2, &["the text task", "the forecast task", "titans forecast says"]);
    for verb in [&["forecast", "run", "--data", "two.csv"][..], &["eval", "run"], &["stream", "run"]] {
        let says = ["--picture", "ahead.png", "expected a name that ends in .svg", "found .png"];
        fails(here, &[verb, &["--picture", "ahead.png"]].concat(), 2, &says);
        assert!(!here.join("ahead.png").exists());
    }
    ok(here, &["inspect", "--memory", "run"]);
    ok(here, &["export", "run"]);
    let blob = "a blob of `titans export`, which knows no task: `titans stream` runs it; name the run";
    for verb in [&["forecast", "run/model.titans", "--data", "two.csv"][..], &["eval", "run/model.titans"]] {
        fails(here, verb, 2, &["run/model.titans: expected a safetensors file, found", blob]);
    }
    let says = ["is a blob of `titans export`, which `titans stream` reads"];
    fails(here, &["inspect", "run/model.titans"], 2, &says);
    ok(here, &["train", "--resume", "run", "--steps", "8", "--quiet"]);
    fails(here, &["train", "--resume", "run", "--horizon", "8"], 2, &["--horizon", "--resume"]);
    fails(
        here,
        &["forecast", "run", "--data", "two.csv", "--out", "two.csv"],
        2,
        &["--data and --out are the same file"],
    );
}

#[test]
fn a_stream_says_what_eval_carries_on_and_its_state_goes_on_anywhere() {
    let folder = folder();
    let here = folder.path();
    ok(here, &small(&["--data", "two.csv", "--steps", "4", "--out", "run", "--block", "mal"]));
    let text = std::fs::read_to_string(here.join("two.csv")).unwrap();
    let whole = stream(here, &["--ahead", "2", "--picture", "scores.svg"], &text);
    let whole = String::from_utf8(whole.stdout).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines[0], "row,forecast_level_1,forecast_level_2,forecast_drift_1,forecast_drift_2,error,surprise");
    assert_eq!((lines.len(), lines[1].split(',').next()), (1 + 300 - 11, Some("12")));
    assert!(
        lines[1].split(',').nth(5) == Some("") && lines[2].split(',').nth(5) != Some(""),
        "no forecast of the first"
    );
    assert!(std::fs::read_to_string(here.join("scores.svg")).unwrap().contains("error of the forecast"));
    // The last row's forecast is that of the whole file, its surprise that of eval.
    let said = json(here, &["forecast", "run", "--data", "two.csv", "--carry", "--json"]);
    let last: Vec<f64> = lines[lines.len() - 1].split(',').map(|x| x.parse().unwrap_or(f64::NAN)).collect();
    for (i, (name, step)) in [("level", 0), ("level", 1), ("drift", 0), ("drift", 1)].into_iter().enumerate() {
        let expected = said["columns"][name][step].as_f64().unwrap();
        assert!((last[i + 1] - expected).abs() < 1e-4 * expected.abs(), "{name}: {} {expected}", last[i + 1]);
    }
    let surprise = said["surprise"].as_f64().unwrap();
    assert!((last[6] - surprise).abs() < 1e-3 * surprise, "{} {surprise}", last[6]);
    // In three runs, each with what is left.
    let all: Vec<&str> = text.lines().collect();
    let mut pieces = String::new();
    for (from, to) in [(0, 8), (8, 120), (120, all.len())] {
        let output = stream(here, &["--ahead", "2", "--state", "s"], &(all[from..to].join("\n") + "\n"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        pieces.extend(printed.lines().skip(1).map(|line| format!("{line}\n")));
    }
    assert_eq!(pieces.lines().collect::<Vec<_>>(), lines[1..]);
    // A state is of its weights, and is not written by halves.
    let state = std::fs::read(here.join("s")).unwrap();
    std::fs::write(here.join("cut"), &state[..state.len() - 9]).unwrap();
    let says = |args: &[&str], input: &str, says: &[&str]| {
        let output = stream(here, args, input);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        says.iter().for_each(|say| assert!(error.contains(say), "{say} in {error}"));
    };
    says(&["--state", "cut"], "", &["cut", "damaged"]);
    says(&["--state", "s", "--generate", "3"], "", &["--generate"]);
    says(&["--ahead", "5"], "", &["--ahead", "1 to 4", "found 5"]);
    says(&[], "20.5,0.5\r20.5,0.5\r", &["line 1", "carriage returns"]);
    // Dates rise, also from one run to the next; a row that is refused leaves the state as it was.
    std::fs::copy(here.join("s"), here.join("later")).unwrap();
    let next = |date: &str| format!("{date},20.5,0.5\n");
    says(&["--state", "s"], &next("2024-02-13 11:00"), &["line 1, column 1: expected a date after 2024-02-13 11:00"]);
    says(&["--state", "s"], &next("tomorrow"), &["line 1, column 1: expected a date as"]);
    let both = next("2024-02-13 12:00") + &next("2024-02-13 12:00");
    says(&["--state", "later"], &both, &["line 2", "after 2024-02-13 12:00"]);
    let bare = stream(here, &["--state", "later"], "20.5,0.5\n");
    assert!(bare.status.success(), "without a date: {}", String::from_utf8_lossy(&bare.stderr));
    // The same as JSON, an object a line.
    let objects = String::from_utf8(stream(here, &["--ahead", "2", "--json"], &text).stdout).unwrap();
    assert_eq!(objects.lines().count(), lines.len() - 1);
    for (object, line) in objects.lines().zip(&lines[1..]) {
        let found: serde_json::Value = serde_json::from_str(object).unwrap();
        assert_eq!(keys(&found), ["error", "forecast", "row", "surprise"]);
        let told: Vec<f64> = line.split(',').map(|x| x.parse().unwrap_or(f64::NAN)).collect();
        let forecast = &found["forecast"];
        let said = [&forecast["level"][0], &forecast["level"][1], &forecast["drift"][0], &forecast["drift"][1]];
        assert_eq!(said.map(|x| x.as_f64().unwrap()).to_vec(), told[1..5]);
        assert_eq!((found["row"].as_f64(), found["error"].is_null()), (Some(told[0]), told[5].is_nan()));
    }
    says(&[], "level,depth\n", &["expected the run's columns level, drift"]);
    says(&[], "1,2\n3,x\n", &["line 2, column drift", "found \"x\""]);
    says(&["--state", "s"], "1,2,3,4\n", &["line 1: expected 2 fields", "or 3 as in its training file", "found 4: "]);
    assert_eq!(std::fs::read(here.join("s")).unwrap(), state, "what is refused changes nothing");
    fails(here, &["inspect", "s"], 2, &["is a forecaster's state of `titans stream`, which"]);
    ok(here, &small(&["--data", "two.csv", "--steps", "5", "--out", "other", "--seed", "9", "--block", "mal"]));
    std::fs::rename(here.join("run"), here.join("old")).unwrap();
    std::fs::rename(here.join("other"), here.join("run")).unwrap();
    says(&["--state", "s"], "", &["checkpoint"]);
}

#[test]
fn options_make_other_forecasters() {
    let folder = folder();
    let here = folder.path();
    for (name, more) in [
        ("mixed", &["--channels", "mixed", "--target", "drift", "--normalise", "last"][..]),
        ("none", &["--shortcut", "none", "--normalise", "none", "--split", "0.6,0.2"]),
        ("learned", &["--shortcut", "learned", "--block", "attention", "--season", "5"]),
    ] {
        let mut args = small(&["--data", "two.csv", "--steps", "2", "--out"]);
        args.push(name);
        args.extend(more);
        ok(here, &args);
        let found = json(here, &["eval", name, "--json", "--carry"]);
        assert!(found["mse"].as_f64().unwrap().is_finite(), "{found}");
        assert_eq!(found["columns"], if name == "mixed" { 1 } else { 2 });
        let csv = ok(here, &["forecast", name, "--data", "two.csv"]);
        assert_eq!(csv.lines().next(), Some(if name == "mixed" { "date,drift" } else { "date,level,drift" }));
    }
    // A configuration of one file is a start for another.
    write(here, "more.csv", &rows(400));
    let again =
        ["train", "--config", "mixed/config.toml", "--data", "more.csv", "--steps", "1", "--quiet", "--out", "again"];
    ok(here, &again);
    fails(here, &small(&["--data", "two.csv", "--target", "depth"]), 2, &["--target depth", "level, drift"]);
    fails(here, &small(&["--data", "two.csv", "--split", "0.9,0.2"]), 2, &["--split", "0.9,0.2"]);
    fails(here, &small(&["--data", "two.csv", "--split", "half"]), 2, &["--split", "ett-hour"]);
    fails(here, &small(&["--data", "two.csv", "--split", "ett-hour"]), 2, &["two.csv", "14400"]);
    fails(
        here,
        &["train", "--task", "forecast", "--data", "two.csv", "--lookback", "400"],
        2,
        &["two.csv", "training rows"],
    );
    fails(here, &["train", "--horizon", "3"], 2, &["--horizon", "forecast task"]);
    fails(here, &["train", "--task", "forecast"], 2, &["--data FILE.csv"]);
    assert_eq!(run(here, &["forecast", "again", "--data", "absent.csv"]).status.code(), Some(2));
}

/// Each file ends in a clear result or in an error that names what is wrong and where.
#[test]
fn files_of_every_kind() {
    let folder = folder();
    let here = folder.path();
    let good = rows(300);
    let train = |name: &'static str, more: &[&'static str]| {
        let mut args = small(&["--steps", "1", "--data", name, "--out", "run"]);
        args.extend(more);
        let _ = std::fs::remove_dir_all(here.join("run"));
        args
    };
    let plain = |name: &'static str, more: &[&'static str]| {
        ok(here, &train(name, more));
        json(here, &["eval", "run", "--json"])["mse"].as_f64().unwrap()
    };
    let expected = plain("two.csv", &[]);
    let same = |bytes: Vec<u8>, name: &'static str, more: &[&'static str]| {
        std::fs::write(here.join(name), bytes).unwrap();
        let found = plain(name, more);
        assert!((found - expected).abs() < 1e-9, "{name}: {found} {expected}");
    };
    let text = std::fs::read_to_string(here.join("two.csv")).unwrap();
    same(format!("\u{feff}{text}").into_bytes(), "bom.csv", &[]);
    same(text.replace('\n', "\r\n").into_bytes(), "crlf.csv", &[]);
    same(text.replace(",level", ",\"level\"").into_bytes(), "quotes.csv", &[]);
    same(text.replace(',', ";").replace('.', ",").into_bytes(), "semicolon.csv", &[]);
    same(text.replace(',', "\t").into_bytes(), "tabs.csv", &[]);
    let moved = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        format!("{},{},{}\n", fields[1], fields[2], fields[0])
    };
    same(text.lines().map(moved).collect::<String>().into_bytes(), "behind.csv", &["--date", "date"]);
    let zipped = |part: &str| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(part.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    same([zipped(&text[..500]), zipped(&text[500..])].concat(), "members.csv.gz", &[]);
    let bad = |name: &'static str, lines: Vec<String>, says: &[&str]| {
        write(here, name, &lines);
        fails(here, &train(name, &[]), 2, says);
    };
    let change = |at: usize, line: &str| {
        let mut lines = good.clone();
        lines[at] = line.to_owned();
        lines
    };
    bad("empty.csv", change(4, "2024-02-01 04:00,,0.5"), &["empty.csv: line 6, column level", "--gaps"]);
    bad("word.csv", change(4, "2024-02-01 04:00,much,0.5"), &["line 6, column level", "found \"much\""]);
    bad("many.csv", change(4, "2024-02-01 04:00,\"1,234.5\",0.5"), &["line 6, column level", "1,234.5"]);
    bad("again.csv", change(4, "2024-02-01 03:00,1,0.5"), &["line 6", "a date after 2024-02-01 03:00"]);
    bad("before.csv", change(9, "2023-02-01 03:00,1,0.5"), &["line 11", "sort the rows"]);
    bad("odd.csv", change(9, "yesterday,1,0.5"), &["line 11", "expected a date"]);
    bad("short.csv", change(9, "2024-02-01 09:00,1"), &["line 11", "expected 3 fields, found 2"]);
    bad("one.csv", good[..1].to_vec(), &["one.csv"]);
    bad("none.csv", Vec::new(), &["none.csv"]);
    std::fs::write(here.join("latin.csv"), b"date,level,drift\n2024-02-01 00:00,1,\xff\n").unwrap();
    fails(here, &train("latin.csv", &[]), 2, &["latin.csv: line 2, column 3", "UTF-8"]);
    // Gaps by policy, one column, and one that stands still.
    write(here, "gaps.csv", &change(4, "2024-02-01 04:00,,0.5"));
    for gaps in ["mean", "hold"] {
        let mut args = train("gaps.csv", &["--gaps"]);
        args.push(gaps);
        let output = run(here, &args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.contains("1 missing number, for which"), "{told}");
        ok(here, &["forecast", "run", "--data", "gaps.csv"]);
    }
    let only: String = (0..300).map(|i| format!("{}\n", (f64::from(i) * 0.5).sin())).collect();
    std::fs::write(here.join("only.csv"), only).unwrap();
    ok(here, &train("only.csv", &[]));
    let csv = ok(here, &["forecast", "run", "--data", "only.csv", "--horizon", "1"]);
    assert!(csv.starts_with("row,1\n301,"), "{csv}");
    write(
        here,
        "still.csv",
        &good.iter().map(|row| format!("{},3", row.rsplit_once(',').unwrap().0)).collect::<Vec<_>>(),
    );
    let output = run(here, &train("still.csv", &[]));
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("constant"),
        "a constant column"
    );
    assert!(json(here, &["eval", "run", "--json"])["mse"].as_f64().unwrap().is_finite());
    // A series knows no rows before a gap in a stream.
    fails(
        here,
        &["train", "--task", "series", "--data", "gaps.csv", "--gaps", "hold"],
        2,
        &["--gaps hold", "forecast"],
    );
}
