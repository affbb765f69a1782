//! The token form once more, written from `docs/MATH.md` alone: loops over matrices, one weight matrix a token.

use crate::case::{Case, Output};
use titans_kernel::memory::{Activation, Network, Read};

type Matrix = Vec<Vec<f64>>;

/// Weights of every layer, and γ.
#[derive(Clone)]
struct Weights {
    layers: Vec<Matrix>,
    gamma: Vec<f64>,
}

impl Weights {
    fn of(case: &Case, flat: &[f64]) -> Self {
        let (mut at, mut layers) = (0, Vec::new());
        for w in case.spec.widths.windows(2) {
            layers.push((0..w[0]).map(|i| flat[at + i * w[1]..][..w[1]].to_vec()).collect());
            at += w[0] * w[1];
        }
        Self { layers, gamma: flat[at..].to_vec() }
    }

    fn flat(&self) -> Vec<f64> {
        self.layers.iter().flatten().flatten().chain(&self.gamma).copied().collect()
    }
}

/// φ and φ′.
fn phi(activation: Activation, z: f64) -> (f64, f64) {
    let s = 1.0 / (1.0 + (-z).exp());
    match activation {
        Activation::Silu => (z * s, s * (1.0 + z * (1.0 - s))),
        Activation::Relu => (z.max(0.0), f64::from(z > 0.0)),
        Activation::Identity => (z, 1.0),
        other => panic!("{other:?} is not written here"),
    }
}

fn times(x: &[f64], w: &Matrix) -> Vec<f64> {
    (0..w[0].len()).map(|j| x.iter().zip(w).map(|(x, row)| x * row[j]).sum()).collect()
}

/// Layer norm without bias: x̂ and 1 / deviation.
fn normed(z: &[f64]) -> (Vec<f64>, f64) {
    let n = z.len() as f64;
    let mean = z.iter().sum::<f64>() / n;
    let r = 1.0 / (z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n + 1e-5).sqrt();
    (z.iter().map(|z| (z - mean) * r).collect(), r)
}

/// Inputs of every layer, and z of every layer.
fn pass(case: &Case, w: &Weights, x: &[f64]) -> (Matrix, Matrix) {
    let (mut inputs, mut z) = (vec![x.to_vec()], Vec::<Vec<f64>>::new());
    for (l, layer) in w.layers.iter().enumerate() {
        z.push(times(&inputs[l], layer));
        inputs.push(z[l].iter().map(|&z| phi(case.spec.activation, z).0).collect());
    }
    (inputs, z)
}

fn answer(case: &Case, w: &Weights, x: &[f64]) -> Vec<f64> {
    let (_, z) = pass(case, w, x);
    let z = &z[z.len() - 1];
    match case.spec.network {
        Network::Plain => z.clone(),
        Network::Residual => {
            let (x_hat, _) = normed(z);
            x.iter().zip(x_hat).zip(&w.gamma).map(|((x, h), g)| x + h * (1.0 + g)).collect()
        }
    }
}

/// The loss and its gradient.
fn gradient(case: &Case, w: &Weights, k: &[f64], v: &[f64]) -> (f64, Weights) {
    let c = case.spec.loss_scale();
    let (inputs, z) = pass(case, w, k);
    let errors: Vec<f64> = answer(case, w, k).iter().zip(v).map(|(y, v)| y - v).collect();
    let loss = c * errors.iter().map(|e| e * e).sum::<f64>();
    let mut d: Vec<f64> = errors.iter().map(|e| 2.0 * c * e).collect();
    let mut out = w.clone();
    if case.spec.network == Network::Residual {
        let (x_hat, r) = normed(&z[z.len() - 1]);
        out.gamma = d.iter().zip(&x_hat).map(|(d, h)| d * h).collect();
        d.iter_mut().zip(&w.gamma).for_each(|(d, g)| *d *= 1.0 + g);
        let n = d.len() as f64;
        let mean = d.iter().sum::<f64>() / n;
        let along = d.iter().zip(&x_hat).map(|(d, h)| d * h).sum::<f64>() / n;
        d = d.iter().zip(&x_hat).map(|(d, h)| r * (d - mean - h * along)).collect();
    }
    for l in (0..w.layers.len()).rev() {
        out.layers[l] = inputs[l].iter().map(|h| d.iter().map(|d| h * d).collect()).collect();
        if l > 0 {
            d = w.layers[l]
                .iter()
                .zip(&z[l - 1])
                .map(|(row, &z)| row.iter().zip(&d).map(|(w, d)| w * d).sum::<f64>() * phi(case.spec.activation, z).1)
                .collect();
        }
    }
    (loss, out)
}

/// S ← η S − rate u, W ← (1 − α) W + S.
fn step<'x>(
    [alpha, rate, eta]: [f64; 3],
    w: impl Iterator<Item = &'x mut f64>,
    s: impl Iterator<Item = &'x mut f64>,
    u: impl Iterator<Item = &'x f64>,
) {
    for ((w, s), u) in w.zip(s).zip(u) {
        *s = eta * *s - rate * u;
        *w = (1.0 - alpha) * *w + *s;
    }
}

/// What the memory should say and become.
pub fn definition(case: &Case) -> Output<f64> {
    let (p, dk, dv) = (case.spec.params(), case.spec.key_width(), case.spec.value_width());
    let (mut w, mut s) = (Weights::of(case, &case.state[..p]), Weights::of(case, &case.state[p..]));
    let (mut first, layers) = (w.clone(), case.spec.layers());
    let mut out = Output { y: Vec::new(), surprise: Vec::new(), state: Vec::new(), boundaries: Vec::new(), clipped: 0 };
    for t in 0..case.n {
        if t.is_multiple_of(case.spec.chunk) {
            first = w.clone();
        }
        let (k, v, q) = (&case.k[t * dk..][..dk], &case.v[t * dv..][..dv], &case.q[t * dk..][..dk]);
        let (loss, u) = gradient(case, &first, k, v);
        out.surprise.push(loss);
        let asked = match case.read {
            Read::Before => Some(&w),
            Read::ChunkStart => Some(&first),
            Read::After => None,
        };
        if let Some(asked) = asked {
            out.y.extend(answer(case, asked, q));
        }
        if case.mask.as_ref().is_none_or(|mask| mask[t] == 0) {
            let norm = u.flat().iter().map(|u| u * u).sum::<f64>().sqrt();
            let factor = case.spec.clip.filter(|&clip| norm > clip).map_or(1.0, |clip| clip / norm);
            out.clipped += u64::from(factor != 1.0);
            let entry = if case.per_chunk { t / case.spec.chunk } else { t };
            let gates = |l: usize| {
                let of = |gate: &[f64]| {
                    let own = gate.len() / case.entries();
                    gate[entry * own + if own > 1 { l } else { 0 }]
                };
                [of(&case.alpha), factor * of(&case.theta), of(&case.eta)]
            };
            for l in 0..layers {
                let (w, s) = (&mut w.layers[l], &mut s.layers[l]);
                step(gates(l), w.iter_mut().flatten(), s.iter_mut().flatten(), u.layers[l].iter().flatten());
            }
            step(gates(layers - 1), w.gamma.iter_mut(), s.gamma.iter_mut(), u.gamma.iter());
        }
        if case.read == Read::After {
            out.y.extend(answer(case, &w, q));
        }
    }
    out.state = [w.flat(), s.flat()].concat();
    out
}
