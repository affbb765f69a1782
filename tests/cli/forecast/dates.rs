//! Dates as loggers and exchanges write them: in two columns, on business days, as numbers.

use super::{small, stream};
use crate::common::{fails, json, ok, run};
use std::path::Path;

const ROWS: usize = 300;

/// Rows of a file whose first fields are those.
fn table(here: &Path, name: &str, header: &str, when: impl Fn(usize) -> String) -> String {
    let row = |i: usize| format!("{},{:.4}\n", when(i), 20.0 + 3.0 * (i as f64 * 0.5).sin());
    let text = format!("{header},level\n{}", (0..ROWS).map(row).collect::<String>());
    std::fs::write(here.join(name), &text).unwrap();
    text
}

fn clock(i: usize) -> String {
    format!("2024-02-{:02},{}:00", 1 + i / 24, i % 24)
}

fn trained(here: &Path, name: &'static str, more: &[&'static str]) -> String {
    let _ = std::fs::remove_dir_all(here.join("run"));
    let output = run(here, &small(&[&["--data", name, "--steps", "1", "--out", "run"], more].concat()));
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {says}");
    says
}

#[test]
fn days_and_times_of_the_day_may_be_two_columns() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let text = table(here, "two.csv", "Date,Time", clock);
    table(here, "turned.csv", "station,Time,Date", |i| {
        let both = clock(i);
        let (day, time) = both.split_once(',').unwrap();
        format!("7,{time},{day}")
    });
    for (name, more) in [
        ("two.csv", &[][..]),
        ("two.csv", &["--date", "Date,Time"]),
        ("two.csv", &["--leave-out", "Date,Time"]),
        ("turned.csv", &["--date", "Date,Time", "--leave-out", "station"]),
        ("turned.csv", &["--date", "3,2", "--leave-out", "1"]),
    ] {
        let says = trained(here, name, more);
        assert!(!says.contains("not the usual step"), "{says}");
        let told = match more.len() {
            0 => "columns \"Date\" and \"Time\" are left out, they hold days and times of the day",
            2 if more[0] == "--date" => "every column but the dates is read",
            _ => "the first line is the header",
        };
        assert!(says.contains(told) && says.contains("are left out") == more.is_empty(), "{says}");
        let csv = ok(here, &["forecast", "run", "--data", name, "--horizon", "2"]);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], "Date,Time,level", "{name}");
        assert!(lines[1].starts_with("2024-02-13,12:00,") && lines[2].starts_with("2024-02-13,13:00,"), "{csv}");
        let said = json(here, &["forecast", "run", "--data", name, "--horizon", "2", "--json"]);
        assert_eq!(said["dates"], serde_json::json!(["2024-02-13 12:00", "2024-02-13 13:00"]));
    }
    // Errors name the line and the columns; so does a stream.
    trained(here, "two.csv", &[]);
    let again = text.replacen("2024-02-01,5:00", "2024-02-01,4:00", 1);
    std::fs::write(here.join("again.csv"), &again).unwrap();
    let says = ["again.csv: line 7, columns 1 and 2: expected a date after 2024-02-01 4:00"];
    fails(here, &small(&["--data", "again.csv"]), 2, &says);
    fails(here, &["forecast", "run", "--data", "again.csv"], 2, &says);
    std::fs::write(here.join("odd.csv"), text.replacen("5:00", "noon", 1)).unwrap();
    fails(
        here,
        &small(&["--data", "odd.csv"]),
        2,
        &["odd.csv: line 7, columns 1 and 2: expected a date as in the first row"],
    );
    let output = stream(here, &[], &again);
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2)
            && says.contains("line 7, columns 1 and 2: expected a date after 2024-02-01 4:00"),
        "{says}"
    );
    assert!(stream(here, &[], &text).status.success());
    for (date, says) in [("Date,Day", "--date \"Day\""), ("Date,Time,level", "--date"), ("Date,Date", "two")] {
        fails(here, &small(&["--data", "two.csv", "--date", date]), 2, &[says]);
    }
    fails(here, &small(&["--data", "two.csv", "--date", "Date"]), 2, &["line 2, column Time", "--date DATE,TIME"]);
}

#[test]
fn business_days_go_on_as_business_days() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // From Monday, 2 January 2023 on, five days a week: the 300th is Friday, 23 February 2024.
    let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29];
    let date = |mut day: usize| {
        let mut month = 0;
        while day >= days[month] {
            day -= days[month];
            month += 1;
        }
        format!("{}-{:02}-{:02}", 2023 + month / 12, month % 12 + 1, day + 1)
    };
    table(here, "work.csv", "date", |i| date(1 + i / 5 * 7 + i % 5));
    let says = trained(here, "work.csv", &[]);
    assert!(!says.contains("not the usual step"), "{says}");
    let csv = ok(here, &["forecast", "run", "--data", "work.csv"]);
    let dates: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(dates, ["2024-02-26", "2024-02-27", "2024-02-28", "2024-02-29"]);
    assert_eq!(json(here, &["eval", "run", "--json"])["baselines"]["season"], 5);
    // With one Saturday every day follows.
    let with_saturday = std::fs::read_to_string(here.join("work.csv")).unwrap() + "2024-02-24,20\n";
    std::fs::write(here.join("all.csv"), with_saturday).unwrap();
    let csv = ok(here, &["forecast", "run", "--data", "all.csv", "--horizon", "1"]);
    assert!(csv.lines().nth(1).unwrap().starts_with("2024-02-25,"), "{csv}");
}

#[test]
fn rows_that_are_not_equally_far_apart_are_told_once_with_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // Row 11 comes an hour late, and so does every one behind it; row 250 once more.
    table(here, "late.csv", "when", |i| {
        let hour = i + usize::from(i >= 10) + usize::from(i >= 249);
        format!("2024-02-{:02} {:02}:00", 1 + hour / 24, hour % 24)
    });
    let says = "late.csv: 2 rows are not the usual step behind the row before (first line 12, 2024-02-01 11:00)";
    let told = trained(here, "late.csv", &[]);
    assert_eq!(told.matches(says).count(), 1, "{told}");
    assert!(told.contains("column \"when\" is left out, it holds dates (--leave-out, --date)"), "{told}");
    for args in [
        &["eval", "run"][..],
        &["eval", "run", "--data", "late.csv"],
        &["forecast", "run", "--data", "late.csv", "--horizon", "1"],
        &["train", "--resume", "run", "--steps", "2", "--quiet"],
    ] {
        let output = run(here, args);
        let (told, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success() && told.matches(says).count() == 1, "{args:?}: {told}");
        // A forecast can be put behind the rows: it has their names.
        assert!(args[0] != "forecast" || printed.starts_with("when,level\n2024-02-13 14:00,"), "{printed}");
    }
    // No training rows are no column without numbers.
    std::fs::write(here.join("few.csv"), "when,level\n2024-02-01 00:00,1\n").unwrap();
    let told = fails(here, &small(&["--data", "few.csv"]), 2, &["few.csv: the training rows: expected"]);
    assert!(!told.contains("without any number"), "{told}");
}

#[test]
fn what_counts_is_a_number_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    table(here, "counted.csv", "t", |i| (1_700_000_000 + 60 * i).to_string());
    table(here, "named.csv", "day", |i| format!("day {i}"));
    let dates = |name: &'static str| {
        trained(here, name, &[]);
        json(here, &["forecast", "run", "--data", name, "--horizon", "2", "--json"])["dates"].clone()
    };
    assert_eq!(dates("counted.csv"), serde_json::json!([1_700_018_000, 1_700_018_060]));
    assert_eq!(dates("named.csv"), serde_json::json!([301, 302]), "no dates: rows");
    assert!(ok(here, &["forecast", "run", "--data", "named.csv"]).starts_with("row,level\n301,"));
    trained(here, "counted.csv", &[]);
    assert!(ok(here, &["forecast", "run", "--data", "counted.csv"]).starts_with("t,level\n1700018000,"));
    // What a run expects of numbers, where it has no options to say it.
    let comma = "t;level\n1700000000;1,5\n";
    std::fs::write(here.join("comma.csv"), comma.replace(';', ",").replace("1,5", "\"1,5\"")).unwrap();
    trained(here, "counted.csv", &[]);
    let says = fails(
        here,
        &["forecast", "run", "--data", "comma.csv"],
        2,
        &["line 2, column level", "decimal points, as in the run's"],
    );
    assert!(!says.contains("--decimal"), "{says}");
    std::fs::write(here.join("fields.csv"), "a,b\n1,5,2,5\n3,5,4,5\n").unwrap();
    let says = fails(
        here,
        &small(&["--data", "fields.csv"]),
        2,
        &["names 2 columns, the first row has 4", "semicolons or tabs"],
    );
    assert!(!says.contains("--decimal"), "{says}");
    std::fs::write(here.join("open.csv"), "a,b\n1,2\n3,\"4\n5,6\n").unwrap();
    fails(here, &small(&["--data", "open.csv"]), 2, &["line 3, column b", "a quote opens there", "close it"]);
}
