//! The gradients of a model's parameters.

use super::{ParamId, Params};
use crate::device::Device;
use crate::error::{Error, Result};
use std::fmt;
use titans_kernel::Scalar;

/// One buffer for every parameter, of its length; the backward adds to it.
pub struct Gradients<D: Device>(Vec<D::Buffer>);

impl<D: Device> Gradients<D> {
    /// Zeros.
    ///
    /// # Errors
    /// The device's own.
    pub fn zeros_like(device: &D, params: &Params<D>) -> Result<Self> {
        params.values.iter().map(|v| device.zeros(device.len(v))).collect::<Result<_>>().map(Self)
    }

    /// Every element becomes 0.
    ///
    /// # Errors
    /// The device's own.
    pub fn clear(&mut self, device: &D) -> Result<()> {
        device.clear_all(&mut self.0)
    }

    /// The gradient of one parameter.
    ///
    /// # Errors
    /// [`Error::Usage`] for an id of other parameters.
    pub fn get(&self, id: ParamId) -> Result<&D::Buffer> {
        self.0.get(id.0).ok_or_else(|| other(id))
    }

    /// The gradient of one parameter, to change.
    ///
    /// # Errors
    /// As [`Gradients::get`].
    pub fn get_mut(&mut self, id: ParamId) -> Result<&mut D::Buffer> {
        self.0.get_mut(id.0).ok_or_else(|| other(id))
    }

    /// All of them, in the order of the parameters.
    pub fn as_slice(&self) -> &[D::Buffer] {
        &self.0
    }

    /// The same, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = &D::Buffer> {
        self.0.iter()
    }

    /// The same, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut D::Buffer> {
        self.0.iter_mut()
    }

    /// Adds the gradients of `other`, element by element.
    ///
    /// # Errors
    /// The device's own, for gradients of other parameters too.
    pub fn add(&mut self, device: &D, other: &Self) -> Result<()> {
        self.0.iter_mut().zip(&other.0).try_for_each(|(sum, g)| device.add_scaled(1.0, g, sum))
    }

    /// `total[0] += Σ g²` over all parameters.
    ///
    /// # Errors
    /// The device's own.
    pub fn add_squares(&self, device: &D, total: &mut D::Buffer) -> Result<()> {
        device.sum_squares_all(&self.0, total)
    }

    /// √Σ g² over all parameters; waits for the device.
    ///
    /// # Errors
    /// The device's own.
    pub fn norm(&self, device: &D) -> Result<f64> {
        let mut total = device.zeros(1)?;
        self.add_squares(device, &mut total)?;
        let mut sum = [D::Elem::ZERO];
        device.read(&total, &mut sum)?;
        Ok(sum[0].to_f64().sqrt())
    }

    pub(super) fn pair_mut(&mut self, a: ParamId, b: ParamId) -> Result<(&mut D::Buffer, &mut D::Buffer)> {
        self.0.get_disjoint_mut([a.0, b.0]).map(|[a, b]| (a, b)).map_err(|_| other(b))
    }

    pub(super) fn many_mut<const N: usize>(&mut self, ids: [ParamId; N]) -> Result<[&mut D::Buffer; N]> {
        let wrong = ids.into_iter().find(|id| id.0 >= self.0.len()).unwrap_or_default();
        self.0.get_disjoint_mut(ids.map(|id| id.0)).map_err(|_| other(wrong))
    }

    pub(super) fn check(&self, device: &D, params: &Params<D>) -> Result<()> {
        let same = self.0.len() == params.len()
            && self.0.iter().zip(&params.values).all(|(g, v)| device.len(g) == device.len(v));
        if same { Ok(()) } else { Err(Error::usage("gradients of other parameters; use Gradients::zeros_like")) }
    }
}

impl<D: Device> fmt::Debug for Gradients<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gradients").field(&self.0.len()).finish()
    }
}

fn other(id: ParamId) -> Error {
    Error::usage(format!("gradient number {}: the id is of other parameters, or weight and bias are one", id.0))
}
