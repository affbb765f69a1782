//! Rotary positions: pairs (x_i, x_{i + c/2}) of every head turn by the angle p · base^(−2i/c), p the row's position.
//!
//! `y_i = x_i cos − x_{i+c/2} sin`, `y_{i+c/2} = x_i sin + x_{i+c/2} cos`. Angles are `f64` and come from the position
//! alone, so rows have the same bits however they are cut into calls.

use self::angles::{LARGEST, cos_sin, exp2};
use super::rows::{expect_rows, expect_shape};
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

mod angles;

/// Which rotation rows get.
///
/// ```
/// use titans_kernel::ops::rotary::{Rotary, forward};
/// use titans_kernel::{Mat, MatMut, Portable};
///
/// let rotary = Rotary { width: 2, base: 10000.0, period: 0, shift: 0 };
/// let (x, mut y) = ([1.0, 0.0, 1.0, 0.0], [f64::NAN; 4]); // rows 0 and 1, a pair each
/// forward(&Portable, &rotary, 0, Mat::new(&x, 2, 2)?, MatMut::new(&mut y, 2, 2)?)?;
/// assert_eq!(y[..2], [1.0, 0.0]); // position 0 turns nothing
/// assert!((y[2] - 1f64.cos()).abs() < 1e-12 && (y[3] - 1f64.sin()).abs() < 1e-12);
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// Width c of a head, even.
    pub width: usize,
    /// Base of the frequencies, from 1 to 1e300; 10000 is usual.
    pub base: f64,
    /// The row with number p has position `p mod period + shift`; with period 0 it is `p + shift`.
    pub period: usize,
    /// See `period`.
    pub shift: i64,
}

/// Pairs whose frequencies lie on the stack.
const PAIRS: usize = 64;

impl Rotary {
    /// Position of the row with number p.
    fn position(&self, p: u64) -> f64 {
        let p = if self.period == 0 { p } else { p % self.period as u64 };
        p as f64 + self.shift as f64
    }
}

/// `y[r] = x[r]` rotated by the position of row `first + r`; x and y `[n, heads · c]`.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree, a row is no whole number of heads, or x's columns are not neighbours;
/// [`Error::Config`] when the width is odd or 0, or the base out of its range.
pub fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    rotary: &Rotary,
    first: u64,
    x: Mat<'_, T>,
    y: MatMut<'_, T>,
) -> Result<()> {
    rotate(g, rotary, T::ONE, first, "x column stride", x, y)
}

/// Backward of [`forward`]: `d_x`, overwritten, is `d_y` rotated back.
///
/// A pair is y = R x, so ⟨d_y, R dx⟩ = ⟨Rᵀ d_y, dx⟩; a rotation's transpose is the rotation by the negative angle:
/// `d_x_i = d_y_i cos + d_y_{i+c/2} sin`, `d_x_{i+c/2} = −d_y_i sin + d_y_{i+c/2} cos`.
///
/// # Errors
/// As [`forward`].
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    rotary: &Rotary,
    first: u64,
    d_y: Mat<'_, T>,
    d_x: MatMut<'_, T>,
) -> Result<()> {
    rotate(g, rotary, -T::ONE, first, "d_y column stride", d_y, d_x)
}

/// Both: `turn` is 1 or −1.
fn rotate<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    rotary: &Rotary,
    turn: T,
    first: u64,
    stride: &'static str,
    x: Mat<'_, T>,
    mut y: MatMut<'_, T>,
) -> Result<()> {
    let c = rotary.width;
    if c == 0 || c % 2 == 1 {
        return Err(Error::Config { what: "rotary width: an even number of at least 2", found: c });
    }
    if !(1.0..=1e300).contains(&rotary.base) {
        return Err(Error::Config { what: "rotary base: a number from 1 to 1e300", found: rotary.base as usize });
    }
    let heads = x.cols() / c;
    expect_rows("rotary columns, heads times their width", stride, x, x.rows(), heads * c)?;
    expect_shape("rotated rows", y.as_ref(), x.rows(), x.cols())?;
    if heads == 0 {
        return Ok(());
    }
    let half = c / 2;
    let step = -libm::log2(rotary.base) / half as f64;
    for i in (0..half).step_by(PAIRS) {
        let n = PAIRS.min(half - i);
        g.vectorise(
            #[inline(always)]
            || {
                let mut omega = [0.0; PAIRS];
                for (l, omega) in omega.iter_mut().enumerate() {
                    *omega = exp2((i + l).min(half) as f64 * step);
                }
                for r in 0..x.rows() {
                    let p = rotary.position(first.wrapping_add(r as u64));
                    let (cos, mut sin) = turns(p, &omega, n);
                    for s in &mut sin {
                        *s *= turn;
                    }
                    for (x, y) in x.row(r).chunks_exact(c.max(1)).zip(y.row_mut(r).chunks_exact_mut(c.max(1))) {
                        let (x0, x1) = (x.part(i..i + n), x.part(half + i..half + i + n));
                        let (y0, y1) = y.halves_mut(half);
                        pairs([x0, x1], [y0.part_mut(i..i + n), y1.part_mut(i..i + n)], &cos, &sin);
                    }
                }
            },
        );
    }
    Ok(())
}

/// The pairs of one head.
#[inline(always)]
fn pairs<T: Scalar>(x: [&[T]; 2], y: [&mut [T]; 2], cos: &[T; PAIRS], sin: &[T; PAIRS]) {
    let [y0, y1] = y;
    let inputs = x[0].iter().zip(x[1]).zip(cos.iter().zip(sin));
    for ((y0, y1), ((&x0, &x1), (&cos, &sin))) in y0.iter_mut().zip(y1.iter_mut()).zip(inputs) {
        *y0 = x0 * cos - x1 * sin;
        *y1 = x0 * sin + x1 * cos;
    }
}

/// Cosines and sines of the first n angles of position p, in whole eights.
#[inline(always)]
fn turns<T: Scalar>(p: f64, omega: &[f64; PAIRS], n: usize) -> ([T; PAIRS], [T; PAIRS]) {
    let (mut cos, mut sin) = ([T::ZERO; PAIRS], [T::ZERO; PAIRS]);
    let eights = n.div_ceil(8);
    let blocks = cos.as_chunks_mut::<8>().0.iter_mut().zip(sin.as_chunks_mut::<8>().0).zip(omega.as_chunks::<8>().0);
    for ((cos, sin), omega) in blocks.take(eights) {
        if p.abs() <= LARGEST {
            for l in 0..8 {
                let (c, s) = cos_sin(p * omega[l]);
                (cos[l], sin[l]) = (T::from_f64(c), T::from_f64(s));
            }
        } else {
            for l in 0..8 {
                let (s, c) = libm::sincos(p * omega[l]);
                (cos[l], sin[l]) = (T::from_f64(c), T::from_f64(s));
            }
        }
    }
    (cos, sin)
}

#[cfg(test)]
mod tests;
