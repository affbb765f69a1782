//! Golden vectors on a device: the read-outs, the final state, the gradients.

use super::{Check, tensor_error};
use crate::cli::memory::{Problem, Settings, answers};
use crate::cli::tensors::{Tensors, read};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Named;
use safetensors::SafeTensors;
use std::path::Path;
use titans_kernel::memory::{Activation, Loss, Network, Read};

/// f32, with room for the file whose memory amplifies rounding most.
const ALLOWED: f64 = 2e-3;

const BUILT_IN: [(&str, &[u8]); 4] = [
    ("linear_full_c16", include_bytes!("../../../../tests/golden/linear_full_c16.safetensors")),
    ("mlp2_full_c4", include_bytes!("../../../../tests/golden/mlp2_full_c4.safetensors")),
    ("mlp3_gelu_c16", include_bytes!("../../../../tests/golden/mlp3_gelu_c16.safetensors")),
    ("residual2_d8_h1_T37_c16", include_bytes!("../../../../tests/golden/residual2_d8_h1_T37_c16.safetensors")),
];

/// One check a file: those of `folder`, or the built-in ones.
pub fn checks<D: Device>(device: &D, folder: Option<&Path>) -> Result<Vec<Check>> {
    let check = |name: &str, path: &Path, bytes: &[u8]| {
        Check::new(format!("golden {name}"), ALLOWED, file_error(device, path, bytes))
    };
    let Some(folder) = folder else {
        return Ok(BUILT_IN.iter().map(|(name, bytes)| check(name, Path::new(name), bytes)).collect());
    };
    let fail = |e| Error::io(folder, "reading the folder of golden vectors", e);
    let entries = std::fs::read_dir(folder).map_err(fail)?.collect::<std::io::Result<Vec<_>>>().map_err(fail)?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    if paths.is_empty() {
        return Err(Error::file(folder, "holds no .safetensors file; name the folder of golden vectors"));
    }
    let each = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        read(path).map(|bytes| check(&name, path, &bytes))
    };
    paths.iter().map(each).collect()
}

/// The largest error of any tensor the file knows.
fn file_error<D: Device>(device: &D, path: &Path, bytes: &[u8]) -> Result<f64> {
    let file = Tensors::new(path, bytes)?;
    let settings = settings(path, bytes)?;
    let problem = Problem::<D::Elem>::read(&file, &Settings { grad: file.has("cot.y"), ..settings })?;
    let mut worst = 0.0f64;
    for (read, y) in [(Read::After, "y.post"), (Read::Before, "y.pre"), (Read::ChunkStart, "y.chunk_start")] {
        for (name, found) in answers(device, &problem, read)? {
            let name = if name == "y" { y } else { &name[..] };
            // The files' gradients are those of the read after the write.
            if file.has(name) && (read == Read::After || !name.starts_with("grad.")) {
                worst = worst.max(tensor_error(&file.get::<f64>(name, "")?.data, &found));
            }
        }
    }
    Ok(worst)
}

fn settings(path: &Path, bytes: &[u8]) -> Result<Settings> {
    let wrong = |what: &str| Error::file(path, format!("{what}: expected the metadata of a golden file"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(&e.to_string()))?;
    let text = header.metadata().as_ref().and_then(|m| m.get("config")).ok_or_else(|| wrong("config"))?;
    let config: serde_json::Value = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
    let name = |key: &str| config[key].as_str().map(|name| name.replace('_', "-"));
    Ok(Settings {
        chunk: config["chunk"].as_u64().ok_or_else(|| wrong("chunk"))? as usize,
        activation: Activation::parse(&name("activation").unwrap_or_default())?,
        network: Some(name("network").map_or(Ok(Network::Plain), |name| Network::parse(&name))?),
        loss: Loss::parse(&name("scale").or(name("loss")).unwrap_or_default())?,
        grad: false,
    })
}
