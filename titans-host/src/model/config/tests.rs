//! Configurations as text, and what is refused.

use super::{Head, Kind, Kinds, ModelConfig};
use titans_kernel::memory::{Activation, Network, Read};

#[test]
fn a_configuration_comes_back_from_text_and_absent_fields_are_the_default() {
    let mut config = ModelConfig { tied: false, ..ModelConfig::default() };
    config.memory.activation = Activation::GeluTanh;
    config.memory.network = Some(Network::Plain);
    config.memory.clip = Some(1.5);
    config.memory.read = Read::ChunkStart;
    assert!(toml::to_string(&config).unwrap().contains("compute_chunk = 64"));
    config.memory.compute_chunk = 5;
    assert_eq!(config.memory_spec().unwrap().piece_len(), 5);
    config.block = Kinds::Each(vec![Kind::Mac, Kind::Attention, Kind::Lmm, Kind::Mal]);
    let toml = toml::to_string(&config).unwrap();
    assert!(toml.contains("gelu-tanh") && toml.contains("chunk-start"), "{toml}");
    assert_eq!(toml::from_str::<ModelConfig>(&toml).unwrap(), config);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ModelConfig>(&json).unwrap(), config);
    assert_eq!(toml::from_str::<ModelConfig>("").unwrap(), ModelConfig::default());
    let error = toml::from_str::<ModelConfig>("[memory]\nactivation = \"sine\"").unwrap_err().to_string();
    assert!(error.contains("silu") && error.contains("sine"), "{error}");
    assert!(toml::from_str::<ModelConfig>("widht = 3").is_err());
}

/// A configuration from before has gates for all layers.
#[test]
fn gates_of_every_layer_are_named_and_counted() {
    let mut config = toml::from_str::<ModelConfig>("[memory]\nlayers = 3\nchunk = 4\ncompute_chunk = 0").unwrap();
    let shared = config.parameters().unwrap();
    assert_eq!((config.layer_gates, config.gates_width(), config.memory_spec().unwrap().gate_sets()), (false, 6, 1));
    config.layer_gates = true;
    assert_eq!((config.gates_width(), config.memory_spec().unwrap().gate_sets()), (18, 3));
    // 12 columns and biases more in every block.
    assert_eq!(config.parameters().unwrap() - shared, config.blocks * 12 * (config.width + 1));
    assert!(toml::to_string(&config).unwrap().contains("layer_gates = true"));
    let linear = ModelConfig { layer_gates: true, ..ModelConfig::default() };
    assert_eq!(linear.parameters().unwrap(), ModelConfig::default().parameters().unwrap());
}

#[test]
fn every_bad_field_is_named() {
    let good = ModelConfig::default();
    good.validate().unwrap();
    type Spoil = fn(&mut ModelConfig);
    let bad: [(&str, Spoil); 35] = [
        ("vocabulary", |c| c.vocabulary = 0),
        ("head_width", |c| c.head_width = usize::MAX),
        ("conv_width", |c| c.conv_width = usize::MAX),
        ("memory.layers", |c| c.memory.layers = 5),
        ("memory.chunk", |c| c.memory.chunk = 0),
        ("compute_chunk", |c| c.memory.compute_chunk = usize::MAX),
        ("memory.compute_chunk: expected", |c| c.memory.chunk = 5),
        ("theta_max", |c| c.theta_max = f64::NAN),
        ("eta_max", |c| c.eta_max = f64::NAN),
        ("eta_max", |c| c.eta_max = 0.0),
        ("eta_max", |c| c.eta_max = 1.01),
        ("alpha_bias", |c| c.alpha_bias = f64::INFINITY),
        // Finite, but not in the 32 bits of the parameters.
        ("alpha_bias", |c| c.alpha_bias = 1e39),
        ("eta_bias", |c| c.eta_bias = -1e300),
        ("theta_max", |c| c.theta_max = 1e39),
        ("theta_max", |c| c.theta_max = 1e-50),
        ("eta_max", |c| c.eta_max = 1e-50),
        ("theta_bias", |c| c.theta_bias = f64::NAN),
        ("key_scale", |c| c.key_scale = 0.0),
        ("key_scale", |c| c.key_scale = f64::INFINITY),
        ("eta_bias", |c| c.eta_bias = f64::NAN),
        ("clip", |c| c.memory.clip = Some(-1.0)),
        ("blocks", |c| c.blocks = 4097),
        ("block", |c| c.block = Kinds::Each(vec![Kind::Mac])),
        ("persistent", |c| c.persistent = usize::MAX),
        ("attention.heads", |c| (c.block, c.attention.heads) = (Kinds::All(Kind::Mag), 3)),
        ("attention.kv_heads", |c| (c.block, c.attention.heads, c.attention.kv_heads) = (Kinds::All(Kind::Mal), 4, 3)),
        ("rotary", |c| (c.block, c.head_width) = (Kinds::All(Kind::Attention), 33)),
        ("attention.segment", |c| {
            (c.block, c.memory.chunk, c.attention.segment) = (Kinds::All(Kind::Mac), 4, 63);
        }),
        ("tied", |c| (c.head, c.outputs) = (Head::Classes, 3)),
        ("head", |c| (c.inputs, c.tied) = (3, false)),
        ("outputs", |c| (c.head, c.tied) = (Head::Regression, false)),
        ("parameters", |c| (c.width, c.feed_forward) = (100_000, 100_000)),
        ("parameters", |c| (c.memory.layers, c.memory.hidden) = (4, 1 << 20)),
        ("parameters", |c| (c.width, c.heads, c.head_width, c.feed_forward) = (1 << 20, 1 << 10, 1 << 10, 1 << 20)),
    ];
    for (name, spoil) in bad {
        let mut config = good.clone();
        spoil(&mut config);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
        assert!(config.parameters().is_err());
    }
}
