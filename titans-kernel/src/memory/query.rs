//! Answers of weights that are given: nothing is written, and no stream is needed.

use super::coefficients::Coefficients;
use super::forward::check_outputs;
use super::layout::{Layout, Reading, Seen};
use super::read::{Rows, answers};
use super::spec::MemorySpec;
use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// Queries that are answered together.
const TOGETHER: usize = 16;

/// Elements of scratch that [`query`] needs for n queries; `usize::MAX` for an invalid configuration.
pub fn query_scratch_len(spec: &MemorySpec, n: usize) -> usize {
    spec.size(|| {
        let lay = Layout::new(spec, n.min(TOGETHER));
        Reading::<f64>::len(lay).saturating_add(Coefficients::<f64>::len(0, 0))
    })
}

/// `y = M(q)`: queries `[n, d_0]` by a memory of these weights ([`MemorySpec::params`] numbers), to y `[n, d_L]`. A row has the
/// same bits however many others it comes with. `scratch`: [`query_scratch_len`] elements.
///
/// # Errors
/// [`Error::Config`], [`Error::Shape`] or [`Error::Buffer`], before anything is written.
pub fn query<T: Scalar, G: Gemm<T>>(
    g: &G,
    spec: &MemorySpec,
    weights: &[T],
    q: Mat<'_, T>,
    mut y: MatMut<'_, T>,
    scratch: &mut [T],
) -> Result<()> {
    spec.validate()?;
    expect_len("weights", spec.params(), weights.len())?;
    expect_len("q columns", spec.key_width(), q.cols())?;
    expect_len("q column stride", 1, q.col_stride())?;
    check_outputs(spec, q.rows(), &y, None)?;
    let (needed, given) = (query_scratch_len(spec, q.rows()), scratch.len());
    if given < needed {
        return Err(Error::Buffer { what: "scratch", needed, given });
    }
    let lay = Layout::new(spec, q.rows().min(TOGETHER));
    let mut scratch = Scratch::new(scratch);
    let mut reading = Reading::take(&mut scratch, lay)?;
    let coefficients = Coefficients::take(&mut scratch, 0, 0)?;
    let nothing = Seen { keys: None, h: &[], delta: &[], g_gamma: &[], rate: &[] };
    let mut from = 0;
    while from < q.rows() {
        let n = lay.rows.min(q.rows() - from);
        let (q, y) = (q.sub(from, n), y.rb().sub(from, n));
        answers(g, lay, Rows::Start, weights, nothing, &coefficients, q, 0, &mut reading, y)?;
        from += n;
    }
    Ok(())
}
