//! Which column says when a row was, and what becomes of one that is out of order.

use super::super::{ColumnRef, Gaps, Read, TableLayout, read};

fn of(said: &TableLayout, text: &str) -> Result<Read, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, text).unwrap();
    read(&path, said, &[]).map_err(|e| e.to_string())
}

fn plain(text: &str) -> Result<Read, String> {
    of(&TableLayout::default(), text)
}

/// Forty rows below a header, one of which may be another.
fn table(header: &str, when: impl Fn(usize) -> String, other: Option<(usize, &str)>) -> String {
    let row = |i: usize| {
        let date = other.filter(|(at, _)| *at == i).map_or_else(|| when(i), |(_, date)| date.to_owned());
        format!("{date},{}.5,{}\n", i * i % 7, i % 3)
    };
    format!("{header}\n{}", (0..40).map(row).collect::<String>())
}

#[test]
fn a_number_that_counts_is_a_date_though_one_is_out_of_order() {
    let hours = |i: usize| (1_600_000_000 + 3600 * i).to_string();
    let months = |i: usize| format!("{}-{:02}", 1990 + i / 12, i % 12 + 1);
    for (header, text, line, before) in [
        ("date,a,b", table("date,a,b", |i| (1700 + i).to_string(), Some((20, "1719"))), 22, "1719"),
        ("ts,a,b", table("ts,a,b", hours, Some((20, "1600068400"))), 22, "1600068400"),
        ("x,a,b", table("x,a,b", hours, Some((20, "1600000000"))), 22, "1600068400"),
        ("id,a,b", table("id,a,b", |i| (i + 1).to_string(), Some((20, "20"))), 22, "20"),
        (
            "date,a,b",
            table("date,a,b", |i| format!("{}", 43_831.25 + i as f64 / 4.0), Some((20, "43836"))),
            22,
            "43836",
        ),
        ("date,a,b", table("date,a,b", months, Some((20, "1991-08"))), 22, "1991-08"),
    ] {
        let error = plain(&text).unwrap_err();
        let says = format!("line {line}, column 1: expected a date after {before}");
        assert!(error.contains(&says) && error.contains("--date none"), "{header}: {error}");
        // Who says that it is measured has it as a series.
        if before != "1991-08" {
            assert!(error.contains("--leave-out none"), "{error}");
            let all = TableLayout { left_out: Some(Vec::new()), ..TableLayout::default() };
            assert_eq!(of(&all, &text).unwrap().series.names.len(), 3);
        }
    }
    let gaps = TableLayout { gaps: Gaps::Mean, ..TableLayout::default() };
    let error = of(&gaps, &table("date,a,b", |i| (1700 + i).to_string(), Some((20, "")))).unwrap_err();
    assert!(error.contains("line 22, column 1: expected a date as in the first row (1700), found \"\""), "{error}");
}

#[test]
fn dates_without_marks_are_dates() {
    let hours = |i: usize| format!("202001{:02}{:02}", 13 + i / 24, i % 24);
    let read = plain(&table("date,a,b", hours, None)).unwrap();
    assert_eq!((read.series.names.join(" "), &read.dates[39][..]), ("a b".into(), "2020011415"));
    let dates = super::super::Dates::read(&read.dates, &read.series.lines).unwrap().unwrap();
    assert_eq!([dates.after(8), dates.after(9)], ["2020011423", "2020011500"]);
    assert_eq!(dates.season(), Some(24));
    let error = plain(&table("date,a,b", hours, Some((20, "2020011324")))).unwrap_err();
    assert!(error.contains("line 22, column 1: expected a date as in the first row (2020011300)"), "{error}");
}

#[test]
fn the_dates_are_found_wherever_they_stand() {
    let date = |i: usize| format!("2024-01-{:02} {:02}:00", 1 + i / 24, i % 24);
    let told = |text: &str, says: &[&str]| {
        let read = plain(text).unwrap();
        let guesses = read.guesses.join("; ");
        says.iter().for_each(|say| assert!(guesses.contains(say), "{say} in {guesses}"));
        (read.series.names.join(" "), read.layout.date.clone(), read.dates.len())
    };
    let (a, two) = (|at| Some(ColumnRef::Number(at)), table("date,a,b", date, None));
    // The last one, and behind a name that is always the same.
    let last: String =
        two.lines().map(|line| line.split_once(',').unwrap()).map(|(d, x)| format!("{x},{d}\n")).collect();
    assert_eq!(told(&last, &["column \"date\" is left out, it holds dates"]), ("a b".into(), a(3), 40));
    let station = two.lines().enumerate().map(|(i, line)| format!("{},{line}\n", if i == 0 { "station" } else { "S" }));
    let both = ["column \"station\" is left out, it holds no numbers", "column \"date\" is left out, it holds dates"];
    assert_eq!(told(&station.collect::<String>(), &both), ("a b".into(), a(2), 40));
    // Of two stations one behind the other the dates begin anew.
    let panel: String = (0..40).map(|i| format!("S{},{},1\n", i / 20, date(i % 20))).collect();
    let says = "line 22, column 2: expected a date after 2024-01-01 19:00";
    assert!(plain(&format!("station,date,a\n{panel}")).unwrap_err().contains(says));
    let named = |names: &[&str]| Some(names.iter().map(|name| ColumnRef::Name((*name).into())).collect());
    let said = TableLayout { left_out: named(&["station", "date"]), ..TableLayout::default() };
    assert!(of(&said, &format!("station,date,a\n{panel}")).unwrap_err().contains(says));
    // Where the dates are said, a column that numbers the rows is still none to learn from.
    let numbered = two.lines().enumerate().map(|(i, line)| match i {
        0 => format!(",{line}\n"),
        _ => format!("{},{line}\n", i - 1),
    });
    let said = TableLayout { date: Some(ColumnRef::Name("date".into())), ..TableLayout::default() };
    let read = of(&said, &numbered.collect::<String>()).unwrap();
    assert_eq!((read.series.names.join(" "), read.dates.len(), read.layout.date), ("a b".into(), 40, a(2)));
    assert!(read.guesses.join("; ").contains("column \"1\" is left out, it numbers the rows"), "{:?}", read.guesses);
    let read = of(&said, &two).unwrap();
    assert!(read.guesses.join("; ").contains("every column but the dates is read"), "{:?}", read.guesses);
}

#[test]
fn headers_with_gaps_or_numbers_for_names_are_headers() {
    let mean = TableLayout { gaps: Gaps::Mean, ..TableLayout::default() };
    for (text, names) in [
        (",a,b\n0,1.5,2\n1,,3\n2,2.5,4\n", "a b"),
        ("date,na,b\n2020-01-01,1,2\n2020-01-02,3,4\n", "na b"),
        ("date,na\n2020-01-01,1\n2020-01-02,3\n", "na"),
        ("2020-01-01,NA,NA\n2020-01-02,1,2\n", "2 3"),
        ("date,1,2\n2020-01-01,1.5,3\n2020-01-02,4.5,5\n", "1 2"),
    ] {
        let read = of(&mean, text).unwrap();
        assert_eq!(read.series.names.join(" "), names, "{text}");
        assert_eq!(read.layout.header, Some(!text.starts_with("2020")), "{text}");
    }
    assert_eq!(plain("x,\n1,2\n3,4\n").unwrap().series.names.join(" "), "x 2");
    assert_eq!(plain("date,1,2\n2020-01-01,1.5,3\n2020-01-02,4.5,5\n").unwrap().series.rows(), 2);
    let error = of(&mean, "date,a,\n2020-01-01,1,\n2020-01-02,2,\n").unwrap_err();
    assert!(error.contains("column 3: no row has a number there; leave it out: --leave-out date,3"), "{error}");
}

#[test]
fn what_a_file_has_twice_or_not_at_all_is_told() {
    let text = "date,a\n2020-01-01,1\n2020-01-02,2\ndate,a\n2020-01-03,3\n";
    let error = plain(text).unwrap_err();
    assert!(
        error.contains("line 4: expected a row, found the header again: \"date,a\"; leave the line out"),
        "{error}"
    );
    let rows: String = (0..70).map(|i| format!("{i};{}\n", i % 5)).collect();
    let error = plain(&format!("a;b\n{rows}7;2,5\n")).unwrap_err();
    assert!(error.contains("line 72, column b") && error.contains("say --decimal comma"), "{error}");
    let hold = TableLayout { gaps: Gaps::Hold, ..TableLayout::default() };
    let told = of(&hold, "a,b,c\n1,,5\n3,,5\n2,7,5\n").unwrap().told(2).join("; ");
    for says in ["without any number in the training rows", "taken: b (", "constant in the training rows", "taken: c ("]
    {
        assert!(told.contains(says), "{says} in {told}");
    }
}
