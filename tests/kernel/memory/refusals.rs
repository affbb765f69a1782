//! A backward that is called wrongly names the argument, and every gradient stays as it was.

use super::one;
use crate::case::{Case, Inputs};
use titans_kernel::memory::{
    Cotangents, Form, Gate, Gradients, Loss, Mask, MemorySpec, Record, Tokens, vjp, vjp_scratch_len,
};
use titans_kernel::{Error, Mat, MatMut};

const N: usize = 7;
/// What the outputs hold before a call.
const BEFORE: f64 = 7.0;

/// The sizes of what a backward is given: matrices as rows and columns, the rest as lengths.
#[derive(Clone, Copy)]
struct Sizes {
    k: [usize; 2],
    v: [usize; 2],
    q: [usize; 2],
    gates: [usize; 3],
    mask: usize,
    boundaries: usize,
    d_y: [usize; 2],
    d_final: usize,
    d_rows: [[usize; 2]; 3],
    d_gates: [usize; 3],
    d_state: usize,
    scratch: usize,
}

impl Sizes {
    /// Those that fit.
    fn of(spec: &MemorySpec) -> Self {
        let (keys, values) = ([N, spec.key_width()], [N, spec.value_width()]);
        Self {
            k: keys,
            v: values,
            q: keys,
            gates: [N; 3],
            mask: N,
            boundaries: spec.boundaries_len(N),
            d_y: values,
            d_final: spec.state_len(),
            d_rows: [keys, values, keys],
            d_gates: [N; 3],
            d_state: spec.state_len(),
            scratch: vjp_scratch_len(spec),
        }
    }
}

/// A view of these sizes; what lies in it is of no interest to a call that is refused.
fn view(x: &[f64], [rows, cols]: [usize; 2]) -> Mat<'_, f64> {
    Mat::new(&x[..rows * cols], rows, cols).unwrap()
}

/// The call with these sizes. `turned` gives the keys as a transpose.
fn call(case: &Case, spec: &MemorySpec, s: &Sizes, turned: bool) -> Result<(), Error> {
    // More of everything than any size here asks for.
    let pool = vec![0.1; 4 * spec.boundaries_len(N) + N * N * 16];
    let mask = vec![0; s.mask];
    let mut d_rows = s.d_rows.map(|[rows, cols]| vec![BEFORE; rows * cols]);
    let mut d_gates = s.d_gates.map(|n| vec![BEFORE; n]);
    let mut d_state = vec![BEFORE; s.d_state];
    let k = if turned { view(&pool, [s.k[1], s.k[0]]).t() } else { view(&pool, s.k) };
    let (v, q) = (view(&pool, s.v), view(&pool, s.q));
    let [alpha, theta, eta] = s.gates.map(|n| Gate::tokens(&pool[..n]));
    let tokens = Tokens { k, v, q, alpha, theta, eta, mask: Mask::Tokens(&mask) };
    let cotangents = Cotangents { y: Some(view(&pool, s.d_y)), state: Some(&pool[..s.d_final]) };
    let [d_k, d_v, d_q] = d_rows.each_mut();
    let [d_alpha, d_theta, d_eta] = d_gates.each_mut();
    let out = |x, [rows, cols]: [usize; 2]| MatMut::new(x, rows, cols).unwrap();
    let gradients = Gradients {
        k: out(d_k, s.d_rows[0]),
        v: out(d_v, s.d_rows[1]),
        q: out(d_q, s.d_rows[2]),
        alpha: d_alpha,
        theta: d_theta,
        eta: d_eta,
        state: &mut d_state,
    };
    let mut scratch = vec![f64::NAN; s.scratch];
    let boundaries = &pool[..s.boundaries];
    let result = vjp(
        &case.kernel,
        spec,
        Record { read: case.read, tokens: &tokens, boundaries },
        cotangents,
        gradients,
        &mut scratch,
    );
    if result.is_err() {
        let outputs = d_rows.iter().chain(&d_gates).chain([&d_state]);
        assert!(outputs.flatten().all(|&x| x == BEFORE), "{result:?}: a gradient was written");
    }
    result
}

#[test]
fn a_backward_of_wrong_sizes_names_them_and_writes_no_gradient() {
    type Spoil = fn(&mut Sizes);
    let wrong: [(&str, Spoil); 30] = [
        ("k columns", |s| s.k[1] += 1),
        ("v rows", |s| s.v[0] -= 1),
        ("v columns", |s| s.v[1] += 1),
        ("q rows", |s| s.q[0] += 1),
        ("q columns", |s| s.q[1] += 1),
        ("alpha", |s| s.gates[0] -= 1),
        ("theta", |s| s.gates[1] -= 1),
        ("eta", |s| s.gates[2] -= 1),
        ("mask", |s| s.mask -= 1),
        ("mask", |s| s.mask += 1),
        ("boundaries", |s| s.boundaries -= 1),
        ("boundaries", |s| s.boundaries += 1),
        ("boundaries", |s| s.boundaries = 0),
        ("cotangent of y, rows", |s| s.d_y[0] -= 1),
        ("cotangent of y, columns", |s| s.d_y[1] += 1),
        ("cotangent of the state", |s| s.d_final -= 1),
        ("cotangent of the state", |s| s.d_final += 1),
        ("d_k", |s| s.d_rows[0][0] -= 1),
        ("d_k", |s| s.d_rows[0][1] += 1),
        ("d_v", |s| s.d_rows[1][0] += 1),
        ("d_v", |s| s.d_rows[1][1] += 1),
        ("d_q", |s| s.d_rows[2][0] -= 1),
        ("d_q", |s| s.d_rows[2][1] += 1),
        ("d_alpha", |s| s.d_gates[0] -= 1),
        ("d_theta", |s| s.d_gates[1] += 1),
        ("d_eta", |s| s.d_gates[2] = 0),
        ("d_state", |s| s.d_state -= 1),
        ("d_state", |s| s.d_state /= 2),
        ("scratch", |s| s.scratch -= 1),
        ("scratch", |s| s.scratch = 0),
    ];
    for (case, spec) in specs() {
        let good = Sizes::of(&spec);
        call(&case, &spec, &good, false).unwrap();
        for (name, spoil) in wrong {
            let mut sizes = good;
            spoil(&mut sizes);
            let error = call(&case, &spec, &sizes, false).unwrap_err();
            assert!(error.to_string().starts_with(name), "{name}: {error}");
        }
        let error = call(&case, &spec, &good, true).unwrap_err();
        assert_eq!(error, Error::Shape { what: "k column stride", expected: 1, found: N });
    }
}

#[test]
fn a_backward_of_a_memory_that_cannot_be_is_refused() {
    let (case, good) = specs().remove(0);
    type Spoil = fn(&mut MemorySpec);
    let wrong: [(&str, Spoil); 4] = [
        ("chunk", |s| s.chunk = 0),
        ("keep_every", |s| s.keep_every = 0),
        ("clip", |s| s.clip = Some(0.0)),
        ("width", |s| s.widths[1] = 0),
    ];
    for (name, spoil) in wrong {
        let mut spec = good.clone();
        spoil(&mut spec);
        let error = call(&case, &spec, &Sizes::of(&good), false).unwrap_err();
        assert!(matches!(error, Error::Config { what, .. } if what.starts_with(name)), "{name}: {error}");
    }
}

/// Gates that come one a chunk have gradients one a chunk.
#[test]
fn gradients_of_gates_have_the_gates_lengths() {
    let mut case = one(2, N);
    (case.spec.chunk, case.per_chunk) = (3, true);
    let chunks = case.spec.chunks(N);
    for gate in [&mut case.alpha, &mut case.theta, &mut case.eta] {
        gate.truncate(chunks);
    }
    let boundaries = case.run::<f64>(Form::Chunk).boundaries;
    let inputs: Inputs<f64> = case.inputs();
    let (dk, dv, len) = (case.spec.key_width(), case.spec.value_width(), case.spec.state_len());
    let run = |entries: usize| {
        let mut d = [N * dk, N * dv, N * dk, entries, entries, entries, len].map(|n| vec![BEFORE; n]);
        let [k, v, q, alpha, theta, eta, state] = &mut d;
        let rows = |x, width| MatMut::new(x, N, width).unwrap();
        let gradients = Gradients { k: rows(k, dk), v: rows(v, dv), q: rows(q, dk), alpha, theta, eta, state };
        let mut scratch = vec![f64::NAN; vjp_scratch_len(&case.spec)];
        let none = Cotangents { y: None, state: None };
        let tokens = inputs.tokens(0, N);
        let result = vjp(
            &case.kernel,
            &case.spec,
            Record { read: case.read, tokens: &tokens, boundaries: &boundaries },
            none,
            gradients,
            &mut scratch,
        );
        assert!(result.is_ok() || d.iter().flatten().all(|&x| x == BEFORE));
        result
    };
    run(chunks).unwrap();
    assert_eq!(run(N), Err(Error::Shape { what: "d_alpha", expected: chunks, found: N }));
}

/// Memories of one layer and of several, whole chunks and pieces, all boundaries and some.
fn specs() -> Vec<(Case, MemorySpec)> {
    let shapes: [(&[usize], usize, usize, usize); 4] =
        [(&[3, 4], 2, 0, 1), (&[3, 5, 3], 4, 3, 1), (&[4, 3, 5, 2, 4], 3, 0, 2), (&[2, 6, 3], 1, 0, 1)];
    let of = |(widths, chunk, compute_chunk, keep_every): (&[usize], usize, usize, usize)| {
        let mut spec = MemorySpec { chunk, compute_chunk, keep_every, ..MemorySpec::new(widths).unwrap() };
        (spec.loss, spec.clip) = (Loss::Sum, None);
        (one(2, N), spec)
    };
    shapes.into_iter().map(of).collect()
}
