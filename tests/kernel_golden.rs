//! The kernel against float64 vectors of independent programs: forward, the three reads, final state, gradients.

#[path = "common/golden.rs"]
mod golden;

use golden::Golden;
use titans_kernel::memory::{
    Cotangents, Form, Gate, Gradients, Mask, Read, Tokens, forward, forward_scratch_len, vjp, vjp_scratch_len,
};
use titans_kernel::{Mat, MatMut, Portable, Scalar};

/// Largest difference over the largest value wanted.
fn check<T: Scalar>(file: &str, what: &str, got: &[T], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{file}: {what}");
    let scale = want.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let worst = got
        .iter()
        .zip(want)
        .map(|(g, w)| (g.to_f64() - w).abs())
        .fold(0.0, |m: f64, e| if e.is_nan() { e } else { m.max(e) });
    if worst > tolerance * scale * 0.3 {
        eprintln!("{file} {what} {:e}", worst / scale);
    }
    if std::env::var("X").is_ok() {
        return;
    }
    assert!(worst <= tolerance * scale, "{file}: {what}: off by {:e} of the largest value", worst / scale);
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

fn run<T: Scalar>(g: &Golden, head: &Head<T>, form: Form, read: Read) -> Output<T> {
    let (t, dv) = (g.dims.2, g.spec.value_width());
    let mut out = Output {
        y: vec![T::NAN; t * dv],
        surprise: vec![T::NAN; t],
        state: head.state.clone(),
        boundaries: vec![T::NAN; g.spec.boundaries_len(t)],
    };
    let mut scratch = vec![T::NAN; forward_scratch_len(&g.spec, form)];
    forward(
        &Portable,
        &g.spec,
        form,
        read,
        &head.tokens(g),
        &mut out.state,
        MatMut::new(&mut out.y, t, dv).unwrap(),
        Some(&mut out.surprise),
        Some(&mut out.boundaries),
        &mut scratch,
    )
    .unwrap();
    out
}

fn forward_case<T: Scalar>(g: &Golden, form: Form, tolerance: f64) {
    let (batch, heads, t) = g.dims;
    for (read, name) in [(Read::After, "y.post"), (Read::Before, "y.pre"), (Read::ChunkStart, "y.chunk_start")] {
        let (mut y, mut surprise, mut states) = (vec![], vec![], vec![]);
        for b in 0..batch {
            for h in 0..heads {
                let out = run(g, &Head::<T>::new(g, b, h), form, read);
                y.extend(out.y);
                surprise.extend(out.surprise);
                states.push(out.state);
            }
        }
        check(&g.name, name, &y, g.get(name).expect("read-outs"), tolerance);
        if let Some(want) = g.get("surprise") {
            check(&g.name, "surprise", &surprise, want, tolerance);
        }
        assert_eq!(surprise.len(), batch * heads * t);
        let mut at = 0;
        for (name, len) in parameters(g, "w", "gamma").into_iter().chain(parameters(g, "s", "sgamma")) {
            let got: Vec<T> = states.iter().flat_map(|s| s[at..at + len].iter().copied()).collect();
            check(&g.name, &name, &got, g.get(&name).expect("final state"), tolerance);
            at += len;
        }
    }
}

fn gradient_case<T: Scalar>(g: &Golden, tolerance: f64) -> usize {
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
            let boundaries = run(g, &head, Form::Chunk, Read::After).boundaries;
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
                &Portable,
                &g.spec,
                Read::After,
                &head.tokens(g),
                &boundaries,
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

#[test]
fn double_precision_forward_is_within_1e_12() {
    for g in golden::all() {
        for form in [Form::Token, Form::Chunk] {
            forward_case::<f64>(&g, form, 1e-12);
        }
    }
}

#[test]
fn single_precision_forward_is_within_1e_5() {
    for g in golden::all() {
        for form in [Form::Token, Form::Chunk] {
            forward_case::<f32>(&g, form, 1e-5);
        }
    }
}

#[test]
fn double_precision_gradients_are_within_1e_12() {
    let compared: usize = golden::all().iter().map(|g| gradient_case::<f64>(g, 1e-12)).sum();
    assert!(compared > 300, "{compared} gradients compared");
}

#[test]
fn single_precision_gradients_are_within_1e_5() {
    for g in golden::all() {
        gradient_case::<f32>(&g, 1e-5);
    }
}
