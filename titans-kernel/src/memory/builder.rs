//! How a memory that owns its buffer is made, and what it begins with.

use super::owner::Memory;
use super::spec::{Loss, MemorySpec, Network, Read};
use super::stream::Counters;
use crate::arch::Simd;
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::part::Parts;
use crate::scalar::Scalar;
use core::marker::PhantomData;

/// The weights that a memory begins with. It begins with no momentum.
///
/// ```
/// use titans_kernel::memory::{Memory, Start};
///
/// let mut memory = Memory::linear(1, 2).start(Start::Weights(&[3.0, -1.0])).build()?;
/// let mut answer = [f32::NAN; 2];
/// memory.read(&[2.0], &mut answer)?;
/// assert_eq!(answer, [6.0, -2.0]); // it knows before it has learned: q W
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start<'a, T> {
    /// The last layer 0, so that it answers nothing (residual: the query itself) before it learns; the layers before it
    /// drawn with this seed, uniform with deviation 2/√d_{l−1}: from zeros they would never learn. γ is 0.
    Fresh(u64),
    /// These, [`MemorySpec::params`] of them, as they lie there: trained ones.
    Weights(&'a [T]),
}

impl<T> Default for Start<'_, T> {
    fn default() -> Self {
        Self::Fresh(0)
    }
}

/// Settings of a [`Memory`], with those of [`MemorySpec::new`] to begin with. Begins with [`Memory::linear`] and
/// [`Memory::mlp`]; mistakes are told at the end, by `build`.
///
/// ```
/// use titans_kernel::memory::{Memory, Network};
///
/// let deep = Memory::mlp(&[8, 32, 8]).chunk(1).network(Network::Plain).build()?;
/// assert_eq!(deep.spec().params(), 8 * 32 + 32 * 8);
/// assert!(Memory::mlp(&[8]).build().is_err()); // keys and values at least
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder<'a, T = f32, G = Simd> {
    spec: Result<MemorySpec>,
    read: Read,
    start: Start<'a, T>,
    arithmetic: G,
    /// Did anybody say how many tokens are computed at once?
    pieces: bool,
    number: PhantomData<T>,
}

impl Builder<'_> {
    pub(super) fn new(widths: &[usize]) -> Self {
        Self::from_result(MemorySpec::new(widths), false)
    }

    pub(super) fn of(spec: MemorySpec) -> Self {
        Self::from_result(Ok(spec), true)
    }

    fn from_result(spec: Result<MemorySpec>, pieces: bool) -> Self {
        let arithmetic = Simd::best();
        Self { spec, read: Read::After, start: Start::Fresh(0), arithmetic, pieces, number: PhantomData }
    }
}

impl<'a, T: Scalar, G> Builder<'a, T, G> {
    /// b: tokens whose gradients are taken at the same weights ([`MemorySpec::chunk`]).
    pub fn chunk(self, chunk: usize) -> Self {
        let usual = !self.pieces;
        self.change(|spec| {
            spec.chunk = chunk;
            if usual {
                spec.compute_chunk = spec.usual_compute_chunk();
            }
        })
    }

    /// n: tokens that are computed at once ([`MemorySpec::compute_chunk`]); what suits the chunk if it is not said.
    /// With 1 a linear memory needs the smallest buffer: its n² coefficients go.
    pub fn compute_chunk(mut self, tokens: usize) -> Self {
        self.pieces = true;
        self.change(|spec| spec.compute_chunk = tokens)
    }

    /// φ, between the layers.
    pub fn activation(self, activation: Activation) -> Self {
        self.change(|spec| spec.activation = activation)
    }

    /// Plain or residual.
    pub fn network(self, network: Network) -> Self {
        let usual = !self.pieces;
        self.change(|spec| {
            spec.network = network;
            if usual {
                spec.compute_chunk = spec.usual_compute_chunk();
            }
        })
    }

    /// The inner loss's scale.
    pub fn loss(self, loss: Loss) -> Self {
        self.change(|spec| spec.loss = loss)
    }

    /// Largest norm of a token's gradient; `None` for any.
    pub fn clip(self, clip: Option<f64>) -> Self {
        self.change(|spec| spec.clip = clip)
    }

    /// Which weights answer the query of a token that is written: [`Read::After`] if it is not said.
    pub const fn read(mut self, read: Read) -> Self {
        self.read = read;
        self
    }

    /// What it begins with.
    pub const fn start(mut self, start: Start<'a, T>) -> Self {
        self.start = start;
        self
    }

    /// Numbers of another type, `f64` for instance. Weights to begin with are of that type and said behind this;
    /// `build` refuses those said before.
    pub fn scalar<U: Scalar>(self) -> Builder<'a, U, G> {
        let Self { mut spec, read, start, arithmetic, pieces, .. } = self;
        let start = match start {
            Start::Fresh(seed) => Start::Fresh(seed),
            Start::Weights(w0) => {
                spec =
                    Err(Error::Config { what: "start: weights behind `scalar`, not before; numbers", found: w0.len() });
                Start::default()
            }
        };
        Builder { spec, read, start, arithmetic, pieces, number: PhantomData }
    }

    /// Other matrix products: [`Portable`](crate::Portable) for instance, or one instruction set.
    pub fn arithmetic<H>(self, arithmetic: H) -> Builder<'a, T, H> {
        let Self { spec, read, start, pieces, number, .. } = self;
        Builder { spec, read, start, arithmetic, pieces, number }
    }

    /// The configuration so far.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config), naming the field.
    pub fn spec(&self) -> Result<MemorySpec> {
        let spec = self.spec.clone()?;
        spec.validate()?;
        Ok(spec)
    }

    /// Elements of the buffer that [`Builder::build_in`] needs.
    ///
    /// # Errors
    /// As [`Builder::spec`].
    pub fn buffer_len(&self) -> Result<usize> {
        Ok(Memory::<T, (), G>::buffer_len(&self.spec()?))
    }

    fn change(mut self, change: impl FnOnce(&mut MemorySpec)) -> Self {
        if let Ok(spec) = &mut self.spec {
            change(spec);
        }
        self
    }
}

impl<T: Scalar, G: Arithmetic<T>> Builder<'_, T, G> {
    /// The memory in a buffer of its own.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field; as [`Memory::reset`] for what it begins with;
    /// [`Error::Buffer`](crate::Error::Buffer) where the system has no memory for it.
    #[cfg(feature = "alloc")]
    pub fn build(self) -> Result<Memory<T, alloc::vec::Vec<T>, G>> {
        let len = self.buffer_len()?;
        let mut buffer = alloc::vec::Vec::new();
        let what = "buffer of a memory, from the system's memory";
        buffer.try_reserve_exact(len).map_err(|_| crate::Error::Buffer { what, needed: len, given: 0 })?;
        buffer.resize(len, T::ZERO);
        self.build_in(buffer)
    }

    /// The memory in a caller's buffer of at least [`Builder::buffer_len`] elements, any content.
    ///
    /// # Errors
    /// As `build`; [`Error::Buffer`](crate::Error::Buffer) with the elements that are needed when there are fewer.
    pub fn build_in<B: AsMut<[T]>>(self, buffer: B) -> Result<Memory<T, B, G>> {
        let mut memory = Memory::attach(self.spec()?, self.read, Counters::default(), self.arithmetic, buffer)?;
        memory.reset(self.start)?;
        Ok(memory)
    }
}

impl MemorySpec {
    /// The weights of [`Start::Fresh`], to `out` ([`MemorySpec::params`]).
    pub(super) fn draw<T: Scalar>(&self, seed: u64, out: &mut [T]) {
        let mut state = seed;
        out.fill(T::ZERO);
        for l in 0..self.layers().saturating_sub(1) {
            let (from, (i, o)) = (self.layer_offset(l), self.layer(l));
            // Uniform in ±a has deviation a / √3.
            let scale = 2.0 * Scalar::sqrt(3.0 / i as f64);
            for w in out.part_mut(from..from + i * o) {
                *w = T::from_f64(scale * uniform(&mut state));
            }
        }
    }
}

/// The next of SplitMix64, as a number in [−1, 1).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
