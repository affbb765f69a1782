//! Every operation but the memory, forward and backward.

use super::many::{many, parts};
use super::{Check, NumberGenerator, Outputs, TOLERANCE, attention, compare, get, put};
use crate::device::{
    AdamW, ConvDims, ConvGradients, Device, DropMask, IGNORE, InputGradient, LinearDims, LinearGradients, MoveRows,
    Place,
};
use crate::error::Result;

/// Runs every operation but the memory on both devices.
pub fn operations<D: Device, R: Device>(device: &D, reference: &R) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut check = |name: &str, got, want| compare(&mut checks, name, TOLERANCE, got, want);
    check("movement", movement(device), movement(reference));
    const SIZES: [usize; 3] = [1, 7, 1031];
    SIZES
        .into_iter()
        .for_each(|n| check(&format!("elementwise {n}"), elementwise(device, n), elementwise(reference, n)));
    SIZES.into_iter().for_each(|n| check(&format!("dropout {n}"), dropout(device, n), dropout(reference, n)));
    // The last one is more than a block of any device adds up alone.
    let long = SIZES.into_iter().chain([50_021]);
    long.for_each(|n| check(&format!("sums {n}"), sums(device, n), sums(reference, n)));
    SIZES.into_iter().for_each(|n| check(&format!("adamw {n}"), adamw(device, n), adamw(reference, n)));
    check("many", many(device), many(reference));
    for rows in [1, 8, 37, 50] {
        check(&format!("parts of {rows} rows"), parts(device, rows), parts(reference, rows));
    }
    // The last ones, here and below, are more rows than a device sums at once.
    for (rows, width) in [(1, 1), (5, 17), (33, 64), (3, 129), (131, 33), (4103, 2)] {
        let name = format!("norms {rows}x{width}");
        check(&name, norms(device, rows, width), norms(reference, rows, width));
    }
    for (rows, width) in [(1, 1), (7, 5), (33, 64)] {
        let name = format!("rows {rows}x{width}");
        check(&name, moved_rows(device, rows, width), moved_rows(reference, rows, width));
    }
    for (rows, inputs, outputs, transposed) in
        [(1, 1, 1, false), (7, 13, 5, false), (7, 13, 5, true), (65, 33, 63, false), (4103, 1, 2, false)]
    {
        let dims = LinearDims { rows, inputs, outputs, transposed };
        check(&format!("linear {dims:?}"), linear(device, dims), linear(reference, dims));
    }
    for (batch, time, channels, width) in [(1, 1, 1, 1), (2, 5, 3, 4), (3, 2, 7, 4), (2, 33, 5, 3), (2, 2053, 3, 3)] {
        let dims = ConvDims { batch, time, channels, width };
        for tail in [None, Some(0), Some(3)] {
            check(&format!("conv {dims:?} tail {tail:?}"), conv(device, dims, tail), conv(reference, dims, tail));
        }
    }
    for (op, context) in attention::cases() {
        let name = format!("attention {op:?} context {context}");
        check(&name, attention::run(device, &op, context), attention::run(reference, &op, context));
    }
    for (rows, heads) in [(1, 1), (11, 3)] {
        check(&format!("gates {rows}x{heads}"), gates(device, rows, heads), gates(reference, rows, heads));
    }
    for (rows, classes) in [(1, 1), (9, 17), (5, 257)] {
        check(&format!("ends {rows}x{classes}"), ends(device, rows, classes), ends(reference, rows, classes));
    }
    checks.extend(super::segments::segments(device, reference));
    checks
}

fn movement<D: Device>(d: &D) -> Result<Outputs> {
    let mut n = NumberGenerator(1);
    let a = put(d, &n.vec(37))?;
    let (mut b, mut c, zeros) = (d.alloc(37)?, d.alloc(5)?, d.zeros(3)?);
    d.copy(&a, &mut b)?;
    d.fill(0.25, &mut c)?;
    let mut e = d.alloc(37)?;
    let host = d.download(&a)?;
    d.write(&host, &mut e)?;
    d.synchronize()?;
    let len = d.len(&e) as f64;
    Ok(vec![
        ("copy", get(d, &b)?),
        ("fill", get(d, &c)?),
        ("zeros", get(d, &zeros)?),
        ("write", get(d, &e)?),
        ("len", vec![len]),
    ])
}

fn elementwise<D: Device>(d: &D, n: usize) -> Result<Outputs> {
    let mut numbers = NumberGenerator(2);
    let (a, b) = (put(d, &numbers.around(0.0, 6.0, n))?, put(d, &numbers.around(0.0, 6.0, n))?);
    let d_y = put(d, &numbers.vec(n))?;
    let (mut add, mut scaled, mut silu, mut gate) = (d.alloc(n)?, put(d, &numbers.vec(n))?, d.alloc(n)?, d.alloc(n)?);
    let (mut d_x, mut d_a, mut d_g) = (d.alloc(n)?, d.alloc(n)?, d.alloc(n)?);
    let (mut shut, mut d_as, mut d_gs) = (d.alloc(n)?, d.alloc(n)?, d.alloc(n)?);
    d.add(&a, &b, &mut add)?;
    d.add_scaled(-0.75, &a, &mut scaled)?;
    d.silu(&a, &mut silu)?;
    d.silu_vjp(&a, &d_y, &mut d_x)?;
    d.silu_gate(&a, &b, &mut gate)?;
    d.silu_gate_vjp(&a, &b, &d_y, &mut d_a, &mut d_g)?;
    d.sigmoid_gate(&a, &b, &mut shut)?;
    d.sigmoid_gate_vjp(&a, &b, &d_y, &mut d_as, &mut d_gs)?;
    Ok(vec![
        ("add", get(d, &add)?),
        ("add_scaled", get(d, &scaled)?),
        ("silu", get(d, &silu)?),
        ("silu_vjp", get(d, &d_x)?),
        ("silu_gate", get(d, &gate)?),
        ("silu_gate_vjp d_a", get(d, &d_a)?),
        ("silu_gate_vjp d_g", get(d, &d_g)?),
        ("sigmoid_gate", get(d, &shut)?),
        ("sigmoid_gate_vjp d_a", get(d, &d_as)?),
        ("sigmoid_gate_vjp d_g", get(d, &d_gs)?),
    ])
}

/// Masks of several shares and keys: a single element that is dropped on one device alone is an error of about 1.
fn dropout<D: Device>(d: &D, n: usize) -> Result<Outputs> {
    let (mut numbers, mut outputs) = (NumberGenerator(11), vec![]);
    for (name, share) in [("a tenth", 0.1), ("half", 0.5), ("nearly all", 0.97), ("none", 0.0)] {
        let mask = DropMask::new(share, numbers.next())?;
        let (ones, x) = (put(d, &vec![1.0; n])?, put(d, &numbers.vec(n))?);
        let (mut kept, mut y) = (d.alloc(n)?, d.alloc(n)?);
        d.dropout(&mask, &ones, &mut kept)?;
        d.dropout(&mask, &x, &mut y)?;
        let mut y = get(d, &y)?;
        y.extend(get(d, &kept)?.iter().map(|&x| f64::from(x != 0.0)));
        outputs.push((name, y));
    }
    Ok(outputs)
}

fn sums<D: Device>(d: &D, n: usize) -> Result<Outputs> {
    let mut numbers = NumberGenerator(3);
    // Away from 0, so that the sum is not a difference of large numbers.
    let x = put(d, &numbers.around(1.0, 0.5, n))?;
    let (mut sum, mut squares) = (put(d, &[0.5])?, put(d, &[0.25])?);
    d.sum(&x, &mut sum)?;
    d.sum_squares(&x, &mut squares)?;
    Ok(vec![("sum", get(d, &sum)?), ("sum_squares", get(d, &squares)?)])
}

fn adamw<D: Device>(d: &D, n: usize) -> Result<Outputs> {
    let mut numbers = NumberGenerator(4);
    let (mut p, mut m, mut v) = (put(d, &numbers.vec(n))?, d.zeros(n)?, d.zeros(n)?);
    for step in 1..=3 {
        let gradient = put(d, &numbers.vec(n))?;
        let step = AdamW {
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.1,
            gradient_scale: 0.5,
            step,
        };
        d.adamw(&step, &gradient, &mut p, &mut m, &mut v)?;
    }
    Ok(vec![("parameter", get(d, &p)?), ("moment1", get(d, &m)?), ("moment2", get(d, &v)?)])
}

fn norms<D: Device>(d: &D, rows: usize, width: usize) -> Result<Outputs> {
    let (mut numbers, n) = (NumberGenerator(5), rows * width);
    // Rows of very different lengths, the first one where the epsilon counts.
    let mut x = numbers.vec(n);
    for (r, row) in x.chunks_mut(width).enumerate() {
        let scale = [1e-3, 1.0, 30.0][r % 3];
        row.iter_mut().for_each(|x| *x = f64::from((*x * scale) as f32));
    }
    let (x, weight, d_y) = (put(d, &x)?, put(d, &numbers.vec(width))?, put(d, &numbers.vec(n))?);
    let (mut rms, mut l2, mut d_rms, mut d_l2) = (d.alloc(n)?, d.alloc(n)?, d.alloc(n)?, d.alloc(n)?);
    let mut d_weight = put(d, &numbers.vec(width))?;
    d.rms_norm(width, &x, &weight, &mut rms)?;
    d.rms_norm_vjp(width, &x, &weight, &d_y, &mut d_rms, &mut d_weight)?;
    d.l2_norm(width, &x, &mut l2)?;
    d.l2_norm_vjp(width, &x, &d_y, &mut d_l2)?;
    Ok(vec![
        ("rms_norm", get(d, &rms)?),
        ("rms_norm_vjp d_x", get(d, &d_rms)?),
        ("rms_norm_vjp d_weight", get(d, &d_weight)?),
        ("l2_norm", get(d, &l2)?),
        ("l2_norm_vjp", get(d, &d_l2)?),
    ])
}

/// Every kind of move: a slice and its reverse, rows repeated and summed, rows held and summed.
fn moved_rows<D: Device>(d: &D, rows: usize, width: usize) -> Result<Outputs> {
    let (mut numbers, batch, time) = (NumberGenerator(10), 3, rows + 4);
    let x = put(d, &numbers.vec(batch * time * width))?;
    let (whole, slice) = (Place::new(time, 2), Place::new(rows, 0));
    let held = Place { hold: 3, ..slice };
    let mut outputs = vec![];
    for (name, from, to) in
        [("slice", whole, slice), ("part", slice, whole), ("repeat", Place::new(0, 1), slice), ("hold", held, slice)]
    {
        let op = MoveRows { batch, rows, width, from, to, add: false };
        let mut y = put(d, &numbers.vec(batch * time * width))?;
        d.move_rows(&op, &x, &mut y)?;
        outputs.push((name, get(d, &y)?));
        d.move_rows(&op.reversed(), &x, &mut y)?;
        outputs.push((name, get(d, &y)?));
    }
    Ok(outputs)
}

fn linear<D: Device>(d: &D, dims: LinearDims) -> Result<Outputs> {
    let mut numbers = NumberGenerator(6);
    let (n, m, weights) = (dims.rows * dims.inputs, dims.rows * dims.outputs, dims.inputs * dims.outputs);
    let (x, w, bias) = (put(d, &numbers.vec(n))?, put(d, &numbers.vec(weights))?, put(d, &numbers.vec(dims.outputs))?);
    let d_y = put(d, &numbers.vec(m))?;
    let (mut plain, mut with_bias, mut d_x) = (d.alloc(m)?, d.alloc(m)?, d.alloc(n)?);
    let (mut d_w, mut d_bias) = (put(d, &numbers.vec(weights))?, put(d, &numbers.vec(dims.outputs))?);
    d.linear(dims, &x, &w, None, &mut plain)?;
    d.linear(dims, &x, &w, Some(&bias), &mut with_bias)?;
    d.linear_vjp(
        dims,
        &x,
        &w,
        &d_y,
        LinearGradients { d_x: Some(InputGradient::Set(&mut d_x)), d_w: &mut d_w, d_bias: Some(&mut d_bias) },
    )?;
    let mut sum = put(d, &numbers.vec(n))?;
    d.linear_vjp(
        dims,
        &x,
        &w,
        &d_y,
        LinearGradients { d_x: Some(InputGradient::Add(&mut sum)), d_w: &mut d_w, d_bias: None },
    )?;
    d.linear_vjp(dims, &x, &w, &d_y, LinearGradients { d_x: None, d_w: &mut d_w, d_bias: None })?;
    Ok(vec![
        ("y", get(d, &plain)?),
        ("y with bias", get(d, &with_bias)?),
        ("d_x", get(d, &d_x)?),
        ("d_x, added", get(d, &sum)?),
        ("d_w", get(d, &d_w)?),
        ("d_bias", get(d, &d_bias)?),
    ])
}

/// `tail`: rows before those that a convolution sees, if there is a tail at all.
fn conv<D: Device>(d: &D, dims: ConvDims, tail: Option<usize>) -> Result<Outputs> {
    let (mut numbers, kept) = (NumberGenerator(7), dims.batch * (dims.width - 1) * dims.channels);
    let before = kept + dims.batch * tail.unwrap_or(0) * dims.channels;
    let n = dims.batch * dims.time * dims.channels;
    let taps = dims.channels * dims.width;
    let (x, w, bias) = (put(d, &numbers.vec(n))?, put(d, &numbers.vec(taps))?, put(d, &numbers.vec(dims.channels))?);
    let (d_y, tokens) = (put(d, &numbers.vec(n))?, put(d, &numbers.vec(before))?);
    let (longer, tail) = (before > kept, tail.map(|_| &tokens));
    let (mut y, mut d_x, mut next, mut d_tail) = (d.alloc(n)?, d.alloc(n)?, d.zeros(kept)?, d.alloc(before)?);
    let (mut d_w, mut d_bias) = (put(d, &numbers.vec(taps))?, put(d, &numbers.vec(dims.channels))?);
    d.conv(dims, &x, tail, &w, &bias, &mut y)?;
    let of_tail = tail.map(|_| &mut d_tail);
    let gradients = ConvGradients { d_x: &mut d_x, d_w: &mut d_w, d_bias: &mut d_bias, d_tail: of_tail };
    d.conv_vjp(dims, &x, tail, &w, &d_y, gradients)?;
    if !longer {
        d.conv_tail(dims, &x, tail, &mut next)?;
    }
    Ok(vec![
        ("y", get(d, &y)?),
        ("d_x", get(d, &d_x)?),
        ("d_w", get(d, &d_w)?),
        ("d_bias", get(d, &d_bias)?),
        ("d_tail", if tail.is_some() { get(d, &d_tail)? } else { Vec::new() }),
        ("next tail", get(d, &next)?),
    ])
}

fn gates<D: Device>(d: &D, rows: usize, heads: usize) -> Result<Outputs> {
    let (mut numbers, n) = (NumberGenerator(8), rows * heads * 3);
    let (x, d_y) = (put(d, &numbers.around(0.0, 8.0, n))?, put(d, &numbers.vec(n))?);
    let (mut y, mut d_x, mut off) = (d.alloc(n)?, d.alloc(n)?, d.alloc(n)?);
    d.gates(heads, [1.0, 0.125, 1.0], &x, &mut y)?;
    d.gates_vjp(heads, [1.0, 0.125, 1.0], &y, &d_y, &mut d_x)?;
    d.gates(heads, [1.0, 0.0, 0.5], &x, &mut off)?;
    let mut d_off = d.alloc(n)?;
    d.gates_vjp(heads, [1.0, 0.0, 0.5], &off, &d_y, &mut d_off)?;
    Ok(vec![
        ("y", get(d, &y)?),
        ("d_x", get(d, &d_x)?),
        ("y of a gate that is off", get(d, &off)?),
        ("d_x of a gate that is off", get(d, &d_off)?),
    ])
}

fn ends<D: Device>(d: &D, rows: usize, classes: usize) -> Result<Outputs> {
    let (mut numbers, width) = (NumberGenerator(9), 5);
    let ids = d.upload_indices(&numbers.indices(classes as u32, rows))?;
    let mut targets = numbers.indices(classes as u32, rows);
    targets[rows / 2] = IGNORE;
    let targets = d.upload_indices(&targets)?;
    let (table, d_y) = (put(d, &numbers.vec(classes * width))?, put(d, &numbers.vec(rows * width))?);
    let (mut y, mut d_table) = (d.alloc(rows * width)?, put(d, &numbers.vec(classes * width))?);
    d.embedding(width, &ids, &table, &mut y)?;
    d.embedding_vjp(width, &ids, &d_y, &mut d_table)?;
    let logits = put(d, &numbers.around(0.0, 9.0, rows * classes))?;
    let (mut losses, mut d_logits) = (d.alloc(rows)?, d.alloc(rows * classes)?);
    d.cross_entropy(classes, &logits, &targets, &mut losses)?;
    d.cross_entropy_vjp(classes, &logits, &targets, 0.125, &mut d_logits)?;
    // Sequences of three rows, of which all, some and none count.
    let whole = rows / 3 * 3;
    let lengths: Vec<u32> = (0..rows as u32 / 3).map(|b| 3 - b % 4).collect();
    let lengths = d.upload_indices(&lengths)?;
    let (sequences, d_pooled) = (put(d, &numbers.vec(whole * width))?, put(d, &numbers.vec(whole / 3 * width))?);
    let (mut pooled, mut d_sequences) = (d.alloc(whole / 3 * width)?, d.alloc(whole * width)?);
    d.pool(3, width, &lengths, &sequences, &mut pooled)?;
    d.pool_vjp(3, width, &lengths, &d_pooled, &mut d_sequences)?;
    let target = put(d, &numbers.vec(rows * classes))?;
    let (mut squares, mut d_squares) = (d.alloc(rows)?, d.alloc(rows * classes)?);
    d.squared_error(classes, &logits, &target, &mut squares)?;
    d.squared_error_vjp(classes, &logits, &target, 0.125, &mut d_squares)?;
    Ok(vec![
        ("embedding", get(d, &y)?),
        ("embedding_vjp", get(d, &d_table)?),
        ("cross_entropy", get(d, &losses)?),
        ("cross_entropy_vjp", get(d, &d_logits)?),
        ("pool", get(d, &pooled)?),
        ("pool_vjp", get(d, &d_sequences)?),
        ("squared_error", get(d, &squares)?),
        ("squared_error_vjp", get(d, &d_squares)?),
    ])
}
