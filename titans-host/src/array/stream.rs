//! A stream through a model, fed and answered in arrays.

use super::{elements, owned};
use crate::error::Result;
use crate::model::{Session, Step};
use ndarray::{Array2, ArrayView1, ArrayView2, Ix2};
use titans_kernel::arch::SimdScalar;

/// Reads token ids `[n]`; returns what the model says after each, `[n, outputs]`: logits of the next token, or of
/// classes.
///
/// ```
/// use ndarray::{Axis, arr1, s};
/// use titans_host::array::push;
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Mode, Model, ModelConfig, Session};
///
/// # fn main() -> titans_host::Result<()> {
/// let device = Cpu::<f32>::new(None)?;
/// let config = ModelConfig { width: 16, heads: 1, head_width: 16, feed_forward: 16, ..ModelConfig::default() };
/// let model = Model::new(&device, config, 1)?;
/// let mut session = Session::new(&device, &model, Mode::On)?;
/// let ids = arr1(&[72, 101, 108, 108, 111]);
/// let logits = push(&mut session, ids.view())?;
/// assert_eq!(logits.dim(), (5, 256));
/// // How it is cut changes no bit.
/// session.reset()?;
/// push(&mut session, ids.slice(s![..2]))?;
/// assert_eq!(push(&mut session, ids.slice(s![2..]))?.row(2), logits.index_axis(Axis(0), 4));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Session::push`].
pub fn push<T: SimdScalar>(session: &mut Session<T>, ids: ArrayView1<'_, u32>) -> Result<Array2<T>> {
    let steps = session.push(&elements("ids", &ids)?)?;
    outputs(session, steps)
}

/// Reads rows of numbers `[n, inputs]`; returns what the model says after each, `[n, outputs]`.
///
/// ```
/// use ndarray::Array2;
/// use titans_host::array::push_rows;
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Head, Mode, Model, ModelConfig, Session};
///
/// # fn main() -> titans_host::Result<()> {
/// let device = Cpu::<f32>::new(None)?;
/// let numbers = ModelConfig { inputs: 3, outputs: 3, head: Head::Regression, tied: false, ..ModelConfig::default() };
/// let config = ModelConfig { width: 16, heads: 1, head_width: 16, feed_forward: 16, ..numbers };
/// let model = Model::new(&device, config, 1)?;
/// let mut session = Session::new(&device, &model, Mode::On)?;
/// let predicted = push_rows(&mut session, Array2::ones((4, 3)).view())?;
/// assert_eq!(predicted.dim(), (4, 3));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Session::push_rows`]; [`Error::Kernel`](crate::Error::Kernel) for rows of another width. Nothing changes.
pub fn push_rows<T: SimdScalar>(session: &mut Session<T>, rows: ArrayView2<'_, T>) -> Result<Array2<T>> {
    let width = session.weights().model()?.spec().input.size();
    if !rows.is_empty() {
        titans_kernel::error::expect_len("numbers of a row", width, rows.ncols())?;
    }
    let steps = session.push_rows(&elements("rows", &rows)?)?;
    outputs(session, steps)
}

fn outputs<T: SimdScalar>(session: &Session<T>, steps: Vec<Step<T>>) -> Result<Array2<T>> {
    let outputs = session.weights().model()?.spec().outputs;
    let axes = Ix2(steps.len(), outputs);
    owned(axes, steps.into_iter().flat_map(|step| step.logits).collect())
}
