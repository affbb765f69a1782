//! Inverted dropout: `y = scale x` where a mask keeps, 0 where it drops.
//!
//! The mask is computed where it is used and never stored: whether element i stays follows from the mask's key and i
//! alone, by integer arithmetic that is the same on every machine.

use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::scalar::Scalar;

/// Which elements of an array are dropped, and what the others are multiplied by.
///
/// ```
/// use titans_kernel::Portable;
/// use titans_kernel::ops::dropout::{DropMask, forward};
///
/// let (mask, mut y) = (DropMask::new(0.25, 7)?, [f32::NAN; 1000]);
/// forward(&Portable, &mask, 0, &[3.0; 1000], &mut y)?;
/// let kept = y.iter().filter(|y| **y == 4.0).count(); // 3 / (1 − 0.25)
/// assert!(kept > 700 && kept < 800 && y.iter().all(|y| *y == 4.0 || *y == 0.0));
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropMask {
    key: [u32; 2],
    /// An element is dropped whose hash is below.
    threshold: u32,
    scale: f64,
}

/// 2³², the number of hashes.
const HASHES: f64 = 4_294_967_296.0;

impl DropMask {
    /// The mask of `key` that drops a `share` P of all elements, 0 ≤ P < 1, rounded down to a multiple of 2⁻³². Those
    /// that stay are divided by 1 − P as rounded, so that the mean over all keys is the input.
    ///
    /// # Errors
    /// [`Error::Range`] for another share.
    pub fn new(share: f64, key: u64) -> Result<Self> {
        if !(0.0..1.0).contains(&share) {
            return Err(Error::Range { what: "share of dropped numbers", index: 0 });
        }
        let threshold = (share * HASHES) as u32;
        let scale = HASHES / (HASHES - f64::from(threshold));
        Ok(Self { key: [key as u32, (key >> 32) as u32], threshold, scale })
    }

    /// The two words of the key, the lower one first.
    pub const fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Hashes below it are dropped.
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// What an element that stays is multiplied by: 1 / (1 − P).
    pub const fn scale(&self) -> f64 {
        self.scale
    }

    /// Whether element `index` stays; indices count modulo 2³².
    #[inline(always)]
    pub const fn keeps(&self, index: u32) -> bool {
        mix(mix(index ^ self.key[0]) ^ self.key[1]) >= self.threshold
    }
}

/// A bijection of 32 bits of which every bit depends on every bit (the constants are Wellons's `lowbias32`).
#[inline(always)]
const fn mix(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// `y = x / (1 − P)` where `mask` keeps, else 0, for elements `first`, `first + 1`, … of an array. A linear map that is
/// its own transpose: the backward is the same function of the cotangent.
///
/// # Errors
/// [`Error::Shape`] when the lengths differ.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, mask: &DropMask, first: usize, x: &[T], y: &mut [T]) -> Result<()> {
    expect_len("y", x.len(), y.len())?;
    let (scale, first) = (T::from_f64(mask.scale), first as u32);
    g.vectorise(
        #[inline(always)]
        || {
            for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                // Not a product with 0, which would keep a NaN.
                *y = if mask.keeps(first.wrapping_add(i as u32)) { x * scale } else { T::ZERO };
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{DropMask, forward};
    use crate::arithmetic::Portable;
    use crate::ops::check::{WIDTHS, assert_gradient, inner, poison, values};
    use crate::scalar::Scalar;
    use std::vec;
    use std::vec::Vec;

    fn run<T: Scalar>(mask: &DropMask, x: &[T]) -> Vec<T> {
        let mut y = poison(x.len());
        forward(&Portable, mask, 0, x, &mut y).unwrap();
        y
    }

    fn mask(share: f64, key: u64) -> DropMask {
        DropMask::new(share, key).unwrap()
    }

    /// Elements 0 … n − 1 that stay.
    fn kept(mask: &DropMask, n: u32) -> Vec<bool> {
        (0..n).map(|i| mask.keeps(i)).collect()
    }

    /// Whether `count` of `n` is within five standard errors of the share `p`.
    fn is_share(count: usize, n: usize, p: f64) -> bool {
        let (n, error) = (n as f64, (p * (1.0 - p) / n as f64).sqrt());
        (count as f64 / n - p).abs() <= 5.0 * error
    }

    #[test]
    fn elements_are_scaled_or_dropped_and_the_backward_is_the_same() {
        for n in WIDTHS {
            for share in [0.0, 0.1, 0.5, 0.9] {
                let mask = mask(share, 77 + n as u64);
                let (x, cot) = (values::<f64>(n, 1), values::<f64>(n, 2));
                let (y, single) = (run(&mask, &x), run(&mask, &values::<f32>(n, 1)));
                for (i, x) in x.iter().enumerate() {
                    let scale = if mask.keeps(i as u32) { mask.scale() } else { 0.0 };
                    assert_eq!((y[i], single[i]), (x * scale, *x as f32 * scale as f32), "{i} of {n}, {share}");
                }
                assert_gradient("d_x", &x, &run(&mask, &cot), |x| inner(&run(&mask, x), &cot));
            }
        }
    }

    #[test]
    fn pieces_are_the_whole_and_the_index_wraps() {
        let (mask, x) = (mask(0.4, 5), values::<f32>(131, 1));
        let whole = run(&mask, &x);
        for cut in [0, 1, 63, 64, 65, 130, 131] {
            let mut y = poison(131);
            forward(&Portable, &mask, 0, &x[..cut], &mut y[..cut]).unwrap();
            forward(&Portable, &mask, cut, &x[cut..], &mut y[cut..]).unwrap();
            assert_eq!(y, whole);
        }
        let mut y = poison(131);
        forward(&Portable, &mask, (u32::MAX - 2) as usize, &x, &mut y).unwrap();
        assert_eq!((y[0] == 0.0, y[3] == 0.0), (!mask.keeps(u32::MAX - 2), !mask.keeps(0)));
    }

    #[test]
    fn shares_and_means_are_those_asked_for() {
        let n = 100_003;
        for (share, key) in [(0.1, 0), (0.1, 1), (0.25, 1 << 32), (0.5, u64::MAX), (0.9, 3), (0.001, 1 << 63)] {
            let mask = mask(share, key);
            let y = run(&mask, &vec![1.0f64; n]);
            let zeros = y.iter().filter(|&&y| y == 0.0).count();
            assert!(is_share(zeros, n, share), "{share} {key}: {zeros}");
            // A kept number is 1 / (1 − P): the mean is off by as many standard errors as the share is.
            let mean = y.iter().sum::<f64>() / n as f64;
            assert!((mean - 1.0).abs() <= 5.0 * (share / (1.0 - share) / n as f64).sqrt(), "{share} {key}: {mean}");
        }
    }

    /// Neighbours in a mask, and masks of keys that differ in one bit, agree as often as independent ones.
    #[test]
    fn elements_and_keys_are_independent() {
        let n = 50_021;
        let agree = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        for share in [0.5, 0.2] {
            let (base, p) = (kept(&mask(share, 12), n), share * share + (1.0 - share) * (1.0 - share));
            for apart in [1, 2, 3, 64, 128, 4096] {
                let pairs = base.len() - apart;
                assert!(is_share(agree(&base, &base[apart..]), pairs, p), "{share}, {apart} apart");
            }
            for bit in 0..64 {
                let other = kept(&mask(share, 12 ^ (1 << bit)), n);
                assert!(is_share(agree(&base, &other), n as usize, p), "{share}, bit {bit}");
            }
        }
    }

    /// The hash is part of what a run is. The number comes from a program in another language.
    #[test]
    fn the_hash_is_the_one_it_always_was() {
        let bits = (0..64).fold(0u64, |bits, i| bits << 1 | u64::from(mask(0.5, 0x0123_4567_89ab_cdef).keeps(i)));
        assert_eq!(bits, 0x6daf_9ddc_fe82_ee34, "{bits:#x}");
    }

    #[test]
    fn what_is_dropped_is_zero_whatever_it_was() {
        let (mask, n) = (mask(0.5, 9), 200);
        for x in [f32::NAN, f32::INFINITY, -1.0] {
            let y = run(&mask, &vec![x; n]);
            for (i, y) in y.iter().enumerate() {
                assert_eq!(y.to_bits() == 0, !mask.keeps(i as u32));
            }
        }
        assert_eq!(run::<f32>(&mask, &[]), []);
    }

    #[test]
    fn shares_and_lengths_are_checked() {
        for share in [1.0, -1e-9, 2.0, f64::NAN, f64::INFINITY] {
            assert!(DropMask::new(share, 0).is_err(), "{share}");
        }
        let nearly = mask(1.0 - f64::EPSILON, 0);
        assert_eq!((nearly.threshold(), nearly.scale()), (u32::MAX, 2f64.powi(32)));
        assert_eq!((mask(0.0, 7).threshold(), mask(0.0, 7).scale()), (0, 1.0));
        let mut y = [7.0f32; 3];
        assert!(forward(&Portable, &nearly, 0, &[1.0; 2], &mut y).is_err());
        assert_eq!(y, [7.0; 3]);
    }
}
