//! The memory's gates from their logits: `y[r, i, h] = scale[i] σ(x[r, i, h])`, i = α (forget), θ (inner learning
//! rate), η (momentum decay).
//!
//! x and y are `[rows, 3, heads]`. With scale `[1, θ_max, η_max]` the gates lie in their ranges, ends included.

use crate::arithmetic::Arithmetic;
use crate::arithmetic::blocks::apply;
use crate::error::{Error, Result, expect_len};
use crate::scalar::Scalar;

/// The length is a whole number of `[3, heads]` rows.
fn expect_gates(heads: usize, len: usize) -> Result<()> {
    let row = heads.saturating_mul(3);
    let rest = len.checked_rem(row).unwrap_or(len);
    if rest == 0 { Ok(()) } else { Err(Error::Shape { what: "gates of whole rows", expected: len - rest, found: len }) }
}

/// `y[r, i, h] = scale[i] σ(x[r, i, h])`.
///
/// # Errors
/// [`Error::Shape`] when the lengths differ or are no multiple of `3 · heads`.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, heads: usize, scale: [f64; 3], x: &[T], y: &mut [T]) -> Result<()> {
    expect_gates(heads, x.len())?;
    expect_len("y", x.len(), y.len())?;
    if x.is_empty() {
        return Ok(());
    }
    let scale = scale.map(T::from_f64);
    g.vectorise(
        #[inline(always)]
        || {
            // The costly part runs over the whole slice, as there may be few heads. Where e^−x is infinite σ is 0, its
            // limit: no case of its own.
            apply(
                [x],
                [&mut *y],
                #[inline(always)]
                |x| (-x).exp(),
                #[inline(always)]
                |e, [_], [_]| [T::ONE / (T::ONE + e)],
            );
            let scales = scale.iter().cycle();
            for (y, &scale) in y.chunks_exact_mut(heads.max(1)).zip(scales).filter(|(_, scale)| **scale != T::ONE) {
                for y in y {
                    *y *= scale;
                }
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`] from its output, overwritten: `d_x = d_y y (1 − y / scale[i])`, 0 where the scale is 0.
///
/// With s the scale, y = s σ(x), and σ′ = σ (1 − σ): dy = s σ (1 − σ) dx = y (1 − y / s) dx, so x̄ = ȳ y (1 − y / s); x
/// is not needed.
///
/// # Errors
/// [`Error::Shape`] when the lengths differ or are no multiple of `3 · heads`.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    heads: usize,
    scale: [f64; 3],
    y: &[T],
    d_y: &[T],
    d_x: &mut [T],
) -> Result<()> {
    expect_gates(heads, y.len())?;
    expect_len("d_y", y.len(), d_y.len())?;
    expect_len("d_x", y.len(), d_x.len())?;
    if y.is_empty() {
        return Ok(());
    }
    // y is 0 where the scale is, so any divisor but 0 gives the gradient 0 there.
    let scale = scale.map(|s| T::from_f64(if s == 0.0 { 1.0 } else { s }));
    g.vectorise(
        #[inline(always)]
        || {
            let groups = d_x.chunks_exact_mut(heads).zip(y.chunks_exact(heads)).zip(d_y.chunks_exact(heads));
            for (((d_x, y), d_y), &scale) in groups.zip(scale.iter().cycle()) {
                for ((d_x, &y), &d_y) in d_x.iter_mut().zip(y).zip(d_y) {
                    *d_x = d_y * y * (T::ONE - y / scale); // x̄ = ȳ y (1 − y / s)
                }
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{forward, vjp};
    use crate::arithmetic::Portable;
    use crate::ops::check::{SINGLE, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use std::vec::Vec;

    const SCALE: [f64; 3] = [1.0, 0.1, 0.75];
    const HEADS: [usize; 6] = [1, 2, 3, 5, 16, 17];

    fn run<T: Scalar>(heads: usize, scale: [f64; 3], x: &[T]) -> Vec<T> {
        let mut y = poison(x.len());
        forward(&Portable, heads, scale, x, &mut y).unwrap();
        y
    }

    fn run_vjp<T: Scalar>(heads: usize, scale: [f64; 3], y: &[T], cot: &[T]) -> Vec<T> {
        let mut d_x = poison(y.len());
        vjp(&Portable, heads, scale, y, cot, &mut d_x).unwrap();
        d_x
    }

    #[test]
    fn forward_and_vjp_in_both_precisions() {
        for heads in HEADS {
            let n = 5 * 3 * heads;
            let (x, cot) = (values::<f64>(n, 1), values::<f64>(n, 2));
            let want: Vec<f64> = x.iter().enumerate().map(|(i, x)| SCALE[i / heads % 3] / (1.0 + (-x).exp())).collect();
            let y = run(heads, SCALE, &x);
            assert_close("y", &y, &want, 1e-15);
            let single = run(heads, SCALE, &values::<f32>(n, 1));
            assert_close("f32 y", &widen(&single), &want, SINGLE);
            let d_x = run_vjp(heads, SCALE, &y, &cot);
            assert_gradient("d_x", &x, &d_x, |x| inner(&run(heads, SCALE, x), &cot));
            let single = run_vjp(heads, SCALE, &single, &values::<f32>(n, 2));
            assert_close("f32 d_x", &widen(&single), &d_x, SINGLE);
        }
    }

    #[test]
    fn the_ends_of_the_ranges_are_reached_and_not_passed() {
        let (low, high) = ([-1e4f32; 6], [1e4f32; 6]);
        let y = run(2, SCALE, &high);
        assert_eq!(y, [1.0, 1.0, 0.1, 0.1, 0.75, 0.75]);
        assert_eq!(run(2, SCALE, &low), [0.0; 6]);
        assert_eq!(run_vjp(2, SCALE, &y, &[1.0; 6]), [0.0; 6]);
        assert_eq!(run_vjp(2, [0.0; 3], &run(2, [0.0; 3], &[1.0f32; 6]), &[1.0; 6]), [0.0; 6], "scale 0");
        assert!(run(2, SCALE, &[f32::NAN; 6]).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn lengths_are_checked() {
        let (x, mut y) = ([1.0f32; 12], [7.0f32; 12]);
        assert!(forward(&Portable, 2, SCALE, &x[..11], &mut y[..11]).is_err());
        assert!(forward(&Portable, 2, SCALE, &x, &mut y[..6]).is_err());
        assert!(forward(&Portable, 0, SCALE, &x, &mut y).is_err());
        assert!(forward(&Portable, usize::MAX, SCALE, &x, &mut y).is_err());
        assert!(vjp(&Portable, 2, SCALE, &x, &x[..6], &mut y).is_err());
        assert!(vjp(&Portable, 2, SCALE, &x[..6], &x[..6], &mut y).is_err());
        assert_eq!(y, [7.0; 12]);
        forward::<f32, _>(&Portable, 0, SCALE, &[], &mut []).unwrap();
    }
}
