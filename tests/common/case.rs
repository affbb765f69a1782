//! Random memories with random tokens: what the kernel's property tests share.

use proptest::prelude::*;
use titans_kernel::arch::{Isa, Simd, SimdScalar};
use titans_kernel::memory::{
    Activation, Form, Gate, Loss, Mask, MemorySpec, Network, Outputs, Read, Tokens, forward, forward_scratch_len,
};
use titans_kernel::{Mat, MatMut, Scalar};

/// One memory and its tokens.
#[derive(Clone, Debug)]
pub struct Case {
    /// The arithmetic it is run with; portable when it is made.
    pub kernel: Simd,
    pub spec: MemorySpec,
    pub read: Read,
    pub n: usize,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
    pub q: Vec<f64>,
    /// Gates, a value for every token or chunk; with [`MemorySpec::layer_gates`] as many or `[entries, layers]`.
    pub alpha: Vec<f64>,
    pub theta: Vec<f64>,
    pub eta: Vec<f64>,
    pub mask: Option<Vec<u32>>,
    pub state: Vec<f64>,
    /// The gates come one a chunk.
    pub per_chunk: bool,
}

/// What a forward returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Output<T> {
    pub y: Vec<T>,
    pub surprise: Vec<T>,
    pub state: Vec<T>,
    pub boundaries: Vec<T>,
    pub clipped: u64,
}

fn numbers(n: usize, scale: f64) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-1.0..1.0f64).prop_map(move |x| x * scale), n)
}

/// Gates in [0, top], both ends among them.
fn gates(n: usize, top: f64) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![6 => 0.0..top, 1 => Just(0.0), 1 => Just(top)], n)
}

fn spec(tame: bool) -> impl Strategy<Value = MemorySpec> {
    let activation = prop_oneof![
        Just(Activation::Silu),
        Just(Activation::Gelu),
        Just(Activation::GeluTanh),
        Just(Activation::Relu),
        Just(Activation::Identity)
    ];
    let loss = prop_oneof![Just(Loss::Sum), Just(Loss::Half), Just(Loss::Mean)];
    let chunk = prop_oneof![Just(1usize), Just(2), Just(4), Just(5), Just(16), Just(64)];
    let clip = prop_oneof![2 => Just(None), 1 => (0.3..3.0f64).prop_map(Some)];
    let widths = prop::collection::vec(1usize..10, 2..=5);
    (widths, activation, loss, chunk, clip, any::<bool>()).prop_map(
        move |(mut w, activation, loss, chunk, clip, residual)| {
            if residual {
                let last = w.len() - 1;
                w[last] = w[0];
                if tame {
                    w.iter_mut().for_each(|w| *w = (*w).max(5));
                }
            }
            let mut spec = MemorySpec::new(&w).expect("spec");
            spec.network = if residual { Network::Residual } else { Network::Plain };
            (spec.activation, spec.loss, spec.chunk, spec.clip) = (activation, loss, chunk, clip);
            spec.compute_chunk = 0;
            spec
        },
    )
}

/// Up to `longest` tokens for any memory. `tame` leaves out what amplifies rounding without bound: residual networks of
/// fewer than 5 values (the layer norm of two is nearly a sign) or whose weights are all forgotten at once (it divides
/// by nearly 0), and momentum that never decays.
pub fn case(longest: usize, tame: bool) -> impl Strategy<Value = Case> {
    let read = prop_oneof![Just(Read::After), Just(Read::Before), Just(Read::ChunkStart)];
    (spec(tame), read, 1..=longest, any::<bool>()).prop_flat_map(move |(spec, read, n, per_chunk)| {
        let (dk, dv) = (spec.key_width(), spec.value_width());
        let entries = if per_chunk { spec.chunks(n) } else { n };
        let mask = prop_oneof![2 => Just(None), 1 => prop::collection::vec(0u32..3, n).prop_map(Some)];
        let tokens = (numbers(n * dk, 1.0), numbers(n * dv, 1.0), numbers(n * dk, 1.0));
        let (rate, decay) = if tame { (0.02, 0.8) } else { (0.05, 1.0) };
        let forget = if tame && spec.network == Network::Residual { 0.1 } else { 1.0 };
        let gates = (gates(entries, forget), gates(entries, rate), gates(entries, decay));
        // Under a layer norm, weights of order one keep the variance away from 0.
        let params = spec.params();
        let scale = if tame && spec.network == Network::Residual { 1.2 } else { 0.4 };
        let state = numbers(spec.state_len(), scale).prop_map(move |mut s| {
            s[params..].iter_mut().for_each(|x| *x *= 0.2);
            s
        });
        (tokens, gates, mask, state).prop_map(move |((k, v, q), (alpha, theta, eta), mask, state)| Case {
            kernel: Simd::new(Isa::Portable).expect("portable"),
            spec: spec.clone(),
            read,
            n,
            k,
            v,
            q,
            alpha,
            theta,
            eta,
            mask,
            state,
            per_chunk,
        })
    })
}

/// The numbers of a case in one precision.
pub struct Inputs<T> {
    pub k: Vec<T>,
    pub v: Vec<T>,
    pub q: Vec<T>,
    pub alpha: Vec<T>,
    pub theta: Vec<T>,
    pub eta: Vec<T>,
    pub state: Vec<T>,
    mask: Option<Vec<u32>>,
    per_chunk: bool,
    chunk: usize,
    entries: usize,
    widths: (usize, usize),
}

impl Case {
    /// Values of a gate that all layers share.
    pub fn entries(&self) -> usize {
        if self.per_chunk { self.spec.chunks(self.n) } else { self.n }
    }

    pub fn inputs<T: Scalar>(&self) -> Inputs<T> {
        let cast = |x: &[f64]| x.iter().map(|&x| T::from_f64(x)).collect();
        Inputs {
            k: cast(&self.k),
            v: cast(&self.v),
            q: cast(&self.q),
            alpha: cast(&self.alpha),
            theta: cast(&self.theta),
            eta: cast(&self.eta),
            state: cast(&self.state),
            mask: self.mask.clone(),
            per_chunk: self.per_chunk,
            chunk: self.spec.chunk,
            entries: self.entries(),
            widths: (self.spec.key_width(), self.spec.value_width()),
        }
    }

    /// Runs it. Outputs and scratch hold NaN before.
    pub fn run<T: SimdScalar>(&self, form: Form) -> Output<T> {
        let inputs = self.inputs::<T>();
        let dv = self.spec.value_width();
        let mut out = Output {
            y: vec![T::NAN; self.n * dv],
            surprise: vec![T::NAN; self.n],
            state: inputs.state.clone(),
            boundaries: vec![T::NAN; self.spec.boundaries_len(self.n)],
            clipped: 0,
        };
        let mut scratch = vec![T::NAN; forward_scratch_len(&self.spec, form)];
        out.clipped = forward(
            &self.kernel,
            &self.spec,
            form,
            self.read,
            &inputs.tokens(0, self.n),
            Outputs {
                state: &mut out.state,
                y: MatMut::new(&mut out.y, self.n, dv).expect("y"),
                surprise: Some(&mut out.surprise),
                boundaries: Some(&mut out.boundaries),
            },
            &mut scratch,
        )
        .expect("forward");
        out
    }
}

impl<T: Scalar> Inputs<T> {
    /// Tokens `from .. from + n`; of gates that come one a chunk, those of the chunks they touch.
    pub fn tokens(&self, from: usize, n: usize) -> Tokens<'_, T> {
        let (dk, dv) = self.widths;
        let touched =
            if self.per_chunk { (from / self.chunk, (from + n).div_ceil(self.chunk)) } else { (from, from + n) };
        fn make<T: Scalar>(x: &[T], (a, b): (usize, usize), per_chunk: bool, entries: usize) -> Gate<'_, T> {
            let layers = x.len() / entries;
            if layers > 1 {
                let x = &x[a * layers..b * layers];
                let gate = if per_chunk { Gate::strided_chunks(x, layers) } else { Gate::strided_tokens(x, layers) };
                return gate.layers(layers, 1);
            }
            if per_chunk { Gate::chunks(&x[a..b]) } else { Gate::tokens(&x[a..b]) }
        }
        Tokens {
            k: Mat::new(&self.k[from * dk..], n, dk).expect("k"),
            v: Mat::new(&self.v[from * dv..], n, dv).expect("v"),
            q: Mat::new(&self.q[from * dk..], n, dk).expect("q"),
            alpha: make(&self.alpha, touched, self.per_chunk, self.entries),
            theta: make(&self.theta, touched, self.per_chunk, self.entries),
            eta: make(&self.eta, touched, self.per_chunk, self.entries),
            mask: self.mask.as_ref().map_or(Mask::Write, |m| Mask::Tokens(&m[from..from + n])),
        }
    }
}
