//! What is done to every parameter at once, and to all parts of sequences.

use super::{NumberGenerator, Outputs, get, put};
use crate::device::{AdamW, Cut, Device, Updates, next_parts};
use crate::error::Result;

/// More arrays than any device takes at once, some longer than a block adds up alone.
const LENGTHS: [usize; 19] = [1, 7, 33, 9001, 1, 2, 64, 256, 3, 1031, 5, 5, 8192, 8193, 17, 1, 30, 16_411, 2];

/// Sums of squares, clears and three steps of AdamW whose rates and decays differ.
pub(super) fn many<D: Device>(d: &D) -> Result<Outputs> {
    let mut numbers = NumberGenerator(13);
    let mut drawn = || LENGTHS.into_iter().map(|n| put(d, &numbers.vec(n))).collect::<Result<Vec<D::Buffer>>>();
    let (mut parameters, mut gradients) = (drawn()?, drawn()?);
    let zeros = || LENGTHS.into_iter().map(|n| d.zeros(n)).collect::<Result<Vec<D::Buffer>>>();
    let (mut m, mut v, mut total) = (zeros()?, zeros()?, put(d, &[0.25])?);
    d.sum_squares_all(&gradients, &mut total)?;
    for number in 1..=3 {
        let step = |i: usize| AdamW {
            learning_rate: 0.01 * (1 + i % 3) as f64,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.1 * (i % 2) as f64,
            gradient_scale: 0.5,
            step: number,
        };
        d.adamw_all(Updates {
            steps: &(0..LENGTHS.len()).map(step).collect::<Vec<_>>(),
            gradients: &gradients,
            parameters: &mut parameters,
            moments1: &mut m,
            moments2: &mut v,
        })?;
    }
    d.clear_all(&mut gradients)?;
    let all = |xs: &[D::Buffer]| -> Result<Vec<f64>> {
        let parts = xs.iter().map(|x| get(d, x)).collect::<Result<Vec<_>>>()?;
        Ok(parts.concat())
    };
    Ok(vec![
        ("sum of squares", get(d, &total)?),
        ("parameters", all(&parameters)?),
        ("first moments", all(&m)?),
        ("second moments", all(&v)?),
        ("cleared", all(&gradients)?),
    ])
}

/// Sequences in parts, the last one shorter, and put together again; both also without every third part.
pub(super) fn parts<D: Device>(d: &D, rows: usize) -> Result<Outputs> {
    let cut = Cut { batch: 2, time: 37, width: 3, rows };
    let mut numbers = NumberGenerator(14);
    let (x, mut some) = (put(d, &numbers.vec(cut.len()))?, put(d, &numbers.vec(cut.len()))?);
    let room = || (0..cut.count()).map(|i| d.zeros(cut.part_len(i))).collect::<Result<Vec<D::Buffer>>>();
    let (mut all, mut few, mut whole) = (room()?, room()?, d.alloc(cut.len())?);
    let (mut to_all, mut to_few) =
        (all.iter_mut().map(Some), few.iter_mut().enumerate().map(|(i, part)| (i % 3 != 1).then_some(part)));
    for first in cut.groups() {
        d.split(&cut, first, &x, next_parts(&mut to_all))?;
        d.split(&cut, first, &x, next_parts(&mut to_few))?;
    }
    let (mut from_all, mut from_some) =
        (all.iter().map(Some), all.iter().enumerate().map(|(i, part)| (i % 3 != 0).then_some(part)));
    for first in cut.groups() {
        d.join(&cut, first, next_parts(&mut from_all), &mut whole)?;
        d.join(&cut, first, next_parts(&mut from_some), &mut some)?;
    }
    let get_all = |xs: &[D::Buffer]| -> Result<Vec<f64>> {
        Ok(xs.iter().map(|x| get(d, x)).collect::<Result<Vec<_>>>()?.concat())
    };
    Ok(vec![
        ("parts", get_all(&all)?),
        ("some parts", get_all(&few)?),
        ("whole", get(d, &whole)?),
        ("whole of some", get(d, &some)?),
    ])
}
