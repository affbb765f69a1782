//! The `titans` command as its users meet it: help, devices, bench, memory and inspect, good input and bad.

mod bench;
mod inputs;
mod npz;
mod shell;

use crate::common::{check_failure, fails, json, keys, ok, run, titans};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use tempfile::tempdir;

const VERBS: [&str; 12] = [
    "train",
    "eval",
    "generate",
    "export",
    "stream",
    "devices",
    "memory",
    "bench",
    "inspect",
    "selftest",
    "completions",
    "man",
];

#[test]
fn help_is_there_for_every_verb() {
    let here = Path::new(".");
    let all = ok(here, &["--help"]);
    assert!(all.contains("Exit codes") && all.contains("129, 130, 143"), "{all}");
    for verb in VERBS {
        assert!(all.contains(verb), "{verb}");
        let help = ok(here, &[verb, "--help"]);
        assert!(help.contains("Usage: titans") && (verb == "bench" || help.contains("Examples")), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
    }
    let bench = ok(here, &["bench", "memory", "--help"]);
    assert!(bench.contains("share_of_peak") && bench.contains("--threads"), "{bench}");
    for what in ["train", "table"] {
        let help = ok(here, &["bench", what, "--help"]);
        assert!(help.contains("JSON keys") && help.contains("Examples"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
    }
    assert!(ok(here, &["--version"]).starts_with("titans "));
}

#[test]
fn bad_usage_is_code_2() {
    let here = Path::new(".");
    for args in [
        &[][..],
        &["no-such-verb"],
        &["devices", "--no-such-flag"],
        &["bench"],
        &["bench", "memory", "--chunk", "0"],
        &["bench", "memory", "--dim", "-3"],
        &["bench", "memory", "--threads", "0"],
        &["bench", "memory", "--layers", "5"],
        &["memory", "only-one-file"],
        &["train", "--resume", "a", "--out", "b"],
    ] {
        assert_eq!(run(here, args).status.code(), Some(2), "{args:?}");
    }
    // Refused before anything is allocated.
    let huge = ["bench", "memory", "--dim", "1048576"];
    fails(here, &huge, 2, &["--dim", "2147483648", &(1u64 << 43).to_string()]);
    fails(here, &["bench", "memory", "--batch", "1048576"], 2, &["--batch", "2147483648"]);
    fails(here, &["memory", "no-such-file", "out"], 2, &["no-such-file", "No such file"]);
    std::fs::write(here.join("same"), "numbers").unwrap();
    fails(here, &["memory", "same", "./same"], 2, &["same file"]);
    fails(here, &["eval", "same.safetensors"], 2, &["same.safetensors", "check the path"]);
    fails(here, &["stream", "same"], 2, &["same", "titans export"]);
    fails(here, &["inspect", "."], 2, &["latest.safetensors"]);
}

#[test]
fn devices_end_well_everywhere_and_cuda_is_asked_for_politely() {
    let here = Path::new(".");
    assert!(ok(here, &["devices"]).contains("cpu"));
    let report = json(here, &["devices", "--json"]);
    assert_eq!(keys(&report), ["cpu", "cuda"]);
    assert_eq!(keys(&report["cpu"]), ["chosen", "cores", "instruction_sets", "threads"]);
    let (cores, threads) = (report["cpu"]["cores"].as_u64().unwrap(), report["cpu"]["threads"].as_u64().unwrap());
    assert!(threads >= 1 && cores >= threads);
    assert!(ok(here, &["devices"]).contains(&format!("{cores} cores, {threads} threads used")));
    if let Some(reason) = report["cuda"]["absent"].as_str() {
        let quick = ["bench", "memory", "--dim", "8", "--tokens", "8", "--seconds", "0"];
        fails(here, &[&quick[..], &["--device", "cuda"]].concat(), 2, &["cuda", reason]);
        ok(here, &[&quick[..], &["--device", "auto"]].concat());
    }
}

/// Tensors by name: shape and values.
type Arrays = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// A small input: B = 2, H = 2, T = 8, widths 3, 5, 3.
fn input() -> Arrays {
    let mut seed = 1u64;
    let mut arrays = Arrays::new();
    let mut add = |name: &str, shape: &[usize], low: f64, high: f64| {
        let value = |_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            low + (high - low) * (seed >> 11) as f64 / (1u64 << 53) as f64
        };
        arrays.insert(name.into(), (shape.to_vec(), (0..shape.iter().product()).map(value).collect()));
    };
    ["k", "v", "q"].iter().for_each(|name| add(name, &[2, 2, 8, 3], -1.0, 1.0));
    add("alpha", &[2, 2, 8], 0.0, 0.2);
    add("theta", &[2, 2, 8], 0.0, 0.1);
    add("eta", &[2, 2, 8], 0.0, 0.9);
    add("w0.0", &[2, 3, 5], -0.5, 0.5);
    add("w0.1", &[2, 5, 3], -0.5, 0.5);
    arrays
}

fn write(path: &Path, arrays: &Arrays) {
    let bytes = |x: &[f64]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let data: Vec<_> = arrays.iter().map(|(name, (shape, x))| (name, shape, bytes(x))).collect();
    let views = data.iter().map(|(n, s, b)| (n, TensorView::new(Dtype::F64, s.to_vec(), b).unwrap()));
    std::fs::write(path, serialize(views, None).unwrap()).unwrap();
}

fn read(path: &Path) -> Arrays {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |view: &TensorView<'_>| match view.dtype() {
        Dtype::F64 => view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        other => panic!("{other}"),
    };
    file.iter().map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), numbers(&view)))).collect()
}

/// Runs `titans memory` on arrays.
fn memory(arrays: &Arrays, options: &[&str]) -> Arrays {
    let folder = tempdir().unwrap();
    write(&folder.path().join("in"), arrays);
    ok(folder.path(), &[&["memory", "in", "out"], options].concat());
    read(&folder.path().join("out"))
}

/// Tokens `from .. to` of every tensor of tokens.
fn cut(arrays: &Arrays, from: usize, to: usize) -> Arrays {
    let mut arrays = arrays.clone();
    for (shape, x) in arrays.values_mut().filter(|(shape, _)| shape.len() >= 3 && shape[..2] == [2, 2] && shape[2] == 8)
    {
        let row = shape.get(3).copied().unwrap_or(1);
        *x = x.chunks(8 * row).flat_map(|one| one[from * row..to * row].to_vec()).collect();
        shape[2] = to - from;
    }
    arrays
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12), "{a:?} {b:?}");
}

#[test]
fn a_memory_continues_from_its_own_output() {
    let all = input();
    let options = ["--chunk", "4", "--threads", "2"];
    let whole = memory(&all, &options);
    let names: Vec<&str> = whole.keys().map(String::as_str).collect();
    assert_eq!(names, ["s.0", "s.1", "surprise", "w.0", "w.1", "y"]);
    assert_eq!(whole["w.0"].0, [2, 2, 3, 5]);
    let first = memory(&cut(&all, 0, 4), &options);
    let mut rest = cut(&all, 4, 8);
    for (last, initial) in [("w.0", "w0.0"), ("w.1", "w0.1"), ("s.0", "s0.0"), ("s.1", "s0.1")] {
        rest.insert(initial.into(), first[last].clone());
    }
    let second = memory(&rest, &options);
    close(&second["w.1"].1, &whole["w.1"].1);
    close(&second["y"].1, &cut(&whole, 4, 8)["y"].1);
    let token = memory(&all, &["--chunk", "4", "--form", "token", "--threads", "1"]);
    whole.iter().for_each(|(name, (_, x))| close(x, &token[name].1));
    let pieces = memory(&all, &["--chunk", "8", "--compute-chunk", "3"]);
    let at_once = memory(&all, &["--chunk", "8"]);
    at_once.iter().for_each(|(name, (_, x))| close(x, &pieces[name].1));
    assert!(pieces["y"] != at_once["y"], "another order of sums");
    // One plain layer: every token's own gradient by default, computed 64 tokens at once.
    let mut linear = all.clone();
    linear.remove("w0.1");
    linear.get_mut("w0.0").unwrap().0 = vec![2, 3, 3];
    linear.get_mut("w0.0").unwrap().1.truncate(18);
    let exact = memory(&linear, &[]);
    assert!(exact == memory(&linear, &["--chunk", "1", "--compute-chunk", "64", "--loss", "half"]));
    let own = memory(&linear, &["--compute-chunk", "1"]);
    exact.iter().for_each(|(name, (_, x))| close(x, &own[name].1));
    assert!(exact["y"] != own["y"], "another order of sums");
    assert!(exact["y"] != memory(&linear, &["--chunk", "4"])["y"], "another gradient");
    let narrow = memory(&all, &["--chunk", "4", "--dtype", "f32"]);
    assert!(narrow["y"].1.iter().zip(&whole["y"].1).all(|(a, b)| (a - b).abs() < 1e-5 && a != b));
}

/// The settings of README's Python example, which has no option, as one token again and again.
#[test]
fn the_readmes_python_settings_hold_on_equal_tokens() {
    let (n, d) = (20_000, 4);
    let mut arrays = Arrays::new();
    let mut add = |name: &str, shape: &[usize], x: f64| {
        arrays.insert(name.into(), (shape.to_vec(), vec![x; shape.iter().product()]));
    };
    [("k", 0.5), ("v", 2.0), ("q", 0.5)].into_iter().for_each(|(name, x)| add(name, &[1, 1, n, d], x));
    [("alpha", 0.01), ("theta", 0.5), ("eta", 0.3)].into_iter().for_each(|(name, x)| add(name, &[1, 1, n], x));
    add("w0.0", &[1, d, d], 0.0);
    let found = memory(&arrays, &[]);
    assert!(found["y"].1[(n - 1) * d..].iter().all(|y| (y - 2.0).abs() < 0.1), "{:?}", &found["y"].1[(n - 1) * d..]);
    assert!(found.values().flat_map(|(_, x)| x).all(|x| x.is_finite()));
}

#[test]
fn masked_tokens_read_but_do_not_write() {
    let mut all = input();
    all.insert("mask".into(), (vec![2, 2, 8], vec![1.0; 32]));
    let read_only = memory(&all, &[]);
    let w: Vec<f64> = all["w0.0"].1.repeat(2);
    close(&read_only["w.0"].1, &w);
    // The second head of the first sequence is masked, the others are not.
    all.get_mut("mask").unwrap().1.iter_mut().enumerate().for_each(|(i, m)| *m = f64::from(i / 8 == 1));
    let mixed = memory(&all, &[]);
    all.remove("mask");
    let free = memory(&all, &[]);
    close(&mixed["w.0"].1[15..30], &w[15..30]);
    close(&mixed["w.0"].1[30..], &free["w.0"].1[30..]);
    assert_ne!(free["w.0"].1[15..30], w[15..30]);
}

#[test]
fn gradients_have_the_shapes_of_their_inputs() {
    let mut all = input();
    all.insert("cot.y".into(), (vec![2, 2, 8, 3], vec![1.0; 96]));
    all.insert("s0.0".into(), (vec![2, 2, 3, 5], vec![0.1; 60]));
    let found = memory(&all, &["--grad", "--network", "residual"]);
    for name in ["k", "v", "q", "alpha", "theta", "eta", "w0.0", "w0.1", "s0.0"] {
        assert_eq!(found[&format!("grad.{name}")].0, all[name].0, "{name}");
    }
    assert!(!found.contains_key("grad.s0.1") && !found.contains_key("grad.gamma0") && found.contains_key("gamma"));
}

#[test]
fn bad_arrays_are_named() {
    type Spoil = fn(&mut Arrays);
    let cases: [(&[&str], Spoil); 24] = [
        (&["tensor v", "missing"], |a| drop(a.remove("v"))),
        (&["tensor theta", "missing"], |a| drop(a.remove("theta"))),
        (&["tensor w0.0", "missing"], |a| drop(a.remove("w0.0"))),
        (&["tensor w0.3", "2 layer"], |a| drop(a.insert("w0.3".into(), (vec![2, 3, 3], vec![0.0; 18])))),
        (&["tensor s0.2", "no use"], |a| drop(a.insert("s0.2".into(), (vec![2, 3, 3], vec![0.0; 18])))),
        (&["tensor w0.01", "no use"], |a| drop(a.insert("w0.01".into(), (vec![2, 5, 3], vec![0.0; 30])))),
        (&["tensor cot.w.2", "no use"], |a| drop(a.insert("cot.w.2".into(), (vec![1], vec![0.0])))),
        (&["tensor cot.s.7", "no use"], |a| drop(a.insert("cot.s.7".into(), (vec![1], vec![0.0])))),
        (&["tensor cot.z", "no use"], |a| drop(a.insert("cot.z".into(), (vec![1], vec![0.0])))),
        (&["tensor w0.1", "d_v = 4", "3"], |a| drop(a.insert("v".into(), (vec![2, 2, 8, 4], vec![0.0; 128])))),
        (&["tensor k", "[B, H, T, d_k]", "[2, 2, 24]"], |a| a.get_mut("k").unwrap().0 = vec![2, 2, 24]),
        (&["tensor q", "[2, 2, 8, 3]", "[2, 2, 3, 8]"], |a| a.get_mut("q").unwrap().0 = vec![2, 2, 3, 8]),
        (&["tensor v", "[2, 2, 8, 3]", "[2, 2, 6, 4]"], |a| a.get_mut("v").unwrap().0 = vec![2, 2, 6, 4]),
        (&["tensor alpha", "[2, 2, 8]", "[2, 16]"], |a| a.get_mut("alpha").unwrap().0 = vec![2, 16]),
        (&["tensor w0.1", "[H, in, out]", "[2, 3, 5]"], |a| a.get_mut("w0.1").unwrap().0 = vec![2, 3, 5]),
        (&["tensor s0.0", "[2, 3, 5]"], |a| drop(a.insert("s0.0".into(), (vec![3, 5], vec![0.0; 15])))),
        (&["tensor mask", "[2, 2, 8]"], |a| drop(a.insert("mask".into(), (vec![8], vec![0.0; 8])))),
        (&["tensor gamma0", "[2, 3]"], |a| drop(a.insert("gamma0".into(), (vec![3], vec![0.0; 3])))),
        (&["tensor k", "not finite", "[1, 0, 2, 1]"], |a| a.get_mut("k").unwrap().1[55] = f64::NAN),
        (&["tensor w0.0", "not finite"], |a| a.get_mut("w0.0").unwrap().1[29] = f64::INFINITY),
        (&["tensor alpha", "0 to 1", "1.5", "[0, 0, 3]"], |a| a.get_mut("alpha").unwrap().1[3] = 1.5),
        (&["tensor eta", "0 to 1"], |a| a.get_mut("eta").unwrap().1[0] = -0.1),
        (&["tensor theta", "0 or more"], |a| a.get_mut("theta").unwrap().1[31] = -1e-9),
        (&["tensor k", "at least one"], |a| *a.get_mut("k").unwrap() = (vec![2, 2, 0, 3], vec![])),
    ];
    let folder = tempdir().unwrap();
    let here = folder.path();
    for (says, spoil) in cases {
        let mut arrays = input();
        spoil(&mut arrays);
        write(&here.join("in"), &arrays);
        fails(here, &["memory", "in", "out"], 2, &[&["in: "], says].concat());
        assert!(!here.join("out").exists());
    }
    let mut arrays = input();
    arrays.insert("cot.sgamma".into(), (vec![2, 2, 3], vec![0.0; 12]));
    write(&here.join("in"), &arrays);
    fails(here, &["memory", "in", "out", "--network", "plain"], 2, &["tensor cot.sgamma", "plain"]);
    ok(here, &["memory", "in", "residual", "--network", "residual"]);
    write(&here.join("in"), &input());
    fails(here, &["memory", "in", "out", "--grad"], 2, &["cot.y", "cotangent"]);
    fails(here, &["memory", "in", "out", "--read", "sometimes"], 2, &["sometimes"]);
    let whole = std::fs::read(here.join("in")).unwrap();
    for length in [0, 7, 8, 100, whole.len() - 1] {
        std::fs::write(here.join("in"), &whole[..length]).unwrap();
        fails(here, &["memory", "in", "out"], 2, &["in: ", "safetensors"]);
        fails(here, &["inspect", "in"], 2, &["in: ", "safetensors"]);
    }
}

#[test]
fn what_is_not_finite_is_named_and_not_written() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("out"), "before").unwrap();
    let refused = |arrays: &Arrays, options: &[&str], code: i32, says: &[&str]| {
        write(&here.join("in"), arrays);
        fails(here, &[&["memory", "in", "out"], options].concat(), code, says);
        assert_eq!(std::fs::read(here.join("out")).unwrap(), b"before", "{says:?}");
    };
    let mut far = input();
    far.get_mut("theta").unwrap().1[8..16].fill(1e200);
    for form in ["chunk", "token"] {
        let options = ["--form", form, "--network", "plain", "--chunk", "2"];
        refused(&far, &options, 1, &["output y is not finite at [0, 1, ", "nothing is written"]);
    }
    // A state and a gradient that overflow behind read-outs that do not.
    let mut last = input();
    last.get_mut("v").unwrap().1[93..96].fill(1e38);
    refused(&last, &["--dtype", "f32", "--network", "plain", "--chunk", "8"], 1, &["is not finite at [1, 1, "]);
    let mut steep = input();
    steep.get_mut("q").unwrap().1.fill(100.0);
    steep.insert("cot.y".into(), (vec![2, 2, 8, 3], vec![1e308; 96]));
    refused(&steep, &["--grad", "--network", "plain"], 1, &["output grad."]);
    // Finite as it is written, but not in the numbers that are computed with.
    let mut wide = input();
    wide.get_mut("k").unwrap().1[0] = 1e39;
    refused(&wide, &["--dtype", "f32"], 2, &["tensor k", "[0, 0, 0, 0]", "32 bits"]);
}

#[test]
fn half_precision_is_refused_by_name() {
    let folder = tempdir().unwrap();
    let view = TensorView::new(Dtype::BF16, vec![1, 1, 1, 1], &[0, 0]).unwrap();
    std::fs::write(folder.path().join("in"), serialize([("k", view)], None).unwrap()).unwrap();
    fails(folder.path(), &["memory", "in", "out"], 2, &["tensor k", "BF16", "F32 or F64"]);
}

#[test]
fn outputs_that_cannot_be_written_are_named_and_old_ones_kept() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    write(&here.join("in"), &input());
    fails(here, &["memory", "in", "no/such/folder/out"], 2, &["no/such/folder/out"]);
    fails(here, &["memory", "in", "in/out"], 2, &["in/out"]);
    fails(here, &["memory", "in", "."], 2, &["folder"]);
    std::fs::write(here.join("out"), "old").unwrap();
    let mut broken = input();
    broken.remove("q");
    write(&here.join("broken"), &broken);
    fails(here, &["memory", "broken", "out"], 2, &["tensor q"]);
    assert_eq!(std::fs::read(here.join("out")).unwrap(), b"old");
    if cfg!(target_os = "linux") {
        fails(here, &["memory", "in", "/dev/full"], 1, &["/dev/full", "space"]);
    }
    assert_eq!(std::fs::read_dir(here).unwrap().count(), 3, "nothing temporary is left");
}

#[test]
#[cfg(target_os = "linux")]
fn standard_output_may_be_full_or_closed() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = titans(Path::new(".")).arg("devices").stdout(full).stderr(Stdio::piped()).output().unwrap();
    check_failure(&output, "devices > /dev/full", 1, &["standard output", "space"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = titans(Path::new(".")).arg("devices").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    check_failure(&output, "devices | true", 0, &[]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = titans(Path::new(".")).arg("--help").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    check_failure(&output, "--help | true", 0, &[]);
}

#[test]
fn inspect_shows_tensors() {
    let folder = tempdir().unwrap();
    write(&folder.path().join("in"), &input());
    let text = ok(folder.path(), &["inspect", "in"]);
    assert!(text.contains("8 tensors") && text.contains("w0.1") && text.contains("[2, 5, 3]"), "{text}");
    let report = json(folder.path(), &["inspect", "in", "--json"]);
    assert_eq!(keys(&report), ["bytes", "elements", "file", "metadata", "tensors"]);
    assert_eq!(report["tensors"].as_array().unwrap().len(), 8);
    assert_eq!(keys(&report["tensors"][0]), ["dtype", "max", "min", "name", "not_finite", "rms", "shape"]);
}

#[test]
fn the_cpu_passes_its_own_test() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let report = json(here, &["selftest", "--device", "cpu", "--golden", "../tests/golden", "--json"]);
    assert_eq!(keys(&report), ["checks", "device", "passed"]);
    let checks = report["checks"].as_array().unwrap();
    assert!(report["passed"] == true && checks.len() > 80, "{report}");
    // Something was compared: f32 is never f64.
    assert!(checks.iter().filter(|check| check["error"].as_f64().unwrap() > 0.0).count() > 80, "{report}");
    fails(here, &["selftest", "--golden", "no/such/folder"], 2, &["no/such/folder"]);
}
