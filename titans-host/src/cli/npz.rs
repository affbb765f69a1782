//! NumPy's `.npz` files (a zip of one `.npy` an array): read into tensors, written from tensors.
//!
//! Nothing that a file claims is believed: not the length of an entry, not the shape in a header.

use crate::error::{Error, Result};
use crate::train::store::{Float, Tensor};
use ndarray::{ArrayViewD, IxDyn};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ViewNpyError, ViewNpyExt, WriteNpyExt};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use std::fmt::Display;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Deflate makes at most so many bytes out of one.
const MOST: u64 = 1032;
/// What a `.npy` file begins with.
const NPY: &[u8] = b"\x93NUMPY";
/// Bytes of a header, as NumPy limits them too, and opening brackets of one: an array of plain numbers has two.
const HEADER: usize = 10_000;
const BRACKETS: usize = 8;

/// Whether the path names an `.npz` file.
pub fn named(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npz"))
}

/// Refuses a path that names a `.npy` file, which holds one array without a name.
///
/// # Errors
/// [`Error::File`] that says which files hold several.
pub fn expect_several(path: &Path) -> Result<()> {
    match path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy")) {
        true => Err(single(path)),
        false => Ok(()),
    }
}

fn single(path: &Path) -> Error {
    let reason = "expected named arrays, an .npz (numpy.savez) or a .safetensors file, found a .npy, which is one array without a name";
    Error::file(path, reason)
}

/// The content of `path` as the bytes of a safetensors file: as they are, or made of the arrays of an `.npz` file,
/// which is known by its first bytes or its name.
///
/// # Errors
/// [`Error::File`] for a damaged file, for a single array, and for an array that is none of plain little-endian numbers
/// or booleans, which it names.
pub fn as_safetensors(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if bytes.starts_with(NPY) {
        return Err(single(path));
    }
    if !named(path) && !bytes.starts_with(b"PK\x03\x04") {
        return Ok(bytes);
    }
    let damaged = |reason: &dyn Display| {
        let what = "is no complete .npz file (a zip of arrays, as numpy.savez writes them)";
        Error::file(path, format!("{what}: {reason}; write it again"))
    };
    let mut archive = ZipArchive::new(Cursor::new(&bytes[..])).map_err(|e| damaged(&e))?;
    let mut tensors = Vec::new();
    for i in 0..archive.len() {
        let file = archive.name_for_index(i).unwrap_or_default().to_owned();
        let Some(name) = file.strip_suffix(".npy") else { continue };
        let entry = archive.by_index(i).map_err(|e| damaged(&format!("array {name}: {e}")))?;
        let (size, packed) = (entry.size(), entry.compressed_size().min(bytes.len() as u64));
        if size > packed.saturating_mul(MOST).saturating_add(MOST) {
            return Err(damaged(&format!("array {name} claims {size} bytes, more than {packed} can be unpacked to")));
        }
        let npy = content(entry, size).map_err(|e| damaged(&format!("array {name}: {e}")))?;
        let tensor = npy.tensor().map_err(|e| Error::file(path, format!("array {name}: {e}")))?;
        tensors.push((name.to_owned(), tensor));
    }
    let views = (tensors.iter())
        .map(|(name, t)| TensorView::new(t.dtype, t.shape.clone(), &t.bytes).map(|view| (name, view)))
        .collect::<std::result::Result<Vec<_>, _>>();
    views.and_then(|views| serialize(views, None)).map_err(|e| damaged(&e))
}

/// The bytes of an `.npz` file, with a comment. Arrays are `f32` or `f64`.
///
/// # Errors
/// [`Error::Usage`] for other numbers, or more of them than such a file takes.
pub fn to_bytes(tensors: &[(String, Tensor)], comment: &str) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        let fail =
            |e: &dyn Display| Error::usage(format!("output {name}: writing it as an array of an .npz file: {e}"));
        let large = tensor.bytes.len().saturating_add(2 * HEADER) > u32::MAX as usize;
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        archive.start_file(format!("{name}.npy"), stored).map_err(|e| fail(&e))?;
        let shape = IxDyn(&tensor.shape);
        let written = match Float::of_dtype(tensor.dtype) {
            Some(Float::F32) => {
                let numbers = tensor.numbers::<f32>().unwrap_or_default();
                ArrayViewD::from_shape(shape, &numbers).map_err(|e| fail(&e))?.write_npy(&mut archive)
            }
            Some(Float::F64) => {
                let numbers = tensor.numbers::<f64>().unwrap_or_default();
                ArrayViewD::from_shape(shape, &numbers).map_err(|e| fail(&e))?.write_npy(&mut archive)
            }
            None => return Err(fail(&format!("expected F32 or F64, found {}", tensor.dtype))),
        };
        written.map_err(|e| fail(&e))?;
    }
    archive.set_comment(comment);
    let done = archive.finish().map_err(|e| Error::usage(format!("writing an .npz file: {e}")))?;
    Ok(done.into_inner())
}

/// One array's file, laid out so that its numbers are aligned.
struct Npy {
    words: Vec<u64>,
    from: usize,
    len: usize,
}

/// All bytes of an entry, which claims to have `size`.
fn content(mut entry: impl Read, size: u64) -> std::result::Result<Npy, String> {
    let no_space = || format!("no memory for its {size} bytes");
    let len = usize::try_from(size).map_err(|_| no_space())?;
    let mut words: Vec<u64> = Vec::new();
    words.try_reserve_exact((len / 8).saturating_add(3)).map_err(|_| no_space())?;
    words.resize(len / 8 + 3, 0);
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    entry.read_exact(&mut bytes[8..8 + len]).map_err(|e| e.to_string())?;
    // The end is where the checksum is looked at.
    if entry.read(&mut [0]).map_err(|e| e.to_string())? != 0 {
        return Err(format!("it has more than the {size} bytes that it claims"));
    }
    let start = data_start(&bytes[8..8 + len])?;
    let from = 8 - start % 8;
    bytes.copy_within(8..8 + len, from);
    Ok(Npy { words, from, len })
}

/// Where the numbers begin. Refuses headers that are not worth a parser's while.
fn data_start(npy: &[u8]) -> std::result::Result<usize, String> {
    let (at, len) = match npy {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (10, u16::from_le_bytes([*a, *b]).into()),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        }
        _ => return Err("expected numpy's format of arrays (.npy), version 1 to 3".into()),
    };
    let Some(header) = npy[at..].get(..len.min(HEADER + 1)).filter(|header| header.len() <= HEADER) else {
        return Err(format!(
            "its header claims {len} bytes; expected at most {HEADER}, and no more than the array's {}",
            npy.len()
        ));
    };
    if header.iter().filter(|b| b"([{".contains(b)).count() > BRACKETS {
        return Err("expected numbers or booleans, found another structure; convert it with .astype first".into());
    }
    Ok(at + len)
}

impl Npy {
    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[self.from..self.from + self.len]
    }

    fn tensor(&self) -> std::result::Result<Tensor, String> {
        let npy = self.bytes();
        let header = Header::from_reader(&mut &npy[..]).map_err(|e| format!("its header: {e}; write it again"))?;
        // Axes of length 0 hide the others from a product, not from a view's strides.
        let numbers = header.shape.iter().filter(|&&n| n > 0).try_fold(16usize, |all, &n| all.checked_mul(n));
        if numbers.is_none_or(|bytes| bytes > isize::MAX as usize) || header.shape.len() > 32 {
            return Err(format!("its header claims shape {:?}: no array is so large; write it again", header.shape));
        }
        macro_rules! view {
            ($($type:ty => $dtype:ident, $bytes:expr;)*) => {$(
                match ArrayViewD::<'_, $type>::view_npy(npy) {
                    Ok(view) => {
                        let bytes = view.iter().flat_map($bytes).collect();
                        return Ok(Tensor { dtype: Dtype::$dtype, shape: header.shape, bytes });
                    }
                    Err(ViewNpyError::WrongDescriptor(_)) => {}
                    Err(ViewNpyError::NonNativeEndian) => {
                        let found = &header.type_descriptor;
                        return Err(format!("expected little-endian numbers, found dtype {found}; convert it with .astype first"));
                    }
                    Err(e) => return Err(format!("shape {:?} in its header: {e}; write it again", header.shape)),
                }
            )*};
        }
        view! {
            f32 => F32, |x| x.to_le_bytes();
            f64 => F64, |x| x.to_le_bytes();
            bool => BOOL, |x| [u8::from(*x)];
            u8 => U8, |x| x.to_le_bytes();
            i8 => I8, |x| x.to_le_bytes();
            u16 => U16, |x| x.to_le_bytes();
            i16 => I16, |x| x.to_le_bytes();
            u32 => U32, |x| x.to_le_bytes();
            i32 => I32, |x| x.to_le_bytes();
            u64 => U64, |x| x.to_le_bytes();
            i64 => I64, |x| x.to_le_bytes();
        }
        let found = &header.type_descriptor;
        Err(format!("expected float32, float64, bool or integers, found dtype {found}; convert it with .astype first"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Npy, as_safetensors, content, to_bytes};
    use crate::train::store::Tensor;
    use safetensors::{Dtype, SafeTensors};
    use std::path::Path;

    /// An array's file, its header as a writer without padding leaves it.
    fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    fn open(bytes: &[u8]) -> Result<Tensor, String> {
        content(bytes, bytes.len() as u64).and_then(|npy: Npy| npy.tensor())
    }

    #[test]
    fn both_orders_and_every_type_are_read() {
        let data: Vec<u8> = [1i16, 2, 3, 4, 5, 6].iter().flat_map(|x| x.to_le_bytes()).collect();
        let rows = open(&npy("<i2", "False", "(2, 3)", &data)).unwrap();
        assert_eq!((rows.dtype, &rows.shape[..], &rows.bytes), (Dtype::I16, &[2, 3][..], &data));
        let columns = open(&npy("<i2", "True", "(2, 3)", &data)).unwrap();
        let expected: Vec<u8> = [1i16, 3, 5, 2, 4, 6].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!((&columns.shape[..], columns.bytes), (&[2, 3][..], expected));
        for (descr, dtype, size) in [
            ("<f4", Dtype::F32, 4),
            ("<f8", Dtype::F64, 8),
            ("|b1", Dtype::BOOL, 1),
            ("|u1", Dtype::U8, 1),
            ("|i1", Dtype::I8, 1),
            ("<u2", Dtype::U16, 2),
            ("<u4", Dtype::U32, 4),
            ("<i4", Dtype::I32, 4),
            ("<u8", Dtype::U64, 8),
            ("<i8", Dtype::I64, 8),
        ] {
            let found = open(&npy(descr, "False", "(3,)", &vec![1; 3 * size])).unwrap();
            assert_eq!((found.dtype, found.bytes), (dtype, vec![1; 3 * size]), "{descr}");
        }
        assert!(open(&npy("<f8", "False", "()", &[0; 8])).unwrap().shape.is_empty());
        assert_eq!(open(&npy("<f8", "False", "(0, 3)", &[])).unwrap().shape, [0, 3]);
    }

    #[test]
    fn what_is_no_array_of_numbers_says_so() {
        let error = |bytes: &[u8]| open(bytes).unwrap_err();
        for (descr, says) in [(">f4", "little-endian"), ("<f2", "<f2"), ("<c8", "<c8"), ("|O", "|O"), ("<U3", "<U3")] {
            let found = error(&npy(descr, "False", "(1,)", &[0; 4]));
            assert!(found.contains(says) && found.contains(".astype"), "{found}");
        }
        for shape in
            ["(1152921504606846976,)", "(0, 1152921504606846976, 1152921504606846976)", "(4294967296, 4294967296)"]
        {
            assert!(error(&npy("<f8", "False", shape, &[])).contains("no array is so large"), "{shape}");
        }
        assert!(error(&npy("<f8", "False", "(1099511627776,)", &[0; 8])).contains("missing"));
        assert!(error(&npy("<f8", "False", "(1,)", &[0; 9])).contains("extra"));
        assert!(error(&npy("|b1", "False", "(1,)", &[2])).contains("write it again"));
        let deep = npy("<f8", "False", &"(".repeat(9000), &[]);
        assert!(error(&deep).contains("another structure"));
        assert!(error(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}").contains("4294967295"));
        assert!(error(b"\x93NUMPY\x09\x00").contains("version"));
        assert!(error(b"").contains(".npy"));
    }

    #[test]
    fn no_damaged_byte_ends_in_a_panic() {
        let whole = npy("<f4", "False", "(2, 3)", &[0; 24]);
        for length in 0..whole.len() {
            assert!(open(&whole[..length]).is_err(), "cut to {length}");
        }
        for at in 0..whole.len() - 24 {
            for byte in 0..=255 {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = open(&damaged);
            }
        }
        let tensors =
            [("a".to_owned(), Tensor::new(&[2, 1], &[1.5f32, -2.0])), ("b.0".to_owned(), Tensor::new(&[1], &[0.1]))];
        let path = Path::new("x.npz");
        let whole = to_bytes(&tensors, "{}").unwrap();
        let back = as_safetensors(path, whole.clone()).unwrap();
        let back = SafeTensors::deserialize(&back).unwrap();
        for (name, tensor) in &tensors {
            let view = back.tensor(name).unwrap();
            assert_eq!((view.dtype(), view.shape(), view.data()), (tensor.dtype, &tensor.shape[..], &tensor.bytes[..]));
        }
        for length in 0..whole.len() {
            assert!(as_safetensors(path, whole[..length].to_vec()).is_err(), "cut to {length}");
        }
        for at in 0..whole.len() {
            for flip in [1, 16, 255] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                let _ = as_safetensors(path, damaged);
            }
        }
    }
}
