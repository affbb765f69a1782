//! The output file of `titans memory`.

use super::Args;
use super::problem::{Given, Problem, gather};
use super::solve::{ProblemGradients, Solution};
use crate::cli::Failure;
use crate::cli::options::FormName;
use crate::cli::tensors::index;
use crate::model::Choice;
use crate::train::store::Tensor;
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
}

/// All tensors of the answer.
pub fn outputs<T: Scalar>(problem: &Problem<T>, solution: Solution<T>) -> Vec<Output<T>> {
    let [b, h, t] = problem.dims;
    let mut out = vec![
        Output::new("y", &[b, h, t, problem.spec.value_width()], solution.y),
        Output::new("surprise", &[b, h, t], solution.surprise),
    ];
    for (part, _) in &problem.parts {
        for momentum in [false, true] {
            let shape = [&[b, h], &part.shape[..]].concat();
            let data = gather(&problem.spec, part, momentum, &solution.state);
            out.push(Output::new(part.last(momentum), &shape, data));
        }
    }
    if let Some(gradients) = solution.gradients {
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
pub fn serialise<T: Scalar>(args: &Args, problem: &Problem<T>, solution: Solution<T>) -> Result<Vec<u8>, Failure> {
    let outputs = outputs(problem, solution);
    outputs.iter().try_for_each(Output::check)?;
    let tensors: Vec<(String, Tensor)> =
        outputs.into_iter().map(|o| (o.name, Tensor::new(&o.shape, &o.data))).collect();
    let metadata = [("config".to_string(), config(args, problem))].into();
    let views = (tensors.iter())
        .map(|(name, t)| TensorView::new(t.dtype, t.shape.clone(), &t.bytes).map(|view| (name, view)))
        .collect::<Result<Vec<_>, _>>();
    (views.and_then(|views| serialize(views, Some(metadata))))
        .map_err(|e| Failure::failed(format!("writing tensors: {e}")))
}

fn push_gradients<T: Scalar>(out: &mut Vec<Output<T>>, problem: &Problem<T>, gradients: ProblemGradients<T>) {
    let [b, h, t] = problem.dims;
    let (d_k, d_v) = (problem.spec.key_width(), problem.spec.value_width());
    out.push(Output::new("grad.k", &[b, h, t, d_k], gradients.k));
    out.push(Output::new("grad.v", &[b, h, t, d_v], gradients.v));
    out.push(Output::new("grad.q", &[b, h, t, d_k], gradients.q));
    for (g, name) in ["grad.alpha", "grad.theta", "grad.eta"].into_iter().enumerate() {
        let data = gradients.gates.iter().copied().skip(g).step_by(3).collect();
        out.push(Output::new(name, &[b, h, t], data));
    }
    for (part, given) in &problem.parts {
        for (momentum, given) in [false, true].into_iter().zip(given) {
            let each = gather(&problem.spec, part, momentum, &gradients.state);
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
        "form": if args.form == FormName::Token { "token" } else { "chunk" },
    })
    .to_string()
}
