//! AdamW and the clip against the formulas, written out in f64.

use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::tape::{Gradients, Params};
use titans_host::train::optimiser::{Constants, Optimiser};

const CONSTANTS: Constants =
    Constants { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weight_decay: 0.1, gate_rate: 1.0, clip: 1.0 };

/// Three steps with the given gradient scale; the parameters after them.
fn train(constants: Constants, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let device = Cpu::<f64>::new(Some(1)).unwrap();
    let mut params = Params::new();
    let start = [vec![1.0, -2.0, 0.5], vec![0.25, 4.0]];
    params.add(&device, "matrix", &[1, 3], &start[0], true).unwrap();
    params.add(&device, "blocks.0.mixer.gates.bias", &[2], &start[1], false).unwrap();
    let mut optimiser = Optimiser::new(&device, constants, &params).unwrap();
    let mut gradients = Gradients::zeros_like(&device, &params).unwrap();

    let mut reference = start.concat();
    let (mut m, mut v) = (vec![0.0; 5], vec![0.0; 5]);
    for step in 1..=3 {
        let g: Vec<f64> = (0..5).map(|i| scale * f64::sin((7 * step + i) as f64)).collect();
        let ids: Vec<_> = params.iter().map(|p| p.id).collect();
        device.write(&g[..3], gradients.get_mut(ids[0]).unwrap()).unwrap();
        device.write(&g[3..], gradients.get_mut(ids[1]).unwrap()).unwrap();
        let norm = gradients.norm(&device).unwrap();
        let lr = 0.1 / f64::from(step);
        optimiser.step(&device, lr, norm, &gradients, &mut params).unwrap();

        let true_norm = g.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((norm - true_norm).abs() < 1e-12 * true_norm);
        let clip = (constants.clip / true_norm).min(1.0);
        for i in 0..5 {
            let g = clip * g[i];
            m[i] = constants.beta1 * m[i] + (1.0 - constants.beta1) * g;
            v[i] = constants.beta2 * v[i] + (1.0 - constants.beta2) * g * g;
            let m_hat = m[i] / (1.0 - constants.beta1.powi(step));
            let v_hat = v[i] / (1.0 - constants.beta2.powi(step));
            let decay = if i < 3 { constants.weight_decay } else { 0.0 };
            let lr = if i < 3 { lr } else { lr * constants.gate_rate };
            reference[i] -= lr * (m_hat / (v_hat.sqrt() + constants.epsilon) + decay * reference[i]);
        }
    }
    let found = params.iter().flat_map(|p| device.download(p.value).unwrap()).collect();
    (found, reference)
}

fn assert_close(found: &[f64], expected: &[f64]) {
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= 1e-13 * e.abs().max(1.0), "found {f}, expected {e}");
    }
}

#[test]
fn adamw_is_the_formula_with_and_without_clipping() {
    for scale in [1e-3, 1.0, 1e3] {
        let (found, expected) = train(CONSTANTS, scale);
        assert_close(&found, &expected);
        let (unclipped, expected) = train(Constants { clip: f64::INFINITY, ..CONSTANTS }, scale);
        assert_close(&unclipped, &expected);
        if scale == 1e-3 {
            assert_eq!(found, unclipped, "a short gradient is not touched");
        }
    }
}

#[test]
fn gates_have_a_rate_of_their_own() {
    let constants = Constants { gate_rate: 30.0, ..CONSTANTS };
    let ((found, expected), (plain, _)) = (train(constants, 1.0), train(CONSTANTS, 1.0));
    assert_close(&found, &expected);
    assert_eq!(found[..3], plain[..3], "others go as far as without");
    assert_ne!(found[3..], plain[3..]);
}

#[test]
fn the_clip_bounds_the_step_of_a_growing_gradient() {
    // With epsilon large, AdamW is nearly linear in the gradient, and the clip shows.
    let constants = Constants { epsilon: 1e3, weight_decay: 0.0, ..CONSTANTS };
    let (clipped, expected) = train(constants, 1e6);
    assert_close(&clipped, &expected);
    let (free, expected) = train(Constants { clip: f64::INFINITY, ..constants }, 1e6);
    assert_close(&free, &expected);
    let moved = |x: &[f64]| (x[0] - 1.0).abs();
    assert!(moved(&clipped) < 1e-3 && moved(&free) > 0.01, "{} {}", moved(&clipped), moved(&free));
}

#[test]
fn other_parameters_are_refused() {
    let device = Cpu::<f64>::new(Some(1)).unwrap();
    let mut params = Params::new();
    let optimiser = Optimiser::new(&device, CONSTANTS, &params);
    params.add(&device, "late", &[1], &[1.0], true).unwrap();
    let gradients = Gradients::zeros_like(&device, &params).unwrap();
    let error = optimiser.unwrap().step(&device, 0.1, 1.0, &gradients, &mut params).unwrap_err();
    assert!(error.to_string().contains("expected 0 parameters, found 1"), "{error}");
}
