use super::{LabelledColumns, LabelledRow, read};
use std::io::Write;
use std::path::PathBuf;

fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn columns(sequence: Option<&str>, label: Option<&str>) -> LabelledColumns {
    LabelledColumns { sequence: sequence.map(str::to_owned), label: label.map(str::to_owned) }
}

fn pairs(rows: &[LabelledRow]) -> Vec<(&str, &str, u64)> {
    rows.iter().map(|row| (row.sequence.as_str(), row.label.as_deref().unwrap_or("-"), row.line)).collect()
}

#[test]
fn csv_is_read_however_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let expected = [("ACGT", "1", 2), ("GG, AT", "two words", 3)];
    for (i, text) in [
        "sequence,label\nACGT,1\n\"GG, AT\",two words\n",
        "\u{feff}sequence,label\r\nACGT,1\r\n\"GG, AT\",\"two words\"\r\n",
        "id;SEQ;Class\n7; ACGT ;1\n8;GG, AT;two words",
        "label\tseq\n1\tACGT\ntwo words\tGG, AT\n",
    ]
    .iter()
    .enumerate()
    {
        let path = file(&folder, &format!("{i}.csv"), text.as_bytes());
        let all = read(&[path], &LabelledColumns::default(), true).unwrap();
        assert_eq!(pairs(&all.rows), expected, "{text}");
    }
    let path = file(&folder, "named.csv", b"a,b,c\n1,X,y\n");
    let all = read(std::slice::from_ref(&path), &columns(Some("b"), Some("3")), true).unwrap();
    assert_eq!(pairs(&all.rows), [("X", "y", 2)]);
    let all = read(std::slice::from_ref(&path), &columns(Some("2"), Some("3")), true).unwrap();
    assert_eq!(pairs(&all.rows), [("b", "c", 1), ("X", "y", 2)], "numbers for both: there is no header");
    let headed = file(&folder, "headed.csv", b"seq,label\nACGT,1\n");
    let all = read(&[headed], &columns(Some("1"), Some("2")), true).unwrap();
    assert_eq!(pairs(&all.rows), [("ACGT", "1", 2)], "a first line of the usual names is one");
    let all = read(&[path.clone(), path], &columns(Some("b"), None), false).unwrap();
    assert_eq!(pairs(&all.rows), [("X", "-", 2), ("X", "-", 2)]);
    assert_eq!([all.rows[0].file, all.rows[1].file], [0, 1]);
}

#[test]
fn all_members_of_gzip_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let members = [gzip(b"sequence,label\nAC,0\n"), gzip(b"GT,1\n"), b"junk".to_vec()].concat();
    let path = file(&folder, "a.csv.gz", &members);
    let all = read(&[path], &LabelledColumns::default(), true).unwrap();
    assert_eq!(pairs(&all.rows), [("AC", "0", 2), ("GT", "1", 3)]);
    assert!(all.notes[0].contains("4 bytes behind"), "{:?}", all.notes);
}

#[test]
fn fasta_has_its_labels_in_headers_or_names_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let none = LabelledColumns::default();
    let headers = b"\n>one chr1 label=promoter x\r\nACG\r\n\r\nTTT\r\n>two chr2 other\nGG\n";
    let all = read(&[file(&folder, "all.fa", headers)], &none, true).unwrap();
    assert_eq!(pairs(&all.rows), [("ACGTTT", "promoter", 2), ("GG", "other", 6)]);
    assert_eq!(all.rows[1].name.as_deref(), Some("two"));
    let a = file(&folder, "promoter.part.fa", b">x\nAC\n>y\nGT\n");
    let b = file(&folder, "other.fasta", b">z\nA\n>w what ever\nC");
    let all = read(&[a.clone(), b.clone()], &none, true).unwrap();
    assert_eq!(pairs(&all.rows), [("AC", "promoter", 1), ("GT", "promoter", 3), ("A", "other", 1), ("C", "other", 3)]);
    // One header with a label makes files' names none.
    let c = file(&folder, "third.fa", b">z label=third\nA\n>w\nC");
    for files in [[a.clone(), c.clone()], [c.clone(), b]] {
        let error = read(&files, &none, true).unwrap_err().to_string();
        assert!(error.contains(": expected label=NAME in the header, as other headers"), "{error}");
        assert_eq!(error.contains("promoter.part.fa: line 1"), files[0] == a, "{error}");
        assert_eq!(error.contains("third.fa: line 3"), files[0] == c, "{error}");
    }
    let d = file(&folder, "fourth.fa", b">v label=fourth\nA\n");
    let all = read(&[file(&folder, "fifth.fa", b">z label=third\nC\n"), d], &none, true).unwrap();
    assert_eq!(pairs(&all.rows), [("C", "third", 1), ("A", "fourth", 1)]);
    let error = read(std::slice::from_ref(&a), &none, true).unwrap_err().to_string();
    assert!(error.contains("promoter.part.fa: line 1: expected a label in the header"), "{error}");
    assert_eq!(read(&[a], &none, false).unwrap().rows.len(), 2);
}

#[test]
fn what_is_wrong_is_named_by_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let none = LabelledColumns::default();
    for (i, (text, columns, says)) in [
        (&b"sequence,label\nAC,1\n,0\n"[..], &none, "line 3, column 1: expected a sequence"),
        (b"sequence,label\nAC,1\nGT, \n", &none, "line 3, column 2: expected a label"),
        (b"sequence,label\nAC,1\n\nGT\n", &none, "line 4: expected 2 fields, found 1"),
        (b"sequence,label\nAC,1,2\n", &none, "line 2: expected 2 fields, found 3"),
        (b"sequence,label\nAC,1\nG\xffT,1\n", &none, "line 3, column 1: expected text in UTF-8"),
        (b"sequence,label\n", &none, "found none"),
        (b"name,label\nAC,1\n", &none, "--column"),
        (b"sequence,other\nAC,1\n", &none, "--label"),
        (b"sequence,label\nAC,1\n", &columns(Some("dna"), None), "--column dna: expected a column's name"),
        (b"sequence,label\nAC,1\n", &columns(Some("1"), Some("3")), "--label 3"),
        (b"sequence,label\nAC,1\n", &columns(Some("label"), None), "--column and --label"),
        (b">a b\n>c d\nAC\n", &none, "line 1: expected a sequence"),
        (b">a b\nAC\n>c d", &none, "line 3: expected a sequence"),
        (b">a b\nAC\nG\xc3\n", &none, "line 3, column 2: expected text in UTF-8"),
        (b"\n\n", &none, "found none"),
        (
            b"sequence,label,sequence\nAC,1,GT\n",
            &none,
            "line 1: two columns or more are named \"sequence\"; --column says",
        ),
        (b"sequence,label\n\"AC,1\nGT,0\n", &none, "a quote opens there"),
        (b"sequence,label\nAC,1\nsequence,label\nGT,0\n", &none, "line 3: expected a row, found the header again"),
        (b"\xff\xfes\0e\0q\0", &none, "line 1, column 1: expected text in UTF-8, found the mark of UTF-16"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = file(&folder, &format!("{i}.txt"), text);
        let error = read(&[path], columns, true).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&format!("{i}.txt")), "{error}\n{says}");
    }
    assert!(read(&[], &none, true).is_err());
    assert!(read(&[folder.path().join("absent")], &none, true).unwrap_err().to_string().contains("absent"));
}
