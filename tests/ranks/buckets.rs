//! Gradients that are sent on the way of a backward, bucket by bucket, are those of its end.

use super::circle::together;
use std::sync::Arc;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Input, Kind, Kinds, Model, ModelConfig, Targets};
use titans_host::tape::{Gradients, Params, Tape};
use titans_host::train::Collective;
use titans_host::train::ranks::sum::GradientSum;

const LENS: [usize; 6] = [5, 3, 7, 1, 2, 9];

/// Gradients of one rank in one round.
fn gradients(device: &Cpu<f32>, params: &Params<Cpu<f32>>, rank: usize, round: usize) -> Gradients<Cpu<f32>> {
    let mut gradients = Gradients::zeros_like(device, params).unwrap();
    for (param, buffer) in gradients.iter_mut().enumerate() {
        let number =
            |i: usize| 10f32.powi(((i + rank) % 5) as i32 - 2) / (3 + rank + 7 * round + 11 * param + i) as f32;
        device.write(&(0..LENS[param]).map(number).collect::<Vec<_>>(), buffer).unwrap();
    }
    gradients
}

fn params(device: &Cpu<f32>) -> Params<Cpu<f32>> {
    let mut params = Params::new();
    for (i, len) in LENS.into_iter().enumerate() {
        params.add(device, format!("p{i}"), &[len], &vec![0.0; len], false).unwrap();
    }
    params
}

#[test]
fn buckets_change_no_sum() {
    let (device, ranks, rounds) = (Cpu::<f32>::new(Some(1)).unwrap(), 3, 3);
    let params = params(&device);
    // Of the last round the last rank has no part.
    let present = |round: usize| if round + 1 == rounds { ranks - 1 } else { ranks };
    let mut expected = gradients(&device, &params, 0, 0);
    for round in 0..rounds {
        for rank in (0..present(round)).filter(|&rank| (rank, round) != (0, 0)) {
            expected.add(&device, &gradients(&device, &params, rank, round)).unwrap();
        }
    }
    let bits = |g: &Gradients<Cpu<f32>>| -> Vec<u32> {
        g.iter().flat_map(|buffer| device.download(buffer).unwrap()).map(f32::to_bits).collect()
    };
    for most in [1, 8, 16, 1000] {
        // Told of in the backward's order, in another one, of some, of none.
        for order in [vec![5, 4, 3, 2, 1, 0], vec![0, 3, 5, 1], vec![4, 5], vec![]] {
            let found = together(ranks, |member| {
                let mut sum = GradientSum::new(LENS.into_iter(), ranks, most);
                // A step, and the next one in the same space.
                let steps = [0, 1].map(|_| {
                    let mut last = Gradients::zeros_like(&device, &params).unwrap();
                    for round in 0..rounds {
                        if member.rank() < present(round) {
                            last = gradients(&device, &params, member.rank(), round);
                            let told = |&i: &usize| sum.ready(&device, member, i, last.iter().nth(i).unwrap()).unwrap();
                            order.iter().for_each(told);
                        }
                        sum.add(&device, member, &last, present(round)).unwrap();
                    }
                    sum.finish(&device, member, &mut last).unwrap();
                    bits(&last)
                });
                assert!(sum.ready(&device, member, LENS.len(), last_of(&expected)).is_err(), "no such parameter");
                steps
            });
            for steps in found {
                assert_eq!(steps, [bits(&expected), bits(&expected)], "buckets of {most}, order {order:?}");
            }
        }
    }
}

fn last_of(gradients: &Gradients<Cpu<f32>>) -> &<Cpu<f32> as Device>::Buffer {
    gradients.iter().last().unwrap()
}

#[test]
fn a_gradient_that_is_told_of_is_done() {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    for kind in [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention] {
        let mut config = ModelConfig {
            vocabulary: 11,
            width: 16,
            blocks: 2,
            heads: 2,
            head_width: 8,
            feed_forward: 16,
            block: Kinds::All(kind),
            ..ModelConfig::default()
        };
        (config.attention.segment, config.memory.compute_chunk) = (8, 8);
        let model = Model::new(&device, config, 1).unwrap();
        let ids: Vec<u32> = (0..32).map(|i| i * 7 % 11).collect();
        let [ids, targets] = [0, 1].map(|by| {
            let ids: Vec<u32> = ids.iter().map(|id| (id + by) % 11).collect();
            Arc::new(device.upload_indices(&ids).unwrap())
        });
        let mut told = Vec::new();
        let mut gradients = Gradients::zeros_like(&device, &model.params).unwrap();
        let mut tape = Tape::recording(&device, &model.params);
        let forward = model.forward(&mut tape, Input::new(&ids, 2, 16)).unwrap();
        let losses = model.loss(&mut tape, &forward.logits, Targets::Ids(&targets)).unwrap();
        drop(forward);
        let mut hear = |id, gradient: &_| {
            told.push((id, device.download(gradient).unwrap()));
            Ok(())
        };
        tape.backward_heard(&losses, 1.0, &mut gradients, &mut hear).unwrap();
        assert_eq!(told.len(), model.params.len(), "{kind:?}: each is told of once");
        for (id, gradient) in &told {
            let name = model.params.name(*id).unwrap();
            assert_eq!(gradient, &device.download(gradients.get(*id).unwrap()).unwrap(), "{kind:?}: {name}");
        }
        let place =
            |name: &str| told.iter().position(|(id, _)| model.params.name(*id).unwrap().contains(name)).unwrap();
        assert!(place("blocks.1.") < place("blocks.0."), "{kind:?}: the last block first");
    }
}
