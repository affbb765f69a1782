//! One table of cases for every version that this machine has: the products against their definition, their promises
//! about what they touch, and equal bits.

mod chains;
mod checksum;
mod coefficients;
mod products;
mod silu;
mod softmax;
mod solve;
mod weights;

use super::{Isa, Simd};
use crate::scalar::Scalar;
use crate::view::Mat;
use std::vec::Vec;

/// The versions of this machine.
fn versions() -> Vec<Simd> {
    Isa::ALL.into_iter().filter_map(Simd::new).collect()
}

/// `len` numbers between −1 and 1 that look random.
fn numbers<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 40) as f64 / f64::from(1u32 << 23) - 1.0
    };
    (0..len).map(|_| T::from_f64(next())).collect()
}

/// Multiples of 1/8 up to 2: sums of products of a few hundred of them are exact, in any order.
fn exact<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
    numbers::<f64>(len, seed).iter().map(|x| T::from_f64((x * 16.0).round() / 8.0)).collect()
}

fn bits<T: Scalar>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

fn view<T: Copy>(data: &[T], rows: usize, cols: usize, transposed: bool) -> Mat<'_, T> {
    if transposed { Mat::new(data, cols, rows).unwrap().t() } else { Mat::new(data, rows, cols).unwrap() }
}

#[test]
fn versions_have_names_and_exist_where_the_processor_has_them() {
    for isa in Isa::ALL {
        assert_eq!(Isa::of_name(isa.name()), Some(isa));
        assert_eq!(Simd::new(isa).map(|g| g.isa()), isa.available().then_some(isa));
    }
    assert!(Isa::of_name("sse9").is_none());
    assert!(Isa::Portable.available() && Isa::best().available());
    assert_eq!(Simd::best().isa(), Isa::best());
    assert_eq!(Isa::Neon.available(), cfg!(target_arch = "aarch64"));
}
