//! Sums in a fixed order, and the optimiser's step.

use titans_kernel::error::expect_len;
use titans_kernel::{Arithmetic, Error as KernelError};

use super::threads::split_rows;
use super::{Cpu, SimdScalar};
use crate::device::AdamW;
use crate::error::Result;

/// Elements summed together: a constant, or else the sum would depend on the threads.
const BLOCK: usize = 4096;
/// Blocks whose sums wait on the stack.
const SUMS: usize = 256;
/// Partial sums of a block.
const LANES: usize = 8;

/// Σ f(x) of one block in `f64`, each eighth element to its own sum.
#[inline(always)]
fn block_sum<T: SimdScalar>(x: &[T], f: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for chunk in whole {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += f(x.to_f64());
        }
    }
    let mut last = [0.0; LANES];
    for (last, x) in last.iter_mut().zip(rest) {
        *last = f(x.to_f64());
    }
    sums.iter().zip(last).map(|(a, b)| a + b).sum()
}

impl<T: SimdScalar> Cpu<T> {
    /// `total[0] += Σ x` or `Σ x²`.
    pub(super) fn add_sum(&self, squares: bool, x: &[T], total: &mut [T]) -> Result<()> {
        expect_len("total", 1, total.len())?;
        let mut sum = 0.0;
        for x in x.chunks(SUMS * BLOCK) {
            let mut sums = [0.0; SUMS];
            self.block_sums(squares, x, &mut sums[..x.len().div_ceil(BLOCK)])?;
            // Those beyond the last block are 0.
            sums.iter().for_each(|block| sum += block);
        }
        total[0] = T::from_f64(total[0].to_f64() + sum);
        Ok(())
    }

    fn block_sums(&self, squares: bool, x: &[T], sums: &mut [f64]) -> Result<()> {
        let grain = self.threads.grain(sums.len(), 1);
        self.threads.run(x.len() / 4, split_rows(sums, 1, grain), |(blocks, sums)| {
            for (block, sum) in blocks.zip(sums) {
                let x = &x[block * BLOCK..x.len().min((block + 1) * BLOCK)];
                *sum = Arithmetic::<T>::vectorise(
                    &self.gemm,
                    #[inline(always)]
                    || if squares { block_sum(x, |x| x * x) } else { block_sum(x, |x| x) },
                );
            }
            Ok::<_, KernelError>(())
        })
    }

    pub(super) fn adamw_step(
        &self,
        step: &AdamW,
        gradient: &[T],
        parameter: &mut [T],
        moment1: &mut [T],
        moment2: &mut [T],
    ) -> Result<()> {
        let len = parameter.len();
        for (what, found) in [("gradient", gradient.len()), ("moment1", moment1.len()), ("moment2", moment2.len())] {
            expect_len(what, len, found)?;
        }
        let rates = Rates::<T>::new(step);
        let piece = self.threads.grain(len, 64);
        let moments = split_rows(moment1, 1, piece).zip(split_rows(moment2, 1, piece));
        self.threads.run(len, split_rows(parameter, 1, piece).zip(moments), |((at, p), ((_, m), (_, v)))| {
            let gradient = &gradient[at];
            Arithmetic::<T>::vectorise(
                &self.gemm,
                #[inline(always)]
                || {
                    for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(gradient) {
                        rates.update(p, m, v, g);
                    }
                },
            );
            Ok::<_, KernelError>(())
        })
    }
}

/// The constants of a step, in the numbers of the parameters.
struct Rates<T> {
    scale: T,
    keep1: T,
    take1: T,
    keep2: T,
    take2: T,
    /// 1 / sqrt(1 − β₂^t).
    root2: T,
    epsilon: T,
    /// lr / (1 − β₁^t).
    rate: T,
    /// 1 − lr · decay.
    shrink: T,
}

impl<T: SimdScalar> Rates<T> {
    fn new(step: &AdamW) -> Self {
        let t = step.step.max(1) as f64;
        let number = T::from_f64;
        Self {
            scale: number(step.gradient_scale),
            keep1: number(step.beta1),
            take1: number(1.0 - step.beta1),
            keep2: number(step.beta2),
            take2: number(1.0 - step.beta2),
            root2: number((1.0 - step.beta2.powf(t)).sqrt().recip()),
            epsilon: number(step.epsilon),
            rate: number(step.learning_rate / (1.0 - step.beta1.powf(t))),
            shrink: number(1.0 - step.learning_rate * step.weight_decay),
        }
    }

    /// p ← (1 − lr·decay) p − lr m̂ / (√v̂ + ε).
    #[inline(always)]
    fn update(&self, p: &mut T, m: &mut T, v: &mut T, gradient: T) {
        let g = gradient * self.scale;
        *m = self.keep1 * *m + self.take1 * g;
        *v = self.keep2 * *v + self.take2 * (g * g);
        *p = self.shrink * *p - self.rate * *m / ((*v).sqrt() * self.root2 + self.epsilon);
    }
}
