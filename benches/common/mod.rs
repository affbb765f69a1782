//! What the benchmarks share: an instruction set, numbers, and a memory at work.
#![allow(dead_code)] // each benchmark uses its part

use std::error::Error;
use titans_kernel::arch::{Isa, Simd};
use titans_kernel::memory::{
    Cotangents, Form, Gate, Gradients, Loss, Mask, MemorySpec, Network, Outputs, Read, Record, Stream, Tokens, forward,
    forward_scratch_len, vjp, vjp_scratch_len,
};
use titans_kernel::{Mat, MatMut};

/// How everything here fails.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The product of the instruction set that `TITANS_ISA` names, by default of the best one this processor has.
pub fn arithmetic() -> Result<Simd> {
    let isa = match std::env::var("TITANS_ISA") {
        Ok(name) if !name.is_empty() => {
            Isa::of_name(&name).ok_or_else(|| format!("TITANS_ISA: no instruction set has the name {name}"))?
        }
        _ => Isa::best(),
    };
    Ok(Simd::new(isa).ok_or_else(|| format!("this processor has no {}", isa.name()))?)
}

/// `len` uniform numbers in (−scale, scale): the same in every run, others for every seed.
pub fn numbers(len: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed.wrapping_mul(0xd134_2543_de82_ef95);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| scale * next()).collect()
}

/// One memory, its tokens, and every buffer that its forward, backward and stream need.
pub struct Case {
    pub spec: MemorySpec,
    pub tokens: usize,
    k: Vec<f32>,
    v: Vec<f32>,
    q: Vec<f32>,
    gates: [Vec<f32>; 3],
    state: Vec<f32>,
    y: Vec<f32>,
    boundaries: Vec<f32>,
    scratch: Vec<f32>,
    gradients: [Vec<f32>; 7],
}

impl Case {
    /// A plain network of these widths. Keys and queries have about length one. Half of a value is its key and little
    /// is forgotten, so that nothing fades into denormal numbers, on which arithmetic is slow.
    pub fn new(widths: &[usize], chunk: usize, tokens: usize) -> Result<Self> {
        let mut spec = MemorySpec::new(widths)?;
        (spec.chunk, spec.compute_chunk, spec.network) = (chunk, 0, Network::Plain);
        (spec.loss, spec.clip) = (Loss::Sum, None);
        spec.validate()?;
        let (key, value, state) = (spec.key_width(), spec.value_width(), spec.state_len());
        let unit = (3.0 / key as f32).sqrt();
        let row = |width: usize, seed: u64| numbers(tokens * width, unit, seed);
        let gate = |level: f32, seed| numbers(tokens, 0.2, seed).iter().map(|x| level * (1.0 + x)).collect();
        let k = row(key, 1);
        let mut v = row(value, 2);
        if key == value {
            v.iter_mut().zip(&k).for_each(|(v, k)| *v = 0.5 * (*v + k));
        }
        let scratch = [Form::Chunk, Form::Token].map(|form| forward_scratch_len(&spec, form));
        let scratch = scratch.into_iter().chain([vjp_scratch_len(&spec), Stream::<f32>::scratch_len(&spec)]).max();
        Ok(Self {
            tokens,
            k,
            v,
            q: row(key, 3),
            gates: [gate(1e-4, 4), gate(0.05, 5), gate(0.5, 6)],
            state: numbers(state, 0.3 * unit, 7),
            y: vec![0.0; tokens * value],
            boundaries: vec![0.0; spec.boundaries_len(tokens)],
            scratch: vec![0.0; scratch.unwrap_or(0)],
            gradients: [tokens * key, tokens * value, tokens * key, tokens, tokens, tokens, state]
                .map(|n| vec![0.0; n]),
            spec,
        })
    }

    /// All tokens in one call; the next call goes on from the state that this one left.
    pub fn forward(&mut self, g: &Simd, form: Form) -> Result<()> {
        let tokens = tokens(&self.spec, self.tokens, [&self.k, &self.v, &self.q], &self.gates)?;
        let y = MatMut::new(&mut self.y, self.tokens, self.spec.value_width())?;
        let (state, boundaries, scratch) = (&mut self.state, Some(&mut self.boundaries[..]), &mut self.scratch);
        forward(g, &self.spec, form, Read::After, &tokens, Outputs { state, y, surprise: None, boundaries }, scratch)?;
        Ok(())
    }

    /// The backward of the last [`Case::forward`]. The read-outs serve as their own cotangent.
    pub fn vjp(&mut self, g: &Simd) -> Result<()> {
        let (n, key, value) = (self.tokens, self.spec.key_width(), self.spec.value_width());
        let tokens = tokens(&self.spec, n, [&self.k, &self.v, &self.q], &self.gates)?;
        let cotangents = Cotangents { y: Some(Mat::new(&self.y, n, value)?), state: None };
        let [k, v, q, alpha, theta, eta, state] = &mut self.gradients;
        let (k, v, q) = (MatMut::new(k, n, key)?, MatMut::new(v, n, value)?, MatMut::new(q, n, key)?);
        let gradients = Gradients { k, v, q, alpha, theta, eta, state };
        vjp(
            g,
            &self.spec,
            Record { read: Read::After, tokens: &tokens, boundaries: &self.boundaries },
            cotangents,
            gradients,
            &mut self.scratch,
        )?;
        Ok(())
    }

    /// A stream's block, begun with this memory's weights.
    pub fn block(&self) -> Result<Vec<f32>> {
        let mut block = vec![0.0; Stream::<f32>::len(&self.spec)];
        Stream::new(&self.spec, Read::After, &self.state[..self.spec.params()], &mut block)?;
        Ok(block)
    }

    /// All tokens, `piece` a call, to a stream that stands at the start of a chunk and, by then, at one again.
    pub fn stream(&mut self, g: &Simd, piece: usize, block: &mut [f32]) -> Result<()> {
        let all = tokens(&self.spec, self.tokens, [&self.k, &self.v, &self.q], &self.gates)?;
        let mut stream = Stream::attach(&self.spec, Read::After, Default::default(), block)?;
        let mut y = MatMut::new(&mut self.y, self.tokens, self.spec.value_width())?;
        for from in (0..self.tokens).step_by(piece) {
            let n = piece.min(self.tokens - from);
            let [alpha, theta, eta] = [0, 1, 2].map(|i| Gate::tokens(&self.gates[i][from..from + n]));
            let (k, v, q) = (all.k.sub(from, n), all.v.sub(from, n), all.q.sub(from, n));
            let tokens = Tokens { k, v, q, alpha, theta, eta, mask: Mask::Write };
            stream.write(g, &tokens, Some(y.rb().sub(from, n)), None, &mut self.scratch)?;
        }
        Ok(())
    }
}

fn tokens<'a>(
    spec: &MemorySpec,
    n: usize,
    [k, v, q]: [&'a [f32]; 3],
    gates: &'a [Vec<f32>; 3],
) -> Result<Tokens<'a, f32>> {
    let (key, value) = (spec.key_width(), spec.value_width());
    let [alpha, theta, eta] = [0, 1, 2].map(|i| Gate::tokens(&gates[i]));
    let (k, v, q) = (Mat::new(k, n, key)?, Mat::new(v, n, value)?, Mat::new(q, n, key)?);
    Ok(Tokens { k, v, q, alpha, theta, eta, mask: Mask::Write })
}
