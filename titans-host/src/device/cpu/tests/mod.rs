//! The device as a whole: against the kernel, on every instruction set, with any number of threads.

mod attention;
mod conv;
mod gemm;
mod lengths;
mod memory;
mod ops;
mod rows;

use super::{Cpu, Isa};

/// `len` numbers between −1 and 1 that look random.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The instruction sets of this machine.
fn sets() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available()).collect()
}

/// A device that hands even the smallest work to its threads.
fn eager(threads: usize, isa: Isa) -> Cpu<f32> {
    let mut cpu = Cpu::with_instruction_set(Some(threads), isa).unwrap();
    cpu.threads.inline_ns = 0;
    cpu
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// What `run` gives on one thread, having seen that 2, 3 and 5 threads give the same bits, on every instruction set.
/// NaNs are refused: nothing may be read before it is written, nor left unwritten.
fn same_for_any_threads(run: impl Fn(&Cpu<f32>) -> Vec<Vec<f32>>) -> Vec<(Cpu<f32>, Vec<Vec<f32>>)> {
    let check = |isa| {
        let cpu = eager(1, isa);
        let alone = run(&cpu);
        for threads in [2, 3, 5] {
            let together = run(&eager(threads, isa));
            assert_eq!(together.len(), alone.len());
            for (i, (a, b)) in alone.iter().zip(&together).enumerate() {
                assert_eq!(bits(a), bits(b), "output {i}, {threads} threads, {isa:?}");
            }
        }
        for (i, x) in alone.iter().enumerate() {
            assert!(x.iter().all(|x| x.is_finite()), "output {i} is not finite, {isa:?}");
        }
        (cpu, alone)
    };
    sets().into_iter().map(check).collect()
}
