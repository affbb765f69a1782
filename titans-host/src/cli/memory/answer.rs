//! The output file of `titans memory`.

use super::Args;
use super::problem::{Given, Problem, gather};
use crate::array::{Answers, ArrayGradients};
use crate::cli::tensors::index;
use crate::cli::{Failure, npz};
use crate::model::Choice;
use crate::train::store::Tensor;
use ndarray::{Array, Array3, Dimension};
use safetensors::tensor::{TensorView, serialize};
use titans_kernel::Scalar;

/// A tensor to write.
pub struct Output<T> {
    /// Its name in the file.
    pub name: String,
    shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<T>,
}

impl<T> Output<T> {
    fn new(name: impl Into<String>, shape: &[usize], data: Vec<T>) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), data }
    }

    fn of<D: Dimension>(name: &str, array: Array<T, D>) -> Self {
        // Whole and row-major, as they were made.
        let shape = array.shape().to_vec();
        Self { name: name.into(), shape, data: array.into_raw_vec_and_offset().0 }
    }
}

/// All tensors of the answer.
pub fn outputs<T: Scalar>(
    problem: &Problem<T>,
    answers: Answers<T>,
    gradients: Option<ArrayGradients<T>>,
) -> Vec<Output<T>> {
    let [b, h, _] = problem.dims;
    let mut out = vec![Output::of("y", answers.y), Output::of("surprise", answers.surprise)];
    for (part, _) in &problem.parts {
        for momentum in [false, true] {
            let shape = [&[b, h], &part.shape[..]].concat();
            let data = gather(&problem.spec, part, momentum, &answers.state);
            out.push(Output::new(part.last(momentum), &shape, data));
        }
    }
    if let Some(gradients) = gradients {
        push_gradients(&mut out, problem, gradients);
    }
    out
}

impl<T: Scalar> Output<T> {
    /// Refuses what is not finite.
    fn check(&self) -> Result<(), Failure> {
        let Some(i) = self.data.iter().position(|x| !x.finite()) else { return Ok(()) };
        Err(Failure::failed(format!(
            "output {} is not finite at {}: the memory diverged, or its numbers are beyond {} bits; nothing is written. Expected a \
             smaller theta, or smaller inputs",
            self.name,
            index(&self.shape, i),
            8 * T::BYTES
        )))
    }
}

/// The bytes of the output file; a failure that names the tensor and the index where one is not finite.
pub fn serialise<T: Scalar>(
    args: &Args,
    problem: &Problem<T>,
    answers: Answers<T>,
    gradients: Option<ArrayGradients<T>>,
) -> Result<Vec<u8>, Failure> {
    let outputs = outputs(problem, answers, gradients);
    outputs.iter().try_for_each(Output::check)?;
    let tensors: Vec<(String, Tensor)> =
        outputs.into_iter().map(|o| (o.name, Tensor::new(&o.shape, &o.data))).collect();
    let config = config(args, problem);
    if npz::named(&args.output) {
        return npz::to_bytes(&tensors, &config).map_err(|e| Failure::failed(e.to_string()));
    }
    let metadata = [("config".to_string(), config)].into();
    let views = (tensors.iter())
        .map(|(name, t)| TensorView::new(t.dtype, t.shape.clone(), &t.bytes).map(|view| (name, view)))
        .collect::<Result<Vec<_>, _>>();
    (views.and_then(|views| serialize(views, Some(metadata))))
        .map_err(|e| Failure::failed(format!("writing tensors: {e}")))
}

fn push_gradients<T: Scalar>(out: &mut Vec<Output<T>>, problem: &Problem<T>, gradients: ArrayGradients<T>) {
    let [b, h, _] = problem.dims;
    let ArrayGradients { k, v, q, alpha, theta, eta, state } = gradients;
    out.extend([("grad.k", k), ("grad.v", v), ("grad.q", q)].map(|(name, array)| Output::of(name, array)));
    let gates = [("grad.alpha", alpha), ("grad.theta", theta), ("grad.eta", eta)];
    out.extend(gates.map(|(name, array): (_, Array3<T>)| Output::of(name, array)));
    for (part, given) in &problem.parts {
        for (momentum, given) in [false, true].into_iter().zip(given) {
            let each = gather(&problem.spec, part, momentum, &state);
            let name = format!("grad.{}", part.initial(momentum));
            let heads = [&[h], &part.shape[..]].concat();
            match given {
                Given::Absent => {}
                Given::Batched => out.push(Output::new(name, &[&[b], &heads[..]].concat(), each)),
                Given::Heads => out.push(Output::new(name, &heads, batch_sum(&each, h * part.len()))),
            }
        }
    }
}

/// Sums of the elements `n` apart, in order.
fn batch_sum<T: Scalar>(each: &[T], n: usize) -> Vec<T> {
    let mut sum = vec![T::ZERO; n];
    each.chunks_exact(n).for_each(|one| sum.iter_mut().zip(one).for_each(|(s, &x)| *s += x));
    sum
}

/// What was computed, for the file's metadata, in the words of the options.
fn config<T>(args: &Args, problem: &Problem<T>) -> String {
    let spec = &problem.spec;
    serde_json::json!({
        "widths": &spec.widths[..],
        "chunk": spec.chunk,
        "compute_chunk": spec.piece_len(),
        "activation": spec.activation.name(),
        "network": spec.network.name(),
        "loss": spec.loss.name(),
        "read": args.read.name(),
        "form": args.form.name(),
    })
    .to_string()
}
