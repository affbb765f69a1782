//! Choices that go together: what else changes with a memory's layers, and with its chunk.

use super::{Combine, ModelConfig, Wiring};
use titans_kernel::memory::Network;

impl ModelConfig {
    /// Memories of `layers` layers. With two and more they get what keeps them finite (chunks of 4, a clip, a small θ),
    /// gates of every layer's own, an α that forgets within some twenty tokens (with less, text of 8,192 tokens is read
    /// far worse than text of 1,024) and the plain shape: the layer norm of the residual one starts with answers as
    /// large as the values.
    pub fn set_layers(&mut self, layers: usize) {
        self.memory.layers = layers;
        if layers > 1 {
            // With half the loss these are the steps of θ up to 0.1 and a clip of 1 on the whole of it.
            (self.theta_max, self.memory.clip) = (0.2, Some(0.5));
            (self.memory.chunk, self.memory.compute_chunk) = (4, 0);
            self.alpha_bias = -3.0;
            self.memory.network = Some(Network::Plain);
            self.layer_gates = true;
        }
    }

    /// The same for a configuration that was made for another number of layers: from several to one it takes back what
    /// [`set_layers`](Self::set_layers) gave. A first bias of α below −4 stays: whoever keeps pairs for long goes on
    /// keeping them.
    pub fn change_layers(&mut self, layers: usize) {
        let (deep, bias) = (self.memory.layers > 1, self.alpha_bias);
        if deep && layers == 1 {
            let usual = Self::default();
            self.memory = super::MemoryConfig { read: self.memory.read, hidden: self.memory.hidden, ..usual.memory };
            (self.theta_max, self.alpha_bias) = (usual.theta_max, usual.alpha_bias);
            self.layer_gates = usual.layer_gates;
        } else {
            self.set_layers(layers);
        }
        if bias < -4.0 {
            self.alpha_bias = bias;
        }
    }

    /// Blocks joined to the stream so, attention and memory together as is usual there.
    pub fn set_wiring(&mut self, wiring: Wiring) {
        self.wiring = wiring;
        self.combine = match wiring {
            Wiring::Residual => Combine::default(),
            Wiring::Letter => Combine::Product,
        };
    }

    /// Chunks of `chunk` tokens, computed in the pieces that suit them
    /// ([`titans_kernel::memory::MemorySpec::usual_compute_chunk`]).
    pub fn set_chunk(&mut self, chunk: usize) {
        (self.memory.chunk, self.memory.compute_chunk) = (chunk, 0);
        // A configuration that cannot be is refused by its own check.
        self.memory.compute_chunk = self.memory_spec().map_or(0, |spec| spec.usual_compute_chunk());
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Kind, Kinds, ModelConfig};

    #[test]
    fn pieces_end_where_macs_segments_do_and_deep_memories_have_whole_chunks() {
        let mut config = ModelConfig { block: Kinds::All(Kind::Mac), ..ModelConfig::default() };
        for (chunk, compute_chunk, segment, piece) in
            [(1, 64, 64, 64), (1, 64, 48, 16), (1, 64, 7, 1), (4, 64, 20, 4), (8, 3, 24, 3), (8, 0, 24, 8)]
        {
            (config.memory.chunk, config.memory.compute_chunk, config.attention.segment) =
                (chunk, compute_chunk, segment);
            config.validate().unwrap();
            let spec = config.memory_spec().unwrap();
            assert_eq!(
                (spec.piece_len(), segment % spec.period_len()),
                (piece, 0),
                "{chunk} {compute_chunk} {segment}"
            );
        }
        assert_eq!(ModelConfig::default().memory_spec().unwrap().piece_len(), 64);
        config.set_layers(2);
        config.attention.segment = 20;
        config.validate().unwrap();
        assert_eq!((config.memory_spec().unwrap().period_len(), config.memory.clip), (4, Some(0.5)));
    }

    #[test]
    fn memories_of_other_layers_get_the_recipe_of_theirs() {
        let linear = ModelConfig::default();
        let mut config = linear.clone();
        config.change_layers(2);
        let mut deep = linear.clone();
        deep.set_layers(2);
        assert_eq!(config, deep);
        config.change_layers(1);
        assert_eq!(config, linear);
        config.alpha_bias = -7.0;
        config.change_layers(3);
        assert_eq!((config.alpha_bias, config.memory.layers, config.memory.chunk), (-7.0, 3, 4));
    }

    #[test]
    fn a_chunk_of_another_length_is_computed_in_pieces_that_suit_it() {
        let mut config = ModelConfig::default();
        for (chunk, compute_chunk) in [(1, 64), (5, 60), (16, 64), (64, 0), (100, 0)] {
            config.set_chunk(chunk);
            config.validate().unwrap();
            assert_eq!((config.memory.chunk, config.memory.compute_chunk), (chunk, compute_chunk));
        }
        config.set_layers(3);
        config.set_chunk(16);
        assert_eq!(config.memory.compute_chunk, 0);
    }
}
