//! What a model is made of, and which parameters it takes.

use super::{Model, ModelConfig};
use crate::device::Device;
use crate::device::cpu::Cpu;
use crate::tape::Params;

fn small() -> ModelConfig {
    let mut config = ModelConfig { vocabulary: 5, width: 6, blocks: 2, heads: 2, head_width: 3, ..Default::default() };
    config.memory.layers = 2;
    config
}

#[test]
fn a_seed_gives_one_model_on_every_device() {
    let (single, double) = (Cpu::<f32>::new(Some(2)).unwrap(), Cpu::<f64>::new(Some(1)).unwrap());
    let a = Model::new(&single, small(), 4).unwrap();
    let b = Model::new(&double, small(), 4).unwrap();
    let c = Model::new(&double, small(), 5).unwrap();
    let mut differs = false;
    for ((a, b), c) in a.params.iter().zip(b.params.iter()).zip(c.params.iter()) {
        assert_eq!((a.name, a.shape, a.decay), (b.name, b.shape, b.decay));
        let b = double.download(b.value).unwrap();
        let a = single.download(a.value).unwrap();
        assert!(a.iter().zip(&b).all(|(a, b)| *a == *b as f32));
        differs |= b != double.download(c.value).unwrap();
    }
    assert!(differs);
}

#[test]
fn the_table_names_and_counts_every_parameter() {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    let model = Model::new(&device, small(), 0).unwrap();
    let table = model.describe();
    assert_eq!(table.lines().count(), model.params.len() + 2);
    assert!(table.contains("blocks.1.mixer.memory.w0"), "{table}");
    let all = table.lines().last().unwrap();
    assert!(all.ends_with(&small().parameters().unwrap().to_string()), "{all}");
}

#[test]
fn parameters_of_another_configuration_are_refused_by_name() {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    let params = || Model::new(&device, small(), 0).unwrap().params;
    let message = |config, params: Params<Cpu<f32>>| Model::from_params(config, params).unwrap_err().to_string();
    let missing = message(ModelConfig { tied: false, ..small() }, params());
    assert!(missing.contains("head.weight is missing"), "{missing}");
    let shape = message(ModelConfig { vocabulary: 6, ..small() }, params());
    assert!(shape.contains("embedding.weight: expected shape [6, 6], found [5, 6]"), "{shape}");
    let extra = message(ModelConfig { blocks: 1, ..small() }, params());
    assert!(extra.contains("blocks.1.") && extra.contains("none of that name"), "{extra}");
    assert!(message(ModelConfig { width: 0, ..small() }, params()).contains("width"));
    Model::from_params(small(), params()).unwrap();
}
