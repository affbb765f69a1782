//! Sizes by name: the published ones, and ours.

use super::{Kind, Kinds, ModelConfig};
use titans_kernel::choice;
use titans_kernel::memory::{Activation, Network};

choice! {
    /// A model's sizes and choices by name; what a task needs (vocabulary, head) is left as it is. Of the published
    /// version's, `lmm` has no persistent tokens and MAC's context a row for each token of a segment, not 256.
    pub enum Preset: "preset" {
        /// The default: four blocks of width 128 with linear memories, 0.8 M parameters.
        Small = 0, "small";
        /// The published version's smallest size: 12 blocks of width 768, 16 heads.
        Paper170m = 1, "paper-170m";
        /// 24 blocks of width 1024, 16 heads.
        Paper340m = 2, "paper-340m";
        /// 24 blocks of width 1536, 16 heads.
        Paper760m = 3, "paper-760m";
        /// 18 blocks of width 2048, 8 heads.
        Paper1300m = 4, "paper-1.3b";
    }
}

impl Preset {
    /// The published peak of the learning rate; none for ours.
    pub fn learning_rate(self) -> Option<f64> {
        match self {
            Self::Small => None,
            Self::Paper170m => Some(3e-3),
            Self::Paper340m => Some(1.5e-3),
            Self::Paper760m => Some(1.25e-3),
            Self::Paper1300m => Some(7e-4),
        }
    }

    /// Puts it into a configuration.
    pub fn apply(self, c: &mut ModelConfig) {
        let [blocks, width, heads] = match self {
            Self::Small => {
                let given = ModelConfig::default();
                (c.blocks, c.width, c.heads, c.head_width) = (given.blocks, given.width, given.heads, given.head_width);
                c.feed_forward = given.feed_forward;
                return;
            }
            Self::Paper170m => [12, 768, 16],
            Self::Paper340m => [24, 1024, 16],
            Self::Paper760m => [24, 1536, 16],
            Self::Paper1300m => [18, 2048, 8],
        };
        (c.blocks, c.width, c.heads, c.head_width) = (blocks, width, heads, width / heads);
        // The SwiGLU of Llama: two thirds of four widths.
        c.feed_forward = 8 * width / 3;
        (c.attention.segment, c.attention.window) = (512, 2048);
        c.persistent = if c.block == Kinds::All(Kind::Lmm) { 0 } else { 128 };
        // Memories of two layers, four times as wide between them, with a residual and a layer norm.
        c.set_layers(2);
        (c.memory.hidden, c.memory.activation) = (4 * c.head_width, Activation::Gelu);
        c.memory.network = Some(Network::Residual);
        c.set_chunk(16);
        // A layer norm behind weights that are forgotten soon divides by nearly nothing.
        c.alpha_bias = -7.0;
    }
}

#[cfg(test)]
mod tests {
    use super::Preset;
    use crate::model::{Kind, Kinds, ModelConfig};
    use titans_kernel::Choice;

    #[test]
    fn presets_are_valid_with_every_block_and_of_about_the_size_they_say() {
        for &preset in Preset::ALL {
            let name = preset.name();
            for kind in [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention] {
                let mut config = ModelConfig { vocabulary: 32_000, block: Kinds::All(kind), ..ModelConfig::default() };
                preset.apply(&mut config);
                config.validate().unwrap();
                let millions = config.parameters().unwrap() as f64 / 1e6;
                let said = match preset {
                    Preset::Small => continue,
                    Preset::Paper170m => 170.0,
                    Preset::Paper340m => 340.0,
                    Preset::Paper760m => 760.0,
                    Preset::Paper1300m => 1300.0,
                };
                assert!((0.6 * said..1.7 * said).contains(&millions), "{name}, {kind:?}: {millions} M");
            }
        }
        assert_eq!((Preset::of_name("paper-170m"), Preset::of_name("huge")), (Some(Preset::Paper170m), None));
    }
}
