//! The kernel against float64 vectors of independent programs: forward, the three reads, final state, gradients.

use crate::vectors as golden;
use crate::vectors::Golden;
use std::cell::Cell;
use std::collections::BTreeMap;
use titans_kernel::arch::{Isa, Simd, SimdScalar};
use titans_kernel::memory::{
    Cotangents, Form, Gate, Gradients, Mask, Outputs, Read, Record, Tokens, forward, forward_scratch_len, vjp,
    vjp_scratch_len,
};
use titans_kernel::{Arithmetic, Mat, MatMut, Portable, Scalar, Store};

/// The versions of the kernel's arithmetic that this machine has.
fn versions() -> Vec<Simd> {
    Isa::ALL.into_iter().filter_map(Simd::new).collect()
}

/// Largest difference over the largest value wanted.
fn distance<T: Scalar>(got: &[T], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let worst = got.iter().zip(want).map(|(g, w)| (g.to_f64() - w).abs());
    worst.fold(0.0, |m: f64, e| if e.is_nan() { e } else { m.max(e) }) / scale
}

fn check<T: Scalar>(file: &str, what: &str, got: &[T], want: &[f64], tolerance: f64) {
    let off = distance(got, want);
    assert!(off <= tolerance, "{file}: {what}: off by {off:e} of the largest value, {tolerance:e} allowed");
}

/// Products in double precision, each result off by `unit` of itself, up or down: what storing it in a precision of
/// that unit may cost.
struct Noisy {
    unit: f64,
    seed: Cell<u64>,
}

impl Noisy {
    fn spoil(&self, x: &mut f64) {
        self.seed.set(self.seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        *x += *x * if self.seed.get() >> 63 == 0 { self.unit } else { -self.unit };
    }
}

impl Arithmetic<f64> for Noisy {
    fn gemm(&self, store: Store, a: Mat<'_, f64>, b: Mat<'_, f64>, mut c: MatMut<'_, f64>) {
        Portable.gemm(store, a, b, c.rb());
        (0..c.rows()).for_each(|i| c.row_mut(i).iter_mut().for_each(|x| self.spoil(x)));
    }

    fn axpy(&self, store: Store, w: f64, x: &[f64], y: &mut [f64]) {
        Portable.axpy(store, w, x, y);
        y.iter_mut().for_each(|x| self.spoil(x));
    }
}

/// The inputs of one head of one sequence.
struct Head<T> {
    k: Vec<T>,
    v: Vec<T>,
    q: Vec<T>,
    alpha: Vec<T>,
    theta: Vec<T>,
    eta: Vec<T>,
    state: Vec<T>,
}

/// Names of the parameters' tensors with their lengths, in the order of the state.
fn parameters(g: &Golden, weight: &str, gamma: &str) -> Vec<(String, usize)> {
    let layers = g.spec.layers();
    let mut names: Vec<_> =
        (0..layers).map(|l| (format!("{weight}.{l}"), g.spec.layer(l).0 * g.spec.layer(l).1)).collect();
    if g.spec.gamma_len() > 0 {
        names.push((gamma.to_string(), g.spec.gamma_len()));
    }
    names
}

impl<T: Scalar> Head<T> {
    fn new(g: &Golden, b: usize, h: usize) -> Self {
        let (batch, heads, t) = g.dims;
        let (i, parts) = (b * heads + h, batch * heads);
        let (dk, dv) = (g.spec.key_width(), g.spec.value_width());
        let mut state = Vec::new();
        for (name, len) in parameters(g, "w0", "gamma0").into_iter().chain(parameters(g, "s0", "sgamma0")) {
            state.extend(g.part::<T>(&name, h, heads, len));
        }
        let tokens = |name: &str, width: usize| g.part::<T>(name, i, parts, t * width);
        Self {
            k: tokens("k", dk),
            v: tokens("v", dv),
            q: tokens("q", dk),
            alpha: tokens("alpha", 1),
            theta: tokens("theta", 1),
            eta: tokens("eta", 1),
            state,
        }
    }

    fn tokens<'a>(&'a self, g: &Golden) -> Tokens<'a, T> {
        let (dk, dv, t) = (g.spec.key_width(), g.spec.value_width(), g.dims.2);
        Tokens {
            k: Mat::new(&self.k, t, dk).unwrap(),
            v: Mat::new(&self.v, t, dv).unwrap(),
            q: Mat::new(&self.q, t, dk).unwrap(),
            alpha: Gate::tokens(&self.alpha),
            theta: Gate::tokens(&self.theta),
            eta: Gate::tokens(&self.eta),
            mask: Mask::Write,
        }
    }
}

struct Output<T> {
    y: Vec<T>,
    surprise: Vec<T>,
    state: Vec<T>,
    boundaries: Vec<T>,
}

fn run<T: Scalar, K: Arithmetic<T>>(kernel: &K, g: &Golden, head: &Head<T>, form: Form, read: Read) -> Output<T> {
    let (t, dv) = (g.dims.2, g.spec.value_width());
    let mut out = Output {
        y: vec![T::NAN; t * dv],
        surprise: vec![T::NAN; t],
        state: head.state.clone(),
        boundaries: vec![T::NAN; g.spec.boundaries_len(t)],
    };
    let mut scratch = vec![T::NAN; forward_scratch_len(&g.spec, form)];
    forward(
        kernel,
        &g.spec,
        form,
        read,
        &head.tokens(g),
        Outputs {
            state: &mut out.state,
            y: MatMut::new(&mut out.y, t, dv).unwrap(),
            surprise: Some(&mut out.surprise),
            boundaries: Some(&mut out.boundaries),
        },
        &mut scratch,
    )
    .unwrap();
    out
}

/// Everything that one way of computing returns, by the names of the golden tensors.
fn outputs<T: Scalar, K: Arithmetic<T>>(kernel: &K, g: &Golden, form: Form) -> BTreeMap<String, Vec<T>> {
    let (batch, heads, _) = g.dims;
    let mut all = BTreeMap::<String, Vec<T>>::new();
    for (read, name) in [(Read::After, "y.post"), (Read::Before, "y.pre"), (Read::ChunkStart, "y.chunk_start")] {
        for i in 0..batch * heads {
            let out = run(kernel, g, &Head::<T>::new(g, i / heads, i % heads), form, read);
            all.entry(name.into()).or_default().extend(out.y);
            if read != Read::After {
                continue;
            }
            all.entry("surprise".into()).or_default().extend(out.surprise);
            let mut at = 0;
            for (name, len) in parameters(g, "w", "gamma").into_iter().chain(parameters(g, "s", "sgamma")) {
                all.entry(name).or_default().extend(&out.state[at..at + len]);
                at += len;
            }
        }
    }
    all
}

/// Compares all that a file has. Returns the tensors that were further off than `tolerance`, but within four times what
/// rounding the inputs and every product to the precision already does to an otherwise double computation: on these the
/// recurrence amplifies rounding so much that no program in this precision can promise `tolerance`.
fn forward_case<T: SimdScalar>(kernel: &Simd, g: &Golden, form: Form, tolerance: f64, unit: f64) -> Vec<String> {
    let got = outputs::<T, _>(kernel, g, form);
    let mut amplified = vec![];
    let noise = |name: &str, want: &[f64]| {
        let draws = (1..=8).map(|seed| {
            let noisy = Noisy { unit, seed: Cell::new(seed) };
            outputs(&noisy, &g.spoilt(|x| noisy.spoil(x)), form)
        });
        draws.map(|o| distance(&o[name], want)).fold(0.0, f64::max)
    };
    for (name, got) in &got {
        let Some(want) = g.get(name) else { continue };
        let off = distance(got, want);
        if off.is_nan() || off > tolerance {
            let noise = noise(name, want);
            check(&g.name, name, got, want, tolerance.max(4.0 * noise));
            let isa = kernel.isa().name();
            amplified.push(format!("{} {isa} {form:?} {name}: {off:.1e}, rounding alone {noise:.1e}", g.name));
        }
    }
    amplified
}

fn gradient_case<T: SimdScalar>(kernel: &Simd, g: &Golden, tolerance: f64) -> usize {
    if g.get("cot.y").is_none() {
        return 0;
    }
    let (batch, heads, t) = g.dims;
    let (dk, dv, len) = (g.spec.key_width(), g.spec.value_width(), g.spec.state_len());
    let mut all: [Vec<T>; 6] = Default::default();
    let mut d_states = vec![vec![T::ZERO; len]; heads];
    for b in 0..batch {
        for h in 0..heads {
            let head = Head::<T>::new(g, b, h);
            let boundaries = run(kernel, g, &head, Form::Chunk, Read::After).boundaries;
            let (i, parts) = (b * heads + h, batch * heads);
            let d_y = g.part::<T>("cot.y", i, parts, t * dv);
            let mut d_final = Vec::new();
            for (name, len) in parameters(g, "cot.w", "").into_iter().chain(parameters(g, "cot.s", "")) {
                d_final.extend(g.part::<T>(&name, i, parts, len));
            }
            let mut d = [t * dk, t * dv, t * dk, t, t, t].map(|n| vec![T::NAN; n]);
            let mut d_state = vec![T::NAN; len];
            let mut scratch = vec![T::NAN; vjp_scratch_len(&g.spec)];
            let [d_k, d_v, d_q, d_alpha, d_theta, d_eta] = &mut d;
            vjp(
                kernel,
                &g.spec,
                Record { read: Read::After, tokens: &head.tokens(g), boundaries: &boundaries },
                Cotangents { y: Some(Mat::new(&d_y, t, dv).unwrap()), state: Some(&d_final) },
                Gradients {
                    k: MatMut::new(d_k, t, dk).unwrap(),
                    v: MatMut::new(d_v, t, dv).unwrap(),
                    q: MatMut::new(d_q, t, dk).unwrap(),
                    alpha: d_alpha,
                    theta: d_theta,
                    eta: d_eta,
                    state: &mut d_state,
                },
                &mut scratch,
            )
            .unwrap();
            for (all, d) in all.iter_mut().zip(d) {
                all.extend(d);
            }
            for (sum, d) in d_states[h].iter_mut().zip(d_state) {
                *sum += d;
            }
        }
    }
    let mut seen = 0;
    for (name, got) in ["k", "v", "q", "alpha", "theta", "eta"].iter().zip(&all) {
        if let Some(want) = g.get(&format!("grad.{name}")) {
            check(&g.name, &format!("grad.{name}"), got, want, tolerance);
            seen += 1;
        }
    }
    let mut at = 0;
    for (name, len) in parameters(g, "grad.w0", "").into_iter().chain(parameters(g, "grad.s0", "")) {
        if let Some(want) = g.get(&name) {
            let got: Vec<T> = d_states.iter().flat_map(|s| s[at..at + len].iter().copied()).collect();
            check(&g.name, &name, &got, want, tolerance);
            seen += 1;
        }
        at += len;
    }
    let wanted = g.names().filter(|n| n.starts_with("grad.")).count();
    assert_eq!(seen, wanted, "{}: every gradient in the file is compared", g.name);
    seen
}

fn forward_files<T: SimdScalar>(tolerance: f64, unit: f64, known: &[&str]) {
    let mut amplified = vec![];
    for g in golden::all() {
        for (kernel, form) in versions().iter().flat_map(|k| [(k, Form::Token), (k, Form::Chunk)]) {
            let rows = forward_case::<T>(kernel, &g, form, tolerance, unit);
            assert!(rows.is_empty() || known.contains(&g.name.as_str()), "not known to amplify: {rows:#?}");
            amplified.extend(rows);
        }
    }
    println!("beyond {tolerance:e} because the recurrence amplifies rounding:\n{}", amplified.join("\n"));
}

#[test]
fn double_precision_forward_is_within_1e_12() {
    forward_files::<f64>(1e-12, f64::EPSILON / 2.0, &["residual3_d8_h1_T37_c4"]);
}

#[test]
fn single_precision_forward_is_within_1e_5() {
    let known =
        ["residual2_d33_h2_T29_c7", "residual2_d8_h1_T37_c1", "residual2_d8_h1_T37_c4", "residual3_d8_h1_T37_c4"];
    forward_files::<f32>(1e-5, f64::from(f32::EPSILON) / 2.0, &known);
}

#[test]
fn double_precision_gradients_are_within_1e_12() {
    for kernel in versions() {
        let compared: usize = golden::all().iter().map(|g| gradient_case::<f64>(&kernel, g, 1e-12)).sum();
        assert!(compared > 300, "{compared} gradients compared");
    }
}

#[test]
fn chunks_in_pieces_are_the_vectors_too() {
    let mut compared = 0;
    for (piece, kernel) in [3, 16].into_iter().flat_map(|piece| versions().into_iter().map(move |k| (piece, k))) {
        for mut g in golden::all().into_iter().filter(|g| g.spec.chunk > piece) {
            g.spec.compute_chunk = piece;
            let amplified = forward_case::<f64>(&kernel, &g, Form::Chunk, 1e-12, f64::EPSILON / 2.0);
            assert!(amplified.is_empty() || g.name == "residual3_d8_h1_T37_c4", "{amplified:#?}");
            compared += 1 + gradient_case::<f64>(&kernel, &g, 1e-12);
        }
    }
    assert!(compared > 200, "{compared} compared");
}

#[test]
fn single_precision_gradients_are_within_1e_5() {
    for kernel in versions() {
        golden::all().iter().for_each(|g| {
            gradient_case::<f32>(&kernel, g, 1e-5);
        });
    }
}
