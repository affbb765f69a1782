//! The self-test of real sizes, at small ones: its logic, which is the same.

use crate::cuda_emulator::{assert_all, emulated, reference};
use std::sync::Arc;
use titans_host::device::cpu::Cpu;
use titans_host::device::cuda::Cuda;
use titans_host::device::cuda::counting::Counting;
use titans_host::model::{AttentionConfig, Kind, Kinds, ModelConfig};
use titans_host::selftest::{self, RealSizes};

fn small() -> RealSizes {
    let model = ModelConfig {
        vocabulary: 13,
        width: 12,
        blocks: 2,
        heads: 2,
        head_width: 6,
        feed_forward: 17,
        persistent: 2,
        block: Kinds::Each(vec![Kind::Mac, Kind::Lmm]),
        attention: AttentionConfig { segment: 8, ..AttentionConfig::default() },
        ..ModelConfig::default()
    };
    let models = vec![("tiny", model, [2, 19])];
    RealSizes { widths: vec![5, 8], copies: 4, heads: 2, time: 19, far: 5000, models }
}

#[test]
fn real_sizes_pass_on_the_emulator_where_they_are_small() {
    let checks = selftest::real(&emulated(), &reference(), &small());
    assert_all(&checks, 5 * 14 + 2 + 2);
    assert!(checks.iter().all(|check| check.skipped.is_none() && check.group() == "real"));
    let repeats = checks.iter().filter(|check| check.name.ends_with("of all sequences"));
    assert!(repeats.clone().count() == 5 * 7 && repeats.clone().all(|check| check.tolerance == 0.0));
}

/// The machine that counts answers with zeros, which are no results.
#[test]
fn wrong_results_are_found() {
    let wrong = Cuda::with_driver(Arc::new(Counting::default()));
    let checks = selftest::real(&wrong, &reference(), &small());
    for name in ["real memory, width 5, chunk 1 y", "real memory, far states d_state", "real table, far rows read"] {
        let check = checks.iter().find(|check| check.name == name).unwrap();
        assert!(!check.passed(), "{check:?}");
    }
}

#[test]
fn what_has_no_room_is_skipped_and_says_why() {
    let sizes = RealSizes { widths: vec![64], models: Vec::new(), ..RealSizes::default() };
    let little = Cuda::with_driver(Arc::new(Counting::with_room(1 << 24)));
    let checks = selftest::real(&little, &reference(), &sizes);
    let why = |skipped: &Option<String>| skipped.clone().unwrap();
    assert_eq!(checks.len(), 4, "{checks:#?}");
    assert!(checks.iter().all(|check| check.passed() && why(&check.skipped).contains("16 MiB are free")));
    assert!(why(&checks[2].skipped).contains("needs 8193 MiB"), "{:?}", checks[2]);
    // A device that cannot be asked is not tried.
    let sizes = RealSizes { widths: Vec::new(), ..sizes };
    let checks = selftest::real(&Cpu::<f32>::new(Some(1)).unwrap(), &reference(), &sizes);
    assert!(checks.len() == 1 && why(&checks[0].skipped).contains("does not say"), "{checks:?}");
}
