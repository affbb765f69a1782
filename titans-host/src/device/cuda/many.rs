//! What is done to many arrays by one launch: to every parameter, to the parts of sequences.

use super::Cuda;
use super::buffer::{BYTES, DeviceBuffer};
use super::driver::{Address, Arg, Driver};
use super::ops::sums;
use super::product::args;
use crate::device::optimiser::Update;
use crate::device::{AdamW, Cut, PARTS};
use crate::error::Result;
use titans_kernel::error::expect_len;

/// Arrays of a launch: `OF_MANY` in `kernels/common.cuh`.
const MANY: usize = 32;

// Parts of an operation fill its launches.
const _: () = assert!(PARTS.is_multiple_of(MANY));

/// The arguments of up to [`MANY`] arrays, and behind them those of arrays that are not there.
fn padded<const N: usize>(of: impl Iterator<Item = [Arg; N]>, none: [Arg; N]) -> Vec<Arg> {
    of.chain(std::iter::repeat(none)).take(MANY).flatten().collect()
}

/// What no array has: no elements, and no address.
const NONE: Arg = Arg::Int(0);
const NOWHERE: Arg = Arg::Address(0);

impl<R: Driver> Cuda<R> {
    pub(super) fn clear_many(&self, xs: &[DeviceBuffer<R>]) -> Result<()> {
        xs.chunks(MANY).try_for_each(|xs| self.clear_few(xs.iter()))
    }

    /// The same of arrays of several owners.
    pub(super) fn clear_some(&self, xs: &[&DeviceBuffer<R>]) -> Result<()> {
        xs.chunks(MANY).try_for_each(|xs| self.clear_few(xs.iter().copied()))
    }

    fn clear_few<'a>(&self, xs: impl Iterator<Item = &'a DeviceBuffer<R>> + Clone) -> Result<()>
    where
        R: 'a,
    {
        let all = padded(xs.clone().map(|x| [x.len().into(), x.into()]), [NONE, NOWHERE]);
        self.launch("clear_many", xs.map(DeviceBuffer::len).sum(), &all)
    }

    /// `total[0] += Σ x²`, the sums of each array's units one behind the other.
    pub(super) fn squares_many(&self, xs: &[DeviceBuffer<R>], total: &DeviceBuffer<R>) -> Result<()> {
        expect_len("total", 1, total.len())?;
        let units = |xs: &[DeviceBuffer<R>]| xs.iter().map(|x| sums(x.len())).sum::<usize>();
        let partial = DeviceBuffer::alloc(&self.driver, units(xs))?;
        let mut done = 0;
        for xs in xs.chunks(MANY) {
            let of = xs.iter().map(|x| [sums(x.len()).into(), x.len().into(), x.into()]);
            let all = padded(of, [NONE, NONE, NOWHERE]);
            self.launch_blocks("squares_many", units(xs), &[args![partial.from(done)], &all[..]].concat())?;
            done += units(xs);
        }
        self.launch_blocks("total_sum", 1, args![partial.len(), 0usize, &partial, total])
    }

    /// Copies between `whole` and its `parts` from number `first` on, by the kernel that says in which direction.
    pub(super) fn parts_many(
        &self,
        kernel: &'static str,
        cut: &Cut,
        whole: &DeviceBuffer<R>,
        first: usize,
        parts: &[Option<&DeviceBuffer<R>>; PARTS],
    ) -> Result<()> {
        expect_len("the whole of parts", cut.len(), whole.len())?;
        expect_len("rows of a part, at least 1", cut.rows.max(1), cut.rows)?;
        for (i, part) in parts.iter().enumerate() {
            if let Some(part) = part {
                expect_len("part", cut.part_len(first.saturating_add(i)), part.len())?;
            }
        }
        let there = cut.count().saturating_sub(first).min(PARTS);
        for (group, parts) in parts[..there].chunks(MANY).enumerate() {
            if parts.iter().any(Option::is_some) {
                let (first, rows) = (first + group * MANY, cut.rows);
                let covered = (cut.time - first * rows).min(parts.len() * rows);
                let sizes = args![cut.time, cut.width, rows, first, covered, whole];
                let all = padded(parts.iter().map(|&part| [part.map_or(NOWHERE, Arg::from)]), [NOWHERE]);
                self.launch(kernel, cut.batch * covered * cut.width, &[sizes, &all[..]].concat())?;
            }
        }
        Ok(())
    }

    /// With `places` the numbers that are a step's own are read there: the gradients' scale with the corrections behind
    /// it, and of each array its rate and decay.
    pub(super) fn adamw_many(
        &self,
        updates: &[Update<'_, DeviceBuffer<R>>],
        places: Option<[Address; 2]>,
    ) -> Result<()> {
        for (group, updates) in updates.chunks(MANY).enumerate() {
            let Some(first) = updates.first() else { continue };
            let mut of = Vec::with_capacity(updates.len());
            for u in updates {
                let len = u.parameter.len();
                for (what, x) in [("gradient", u.gradient), ("moment 1", &*u.moment1), ("moment 2", &*u.moment2)] {
                    expect_len(what, len, x.len())?;
                }
                let [rate, decay] = u.step.rates().map(|x| Arg::from(if places.is_some() { 0.0 } else { x }));
                let [g, p, m, v] = [u.gradient, &*u.parameter, &*u.moment1, &*u.moment2].map(Arg::from);
                of.push([Arg::from(len), rate, decay, g, p, m, v]);
            }
            let nothing = [NONE, Arg::Float(0.0), Arg::Float(0.0), NOWHERE, NOWHERE, NOWHERE, NOWHERE];
            let all = padded(of.into_iter(), nothing);
            let n = updates.iter().map(|u| u.parameter.len()).sum();
            let rates = |at: Address| at + (2 * group * MANY * BYTES) as u64;
            let [scale, rates] = places.map_or([0; 2], |[scale, at]| [scale, rates(at)]).map(Arg::Address);
            let common = args_of(first.step, places.is_some());
            self.launch("adamw_many", n, &[&common[..], &[scale, rates], &all].concat())?;
        }
        Ok(())
    }
}

/// What all parameters of a step have in common; what is a step's own may be `elsewhere`.
fn args_of(s: &AdamW, elsewhere: bool) -> [Arg; 6] {
    let [first, second] = s.corrections();
    let own = [s.gradient_scale, first, second].map(|x| if elsewhere { 0.0 } else { x });
    [s.beta1, s.beta2, s.epsilon, own[0], own[1], own[2]].map(Arg::from)
}
