//! Functions of single numbers over slices, in blocks.
//!
//! An exponential is a long chain of operations that wait for each other. A loop over a block of 64 whose size the
//! compiler knows, with the exponentials in a loop of their own, keeps several such chains going. What is left goes by
//! blocks of 16, the last one padded: no number is worked on alone.

use crate::part::Parts;
use crate::scalar::Scalar;

/// Numbers of a block, and of a block of the rest.
const BLOCK: usize = 64;
const REST: usize = 16;

/// `[y₁[i], …] = f(seed(x₁[i]), [x₁[i], …], [y₁[i], …])` for all i: I inputs and O outputs of one length (the shortest
/// counts).
#[inline(always)]
pub(crate) fn apply<T: Scalar, const I: usize, const O: usize>(
    x: [&[T]; I],
    y: [&mut [T]; O],
    seed: impl Fn(T) -> T,
    f: impl Fn(T, [T; I], [T; O]) -> [T; O],
) {
    let mut n = usize::MAX;
    for i in 0..I {
        n = n.min(x[i].len());
    }
    for i in 0..O {
        n = n.min(y[i].len());
    }
    let x = x.map(
        #[inline(always)]
        |x| x.part(..n).as_chunks::<BLOCK>(),
    );
    let mut y = y.map(
        #[inline(always)]
        |y| y.part_mut(..n).as_chunks_mut::<BLOCK>(),
    );
    let nothing = [T::ZERO; BLOCK]; // every block is there
    for b in 0..n / BLOCK {
        let x = x.map(
            #[inline(always)]
            |(blocks, _)| blocks.get(b).unwrap_or(&nothing),
        );
        let old = y.each_ref().map(
            #[inline(always)]
            |(blocks, _)| blocks.get(b).unwrap_or(&nothing),
        );
        let new = block(x, old, &seed, &f);
        for ((blocks, _), new) in y.iter_mut().zip(new) {
            blocks.put(b, new);
        }
    }
    let mut at = 0;
    while at < n % BLOCK {
        let len = REST.min(n % BLOCK - at);
        let (mut x_rest, mut y_rest) = ([[T::ZERO; REST]; I], [[T::ZERO; REST]; O]);
        for (to, (_, from)) in x_rest.iter_mut().zip(&x) {
            to.part_mut(..len).become_copy(from.part(at..at + len));
        }
        for (to, (_, from)) in y_rest.iter_mut().zip(&y) {
            to.part_mut(..len).become_copy(from.part(at..at + len));
        }
        y_rest = block(x_rest.each_ref(), y_rest.each_ref(), &seed, &f);
        for (from, (_, to)) in y_rest.iter().zip(&mut y) {
            to.part_mut(at..at + len).become_copy(from.part(..len));
        }
        at += len;
    }
}

/// [`apply`] for a block of N.
#[inline(always)]
fn block<T: Scalar, const N: usize, const I: usize, const O: usize>(
    x: [&[T; N]; I],
    y: [&[T; N]; O],
    seed: impl Fn(T) -> T,
    f: impl Fn(T, [T; I], [T; O]) -> [T; O],
) -> [[T; N]; O] {
    let mut seeds = [T::ZERO; N];
    if I > 0 {
        for i in 0..N {
            seeds[i] = seed(x[0][i]);
        }
    }
    // Through arrays of their own: the compiler sees that they overlap nothing.
    let mut new = [[T::ZERO; N]; O];
    for i in 0..N {
        let mut inputs = [T::ZERO; I];
        for k in 0..I {
            inputs[k] = x[k][i];
        }
        let mut outputs = [T::ZERO; O];
        for k in 0..O {
            outputs[k] = y[k][i];
        }
        let outputs = f(seeds[i], inputs, outputs);
        for k in 0..O {
            new[k][i] = outputs[k];
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::apply;
    use crate::ops::check::{poison, values};

    #[test]
    fn every_length_is_worked_on_once_and_nothing_behind_it() {
        for n in (0..=131).chain([191, 192, 193, 255, 257]) {
            let (a, b, c) = (values::<f32>(n, 1), values::<f32>(n + 3, 2), values::<f32>(n + 5, 3));
            let (mut y, mut z) = (c.clone(), poison::<f32>(n + 2));
            apply([&a, &b], [&mut y, &mut z], |x| x + 1.0, |s, [a, b], [y, _]| [y + s * b, a - s]);
            for i in 0..n {
                assert_eq!((y[i], z[i]), (c[i] + (a[i] + 1.0) * b[i], a[i] - (a[i] + 1.0)), "{i} of {n}");
            }
            assert_eq!(y[n..], c[n..]);
            assert!(z[n..].iter().all(|z| z.is_nan()));
        }
    }
}
