//! (d) Whole models in the kernel, every kind of block. Measured: the stream's beginning, pushes of all sizes and
//! single steps, the first included.

use crate::taken;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Kind, Kinds, Mode, Model, ModelConfig, Session};
use titans_kernel::MatMut;
use titans_kernel::model::{Feed, Stream};

pub fn check() {
    let cpu = Cpu::<f32>::new(Some(1)).unwrap();
    let kinds = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention];
    for (kind, chunks) in kinds.into_iter().flat_map(|kind| [(8, 0), (1, 64)].map(|chunks| (kind, chunks))) {
        let mut config = ModelConfig {
            vocabulary: 40,
            width: 24,
            blocks: 2,
            heads: 2,
            head_width: 12,
            feed_forward: 20,
            block: Kinds::All(kind),
            persistent: 3,
            theta_max: 0.1,
            ..ModelConfig::default()
        };
        (config.attention.window, config.attention.segment) = (16, 16);
        (config.memory.chunk, config.memory.compute_chunk) = chunks;
        let model = Model::new(&cpu, config, 3).unwrap();
        let session = Session::new(&cpu, &model, Mode::On).unwrap();
        let model = session.weights().model().unwrap();
        let (outputs, memories) = (model.spec().outputs, model.memories());
        let ids: Vec<u32> = (0..64u32).map(|i| i * i % 40).collect();
        let mut buffer = vec![f32::NAN; model.stream_len(8)];
        let (mut said, mut surprise) = (vec![f32::NAN; 64 * outputs], vec![f32::NAN; 64 * memories]);
        let found = taken(|| {
            let mut stream = Stream::new(cpu.gemm(), &model, Mode::On, 8, &mut buffer).unwrap();
            for n in [1, 5, 8, 37, 64, 1] {
                let out = MatMut::new(&mut said[..n * outputs], n, outputs).unwrap();
                let told = MatMut::new(&mut surprise[..n * memories], n, memories).unwrap();
                stream.push(cpu.gemm(), Feed::Tokens(&ids[..n]), Some(out), Some(told)).unwrap();
                stream.step(cpu.gemm(), Feed::Tokens(&ids[..1]), &mut said[..outputs], None).unwrap();
            }
        });
        assert_eq!(found, 0, "{kind:?}");
        assert!(said.iter().all(|x| x.is_finite()));
    }
}
