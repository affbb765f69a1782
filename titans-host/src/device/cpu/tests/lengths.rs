//! Wrong lengths are errors that name the argument.

use super::super::Isa;
use super::eager;
use super::ops::up;
use crate::device::{ConvDims, ConvGradients, Device, InputGradient, LinearDims, LinearGradients};

#[test]
fn wrong_lengths_are_errors_that_name_the_argument() {
    let cpu = eager(2, Isa::best());
    let b = |len| up(&cpu, len, 1);
    let linear = LinearDims { rows: 2, inputs: 3, outputs: 4, transposed: false };
    let conv = ConvDims { batch: 2, time: 3, channels: 4, width: 2 };
    let absurd = LinearDims { rows: usize::MAX, inputs: usize::MAX, outputs: 2, transposed: true };
    let ids = cpu.upload_indices(&[0, 1]).unwrap();
    for (what, result) in [
        ("copy", cpu.copy(&b(3), &mut b(4))),
        ("copy", cpu.write(&[0.0; 3], &mut b(4))),
        ("b", cpu.add(&b(3), &b(4), &mut b(3))),
        ("y", cpu.add_scaled(1.0, &b(3), &mut b(4))),
        ("y", cpu.silu(&b(3), &mut b(4))),
        ("d_y", cpu.silu_vjp(&b(3), &b(4), &mut b(3))),
        ("gate", cpu.silu_gate(&b(3), &b(4), &mut b(3))),
        ("d_gate", cpu.silu_gate_vjp(&b(3), &b(3), &b(3), &mut b(3), &mut b(4))),
        ("gate", cpu.sigmoid_gate(&b(3), &b(4), &mut b(3))),
        ("d_gate", cpu.sigmoid_gate_vjp(&b(3), &b(3), &b(3), &mut b(3), &mut b(4))),
        ("target", cpu.squared_error(3, &b(6), &b(5), &mut b(2))),
        ("d_x", cpu.squared_error_vjp(3, &b(6), &b(6), 1.0, &mut b(5))),
        ("x", cpu.pool(3, 2, &ids, &b(11), &mut b(4))),
        ("y", cpu.pool(3, 2, &ids, &b(12), &mut b(5))),
        ("d_y", cpu.pool_vjp(3, 2, &ids, &b(5), &mut b(12))),
        ("x", cpu.linear(linear, &b(7), &b(12), None, &mut b(8))),
        ("w", cpu.linear(linear, &b(6), &b(11), None, &mut b(8))),
        ("bias", cpu.linear(linear, &b(6), &b(12), Some(&b(3)), &mut b(8))),
        ("x", cpu.linear(absurd, &b(6), &b(12), None, &mut b(8))),
        (
            "d_w",
            cpu.linear_vjp(linear, &b(6), &b(12), &b(8), LinearGradients { d_x: None, d_w: &mut b(11), d_bias: None }),
        ),
        (
            "d_x",
            cpu.linear_vjp(
                linear,
                &b(6),
                &b(12),
                &b(8),
                LinearGradients { d_x: Some(InputGradient::Set(&mut b(7))), d_w: &mut b(12), d_bias: None },
            ),
        ),
        ("x", cpu.rms_norm(4, &b(7), &b(4), &mut b(7))),
        ("x", cpu.l2_norm(0, &b(7), &mut b(7))),
        ("d_weight", cpu.rms_norm_vjp(4, &b(8), &b(4), &b(8), &mut b(8), &mut b(3))),
        ("tail", cpu.conv(conv, &b(24), Some(&b(7)), &b(8), &b(4), &mut b(24))),
        ("w", cpu.conv(conv, &b(24), None, &b(7), &b(4), &mut b(24))),
        ("taps", cpu.conv(ConvDims { width: 0, ..conv }, &b(24), None, &b(0), &b(4), &mut b(24))),
        (
            "d_bias",
            cpu.conv_vjp(
                conv,
                &b(24),
                None,
                &b(8),
                &b(24),
                ConvGradients { d_x: &mut b(24), d_w: &mut b(8), d_bias: &mut b(5), d_tail: None },
            ),
        ),
        (
            "d_tail",
            cpu.conv_vjp(
                conv,
                &b(24),
                Some(&b(16)),
                &b(8),
                &b(24),
                ConvGradients { d_x: &mut b(24), d_w: &mut b(8), d_bias: &mut b(4), d_tail: Some(&mut b(8)) },
            ),
        ),
        ("tail", cpu.conv_tail(conv, &b(24), Some(&b(16)), &mut b(8))),
        ("next", cpu.conv_tail(conv, &b(24), None, &mut b(9))),
        ("gates", cpu.gates(2, [1.0; 3], &b(7), &mut b(7))),
        ("state", cpu.memory_start(2, 3, &b(6), &mut b(23))),
        ("w0", cpu.memory_start_vjp(2, 4, &b(24), &mut b(6))),
        ("table", cpu.embedding(3, &ids, &b(7), &mut b(6))),
        ("d_y", cpu.embedding_vjp(3, &ids, &b(7), &mut b(6))),
        ("logits", cpu.cross_entropy(3, &b(7), &ids, &mut b(2))),
        ("losses", cpu.cross_entropy(3, &b(6), &ids, &mut b(3))),
        ("d_logits", cpu.cross_entropy_vjp(3, &b(6), &ids, 1.0, &mut b(7))),
        ("total", cpu.sum(&b(3), &mut b(0))),
    ] {
        match result {
            Err(e @ crate::Error::Kernel(titans_kernel::Error::Shape { .. })) => {
                assert!(e.to_string().contains(what), "{what}: {e}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    let beyond = cpu.pool(0, 2, &ids, &b(0), &mut b(4)).unwrap_err().to_string();
    assert!(beyond.contains("lengths[1]"), "{beyond}");
}
