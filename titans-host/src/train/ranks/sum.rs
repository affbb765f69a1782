//! Sums over processes in one order, whoever adds: the order of the parts.
//!
//! An all-reduce of a library adds in an order of its own, which depends on how many processes there are. Here every
//! process owns a share of the elements: the others send it theirs (an all-to-all), it adds them in the order of the
//! ranks, and what it has goes back to all (an all-gather). That moves as many bytes as the best all-reduce, twice the
//! sum's, and gives the bits of one process that adds part after part. Where a process has several parts, the shares
//! keep their sums from round to round, and go back once.
//!
//! Gradients go in buckets of neighbouring parameters, the last bucket first, each as soon as the backward is done with
//! its parameters: it is on its way while those before it are computed. What is added, and given back, comes after the
//! backward.

use super::{Collective, expect_rows};
use crate::device::Device;
use crate::tape::Gradients;
use crate::{Error, Result};
use bytemuck::{cast_slice, cast_slice_mut};
use std::fmt;
use titans_kernel::Scalar;

/// Elements from which on parameters are no longer sent together: as many as make the start of a message cheap.
pub const BUCKET: usize = 1 << 20;

/// What a process owns of a sum.
struct Share<T> {
    /// Elements of each process's share, whole words; the last ones may reach beyond the sum.
    each: usize,
    /// This process's share so far; empty before the first round.
    total: Vec<T>,
}

impl<T: Scalar> Share<T> {
    fn new(len: usize, size: usize) -> Self {
        Self { each: len.div_ceil(size.max(1)).next_multiple_of(words::<T>()), total: Vec::new() }
    }

    /// Words of all shares.
    fn space(&self, size: usize) -> Vec<u64> {
        vec![0; self.each / words::<T>() * size]
    }

    /// Adds what the first `present` ranks have sent, in their order: `theirs` is `[size, each]`.
    fn add(&mut self, theirs: &[u64], present: usize) {
        for row in cast_slice::<u64, T>(theirs).chunks_exact(self.each.max(1)).take(present) {
            // The first term is where the sum begins, as the first part's gradients are in one process.
            if self.total.is_empty() {
                self.total.extend_from_slice(row);
            } else {
                self.total.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
            }
        }
    }

    /// Gives the whole sum to all, `[size, each]`, and begins anew.
    fn finish(&mut self, ranks: &dyn Collective, all: &mut [u64]) -> Result<()> {
        expect_rows(1, self.each, self.total.len())?;
        ranks.all_gather(cast_slice(&self.total), cast_slice_mut(all))?;
        self.total.clear();
        Ok(())
    }
}

/// Numbers of a word.
const fn words<T: Scalar>() -> usize {
    8 / T::BYTES
}

/// Replaces the elements of `x` by their sums over all processes, each `((x₀ + x₁) + x₂) + …` in the order of the
/// ranks.
///
/// # Errors
/// As [`Collective::start_exchange`].
pub fn all_reduce_sum<T: Scalar>(ranks: &dyn Collective, x: &mut [T]) -> Result<()> {
    let size = ranks.size();
    if size == 1 {
        return Ok(());
    }
    let mut share = Share::<T>::new(x.len(), size);
    let mut mine = share.space(size);
    cast_slice_mut::<u64, T>(&mut mine)[..x.len()].copy_from_slice(x);
    ranks.start_exchange(mine, share.space(size))?;
    let [mut mine, theirs] = ranks.finish_exchange()?;
    share.add(&theirs, size);
    share.finish(ranks, &mut mine)?;
    x.copy_from_slice(cast_slice(&mine).get(..x.len()).ok_or_else(lost)?);
    Ok(())
}

/// Neighbouring parameters that are sent together.
struct Bucket<T> {
    /// The first of them.
    first: usize,
    /// Elements of each of them.
    lens: Vec<usize>,
    /// Which of them are in `mine`, in this round.
    ready: Vec<bool>,
    share: Share<T>,
    /// What is sent and what comes, `[size, each]`; empty while it is on its way.
    mine: Vec<u64>,
    theirs: Vec<u64>,
}

impl<T: Scalar> Bucket<T> {
    fn new(first: usize, lens: Vec<usize>, size: usize) -> Self {
        let share = Share::new(lens.iter().sum(), size);
        let (mine, theirs) = (share.space(size), share.space(size));
        Self { first, ready: vec![false; lens.len()], lens, share, mine, theirs }
    }

    /// Puts a parameter's gradient in its place, once a round.
    fn put<D: Device<Elem = T>>(&mut self, device: &D, param: usize, gradient: &D::Buffer) -> Result<()> {
        let i = param - self.first;
        if !std::mem::replace(&mut self.ready[i], true) {
            let at = self.lens[..i].iter().sum::<usize>();
            let place = cast_slice_mut(&mut self.mine).get_mut(at..at + self.lens[i]);
            device.read(gradient, place.ok_or_else(lost)?)?;
        }
        Ok(())
    }
}

/// The sum of the gradients of all parts of a step, over all processes.
pub struct GradientSum<T> {
    buckets: Vec<Bucket<T>>,
    /// Those from here on are on their way, or have been, in this round.
    started: usize,
}

impl<T: Scalar> GradientSum<T> {
    /// For gradients of those lengths, over so many processes, in buckets of at most `most` elements ([`BUCKET`]) or
    /// one parameter. On the host it takes twice the gradients, and 1 / size of them.
    pub fn new(lens: impl Iterator<Item = usize>, size: usize, most: usize) -> Self {
        let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
        for (i, len) in lens.enumerate() {
            match groups.last_mut() {
                Some((_, group)) if group.iter().sum::<usize>() + len <= most => group.push(len),
                _ => groups.push((i, vec![len])),
            }
        }
        let buckets: Vec<_> = groups.into_iter().map(|(first, lens)| Bucket::new(first, lens, size)).collect();
        Self { started: buckets.len(), buckets }
    }

    /// Hears that a parameter's gradient is done in this round, and sends what can be sent.
    ///
    /// # Errors
    /// [`Error::Usage`] for a parameter or gradient that it was not made for; what the device and the other processes
    /// report.
    pub fn ready<D: Device<Elem = T>>(
        &mut self,
        device: &D,
        ranks: &dyn Collective,
        param: usize,
        gradient: &D::Buffer,
    ) -> Result<()> {
        let bucket = self.buckets.iter_mut().find(|b| (b.first..b.first + b.lens.len()).contains(&param));
        bucket.ok_or_else(other)?.put(device, param, gradient)?;
        // From the last on, whatever is done first: all processes must begin the same exchanges in the same order.
        while self.started > 0 && self.buckets[self.started - 1].ready.iter().all(|&ready| ready) {
            self.send(ranks)?;
        }
        Ok(())
    }

    /// Sends the next bucket.
    fn send(&mut self, ranks: &dyn Collective) -> Result<()> {
        self.started -= 1;
        let Bucket { mine, theirs, .. } = &mut self.buckets[self.started];
        ranks.start_exchange(std::mem::take(mine), std::mem::take(theirs))
    }

    /// Ends a round of parts: sends what was not ready before, and adds the gradients of the first `present` ranks, in
    /// their order. All processes take part, with whatever gradients where they have none.
    ///
    /// # Errors
    /// As [`GradientSum::ready`].
    pub fn add<D: Device<Elem = T>>(
        &mut self,
        device: &D,
        ranks: &dyn Collective,
        gradients: &Gradients<D>,
        present: usize,
    ) -> Result<()> {
        for (param, gradient) in gradients.iter().enumerate() {
            let rest = &mut self.buckets[..self.started];
            if let Some(bucket) = rest.iter_mut().find(|b| (b.first..b.first + b.lens.len()).contains(&param)) {
                bucket.put(device, param, gradient)?;
            }
        }
        while self.started > 0 {
            self.send(ranks)?;
        }
        // As they were begun.
        for bucket in self.buckets.iter_mut().rev() {
            [bucket.mine, bucket.theirs] = ranks.finish_exchange()?;
            bucket.share.add(&bucket.theirs, present);
            bucket.ready.fill(false);
        }
        self.started = self.buckets.len();
        Ok(())
    }

    /// Puts the sum into the gradients of every process, and begins anew.
    ///
    /// # Errors
    /// As [`GradientSum::ready`].
    pub fn finish<D: Device<Elem = T>>(
        &mut self,
        device: &D,
        ranks: &dyn Collective,
        gradients: &mut Gradients<D>,
    ) -> Result<()> {
        // Buckets in ascending order have all parameters in theirs.
        let mut buffers = gradients.iter_mut();
        for Bucket { lens, share, theirs, .. } in &mut self.buckets {
            share.finish(ranks, theirs)?;
            let mut at = 0;
            for &len in lens.iter() {
                let buffer = buffers.next().ok_or_else(other)?;
                device.write(cast_slice(theirs).get(at..at + len).ok_or_else(lost)?, buffer)?;
                at += len;
            }
        }
        Ok(())
    }
}

fn other() -> Error {
    Error::usage("the sum over processes: expected the gradients that it was made for, found others")
}

/// What was on its way when an exchange failed does not come back.
fn lost() -> Error {
    Error::usage("the sum over processes: an exchange failed before; resume the run")
}

impl<T> fmt::Debug for GradientSum<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradientSum").field("buckets", &self.buckets.len()).finish_non_exhaustive()
    }
}
