//! Sums over processes in one order, whoever adds: the order of the parts.
//!
//! An all-reduce of a library adds in an order of its own, which depends on how many processes there are. Here every
//! process owns a share of the elements: the others send it theirs (an all-to-all), it adds them in the order of the
//! ranks, and what it has goes back to all (an all-gather). That moves as many bytes as the best all-reduce, twice the
//! sum's, and gives the bits of one process that adds part after part. Where a process has several parts, the shares keep
//! their sums from round to round, and go back once.

use super::{Collective, expect_rows};
use crate::device::Device;
use crate::tape::Gradients;
use crate::{Error, Result};
use bytemuck::{cast_slice, cast_slice_mut};
use std::fmt;
use titans_kernel::Scalar;

/// Elements from which on parameters are no longer sent together: as many as make the start of a message cheap.
const BUCKET: usize = 1 << 20;

/// What a process owns of a sum.
struct Share<T> {
    /// Elements of each process's share; the last ones may reach beyond the sum.
    each: usize,
    /// This process's share so far; empty before the first round.
    total: Vec<T>,
}

impl<T: Scalar> Share<T> {
    fn new(len: usize, size: usize) -> Self {
        Self { each: len.div_ceil(size.max(1)), total: Vec::new() }
    }

    /// Adds what the first `present` ranks have, in their order: `mine` and `theirs` are `[size, each]`.
    fn add(&mut self, ranks: &dyn Collective, mine: &[T], theirs: &mut [T], present: usize) -> Result<()> {
        ranks.exchange(cast_slice(mine), cast_slice_mut(theirs))?;
        for row in theirs.chunks_exact(self.each.max(1)).take(present) {
            if self.total.is_empty() {
                self.total.extend_from_slice(row);
            } else {
                self.total.iter_mut().zip(row).for_each(|(sum, &x)| *sum = *sum + x);
            }
        }
        Ok(())
    }

    /// Gives the whole sum to all, `[size, each]`, and begins anew.
    fn finish(&mut self, ranks: &dyn Collective, all: &mut [T]) -> Result<()> {
        ranks.all_gather(cast_slice(&self.total), cast_slice_mut(all))?;
        self.total.clear();
        Ok(())
    }
}

/// Replaces the elements of `x` by their sums over all processes, each `((x₀ + x₁) + x₂) + …` in the order of the ranks.
///
/// # Errors
/// As [`Collective::exchange`].
pub fn all_reduce_sum<T: Scalar>(ranks: &dyn Collective, x: &mut [T]) -> Result<()> {
    let size = ranks.size();
    let mut share = Share::new(x.len(), size);
    let (mut mine, mut theirs) = (vec![T::ZERO; share.each * size], vec![T::ZERO; share.each * size]);
    mine[..x.len()].copy_from_slice(x);
    share.add(ranks, &mine, &mut theirs, size)?;
    share.finish(ranks, &mut mine)?;
    x.copy_from_slice(&mine[..x.len()]);
    Ok(())
}

/// Neighbouring parameters that are sent together.
struct Bucket<T> {
    /// Elements of each of them.
    lens: Vec<usize>,
    share: Share<T>,
}

/// The sum of the gradients of all parts of a step, over all processes. Once made it takes nothing from the heap.
pub struct GradientSum<T> {
    buckets: Vec<Bucket<T>>,
    mine: Vec<T>,
    theirs: Vec<T>,
}

impl<T: Scalar> GradientSum<T> {
    /// For gradients of those lengths, over so many processes. On the host it takes two buckets (each 2²⁰ elements, or the
    /// largest parameter) and 1 / size of the gradients.
    pub fn new(lens: impl Iterator<Item = usize>, size: usize) -> Self {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for len in lens {
            match groups.last_mut() {
                Some(group) if group.iter().sum::<usize>() + len <= BUCKET => group.push(len),
                _ => groups.push(vec![len]),
            }
        }
        let bucket = |lens: Vec<usize>| Bucket { share: Share::new(lens.iter().sum(), size), lens };
        let buckets: Vec<_> = groups.into_iter().map(bucket).collect();
        let most = buckets.iter().map(|bucket| bucket.share.each * size).max().unwrap_or(0);
        Self { buckets, mine: vec![T::ZERO; most], theirs: vec![T::ZERO; most] }
    }

    /// A round of parts: adds the gradients of the first `present` ranks, in their order. All processes take part, with
    /// whatever gradients where they have none.
    ///
    /// # Errors
    /// [`Error::Usage`] for gradients of other lengths; what the device and the other processes report.
    pub fn add<D: Device<Elem = T>>(
        &mut self,
        device: &D,
        ranks: &dyn Collective,
        gradients: &Gradients<D>,
        present: usize,
    ) -> Result<()> {
        let (size, mut buffers) = (ranks.size(), gradients.iter());
        for Bucket { lens, share } in &mut self.buckets {
            let (mut at, end) = (0, share.each * size);
            for &len in lens.iter() {
                let buffer = buffers.next().ok_or_else(other)?;
                device.read(buffer, &mut self.mine[at..at + len])?;
                at += len;
            }
            self.mine[at..end].fill(T::ZERO);
            share.add(ranks, &self.mine[..end], &mut self.theirs[..end], present)?;
        }
        Ok(())
    }

    /// Puts the sum into the gradients of every process, and begins anew.
    ///
    /// # Errors
    /// As [`GradientSum::add`].
    pub fn finish<D: Device<Elem = T>>(
        &mut self,
        device: &D,
        ranks: &dyn Collective,
        gradients: &mut Gradients<D>,
    ) -> Result<()> {
        let (size, mut buffers) = (ranks.size(), gradients.iter_mut());
        for Bucket { lens, share } in &mut self.buckets {
            let (mut at, end) = (0, share.each * size);
            expect_rows(1, share.each, share.total.len())?;
            share.finish(ranks, &mut self.mine[..end])?;
            for &len in lens.iter() {
                let buffer = buffers.next().ok_or_else(other)?;
                device.write(&self.mine[at..at + len], buffer)?;
                at += len;
            }
        }
        Ok(())
    }
}

fn other() -> Error {
    Error::usage("the sum over processes: expected the gradients that it was made for, found fewer")
}

impl<T> fmt::Debug for GradientSum<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradientSum").field("buckets", &self.buckets.len()).finish_non_exhaustive()
    }
}
