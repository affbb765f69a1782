//! A memory that owns what it works with.

use super::builder::{Builder, Start};
use super::gates::{Gate, Mask, Tokens};
use super::spec::{MemorySpec, Read};
use super::stream::{Counters, Stream, StreamParts};
use crate::arch::Simd;
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};
use crate::view::{Mat, MatMut};
use core::marker::PhantomData;
use core::slice::from_ref;

/// The gates of one token, for all layers.
///
/// ```
/// use titans_kernel::memory::{Gates, Memory};
///
/// let mut memory = Memory::linear(1, 1).build()?;
/// memory.write(&[1.0], &[8.0], Gates { theta: 1.0, ..Gates::default() })?; // learns the value whole
/// memory.write(&[1.0], &[0.0], Gates { alpha: 0.75, ..Gates::default() })?; // forgets, and learns nothing
/// let mut answer = [f32::NAN];
/// memory.read(&[1.0], &mut answer)?;
/// assert_eq!(answer, [2.0]); // (1 − 0.75) 8
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gates<T> {
    /// α in [0, 1]: how much is forgotten.
    pub alpha: T,
    /// θ ≥ 0: inner learning rate.
    pub theta: T,
    /// η in [0, 1]: decay of the momentum.
    pub eta: T,
}

/// One memory with all that belongs to it: configuration, state, scratch, counters, and the arithmetic that computes
/// it.
///
/// `B` is what holds the numbers ([`Memory::buffer_len`] of them): a `Vec` ([`Builder::build`]), a `&'static mut [T]`
/// on a microcontroller, any block of a caller's ([`Builder::build_in`]). `G` is the matrix products: by default the
/// fastest instruction set of the processor, asked once. It is a [`Stream`] under the hood: how tokens are cut into
/// calls changes no bit, in the exact form but for the sign of an answer that is exactly 0.
///
/// ```
/// use titans_kernel::memory::{Gates, Memory};
///
/// # fn main() -> titans_kernel::Result<()> {
/// let mut memory = Memory::linear(4, 4).build()?;
/// let (key, value, mut answer) = ([1.0, 0.0, 0.0, 0.0], [0.3, -0.5, 0.1, 0.9], [0.0; 4]);
/// let surprise = memory.write(&key, &value, Gates { alpha: 0.0, theta: 1.0, eta: 0.0 })?;
/// memory.read(&key, &mut answer)?;
/// assert!(surprise > 0.5 && answer == value);
/// # Ok(())
/// # }
/// ```
///
/// Cloning forks it: both go on independently.
#[derive(Clone, Debug)]
pub struct Memory<T, B, G = Simd> {
    spec: MemorySpec,
    read: Read,
    arithmetic: G,
    counters: Counters,
    /// Worked out once: a token takes no longer than a few of these.
    parts: StreamParts,
    lens: Lens,
    buffer: B,
    number: PhantomData<T>,
}

/// Elements of the parts of a buffer: the stream's block, then scratch.
#[derive(Clone, Copy, Debug)]
struct Lens {
    block: usize,
    scratch: usize,
}

impl Lens {
    fn of<T: Scalar>(spec: &MemorySpec) -> Self {
        // Initial weights are laid out in scratch before they are taken.
        Self { block: Stream::<T>::len(spec), scratch: Stream::<T>::scratch_len(spec).max(spec.params()) }
    }

    fn take<'a, T, R: Room<'a, T>>(self, room: &mut R) -> Result<[&'a mut [T]; 2]> {
        Ok([room.take(self.block)?, room.take(self.scratch)?])
    }

    fn all<T>(self) -> usize {
        counted(|room| -> Result<[&mut [T]; 2]> { self.take(room) })
    }

    /// The stream's block and scratch of a buffer.
    fn split<T: Scalar>(self, buffer: &mut [T]) -> Result<[&mut [T]; 2]> {
        let named = |e| match e {
            Error::Buffer { given, .. } => Error::Buffer { what: "buffer of a memory", needed: self.all::<T>(), given },
            other => other,
        };
        self.take(&mut Scratch::new(buffer)).map_err(named)
    }
}

impl Memory<f32, ()> {
    /// A linear memory, `M(x) = x W` with `W` `[keys, values]`, of which every token has its own gradient: see
    /// [`MemorySpec::new`]. It begins with zeros.
    pub fn linear(keys: usize, values: usize) -> Builder<'static> {
        Builder::new(&[keys, values])
    }

    /// A deep memory: a perceptron of the widths `d_0 … d_L`, of two to five, see [`MemorySpec::new`]. It begins as
    /// [`Start::Fresh`] says.
    pub fn mlp(widths: &[usize]) -> Builder<'static> {
        Builder::new(widths)
    }

    /// A memory of this configuration.
    pub fn of(spec: MemorySpec) -> Builder<'static> {
        Builder::of(spec)
    }
}

impl<T: Scalar, B, G> Memory<T, B, G> {
    /// Elements of the buffer of a memory, its state and all scratch; `usize::MAX` for a configuration that is not
    /// valid.
    pub fn buffer_len(spec: &MemorySpec) -> usize {
        Lens::of::<T>(spec).all::<T>()
    }

    /// Bytes that [`Memory::save`] writes.
    pub fn saved_len(spec: &MemorySpec) -> usize {
        Stream::<T>::saved_len(spec)
    }

    /// The configuration.
    pub const fn spec(&self) -> &MemorySpec {
        &self.spec
    }

    /// What it counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Tokens it has seen since it began.
    pub const fn position(&self) -> u64 {
        self.counters.position
    }

    /// The buffer, for another memory.
    pub fn into_buffer(self) -> B {
        self.buffer
    }
}

impl<T: Scalar, B: AsMut<[T]>, G: Arithmetic<T>> Memory<T, B, G> {
    /// The memory whose buffer another one of this configuration left behind, with the counters it had then.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Buffer`] for a buffer below [`Memory::buffer_len`]; [`Error::Shape`] for counters
    /// that cannot be.
    pub fn attach(spec: MemorySpec, read: Read, counters: Counters, arithmetic: G, mut buffer: B) -> Result<Self> {
        spec.validate()?;
        let lens = Lens::of::<T>(&spec);
        lens.split(buffer.as_mut())?;
        counters.check(&spec)?;
        Ok(Self { parts: StreamParts::of(&spec), spec, read, arithmetic, counters, lens, buffer, number: PhantomData })
    }

    /// Begins anew: no momentum, all counters 0.
    ///
    /// # Errors
    /// [`Error::Shape`] for weights that are not [`MemorySpec::params`] long, [`Error::Value`] for those that are not
    /// finite; nothing changes.
    pub fn reset(&mut self, start: Start<'_, T>) -> Result<()> {
        let params = self.spec.params();
        self.run(|stream, _, scratch| match start {
            Start::Weights(w0) => stream.reset(w0),
            Start::Fresh(seed) => {
                let w0 = scratch.part_mut(..params);
                stream.spec().draw(seed, w0);
                stream.reset(w0)
            }
        })
    }

    /// Writes one token: key `[d_0]`, value `[d_L]`. Returns its surprise, the inner loss c ‖M(k) − v‖² before it
    /// learns.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Value`] for a number that is not finite, [`Error::Range`] for a gate out of range;
    /// [`Error::Diverged`] for a write that would leave the range of numbers ([`Stream::write`]). Nothing changes.
    pub fn write(&mut self, key: &[T], value: &[T], gates: Gates<T>) -> Result<T> {
        self.one(key, value, &gates, key, None)
    }

    /// Writes one token and answers its query `[d_0]`, to `answer` `[d_L]`, by the weights that [`Builder::read`]
    /// named: by default those after the write. Returns its surprise.
    ///
    /// # Errors
    /// As [`Memory::write`].
    pub fn step(&mut self, key: &[T], value: &[T], gates: Gates<T>, query: &[T], answer: &mut [T]) -> Result<T> {
        expect_len("answer", self.spec.value_width(), answer.len())?;
        let answer = MatMut::new(answer, 1, self.spec.value_width())?;
        self.one(key, value, &gates, query, Some(answer))
    }

    /// Answers one query `[d_0]`, or several one after another `[n, d_0]`, to `answer` `[n, d_L]`; nothing is learned.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn read(&mut self, query: &[T], answer: &mut [T]) -> Result<()> {
        let (keys, values) = (self.spec.key_width(), self.spec.value_width());
        let n = query.len() / keys;
        expect_len("query, a multiple of its width", n * keys, query.len())?;
        expect_len("answer", n.saturating_mul(values), answer.len())?;
        self.read_batch(Mat::new(query, n, keys)?, MatMut::new(answer, n, values)?)
    }

    /// Writes any number of tokens and answers their queries: [`Stream::write`].
    ///
    /// # Errors
    /// As [`Stream::write`].
    pub fn write_batch(
        &mut self,
        tokens: &Tokens<'_, T>,
        answers: Option<MatMut<'_, T>>,
        surprise: Option<&mut [T]>,
    ) -> Result<()> {
        self.run(|stream, g, scratch| stream.write(g, tokens, answers, surprise, scratch))
    }

    /// Answers queries `[n, d_0]`, to `answers` `[n, d_L]`; nothing is learned.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn read_batch(&mut self, queries: Mat<'_, T>, answers: MatMut<'_, T>) -> Result<()> {
        self.run(|stream, g, scratch| stream.read(g, queries, answers, scratch))
    }

    /// What it has learned after its last token, W and then S ([`MemorySpec::state_len`]), each as
    /// [`MemorySpec::params`] lays them out.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn state(&mut self, out: &mut [T]) -> Result<()> {
        self.run(|stream, g, scratch| stream.state(g, out, scratch))
    }

    /// Writes all that is needed to go on with the same bits, [`Memory::saved_len`] bytes, with a checksum; returns
    /// their number.
    ///
    /// # Errors
    /// [`Error::Buffer`] when `out` is too short; nothing is written.
    pub fn save(&mut self, out: &mut [u8]) -> Result<usize> {
        self.run(|stream, _, _| stream.save(out))
    }

    /// Becomes the memory that was saved.
    ///
    /// # Errors
    /// [`Error::Format`] for bytes that are damaged or of another configuration; nothing changes.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        self.run(|stream, _, _| stream.load(bytes))
    }

    fn one(
        &mut self,
        key: &[T],
        value: &[T],
        gates: &Gates<T>,
        query: &[T],
        answer: Option<MatMut<'_, T>>,
    ) -> Result<T> {
        let row = |x, columns, what| expect_len(what, columns, <[T]>::len(x)).and_then(|()| Mat::new(x, 1, columns));
        let tokens = Tokens {
            k: row(key, self.spec.key_width(), "key")?,
            v: row(value, self.spec.value_width(), "value")?,
            q: row(query, self.spec.key_width(), "query")?,
            alpha: Gate::tokens(from_ref(&gates.alpha)),
            theta: Gate::tokens(from_ref(&gates.theta)),
            eta: Gate::tokens(from_ref(&gates.eta)),
            mask: Mask::Write,
        };
        let (mut surprise, chunk) = ([T::ZERO], self.spec.chunk);
        self.write_batch(&tokens, answer, Some(&mut surprise)).map_err(|error| match error {
            // Which number it was, where it was one of the token's.
            Error::Diverged { .. } => tokens.check_values(0, chunk).err().unwrap_or(error),
            other => other,
        })?;
        Ok(surprise.item(0))
    }

    /// Lends the stream, the arithmetic and scratch, and keeps what the stream counted, also where a token was refused
    /// behind others.
    fn run<R>(&mut self, body: impl FnOnce(&mut Stream<'_, T>, &G, &mut [T]) -> Result<R>) -> Result<R> {
        let [block, scratch] = self.lens.split(self.buffer.as_mut())?;
        let mut stream = Stream::resume(&self.spec, self.read, self.counters, block, self.parts, self.lens.scratch);
        let result = body(&mut stream, &self.arithmetic, scratch);
        self.counters = stream.counters();
        result
    }
}
