//! Text as bytes: files, plain or compressed with gzip, one after the other, split by bytes.

mod fasta;
mod parts;

use crate::error::counted;
use crate::{Error, Result};
use flate2::bufread::GzDecoder;
pub use parts::{TextParts, TextSplit};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// How every member of a gzip file begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// The bytes of all files.
    pub bytes: Vec<u8>,
    /// What is worth a word about them, a sentence each that names its file.
    pub notes: Vec<String>,
}

/// Reads the files in order into one run of bytes. A file whose name ends in `.gz` is decompressed; what is behind its
/// last member and is none, as it comes of a transfer or a tape, is left out with a note.
///
/// # Errors
/// [`Error::Usage`] without any file, [`Error::Io`] when one cannot be read, [`Error::File`] when one is empty or its
/// compressed data are damaged.
pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Content> {
    read_by(paths, |_| false)
}

/// The same of files to learn text from: of FASTA (names that end in `.fa`, `.fna`, `.faa` or `.fasta`, before a `.gz`)
/// the sequences alone are read, a line end between two of them, and a note says so.
///
/// # Errors
/// As [`read`]; [`Error::File`] for FASTA without a sequence.
pub fn read_texts<P: AsRef<Path>>(paths: &[P]) -> Result<Content> {
    read_by(paths, fasta::named)
}

fn read_by<P: AsRef<Path>>(paths: &[P], is_fasta: impl Fn(&Path) -> bool) -> Result<Content> {
    if paths.is_empty() {
        return Err(Error::usage("no data: name at least one file"));
    }
    let mut content = Content::default();
    for path in paths.iter().map(AsRef::as_ref) {
        let before = content.bytes.len();
        let mut notes = Vec::new();
        let behind = match is_fasta(path) {
            false => read_into(path, &mut content.bytes)?,
            true => {
                let mut file = Vec::new();
                let behind = read_into(path, &mut file)?;
                expect_unpacked(path, &file)?;
                notes.extend(fasta::append(path, &file, &mut content.bytes));
                if content.bytes.len() == before && !file.is_empty() {
                    return Err(Error::file(path, "expected sequences behind the headers of FASTA, found none"));
                }
                behind
            }
        };
        if content.bytes.len() == before {
            return Err(Error::file(path, "expected data, found an empty file; name one that holds some"));
        }
        if behind > 0 {
            let path = path.display();
            notes.push(match behind {
                1 => format!("{path}: 1 byte behind the gzip data is no gzip data, and ignored"),
                _ => format!("{path}: {behind} bytes behind the gzip data are no gzip data, and ignored"),
            });
        }
        notes.retain(|note| !content.notes.contains(note));
        content.notes.extend(notes);
    }
    Ok(content)
}

/// The bytes of a file as text, without a byte order mark.
///
/// # Errors
/// [`Error::File`] naming line and column (in bytes) of what is no UTF-8, or of a NUL, which other encodings are full
/// of.
pub fn utf8<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    expect_unpacked(path, bytes)?;
    let (at, found) = match std::str::from_utf8(bytes) {
        Ok(text) => match bytes.iter().position(|&b| b == 0) {
            None => return Ok(text.trim_start_matches('\u{feff}')),
            Some(at) => (at, "a NUL, as UTF-16 has"),
        },
        Err(e) => (e.valid_up_to(), "other bytes"),
    };
    let before = bytes.get(..at).unwrap_or_default();
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|&&b| b != b'\n').count() + 1;
    let reason = format!("line {line}, column {column}: expected text in UTF-8, found {found}; save the file as UTF-8");
    Err(Error::file(path, reason))
}

/// Refuses packed bytes, which a file of another name than `.gz` holds, and UTF-16, by its mark or by the zero beside
/// its first letter.
///
/// # Errors
/// [`Error::File`] that says so.
pub fn expect_unpacked(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(&MAGIC) {
        return Err(Error::file(
            path,
            "expected text in UTF-8, found gzip data; give the file a name that ends in .gz",
        ));
    }
    let (column, found) = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => (1, "the mark of UTF-16"),
        [0, a, ..] if *a > 0 => (1, "a NUL, as UTF-16 has"),
        [a, 0, b, 0, ..] if *a > 0 && *b > 0 => (2, "a NUL, as UTF-16 has"),
        _ => return Ok(()),
    };
    let reason = format!("line 1, column {column}: expected text in UTF-8, found {found}; save the file as UTF-8");
    Err(Error::file(path, reason))
}

/// The bytes that were ignored.
fn read_into(path: &Path, bytes: &mut Vec<u8>) -> Result<u64> {
    let mut file = File::open(path).map_err(|e| Error::io(path, "opening the data", e))?;
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz")) {
        return members(file, bytes)
            .map_err(|e| Error::file(path, format!("expected gzip data, found damage ({e}); fetch the file again")));
    }
    file.read_to_end(bytes).map_err(|e| Error::io(path, "reading the data", e))?;
    Ok(0)
}

/// Decompresses all members of a gzip file, with zeros between and behind them, which tapes and archives fill their
/// blocks with. Returns how many bytes from the first on behind them that begins no member are left, as gzip(1) ignores
/// them.
fn members(file: File, bytes: &mut Vec<u8>) -> std::io::Result<u64> {
    let mut input = BufReader::new(file);
    GzDecoder::new(&mut input).read_to_end(bytes)?;
    while skip_zeros(&mut input)? {
        let mut ahead = Vec::with_capacity(MAGIC.len());
        Read::by_ref(&mut input).take(MAGIC.len() as u64).read_to_end(&mut ahead)?;
        // The first byte of a member alone is one that was cut off.
        if !MAGIC.starts_with(&ahead) {
            return Ok(ahead.len() as u64 + std::io::copy(&mut input, &mut std::io::sink())?);
        }
        GzDecoder::new((&ahead[..]).chain(&mut input)).read_to_end(bytes)?;
    }
    Ok(0)
}

/// Whether there is something behind the zeros.
fn skip_zeros(input: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let ahead = input.fill_buf()?;
        let (zeros, all) = (ahead.iter().take_while(|&&b| b == 0).count(), ahead.len());
        input.consume(zeros);
        if zeros < all || all == 0 {
            return Ok(all > 0);
        }
    }
}

/// Splits off the last `fraction` of the bytes: (training head, validation tail).
///
/// # Errors
/// [`Error::Usage`] when `fraction` is not between 0 and 1 (both excluded), or when the head has fewer than
/// `least_head` bytes or the tail fewer than 2.
pub fn split(bytes: &[u8], fraction: f64, least_head: usize) -> Result<(&[u8], &[u8])> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::usage(format!("--tail, or task.validation: expected between 0 and 1, found {fraction}")));
    }
    let tail = (bytes.len() as f64 * fraction).round() as usize;
    let (head, tail) = bytes.split_at(bytes.len() - tail.min(bytes.len()));
    if least_head == 0 && tail.len() < 2 {
        return Err(Error::usage(format!(
            "--tail: expected a share of 2 bytes or more, found {fraction}, which is {} of {}",
            tail.len(),
            counted(bytes.len(), "byte")
        )));
    }
    if head.len() < least_head || tail.len() < 2 {
        return Err(Error::usage(format!(
            "the data are too short: {} leave {} for training and {} for validation, at least {least_head} and 2 \
             are needed; give more text or a shorter context",
            counted(bytes.len(), "byte"),
            head.len(),
            tail.len()
        )));
    }
    Ok((head, tail))
}

#[cfg(test)]
mod tests {
    use super::{Content, counted, read, split};
    use std::io::Write;
    use std::path::PathBuf;

    fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_compressed_files_are_joined_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let a = file(&folder, "a.txt", b"first ");
        // Two members in one file are what `cat a.gz b.gz` makes.
        let b = file(&folder, "b.txt.gz", &[gzip(b"second "), gzip(b"third")].concat());
        let whole = |bytes: &[u8]| Content { bytes: bytes.to_vec(), notes: Vec::new() };
        assert_eq!(read(&[&a, &b]).unwrap(), whole(b"first second third"));
        assert_eq!(read(&[&b, &a]).unwrap(), whole(b"second thirdfirst "));
        // Zeros that fill a block, whatever the size of ours.
        for zeros in [0, 1, 512, 8191, 8192, 20_000] {
            let padded = [gzip(b"one "), vec![0; zeros], gzip(b"two"), vec![0; zeros]].concat();
            assert_eq!(read(&[file(&folder, "padded.gz", &padded)]).unwrap(), whole(b"one two"), "{zeros}");
        }
    }

    #[test]
    fn what_is_behind_the_last_member_is_ignored_and_counted_and_a_broken_member_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let two = [gzip(b"one "), gzip(b"two")].concat();
        let more = gzip(b"three");
        for zeros in [0, 1, 8192, 20_000] {
            let with = |name, behind: &[u8]| file(&folder, name, &[&two, &vec![0; zeros], behind].concat());
            for junk in [b"x".to_vec(), b"\x1fx".to_vec(), vec![b'j'; 30_000], [b"-".to_vec(), more.clone()].concat()] {
                let read = read(&[with("junk.gz", &junk), file(&folder, "a.txt", b"!")]).unwrap();
                assert_eq!(read.bytes, b"one two!");
                let [note] = &read.notes[..] else { panic!("{:?}", read.notes) };
                assert!(note.contains(&format!("junk.gz: {} behind", counted(junk.len(), "byte"))), "{note}");
            }
            let broken = |bytes: &[u8]| {
                let error = read(&[with("broken.gz", bytes)]).unwrap_err().to_string();
                assert!(error.contains("broken.gz: expected gzip"), "{zeros}: {error}");
            };
            (1..more.len()).for_each(|length| broken(&more[..length]));
            let mut spoilt = more.clone();
            let crc = spoilt.len() - 8;
            spoilt[crc] ^= 1;
            broken(&spoilt);
            broken(&[&spoilt[..], b"junk"].concat());
        }
    }

    #[test]
    fn missing_empty_and_damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.txt");
        assert!(read(&[&absent]).unwrap_err().to_string().contains("absent.txt"));
        let empty = file(&folder, "empty.txt", b"");
        assert!(read(&[&empty]).unwrap_err().to_string().contains("empty.txt: expected data, found an empty file"));
        let whole = gzip(&[b'x'; 1000]);
        for length in 0..whole.len() {
            let cut = file(&folder, "cut.gz", &whole[..length]);
            let error = read(&[&cut]).unwrap_err().to_string();
            assert!(error.contains("cut.gz"), "{length}: {error}");
        }
        let plain = file(&folder, "plain.gz", b"not compressed");
        assert!(read(&[&plain]).unwrap_err().to_string().contains("expected gzip"));
        assert!(read::<PathBuf>(&[]).unwrap_err().to_string().contains("at least one file"));
    }

    #[test]
    fn text_in_other_encodings_is_named_by_line_and_column() {
        let of = |bytes: &[u8]| {
            super::utf8(std::path::Path::new("a.txt"), bytes).map(str::to_owned).map_err(|e| e.to_string())
        };
        assert_eq!(of("\u{feff}one\né".as_bytes()).unwrap(), "one\né");
        for (bytes, says) in [
            (&b"one\ntw\xe9\n"[..], "a.txt: line 2, column 3: expected text in UTF-8, found other bytes"),
            (b"\xff\xfeo\0n\0", "line 1, column 1"),
            (b"\x1f\x8b\x08", "found gzip data"),
            (b"o\0n\0", "line 1, column 2: expected text in UTF-8, found a NUL"),
        ] {
            assert!(of(bytes).unwrap_err().contains(says), "{says}");
        }
    }

    #[test]
    fn the_tail_is_the_last_tenth() {
        let bytes: Vec<u8> = (0..100).collect();
        let (head, tail) = split(&bytes, 0.1, 90).unwrap();
        assert_eq!((head, tail), (&bytes[..90], &bytes[90..]));
        assert!(split(&bytes, 0.1, 91).unwrap_err().to_string().contains("too short"));
        assert!(split(&bytes[..10], 0.1, 1).is_err(), "one byte of validation predicts nothing");
        assert!(split(&[], 0.1, 1).is_err());
        for fraction in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
            assert!(split(&bytes, fraction, 1).is_err(), "{fraction}");
        }
    }
}
