//! Answers of weights that are given: nothing is written, and no stream is needed.

use core::slice::from_ref;

use super::coefficients::Coefficients;
use super::forward::check_outputs;
use super::frame::Frame;
use super::layout::Layout;
use super::open::{OpenView, Past};
use super::read::{Asked, Rows, answers};
use super::source::StateSource;
use super::spec::MemorySpec;
use super::work::Reading;
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};
use crate::view::{Mat, MatMut};

/// Queries that are answered together.
const TOGETHER: usize = 16;

/// Elements of scratch that [`query`] needs for n queries; `usize::MAX` for an invalid configuration.
pub fn query_scratch_len(spec: &MemorySpec, n: usize) -> usize {
    spec.size(|| counted(|room| take::<f64, _>(room, Layout::new(spec, n.min(TOGETHER)))))
}

/// What the layers leave, and coefficients of no token.
fn take<'a, T: Scalar, R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<(Reading<'a, T>, Coefficients<'a, T>)> {
    Ok((Reading::take(room, lay)?, Coefficients::take(room, 0, 0)?))
}

/// `y = M(q)`: queries `[n, d_0]` by a memory of these weights ([`MemorySpec::params`] numbers), to y `[n, d_L]`. A row
/// has the same bits however many others it comes with. `scratch`: [`query_scratch_len`] elements.
///
/// # Errors
/// [`Error::Config`], [`Error::Shape`] or [`Error::Buffer`], before anything is written.
pub fn query<T: Scalar, G: Arithmetic<T>>(
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
    let on = Frame::new(g, Layout::new(spec, q.rows().min(TOGETHER)));
    let (mut reading, coefficients) = take(&mut Scratch::new(scratch), on.lay)?;
    let past = Past::new(OpenView::NOTHING, from_ref(&coefficients));
    let mut from = 0;
    while from < q.rows() {
        let n = on.lay.rows.min(q.rows() - from);
        let asked = Asked::new(Rows::Start, q.sub(from, n), 0);
        answers(on, asked, StateSource::Stays(weights), past, &mut reading, y.rb().sub(from, n))?;
        from += n;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{query, query_scratch_len};
    use crate::arithmetic::Portable;
    use crate::error::Error;
    use crate::memory::{MemorySpec, Network, Read, Stream};
    use crate::ops::check::{assert_close, poison, values};
    use crate::view::{Mat, MatMut};
    use std::vec::Vec;

    fn ask(spec: &MemorySpec, weights: &[f64], q: &[f64], n: usize) -> Vec<f64> {
        let (mut y, mut scratch) = (poison(n * spec.value_width()), poison(query_scratch_len(spec, n)));
        let out = MatMut::new(&mut y, n, spec.value_width()).unwrap();
        query(&Portable, spec, weights, Mat::new(q, n, spec.key_width()).unwrap(), out, &mut scratch).unwrap();
        y
    }

    #[test]
    fn answers_are_those_of_a_fresh_stream_and_a_row_alone_has_the_same_bits() {
        for (widths, network) in [
            (&[5, 3][..], Network::Plain),
            (&[7, 7], Network::Residual),
            (&[6, 9, 6], Network::Residual),
            (&[4, 2, 8, 3, 5], Network::Plain),
        ] {
            let mut spec = MemorySpec::new(widths).unwrap();
            (spec.network, spec.chunk, spec.compute_chunk) = (network, 16, 0);
            let (d, o, n) = (spec.key_width(), spec.value_width(), 37);
            let (weights, q) = (values::<f64>(spec.params(), 1), values::<f64>(n * d, 2));
            let y = ask(&spec, &weights, &q, n);
            for r in 0..n {
                assert_eq!(ask(&spec, &weights, &q[r * d..][..d], 1), y[r * o..][..o], "row {r} of {widths:?}");
            }
            assert_eq!(ask(&spec, &weights, &q[20 * d..], 17), y[20 * o..]);
            let (mut block, mut want) = (poison(Stream::<f64>::len(&spec)), poison(n * o));
            let stream = Stream::new(&spec, Read::After, &weights, &mut block).unwrap();
            let mut scratch = poison(Stream::<f64>::scratch_len(&spec));
            let out = MatMut::new(&mut want, n, o).unwrap();
            stream.read(&Portable, Mat::new(&q, n, d).unwrap(), out, &mut scratch).unwrap();
            assert_close("y", &y, &want, 1e-13);
        }
    }

    #[test]
    fn mistakes_are_errors_and_change_nothing() {
        let spec = MemorySpec { chunk: 16, compute_chunk: 0, ..MemorySpec::new(&[4, 3]).unwrap() };
        let (x, mut y) = ([1.0f32; 64], [7.0f32; 12]);
        let mut scratch = [0.0; 4096];
        let needed = query_scratch_len(&spec, 3);
        let mut call = |weights: usize, cols: usize, rows: usize, scratch: &mut [f32]| {
            let (q, y) = (Mat::new(&x, 3, cols).unwrap(), MatMut::new(&mut y, rows, 3).unwrap());
            query(&Portable, &spec, &x[..weights], q, y, scratch)
        };
        assert!(call(11, 4, 3, &mut scratch).is_err());
        assert!(call(12, 5, 3, &mut scratch).is_err());
        assert!(call(12, 4, 2, &mut scratch).is_err());
        let short = call(12, 4, 3, &mut scratch[..needed - 1]);
        assert_eq!(short, Err(Error::Buffer { what: "scratch", needed, given: needed - 1 }));
        assert_eq!(y, [7.0; 12]);
    }
}
