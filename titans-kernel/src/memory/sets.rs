//! Gates of every layer's own: how many sets of coefficients and rates a memory has, and which layer uses which.
//!
//! Every set is a memory's recurrences once more: nothing in them knows of the others. γ goes with the last layer.

use crate::part::Parts;
use core::ops::{Deref, DerefMut, Range};

use super::coefficients::Coefficients;
use super::layout::Layout;
use super::spec::{MAX_LAYERS, MemorySpec, too_many};
use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::scratch::Room;
use heapless::Vec;

impl MemorySpec {
    /// Sets of gates (α, θ, η) that a token brings: one for all layers, or one a layer ([`MemorySpec::layer_gates`]).
    pub fn gate_sets(&self) -> usize {
        if self.layer_gates { self.layers().max(1) } else { 1 }
    }

    /// The set of layer l.
    pub(super) fn set(&self, l: usize) -> usize {
        if self.layer_gates { l } else { 0 }
    }

    /// The last layer's set, which is γ's.
    pub(super) fn top_set(&self) -> usize {
        self.gate_sets() - 1
    }

    /// The parameters that a set is for.
    pub(super) fn part(&self, set: usize) -> Range<usize> {
        let end = if set == self.top_set() { self.params() } else { self.layer_offset(set + 1) };
        self.layer_offset(set)..end
    }
}

impl Layout<'_> {
    /// Elements of the rates: `rows` of every set.
    pub fn rates_len(&self) -> usize {
        self.rows * self.spec.gate_sets()
    }

    /// Rates of layer l.
    pub fn layer_rates<'x, T>(&self, rates: &'x [T], l: usize) -> &'x [T] {
        rates.part(self.spec.set(l) * self.rows..).part(..self.rows)
    }

    /// The same, to write.
    pub fn layer_rates_mut<'x, T>(&self, rates: &'x mut [T], l: usize) -> &'x mut [T] {
        rates.part_mut(self.spec.set(l) * self.rows..).part_mut(..self.rows)
    }
}

/// The coefficients of a memory, a set after another.
#[derive(Debug)]
pub(super) struct Sets<'a, T>(Vec<Coefficients<'a, T>, MAX_LAYERS>);

impl<'a, T> Deref for Sets<'a, T> {
    type Target = [Coefficients<'a, T>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Sets<'_, T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'a, T: Scalar> Sets<'a, T> {
    /// Takes the space for m tokens of chunks of `chunk`; nothing is written.
    #[inline(always)]
    pub fn take<R: Room<'a, T>>(room: &mut R, spec: &MemorySpec, m: usize, chunk: usize) -> Result<Self> {
        let mut all = Vec::new();
        for _ in 0..spec.gate_sets() {
            let one = Coefficients::take(room, m, chunk)?;
            all.push(one).map_err(|_| too_many(spec.widths.len()))?;
        }
        Ok(Self(all))
    }

    /// Row 0 of a chunk's start, in every set.
    pub fn start(&mut self) {
        self.iter_mut().for_each(Coefficients::start);
    }

    /// Row 0 of every set from saved rows.
    pub fn load(&mut self, rows: &[T], chunk: usize) {
        let len = Coefficients::<T>::row_len(chunk);
        self.iter_mut().zip(rows.chunks_exact(len.max(1))).for_each(|(set, row)| set.load(row));
    }

    /// Row t of every set, of which `filled` columns are in use.
    pub fn save(&self, t: usize, filled: usize, rows: &mut [T], chunk: usize) {
        let len = Coefficients::<T>::row_len(chunk);
        self.iter().zip(rows.chunks_exact_mut(len.max(1))).for_each(|(set, row)| set.save(t, filled, row));
    }
}

/// Those of layer l.
pub(super) fn of_layer<'x, 'a, T>(sets: &'x [Coefficients<'a, T>], l: usize) -> Result<&'x Coefficients<'a, T>> {
    sets.get(l).or(sets.last()).ok_or(Error::Shape { what: "sets of gates", expected: 1, found: 0 })
}
