//! Operations and bytes that one token costs, by formula: what the mathematics needs, not what the code happens to do.

use crate::error::Result;
use crate::model::ModelConfig;
use titans_kernel::memory::MemorySpec;

/// Costs of one token in one head, for numbers of 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    /// Multiplications and additions.
    pub operations: f64,
    /// Bytes of W and S moved between memory and processor.
    pub bytes: f64,
}

/// With P = Σ d_in d_out, p₁ the first layer's share of it, b the tokens that are computed at once:
///
/// | | operations | bytes |
/// |---|---|---|
/// | token by token | 9 P (one layer), 11 P − 2 p₁ (more) | 16 P: one pass over W and S |
/// | chunk form | 10 P + 2 (P − p₁) + 2 b Σ (d_in + d_out) | 28 P / b: fused |
/// | exact form: several chunks at once | 12 P + 4 b (d_in + d_out): keys read S too, and Δ is solved for | 28 P / b |
/// | + gradients | + 3 × the chunk or exact form's: recomputation and backward | + 8 P / b: the saved states |
pub fn counts(spec: &MemorySpec, gradients: bool) -> Counts {
    let layers = || (0..spec.layers()).map(|l| spec.layer(l));
    let p: f64 = layers().map(|(i, o)| (i * o) as f64).sum();
    let first = layers().next().map_or(0.0, |(i, o)| (i * o) as f64);
    let ends: f64 = layers().map(|(i, o)| (i + o) as f64).sum();
    let b = spec.piece_len() as f64;
    let token =
        Counts { operations: if spec.layers() == 1 { 9.0 * p } else { 11.0 * p - 2.0 * first }, bytes: 16.0 * p };
    let exact = if spec.wide() { 2.0 * p + 2.0 * b * ends } else { 0.0 };
    let chunk = Counts { operations: 10.0 * p + 2.0 * (p - first) + 2.0 * b * ends + exact, bytes: 28.0 * p / b };
    let forward = if spec.token_by_token() { token } else { chunk };
    if gradients {
        Counts { operations: forward.operations + 3.0 * chunk.operations, bytes: forward.bytes + 8.0 * p / b }
    } else {
        forward
    }
}

/// Operations of one token in a training step: linear maps and convolutions forward and twice backward, memories as
/// [`counts`] with gradients. What is not a product of sums counts as nothing: norms, activations, gates, the loss, the
/// optimiser.
pub fn training(model: &ModelConfig) -> Result<f64> {
    let [w, i, heads] = [model.width, model.inner(), model.heads].map(|x| x as f64);
    let [f, taps, vocabulary] = [model.feed_forward, model.conv_width, model.vocabulary].map(|x| x as f64);
    let linear = 5.0 * w * i + 3.0 * w * heads + 3.0 * w * f;
    let memory = heads * counts(&model.memory_spec()?, true).operations;
    let block = 6.0 * (linear + 3.0 * i * taps) + memory;
    Ok(model.blocks as f64 * block + 6.0 * w * vocabulary)
}

#[cfg(test)]
mod tests {
    use super::{counts, training};
    use crate::model::ModelConfig;
    use titans_kernel::memory::MemorySpec;

    #[test]
    fn formulas_at_sizes_worked_out_by_hand() {
        let of = |widths: &[usize], chunk, compute_chunk| MemorySpec {
            chunk,
            compute_chunk,
            ..MemorySpec::new(widths).unwrap()
        };
        let (exact, single) = (of(&[64, 64], 1, 64), of(&[64, 64], 1, 1));
        assert_eq!(counts(&exact, false).operations, 49_152.0 + 32_768.0);
        assert_eq!((counts(&single, false).operations, counts(&single, false).bytes), (36_864.0, 65_536.0));
        let one = of(&[64, 64], 64, 64);
        assert_eq!(counts(&one, false).operations, 40_960.0 + 16_384.0);
        assert_eq!(counts(&one, true).operations, 4.0 * 57_344.0);
        assert_eq!((counts(&one, false).bytes, counts(&one, true).bytes), (1_792.0, 1_792.0 + 512.0));
        let two = of(&[8, 16, 8], 4, 0);
        assert_eq!(counts(&of(&[8, 16, 8], 1, 1), false).operations, 11.0 * 256.0 - 256.0);
        assert_eq!(counts(&two, false).operations, 2_560.0 + 256.0 + 8.0 * 48.0);
        assert_eq!(counts(&of(&[8, 16, 8], 1024, 4), false).operations, 2_560.0 + 256.0 + 8.0 * 48.0);
    }
    #[test]
    fn a_training_step_by_hand() {
        // 81,920 + 768 + 98,304 weights of linear maps, 1,536 of convolutions; a memory of 81,920 operations.
        let block = 6.0 * (180_992.0 + 1_536.0) + 2.0 * 4.0 * 81_920.0;
        assert_eq!(training(&ModelConfig::default()).unwrap(), 4.0 * block + 6.0 * 32_768.0);
        assert!(training(&ModelConfig { head_width: 0, ..ModelConfig::default() }).is_err());
    }
}
