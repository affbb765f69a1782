//! Memories at work: what `bench memory` and `bench table` run.

use crate::device::cpu::{Buffer, Cpu, Simd};
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::{Error, Result};
use titans_kernel::memory::{Counters, Gate, Loss, Mask, MemorySpec, Network, Read, Stream, Tokens};
use titans_kernel::{Mat, MatMut, Scalar};

/// A memory of `layers` layers of width `dim`, `hidden` between them; chunks are computed at once, no gradient is
/// clipped.
pub fn spec(dim: usize, layers: usize, hidden: usize, chunk: usize, network: Network) -> Result<MemorySpec> {
    let mut widths = vec![hidden; layers + 1];
    widths[0] = dim;
    widths[layers] = dim;
    let mut spec = MemorySpec::new(&widths)?;
    (spec.chunk, spec.compute_chunk, spec.network) = (chunk, 0, network);
    (spec.loss, spec.clip) = (Loss::Sum, None);
    spec.validate()?;
    Ok(spec)
}

/// Keys, values and queries of length about one, gates `[rows, 3, heads]`, weights to begin with.
///
/// Nothing may fade away, because arithmetic on denormal numbers is many times slower and no memory at work does it:
/// half of each value is its key, so that there is something to learn, and little is forgotten. (Near zero a plain deep
/// memory's gradients are as small as its weights, and much forgetting drives both out of the range of f32.)
struct WorkNumbers<T> {
    rows: [Vec<T>; 3],
    gates: Vec<T>,
    weights: Vec<T>,
}

impl<T: Scalar> WorkNumbers<T> {
    fn new(spec: &MemorySpec, rows: usize, heads: usize, weights: usize) -> Self {
        const LEVELS: [f64; 3] = [1e-4, 0.05, 0.5];
        let width = spec.key_width();
        let unit = (3.0 / width as f64).sqrt();
        let mut noise = noise();
        let mut uniform =
            |len: usize, scale: f64| -> Vec<T> { (0..len).map(|_| T::from_f64(scale * noise())).collect() };
        let gate = |(i, x): (usize, T)| T::from_f64(LEVELS[i / heads % 3] * (1.0 + x.to_f64()));
        let gates = uniform(3 * rows, 0.2).into_iter().enumerate().map(gate).collect();
        let weights = uniform(weights, 0.3 * unit);
        let [k, mut v, q] = [(); 3].map(|()| uniform(rows * width, unit));
        v.iter_mut().zip(&k).for_each(|(v, &k)| *v = T::from_f64(0.5) * (*v + k));
        Self { rows: [k, v, q], gates, weights }
    }
}

/// Buffers of one memory operation on a device.
pub struct Work<D: Device> {
    inputs: [D::Buffer; 5],
    outputs: [D::Buffer; 3],
    gradients: [D::Buffer; 5],
}

impl<D: Device> Work<D> {
    /// Numbers for `op`, and with `grad` what its backward needs.
    pub fn new(device: &D, op: &MemoryOp, grad: bool) -> Result<Self> {
        let rows = op.batch * op.time * op.heads;
        let WorkNumbers { rows: [k, v, q], gates, weights } =
            WorkNumbers::new(&op.spec, rows, op.heads, op.state_len());
        let d = |len: usize| device.alloc(if grad { len } else { 0 });
        Ok(Self {
            inputs: [
                device.upload(&k)?,
                device.upload(&v)?,
                device.upload(&q)?,
                device.upload(&gates)?,
                device.upload(&weights)?,
            ],
            outputs: [device.alloc(v.len())?, device.alloc(op.state_len())?, d(op.boundaries_len())?],
            gradients: [d(k.len())?, d(v.len())?, d(q.len())?, d(gates.len())?, d(op.state_len())?],
        })
    }

    /// The operation once, and with `grad` its backward.
    pub fn run(&mut self, device: &D, op: &MemoryOp, grad: bool) -> Result<()> {
        let [k, v, q, gates, state] = &self.inputs;
        let lend = || MemoryInputs { k, v, q, gates, state, mask: None };
        let [y, last, boundaries] = &mut self.outputs;
        let kept = if grad { Some(&mut *boundaries) } else { None };
        let outputs = MemoryOutputs { y: &mut *y, surprise: None, state: Some(last), boundaries: kept };
        device.memory(op, lend(), outputs)?;
        if grad {
            let [d_k, d_v, d_q, d_gates, d_state] = &mut self.gradients;
            let gradients = MemoryGradients { d_k, d_v, d_q, d_gates, d_state };
            // The read-outs serve as their own cotangent: any numbers of that size do.
            device.memory_vjp(op, lend(), boundaries, Some(y), None, gradients)?;
        }
        device.synchronize()
    }

    /// Whether the last run's final state is at work: what diverged, or faded, measures nothing.
    pub fn at_work(&self, device: &D) -> Result<bool> {
        Ok(at_work(device.download(&self.outputs[1])?.iter().map(|x| x.to_f64())))
    }
}

/// Memories that are fed piece by piece, on the caller's thread: `batch × heads` streams. They share one scratch as
/// those of a model do, where each [`Memory`](titans_kernel::memory::Memory) has its own. All arrays are the device's:
/// they begin at a cache line, or else streams of the same work differ by a twentieth.
pub struct Streams {
    spec: MemorySpec,
    tokens: usize,
    rows: [Buffer<f32>; 3],
    gates: Vec<f32>,
    weights: Vec<f32>,
    blocks: Vec<Buffer<f32>>,
    counters: Vec<Counters>,
    y: Buffer<f32>,
    scratch: Buffer<f32>,
}

impl Streams {
    /// `streams` of them, with `tokens` tokens that all are fed over and over.
    pub fn new(spec: &MemorySpec, streams: usize, tokens: usize) -> Result<Self> {
        let WorkNumbers { rows: [k, v, q], gates, weights } = WorkNumbers::new(spec, tokens, 1, spec.params());
        let cpu = Cpu::<f32>::new(Some(1))?;
        let blocks = (0..streams).map(|_| cpu.alloc(Stream::<f32>::len(spec))).collect::<Result<Vec<_>>>()?;
        let mut all = Self {
            tokens,
            rows: [cpu.upload(&k)?, cpu.upload(&v)?, cpu.upload(&q)?],
            gates,
            weights,
            counters: vec![Counters::default(); blocks.len()],
            blocks,
            y: cpu.alloc(tokens * spec.value_width())?,
            scratch: cpu.alloc(Stream::<f32>::scratch_len(spec))?,
            spec: spec.clone(),
        };
        all.restart()?;
        Ok(all)
    }

    /// All streams begin anew.
    pub fn restart(&mut self) -> Result<()> {
        (0..self.blocks.len()).try_for_each(|i| self.begin_anew(i))
    }

    /// Stream i begins anew.
    pub fn begin_anew(&mut self, i: usize) -> Result<()> {
        let block = self.blocks[i].as_mut_slice();
        self.counters[i] = Stream::new(&self.spec, Read::After, &self.weights, block)?.counters();
        Ok(())
    }

    /// The tokens once to every stream, `piece` a call, each with its read-out.
    pub fn run(&mut self, g: &Simd, piece: usize) -> Result<()> {
        (0..self.blocks.len()).try_for_each(|i| self.feed_stream(g, i, piece))
    }

    /// The tokens once to stream i.
    pub fn feed_stream(&mut self, g: &Simd, i: usize, piece: usize) -> Result<()> {
        let (n, key, value) = (self.tokens, self.spec.key_width(), self.spec.value_width());
        let [k, v, q] = self.rows.each_ref().map(Buffer::as_slice);
        let (k, v, q) = (Mat::new(k, n, key)?, Mat::new(v, n, value)?, Mat::new(q, n, key)?);
        let (block, scratch) = (self.blocks[i].as_mut_slice(), self.scratch.as_mut_slice());
        let mut stream = Stream::attach(&self.spec, Read::After, self.counters[i], block)?;
        let mut y = MatMut::new(self.y.as_mut_slice(), n, value)?;
        for from in (0..n).step_by(piece.max(1)) {
            let rows = piece.max(1).min(n - from);
            let [alpha, theta, eta] = [0, 1, 2].map(|i| Gate::strided_tokens(&self.gates[3 * from + i..], 3));
            let (k, v, q) = (k.sub(from, rows), v.sub(from, rows), q.sub(from, rows));
            let tokens = Tokens { k, v, q, alpha, theta, eta, mask: Mask::Write };
            stream.write(g, &tokens, Some(y.rb().sub(from, rows)), None, scratch)?;
        }
        self.counters[i] = stream.counters();
        Ok(())
    }

    /// Whether the last read-outs are those of a memory at work.
    pub fn at_work(&self) -> bool {
        at_work(self.y.as_slice().iter().map(|&y| y.into()))
    }
}

/// One operation of `heads` memories over `time` tokens.
pub fn operation(spec: &MemorySpec, time: usize, heads: usize) -> MemoryOp {
    let (spec, read) = (spec.clone(), Read::After);
    MemoryOp { spec, batch: 1, time, heads, read, read_only: false, token_form: false }
}

/// All numbers are finite, and their mean square is far from the smallest.
fn at_work(numbers: impl Iterator<Item = f64>) -> bool {
    let (sum, n) = numbers.fold((0.0, 0.0), |(sum, n), x| (sum + x * x, n + 1.0));
    f64::is_finite(sum) && sum / n > 1e-20
}

/// An error where a memory has diverged or faded away.
pub fn expect_at_work(at_work: bool, what: &str) -> Result<()> {
    if at_work {
        return Ok(());
    }
    let reason = format!(
        "{what}: expected finite numbers that are not all about 0, found others: nothing is measured; \
         make --chunk or --tokens smaller"
    );
    Err(Error::Device { device: "cpu", reason })
}

/// [`Work`] on the CPU, with the check that it computed something.
pub fn on_cpu(cpu: &Cpu<f32>, op: &MemoryOp, grad: bool) -> Result<Work<Cpu<f32>>> {
    let mut work = Work::new(cpu, op, grad)?;
    work.run(cpu, op, grad)?;
    expect_at_work(work.at_work(cpu)?, "bench: state of the memory")?;
    Ok(work)
}

/// Uniform numbers in (−1, 1), the same in every run.
pub fn noise() -> impl FnMut() -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}
