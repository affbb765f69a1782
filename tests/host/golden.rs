//! The memory against vectors of programs that share no code with this one (tests/golden/README.md): the kernel with
//! every file, every read and both forms in f64 and f32, and the `titans memory` command on all of them.

#[path = "../golden/vectors.rs"]
mod vectors;

use safetensors::{Dtype, SafeTensors};
use std::process::Command;
use titans_host::device::cpu::{Isa, Simd};
use titans_host::model::Choice;
use titans_kernel::memory::{
    Cotangents, Form, Gate, Gradients, Mask, MemorySpec, Network, Outputs, Read, Record, Tokens, forward,
    forward_scratch_len, vjp, vjp_scratch_len,
};
use titans_kernel::{Arithmetic, Mat, MatMut, Portable, Scalar};
use vectors::{READS, Vectors, all};

/// Largest error of f64, relative to the largest value of the tensor.
const F64: f64 = 1e-12;
/// The same of f32.
const F32: f64 = 1e-5;

/// Files whose memory amplifies every rounding, with the f64 and f32 errors allowed instead: their layer norm divides
/// by small variances. One unit in the last place of f64 in the inputs of residual3 moves its exact results by up to
/// 6e-12, rounding them to f32 by 1e-4. A test holds that each exception is still needed.
const EXCEPTIONS: [(&str, f64, f64); 4] = [
    ("residual2_d33_h2_T29_c7", F64, 2e-4),
    ("residual2_d8_h1_T37_c1", F64, 6e-5),
    ("residual2_d8_h1_T37_c4", F64, 3e-5),
    ("residual3_d8_h1_T37_c4", 1e-11, 2e-3),
];

/// Largest error allowed to numbers of type `T`.
fn tolerance<T: Scalar>(file: &Vectors) -> f64 {
    let exception = EXCEPTIONS.iter().find(|e| e.0 == file.name());
    let (wide, narrow) = exception.map_or((F64, F32), |e| (e.1, e.2));
    if T::BYTES == 8 { wide } else { narrow }
}

/// Tensors by their names in the files; the read-outs are `y`.
type Tensors = Vec<(String, Vec<f64>)>;

/// Runs all memories of a file in numbers of type `T`, forward and, with `gradients`, backward.
fn run<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    file: &Vectors,
    spec: &MemorySpec,
    form: Form,
    read: Read,
    gradients: bool,
) -> Tensors {
    let (n, t) = (file.batch * file.heads, file.time);
    let (d_k, d_v) = (spec.key_width(), spec.value_width());
    let put = |x: &[f64]| x.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>();
    let [k, v, q] = ["k", "v", "q"].map(|name| put(file.need(name)));
    let gates = ["alpha", "theta", "eta"].map(|name| file.get(name).map_or(vec![T::ZERO; n * t], put));
    let mut state = put(&file.initial_state());
    let cot_y = file.get("cot.y").map(put);
    let cot_state = put(&file.cotangent_state());
    let poison = |len: usize| vec![T::NAN; len];
    let (mut y, mut surprise) = (poison(v.len()), poison(n * t));
    let mut d = [k.len(), v.len(), q.len(), n * t, n * t, n * t, state.len()].map(poison);
    let mut boundaries = poison(spec.boundaries_len(t));
    let mut scratch = poison(forward_scratch_len(spec, form).max(vjp_scratch_len(spec)));
    for i in 0..n {
        let [alpha, theta, eta] = [0, 1, 2].map(|g| Gate::tokens(share(&gates[g], i, n)));
        let rows = |x, width| Mat::new(share(x, i, n), t, width).unwrap();
        let (k, v, q) = (rows(&k, d_k), rows(&v, d_v), rows(&q, d_k));
        let tokens = Tokens { k, v, q, alpha, theta, eta, mask: Mask::Write };
        let y = MatMut::new(share_mut(&mut y, i, n), t, d_v).unwrap();
        let (state, surprise) = (share_mut(&mut state, i, n), Some(share_mut(&mut surprise, i, n)));
        let kept = Some(&mut boundaries[..]);
        forward(g, spec, form, read, &tokens, Outputs { state, y, surprise, boundaries: kept }, &mut scratch).unwrap();
        if gradients {
            let cotangents =
                Cotangents { y: cot_y.as_ref().map(|y| rows(y, d_v)), state: Some(share(&cot_state, i, n)) };
            let [k, v, q, alpha, theta, eta, state] = d.each_mut().map(|x| share_mut(x, i, n));
            let [k, v, q] = [(k, d_k), (v, d_v), (q, d_k)].map(|(x, width)| MatMut::new(x, t, width).unwrap());
            let gradients = Gradients { k, v, q, alpha, theta, eta, state };
            vjp(
                g,
                spec,
                Record { read, tokens: &tokens, boundaries: &boundaries },
                cotangents,
                gradients,
                &mut scratch,
            )
            .unwrap();
        }
    }
    let get = |x: &[T]| x.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
    let mut tensors = vec![("y".into(), get(&y)), ("surprise".into(), get(&surprise))];
    tensors.extend(file.last_tensors(&get(&state)));
    if gradients {
        let names = ["k", "v", "q", "alpha", "theta", "eta"];
        tensors.extend(names.iter().zip(&d).map(|(name, d)| (format!("grad.{name}"), get(d))));
        tensors.extend(file.initial_gradients(&get(&d[6])));
    }
    tensors
}

/// Memory i's share of a tensor of n memories.
fn share<T>(x: &[T], i: usize, n: usize) -> &[T] {
    &x[i * (x.len() / n)..][..x.len() / n]
}

fn share_mut<T>(x: &mut [T], i: usize, n: usize) -> &mut [T] {
    let len = x.len() / n;
    &mut x[i * len..][..len]
}

/// Fails with file, tensor and error when `found` is further than `tolerance` from `expected`.
fn close(what: &str, name: &str, expected: &[f64], found: &[f64], tolerance: f64) {
    assert_eq!(expected.len(), found.len(), "{what}: {name}: elements");
    let largest = expected.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let error = expected
        .iter()
        .zip(found)
        .map(|(e, f)| (e - f).abs())
        .fold(0.0, |m: f64, e| if e > m || e.is_nan() { e } else { m });
    assert!(
        error <= tolerance * largest,
        "{what}: {name}: error {error:e}, largest value {largest:e}, tolerance {tolerance:e}"
    );
}

/// Compares with everything the file knows.
fn compare(what: &str, file: &Vectors, y: &str, found: &Tensors, gradients: bool, tolerance: f64) {
    let named = |name: &str| {
        let found = found.iter().find(|(n, _)| n == name);
        &found.unwrap_or_else(|| panic!("{}: {what}: no {name}", file.name())).1
    };
    let what = format!("{}: {what}", file.name());
    close(&what, y, file.need(y), named("y"), tolerance);
    for name in file.expected(gradients) {
        close(&what, name, file.need(name), named(name), tolerance);
    }
}

fn every_file<T: Scalar>(files: &[Vectors], tolerance: impl Fn(&Vectors) -> f64, g: &impl Arithmetic<T>) {
    for file in files {
        for (read, y) in READS {
            for form in [Form::Token, Form::Chunk] {
                // The files' gradients are those of the read after the write.
                let gradients = read == Read::After && form == Form::Chunk && file.get("grad.k").is_some();
                let found = run(g, file, &file.spec, form, read, gradients);
                compare(&format!("{form:?} form"), file, y, &found, gradients, tolerance(file));
            }
        }
    }
}

#[test]
fn the_kernel_agrees_in_f64() {
    every_file::<f64>(&all(), tolerance::<f64>, &Portable);
    every_file::<f64>(&all(), tolerance::<f64>, &Simd::best());
}

#[test]
fn the_kernel_agrees_in_f32() {
    every_file::<f32>(&all(), tolerance::<f32>, &Portable);
    every_file::<f32>(&all(), tolerance::<f32>, &Simd::best());
}

/// Memories of which every token has its own gradient, computed in pieces: gradients too, in both precisions, with
/// every version of the arithmetic. Two files have 150 tokens, two pieces of 64 and a part of one: in one of them
/// momentum fades within a piece, in the other it lasts.
#[test]
fn the_exact_form_agrees_in_pieces_of_any_length() {
    let exact: Vec<_> = all().into_iter().filter(|f| f.spec.is_linear() && f.spec.chunk == 1).collect();
    assert!(exact.iter().filter(|f| f.get("grad.k").is_some() && f.time > 128).count() >= 2, "{} files", exact.len());
    for mut file in exact {
        for piece in [1, 3, 16, 64, file.time] {
            file.spec.compute_chunk = piece;
            let one = std::slice::from_ref(&file);
            for kernel in Isa::ALL.into_iter().filter_map(Simd::new) {
                every_file::<f64>(one, tolerance::<f64>, &kernel);
                every_file::<f32>(one, tolerance::<f32>, &kernel);
            }
        }
    }
}

#[test]
fn the_exceptions_are_needed() {
    if Isa::best() == Isa::Portable {
        println!("skipped: without fused multiply-add both products round alike, and fewer files are exceptions");
        return;
    }
    for file in all().into_iter().filter(|file| EXCEPTIONS.iter().any(|e| e.0 == file.name())) {
        let name = file.name();
        let strict = move || {
            every_file::<f32>(std::slice::from_ref(&file), |_| F32, &Portable);
            every_file::<f32>(&[file], |_| F32, &Simd::best());
        };
        assert!(std::panic::catch_unwind(strict).is_err(), "{name} meets the tolerance now: delete its exception");
    }
}

#[test]
fn both_forms_agree_at_any_chunk() {
    for mut file in all() {
        if file.name() == "residual2_d16_h2_T200_c64" {
            // Steady at its own chunk of 64 only: at smaller ones it is chaotic, and two roundings part for good.
            file.keep(40);
        }
        for chunk in [1, 4, 16, 64] {
            let spec = MemorySpec { chunk, ..file.spec.clone() };
            for (read, _) in READS {
                let token = run::<f64, _>(&Portable, &file, &spec, Form::Token, read, false);
                let dual = run::<f64, _>(&Portable, &file, &spec, Form::Chunk, read, false);
                for ((name, token), (_, dual)) in token.iter().zip(&dual) {
                    let what = format!("{}: chunk {chunk}: {read:?}", file.name());
                    close(&what, name, token, dual, tolerance::<f64>(&file));
                }
            }
        }
    }
}

#[test]
fn a_wrong_number_is_noticed() {
    let expected = [1.0, -2.0, 0.5];
    let fails = |found: [f64; 3]| {
        let check = move || close("planted", "x", &expected, &found, 1e-12);
        std::panic::catch_unwind(check).is_err()
    };
    assert!(fails([1.0, -2.0, 0.5 + 1e-11]));
    assert!(fails([f64::NAN, -2.0, 0.5]));
    assert!(!fails([1.0, -2.0, 0.5 + 1e-13]));
}

/// The command on one file, in pieces of `piece` tokens.
fn command(file: &Vectors, piece: usize, read: Read, form: &str, dtype: &str, more: &[&str]) -> Tensors {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let spec = &file.spec;
    let result = Command::new(env!("CARGO_BIN_EXE_titans"))
        .arg("memory")
        .args([&file.path, &out])
        .args(["--chunk", &spec.chunk.to_string(), "--form", form, "--read", read.name(), "--dtype", dtype])
        .args(["--compute-chunk", &piece.to_string()])
        .args(["--activation", spec.activation.name(), "--loss", spec.loss.name(), "--network", spec.network.name()])
        .args(more)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success() && stderr.is_empty(), "{}: {stderr}", file.name());
    let bytes = std::fs::read(&out).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |view: safetensors::tensor::TensorView<'_>| match view.dtype() {
        Dtype::F64 if dtype == "f64" => view.data().chunks_exact(8).map(f64::read_le).collect(),
        Dtype::F32 if dtype == "f32" => view.data().chunks_exact(4).map(|b| f32::read_le(b).into()).collect(),
        other => panic!("{}: dtype {other}", file.name()),
    };
    tensors.iter().map(|(name, view)| (name.to_owned(), numbers(view))).collect()
}

#[test]
fn the_command_agrees() {
    for file in &all() {
        for (read, y) in READS {
            let gradients = read == Read::After && file.get("grad.k").is_some();
            let more: &[&str] = if gradients { &["--grad", "--threads", "2"] } else { &["--threads", "1"] };
            // The exact form in pieces too.
            let exact = file.spec.is_linear() && file.spec.chunk == 1;
            for piece in if exact { vec![1, 16, 64] } else { vec![file.spec.chunk] } {
                let found = command(file, piece, read, "chunk", "f64", more);
                compare(&format!("command, f64, {piece}"), file, y, &found, gradients, tolerance::<f64>(file));
            }
        }
        let found = command(file, file.spec.chunk, Read::After, "token", "f32", &[]);
        compare("command, token form, f32", file, "y.post", &found, false, tolerance::<f32>(file));
        assert!(file.spec.network == Network::Plain || found.iter().any(|(name, _)| name == "sgamma"));
    }
}
