//! Kernels whose instructions `.ci/instructions` counts: `instructions KERNEL` runs one of them once, inside the
//! function `measured`, which callgrind is told to watch. Without a kernel it lists them.

mod common;

use common::{Case, Result, numbers};
use std::hint::black_box;
use titans_kernel::arch::Simd;
use titans_kernel::arithmetic::Beside;
use titans_kernel::memory::Form;
use titans_kernel::ops::activation::{self, Activation};
use titans_kernel::{Arithmetic, Mat, MatMut, Store};

/// What runs once, by name.
type Kernel = fn(&Simd) -> Result<()>;

const KERNELS: [(&str, Kernel); 11] = [
    ("product-nn", |g| product(g, Product::Nn)),
    ("product-nt", |g| product(g, Product::Nt)),
    ("product-tn", |g| product(g, Product::Tn)),
    ("product-causal", |g| product(g, Product::Causal)),
    ("memory-chunk", |g| chunk(g, &[64, 64])),
    ("memory-chunk-deep", |g| chunk(g, &[64, 256, 64])),
    ("memory-vjp", |g| backward(g, &[64, 64])),
    ("memory-vjp-deep", |g| backward(g, &[64, 256, 64])),
    ("memory-token", |g| stream(g, &[64, 64])),
    ("memory-token-deep", |g| stream(g, &[64, 256, 64])),
    ("activation", activations),
];

/// `product-nn` with some 7 % more work: a slowdown that the script must notice.
const PLANTED: &str = "product-nn-planted";

fn main() -> Result<()> {
    // Under `cargo bench`, which adds `--bench`, arguments are criterion's.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = arguments.first().filter(|_| !arguments.iter().any(|arg| arg == "--bench")) else {
        KERNELS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    };
    if name == PLANTED {
        let g = common::arithmetic()?;
        return product(&g, Product::Nn).and_then(|()| product_of(&g, Product::Nn, 16, 64));
    }
    let known = || KERNELS.map(|(name, _)| name).join(", ");
    let found = KERNELS.iter().find(|(kernel, _)| kernel == name);
    let (_, kernel) = found.ok_or_else(|| format!("kernel: expected one of {}, found `{name}`", known()))?;
    kernel(&common::arithmetic()?)
}

/// What is counted. Behind a pointer, so that nothing of the preparation moves into it.
#[inline(never)]
fn measured(work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    black_box(work)()
}

#[derive(Clone, Copy)]
enum Product {
    Nn,
    Nt,
    Tn,
    Causal,
}

/// A product at the shapes of a chunk of 16 and of one of 64 tokens, widths 64 and 100 (no multiple of a tile).
fn product(g: &Simd, kind: Product) -> Result<()> {
    [(16, 64), (64, 64), (64, 100)].into_iter().try_for_each(|(b, d)| product_of(g, kind, b, d))
}

fn product_of(g: &Simd, kind: Product, b: usize, d: usize) -> Result<()> {
    let (x, e, w, c) = (numbers(b * d, 1.0, 1), numbers(b * d, 1.0, 2), numbers(d * d, 0.1, 3), numbers(b * b, 1.0, 4));
    let (mut y, mut state) = (vec![0.0; b * d], vec![0.0; d * d]);
    let (x, e, w, c) = (Mat::new(&x, b, d)?, Mat::new(&e, b, d)?, Mat::new(&w, d, d)?, Mat::new(&c, b, b)?);
    let mut y = MatMut::new(&mut y, b, d)?;
    let mut state = MatMut::new(&mut state, d, d)?;
    measured(&mut || {
        match kind {
            Product::Nn => g.gemm(Store::Set, x, w, y.rb()),
            Product::Nt => g.gemm(Store::Set, e, w.t(), y.rb()),
            Product::Tn => g.gemm(Store::Sub, x.t(), e, state.rb()),
            Product::Causal => g.causal(Store::Set, Beside::lower(0), c, e, y.rb()),
        }
        Ok(())
    })?;
    black_box((y, state));
    Ok(())
}

/// Two chunks of 64 tokens, forward.
fn chunk(g: &Simd, widths: &[usize]) -> Result<()> {
    let mut case = Case::new(widths, 64, 128)?;
    measured(&mut || case.forward(g, Form::Chunk))
}

/// The backward of two chunks.
fn backward(g: &Simd, widths: &[usize]) -> Result<()> {
    let mut case = Case::new(widths, 64, 128)?;
    case.forward(g, Form::Chunk)?;
    measured(&mut || case.vjp(g))
}

/// Sixteen tokens of a stream, one a call, with a chunk of one.
fn stream(g: &Simd, widths: &[usize]) -> Result<()> {
    let mut case = Case::new(widths, 1, 16)?;
    let mut block = case.block()?;
    measured(&mut || case.stream(g, 1, &mut block))
}

/// Every activation with its derivatives.
fn activations(g: &Simd) -> Result<()> {
    let (z, d) = (numbers(1024, 4.0, 1), numbers(1024, 1.0, 2));
    let (mut a, mut b) = (vec![0.0; 1024], vec![0.0; 1024]);
    measured(&mut || {
        for phi in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Identity] {
            activation::forward(g, phi, &z, &mut a);
            activation::vjp(g, phi, &z, &d, &mut a);
            activation::vjp_vjp(g, phi, &z, &d, &d, &mut a, &mut b);
        }
        Ok(())
    })
}
