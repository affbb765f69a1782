mod when;

use super::{Column, ColumnRef, Decimal, Gaps, Series, TableLayout, read};

fn parse(bytes: &[u8]) -> Result<Series, String> {
    super::parse::parse(bytes, &TableLayout::default(), &[]).map(|read| read.series)
}

/// A run's column, of which the name alone counts here.
fn unmeasured(name: &str) -> Column {
    Column { name: name.into(), mean: 0.0, deviation: 1.0, whole: false }
}

fn said(layout: &TableLayout, bytes: &[u8]) -> Result<super::Read, String> {
    super::parse::parse(bytes, layout, &[])
}

#[test]
fn headers_and_dates_are_recognised() {
    let plain = parse(b"1,2\n3,-4e1\n").unwrap();
    assert_eq!((plain.names.join(" "), &plain.numbers[..]), ("1 2".into(), &[1., 2., 3., -40.][..]));
    let header = parse(b"a, b\n1, 2\n3,4").unwrap();
    assert_eq!((header.names.join(" "), header.numbers, plain.columns()), ("a b".into(), vec![1., 2., 3., 4.], 2));
    let dates = parse(b"date,a\n2016-07-01 00:00:00,1\n2016-07-01 01:00:00,2\n").unwrap();
    assert_eq!((dates.names.join(" "), dates.rows(), dates.numbers), ("a".into(), 2, vec![1., 2.]));
    let bare = parse(b"mon,1,2\ntue,3,4\n").unwrap();
    assert_eq!((bare.names.join(" "), bare.rows()), ("2 3".into(), 2), "dates without a header");
    let one = parse(b"x\n5\n6\n7\n").unwrap();
    assert_eq!((one.names.join(" "), one.rows()), ("x".into(), 3));
}

#[test]
fn what_is_no_number_is_named() {
    for (text, says) in [
        ("", "found none"),
        ("a,b\n", "below the header"),
        ("1,2\n3,x\n", "line 2, column 2"),
        ("a,b\n1,2\n\n3,\n", "line 4, column b"),
        ("a,b\r\n1,2\r\n3,\r\n", "line 3, column b"),
        ("a,b\n,1\n2,3\n", "line 2, column a"),
        ("a,b\nNA,1\n2,3\n", "line 2, column a"),
        ("nan,1\n2,3\n", "line 1, column 1"),
        ("1e,2\n3,4\n", "line 2, column 1: expected a date as in the first row (1e), found the number 3"),
        ("a,b\nmon,1\n2,3\n", "line 3, column 1"),
        ("a,b\n1,2\n3,NaN\n", "finite number"),
        ("a,b\n1,2\n3,inf\n", "finite number"),
        ("a,b\n1,2\n3,1e39\n", "line 3, column b: expected a number that is finite in 32 bits"),
        ("1.7976931348623157e308,1\n", "line 1, column 1: expected a number that is finite in 32 bits"),
        ("nan,nan\n1,2\n", "line 1, column 1"),
        ("a,b\n1,2\n3\n", "line 3: expected 2 fields, found 1"),
        ("a,b,c\n1,2\n", "names 3 columns"),
    ] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.csv");
    std::fs::write(&path, "1\nx\n").unwrap();
    assert!(read(&path, &TableLayout::default(), &[]).unwrap_err().to_string().contains("bad.csv: line 2"));
}

#[test]
fn bytes_that_are_no_text_are_named_by_line_and_column_from_1() {
    for (text, says) in [
        (&b"\xff,b\n1,2\n"[..], "line 1, column 1: expected text in UTF-8"),
        (b"a,b\n1,2\n3,\xe9\n", "line 3, column 2: expected text in UTF-8"),
        (
            b"a,b\r\n\r\n\r\n1,2\r\n\r\n3x\xe9,4\r\n",
            "line 6, column 1: expected text in UTF-8, found other bytes behind the first 2",
        ),
        (b"a;b\n1;2\n1;caf\xe9\n", "line 3, column 2"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(says) && error.contains("save the file as UTF-8"), "{error}");
    }
    // Far behind the rows that are looked at first.
    let error = parse(&[&b"a,b\n"[..], &b"1,2\n".repeat(500), b"1,\xff\n"].concat()).unwrap_err();
    assert!(error.contains("line 502, column 2"), "{error}");
}

#[test]
fn columns_are_standardised_by_the_first_rows_alone() {
    let series = parse(b"a,b,c\n1,5,1e9\n3,5,1e9\n9,5,1e9\n").unwrap();
    let columns = series.measure(2);
    let column = |mean, deviation, name: &str, whole| Column { name: name.into(), mean, deviation, whole };
    assert_eq!(columns, [column(2., 1., "a", false), column(5., 1., "b", false), column(1e9, 1., "c", true)]);
    let numbers = series.z_scores(&columns).unwrap();
    assert_eq!(numbers, [-1., 0., 0., 1., 0., 0., 7., 0., 0.]);
    let back: Vec<f64> = numbers.iter().zip(columns.iter().cycle()).map(|(&x, c)| c.restore(x)).collect();
    assert_eq!(back, series.numbers);
    let other = parse(b"a,x,c\n1,2,3\n").unwrap();
    assert!(other.z_scores(&columns).unwrap_err().to_string().contains("a, x, c"));
    assert_eq!(series.measure(0).len(), 3, "no rows have mean 0");
    // What 32 bits hold may be too much in units of a small deviation.
    let series = parse(b"a,b\n1,0\n1,0.001\n\n1,1e38\n").unwrap();
    let error = series.z_scores(&series.measure(2)).unwrap_err().to_string();
    assert!(error.contains("line 5, column b: expected") && error.contains("1e38"), "{error}");
    let column = &series.measure(2)[1];
    assert!(["1e38", "inf", "1e39"].iter().all(|field| column.number(field, &TableLayout::default()).is_err()));
    assert_eq!(column.number("0.0005", &TableLayout::default()), Ok(0.0));
}

#[test]
fn the_tail_is_for_validation() {
    let series = parse("1\n".repeat(100).as_bytes()).unwrap();
    assert_eq!(series.split(0.1, (90, 10)).unwrap(), 90);
    assert!(series.split(0.1, (91, 1)).unwrap_err().to_string().contains("too short"));
    assert!(series.split(0.1, (1, 11)).is_err());
    let error = series.split(0.001, (0, 1)).unwrap_err().to_string();
    assert!(
        error.contains("--tail: expected a share of 1 row or more, found 0.001, which is 0 of 100 rows"),
        "{error}"
    );
    for fraction in [0.0, 1.0, f64::NAN] {
        assert!(series.split(fraction, (1, 1)).is_err());
    }
}

#[test]
fn a_large_offset_takes_no_digits_from_the_deviation() {
    let text: String = (0..1500).map(|k| format!("{:.3}\n", 1e15 + 141.0 * (f64::from(k) / 7.0).sin())).collect();
    let column = &parse(text.as_bytes()).unwrap().measure(1350)[0];
    let offsets = (0..1350).map(|k| 141.0 * (f64::from(k) / 7.0).sin());
    let (mean, square) = (offsets.clone().sum::<f64>() / 1350.0, offsets.map(|x| x * x).sum::<f64>() / 1350.0);
    let deviation = (square - mean * mean).sqrt();
    // Doubles near 1e15 are an eighth apart.
    assert!((column.mean - 1e15 - mean).abs() < 0.125 && (column.deviation - deviation).abs() < 0.125, "{column:?}");
    let constant = parse(b"1e15\n1e15\n1e15\n").unwrap();
    assert_eq!((constant.measure(3)[0].deviation, constant.constant(3)), (1.0, vec!["1"]));
    assert_eq!(parse(b"a,b\n1,2\n1,3\n2,3\n").unwrap().constant(2), ["a"]);
}

#[test]
fn what_is_guessed_is_told_and_what_is_said_is_not() {
    let german = "t;a;b\n1;1,5;-2\n2;2,5;3e-1\n3;0;0\n";
    let read = said(&TableLayout::default(), german.as_bytes()).unwrap();
    assert_eq!((read.series.names.join(" "), &read.series.numbers[..4]), ("a b".into(), &[1.5, -2.0, 2.5, 0.3][..]));
    let told = read.guesses.join("; ");
    for says in [
        "semicolon (--delimiter)",
        "decimal comma (--decimal)",
        "header \"t,a,b\"",
        "column \"t\" is left out, it numbers",
    ] {
        assert!(told.contains(says), "{told}");
    }
    // What was found says it all: reading it again guesses nothing, and finds the same.
    let again = said(&read.layout, german.as_bytes()).unwrap();
    assert_eq!((again.series, again.layout, again.guesses), (read.series, read.layout, Vec::new()));
    // One column looks like two.
    let one = b"a\n1,5\n2\n";
    assert!(said(&TableLayout::default(), b"a\n1,5\n2,5\n").unwrap_err().contains("--decimal comma"));
    let comma = TableLayout { decimal: Some(super::Decimal::Comma), ..TableLayout::default() };
    assert_eq!(said(&comma, one).unwrap().series.numbers, [1.5, 2.0]);
    // Names of numbers are a header if that is said.
    let years = b"2019,2020\n1,2\n3,4\n";
    assert!(
        said(&TableLayout::default(), years)
            .unwrap()
            .guesses
            .join("; ")
            .contains("no header, the first line is numbers: \"2019,2020\"")
    );
    let header = said(&TableLayout { header: Some(true), ..TableLayout::default() }, years).unwrap();
    assert_eq!((header.series.names.join(" "), header.series.rows()), ("2019 2020".into(), 2));
    let leave = |places: Vec<ColumnRef>| TableLayout { left_out: Some(places), ..TableLayout::default() };
    let all = said(&leave(vec![]), german.replace(',', ".").as_bytes()).unwrap();
    assert_eq!((all.series.names.join(" "), all.series.numbers[0]), ("t a b".into(), 1.0));
    let two = said(
        &leave(vec![ColumnRef::Name("a".into()), ColumnRef::Number(1), ColumnRef::Number(2)]),
        b"t,a,b\nx,?,1\ny,z,2\n",
    )
    .unwrap();
    assert_eq!((two.series.names.join(" "), two.series.numbers), ("b".into(), vec![1.0, 2.0]));
    for bad in [ColumnRef::Number(0), ColumnRef::Number(4), ColumnRef::Name("c".into())] {
        let error = said(&leave(vec![bad]), b"t,a,b\n1,2,3\n").unwrap_err();
        assert!(error.contains("--leave-out") && error.contains("t, a, b"), "{error}");
    }
}

#[test]
fn a_run_finds_its_columns_in_other_files() {
    let known = ["2019", "2020"].map(unmeasured);
    let left =
        TableLayout { left_out: Some(vec![ColumnRef::Number(1)]), header: Some(false), ..TableLayout::default() };
    let of =
        |layout: &TableLayout, text: &str| super::parse::parse(text.as_bytes(), layout, &known).unwrap().series.numbers;
    for text in ["2019,2020\n1,2\n", "day,2019,2020\n7,1,2\n", "7,1,2\n", "1,2\n"] {
        assert_eq!(of(&left, text), [1.0, 2.0], "{text}");
    }
    // A run of before there were layouts keeps a column that counts.
    assert_eq!(of(&TableLayout::default(), "0,5\n1,6\n2,7\n"), [0.0, 5.0, 1.0, 6.0, 2.0, 7.0]);
}

#[test]
fn gaps_are_the_mean_where_that_is_said() {
    let layout = TableLayout { gaps: Gaps::Mean, ..TableLayout::default() };
    let read = said(&layout, b"a,b\n1,5\n,7\n3,NA\n").unwrap();
    assert_eq!(read.gaps, 2);
    let columns = read.series.measure(3);
    assert_eq!((columns[0].mean, columns[0].deviation, columns[1].mean), (2.0, 1.0, 6.0));
    assert_eq!(read.series.z_scores(&columns).unwrap(), [-1.0, -1.0, 0.0, 1.0, 1.0, 0.0]);
    assert_eq!(columns[0].number("n/a", &layout), Ok(0.0));
    assert!(parse(b"a,b\n1,5\n,7\n").unwrap_err().contains("--gaps mean"));
    assert!(parse(b"a,b\n1,5\n-inf,7\n").unwrap_err().contains("found \"-inf\"; correct it, or leave it empty"));
    let error = parse(b"a,b\n1,5\n2,hello\n").unwrap_err();
    assert!(
        error.contains("line 3, column b") && error.contains("--leave-out") && !error.contains("--gaps"),
        "{error}"
    );
}

#[test]
fn a_huge_cell_is_named_and_not_repeated() {
    for text in
        [format!("a,b\n1,2\n3,{}\n", "x".repeat(1 << 20)), format!("a,b\n1,2\n3,\"4\n{}", "5,6\n".repeat(1 << 18))]
    {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains("line 3, column 2") && error.contains("bytes)") && error.len() < 400, "{error}");
    }
}

#[test]
fn a_comma_that_may_be_one_of_thousands_is_asked_about() {
    let error = parse(b"d;a\n2020-01-01;998\n2020-01-02;1,059\n").unwrap_err();
    for text in ["line 3, column 2", "1,059", "998", "--decimal comma"] {
        assert!(error.contains(text), "{text} in {error}");
    }
    let good: [&[u8]; 4] =
        [b"a;b\n1,059;2\n3,125;4\n", b"a;b\n998;2\n1,05;4\n", b"a;b\n998;2\n0,125;4\n", b"a,b\n998,2\n1,059\n"];
    for text in good {
        parse(text).unwrap();
    }
    // So is a point, where whole numbers come near a thousand.
    let error = parse(b"a;b\n998;2\n999;3\n1.000;4\n").unwrap_err();
    assert!(error.contains("line 4, column 1: 1.000 stands") && error.contains("--decimal point"), "{error}");
    for text in [&b"a;b\n1;2\n1.125;3\n"[..], b"a;b\n998;2\n1.05;3\n", b"a,b\n998,2\n1.000,3\n"] {
        parse(text).unwrap();
    }
    for (text, says) in [
        (
            &b"a,b\n1,2\n\"20,00\",3\n"[..],
            "line 3, column a: expected a finite number, found \"20,00\"; write a decimal point",
        ),
        (b"a,b,c\n1,2,3,\n4,5,6,\n", "line 2: the header names 3 columns, the first row has 4"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let said = TableLayout { decimal: Some(Decimal::Comma), ..TableLayout::default() };
    assert_eq!(super::parse::parse(b"a;b\n998;2\n1,059;4\n", &said, &[]).unwrap().series.numbers[2], 1.059);
}

#[test]
fn a_column_that_is_not_all_of_the_date_may_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "date,time,a\n2020-01-01,00:00,1\n2020-01-01,01:00,2\n").unwrap();
    let named = |names: &[&str]| Some(names.iter().map(|&name| ColumnRef::Name(name.into())).collect());
    let mut said = TableLayout { left_out: named(&["date", "time"]), ..TableLayout::default() };
    let both = read(&path, &said, &[]).unwrap();
    assert_eq!(
        (both.dates, both.layout.time),
        (vec!["2020-01-01 00:00".to_owned(), "2020-01-01 01:00".into()], Some(ColumnRef::Number(2)))
    );
    said.date = Some(ColumnRef::Name("date".into()));
    let error = read(&path, &said, &[]).unwrap_err().to_string();
    for text in ["line 3, column 1: expected a date after 2020-01-01", "--date DATE,TIME", "--date none"] {
        assert!(error.contains(text), "{text} in {error}");
    }
    said.date = Some(ColumnRef::NONE);
    let found = read(&path, &said, &[]).unwrap();
    assert_eq!(
        (found.series.numbers, found.dates.len(), found.layout.date),
        (vec![1.0, 2.0], 0, Some(ColumnRef::NONE))
    );
    said.date = Some(ColumnRef::Name("day".into()));
    assert!(read(&path, &said, &[]).unwrap_err().to_string().contains("--date \"day\""));
    std::fs::write(&path, b"\x1f\x8b\x08").unwrap();
    assert!(read(&path, &said, &[]).unwrap_err().to_string().contains("gzip"));
}

#[test]
fn times_that_do_not_rise_are_told_as_dates_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        super::read(&path, &TableLayout::default(), &[]).map_err(|e| e.to_string())
    };
    for text in
        ["a,b\n1700000120,1\n1700000060,2\n1700000000,3\n", "time,b\n1700000060,1\n1700000120,2\n1700000000,3\n"]
    {
        let error = read(text).unwrap_err();
        assert!(error.contains("expected a date after") && error.contains("line "), "{error}");
    }
    assert_eq!(read("a,b\n1700000000,1\n1700000060,2\n1700000120,3\n").unwrap().series.names, ["b"]);
    let error = read("date,b\n01/14/2020,1\n01/13/2020,2\n").unwrap_err();
    assert!(error.contains("line 3, column 1: expected a date after 01/14/2020"), "{error}");
}

#[test]
fn columns_of_one_name_are_refused() {
    let error = parse(b"date,a,b,a\n2020-01-01,1,2,3\n2020-01-02,1,2,3\n").unwrap_err();
    assert!(error.contains("columns 2 and 4") && error.contains("named"), "{error}");
    parse(b"date,a,date\n2020-01-01,1,2\n2020-01-02,1,2\n").unwrap();
}

#[test]
fn a_file_of_other_columns_is_told_from_a_bad_cell() {
    let known = ["load", "oil"].map(unmeasured);
    let parse = |text: &str| super::parse::parse(text.as_bytes(), &TableLayout::default(), &known);
    let other = parse("date,name,x\n2020-01-01,foo,1\n2020-01-02,bar,2\n").err().unwrap();
    assert!(other.contains("the run's columns \"load, oil\"") && other.contains("\"date, name, x\""), "{other}");
    let few = parse("oil\n1\n2\n").err().unwrap();
    assert!(few.contains("the run's columns \"load, oil\" alone") && few.contains("found 1 column: \"oil\""), "{few}");
    let cell = parse("date,load,oil\n2020-01-01,1,2\n2020-01-02,foo,2\n").err().unwrap();
    assert!(cell.contains("line 3, column load"), "{cell}");
}

#[test]
fn doubtful_marks_are_refused_wherever_they_stand() {
    // Behind the rows that are looked at first.
    let rows: String = (0..200)
        .map(|i| format!("{};{}\n", 900 + i, if i == 150 { "1.234".into() } else { (1000 + i).to_string() }))
        .collect();
    let error = parse(format!("a;b\n{rows}").as_bytes()).unwrap_err();
    assert!(error.contains("line 152, column 2: 1.234") && error.contains("--decimal point"), "{error}");
    // In a file for a run whose own has whole numbers alone there.
    let series = parse(format!("a;b\n{}", rows.replace("1.234", "1234")).as_bytes()).unwrap();
    let columns = series.measure(100);
    assert!(columns.iter().all(|column| column.whole));
    let layout = TableLayout { decimal: Some(Decimal::Point), ..TableLayout::default() };
    let error = super::parse::parse(b"a;b\n901;1.470\n", &layout, &columns).err().unwrap();
    assert!(error.contains("line 2, column b: found 1.470") && error.contains("thousands"), "{error}");
    assert!(columns[1].number("1.470", &layout).unwrap_err().contains("thousands"));
    assert!(columns[1].number("1.47", &layout).is_ok());
}

#[test]
fn columns_without_a_name_have_their_number_and_ones_without_numbers_are_refused() {
    assert_eq!(parse(b"date,,\n2020-01-01,1,2\n2020-01-02,3,4\n").unwrap().names, ["2", "3"]);
    let layout = TableLayout { gaps: Gaps::Hold, ..TableLayout::default() };
    let error = said(&layout, b"a,b\n1,\n2,\n").unwrap_err();
    assert!(error.contains("column b: no row has a number"), "{error}");
}
