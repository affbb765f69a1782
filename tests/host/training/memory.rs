//! What a training step holds: with fewer chunk boundaries, and with blocks computed again, less memory and the same
//! bits.

use super::support::bits;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use titans_host::device::cpu::Cpu;
use titans_host::device::{Boundaries, Device, IGNORE};
use titans_host::model::{Aim, Input, Model, ModelConfig, Recompute, Targets};
use titans_host::tape::{Gradients, Tape};
use titans_host::task::TaskConfig;
use titans_host::task::text::{Text, TextConfig};
use titans_host::train::{RunConfig, TrainConfig, Trainer};
use titans_kernel::memory::Loss;

/// Layers, chunk and tokens computed at once of a memory.
type Shape = (usize, usize, usize);
const LINEAR: Shape = (1, 3, 0);
const EXACT: Shape = (1, 1, 3);
const DEEP: Shape = (2, 3, 0);

/// Long sequences through small blocks: activations and boundaries are most of what a step holds.
fn run(
    (layers, chunk, compute_chunk): Shape,
    tied: bool,
    boundaries: Boundaries,
    recompute: bool,
) -> (RunConfig, Text) {
    let mut model = ModelConfig {
        vocabulary: 256,
        width: 16,
        blocks: 4,
        heads: 2,
        head_width: 8,
        feed_forward: 24,
        tied,
        theta_max: 0.25,
        // A layer norm behind weights that are forgotten at once divides by nearly nothing.
        alpha_bias: -4.0,
        ..ModelConfig::default()
    };
    (model.memory.chunk, model.memory.compute_chunk, model.memory.loss) = (chunk, compute_chunk, Loss::Sum);
    (model.memory.layers, model.memory.hidden) = (layers, 12);
    let train = TrainConfig { steps: 50, warm_up: 3, boundaries, recompute, ..TrainConfig::default() };
    let task = TextConfig { context: 200, sequences: 3, ..TextConfig::default() };
    let bytes: Vec<u8> = (0..5000u32).map(|i| (i * i / 7) as u8).collect();
    (TaskConfig::Text(task.clone()).run(model, train).unwrap(), Text::new(task, &bytes, 4).unwrap())
}

const WAYS: [(Boundaries, bool); 4] =
    [(Boundaries::All, false), (Boundaries::Sqrt, false), (Boundaries::All, true), (Boundaries::Sqrt, true)];

#[test]
fn every_way_trains_to_the_same_bits_and_holds_less() {
    for (layers, tied) in [(LINEAR, true), (EXACT, true), (DEEP, false)] {
        let mut found = Vec::new();
        for (boundaries, recompute) in WAYS {
            let device = Cpu::<f32>::new(Some(2)).unwrap();
            let (config, mut task) = run(layers, tied, boundaries, recompute);
            let mut trainer = Trainer::new(&device, config, &mut task).unwrap();
            let reports: Vec<_> = (0..3)
                .map(|_| trainer.step(0.0).unwrap())
                .map(|r| (r.loss.to_bits(), r.gradient_norm.to_bits()))
                .collect();
            let live = device.pool_usage().live_bytes;
            device.restart_peak();
            assert_eq!(device.pool_usage().peak_bytes, live);
            trainer.step(0.0).unwrap();
            found.push((reports, bits(&trainer, &device), device.pool_usage().peak_bytes));
        }
        let [all, sqrt, recomputed, both] = &found[..] else { panic!("four ways") };
        for (other, way) in found.iter().zip(WAYS) {
            assert_eq!((&other.0, &other.1), (&all.0, &all.1), "{way:?}");
        }
        assert!(
            sqrt.2 < all.2 && both.2 < recomputed.2 && recomputed.2 < sqrt.2,
            "{layers:?}: {:?}",
            [all.2, sqrt.2, recomputed.2, both.2]
        );
    }
}

#[test]
fn gradients_of_recomputed_blocks_have_the_bits_of_the_whole_tape() {
    let device = Cpu::<f64>::new(Some(2)).unwrap();
    for (layers, tied, context) in [(LINEAR, true, 40), (EXACT, true, 40), ((3, 3, 0), false, 7), (DEEP, true, 1)] {
        let (config, _) = run(layers, tied, Boundaries::All, false);
        let model = Model::new(&device, config.model, 3).unwrap();
        let ids: Vec<u32> = (0..2 * context).map(|i| (i * 7 + 3) % 256).collect();
        let targets: Vec<u32> = ids.iter().map(|&i| if i % 5 == 0 { IGNORE } else { 255 - i }).collect();
        let [ids, targets] = [ids, targets].map(|x| Arc::new(device.upload_indices(&x).unwrap()));
        let download = |gradients: &Gradients<_>| -> Vec<Vec<u64>> {
            let of = |g| device.download(g).unwrap().iter().map(|x: &f64| x.to_bits()).collect();
            gradients.iter().map(of).collect()
        };

        let mut whole = Gradients::zeros_like(&device, &model.params).unwrap();
        let mut tape = Tape::recording(&device, &model.params);
        let forward = model.forward(&mut tape, Input::new(&ids, 2, context as usize)).unwrap();
        let losses = tape.cross_entropy(256, &forward.logits, &targets).unwrap();
        let expected = device.download(losses.buffer()).unwrap();
        tape.backward(&losses, 0.25, &mut whole).unwrap();
        let whole = download(&whole);
        assert!(whole.iter().all(|g| g.iter().all(|&x| f64::from_bits(x).is_finite())));
        assert!(whole.iter().filter(|g| g.iter().any(|&x| f64::from_bits(x) != 0.0)).count() > whole.len() / 2);

        let mut space = Recompute::new();
        for boundaries in [Boundaries::All, Boundaries::Sqrt] {
            let mut again = Gradients::zeros_like(&device, &model.params).unwrap();
            let input = Input::new(&ids, 2, context as usize);
            let mut losses = Vec::new();
            let seen = |_: &_, found: &titans_host::tape::Losses<_>| {
                losses = device.download(found.buffer())?;
                Ok(())
            };
            let aim = Aim { targets: Targets::Ids(&targets), scale: 0.25, boundaries };
            model.backward_recomputed(&device, &mut space, &input, aim, &mut again, seen).unwrap();
            assert_eq!(losses, expected);
            assert_eq!(download(&again), whole, "{layers:?}, {boundaries:?}");
        }
    }
}

/// `titans inspect --memory`, as JSON.
fn inspect(config: &Path, threads: usize) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_titans"));
    let out = command.args(["inspect", "--json", "--memory", "--threads", &threads.to_string()]).arg(config).output();
    let out = out.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The plan takes its buffers as the step does, so there is no tolerance.
#[test]
fn the_plan_is_the_pool_s_peak_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    for (i, (boundaries, recompute)) in WAYS.into_iter().enumerate() {
        for layers in [LINEAR, EXACT, DEEP] {
            let (mut config, mut task) = run(layers, i % 2 == 0, boundaries, recompute);
            config.train.dropout = if i % 3 == 0 { 0.0 } else { 0.1 };
            config.write(&path).unwrap();
            for threads in [1, 2, 3] {
                let plan = inspect(&path, threads);
                let device = Cpu::<f32>::new(Some(threads)).unwrap();
                let mut trainer = Trainer::new(&device, config.clone(), &mut task).unwrap();
                let standing = device.pool_usage().live_bytes;
                trainer.step(0.0).unwrap();
                let number = |key: &str| plan[key].as_u64().unwrap() as usize;
                let way = format!("{layers:?}, {threads} threads, {boundaries:?}, recompute {recompute}");
                assert_eq!(number("peak"), device.pool_usage().peak_bytes, "{way}");
                assert_eq!(number("parameters") + number("gradients") + number("moments"), standing, "{way}");
                assert_eq!((number("batch"), number("time"), number("threads")), (3, 200, threads));
                let kept = &plan["kept"];
                let parts = ["linear", "norms", "convolutions", "elementwise", "memories", "boundaries", "other"];
                let sum: u64 = parts.iter().map(|part| kept[part].as_u64().unwrap()).sum();
                assert_eq!(kept["total"].as_u64(), Some(sum), "{way}");
                assert_eq!(kept["boundaries"] == 0, recompute, "{way}");
                let total = standing as u64 + sum + plan["working"].as_u64().unwrap();
                assert_eq!(plan["peak"].as_u64(), Some(total), "{way}");
            }
        }
    }
}

#[test]
fn the_options_are_in_the_configuration_and_absent_ones_mean_as_before() {
    let (config, _) = run(LINEAR, true, Boundaries::Sqrt, true);
    let text = toml::to_string(&config).unwrap();
    assert!(text.contains("boundaries = \"sqrt\"") && text.contains("recompute = true"), "{text}");
    assert_eq!(toml::from_str::<RunConfig>(&text).unwrap(), config);
    let old: Vec<&str> = text.lines().filter(|l| !l.starts_with("boundaries") && !l.starts_with("recompute")).collect();
    let old: RunConfig = toml::from_str(&old.join("\n")).unwrap();
    assert_eq!((old.train.boundaries, old.train.recompute), (Boundaries::All, false));
    let error = toml::from_str::<RunConfig>(&text.replace("\"sqrt\"", "\"cube\"")).unwrap_err().to_string();
    assert!(error.contains("sqrt") && error.contains("cube"), "{error}");
}
