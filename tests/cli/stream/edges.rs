//! Signals, owners, limits and links: what was learned is kept, by one process at a time, in the file that was named.
#![cfg(unix)]

use super::{folder, numbers, streamed, with_input};
use crate::common::{check_failure, fails, titans};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;
use tempfile::tempdir;
use titans_host::model::Kind;

fn started(here: &Path, args: &[&str]) -> Child {
    let piped = |command: &mut Command| {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    piped(titans(here).args(args))
}

fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Feeds rows and waits until they are predicted.
fn feed(child: &mut Child, out: &mut BufReader<ChildStdout>, rows: &[&str], header: bool) {
    let input = child.stdin.as_mut().unwrap();
    rows.iter().for_each(|row| writeln!(input, "{row}").unwrap());
    for _ in 0..rows.len() + usize::from(header) {
        assert!(out.read_line(&mut String::new()).unwrap() > 0);
    }
}

#[test]
fn every_signal_that_asks_for_the_end_leaves_the_state_of_the_last_row() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut session = numbers(here, 1, Kind::Lmm);
    // `timeout` and closing terminals send the same signal twice.
    let cases: [(&[&str], i32, &str); 4] = [
        (&["TERM"], 143, "SIGTERM"),
        (&["HUP"], 129, "SIGHUP"),
        (&["INT"], 130, "Ctrl-C"),
        (&["TERM", "TERM"], 143, "SIGTERM"),
    ];
    for (i, (signals, code, name)) in cases.into_iter().enumerate() {
        let mut child = started(here, &["stream", "model.titans", "--state", "s"]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        feed(&mut child, &mut out, &["0.5,-1", "0.25,1"], true);
        let input = child.stdin.take(); // still open: there may be more
        signals.iter().for_each(|name| signal(&child, name));
        let output = child.wait_with_output().unwrap();
        drop(input);
        let says = format!("the state after {} tokens is in s", 2 * (i + 1));
        check_failure(&output, name, code, &[&format!("interrupted by {name}"), &says]);
        session.push_rows(&[0.5, -1.0, 0.25, 1.0]).unwrap();
        assert!(std::fs::read(here.join("s")).unwrap()[20..] == session.save().unwrap(), "{name}");
    }
    assert_eq!(names(here), ["model.titans", "s"], "no lock and no half of a file");
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    numbers(here, 1, Kind::Lmm);
    // Nobody reads the predictions: the verb waits in the middle of a row.
    let mut child = started(here, &["stream", "model.titans", "--state", "s"]);
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        // The pipe breaks when the reader is gone.
        let _ = input.write_all("0.5,-1\n".repeat(100_000).as_bytes());
    });
    std::thread::sleep(Duration::from_millis(1500));
    signal(&child, "TERM");
    std::thread::sleep(Duration::from_millis(1000));
    assert!(child.try_wait().unwrap().is_none(), "the first signal waits for the row");
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    writer.join().unwrap();
    // What it held is free, and its state whole.
    streamed(here, &["stream", "model.titans", "--state", "s"], b"1,2\n");
    assert_eq!(names(here), ["model.titans", "s"]);
}

#[test]
#[cfg(target_os = "linux")]
fn signals_that_were_ignored_from_the_start_say_nothing() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    numbers(here, 1, Kind::Lmm);
    let all = ["HUP", "INT", "TERM"];
    for ignored in [&["HUP"][..], &["INT"], &["TERM"], &all] {
        // What these tests ignore themselves the shell could not hear again.
        drop(titans(here));
        let script = format!("trap '' {}; exec \"$0\" stream model.titans --state t", ignored.join(" "));
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_titans")]).current_dir(here);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        feed(&mut child, &mut out, &["0.5,-1"], true);
        for _ in 0..2 {
            ignored.iter().for_each(|name| signal(&child, name));
            std::thread::sleep(Duration::from_millis(350)); // longer than a pair of signals that are one
            feed(&mut child, &mut out, &["0.5,-1"], false);
        }
        // The others are heard.
        let Some((heard, code)) = all.into_iter().zip([129, 130, 143]).find(|(name, _)| !ignored.contains(name)) else {
            assert!(child.wait_with_output().unwrap().status.success());
            continue;
        };
        let input = child.stdin.take();
        signal(&child, heard);
        check_failure(&child.wait_with_output().unwrap(), heard, code, &["interrupted by", "is in t"]);
        drop(input);
    }
}

#[test]
fn one_file_is_not_two_outputs_nor_the_model() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    numbers(here, 1, Kind::Lmm);
    let model = std::fs::read(here.join("model.titans")).unwrap();
    fails(here, &["stream", "model.titans", "--state", "x", "--per-token", "./x"], 2, &["--state and --per-token"]);
    for option in ["--state", "--per-token"] {
        fails(here, &["stream", "model.titans", option, "model.titans"], 2, &["RUN", option, "same file"]);
    }
    assert_eq!(std::fs::read(here.join("model.titans")).unwrap(), model);
    assert_eq!(names(here), ["model.titans"]);
}

#[test]
fn a_state_has_one_owner_who_is_named() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut session = numbers(here, 1, Kind::Lmm);
    std::os::unix::fs::symlink("s", here.join("link")).unwrap();
    let mut child = started(here, &["stream", "model.titans", "--state", "s"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    feed(&mut child, &mut out, &["0.5,-1"], true);
    for name in ["s", "link"] {
        let second = with_input(here, &["stream", "model.titans", "--state", name], b"1,2\n1,2\n");
        check_failure(
            &second,
            "a second process",
            2,
            &[name, &format!("process {} on ", child.id()), "another process"],
        );
    }
    streamed(here, &["stream", "model.titans", "--state", "other"], b"1,2\n");
    // The system frees what a killed process held; up to then its state is that of its last saving.
    child.kill().unwrap();
    child.wait().unwrap();
    streamed(here, &["stream", "model.titans", "--state", "s"], b"0.25,1\n");
    session.push_rows(&[0.25, 1.0]).unwrap();
    assert!(std::fs::read(here.join("s")).unwrap()[20..] == session.save().unwrap());
    assert_eq!(names(here), ["link", "model.titans", "other", "s"]);
}

/// Runs the verb with files that may not grow over `blocks` of 512 bytes.
fn limited(here: &Path, blocks: u32, args: &str, input: &[u8]) -> Output {
    let script = format!("ulimit -f {blocks}; exec \"$0\" {args}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_titans")]).current_dir(here);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn a_limit_of_files_is_told_and_what_was_learned_before_it_is_kept() {
    let folder = folder();
    let here = folder.path();
    let text = std::fs::read(here.join("text.txt")).unwrap().repeat(8);
    let position = || {
        let said = streamed(here, &["stream", "runs/text", "--state", "s", "--json"], b"");
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["position"].as_u64().unwrap()
    };
    // The state fits, the table does not: what is learned up to there is kept.
    streamed(here, &["stream", "runs/text", "--state", "s"], &text[..100]);
    let blocks = std::fs::metadata(here.join("s")).unwrap().len() / 512 + 100;
    let blocks = u32::try_from(blocks).unwrap();
    let output = limited(here, blocks, "stream runs/text --state s --per-token out.csv", &text);
    let says = check_failure(&output, "a table that is too large", 1, &["out.csv", "File too large", "ulimit -f"]);
    let at = position();
    assert!(at > 1000 && says.contains(&format!("the state after {at} tokens is in s")), "{at}: {says}");
    let uncut = [&text[..100], &text[..]].concat();
    streamed(here, &["stream", "runs/text", "--state", "uncut"], &uncut[..=usize::try_from(at).unwrap()]);
    assert!(std::fs::read(here.join("s")).unwrap() == std::fs::read(here.join("uncut")).unwrap());
    std::fs::remove_file(here.join("uncut")).unwrap();
    // Nothing fits: the state stays as it was.
    let before = std::fs::read(here.join("s")).unwrap();
    let output = limited(here, 1, "stream runs/text --state s", &text);
    check_failure(&output, "a state that is too large", 1, &["s: ", "File too large", "ulimit -f"]);
    assert_eq!(std::fs::read(here.join("s")).unwrap(), before);
    assert_eq!(names(here), ["runs", "s", "text.txt"]);
    // A pipe is no file to replace.
    let table = streamed(here, &["stream", "runs/text", "--per-token", "/dev/stdout"], b"3 green bottles");
    assert!(table.starts_with("position,byte,") && table.lines().count() == 15, "{table}");
    // Input that cannot be read ends the run with what came before it: here nothing.
    let unreadable =
        titans(here).args(["stream", "runs/text", "--state", "s"]).stdin(std::fs::File::open(here).unwrap()).output();
    check_failure(&unreadable.unwrap(), "a folder", 2, &["standard input", "directory"]);
}

#[test]
fn a_state_keeps_its_mode_and_a_link_its_target() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempdir().unwrap();
    let here = folder.path();
    numbers(here, 1, Kind::Lmm);
    std::fs::create_dir(here.join("store")).unwrap();
    symlink("store/s", here.join("s")).unwrap();
    let run = || streamed(here, &["stream", "model.titans", "--state", "s"], b"1,2\n");
    run();
    let stored = here.join("store/s");
    std::fs::set_permissions(&stored, std::fs::Permissions::from_mode(0o600)).unwrap();
    run();
    assert_eq!(std::fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_link(here.join("s")).unwrap(), Path::new("store/s"));
    assert_eq!(names(&here.join("store")), ["s"]);
    symlink("a", here.join("b")).unwrap();
    symlink("b", here.join("a")).unwrap();
    let looped =
        fails(here, &["stream", "model.titans", "--state", "a"], 2, &["a: ", "symbolic links", "check the path"]);
    assert!(!looped.contains("uncategorized"), "{looped}");
    fails(here, &["stream", "model.titans", "--state", "no/s"], 2, &["no/s", "No such file or directory"]);
    assert_eq!(names(here), ["a", "b", "model.titans", "s", "store"]);
}

#[test]
fn messages_are_short_and_show_no_control_characters() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    numbers(here, 1, Kind::Lmm);
    let endless = [b"1,2\n".to_vec(), vec![b'x'; 3_000_000], b"\n".to_vec()].concat();
    let says = check_failure(
        &with_input(here, &["stream", "model.titans"], &endless),
        "endless",
        2,
        &["line 2", "3000000 bytes"],
    );
    assert!(says.len() < 400, "{} bytes", says.len());
    let red = with_input(here, &["stream", "model.titans"], b"1,2\n\x1b[31mred,2\n");
    let says = check_failure(&red, "red", 2, &["line 2", "red"]);
    assert!(!says.contains('\x1b'), "{says}");
    let bytes = with_input(here, &["stream", "model.titans"], b"1,2\n\n1,\xff\n");
    check_failure(&bytes, "no text", 2, &["standard input, line 3, column 2: expected text in UTF-8"]);
    for args in [&["stream", "\x1b[31mno"][..], &["stream", "model.titans", "--\x1b[31mno"], &["\x1b[31mno"]] {
        let says = fails(here, args, 2, &["no"]);
        assert!(!says.contains('\x1b'), "{says:?}");
    }
    let says = fails(here, &["stream", &"x".repeat(100_000)], 2, &["xxx"]);
    assert!(says.len() < 5000, "{} bytes", says.len());
    let mut rest = String::new();
    started(here, &["stream", "model.titans", "--seed", "-1"])
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    assert!(rest.contains("-1") && rest.contains("whole number from 0"), "{rest}");
}

/// Names of columns with all that CSV must quote come back as they were, in the model's header too.
#[test]
fn tables_are_csv_whatever_their_columns_are_called() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let row = |i: u32| format!("{:.3},{:.3},{}\n", (f64::from(i) / 7.0).sin(), (f64::from(i) / 7.0).cos(), i % 3);
    let rows: String = (0..200).map(row).collect();
    let header = "\"temp, C\",\"the \"\"dry\"\" one\",\"two\nlines\"\n";
    std::fs::write(here.join("odd.csv"), format!("{header}{rows}")).unwrap();
    let train = "train --task series --data odd.csv --steps 1 --quiet --out run --width 16 --heads 2 --head-width 8 --feed-forward 16 \
                 --context 16 --batch 2 --threads 1 --blocks 1";
    crate::common::ok(here, &train.split_whitespace().collect::<Vec<_>>());
    let names = ["temp, C", "the \"dry\" one", "two\nlines"];
    for input in [format!("{header}{}{}", row(0), row(1)), format!("{}{}", row(0), row(1))] {
        let said = streamed(here, &["stream", "run"], input.as_bytes());
        let mut table = csv::Reader::from_reader(said.as_bytes());
        let expected: Vec<String> =
            names.iter().map(|name| format!("prediction_{name}")).chain(["surprise_0".into()]).collect();
        assert_eq!(table.headers().unwrap().iter().collect::<Vec<_>>(), expected);
        let rows: Vec<_> = table.records().map(Result::unwrap).collect();
        assert!(rows.len() == 2 && rows.iter().flatten().all(|x| x.parse::<f64>().unwrap().is_finite()), "{said}");
    }
    let bad = with_input(here, &["stream", "run"], format!("{header}1,2,3\n4,x,6\n").as_bytes());
    check_failure(&bad, "behind a header of two lines", 2, &["line 4", "dry"]);
}
