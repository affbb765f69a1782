//! The firmware of `examples/mcu` on the host: with portable arithmetic it prints what the microcontroller prints
//! (`.ci/mcu` compares that with the same file), and on every instruction set it finds the faults.

#[path = "../../examples/mcu/rust/src/forecast.rs"]
mod forecast;

use titans_kernel::arch::{Isa, Simd};
use titans_kernel::model::Model;
use titans_kernel::{Arithmetic, Portable};

/// The blob where numbers of 32 bits may lie, and the sensor's rows.
fn inputs() -> (Vec<u32>, usize, Vec<u8>) {
    let read = |name| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mcu").join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let blob = read("model.titans");
    let words = blob.chunks(4).map(|b| u32::from_le_bytes(b.try_into().expect("whole numbers"))).collect();
    (words, blob.len(), read("device.bin"))
}

fn run<G: Arithmetic<f32> + Copy>(g: G) -> (bool, String) {
    let (words, len, sensor) = inputs();
    let (mut a, mut b) = ([0.0; forecast::NUMBERS], [0.0; forecast::NUMBERS]);
    let mut said = String::new();
    let blob = &bytemuck::cast_slice::<u32, u8>(&words)[..len];
    let good = forecast::run(g, blob, &sensor, [&mut a, &mut b], &mut said).expect("all rows are taken");
    (good, said)
}

#[test]
fn the_host_prints_what_the_microcontroller_prints() {
    let expected = include_str!("../../examples/mcu/expected.txt");
    assert_eq!(run(Portable), (true, expected.to_owned()));
    let simd = Simd::new(Isa::Portable).expect("every processor has it");
    assert_eq!(run(simd), (true, expected.to_owned()), "the command's portable code is the same");
}

#[test]
fn an_alarm_begins_in_each_fault_on_every_instruction_set() {
    for simd in Isa::ALL.into_iter().filter_map(Simd::new) {
        let (good, said) = run(simd);
        let alarms: Vec<usize> =
            said.lines().filter_map(|line| line.strip_prefix("row ")?.split_once(": alarm")?.0.parse().ok()).collect();
        for fault in [300, 420, 540, 640] {
            let near = alarms.iter().any(|&at| (fault..fault + 16).contains(&at));
            assert!(near, "{}: no alarm behind row {fault}: {alarms:?}", simd.isa().name());
        }
        assert!(good && alarms.len() <= 6, "{said}");
    }
}

#[test]
fn a_stream_needs_the_numbers_that_the_firmware_sets_aside_and_a_damaged_blob_is_refused() {
    let (mut words, len, sensor) = inputs();
    let blob = bytemuck::cast_slice::<u32, u8>(&words)[..len].to_vec();
    assert!(blob.len() < 32 << 10);
    let model = Model::<f32>::parse(&bytemuck::cast_slice::<u32, u8>(&words)[..len]).expect("a blob");
    assert_eq!(model.stream_len(1), forecast::NUMBERS);
    words[100] ^= 1;
    let (mut a, mut b) = ([0.0; forecast::NUMBERS], [0.0; forecast::NUMBERS]);
    let damaged = &bytemuck::cast_slice::<u32, u8>(&words)[..len];
    let stopped = forecast::run(Portable, damaged, &sensor, [&mut a, &mut b], &mut String::new());
    assert!(matches!(stopped, Err(forecast::Stop::Model(_))), "{stopped:?}");
}
