//! Rows that a stream of numbers does not take: by line and place, with what to do.

use super::{numbers, streamed};
use crate::common::{check_failure, ok, titans};
use crate::input::with_input;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use tempfile::tempdir;
use titans_host::model::Kind;

#[test]
fn a_quote_that_is_not_closed_is_told_where_it_opens() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    numbers(here, 1, Kind::Lmm);
    let long = format!("1,2\n3,\"4\n{}", "5,6\n".repeat(400));
    for input in ["1,2\n3,\"4\n5,6\n", &long] {
        let output = with_input(here, &["stream", "model.titans", "--state", "s"], input.as_bytes());
        let says = ["line 2, column 2: a quote opens there", "close it, or leave it out"];
        check_failure(&output, "an open quote", 2, &says);
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2, "the row before it is in");
        std::fs::remove_file(here.join("s")).unwrap();
    }
    // Within a field it opens nothing: the row is bad, and the next is not waited for.
    let output = with_input(here, &["stream", "model.titans"], b"1,2\n3,4\"\n5,6\n");
    check_failure(&output, "a quote in a field", 2, &["line 2, column 1: expected a finite number"]);
    streamed(here, &["stream", "model.titans"], b"\"1\",\"2\"\n3,4\n");
}

/// Who feeds a stream line by line hears why no answer comes.
#[test]
fn an_open_quote_is_told_while_the_stream_waits() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    numbers(here, 1, Kind::Lmm);
    let mut command = titans(here);
    command.args(["stream", "model.titans"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"1,\"2\n").unwrap();
    let mut told = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("line 1, column 2: a quote opens there and is not closed yet"), "{told}");
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn rows_of_other_lengths_are_told_with_what_is_expected() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let row = |i: u32| format!("day {i},{},{}\n", 20.0 + (f64::from(i) * 0.4).sin(), i % 5);
    std::fs::write(here.join("two.csv"), format!("date,level,phase\n{}", (0..200).map(row).collect::<String>()))
        .unwrap();
    let train = "train --task series --data two.csv --patch 3 --steps 1 --quiet --out run --width 16 --heads 2 --head-width 8 \
                 --feed-forward 16 --context 16 --batch 2 --threads 1 --blocks 1";
    ok(here, &train.split_whitespace().collect::<Vec<_>>());
    let of = |input: &str| with_input(here, &["stream", "run"], input.as_bytes());
    let expected = "expected 2 fields of the run's columns, or 3 as in its training file, which end with a comma";
    for (input, line, found) in
        [("1,2\n1\n", 2, "found 1: "), ("1,2,3,4\n", 1, "found 4: "), ("day 1,2,3\nday 2,5;6\n", 2, "3 fields")]
    {
        let place = format!("line {line}");
        let says = check_failure(&of(input), input, 2, &[&place, found]);
        assert!(found == "3 fields" || says.contains(expected), "{says}");
    }
    // A row of the file that lacks a field has as many as the run has columns: they are not the run's.
    let lacking = "line 2: expected 3 fields as in the first line, found 2: ";
    for input in ["day 1,2,3\n58,10.2\n", "date,level,phase\n58,10.2\n"] {
        check_failure(&of(input), input, 2, &[lacking]);
    }
    check_failure(&of("1,2\n3,\"4,5\"\n"), "a comma", 2, &["line 2, column phase", "decimal points, as in the run's"]);
    check_failure(&of("date,phase,level\n"), "other columns", 2, &["line 1: expected the run's columns level, phase"]);
    // One is one.
    let output = of("1,2\n");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 row at the end is no whole patch of 3"), "{output:?}");
    numbers(here, 1, Kind::Lmm);
    let output = with_input(here, &["stream", "model.titans"], b"1,2\n3\n");
    check_failure(
        &output,
        "a blob",
        2,
        &[
            "line 2",
            "expected 2 fields (a blob takes the rows of a patch side by side; of a forecaster name the run instead), found 1",
        ],
    );
}
