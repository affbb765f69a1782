//! The matrices of a memory's state `[W¹ | … | Wᴸ | γ]`, then the same of the momentum.

use crate::error::{Error, Result};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};
use titans_kernel::memory::MemorySpec;

/// The weights W^l `[d_{l−1}, d_l]` of every layer in the state `[2 P]` of one memory.
///
/// ```
/// use ndarray::{ArrayView1, arr2};
/// use titans_host::array::weights;
/// use titans_kernel::memory::{Gates, Memory};
///
/// # fn main() -> titans_host::Result<()> {
/// let mut memory = Memory::linear(2, 2).build()?;
/// memory.write(&[1.0, 0.0], &[3.0, 4.0], Gates { alpha: 0.0, theta: 1.0, eta: 0.0 })?;
/// let mut state = vec![0.0; memory.spec().state_len()];
/// memory.state(&mut state)?;
/// assert_eq!(weights(memory.spec(), ArrayView1::from(&state))?, [arr2(&[[3.0, 4.0], [0.0, 0.0]])]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Usage`] for a state of another length, or one whose elements do not lie side by side; [`Error::Kernel`] for
/// a configuration that is not valid.
pub fn weights<'a, T>(spec: &MemorySpec, state: ArrayView1<'a, T>) -> Result<Vec<ArrayView2<'a, T>>> {
    layers(spec, &state, 0)
}

/// The momentum S^l `[d_{l−1}, d_l]` of every layer, as [`weights`].
///
/// ```
/// use ndarray::Array1;
/// use titans_host::array::momentum;
/// use titans_kernel::memory::MemorySpec;
///
/// # fn main() -> titans_host::Result<()> {
/// let spec = MemorySpec::new(&[2, 3, 1])?;
/// let state: Array1<f32> = (0..spec.state_len()).map(|i| i as f32).collect();
/// let s = momentum(&spec, state.view())?;
/// assert_eq!((s[0].dim(), s[1].dim()), ((2, 3), (3, 1)));
/// assert_eq!(s[0][[0, 0]], spec.params() as f32); // behind the weights
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`weights`].
pub fn momentum<'a, T>(spec: &MemorySpec, state: ArrayView1<'a, T>) -> Result<Vec<ArrayView2<'a, T>>> {
    layers(spec, &state, spec.params())
}

/// The weights of every layer, to write: a state to start from.
///
/// ```
/// use ndarray::{Array1, Array2};
/// use titans_host::array::{weights, weights_mut};
/// use titans_kernel::memory::MemorySpec;
///
/// # fn main() -> titans_host::Result<()> {
/// let spec = MemorySpec::new(&[4, 4])?;
/// let mut state = Array1::<f64>::zeros(spec.state_len());
/// weights_mut(&spec, state.view_mut())?[0].assign(&Array2::eye(4));
/// assert_eq!(weights(&spec, state.view())?, [Array2::<f64>::eye(4)]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`weights`].
pub fn weights_mut<'a, T>(spec: &MemorySpec, state: ArrayViewMut1<'a, T>) -> Result<Vec<ArrayViewMut2<'a, T>>> {
    spec.validate()?;
    let (found, stride) = (state.len(), state.strides()[0]);
    let mut rest =
        state.into_slice().filter(|s| s.len() == spec.state_len()).ok_or_else(|| refused(spec, found, stride))?;
    let mut layers = Vec::with_capacity(spec.layers());
    for l in 0..spec.layers() {
        let (i, o) = spec.layer(l);
        let (layer, others) = rest.split_at_mut(i * o);
        layers.push(ArrayViewMut2::from_shape((i, o), layer).map_err(|_| refused(spec, found, stride))?);
        rest = others;
    }
    Ok(layers)
}

fn layers<'a, T>(spec: &MemorySpec, state: &ArrayView1<'a, T>, offset: usize) -> Result<Vec<ArrayView2<'a, T>>> {
    spec.validate()?;
    let refused = || refused(spec, state.len(), state.strides()[0]);
    let numbers = state.to_slice().filter(|s| s.len() == spec.state_len()).ok_or_else(refused)?;
    let layer = |l| {
        let (i, o) = spec.layer(l);
        let layer = &numbers[offset + spec.layer_offset(l)..][..i * o];
        ArrayView2::from_shape((i, o), layer).map_err(|_| refused())
    };
    (0..spec.layers()).map(layer).collect()
}

fn refused(spec: &MemorySpec, found: usize, stride: isize) -> Error {
    let (p, expected) = (spec.params(), spec.state_len());
    Error::usage(format!(
        "a memory's state: expected its {expected} numbers (2 P, P = {p}) side by side, found {found} with stride {stride}; of a batch \
         [B, H, 2 P] take one memory, slice(s![b, h, ..])"
    ))
}
