//! (a) The kernel's stream, a token at a time and in pieces. Measured: every `write` and `read`, the first included: a
//! stream lies in its caller's block and owns nothing, so there is no warm-up.

use crate::taken;
use titans_host::device::cpu::Cpu;
use titans_kernel::Mat;
use titans_kernel::MatMut;
use titans_kernel::memory::{Gate, Mask, MemorySpec, Read, Stream, Tokens};

pub fn check() {
    let cpu = Cpu::<f32>::new(Some(1)).unwrap();
    for (widths, chunk, compute_chunk) in
        [(&[12, 12][..], 7, 0), (&[12, 12], 1, 10), (&[12, 20, 12], 7, 0), (&[12, 20, 20, 12], 7, 0)]
    {
        let mut spec = MemorySpec::new(widths).unwrap();
        (spec.chunk, spec.compute_chunk) = (chunk, compute_chunk);
        let numbers: Vec<f32> = (0..64 * 12).map(|i| (1.3 * i as f32).sin() * 0.4).collect();
        let gates = [0.05f32; 64];
        let w0: Vec<f32> = numbers.iter().copied().cycle().take(spec.params()).collect();
        let (mut block, mut y) = (vec![0.0; Stream::<f32>::len(&spec)], vec![f32::NAN; 64 * 12]);
        let (mut surprise, mut scratch) = ([f32::NAN; 64], vec![0.0; Stream::<f32>::scratch_len(&spec)]);
        let mut stream = Stream::new(&spec, Read::After, &w0, &mut block).unwrap();
        for piece in [1, 1, 5, 7, 20, 1] {
            let rows = Mat::new(&numbers[..piece * 12], piece, 12).unwrap();
            let gate = Gate::tokens(&gates[..piece]);
            let tokens = Tokens { k: rows, v: rows, q: rows, alpha: gate, theta: gate, eta: gate, mask: Mask::Write };
            let found = taken(|| {
                let out = MatMut::new(&mut y[..piece * 12], piece, 12).unwrap();
                stream.write(cpu.gemm(), &tokens, Some(out), Some(&mut surprise[..piece]), &mut scratch).unwrap();
                let out = MatMut::new(&mut y[..piece * 12], piece, 12).unwrap();
                stream.read(cpu.gemm(), rows, out, &mut scratch).unwrap();
            });
            assert_eq!(found, 0, "stream {widths:?}, {piece} tokens");
            assert!(y[..piece * 12].iter().all(|x| x.is_finite()));
        }
    }
}
