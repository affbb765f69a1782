//! `titans memory`: the raw memory over arrays, from a file to a file.

mod answer;
mod names;
mod problem;

use super::options::{DeviceArgs, DeviceChoice, named, size};
use super::{Failure, npz, on_device, options, output, tensors};
use crate::array;
use crate::device::Device;
use crate::train::store::Float;
use problem::{Problem, Settings};
use std::path::PathBuf;
use titans_kernel::memory::{Activation, Form, Loss, Network, Read};

const ABOUT: &str = "\
IN and OUT are safetensors files or NumPy's .npz, IN by its content, OUT by its name; numbers are F64 or F32, tokens are rows. An
input that is not finite is refused; an output that is not finite ends the verb with exit code 1, which names it, and nothing is
written. Arrays of an .npz are little-endian, in C or Fortran order, float32 or float64; the mask may also be bool or integers.

Input tensors:
  k q      [B, H, T, d_k]   keys and queries
  v        [B, H, T, d_v]   values
  theta    [B, H, T]        step size of each token's write, 0 or more
  alpha    [B, H, T]        forgetting, 0 to 1; without it nothing is forgotten
  eta      [B, H, T]        momentum, 0 to 1; without it there is none
  w0.0 w0.1 …  [H, in, out] initial weights of each layer, or [B, H, in, out]; up to 4 layers
  s0.0 s0.1 …  like w0      initial momentum (0 without the tensors)
  gamma0 sgamma0  [H, d_v]  residual network: initial γ and its momentum (0 without), or [B, H, d_v]
  mask     [B, H, T]        tokens whose entry is not 0 read but do not write
Tensors of other names are refused.

Output tensors:
  y        [B, H, T, d_v]   the read-outs
  surprise [B, H, T]        the inner loss c ‖M(k) − v‖² at the weights of the chunk's start; c as --loss says
  w.0 … s.0 …  [B, H, in, out]  weights and momentum after the last token
  gamma sgamma [B, H, d_v]  residual network: the same of γ

With --grad, given the cotangents cot.y, cot.w.0 …, cot.s.0 …, cot.gamma, cot.sgamma (shaped like the outputs;
those not given are 0, one at least is needed): grad.k grad.v grad.q grad.alpha grad.theta grad.eta grad.w0.0 …, and
grad.s0.0 … grad.gamma0 grad.sgamma0 where those were given; each shaped like its input, summed over the
batch where the input has no batch axis. Gradients are those of the chunk form, whatever --form says.

Examples:
  titans memory in.safetensors out.safetensors
  titans memory in.safetensors out.safetensors --chunk 64 --read before --dtype f32
  titans memory in.npz out.npz --chunk 4 --activation gelu --network residual --loss mean --grad

In Python (titans memory in.npz out.npz; or save_file and load_file of safetensors.numpy):
  numpy.savez('in.npz', **{'k': k, 'v': v, 'q': q, 'alpha': a, 'theta': t, 'eta': e, 'w0.0': w})
  y = numpy.load('out.npz')['y']";

/// Run the raw memory over arrays: keys, values, queries and gates in, read-outs and final weights out
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// File of input tensors: safetensors, or NumPy's .npz
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// File to write, whole or not at all: safetensors, or where its name ends in .npz that
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Tokens whose gradients are taken at the weights of their chunk's start; 1: every token's own, as in the paper's
    /// equations
    #[arg(long, value_name = "N", default_value = "1", value_parser = size)]
    chunk: usize,

    /// Tokens that the chunk form computes at once, the same numbers in another order of sums: a part of a chunk, or
    /// with one plain layer whole chunks [default: with one plain layer and a chunk below 64 as many chunks as fit in
    /// 64 tokens, else a chunk]
    #[arg(long, value_name = "N", value_parser = size)]
    compute_chunk: Option<usize>,

    /// The same numbers by two ways: a chunk at a time by matrix products, or token by token, the weights after each
    /// built (the definition, slow)
    #[arg(long, default_value = "chunk", value_parser = named::<Form>())]
    form: Form,

    /// Which weights answer a query: those after the token's own write, before it, or at the start of its chunk
    #[arg(long, default_value = "after", value_parser = named::<Read>())]
    read: Read,

    /// φ between the layers of the memory network
    #[arg(long, default_value = "silu", value_parser = named::<Activation>())]
    activation: Activation,

    /// Output of the memory network: M(x) = z, or x + LN(z) (1 + γ) [default: residual if IN holds gamma0, else plain]
    #[arg(long, value_parser = named::<Network>())]
    network: Option<Network>,

    /// Scale c of the inner loss c ‖M(k) − v‖²: 1, 1/2 or 1/d_v
    #[arg(long, default_value = "half", value_parser = named::<Loss>())]
    loss: Loss,

    /// Numbers to compute with and to write [default: f64 if k is F64, f32 otherwise]
    #[arg(long, value_parser = named::<Float>())]
    dtype: Option<Float>,

    /// Also write the gradients of the inputs
    #[arg(long)]
    grad: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

impl Args {
    fn settings(&self) -> Settings {
        let Self { chunk, compute_chunk, activation, network, loss, grad, .. } = *self;
        Settings { chunk, compute_chunk, activation, network, loss, grad }
    }
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    args.on.expect_f32("the memory")?;
    output::expect_distinct(&[("IN", &args.input), ("OUT", &args.output)])?;
    npz::expect_several(&args.output)?;
    let bytes = npz::as_safetensors(&args.input, tensors::read(&args.input)?)?;
    let file = tensors::Tensors::new(&args.input, &bytes)?;
    let float = match args.dtype {
        Some(float) => Some(float),
        None => Float::of_dtype(file.dtype("k", problem::K_AXES)?),
    };
    match (float.unwrap_or(Float::F32), args.on.device) {
        (Float::F32, _) => on_device!(args.on, device => on(&device, args, &file)),
        (Float::F64, DeviceChoice::Cuda(_)) if args.on.cuda()? => {
            Err(Failure::input("--device cuda computes in f32: add --dtype f32, or use --device cpu for f64"))
        }
        (Float::F64, _) => on(&options::cpu::<f64>(args.on.threads)?, args, &file),
    }
}

fn on<D: Device>(device: &D, args: &Args, file: &tensors::Tensors<'_>) -> Result<(), Failure> {
    let problem = Problem::<D::Elem>::read(file, &args.settings())?;
    let (spec, tokens, state) = (&problem.spec, problem.tokens(), problem.state.view());
    let answers = array::memory(device, spec, args.read, args.form, &tokens, state)?;
    let gradients = match problem.cotangents() {
        Some(cotangents) => Some(array::memory_vjp(device, spec, args.read, &tokens, state, &cotangents)?),
        None => None,
    };
    let bytes = answer::serialise(args, &problem, answers, gradients)?;
    output::write_whole(&args.output, &bytes)?;
    Ok(())
}
