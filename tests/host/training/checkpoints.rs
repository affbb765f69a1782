//! Checkpoints: they continue to the bit, and damage is named.

use super::support::{bits, device, recall, recall_run, steps, trainer};
use std::path::{Path, PathBuf};
use titans_host::model::Wiring;
use titans_host::train::Trainer;
use titans_host::train::checkpoint;
use titans_host::train::store::{Store, Tensor};

#[test]
fn a_resumed_run_is_the_uninterrupted_one_to_the_bit() {
    let device = device();
    let config = recall_run(steps(20));
    let (mut task, mut other, mut again) = (recall(0), recall(0), recall(0));
    let mut whole = trainer(&device, &config, &mut task);
    let expected: Vec<u64> = (0..20).map(|_| whole.step(0.0).unwrap().loss.to_bits()).collect();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("at9.safetensors");
    let mut part = trainer(&device, &config, &mut other);
    let mut found: Vec<u64> = (0..9).map(|_| part.step(0.0).unwrap().loss.to_bits()).collect();
    part.save(&path, 12.5).unwrap();
    drop(part);
    let checkpoint = checkpoint::load(&device, &path).unwrap();
    assert_eq!(checkpoint.config, config);
    assert_eq!((checkpoint.state.step, checkpoint.state.seconds), (9, 12.5));
    assert_ne!(checkpoint.state.task["length"], 24.0, "the curriculum has moved and is in the file");
    let mut part = Trainer::resume(&device, checkpoint, &mut again).unwrap();
    found.extend((9..20).map(|_| part.step(0.0).unwrap().loss.to_bits()));
    assert_eq!(found, expected);
    assert_eq!(bits(&part, &device), bits(&whole, &device));
    assert_eq!(part.task_state(), whole.task_state());
    assert_eq!(part.state().tokens, whole.state().tokens);
}

/// A checkpoint of three steps.
fn saved(folder: &Path) -> PathBuf {
    let device = device();
    let mut task = recall(0);
    let mut trainer = trainer(&device, &recall_run(steps(3)), &mut task);
    for _ in 0..3 {
        trainer.step(0.0).unwrap();
    }
    let path = folder.join("latest.safetensors");
    trainer.save(&path, 1.0).unwrap();
    path
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    let device = device();
    let whole = std::fs::read(&path).unwrap();
    assert!(checkpoint::load(&device, folder.path()).is_ok(), "a folder means its latest checkpoint");
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = checkpoint::load(&device, &path).unwrap_err().to_string();
        assert!(error.contains("latest.safetensors"), "{what}: {error}");
    };
    for length in (0..whole.len()).step_by(977).chain([1, 7, 8, 9, whole.len() - 1]) {
        refused(&whole[..length], "cut");
    }
    for at in (0..whole.len()).step_by(1_009) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        refused(&damaged, "flipped");
    }
    std::fs::remove_file(&path).unwrap();
    let error = checkpoint::load(&device, &path).unwrap_err().to_string();
    assert!(error.contains("latest.safetensors: reading the checkpoint"), "{error}");
}

#[test]
fn what_is_missing_or_wrong_inside_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    let device = device();
    let good = Store::read(&path, "reading").unwrap();
    let oblong = |t: &Tensor| t.shape.len() == 2 && t.shape[0] != t.shape[1];
    let (name, _) = good.tensors.iter().find(|(name, t)| !name.starts_with("adam.") && oblong(t)).unwrap();
    let name = name.clone();
    let refused = |spoil: &dyn Fn(&mut Store), words: &[&str]| {
        let mut store = good.clone();
        spoil(&mut store);
        store.write(&path, "writing").unwrap();
        let error = checkpoint::load(&device, &path).unwrap_err().to_string();
        for word in words.iter().chain(&["latest.safetensors"]) {
            assert!(error.contains(word), "expected {word} in: {error}");
        }
    };
    refused(&|s| drop(s.tensors.remove(&name)), &[&name, "missing"]);
    let moment = format!("adam.v.{name}");
    refused(&|s| drop(s.tensors.remove(&moment)), &[&moment, "missing"]);
    refused(&|s| s.tensors.get_mut(&name).unwrap().shape.reverse(), &[&name, "expected shape"]);
    let nan = |s: &mut Store| s.tensors.get_mut(&name).unwrap().bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&nan, &[&name, "element 0 is not finite"]);
    let words = |s: &mut Store| {
        let bytes = s.tensors[&name].bytes.clone();
        let shape = s.tensors[&name].shape.clone();
        let tensor = Tensor { dtype: safetensors::Dtype::U32, shape, bytes };
        s.tensors.insert(name.clone(), tensor);
    };
    refused(&words, &[&name, "expected F32 or F64"]);
    for (found, says) in [("1", "expected 3, found 1"), ("4", "expected 3, found 4")] {
        refused(&|s| drop(s.text.insert("titans.format".into(), found.into())), &[says]);
    }
    refused(&|s| drop(s.text.remove("titans.config")), &["titans.config"]);
    refused(&|s| drop(s.text.insert("titans.state".into(), "{}".into())), &["titans.state"]);
    let config = |from: &'static str, to: &'static str| {
        move |s: &mut Store| {
            let text = s.text["titans.config"].replace(from, to);
            assert_ne!(text, s.text["titans.config"]);
            s.text.insert("titans.config".into(), text);
        }
    };
    refused(&config("\"width\":16", "\"width\":0"), &["titans.config", "width"]);
    refused(&config("\"width\":16", "\"width\":1000000"), &["titans.config", "parameters"]);
    refused(&config("\"width\":16", "\"breadth\":16"), &["titans.config", "breadth"]);
    good.write(&path, "writing").unwrap();
    assert!(checkpoint::load(&device, &path).is_ok());
}

/// Before there was a choice of wirings all were what is called to the letter now.
#[test]
fn a_file_of_format_2_is_read_to_the_letter() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    let mut store = Store::read(&path, "reading").unwrap();
    let text = store.text["titans.config"].replace("\"wiring\":\"residual\",", "");
    let text = text.replace("\"combine\":\"gated\"", "\"combine\":\"product\"");
    assert!(!text.contains("wiring") && text.contains("product"), "{text}");
    store.text.insert("titans.format".into(), "2".into());
    store.text.insert("titans.config".into(), text);
    store.write(&path, "writing").unwrap();
    assert_eq!(checkpoint::load(&device(), &path).unwrap().config.model.wiring, Wiring::Letter);
}

#[test]
fn a_model_of_f32_opens_in_f64_with_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    let (narrow, wide) = (device(), titans_host::device::cpu::Cpu::<f64>::new(Some(1)).unwrap());
    let (_, _, a) = checkpoint::load_model(&narrow, &path).unwrap();
    let (config, state, b) = checkpoint::load_model(&wide, &path).unwrap();
    for p in a.params.iter() {
        assert_eq!(a.params.download_f64(&narrow, p.id).unwrap(), b.params.download_f64(&wide, p.id).unwrap());
    }
    assert_eq!(checkpoint::load_config(&path).unwrap(), (config, state));
}

/// The full disk is a limit on the size of files, in a child process: this test, run again by itself.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_previous_checkpoint() {
    const CHILD: &str = "TITANS_TEST_FULL_DISK";
    if let Some(folder) = std::env::var_os(CHILD) {
        let path = Path::new(&folder).join("latest.safetensors");
        let device = device();
        let checkpoint = checkpoint::load(&device, &path).unwrap();
        let mut task = recall(0);
        let mut trainer = Trainer::resume(&device, checkpoint, &mut task).unwrap();
        trainer.step(0.0).unwrap();
        let error = trainer.save(&path, 1.0).unwrap_err().to_string();
        assert!(error.contains("latest.safetensors: writing the checkpoint"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    let before = std::fs::read(&path).unwrap();
    let child = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("training::checkpoints::a_full_disk_leaves_the_previous_checkpoint")
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    assert!(checkpoint::load(&device(), &path).is_ok());
}
