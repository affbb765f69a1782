//! A safetensors file that notices damage: tensors and text, under one checksum that covers both.

use super::atomic;
use crate::{Error, Result};
use flate2::Crc;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use titans_kernel::{Choice, Scalar, choice, header};

const CHECKSUM: &str = "titans.checksum";

choice! {
    /// Numbers that are computed with and kept in files; their byte is their length in bytes.
    pub enum Float: "dtype" {
        /// Single precision.
        F32 = 4, "f32";
        /// Double precision.
        F64 = 8, "f64";
    }
}

impl Float {
    /// What `T` is.
    pub const fn of<T: Scalar>() -> Self {
        if T::BYTES == Self::F32 as usize { Self::F32 } else { Self::F64 }
    }

    /// As a file of tensors names it.
    pub const fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F64 => Dtype::F64,
        }
    }

    /// What a file of tensors names so; `None` for integers and narrower numbers.
    pub fn of_dtype(dtype: Dtype) -> Option<Self> {
        Self::ALL.iter().copied().find(|float| float.dtype() == dtype)
    }

    /// Little-endian numbers, exactly.
    pub fn numbers(self, bytes: &[u8]) -> impl Iterator<Item = f64> {
        bytes.chunks_exact(self as usize).map(move |b| match self {
            Self::F32 => f32::read_le(b).into(),
            Self::F64 => f64::read_le(b),
        })
    }
}

/// One tensor, as its bytes lie in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// Little-endian numbers.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// A tensor of `f32` or `f64`, whichever `T` is.
    pub fn new<T: Scalar>(shape: &[usize], data: &[T]) -> Self {
        let mut bytes = vec![0; data.len() * T::BYTES];
        for (x, out) in data.iter().zip(bytes.chunks_exact_mut(T::BYTES)) {
            x.write_le(out);
        }
        Self { dtype: Float::of::<T>().dtype(), shape: shape.to_vec(), bytes }
    }

    /// Its numbers as `T`, rounded if the file's are wider. `None` when they are neither `f32` nor `f64`.
    pub fn numbers<T: Scalar>(&self) -> Option<Vec<T>> {
        Some(Float::of_dtype(self.dtype)?.numbers(&self.bytes).map(T::from_f64).collect())
    }
}

/// The content of a file.
///
/// ```
/// use titans_host::train::store::{Store, Tensor};
///
/// let mut store = Store::default();
/// store.text.insert("made by".into(), "hand".into());
/// store.tensors.insert("turn".into(), Tensor::new(&[2, 2], &[0.0_f32, -1.0, 1.0, 0.0]));
/// let mut bytes = store.to_bytes()?; // a file that others read as safetensors
/// assert_eq!(Store::from_bytes(&bytes), Ok(store));
/// *bytes.last_mut().expect("a number") ^= 1;
/// assert!(Store::from_bytes(&bytes).is_err()); // damage is noticed
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// Text by name.
    pub text: BTreeMap<String, String>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// What a file of ours is that holds no tensors.
pub fn without_tensors(bytes: &[u8]) -> Option<&'static str> {
    let kinds = [
        (header::MODEL, "a blob of `titans export`"),
        (header::KEPT, "a state of `titans stream`"),
        (header::STREAM, "a saved stream of a model"),
        (header::MEMORY, "a saved memory"),
        (FORECAST, "a forecaster's state of `titans stream`"),
    ];
    kinds.into_iter().find(|(begins, _)| bytes.starts_with(*begins)).map(|(_, what)| what)
}

/// The beginning of a forecaster's state of `titans stream`, before its version.
pub const FORECAST: &[u8; 7] = b"TTNFCST";

/// What a file is that is none of tensors: those begin with the length of a header, and the header with a brace.
fn foreign(bytes: &[u8]) -> Option<String> {
    let of_another_kind = || (bytes.len() < 9 || bytes[8] != b'{').then_some("a file of another kind");
    let what = without_tensors(bytes).or_else(of_another_kind)?;
    let instead = match bytes.starts_with(header::MODEL) {
        true => ", which knows no task: `titans stream` runs it; name the run that it was exported from",
        false => "",
    };
    Some(format!("{what}{instead}"))
}

impl Store {
    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::Usage`] when a tensor's shape and bytes disagree.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut text: HashMap<String, String> = self.text.clone().into_iter().collect();
        text.insert(CHECKSUM.into(), self.checksum().to_string());
        let views =
            self.tensors.iter().map(|(name, t)| Ok((name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)));
        let views: std::result::Result<Vec<_>, safetensors::SafeTensorError> = views.collect();
        views.and_then(|v| serialize(v, Some(text))).map_err(|e| Error::usage(format!("safetensors: {e}")))
    }

    /// Reads a file's bytes, checking every one.
    ///
    /// # Errors
    /// What is wrong, without the file's name: see [`Store::read`].
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let parsed = SafeTensors::deserialize(bytes).map_err(|e| match foreign(bytes) {
            Some(what) => format!("expected a safetensors file, found {what}"),
            None => format!("expected a safetensors file of {} bytes, found damage: {e}", bytes.len()),
        })?;
        let header = SafeTensors::read_metadata(bytes).map_err(|e| format!("damaged header: {e}"))?.1;
        let mut store = Self::default();
        for (name, view) in parsed.tensors() {
            let tensor = Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            store.tensors.insert(name, tensor);
        }
        store.text.extend(header.metadata().clone().unwrap_or_default());
        let expected = store.text.remove(CHECKSUM).ok_or("it has no titans.checksum; it is not one of our files")?;
        let found = store.checksum().to_string();
        if expected != found {
            return Err(format!("checksum: expected {expected}, found {found}; the file is damaged, use another copy"));
        }
        Ok(store)
    }

    /// Writes the file, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file (a full disk, an unwritable folder); the old file is then as it was.
    pub fn write(&self, path: &Path, doing: &'static str) -> Result<()> {
        let bytes = self.to_bytes()?;
        atomic::write(path, doing, |out| out.write_all(&bytes))
    }

    /// Reads the file, checking every byte of it.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::File`] saying what is wrong with it.
    pub fn read(path: &Path, doing: &'static str) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, doing, e))?;
        Self::from_bytes(&bytes).map_err(|reason| Error::file(path, reason))
    }

    /// CRC-32 of everything in the order of the names, each part after its length.
    fn checksum(&self) -> u32 {
        let mut crc = Crc::new();
        let mut part = |bytes: &[u8]| {
            crc.update(&(bytes.len() as u64).to_le_bytes());
            crc.update(bytes);
        };
        for (name, text) in &self.text {
            part(name.as_bytes());
            part(text.as_bytes());
        }
        for (name, tensor) in &self.tensors {
            part(name.as_bytes());
            part(format!("{:?} {:?}", tensor.dtype, tensor.shape).as_bytes());
            part(&tensor.bytes);
        }
        crc.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Store, Tensor};

    fn store() -> Store {
        let mut store = Store::default();
        store.text.insert("titans.format".into(), "1".into());
        store.text.insert("titans.note".into(), "{\"x\": 1.5}\n".into());
        store.tensors.insert("a".into(), Tensor::new(&[2, 3], &[1.0f32, -2.0, 3.0, 0.5, f32::MIN_POSITIVE, -0.0]));
        store.tensors.insert("b".into(), Tensor::new(&[1], &[std::f64::consts::PI]));
        store.tensors.insert("empty".into(), Tensor::new::<f32>(&[0], &[]));
        store
    }

    #[test]
    fn everything_comes_back() {
        let store = store();
        let back = Store::from_bytes(&store.to_bytes().unwrap()).unwrap();
        assert_eq!(back, store);
        assert_eq!(back.tensors["b"].numbers::<f64>().unwrap(), [std::f64::consts::PI]);
        assert_eq!(back.tensors["b"].numbers::<f32>().unwrap(), [std::f32::consts::PI]);
        let a: Vec<u32> = back.tensors["a"].numbers::<f32>().unwrap().iter().map(|x| x.to_bits()).collect();
        assert_eq!(a[5], (-0.0f32).to_bits());
        let wrong = Tensor { shape: vec![4], ..store.tensors["b"].clone() };
        let wrong = Store { tensors: [("b".to_string(), wrong)].into(), ..Store::default() };
        assert!(wrong.to_bytes().is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = store().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(Store::from_bytes(&bytes[..length]).is_err(), "cut to {length}");
        }
        assert!(Store::from_bytes(&[&bytes[..], b" "].concat()).is_err(), "one byte more");
    }

    #[test]
    fn every_flipped_bit_is_an_error() {
        let bytes = store().to_bytes().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(Store::from_bytes(&damaged).is_err(), "bit {bit} of byte {at} ({:?})", bytes[at] as char);
            }
        }
    }
}
