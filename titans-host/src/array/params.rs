//! A model's parameters as arrays, by name.

use super::elements;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::Params;
use ndarray::{ArrayViewD, IxDyn};
use std::ops::Deref;

/// A parameter, where it lies, on a device whose buffers are the host's own memory: the CPU. (Of others:
/// [`Params::download`].)
///
/// ```
/// use titans_host::array::parameter;
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Model, ModelConfig};
///
/// # fn main() -> titans_host::Result<()> {
/// let device = Cpu::<f32>::new(None)?;
/// let model = Model::new(&device, ModelConfig { width: 16, ..ModelConfig::default() }, 1)?;
/// assert_eq!(parameter(&model.params, "embedding.weight")?.shape(), [256, 16]);
/// assert!(parameter(&model.params, "embeding.weight").unwrap_err().to_string().contains("embeding"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Usage`] for a name that is none.
pub fn parameter<'a, D: Device>(params: &'a Params<D>, name: &str) -> Result<ArrayViewD<'a, D::Elem>>
where
    D::Buffer: Deref<Target = [D::Elem]>,
{
    let id = params.id(name).ok_or_else(|| {
        let held: Vec<&str> = params.iter().map(|p| p.name).take(12).collect();
        Error::usage(format!("parameter {name}: the model has none of that name; it has {} …", held.join(", ")))
    })?;
    let (shape, numbers): (_, &[D::Elem]) = (params.shape(id)?, params.value(id)?);
    ArrayViewD::from_shape(IxDyn(shape), numbers).map_err(|e| Error::usage(format!("parameter {name}: {e}")))
}

/// Overwrites a parameter, on any device, with an array of the same shape; nothing changes on error.
///
/// ```
/// use ndarray::Array;
/// use titans_host::array::{parameter, set_parameter};
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Model, ModelConfig};
///
/// # fn main() -> titans_host::Result<()> {
/// let device = Cpu::<f32>::new(None)?;
/// let mut model = Model::new(&device, ModelConfig { width: 16, ..ModelConfig::default() }, 1)?;
/// let halved = parameter(&model.params, "embedding.weight")?.mapv(|x| x / 2.0);
/// set_parameter(&mut model.params, &device, "embedding.weight", halved.view())?;
/// assert_eq!(parameter(&model.params, "embedding.weight")?, halved);
/// assert!(set_parameter(&mut model.params, &device, "embedding.weight", halved.t()).is_err()); // [16, 256]
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Usage`] for a name that is none, another shape, or a number that is not finite; the device's own errors.
pub fn set_parameter<D: Device>(
    params: &mut Params<D>,
    device: &D,
    name: &str,
    array: ArrayViewD<'_, D::Elem>,
) -> Result<()> {
    params.load(device, name, array.shape(), &elements(name, &array)?)
}
