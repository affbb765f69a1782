//! A checkpoint from a stranger: refused, or loaded; never a panic, never memory out of proportion.

use titans_host::device::cpu::Cpu;
use titans_host::train::checkpoint;
use titans_host::train::store::{Store, Tensor};

/// The bytes as a file's content, and as the configuration, the state and the numbers (parted by zero bytes) of a file
/// whose checksum fits, which a stranger can make too.
pub fn run(bytes: &[u8]) {
    if let Ok(store) = Store::from_bytes(bytes) {
        load(&store.to_bytes().expect("what was read can be written"));
    }
    let mut parts = bytes.splitn(3, |&b| b == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let mut store = Store::default();
    store.text.insert("titans.format".into(), checkpoint::FORMAT.into());
    store.text.insert("titans.config".into(), text());
    store.text.insert("titans.state".into(), text());
    let numbers: Vec<f32> = parts.next().unwrap_or_default().iter().map(|&b| f32::from(b)).collect();
    store.tensors.insert("embedding".into(), Tensor::new(&[numbers.len()], &numbers));
    load(&store.to_bytes().expect("a store can be written"));
}

fn load(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("checkpoint.safetensors");
    std::fs::write(&path, bytes).expect("a temporary file");
    let device = Cpu::<f32>::new(Some(1)).expect("the CPU");
    if let Err(error) = checkpoint::load(&device, &path) {
        let said = error.to_string();
        assert!(said.contains("checkpoint.safetensors"), "the error names the file: {said}");
    }
}
