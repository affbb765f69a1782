//! The highest rate of f32 arithmetic: what shares of it are measured against.

use crate::device::{Device, LinearDims};
use crate::error::Result;
use pulp::{Arch, Simd, WithSimd};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Operations a second of `threads` threads that do nothing but multiply and add in registers, with the widest
/// instructions of this processor. The best of several short runs: what the machine can do, not what it did.
pub fn cpu(threads: usize) -> f64 {
    (0..5).map(|_| cpu_once(threads)).fold(0.0, f64::max)
}

fn cpu_once(threads: usize) -> f64 {
    let alone = || {
        let (start, mut operations) = (Instant::now(), 0.0);
        while start.elapsed() < Duration::from_millis(40) {
            operations += black_box(Arch::new().dispatch(Chains { rounds: black_box(20_000) }));
        }
        operations / start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(alone)).collect();
        let own = alone();
        own + others.into_iter().filter_map(|other| other.join().ok()).sum::<f64>()
    })
}

/// Independent chains of multiply-adds, enough to hide the latency of each.
struct Chains {
    rounds: usize,
}

impl WithSimd for Chains {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        const CHAINS: usize = 12;
        let (a, b) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
        let mut sums = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, a, b);
            }
        }
        black_box(sums.map(|sum| simd.reduce_sum_f32s(sum)));
        (2 * CHAINS * S::F32_LANES * self.rounds) as f64
    }
}

/// Operations a second of a large square matrix product: the peak of a device whose registers we do not reach.
pub fn device<D: Device>(device: &D) -> Result<f64> {
    const N: usize = 4096;
    let dims = LinearDims { rows: N, inputs: N, outputs: N, transposed: false };
    let (x, w) = (device.zeros(N * N)?, device.zeros(N * N)?);
    let mut y = device.alloc(N * N)?;
    let rates = super::timing::rates(2.0 * (N * N * N) as f64, 0.2, || {
        device.linear(dims, &x, &w, None, &mut y)?;
        device.synchronize()
    })?;
    Ok(rates.p90)
}
