//! (c) Whole training steps. Measured: `Trainer::step` of the second step and five more, that is drawing the batch of
//! text, its upload, forward, loss, backward, the norm for the clip, AdamW, and the step's report. Not measured, and
//! not free of allocations: the first step, the run loop around it (a line of metrics, the progress, checkpoints),
//! and the recall task's batches, whose length changes from step to step.

use crate::taken;
use titans_host::device::Boundaries;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Kind, Kinds, ModelConfig};
use titans_host::task::TaskConfig;
use titans_host::task::text::{Text, TextConfig};
use titans_host::train::{TrainConfig, Trainer};

pub fn check() {
    let bytes: Vec<u8> = (0..4000u32).map(|i| (i * i / 7) as u8).collect();
    for threads in [1, 2] {
        let cpu = Cpu::<f32>::new(Some(threads)).unwrap();
        // Chunk and tokens computed at once: chunks, and the exact form.
        let (chunks, exact) = ((8, 0), (1, 16));
        let mut cases =
            vec![(1, 1, Boundaries::All, false, Kind::Lmm, chunks), (2, 2, Boundaries::Sqrt, false, Kind::Lmm, chunks)];
        for kind in [Kind::Mac, Kind::Lmm, Kind::Mag, Kind::Mal, Kind::Attention] {
            cases.push((1, 1, Boundaries::Sqrt, true, kind, chunks));
        }
        cases.push((2, 2, Boundaries::All, false, Kind::Mac, chunks));
        cases.push((1, 1, Boundaries::All, false, Kind::Mac, exact));
        cases.push((1, 1, Boundaries::Sqrt, true, Kind::Lmm, exact));
        for (layers, accumulate, boundaries, recompute, kind, chunks) in cases {
            let dropout = if accumulate == 2 || recompute { 0.1 } else { 0.0 };
            let train =
                TrainConfig { steps: 100, accumulate, boundaries, recompute, dropout, ..TrainConfig::default() };
            let mut model = ModelConfig {
                width: 48,
                blocks: 3,
                heads: 3,
                head_width: 16,
                feed_forward: 64,
                block: Kinds::All(kind),
                persistent: 3,
                theta_max: 0.1,
                ..ModelConfig::default()
            };
            (model.memory.layers, model.memory.hidden) = (layers, 24);
            (model.memory.chunk, model.memory.compute_chunk) = chunks;
            let task = TextConfig { context: 70, sequences: 5, ..TextConfig::default() };
            let config = TaskConfig::Text(task.clone()).run(model, train).unwrap();
            let mut task = Text::new(task, &bytes, 1).unwrap();
            let mut trainer = Trainer::new(&cpu, config, &mut task).unwrap();
            trainer.step(0.0).unwrap();
            let found = taken(|| {
                for _ in 0..6 {
                    trainer.step(0.0).unwrap();
                }
            });
            assert_eq!(found, 0, "{kind:?}, {threads} threads, {layers} layers, {boundaries:?}, recompute {recompute}");
        }
    }
}
