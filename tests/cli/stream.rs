//! `titans export` and `titans stream`: what eval says, in any number of runs, and nothing lost on bad input.

mod divergence;
mod edges;
mod rows;

use crate::common::{check_failure, fails, json, keys, ok};
use crate::input::with_input;
use std::path::Path;
use tempfile::{TempDir, tempdir};
use titans_host::device::cpu::Cpu;
use titans_host::model::{Head, Kind, Kinds, Mode, Model, ModelConfig, Session, Weights};

/// A folder with some text and a run of a stack of blocks in `runs/text`.
fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    let line = |i: u32| format!("{} green bottles hanging on wall {}\n", i * i % 97, i % 7);
    std::fs::write(folder.path().join("text.txt"), (0..120).map(line).collect::<String>()).unwrap();
    let train = "train --task text --data text.txt --quiet --context 32 --batch 4 --steps 4 --width 16 --heads 2 --head-width 8 \
                 --feed-forward 16 --block mac,attention,lmm --segment 16 --window 7 --persistent 2 --threads 1";
    ok(folder.path(), &train.split_whitespace().collect::<Vec<_>>());
    folder
}

fn streamed(here: &Path, args: &[&str], input: &[u8]) -> String {
    let output = with_input(here, args, input);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn rows(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_stream_says_what_eval_says_however_it_is_cut() {
    let folder = folder();
    let here = folder.path();
    let text = std::fs::read(here.join("text.txt")).unwrap();
    ok(here, &["eval", "runs/text", "--data", "text.txt", "--window", "0", "--per-token", "eval.csv"]);
    let exported = json(here, &["export", "runs/text", "--json"]);
    assert_eq!(keys(&exported), ["block_bytes_1", "block_bytes_64", "bytes", "file", "parameters"]);
    let bytes = std::fs::metadata(here.join("runs/text/model.titans")).unwrap().len();
    assert_eq!(exported["bytes"].as_u64(), Some(bytes));
    for model in ["runs/text", "runs/text/latest.safetensors", "runs/text/model.titans"] {
        let whole = streamed(here, &["stream", model, "--per-token", "all.csv", "--json"], &text);
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(keys(&whole), ["bits_per_byte", "clipped", "nats_per_token", "position", "resets", "tokens"]);
        assert_eq!(whole["tokens"].as_u64(), Some(text.len() as u64 - 1));
        assert_eq!(rows(&here.join("all.csv")), rows(&here.join("eval.csv")), "{model}");
    }
    // Three runs, of which one is empty, with a state between them.
    let (mut joined, mut from) = (vec![rows(&here.join("all.csv"))[0].clone()], 0);
    for to in [1, 700, 700, text.len()] {
        let args = ["stream", "runs/text", "--state", "memory.state", "--per-token", "part.csv"];
        streamed(here, &args, &text[from..to]);
        joined.extend(rows(&here.join("part.csv")).drain(1..));
        from = to;
    }
    assert_eq!(joined, rows(&here.join("all.csv")));
}

#[test]
fn what_is_generated_is_no_part_of_the_state() {
    let folder = folder();
    let here = folder.path();
    streamed(here, &["stream", "runs/text", "--state", "a.state"], b"3 green bottles");
    let before = std::fs::read(here.join("a.state")).unwrap();
    let args = ["stream", "runs/text", "--state", "a.state", "--generate", "20", "--seed", "4"];
    let first = with_input(here, &args, b"").stdout;
    assert_eq!(first.len(), 21, "20 bytes and a line end");
    assert_eq!(with_input(here, &args, b"").stdout, first);
    assert_eq!(std::fs::read(here.join("a.state")).unwrap(), before);
    let frozen = ["stream", "runs/text", "--state", "b.state", "--memory", "frozen", "--generate", "5"];
    assert_eq!(with_input(here, &frozen, b"one two three").stdout.len(), 6);
}

#[test]
fn an_absent_memory_stays_absent() {
    let folder = folder();
    let here = folder.path();
    let text = b"4 green bottles hanging on the wall";
    for (mode, state) in [("on", "on.state"), ("absent", "absent.state")] {
        streamed(here, &["stream", "runs/text", "--state", state, "--memory", mode], &text[..9]);
    }
    let refused = ["stream", "runs/text", "--state", "on.state", "--memory", "absent"];
    check_failure(&with_input(here, &refused, b"x"), "a memory that goes", 2, &["on.state", "absent"]);
    streamed(
        here,
        &["stream", "runs/text", "--state", "absent.state", "--memory", "absent", "--per-token", "a.csv"],
        &text[9..],
    );
    streamed(here, &["stream", "runs/text", "--memory", "absent", "--per-token", "b.csv"], text);
    assert_eq!(rows(&here.join("a.csv"))[1..], rows(&here.join("b.csv"))[9..]);
}

/// A run of the series task knows its columns and patches; rows of an open patch wait in the state.
#[test]
fn patches_go_on_from_run_to_run() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let row = |i: u32| format!("day {i},{},{}\n", 20.0 + (f64::from(i) * 0.4).sin(), i % 5);
    let series = (0..200).map(row).collect::<String>();
    std::fs::write(here.join("two.csv"), format!("date,level,phase\n{series}")).unwrap();
    let train = "train --task series --data two.csv --patch 3 --steps 2 --quiet --out run --width 16 --heads 2 --head-width 8 \
                 --feed-forward 16 --context 16 --batch 2 --threads 1";
    ok(here, &train.split_whitespace().collect::<Vec<_>>());
    let input: Vec<String> = (0..10).map(row).collect();
    let whole = streamed(here, &["stream", "run"], input.concat().as_bytes());
    let mut parts = streamed(here, &["stream", "run", "--state", "s"], input[..4].concat().as_bytes());
    let rest = streamed(here, &["stream", "run", "--state", "s"], input[4..].concat().as_bytes());
    parts.push_str(rest.split_once('\n').unwrap().1);
    assert_eq!(parts, whole);
    assert_eq!(whole.lines().count(), 1 + 3, "three patches of three rows");
    assert!(whole.starts_with("prediction_level_0,prediction_phase_0,"), "{whole}");
    // What came before a bad line is kept.
    let bad = format!("{}{}oops,1,x\n", input[0], input[1]);
    check_failure(&with_input(here, &["stream", "run", "--state", "t"], bad.as_bytes()), "bad", 2, &["line 3"]);
    let last = streamed(here, &["stream", "run", "--state", "t"], input[2].as_bytes());
    assert_eq!(last.lines().nth(1), whole.lines().nth(1));
    // A header of other columns, and a state that cannot be written, are told before anything is learned.
    let swapped = format!("date,phase,level\n{}", input[0]);
    let output = with_input(here, &["stream", "run", "--state", "u"], swapped.as_bytes());
    check_failure(&output, "swapped", 2, &["level, phase", "phase, level"]);
    streamed(here, &["stream", "run"], format!("date,level,phase\n{}", input[0]).as_bytes());
    check_failure(&with_input(here, &["stream", "run", "--state", "no/s"], b""), "no folder", 2, &["no/s", "path"]);
    for option in ["--top-p", "--temperature", "--seed"] {
        fails(here, &["stream", "run", option, "1"], 2, &["--generate"]);
    }
    fails(here, &["stream", "run", "--tokenizer", "t.json"], 2, &["--tokenizer", "numbers"]);
}

/// A blob of numbers, two a row, and a session of it.
fn numbers(here: &Path, blocks: usize, kind: Kind) -> Session<f32> {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    let config = ModelConfig {
        inputs: 2,
        head: Head::Regression,
        outputs: 2,
        tied: false,
        width: 16,
        blocks,
        block: Kinds::All(kind),
        heads: 2,
        head_width: 8,
        feed_forward: 16,
        ..ModelConfig::default()
    };
    let model = Model::new(&device, config, 3).unwrap();
    std::fs::write(here.join("model.titans"), Weights::of(&device, &model).unwrap().bytes()).unwrap();
    Session::new(&device, &model, Mode::On).unwrap()
}

#[test]
fn numbers_give_a_prediction_a_row() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut session = numbers(here, 2, Kind::Mag);
    let said = streamed(here, &["stream", "model.titans", "--state", "s"], b"a,b\n0.5,-1\n0.25,0.75\n");
    let said = said + &streamed(here, &["stream", "model.titans", "--state", "s"], b"1,2\n");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 5, "{said}");
    assert_eq!((lines[0], lines[3]), ("prediction_0,prediction_1,surprise_0,surprise_1", lines[0]));
    let steps = session.push_rows(&[0.5, -1.0, 0.25, 0.75, 1.0, 2.0]).unwrap();
    for (line, step) in [lines[1], lines[2], lines[4]].iter().zip(&steps) {
        let numbers: Vec<f32> = line.split(',').map(|x| x.parse().unwrap()).collect();
        assert_eq!(numbers[..2], step.logits);
    }
    for (input, says) in [(&b"1,2\n3\n"[..], "line 2"), (b"1,2\nx,y\n", "line 2"), (b"1,nan\n", "finite")] {
        let output = with_input(here, &["stream", "model.titans"], input);
        check_failure(&output, "bad rows", 2, &[says]);
    }
    let output = with_input(here, &["stream", "model.titans", "--generate", "3"], b"1,2\n");
    check_failure(&output, "no text", 2, &["models of text"]);
}

#[test]
fn bad_input_is_named_and_loses_nothing() {
    let folder = folder();
    let here = folder.path();
    fails(here, &["export", "missing"], 2, &["missing"]);
    fails(here, &["stream", "missing"], 2, &["missing"]);
    fails(here, &["stream", "text.txt"], 2, &["text.txt", "titans export"]);
    ok(here, &["export", "runs/text", "--out", "m"]);
    let mut blob = std::fs::read(here.join("m")).unwrap();
    let middle = blob.len() / 2;
    blob[middle] ^= 1;
    std::fs::write(here.join("damaged"), blob).unwrap();
    fails(here, &["stream", "damaged"], 2, &["damaged", "checksum"]);
    streamed(here, &["stream", "m", "--state", "s"], b"one");
    let good = std::fs::read(here.join("s")).unwrap();
    for (at, what) in [(3, "not the state"), (9, "damaged"), (good.len() - 2, "checksum")] {
        let mut bad = good.clone();
        bad[at] ^= 8;
        std::fs::write(here.join("bad"), &bad).unwrap();
        fails(here, &["stream", "m", "--state", "bad"], 2, &["bad", what]);
        assert_eq!(std::fs::read(here.join("bad")).unwrap(), bad, "a state that cannot be read is left alone");
    }
    fails(here, &["stream", "m", "--temperature", "-1"], 2, &["temperature"]);
}
