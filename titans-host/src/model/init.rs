//! First numbers of parameters: drawn on the host in f64, then rounded, so that every device begins alike.

use super::layout::{Declaration, Init};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use titans_kernel::Scalar;

/// The numbers of parameter number `stream`.
pub(super) fn draw<T: Scalar>(d: &Declaration, seed: u64, stream: u64) -> Vec<T> {
    let len = d.shape.iter().product::<usize>();
    let mut normal = Normal::new(seed, stream);
    let numbers: Vec<f64> = match &d.init {
        Init::Constant(x) => vec![*x; len],
        Init::Normal { std } => (0..len).map(|_| std * normal.next()).collect(),
        Init::Gates(biases) => biases.iter().flat_map(|&b| std::iter::repeat_n(b, len / 3)).collect(),
        Init::Memories(pieces) => {
            let one: Vec<f64> = pieces.iter().flat_map(|&(len, std)| std::iter::repeat_n(std, len)).collect();
            one.iter().cycle().take(len).map(|std| if *std == 0.0 { 0.0 } else { std * normal.next() }).collect()
        }
    };
    numbers.into_iter().map(T::from_f64).collect()
}

/// Normal numbers by Marsaglia's polar method, with the kernel's own logarithm: the same on every platform.
struct Normal {
    random: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normal {
    fn new(seed: u64, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Self { random, spare: None }
    }

    /// Uniform in [−1, 1).
    fn uniform(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 52) as f64;
        (self.random.next_u64() >> 11) as f64 * SCALE - 1.0
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (a, b) = (self.uniform(), self.uniform());
            let s = a * a + b * b;
            if s > 0.0 && s < 1.0 {
                let scale = Scalar::sqrt(-2.0 * Scalar::ln(s) / s);
                self.spare = Some(b * scale);
                return a * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::model::{Declaration, Init};

    fn declare(shape: &[usize], init: Init) -> Declaration {
        Declaration { name: "x".into(), shape: shape.to_vec(), init, decay: false }
    }

    #[test]
    fn normal_numbers_have_their_moments_and_streams_differ() {
        let d = declare(&[100, 200], Init::Normal { std: 0.5 });
        let x: Vec<f64> = draw(&d, 7, 0);
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let fourth = x.iter().map(|x| (x - mean).powi(4)).sum::<f64>() / n / var.powi(2);
        // Five standard errors of each at 20,000 draws.
        assert!(
            mean.abs() < 0.018 && (var - 0.25).abs() < 0.0125 && (fourth - 3.0).abs() < 0.18,
            "{mean} {var} {fourth}"
        );
        assert_eq!(x, draw::<f64>(&d, 7, 0));
        assert_ne!(x, draw::<f64>(&d, 7, 1));
        assert_ne!(x, draw::<f64>(&d, 8, 0));
        let single: Vec<f32> = draw(&d, 7, 0);
        assert!(single.iter().zip(&x).all(|(s, x)| *s == *x as f32));
    }

    #[test]
    fn gates_and_memories_are_laid_out_by_piece() {
        assert_eq!(draw::<f64>(&declare(&[3, 2], Init::Gates([1.0, 2.0, 3.0])), 0, 0), [1., 1., 2., 2., 3., 3.]);
        let x: Vec<f64> = draw(&declare(&[2, 5], Init::Memories(vec![(3, 1.0), (2, 0.0)])), 0, 0);
        let zero: Vec<bool> = x.iter().map(|x| *x == 0.0).collect();
        assert_eq!(zero, [false, false, false, true, true, false, false, false, true, true]);
    }
}
