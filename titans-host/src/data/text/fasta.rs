//! FASTA as text: sequences alone, without the headers `>name …` and the line ends within them.

use crate::error::{counted, plain};
use std::path::Path;

/// How names of such files end, before `.gz`.
const ENDINGS: [&str; 4] = ["fa", "fna", "faa", "fasta"];

/// Whether a file is FASTA by its name.
pub(super) fn named(path: &Path) -> bool {
    let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    let name = if packed { path.file_stem().map(Path::new) } else { Some(path) };
    let ending = name.and_then(Path::extension).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Appends the sequences of a file, a line end between two of them and before the first where there is something
/// already. Returns a sentence about headers that were left out; none where there are none, and the file is sequence
/// alone.
pub(super) fn append(path: &Path, file: &[u8], bytes: &mut Vec<u8>) -> Option<String> {
    let (mut headers, mut begins) = (0, true);
    for line in file.split(|&b| b == b'\n') {
        if line.starts_with(b">") {
            headers += 1;
            begins = true;
            continue;
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if std::mem::take(&mut begins) && bytes.last().is_some_and(|&b| b != b'\n') {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line);
    }
    (headers > 0).then(|| {
        let headers = counted(headers, "header");
        plain(format_args!("{}: FASTA: read without its {headers}, a line end between sequences", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::{append, named};
    use std::path::Path;

    #[test]
    fn names_tell_fasta() {
        for name in ["a.fa", "a.fna.gz", "dir.x/a.FASTA", "a.b.faa", "a.fasta.GZ"] {
            assert!(named(Path::new(name)), "{name}");
        }
        for name in ["a.txt", "fa", "a.fa.txt", "fa.gz", "a.fastq", ".fa", ""] {
            assert!(!named(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn sequences_are_joined_and_headers_left_out() {
        let of = |before: &[u8], file: &[u8]| {
            let mut bytes = before.to_vec();
            let note = append(Path::new("a.fa"), file, &mut bytes);
            (String::from_utf8(bytes).unwrap(), note)
        };
        let (text, note) = of(b"", b">one human\r\nACG\r\nTa\r\n\r\n>two\n\n>three\nGG");
        assert_eq!(text, "ACGTa\nGG");
        assert!(note.is_some_and(|note| note.contains("a.fa: FASTA") && note.contains("3 headers")));
        assert_eq!(of(b"N", b">one\nAC\n").0, "N\nAC");
        assert_eq!(of(b"N\n", b"AC\nGT\n"), ("N\nACGT".into(), None));
        assert_eq!(of(b"", b">one\n").0, "");
    }
}
