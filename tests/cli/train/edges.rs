//! Runs that are stopped, shared, moved and edited; data that must be guessed about; sizes that do not fit.

use super::{TEXT, folder, text_run};
use crate::common::{check_failure, fails, json, ok, run, titans};
use crate::input::with_input;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A run that goes on until it is stopped, in its first steps.
fn endless(here: &Path, out: &str) -> Child {
    let args = [&TEXT[..], &["--out", out, "--steps", "1000000000"]].concat();
    let child = titans(here).args(args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let metrics = here.join(out).join("metrics.jsonl");
    let start = Instant::now();
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "no step in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn step(here: &Path, run: &str) -> u64 {
    let latest = json(here, &["inspect", run, "--checkpoint", "latest", "--json"]);
    latest["metadata"]["titans.state"]["step"].as_u64().unwrap()
}

#[test]
#[cfg(unix)]
fn a_run_has_one_owner_and_every_stop_saves_it() {
    let folder = folder();
    let here = folder.path();
    let child = endless(here, "run");
    let owner = format!("process {} on ", child.id());
    fails(here, &["train", "--resume", "run"], 2, &["run: another process", &owner]);
    fails(here, &[&TEXT[..], &["--out", "run", "--steps", "1"]].concat(), 2, &["run: another process", &owner]);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    check_failure(&output, "SIGTERM", 143, &["interrupted by SIGTERM", "run/latest.safetensors", "--resume run"]);
    let done = step(here, "run");
    assert!(done > 0);
    // A killed one is free at once, and goes on from its last checkpoint.
    let mut child = endless(here, "killed");
    child.kill().unwrap();
    child.wait().unwrap();
    let end = (step(here, "killed") + 2).to_string();
    ok(here, &["train", "--resume", "killed", "--quiet", "--steps", &end]);
    let hidden =
        |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().to_string_lossy().starts_with('.');
    for run in ["run", "killed"] {
        assert!(!std::fs::read_dir(here.join(run)).unwrap().any(hidden), "{run}: a lock or half of a file is left");
    }
}

#[test]
fn a_run_goes_on_where_its_data_are_now() {
    let folder = folder();
    let here = folder.path();
    text_run(here, &["--out", "run", "--steps", "2"]);
    std::fs::rename(here.join("text.txt"), here.join("moved.txt")).unwrap();
    fails(here, &["train", "--resume", "run", "--steps", "4"], 2, &["text.txt", "no longer there", "--data"]);
    let moved = ["train", "--resume", "run", "--quiet", "--data"];
    ok(here, &[&moved[..], &["moved.txt", "--steps", "3"]].concat());
    ok(here, &["train", "--resume", "run", "--quiet", "--steps", "4"]);
    let text = std::fs::read(here.join("moved.txt")).unwrap();
    std::fs::write(here.join("other.txt"), text.to_ascii_uppercase()).unwrap();
    fails(here, &[&moved[..], &["other.txt", "--steps", "5"]].concat(), 2, &["other.txt", "changed", "CRC-32"]);
    assert_eq!(step(here, "run"), 4);
}

#[test]
fn a_place_of_the_data_that_is_edited_is_used_and_named_and_options_go_before_what_is_edited() {
    let folder = folder();
    let here = folder.path();
    text_run(here, &["--out", "run", "--steps", "2"]);
    std::fs::rename(here.join("text.txt"), here.join("moved.txt")).unwrap();
    let path = here.join("run/config.toml");
    let edit = |from: &str, to: &str| {
        let config = std::fs::read_to_string(&path).unwrap();
        assert!(config.contains(from), "{from} in {config}");
        std::fs::write(&path, config.replacen(from, to, 1)).unwrap();
    };
    let resume = |more: &[&str]| {
        let output = run(here, &[&["train", "--resume", "run", "--quiet"], more].concat());
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{says}");
        says
    };
    edit("text.txt", "moved.txt");
    let says = resume(&["--steps", "3"]);
    let place = |name: &str| format!("[{:?}]", here.join(name));
    let told = format!("and used: task.data ({}, was {})", place("moved.txt"), place("text.txt"));
    assert!(says.contains(&told) && !says.contains("not used"), "{told} in {says}");
    assert_eq!(step(here, "run"), 3);
    edit("moved.txt", "nowhere.txt");
    fails(here, &["train", "--resume", "run", "--steps", "4"], 2, &["nowhere.txt", "no longer there", "--data"]);
    // Options go before it, and that is said of each.
    edit("steps = 3", "steps = 9");
    let says = resume(&["--steps", "4", "--data", "moved.txt"]);
    assert!(says.contains("changed by hand, but not used: ") && !says.contains("and used"), "{says}");
    assert!(says.contains("train.steps (9, was 3): --steps counts instead"), "{says}");
    assert!(says.contains("nowhere.txt\"], was ") && says.contains("): --data counts instead"), "{says}");
    assert_eq!(step(here, "run"), 4);
    edit("steps = 4", "steps = 5");
    edit("save_every = 30.0", "save_every = 20.0");
    let says = resume(&["--minutes", "0.02"]);
    assert!(says.contains("and used: train.save_every (20.0, was 30.0)"), "{says}");
    assert!(says.contains("not used: train.steps (5, was 4): --minutes counts instead"), "{says}");
    edit("steps = 5", "steps = 7");
    edit("minutes = 0.02", "minutes = 0.03");
    let says = resume(&[]);
    assert!(says.contains("and used: train.minutes (0.03, was 0.02)"), "{says}");
    assert!(says.contains("train.steps (7, was 5): train.minutes counts instead"), "{says}");
}

#[test]
fn what_is_behind_gzip_data_is_told_once_a_file() {
    let folder = folder();
    let here = folder.path();
    let pack = |content: &[u8], name: &str, behind: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, content).unwrap();
        std::fs::write(here.join(name), [encoder.finish().unwrap(), behind.to_vec()].concat()).unwrap();
    };
    pack(&std::fs::read(here.join("text.txt")).unwrap(), "text.gz", b"rubbish");
    let vocabulary = crate::vocabulary::tokenizer(&[(" ", "b"), ("l", "e")]).to_string();
    pack(vocabulary.as_bytes(), "words.json.gz", b"!!!");
    let rows: String = (0..200).map(|i| format!("{}\n", (f64::from(i) / 7.0).sin())).collect();
    pack(rows.as_bytes(), "in.csv.gz", b"xx");
    let small = &TEXT[5..];
    let text = [
        "train",
        "--task",
        "text",
        "--data",
        "text.gz",
        "--tokenizer",
        "words.json.gz",
        "--steps",
        "1",
        "--out",
        "run",
    ];
    let (data, words) = ("text.gz: 7 bytes behind the gzip data", "words.json.gz: 3 bytes behind");
    for (args, told) in [
        (&[&text[..], small].concat()[..], &[data, words][..]),
        (&["train", "--resume", "run", "--steps", "2", "--quiet"], &[data, words]),
        (&["eval", "run"], &[data, words]),
        (&["eval", "run", "--data", "text.gz", "text.gz"], &[data, words]),
        (&["generate", "run", "-n", "2"], &[words]),
        (&["stream", "run"], &[words]),
        (
            &SERIES.split_whitespace().chain(["--data", "in.csv.gz", "--out", "series"]).collect::<Vec<_>>(),
            &["in.csv.gz: 2 bytes"],
        ),
        (&["eval", "series"], &["in.csv.gz: 2 bytes"]),
        (&["eval", "series", "--data", "in.csv.gz"], &["in.csv.gz: 2 bytes"]),
    ] {
        let output = with_input(here, args, b"ten");
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {says}");
        for part in told {
            assert_eq!(says.matches(part).count(), 1, "{args:?}: {part} in {says}");
        }
        assert_eq!(says.matches("behind the gzip data").count(), told.len(), "{args:?}: {says}");
    }
    let packed = std::fs::read(here.join("text.gz")).unwrap();
    std::fs::write(here.join("cut.gz"), &packed[..packed.len() - 8]).unwrap();
    fails(here, &["eval", "run", "--data", "cut.gz"], 2, &["cut.gz: expected gzip data, found damage"]);
}

#[test]
fn what_is_edited_in_a_run_is_used_and_named_or_refused_and_named() {
    let folder = folder();
    let here = folder.path();
    text_run(here, &["--out", "run", "--steps", "2"]);
    let path = here.join("run/config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{from} in {config}");
        std::fs::write(&path, config.replacen(from, to, 1)).unwrap();
    };
    with("steps = 2", "# two more\nsteps = 4");
    let output = run(here, &["train", "--resume", "run", "--quiet"]);
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && says.contains("train.steps (4, was 2)"), "{says}");
    assert_eq!(step(here, "run"), 4);
    assert!(std::fs::read_to_string(&path).unwrap().contains("# two more"), "what says the same is left alone");
    let config = config.replacen("steps = 2", "steps = 4", 1);
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{from} in {config}");
        std::fs::write(&path, config.replacen(from, to, 1)).unwrap();
    };
    for (from, to, says) in [
        ("learning_rate = 0.003", "learning_rate = 0.01", "train.learning_rate: expected 0.003"),
        ("width = 16", "width = 32", "model.width: expected 16"),
        ("context = 32", "context = 64", "task.context: expected 32"),
        ("steps = 4", "steps = 3", "train.steps: expected 4 or more"),
        ("steps = 4", "stepps = 4", "stepps"),
        ("[train]", "\u{1b}", "config.toml"),
    ] {
        with(from, to);
        let edited = std::fs::read(&path).unwrap();
        fails(here, &["train", "--resume", "run"], 2, &[says]);
        assert_eq!(std::fs::read(&path).unwrap(), edited, "what is refused is not overwritten");
    }
    std::fs::write(&path, b"[train]\nsteps = \xff\n").unwrap();
    fails(here, &["train", "--resume", "run"], 2, &["config.toml", "UTF-8"]);
    // None, and one of a version that had no wirings, are written anew.
    std::fs::remove_file(&path).unwrap();
    ok(here, &["train", "--resume", "run", "--quiet", "--steps", "5"]);
    let config = std::fs::read_to_string(&path).unwrap();
    assert!(config.contains("steps = 5") && config.contains("wiring = \"residual\""), "{config}");
    std::fs::write(&path, config.replace("wiring = \"residual\"\n", "")).unwrap();
    let output = run(here, &["train", "--resume", "run", "--quiet"]);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("config.toml: it names no wiring")
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), config);
}

/// Options of a tiny run on a series.
const SERIES: &str = "train --task series --quiet --width 16 --heads 2 --head-width 8 --feed-forward 16 --context 16 --batch 2 --steps 1 \
                      --blocks 1 --threads 1";

/// Trains on a file and returns what was said about it and its columns in `config.toml`.
fn guessed(here: &Path, csv: &str, more: &[&str]) -> (String, Vec<String>) {
    std::fs::write(here.join("in.csv"), csv).unwrap();
    let _ = std::fs::remove_dir_all(here.join("guess"));
    let fixed: Vec<&str> = SERIES.split_whitespace().chain(["--data", "in.csv", "--out", "guess"]).collect();
    let output = run(here, &[&fixed[..], more].concat());
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{says}");
    let config = std::fs::read_to_string(here.join("guess/config.toml")).unwrap();
    let entry =
        |line: &str| ["name = ", "deviation = "].iter().any(|key| line.starts_with(key)) && !line.contains("series");
    (says, config.lines().filter(|line| entry(line)).map(str::to_owned).collect())
}

#[test]
fn what_is_guessed_about_a_file_is_told_and_may_be_said() {
    let folder = folder();
    let here = folder.path();
    let wave = |i: u32| (f64::from(i) / 7.0).sin();
    let rows = |row: &dyn Fn(u32) -> String| (0..200).map(row).collect::<String>();
    // Years as names: a row, and told so; or a header, if that is said.
    let years = format!("2019,2020\n{}", rows(&|i| format!("{:.3},{:.3}\n", wave(i), wave(i + 3))));
    let (says, columns) = guessed(here, &years, &[]);
    assert!(says.contains("no header") && says.contains("2019,2020") && says.contains("--header"), "{says}");
    assert!(columns[1] != "name = \"2019\"", "{columns:?}");
    let (says, columns) = guessed(here, &years, &["--header", "yes"]);
    assert!(!says.contains("--header") && columns.contains(&"name = \"2019\"".into()), "{says} {columns:?}");
    // Numbers of rows and seconds say nothing; decimal commas; a constant; a large offset.
    let told = format!(
        "t;a;b;c\n{}",
        rows(&|i| format!("{};{:.3};5;{:.3}\n", 1_700_000_000 + 60 * i, wave(i), 1e15 + 141.0 * wave(i))
            .replace('.', ","))
    );
    let (says, columns) = guessed(here, &told, &[]);
    for part in [
        "semicolon (--delimiter)",
        "decimal comma (--decimal)",
        "\"t\" is left out",
        "1970",
        "(--leave-out)",
        "constant",
        ": b ",
    ] {
        assert!(says.contains(part), "{part} in {says}");
    }
    let deviation: f64 =
        columns.iter().filter_map(|line| line.strip_prefix("deviation = ")?.parse().ok()).next_back().unwrap_or(0.0);
    let names: Vec<&String> = columns.iter().filter(|line| line.starts_with("name")).collect();
    assert_eq!(names, ["name = \"a\"", "name = \"b\"", "name = \"c\""]);
    let far: Vec<f64> = columns.iter().filter_map(|line| line.strip_prefix("deviation = ")?.parse().ok()).collect();
    assert!((far[2] - 99.7).abs() < 3.0, "{far:?} {deviation}");
    // What was found stands in config.toml and is what later rows are read by, whole or without what is left out.
    let config = std::fs::read_to_string(here.join("guess/config.toml")).unwrap();
    assert!(config.contains("left_out = [1]") && config.contains("decimal = \"comma\""), "{config}");
    let stream = |input: &str| {
        let output = with_input(here, &["stream", "guess"], input.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let row = "0,5;5;1000000000000100,5\n";
    let said = stream(row);
    assert_eq!(stream(&format!("1700000000;{row}")), said);
    assert_eq!(stream(&format!("t;a;b;c\n1700000000;{row}")), said);
    let far: f64 = said.lines().nth(1).unwrap().split(',').nth(2).unwrap().parse().unwrap();
    assert!(
        (far - 1e15).abs() < 10_000.0 && far.fract() != 0.0 || far != f64::from(far as f32),
        "the digits stay: {said}"
    );
    ok(here, &["eval", "guess", "--data", "in.csv"]);
    // Every column, because that is said; gaps that the mean fills.
    let (says, columns) = guessed(
        here,
        &told,
        &["--leave-out", "none", "--delimiter", "semicolon", "--decimal", "comma", "--header", "yes"],
    );
    assert!(!says.contains("guessed") && columns.contains(&"name = \"t\"".into()), "{says} {columns:?}");
    let gaps = format!(
        "a,b\n{}",
        rows(&|i| format!("{:.3},{}\n", wave(i), if i % 9 == 4 { "NA".into() } else { wave(i).to_string() }))
    );
    let (says, _) = guessed(here, &gaps, &["--gaps", "mean"]);
    assert!(says.contains("22 missing numbers") && says.contains("--gaps"), "{says}");
    stream("1,NA\n");
    ok(here, &["eval", "guess", "--data", "in.csv"]);
    let fixed: Vec<&str> = SERIES.split_whitespace().chain(["--data", "in.csv"]).collect();
    fails(here, &fixed, 2, &["in.csv: line 6, column b", "--gaps mean"]);
    // Fields that end with something else are one field.
    std::fs::write(here.join("in.csv"), "a|b\n1|2\n3|4\n").unwrap();
    fails(here, &fixed, 2, &["in.csv: line 2, column a|b", "--delimiter"]);
    fails(here, &[&TEXT[..], &["--header", "yes"]].concat(), 2, &["--header", "series or forecast task"]);
    let both = ["--delimiter", "comma", "--decimal", "comma"];
    fails(here, &[&fixed[..], &both].concat(), 2, &["decimal comma", "--delimiter"]);
}

#[test]
#[cfg(target_os = "linux")]
fn what_does_not_fit_is_refused_with_its_bytes() {
    let folder = folder();
    let here = folder.path();
    let says = fails(here, &["train", "--width", "1000000"], 2, &["needs", "bytes", "GiB", "--width", "this"]);
    assert!(!here.join("runs").exists(), "{says}");
    let limited = |limit: &str, args: &str| {
        let script = format!("ulimit {limit}; exec \"$0\" {args}");
        Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_titans")]).current_dir(here).output().unwrap()
    };
    let large = "train --task text --data text.txt --out run --steps 1 --threads 1 --quiet --width 1024 --blocks 2";
    check_failure(&limited("-v 400000", large), "addresses", 2, &["needs", "ulimit -v", "--batch"]);
    // The batch of a validation is larger than that of the step: 8192 tokens beside 16.
    let long = std::fs::read(here.join("text.txt")).unwrap().repeat(40);
    std::fs::write(here.join("long.txt"), long).unwrap();
    let small = "train --task text --data long.txt --out run --steps 1 --threads 1 --quiet --blocks 1 --batch 1 --context 16 --width 512 \
                 --head-width 128";
    check_failure(
        &limited("-v 100000", small),
        "validation",
        2,
        &["a validation with ", " bytes of data needs", "task.window"],
    );
    // Data are refused before they are read: a file of a tebibyte without blocks.
    std::fs::File::create(here.join("huge.txt")).unwrap().set_len(1 << 40).unwrap();
    for task in ["text", "series"] {
        let says = fails(
            here,
            &["train", "--task", task, "--data", "huge.txt"],
            2,
            &["huge.txt: the data do not fit", "less"],
        );
        assert!(says.contains(if task == "text" { "5497558138880 bytes" } else { "1099511627776 bytes" }), "{says}");
    }
    assert!(!here.join("runs").exists());
    // The system's own reason.
    let says = check_failure(&limited("-n 4", &TEXT.join(" ")), "files", 1, &["Too many open files", "ulimit -n"]);
    assert!(!says.contains("uncategorized"), "{says}");
}

#[test]
#[cfg(unix)]
fn odd_names_and_dashes_are_taken_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let here = folder.path();
    let odd = std::ffi::OsStr::from_bytes(b"r\xff\x1b[31mun");
    let mut args: Vec<&std::ffi::OsStr> = TEXT.iter().map(std::ffi::OsStr::new).collect();
    args.extend(["--steps", "1", "--json", "--out"].map(std::ffi::OsStr::new));
    args.push(odd);
    let report = json(here, &args);
    assert!(report["run"].as_str().unwrap().starts_with("r\u{fffd}"), "{report}");
    let inspected = json(here, &[std::ffi::OsStr::new("inspect"), odd, std::ffi::OsStr::new("--json")]);
    assert!(inspected["file"].as_str().unwrap().contains("best.safetensors"), "{inspected}");
    let says = fails(
        here,
        &[std::ffi::OsStr::new("export"), odd, std::ffi::OsStr::new("--out"), std::ffi::OsStr::from_bytes(b"no\xff/x")],
        2,
        &["no"],
    );
    assert!(!says.contains('\x1b'), "{says}");
    text_run(here, &["--out", "run", "--steps", "1"]);
    let said = ok(here, &["generate", "run", "-n", "5", "--prompt", "- item"]);
    assert!(said.starts_with("- item"), "{said}");
    fails(here, &["generate", "run", "--seed", "-1"], 2, &["--seed", "whole number from 0"]);
    fails(here, &["generate", "run", "-n", "-5"], 2, &["--tokens", "-5"]);
    fails(here, &["train", "--task", "text", "--data", "-x.txt"], 2, &["--OPTION=-x", "./-x"]);
    // A link to a checkpoint stays one.
    std::fs::create_dir(here.join("store")).unwrap();
    std::fs::rename(here.join("run/latest.safetensors"), here.join("store/latest")).unwrap();
    std::os::unix::fs::symlink("../store/latest", here.join("run/latest.safetensors")).unwrap();
    ok(here, &["train", "--resume", "run", "--steps", "3", "--quiet"]);
    assert_eq!(std::fs::read_link(here.join("run/latest.safetensors")).unwrap(), Path::new("../store/latest"));
    assert_eq!(step(here, "run"), 3);
}
