//! Text from FASTA: sequences without their headers.

use super::{TEXT, folder, text_run};
use crate::common::{fails, json, ok, run};
use std::io::Write;

#[test]
fn of_fasta_the_sequences_alone_are_read() {
    let folder = folder();
    let here = folder.path();
    let sequence =
        |from: usize| (0..40).map(|i| ["ACGTTGCA", "GGATCCTA", "TTAAGCGC"][(from + i * i) % 3]).collect::<String>();
    let (one, two, three) = (sequence(0), sequence(1), sequence(2));
    let wrapped =
        |text: &str| text.as_bytes().chunks(60).map(|line| String::from_utf8_lossy(line) + "\n").collect::<String>();
    let fasta = format!(">one of two\n{}\n>two\r\n{}", wrapped(&one), wrapped(&two).replace('\n', "\r\n"));
    std::fs::write(here.join("a.fa"), &fasta).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(format!(">three\n{}", wrapped(&three)).as_bytes()).unwrap();
    std::fs::write(here.join("b.fna.gz"), packed.finish().unwrap()).unwrap();
    std::fs::write(here.join("text.txt"), format!("{one}\n{two}\n{three}")).unwrap();
    text_run(here, &["--out", "plain", "--steps", "2", "--threads", "1"]);
    let args: Vec<&str> =
        TEXT.iter().flat_map(|&arg| if arg == "text.txt" { vec!["a.fa", "b.fna.gz"] } else { vec![arg] }).collect();
    let output = run(here, &[&args[..], &["--out", "fasta", "--steps", "2", "--threads", "1"]].concat());
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && says.contains("a.fa: FASTA: read without its 2 headers"), "{says}");
    assert!(says.contains("b.fna.gz: FASTA: read without its 1 header,"), "{says}");
    let measured = |run: &str, data: &[&str]| json(here, &[&["eval", run, "--json"], data].concat());
    assert_eq!(measured("fasta", &[]), measured("plain", &[]), "the same bytes");
    assert_eq!(measured("plain", &["--data", "a.fa", "b.fna.gz"]), measured("plain", &["--data", "text.txt"]));
    let learned = |data: &[&str]| {
        ok(here, &[&["tokenizer", "train", "--vocab", "270", "--out", "t.json", "--data"], data].concat());
        std::fs::read(here.join("t.json")).unwrap()
    };
    assert_eq!(learned(&["a.fa", "b.fna.gz"]), learned(&["text.txt"]));
    std::fs::write(here.join("bare.fasta"), ">one\n>two\n").unwrap();
    fails(here, &["eval", "plain", "--data", "bare.fasta"], 2, &["bare.fasta: expected sequences", "found none"]);
}
