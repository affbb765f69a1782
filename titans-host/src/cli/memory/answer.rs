//! The output file of `titans memory`.

use super::problem::{Given, Problem, gather};
use super::solve::{Gradients, Solution};
use super::{Args, dtype_of};
use crate::cli::Failure;
use crate::cli::options::FormName;
use crate::model::Named;
use safetensors::tensor::{Dtype, TensorView, serialize};
use titans_kernel::Scalar;

/// Tensors to write, in bytes.
struct Output {
    dtype: Dtype,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

impl Output {
    fn push<T: Scalar>(&mut self, name: impl Into<String>, shape: &[usize], data: impl IntoIterator<Item = T>) {
        let mut bytes = vec![0; shape.iter().product::<usize>() * T::BYTES];
        bytes.chunks_exact_mut(T::BYTES).zip(data).for_each(|(b, x)| x.write_le(b));
        self.tensors.push((name.into(), shape.to_vec(), bytes));
    }
}

/// The bytes of the output file.
pub fn serialise<T: Scalar>(args: &Args, problem: &Problem<T>, solution: &Solution<T>) -> Result<Vec<u8>, Failure> {
    let mut out = Output { dtype: dtype_of::<T>(), tensors: Vec::new() };
    let [b, h, t] = problem.dims;
    out.push("y", &[b, h, t, problem.spec.value_width()], solution.y.iter().copied());
    out.push("surprise", &[b, h, t], solution.surprise.iter().copied());
    for (part, _) in &problem.parts {
        for momentum in [false, true] {
            let shape = [&[b, h], &part.shape[..]].concat();
            out.push(part.last(momentum), &shape, gather(&problem.spec, part, momentum, &solution.state));
        }
    }
    if let Some(gradients) = &solution.gradients {
        push_gradients(&mut out, problem, gradients);
    }
    let metadata = [("config".to_string(), config(args, problem))].into();
    let views = (out.tensors.iter())
        .map(|(name, shape, bytes)| TensorView::new(out.dtype, shape.clone(), bytes).map(|view| (name, view)))
        .collect::<Result<Vec<_>, _>>();
    (views.and_then(|views| serialize(views, Some(metadata))))
        .map_err(|e| Failure::failed(format!("writing tensors: {e}")))
}

fn push_gradients<T: Scalar>(out: &mut Output, problem: &Problem<T>, gradients: &Gradients<T>) {
    let [b, h, t] = problem.dims;
    out.push("grad.k", &[b, h, t, problem.spec.key_width()], gradients.k.iter().copied());
    out.push("grad.v", &[b, h, t, problem.spec.value_width()], gradients.v.iter().copied());
    out.push("grad.q", &[b, h, t, problem.spec.key_width()], gradients.q.iter().copied());
    for (g, name) in ["grad.alpha", "grad.theta", "grad.eta"].into_iter().enumerate() {
        out.push(name, &[b, h, t], gradients.gates.iter().copied().skip(g).step_by(3));
    }
    for (part, given) in &problem.parts {
        for (momentum, given) in [false, true].into_iter().zip(given) {
            let each = gather(&problem.spec, part, momentum, &gradients.state);
            let name = format!("grad.{}", part.initial(momentum));
            match given {
                Given::Absent => {}
                Given::Batched => out.push(name, &[&[b, h], &part.shape[..]].concat(), each),
                Given::Heads => out.push(name, &[&[h], &part.shape[..]].concat(), batch_sum(&each, h * part.len())),
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
        "activation": spec.activation.name(),
        "network": spec.network.name(),
        "loss": spec.loss.name(),
        "read": args.read.name(),
        "form": if args.form == FormName::Token { "token" } else { "chunk" },
    })
    .to_string()
}
