//! A bare-metal program with its own panic handler and no allocator. Cargo links it for a target that has no std;
//! if any crate of its graph needed alloc, the link would fail for want of a global allocator.
//!
//! It is linked and looked into, not run: `_start` calls everything that a microcontroller would.
#![no_std]
#![no_main]

#[cfg(feature = "planted")]
extern crate alloc;

use core::hint::black_box;
use core::panic::PanicInfo;
use titans_kernel::memory::{
    Cotangents, Form, Gate, Gradients, Mask, MemorySpec, Outputs, Read, Record, Stream, Tokens, forward,
    forward_scratch_len, vjp, vjp_scratch_len,
};
use titans_kernel::model::{self, Feed, Mode, Model};
use titans_kernel::ops::{
    attention, conv, cross_entropy, dropout, embedding, gates, l2_norm, layer_norm, linear, pool, rms_norm, rotary,
    sigmoid_gate, silu, silu_gate, squared_error,
};
use titans_kernel::{Mat, MatMut, Portable, Result, Scalar, Store};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// The entry point that linkers look for.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    #[cfg(feature = "planted")]
    black_box(alloc::vec::Vec::<u8>::with_capacity(black_box(1)));
    let passed = everything::<f32>().is_ok() & everything::<f64>().is_ok();
    black_box(passed);
    loop {}
}

const TOKENS: usize = 5;
const WIDTH: usize = 4;
const ROOM: usize = 2048;

fn everything<T: Scalar>() -> Result<()> {
    let mut spec = MemorySpec::new(&[WIDTH, 6, WIDTH])?;
    spec.chunk = 2;
    stream::<T>(&spec)?;
    batch::<T>(&spec)?;
    attend::<T>()?;
    operations::<T>()?;
    model::<T>()
}

/// A model from bytes that nobody knows before, so that every kind of block is linked.
fn model<T: Scalar>() -> Result<()> {
    let (blob, mut numbers) = (black_box([0; ROOM]), [T::ZERO; ROOM]);
    let (mut room, mut fork, mut saved) = ([T::ZERO; ROOM], [T::ZERO; ROOM], [0; 8 * ROOM]);
    let model = Model::read_into(&blob, &mut numbers)?;
    let mut stream = model::Stream::new(&Portable, &model, Mode::On, 2, &mut room)?;
    let mut other = model::Stream::new(&Portable, &model, Mode::On, 2, &mut fork)?;
    let mut y = [T::ZERO; WIDTH];
    stream.push(&Portable, Feed::Tokens(&[1, 2, 3]), None, None)?;
    stream.step(&Portable, Feed::Tokens(&[1]), &mut y, None)?;
    stream.fork_into(&mut other)?;
    let n = stream.save(&mut saved)?;
    other.load(part(&mut saved, n)?)?;
    black_box((&y, other.position()));
    Ok(())
}

/// `n` elements of a caller's buffer, or the kernel's own error when it is too small.
fn part<T>(room: &mut [T], n: usize) -> Result<&mut [T]> {
    let given = room.len();
    room.get_mut(..n).ok_or(titans_kernel::Error::Buffer { what: "room", needed: n, given })
}

fn tokens<'a, T: Scalar>(x: &'a [T], gate: &'a [T]) -> Result<Tokens<'a, T>> {
    let x = Mat::new(x, TOKENS, WIDTH)?;
    let gate = Gate::tokens(gate);
    Ok(Tokens { k: x, v: x, q: x, alpha: gate, theta: gate, eta: gate, mask: Mask::Write })
}

fn stream<T: Scalar>(spec: &MemorySpec) -> Result<()> {
    let (w0, x, gate) = (black_box([T::ONE; ROOM]), black_box([T::ONE; TOKENS * WIDTH]), black_box([T::ZERO; TOKENS]));
    let (mut block, mut scratch, mut y) = ([T::ZERO; ROOM], [T::ZERO; ROOM], [T::ZERO; TOKENS * WIDTH]);
    let (mut bytes, mut state) = ([0; 8 * ROOM], [T::ZERO; ROOM]);
    let block = part(&mut block, Stream::<T>::len(spec))?;
    let mut stream = Stream::new(spec, Read::After, &w0[..spec.params().min(ROOM)], block)?;
    let tokens = tokens(&x, &gate)?;
    tokens.check_values(0, spec.chunk)?;
    stream.write(&Portable, &tokens, Some(MatMut::new(&mut y, TOKENS, WIDTH)?), None, &mut scratch)?;
    stream.read(&Portable, tokens.q, MatMut::new(&mut y, TOKENS, WIDTH)?, &mut scratch)?;
    stream.state(&Portable, part(&mut state, spec.state_len())?, &mut scratch)?;
    let saved = stream.save(&mut bytes)?;
    stream.load(part(&mut bytes, saved)?)?;
    black_box((stream.counters(), &y, &state));
    Ok(())
}

fn batch<T: Scalar>(spec: &MemorySpec) -> Result<()> {
    let (x, gate) = (black_box([T::ONE; TOKENS * WIDTH]), black_box([T::ZERO; TOKENS]));
    let (mut state, mut scratch, mut y) = ([T::ZERO; ROOM], [T::ZERO; ROOM], [T::ZERO; TOKENS * WIDTH]);
    let (mut boundaries, mut surprise) = ([T::ZERO; ROOM], [T::ZERO; TOKENS]);
    let boundaries = part(&mut boundaries, spec.boundaries_len(TOKENS))?;
    let tokens = tokens(&x, &gate)?;
    for form in [Form::Token, Form::Chunk] {
        let (scratch, state) =
            (part(&mut scratch, forward_scratch_len(spec, form))?, part(&mut state, spec.state_len())?);
        let y = MatMut::new(&mut y, TOKENS, WIDTH)?;
        let (s, b) = (Some(&mut surprise[..]), Some(&mut boundaries[..]));
        forward(
            &Portable,
            spec,
            form,
            Read::Before,
            &tokens,
            Outputs { state, y, surprise: s, boundaries: b },
            scratch,
        )?;
    }
    let mut d = [[T::ZERO; TOKENS * WIDTH]; 3];
    let mut d_gate = [[T::ZERO; TOKENS]; 3];
    let mut d_state = [T::ZERO; ROOM];
    let ([k, v, q], [alpha, theta, eta]) = (&mut d, &mut d_gate);
    let gradients = Gradients {
        k: MatMut::new(k, TOKENS, WIDTH)?,
        v: MatMut::new(v, TOKENS, WIDTH)?,
        q: MatMut::new(q, TOKENS, WIDTH)?,
        alpha,
        theta,
        eta,
        state: part(&mut d_state, spec.state_len())?,
    };
    let cotangents = Cotangents { y: Some(Mat::new(&y, TOKENS, WIDTH)?), state: None };
    let scratch = part(&mut scratch, vjp_scratch_len(spec))?;
    vjp(&Portable, spec, Record { read: Read::Before, tokens: &tokens, boundaries }, cotangents, gradients, scratch)?;
    black_box((&d, &d_gate, &d_state));
    Ok(())
}

fn operations<T: Scalar>() -> Result<()> {
    const N: usize = TOKENS * WIDTH;
    let g = &Portable;
    let (a, b) = (black_box([T::ONE; N]), black_box([T::ONE; N]));
    let (w, ids) = (black_box([T::ONE; WIDTH * WIDTH]), black_box([1; TOKENS]));
    let (mut y, mut d, mut e) = ([T::ZERO; N], [T::ZERO; N], [T::ZERO; N]);
    let (mut d_w, mut losses) = ([T::ZERO; WIDTH * WIDTH], [T::ZERO; TOKENS]);
    macro_rules! mat {
        ($x:expr) => {
            Mat::new(&$x, TOKENS, WIDTH)?
        };
        (mut $x:expr) => {
            MatMut::new(&mut $x, TOKENS, WIDTH)?
        };
    }
    let weight = Mat::new(&w, WIDTH, WIDTH)?;
    linear::forward(g, mat!(a), weight, Some(&b[..WIDTH]), mat!(mut y))?;
    linear::vjp_input(g, Store::Set, weight, mat!(b), mat!(mut d))?;
    linear::vjp_weight(g, mat!(a), mat!(b), MatMut::new(&mut d_w, WIDTH, WIDTH)?)?;
    linear::vjp_bias(g, mat!(b), &mut d[..WIDTH])?;
    rms_norm::forward(g, mat!(a), &b[..WIDTH], mat!(mut y))?;
    rms_norm::vjp(g, mat!(a), &b[..WIDTH], mat!(b), mat!(mut d), &mut d_w[..WIDTH])?;
    l2_norm::forward(g, mat!(a), mat!(mut y))?;
    l2_norm::vjp(g, mat!(a), mat!(b), mat!(mut d))?;
    conv::forward(g, mat!(a), None, &w, &b[..WIDTH], mat!(mut y))?;
    conv::vjp(
        g,
        mat!(a),
        None,
        &w,
        mat!(b),
        conv::ConvGradients { x: mat!(mut d), w: &mut d_w, bias: &mut e[..WIDTH] },
    )?;
    silu::forward(g, &a, &mut y)?;
    silu::vjp(g, &a, &b, &mut d)?;
    silu_gate::forward(g, &a, &b, &mut y)?;
    silu_gate::vjp(g, &a, &b, &y, &mut d, &mut e)?;
    sigmoid_gate::forward(g, &a, &b, &mut y)?;
    sigmoid_gate::vjp(g, &a, &b, &y, &mut d, &mut e)?;
    dropout::forward(g, &dropout::DropMask::new(0.5, 1)?, 0, &a, &mut y)?;
    gates::forward(g, 1, [1.0; 3], &a[..3], &mut y[..3])?;
    gates::vjp(g, 1, [1.0; 3], &y[..3], &b[..3], &mut d[..3])?;
    embedding::forward(mat!(a), &ids, mat!(mut y))?;
    embedding::vjp(&ids, mat!(b), mat!(mut d))?;
    pool::forward(g, 1, &[1; TOKENS], mat!(a), mat!(mut y))?;
    pool::vjp(g, 1, &[1; TOKENS], mat!(b), mat!(mut d))?;
    cross_entropy::forward(g, mat!(a), &ids, &mut losses)?;
    cross_entropy::vjp(g, mat!(a), &ids, T::ONE, mat!(mut d))?;
    squared_error::forward(g, mat!(a), mat!(b), &mut losses)?;
    squared_error::vjp(g, mat!(a), mat!(b), T::ONE, mat!(mut d))?;
    let rotation = rotary::Rotary { width: WIDTH, base: 10_000.0, period: 3, shift: -3 };
    rotary::forward(g, &rotation, 2, mat!(a), mat!(mut y))?;
    rotary::vjp(g, &rotation, 2, mat!(b), mat!(mut d))?;
    let deviation = layer_norm::forward_row(&a, &mut y);
    layer_norm::vjp_row(&y, deviation, &b, &mut d);
    black_box((&y, &d, &e, &d_w, &losses));
    Ok(())
}

fn attend<T: Scalar>() -> Result<()> {
    let span = attention::Span::Segment(3);
    let x = black_box([T::ONE; TOKENS * WIDTH]);
    let (mut y, mut sums, mut scratch) = ([T::ZERO; TOKENS * WIDTH], [T::ZERO; TOKENS], [T::ZERO; ROOM]);
    let x = Mat::new(&x, TOKENS, WIDTH)?;
    let keys = attention::Keys { persistent: Some((x, x)), context: Some((x, x)), tokens: (x, x), first: 0 };
    let out = MatMut::new(&mut y, TOKENS, WIDTH)?;
    let room = part(&mut scratch, attention::scratch_len(span, TOKENS, TOKENS, true))?;
    attention::forward(
        &Portable,
        span,
        attention::Queries { first: 0, q: x, q_rotated: x },
        &keys,
        out,
        Some(&mut sums),
        room,
    )?;
    let mut d = [[T::ZERO; TOKENS * WIDTH]; 8];
    let [q, q_rotated, pk, pv, ck, cv, k, v] = &mut d;
    let gradients = attention::AttentionGradients {
        q: MatMut::new(q, TOKENS, WIDTH)?,
        q_rotated: MatMut::new(q_rotated, TOKENS, WIDTH)?,
        persistent: Some((MatMut::new(pk, TOKENS, WIDTH)?, MatMut::new(pv, TOKENS, WIDTH)?)),
        context: Some((MatMut::new(ck, TOKENS, WIDTH)?, MatMut::new(cv, TOKENS, WIDTH)?)),
        tokens: (MatMut::new(k, TOKENS, WIDTH)?, MatMut::new(v, TOKENS, WIDTH)?),
    };
    let y = Mat::new(&y, TOKENS, WIDTH)?;
    let room = part(&mut scratch, attention::vjp_scratch_len(span, TOKENS, TOKENS, true))?;
    attention::vjp(
        &Portable,
        span,
        attention::Queries { first: 0, q: x, q_rotated: x },
        &keys,
        attention::Answered { y, log_sum: &sums, d_y: x },
        gradients,
        room,
    )?;
    black_box(&d);
    Ok(())
}
