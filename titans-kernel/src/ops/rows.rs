//! What operations over rows share: their checks and their reductions.
//!
//! A reduction keeps 16 partial sums, element i going to sum i mod 16, and adds them up in one fixed tree. So it
//! vectorises, and a row has the same bits however many rows, threads or lanes there are.

use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::Mat;

/// Partial sums of a reduction.
pub(crate) const LANES: usize = 16;

/// `Ok` when `x` is `rows × cols` with neighbouring columns side by side, as an operation over rows needs it.
pub(crate) fn expect_rows<T: Copy>(
    what: &'static str,
    stride: &'static str,
    x: Mat<'_, T>,
    rows: usize,
    cols: usize,
) -> Result<()> {
    expect_shape(what, x, rows, cols)?;
    if x.col_stride() == 1 || cols <= 1 {
        Ok(())
    } else {
        Err(Error::Shape { what: stride, expected: 1, found: x.col_stride() })
    }
}

/// `Ok` when `x` is `rows × cols`, with any strides. The rows are compared first.
pub(crate) fn expect_shape<T: Copy>(what: &'static str, x: Mat<'_, T>, rows: usize, cols: usize) -> Result<()> {
    let (expected, found) = if x.rows() == rows { (cols, x.cols()) } else { (rows, x.rows()) };
    crate::error::expect_len(what, expected, found)
}

/// Adds or compares partial results in a fixed tree.
#[inline(always)]
fn combine<T: Copy>(mut acc: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            acc[l] = f(acc[l], acc[l + half]);
        }
        half /= 2;
    }
    acc[0]
}

/// The sum of partial sums.
#[inline(always)]
pub(crate) fn tree<T: Scalar>(sums: [T; LANES]) -> T {
    combine(
        sums,
        #[inline(always)]
        |a, b| a + b,
    )
}

/// Σ f(x_i).
#[inline(always)]
pub(crate) fn sum_by<T: Scalar>(x: &[T], f: impl Fn(T) -> T) -> T {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let mut acc = [T::ZERO; LANES];
    for block in blocks {
        for l in 0..LANES {
            acc[l] += f(block[l]);
        }
    }
    // The rest goes through its own array: an index known only at run time would push `acc` out of the registers, and
    // so would an array of which nothing is known where there is no rest.
    if !rest.is_empty() {
        let mut last = [T::ZERO; LANES];
        for (l, &x) in last.iter_mut().zip(rest) {
            *l = f(x);
        }
        for l in 0..LANES {
            acc[l] += last[l];
        }
    }
    tree(acc)
}

/// Σ x_i².
#[inline(always)]
pub(crate) fn squares<T: Scalar>(x: &[T]) -> T {
    dot(x, x)
}

/// Σ x_i y_i, over the shorter of the two lengths.
#[inline(always)]
pub(crate) fn dot<T: Scalar>(x: &[T], y: &[T]) -> T {
    sum_pairs(
        x,
        y,
        #[inline(always)]
        |x, y| x * y,
    )
}

/// Σ f(x_i, y_i), over the shorter of the two lengths.
#[inline(always)]
pub(crate) fn sum_pairs<T: Scalar>(x: &[T], y: &[T], f: impl Fn(T, T) -> T) -> T {
    let n = x.len().min(y.len());
    let (x_blocks, x_rest) = x.part(..n).as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.part(..n).as_chunks::<LANES>();
    let mut acc = [T::ZERO; LANES];
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for l in 0..LANES {
            acc[l] += f(x[l], y[l]);
        }
    }
    if !x_rest.is_empty() {
        let mut last = [T::ZERO; LANES];
        for ((l, &x), &y) in last.iter_mut().zip(x_rest).zip(y_rest) {
            *l = f(x, y);
        }
        for l in 0..LANES {
            acc[l] += last[l];
        }
    }
    tree(acc)
}

/// How many rows there are before the first one with a number that is not finite.
pub(crate) fn finite_rows<T: Scalar, G: Arithmetic<T>>(g: &G, x: Mat<'_, T>) -> usize {
    g.vectorise(
        #[inline(always)]
        || {
            // 0 for what is finite, NaN for everything else.
            let wrong = |x: T| x * T::ZERO;
            (0..x.rows()).take_while(|&r| sum_by(x.row(r), wrong) == T::ZERO).count()
        },
    )
}

/// The largest element; NaNs are passed over, and −∞ if there is none.
#[inline(always)]
pub(crate) fn max<T: Scalar>(x: &[T]) -> T {
    let lowest = T::from_f64(f64::NEG_INFINITY);
    let (blocks, rest) = x.as_chunks::<LANES>();
    let mut acc = [lowest; LANES];
    for block in blocks {
        for l in 0..LANES {
            acc[l] = acc[l].maximum(block[l]);
        }
    }
    if !rest.is_empty() {
        let mut last = [lowest; LANES];
        last.part_mut(..rest.len()).become_copy(rest);
        for l in 0..LANES {
            acc[l] = acc[l].maximum(last[l]);
        }
    }
    combine(
        acc,
        #[inline(always)]
        |a, b| a.maximum(b),
    )
}

#[cfg(test)]
mod tests {
    use super::{LANES, dot, expect_rows, max, sum_by};
    use crate::error::Error;
    use crate::ops::check::{WIDTHS, assert_close, values};
    use crate::view::Mat;

    #[test]
    fn reductions_equal_the_plain_loop_at_every_rest() {
        for n in WIDTHS.into_iter().chain([0, 127, 128, 129]) {
            let (x, y) = (values::<f64>(n, 1), values::<f64>(n, 2));
            let want = [x.iter().map(|x| x * x + 1.0).sum(), x.iter().zip(&y).map(|(x, y)| x * y).sum()];
            assert_close("sums", &[sum_by(&x, |x| x * x + 1.0), dot(&x, &y)], &want, 1e-14);
            assert_eq!(max(&x), x.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }

    #[test]
    fn the_order_of_a_sum_is_16_partial_sums_and_a_tree() {
        let x = values::<f32>(37, 3).iter().map(|x| x * 0.1).collect::<std::vec::Vec<_>>();
        let mut sums = [0.0f32; LANES];
        for (i, x) in x.iter().enumerate() {
            sums[i % LANES] += x * x;
        }
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                sums[l] += sums[l + half];
            }
        }
        assert_eq!(dot(&x, &x), sums[0]);
        assert_eq!(sum_by(&x, |x| x * x), sums[0]);
    }

    #[test]
    fn max_passes_over_nan() {
        assert_eq!(max(&[f32::NAN, -3.0, f32::NAN]), -3.0);
        assert_eq!(max::<f32>(&[]), f32::NEG_INFINITY);
    }

    #[test]
    fn transposes_and_wrong_sizes_are_named() {
        let x = Mat::new(&[0.0; 6], 2, 3).unwrap();
        assert_eq!(expect_rows("x", "stride", x, 2, 3), Ok(()));
        assert_eq!(expect_rows("x", "stride", x, 5, 3), Err(Error::Shape { what: "x", expected: 5, found: 2 }));
        assert_eq!(expect_rows("x", "stride", x, 2, 5), Err(Error::Shape { what: "x", expected: 5, found: 3 }));
        assert_eq!(
            expect_rows("x", "stride", x.t(), 3, 2),
            Err(Error::Shape { what: "stride", expected: 1, found: 3 })
        );
    }
}
