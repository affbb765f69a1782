//! Convolutions whose tails are longer than they see.

use super::{numbers, same_for_any_threads};
use crate::device::{ConvDims, ConvGradients, Device};

/// A tail that is longer than a convolution sees has the bits of one sequence, its cotangents too.
#[test]
fn convolution_goes_on_from_any_tail() {
    for (batch, before, time, channels, width) in [(1, 3, 1, 1, 4), (2, 5, 7, 3, 4), (2, 6, 2, 33, 4), (1, 2, 3, 2, 1)]
    {
        let whole = before + time;
        let cut = |x: &[f32], at: usize, rows: usize| -> Vec<f32> {
            x.chunks(whole * channels).flat_map(|x| x[at * channels..][..rows * channels].to_vec()).collect()
        };
        same_for_any_threads(|cpu| {
            let put = |x: &[f32]| cpu.upload(x).unwrap();
            let all = numbers(batch * whole * channels, 1);
            let mut d_all = numbers(batch * whole * channels, 2);
            d_all.chunks_mut(whole * channels).for_each(|d| d[..before * channels].fill(0.0));
            let (w, b) = (put(&numbers(channels * width, 3)), put(&numbers(channels, 4)));
            let run = |time: usize, x: &[f32], tail: Option<&[f32]>, d: &[f32]| {
                let dims = ConvDims { batch, time, channels, width };
                let (x, tail, d) = (put(x), tail.map(put), put(d));
                let (mut y, mut d_x) = (put(&vec![f32::NAN; d.len()]), put(&vec![f32::NAN; d.len()]));
                let mut d_tail = tail.as_ref().map(|tail| put(&vec![f32::NAN; tail.len()]));
                let (mut d_w, mut d_b) = (put(&numbers(channels * width, 5)), put(&numbers(channels, 6)));
                cpu.conv(dims, &x, tail.as_ref(), &w, &b, &mut y).unwrap();
                let gradients =
                    ConvGradients { d_x: &mut d_x, d_w: &mut d_w, d_bias: &mut d_b, d_tail: d_tail.as_mut() };
                cpu.conv_vjp(dims, &x, tail.as_ref(), &w, &d, gradients).unwrap();
                let tail = d_tail.map_or(Vec::new(), |d| cpu.download(&d).unwrap());
                ([&y, &d_x, &d_w, &d_b].map(|x| cpu.download(x).unwrap()).to_vec(), tail)
            };
            let (of_whole, _) = run(whole, &all, None, &d_all);
            let (x, tail, d) = (cut(&all, before, time), cut(&all, 0, before), cut(&d_all, before, time));
            let (of_part, d_tail) = run(time, &x, Some(&tail), &d);
            assert_eq!(of_part[0], cut(&of_whole[0], before, time), "y");
            assert_eq!(of_part[1], cut(&of_whole[1], before, time), "d_x");
            assert_eq!(d_tail, cut(&of_whole[1], 0, before), "d_tail");
            assert_eq!(of_part[2..], of_whole[2..], "d_w and d_bias");
            of_part
        });
    }
}
