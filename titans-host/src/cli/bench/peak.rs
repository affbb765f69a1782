//! What the machine can do: the highest rate of f32 arithmetic, and of a state that is read and written.

use crate::device::cpu::Isa;
use crate::device::{Device, LinearDims};
use crate::error::Result;
use pulp::{Simd, WithSimd};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Independent chains of multiply-adds, enough to hide the latency of each.
const CHAINS: usize = 12;
/// Steps of the chains between two looks at the clock.
const ROUNDS: usize = 20_000;
/// What one measurement takes.
const BURST: Duration = Duration::from_millis(4);

/// Operations a second of `threads` threads that do nothing but multiply and add in registers with the vectors of
/// `isa`. One short measurement: what the machine does now, to be taken beside the work that is held against it.
pub fn cpu(isa: Isa, threads: usize) -> f64 {
    let alone = || {
        let (start, mut operations) = (Instant::now(), 0.0);
        while start.elapsed() < BURST {
            operations += chains(isa, black_box(ROUNDS));
        }
        operations / start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(alone)).collect();
        let own = alone();
        own + others.into_iter().filter_map(|other| other.join().ok()).sum::<f64>()
    })
}

/// Operations of `rounds` steps of the chains, after having done them.
fn chains(isa: Isa, rounds: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Avx512 => {
            if let Some(simd) = pulp::x86::V4::try_new() {
                return simd.vectorize(Chains { rounds, simd });
            }
        }
        Isa::Avx2 => {
            if let Some(simd) = pulp::x86::V3::try_new() {
                return simd.vectorize(Chains { rounds, simd });
            }
        }
        Isa::Neon | Isa::Portable => {}
    }
    let _ = isa;
    baseline(rounds)
}

struct Chains<S> {
    rounds: usize,
    simd: S,
}

impl<S: Simd> pulp::NullaryFnOnce for Chains<S> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        Fused { rounds: self.rounds }.with_simd(self.simd)
    }
}

struct Fused {
    rounds: usize,
}

impl WithSimd for Fused {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
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

/// The chains with the instructions that the program was compiled for, multiplied and then added.
fn baseline(rounds: usize) -> f64 {
    const LANES: usize = 4;
    let (a, b) = (black_box([0.999_f32; LANES]), black_box([0.001_f32; LANES]));
    let mut sums = [[1.0_f32; LANES]; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            for i in 0..LANES {
                sum[i] = sum[i] * a[i] + b[i];
            }
        }
    }
    black_box(sums);
    (2 * CHAINS * LANES * rounds) as f64
}

/// Bytes a second, read and written, of one thread that goes over `bytes` bytes of numbers and changes each.
pub struct Bandwidth {
    numbers: Vec<f32>,
}

impl Bandwidth {
    /// Over a state of `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        Self { numbers: vec![1.0; (bytes / 4).max(1)] }
    }

    /// One short measurement.
    pub fn measure(&mut self) -> f64 {
        let (start, mut passes) = (Instant::now(), 0);
        while passes < 2 || start.elapsed() < BURST {
            let (a, b) = black_box((0.999_f32, 0.001_f32));
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || self.numbers.iter_mut().for_each(|x| *x = *x * a + b),
            );
            black_box(&mut self.numbers);
            passes += 1;
        }
        (8 * self.numbers.len() * passes) as f64 / start.elapsed().as_secs_f64()
    }
}

/// Operations a second of a large square matrix product: the peak of a device whose registers we do not reach.
/// Where no time is to be spent, of a small one, which is no peak.
pub fn device<D: Device>(device: &D, seconds: f64) -> Result<f64> {
    let n: usize = if seconds > 0.0 { 4096 } else { 64 };
    let dims = LinearDims { rows: n, inputs: n, outputs: n, transposed: false };
    let (x, w) = (device.zeros(n * n)?, device.zeros(n * n)?);
    let mut y = device.alloc(n * n)?;
    let rates = super::timing::sample(2.0 * (n * n * n) as f64, seconds.min(0.2), || {
        device.linear(dims, &x, &w, None, &mut y)?;
        device.synchronize()
    })?;
    Ok(rates.p90)
}

#[cfg(test)]
mod tests {
    use super::{Bandwidth, chains, cpu};
    use crate::device::cpu::Isa;

    #[test]
    fn operations_are_counted_by_lanes() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            let lanes = match isa {
                Isa::Avx512 => 16.0,
                Isa::Avx2 => 8.0,
                Isa::Neon | Isa::Portable => 4.0,
            };
            assert_eq!(chains(isa, 100), 2400.0 * lanes, "{}", isa.name());
            assert!(cpu(isa, 2) > 0.0);
        }
        assert!(Bandwidth::new(0).measure() > 0.0 && Bandwidth::new(1 << 16).measure() > 0.0);
    }
}
