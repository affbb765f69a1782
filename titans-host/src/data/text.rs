//! Text as bytes: files, plain or compressed with gzip, one after the other, split by bytes.

use crate::{Error, Result};
use flate2::bufread::GzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Reads the files in order into one run of bytes. A file whose name ends in `.gz` is decompressed.
///
/// # Errors
/// [`Error::Usage`] without any file, [`Error::Io`] when one cannot be read, [`Error::File`] when one is empty or its
/// compressed data are damaged.
pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<u8>> {
    if paths.is_empty() {
        return Err(Error::usage("no data: name at least one file"));
    }
    let mut bytes = Vec::new();
    for path in paths {
        let before = bytes.len();
        read_into(path.as_ref(), &mut bytes)?;
        if bytes.len() == before {
            return Err(Error::file(path, "the file is empty; give a text of at least a few hundred bytes"));
        }
    }
    Ok(bytes)
}

fn read_into(path: &Path, bytes: &mut Vec<u8>) -> Result<()> {
    let mut file = File::open(path).map_err(|e| Error::io(path, "opening the data", e))?;
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz")) {
        members(file, bytes)
            .map_err(|e| Error::file(path, format!("expected gzip data, found damage ({e}); fetch the file again")))?;
    } else {
        file.read_to_end(bytes).map_err(|e| Error::io(path, "reading the data", e))?;
    }
    Ok(())
}

/// Decompresses all members of a gzip file, with zeros between and behind them, which tapes and archives fill their blocks with.
fn members(file: File, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let mut input = BufReader::new(file);
    loop {
        GzDecoder::new(&mut input).read_to_end(bytes)?;
        loop {
            let ahead = input.fill_buf()?;
            let (zeros, all) = (ahead.iter().take_while(|&&b| b == 0).count(), ahead.len());
            if all == 0 {
                return Ok(());
            }
            input.consume(zeros);
            if zeros < all {
                break;
            }
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
        return Err(Error::usage(format!("validation fraction: expected between 0 and 1, found {fraction}")));
    }
    let tail = (bytes.len() as f64 * fraction).round() as usize;
    let (head, tail) = bytes.split_at(bytes.len() - tail.min(bytes.len()));
    if head.len() < least_head || tail.len() < 2 {
        return Err(Error::usage(format!(
            "the data are too short: {} bytes leave {} for training and {} for validation, at least {least_head} and 2 \
             are needed; give more text or a shorter context",
            bytes.len(),
            head.len(),
            tail.len()
        )));
    }
    Ok((head, tail))
}

#[cfg(test)]
mod tests {
    use super::{read, split};
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
        assert_eq!(read(&[&a, &b]).unwrap(), b"first second third");
        assert_eq!(read(&[&b, &a]).unwrap(), b"second thirdfirst ");
        // Zeros that fill a block, whatever the size of ours; something else behind them is damage.
        for zeros in [1, 512, 8192, 20_000] {
            let padded = [gzip(b"one "), vec![0; zeros], gzip(b"two"), vec![0; zeros]].concat();
            assert_eq!(read(&[file(&folder, "padded.gz", &padded)]).unwrap(), b"one two", "{zeros}");
            let spoilt = file(&folder, "spoilt.gz", &[padded, b"x".to_vec()].concat());
            assert!(read(&[spoilt]).unwrap_err().to_string().contains("spoilt.gz: expected gzip"), "{zeros}");
        }
    }

    #[test]
    fn missing_empty_and_damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.txt");
        assert!(read(&[&absent]).unwrap_err().to_string().contains("absent.txt"));
        let empty = file(&folder, "empty.txt", b"");
        assert!(read(&[&empty]).unwrap_err().to_string().contains("empty.txt: the file is empty"));
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
