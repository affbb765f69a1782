//! Reading tensors by name from a safetensors file, with errors that name the tensor.

use crate::error::{Error, Result};
use crate::train::store::Float;
use safetensors::{Dtype, SafeTensors};
use std::path::Path;
use titans_kernel::Scalar;

/// A file of tensors, in memory.
pub struct Tensors<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
}

/// One tensor, row-major.
#[derive(Debug)]
pub struct NumberTensor<T> {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<T>,
}

/// All bytes of the file at `path`.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, "reading", e))
}

impl<'a> Tensors<'a> {
    /// The tensors in `bytes`, the content of `path`.
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| Error::file(path, format!("is no complete safetensors file: {e}; write it again")))?;
        Ok(Self { path, file })
    }

    /// Whether the file holds `name`.
    pub fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_ok()
    }

    /// The names of all tensors, in no order.
    pub fn names(&self) -> Vec<&str> {
        self.file.names()
    }

    /// The element type of a tensor that must be there.
    pub fn dtype(&self, name: &str, shape: &str) -> Result<Dtype> {
        self.view(name, shape).map(|view| view.dtype())
    }

    /// The shape of a tensor that must be there.
    pub fn shape(&self, name: &str, axes: &str) -> Result<Vec<usize>> {
        self.view(name, axes).map(|view| view.shape().to_vec())
    }

    /// A tensor of finite F32 or F64 numbers, rounded to `T`.
    pub fn get<T: Scalar>(&self, name: &str, shape: &str) -> Result<NumberTensor<T>> {
        let view = self.view(name, shape)?;
        let float = Float::of_dtype(view.dtype()).ok_or_else(|| {
            self.error(name, format!("expected F32 or F64, found {}; convert it first", view.dtype()))
        })?;
        let data: Vec<T> = float.numbers(view.data()).map(T::from_f64).collect();
        let tensor = NumberTensor { shape: view.shape().to_vec(), data };
        match tensor.data.iter().position(|x| !x.finite()) {
            None => Ok(tensor),
            Some(i) => {
                let at = index(&tensor.shape, i);
                let reason =
                    format!("the value at {at} is not finite (in {} bits); the memory would spread it", 8 * T::BYTES);
                Err(self.error(name, reason))
            }
        }
    }

    /// As [`Tensors::get`], of a given shape.
    pub fn data<T: Scalar>(&self, name: &str, axes: &str, shape: &[usize]) -> Result<Vec<T>> {
        let tensor = self.get(name, axes)?;
        self.expect(name, axes, shape, &tensor.shape)?;
        Ok(tensor.data)
    }

    /// Which elements of a tensor of numbers or booleans are not 0.
    pub fn mask(&self, name: &str, axes: &str, shape: &[usize]) -> Result<Vec<bool>> {
        let view = self.view(name, axes)?;
        self.expect(name, axes, shape, view.shape())?;
        let bytes = match view.dtype() {
            Dtype::F32 | Dtype::F64 => {
                return Ok(self.get::<f64>(name, axes)?.data.iter().map(|&x| x != 0.0).collect());
            }
            Dtype::BOOL | Dtype::U8 | Dtype::I8 => 1,
            Dtype::U16 | Dtype::I16 => 2,
            Dtype::U32 | Dtype::I32 => 4,
            Dtype::U64 | Dtype::I64 => 8,
            other => return Err(self.error(name, format!("expected BOOL or numbers, found {other}; convert it first"))),
        };
        Ok(view.data().chunks_exact(bytes).map(|b| b.iter().any(|&b| b != 0)).collect())
    }

    /// An error unless `found` is the shape that the other tensors ask for.
    pub fn expect(&self, name: &str, axes: &str, expected: &[usize], found: &[usize]) -> Result<()> {
        if expected == found {
            return Ok(());
        }
        Err(self.error(name, format!("expected shape {axes} = {expected:?}, found {found:?}")))
    }

    /// An error about one tensor of this file.
    pub fn error(&self, name: &str, reason: impl std::fmt::Display) -> Error {
        Error::file(self.path, format!("tensor {name}: {reason}"))
    }

    fn view(&self, name: &str, shape: &str) -> Result<safetensors::tensor::TensorView<'a>> {
        self.file.tensor(name).map_err(|_| {
            let mut names = self.file.names();
            names.sort_unstable();
            names.truncate(12);
            let held = if names.is_empty() { "nothing".into() } else { names.join(", ") };
            Error::file(self.path, format!("tensor {name} {shape} is missing; the file holds {held}"))
        })
    }
}

/// `[i, j, …]` of element `i` of a row-major tensor.
pub fn index(shape: &[usize], mut i: usize) -> String {
    let mut at = vec![0; shape.len()];
    for (at, &n) in at.iter_mut().zip(shape).rev() {
        *at = i % n.max(1);
        i /= n.max(1);
    }
    format!("{at:?}")
}

#[cfg(test)]
mod tests {
    use super::{Tensors, index};
    use safetensors::{Dtype, serialize, tensor::TensorView};
    use std::path::Path;

    #[test]
    fn values_and_shapes_are_checked_by_name() {
        let bytes: Vec<u8> = [1.0f32, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
        let all = [("a", view(Dtype::F32, &[1, 2], &bytes)), ("m", view(Dtype::I16, &[4], &bytes))];
        let file = serialize(all, None).unwrap();
        let path = Path::new("x.safetensors");
        let tensors = Tensors::new(path, &file).unwrap();
        let message = tensors.get::<f64>("a", "[1, 2]").unwrap_err().to_string();
        assert!(message.contains("tensor a") && message.contains("[0, 1]"), "{message}");
        assert!(tensors.get::<f32>("b", "[T]").unwrap_err().to_string().contains("the file holds a, m"));
        assert!(tensors.get::<f32>("m", "[4]").unwrap_err().to_string().contains("I16"));
        assert_eq!(tensors.mask("m", "[4]", &[4]).unwrap(), [false, true, false, true]);
        assert!(tensors.mask("m", "[T]", &[5]).unwrap_err().to_string().contains("[T] = [5], found [4]"));
        assert!(Tensors::new(path, &file[..file.len() - 1]).is_err());
        assert_eq!(index(&[2, 3, 4], 23), "[1, 2, 3]");
    }
}
