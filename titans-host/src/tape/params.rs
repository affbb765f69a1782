//! A model's parameters on the device, by name.

use crate::device::Device;
use crate::error::{Error, Result};
use std::fmt;
use titans_kernel::Scalar;

/// Which parameter of a [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamId(pub(super) usize);

impl Default for ParamId {
    /// Names no parameter.
    fn default() -> Self {
        Self(usize::MAX)
    }
}

impl ParamId {
    /// Its place among the parameters.
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// Itself, if it names a parameter.
    pub fn some(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

/// One parameter, as [`Params::iter`] shows it.
pub struct ParamView<'a, D: Device> {
    /// Which.
    pub id: ParamId,
    /// Its name, e.g. `blocks.0.mixer.q.weight`.
    pub name: &'a str,
    /// Its shape, row-major.
    pub shape: &'a [usize],
    /// Its numbers on the device.
    pub value: &'a D::Buffer,
    /// Whether weight decay applies (matrices of linear maps only).
    pub decay: bool,
}

impl<D: Device> fmt::Debug for ParamView<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.shape)
    }
}

/// Parameters by name, each a buffer on the device.
///
/// ```
/// use titans_host::device::cpu::Cpu;
/// use titans_host::tape::Params;
///
/// let cpu = Cpu::<f32>::new(Some(1))?;
/// let mut params = Params::new();
/// let weight = params.add(&cpu, "map.weight", &[2, 3], &[0.5; 6], true)?; // to which weight decay applies
/// assert_eq!((params.count(), params.id("map.weight")), (6, Some(weight)));
/// params.load(&cpu, "map.weight", &[2, 3], &[0.25; 6])?;
/// assert_eq!(params.download(&cpu, weight)?, [0.25; 6]);
/// # Ok::<(), titans_host::Error>(())
/// ```
pub struct Params<D: Device> {
    names: Vec<String>,
    shapes: Vec<Vec<usize>>,
    pub(super) values: Vec<D::Buffer>,
    decay: Vec<bool>,
}

impl<D: Device> Params<D> {
    /// None yet.
    pub fn new() -> Self {
        Self { names: Vec::new(), shapes: Vec::new(), values: Vec::new(), decay: Vec::new() }
    }

    /// Uploads one more parameter.
    ///
    /// # Errors
    /// [`Error::Usage`] when the name is taken or `data` does not fill `shape`; the device's own errors.
    pub fn add(
        &mut self,
        device: &D,
        name: impl Into<String>,
        shape: &[usize],
        data: &[D::Elem],
        decay: bool,
    ) -> Result<ParamId> {
        let name = name.into();
        check_len(&name, shape, data.len())?;
        self.insert(name, shape, decay, || device.upload(data))
    }

    /// One more parameter of unspecified numbers.
    ///
    /// # Errors
    /// As [`Params::add`].
    pub fn add_blank(&mut self, device: &D, name: impl Into<String>, shape: &[usize], decay: bool) -> Result<ParamId> {
        self.insert(name.into(), shape, decay, || device.alloc(shape.iter().product()))
    }

    fn insert(
        &mut self,
        name: String,
        shape: &[usize],
        decay: bool,
        value: impl FnOnce() -> Result<D::Buffer>,
    ) -> Result<ParamId> {
        if self.id(&name).is_some() {
            return Err(Error::usage(format!("parameter {name}: there is one of that name already")));
        }
        self.values.push(value()?);
        self.names.push(name);
        self.shapes.push(shape.to_vec());
        self.decay.push(decay);
        Ok(ParamId(self.values.len() - 1))
    }

    /// How many tensors.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many numbers in all.
    pub fn count(&self) -> usize {
        self.shapes.iter().map(|s| s.iter().product::<usize>()).sum()
    }

    /// The parameter of that name.
    pub fn id(&self, name: &str) -> Option<ParamId> {
        self.names.iter().position(|n| n == name).map(ParamId)
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = ParamView<'_, D>> {
        (0..self.len()).map(|i| ParamView {
            id: ParamId(i),
            name: &self.names[i],
            shape: &self.shapes[i],
            value: &self.values[i],
            decay: self.decay[i],
        })
    }

    /// The numbers of all of them on the device, to change, in their order.
    pub fn values_mut(&mut self) -> &mut [D::Buffer] {
        &mut self.values
    }

    /// The ids of all of them, in their order.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> + use<D> {
        (0..self.len()).map(ParamId)
    }

    /// Whether weight decay applies to it.
    ///
    /// # Errors
    /// As [`Params::value`].
    pub fn decays(&self, id: ParamId) -> Result<bool> {
        self.decay.get(id.0).copied().ok_or_else(|| self.unknown(id))
    }

    /// Its name.
    ///
    /// # Errors
    /// As [`Params::value`].
    pub fn name(&self, id: ParamId) -> Result<&str> {
        self.names.get(id.0).map(String::as_str).ok_or_else(|| self.unknown(id))
    }

    /// Its numbers on the device.
    ///
    /// # Errors
    /// [`Error::Usage`] for an id of other parameters.
    pub fn value(&self, id: ParamId) -> Result<&D::Buffer> {
        self.values.get(id.0).ok_or_else(|| self.unknown(id))
    }

    /// Its numbers on the device, to change.
    ///
    /// # Errors
    /// As [`Params::value`].
    pub fn value_mut(&mut self, id: ParamId) -> Result<&mut D::Buffer> {
        if id.0 >= self.values.len() {
            return Err(self.unknown(id));
        }
        Ok(&mut self.values[id.0])
    }

    /// Its shape.
    ///
    /// # Errors
    /// As [`Params::value`].
    pub fn shape(&self, id: ParamId) -> Result<&[usize]> {
        self.shapes.get(id.0).map(Vec::as_slice).ok_or_else(|| self.unknown(id))
    }

    /// Its numbers on the host.
    ///
    /// # Errors
    /// As [`Params::value`]; the device's own errors.
    pub fn download(&self, device: &D, id: ParamId) -> Result<Vec<D::Elem>> {
        device.download(self.value(id)?)
    }

    /// Its numbers on the host as `f64`, exactly.
    ///
    /// # Errors
    /// As [`Params::download`].
    pub fn download_f64(&self, device: &D, id: ParamId) -> Result<Vec<f64>> {
        Ok(self.download(device, id)?.into_iter().map(Scalar::to_f64).collect())
    }

    /// Overwrites the parameter `name` with `data` of `shape`; nothing changes on error.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is no such parameter, when its shape is another or when a number is not finite;
    /// the device's own errors.
    pub fn load(&mut self, device: &D, name: &str, shape: &[usize], data: &[D::Elem]) -> Result<()> {
        let id = self.id(name).ok_or_else(|| {
            Error::usage(format!("parameter {name}: the model has none of that name; is this another configuration?"))
        })?;
        let expected = &self.shapes[id.0];
        if expected != shape {
            return Err(Error::usage(format!("parameter {name}: expected shape {expected:?}, found {shape:?}")));
        }
        check_len(name, shape, data.len())?;
        if let Some(i) = data.iter().position(|x| !x.finite()) {
            return Err(Error::usage(format!("parameter {name}: element {i} is not finite")));
        }
        device.write(data, &mut self.values[id.0])
    }

    fn unknown(&self, id: ParamId) -> Error {
        Error::usage(format!("parameter number {}: there are {}; the id is of other parameters", id.0, self.len()))
    }
}

impl<D: Device> Default for Params<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Device> fmt::Debug for Params<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn check_len(name: &str, shape: &[usize], found: usize) -> Result<()> {
    let expected = shape.iter().product::<usize>();
    if expected == found {
        return Ok(());
    }
    Err(Error::usage(format!("parameter {name}: shape {shape:?} is {expected} numbers, found {found}")))
}
