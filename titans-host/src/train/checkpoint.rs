//! A checkpoint: the whole run in one file, so that it opens alone and continues to the bit.
//!
//! Parameters by name, the optimiser's moments as `adam.m.NAME` and `adam.v.NAME`; the text entries
//! `titans.format`, `titans.config` (the [`RunConfig`] as JSON) and `titans.state` (the [`RunState`] as JSON).

use super::config::RunConfig;
use super::optimiser::Optimiser;
use super::store::{Store, Tensor};
use crate::device::Device;
use crate::model::Model;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use titans_kernel::Scalar;

/// The version of the file's layout. A reader refuses others, but for 2, whose models are all wired to the letter.
pub const FORMAT: &str = "3";
/// The version before there was a choice of wirings.
const BEFORE_WIRINGS: &str = "2";
/// The file in a run folder that a run continues from.
pub const LATEST: &str = "latest.safetensors";
/// The file in a run folder with the lowest validation loss so far.
pub const BEST: &str = "best.safetensors";

/// How far a run is: all that is not a tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Steps done.
    pub step: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Tokens read so far.
    pub tokens: u64,
    /// Lowest validation loss so far.
    pub best: Option<f64>,
    /// The step it was found at; not known of checkpoints of before.
    #[serde(default)]
    pub best_step: Option<u64>,
    /// The task's own state, e.g. a curriculum.
    pub task: serde_json::Value,
}

/// A checkpoint on a device.
///
/// ```
/// use titans_host::device::cpu::Cpu;
/// use titans_host::task::recall::default_run;
/// use titans_host::train::checkpoint::{self, Checkpoint, RunState};
///
/// let cpu = Cpu::<f32>::new(None)?;
/// let config = default_run(1, &[])?;
/// let Checkpoint { config, state, model, optimiser } = Checkpoint::blank(&cpu, config, RunState::default())?;
/// let folder = tempfile::tempdir().expect("a folder");
/// let path = folder.path().join(checkpoint::LATEST);
/// checkpoint::save(&path, &cpu, &config, &state, &model, &optimiser)?;
/// let again = checkpoint::load(&cpu, &path)?; // from which `Trainer::resume` goes on to the bit
/// assert_eq!((again.config, again.state), (config, state));
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint<D: Device> {
    /// What the run is.
    pub config: RunConfig,
    /// How far it is.
    pub state: RunState,
    /// The trained model.
    pub model: Model<D>,
    /// Its optimiser.
    pub optimiser: Optimiser<D>,
}

impl<D: Device> Checkpoint<D> {
    /// A run with new parameters, drawn from the configuration's seed, and moments of 0.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model that cannot be; what the device reports.
    pub fn blank(device: &D, config: RunConfig, state: RunState) -> Result<Self> {
        let model = Model::new(device, config.model.clone(), config.train.seed)?;
        let optimiser = Optimiser::new(device, config.train.optimiser(), &model.params)?;
        Ok(Self { config, state, model, optimiser })
    }
}

/// Writes a checkpoint, atomically.
///
/// # Errors
/// [`Error::Io`] naming the file (a full disk, an unwritable folder); the previous file is then as it was.
pub fn save<D: Device>(
    path: &Path,
    device: &D,
    config: &RunConfig,
    state: &RunState,
    model: &Model<D>,
    optimiser: &Optimiser<D>,
) -> Result<()> {
    let mut store = Store::default();
    let json =
        |what: std::result::Result<String, serde_json::Error>| what.map_err(|e| Error::file(path, e.to_string()));
    store.text.insert("titans.format".into(), FORMAT.into());
    store.text.insert("titans.config".into(), json(serde_json::to_string(config))?);
    store.text.insert("titans.state".into(), json(serde_json::to_string(state))?);
    for (p, (m, v)) in model.params.iter().zip(optimiser.moment1.iter().zip(&optimiser.moment2)) {
        for (prefix, buffer) in [("", p.value), ("adam.m.", m), ("adam.v.", v)] {
            let numbers = device.download(buffer)?;
            if !numbers.iter().all(|x| x.finite()) {
                let what = if prefix.is_empty() { "a parameter" } else { "a moment of a parameter" };
                return Err(Error::NotFinite { what, step: state.step, kept: "nothing was saved".into() });
            }
            store.tensors.insert(format!("{prefix}{}", p.name), Tensor::new(p.shape, &numbers));
        }
    }
    store.write(path, "writing the checkpoint")
}

/// Reads a checkpoint, or the latest one of a run folder, to continue from it.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::File`] naming the file and what is wrong: damage, another
/// version, a configuration that cannot be used, a tensor that is missing, has another shape or a number that is not
/// finite.
pub fn load<D: Device>(device: &D, path: &Path) -> Result<Checkpoint<D>> {
    let path = &file(path);
    let store = Store::read(path, "reading the checkpoint")?;
    let (config, state, model) = load_parts(device, path, &store)?;
    let mut optimiser = Optimiser::new(device, config.train.optimiser(), &model.params)?;
    optimiser.steps = state.step;
    for (i, p) in model.params.iter().enumerate() {
        for (prefix, out) in [("adam.m.", &mut optimiser.moment1[i]), ("adam.v.", &mut optimiser.moment2[i])] {
            let moment: Vec<D::Elem> = tensor(&store, path, &format!("{prefix}{}", p.name), p.shape)?;
            device.write(&moment, out)?;
        }
    }
    Ok(Checkpoint { config, state, model, optimiser })
}

/// Reads the model alone, from a checkpoint or the latest one of a run folder; [`super::which::find`] finds its best
/// one.
///
/// # Errors
/// As [`load`].
pub fn load_model<D: Device>(device: &D, path: &Path) -> Result<(RunConfig, RunState, Model<D>)> {
    let path = &file(path);
    let store = Store::read(path, "reading the checkpoint")?;
    load_parts(device, path, &store)
}

/// Reads the configuration and the state alone, after checking every byte.
///
/// # Errors
/// As [`load`].
pub fn load_config(path: &Path) -> Result<(RunConfig, RunState)> {
    let path = &file(path);
    parts(path, &Store::read(path, "reading the checkpoint")?)
}

/// Whether a folder holds a run: any of its checkpoints.
pub fn are_in(folder: &Path) -> bool {
    [LATEST, BEST].iter().any(|name| folder.join(name).exists())
}

/// The checkpoint that training goes on from: `path` itself, or [`LATEST`] in it if it is a folder. [`super::which`]
/// finds others.
pub fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(LATEST) } else { path.to_path_buf() }
}

fn parts(path: &Path, store: &Store) -> Result<(RunConfig, RunState)> {
    let format = text(store, path, "titans.format")?;
    if format != FORMAT && format != BEFORE_WIRINGS {
        let reason = format!("titans.format: expected {FORMAT}, found {format}; use the version that wrote it");
        return Err(Error::file(path, reason));
    }
    let mut config: serde_json::Value = json(store, path, "titans.config")?;
    if format == BEFORE_WIRINGS
        && let Some(model) = config.get_mut("model").and_then(serde_json::Value::as_object_mut)
    {
        model.insert("wiring".into(), "letter".into());
    }
    let config: RunConfig =
        serde_json::from_value(config).map_err(|e| Error::file(path, format!("titans.config: {e}")))?;
    let state: RunState = json(store, path, "titans.state")?;
    config.validate().map_err(|e| Error::file(path, format!("titans.config: {e}")))?;
    Ok((config, state))
}

fn load_parts<D: Device>(device: &D, path: &Path, store: &Store) -> Result<(RunConfig, RunState, Model<D>)> {
    let (config, state) = parts(path, store)?;
    // Another program may have written the file: nothing far larger than its tensors is ever made.
    let (expected, found) = (config.model.parameters()?, parameters(store));
    if expected / 4 > found + (1 << 20) {
        let reason = format!("titans.config describes {expected} parameters, the tensors hold {found}");
        return Err(Error::file(path, reason));
    }
    let mut model = Model::new(device, config.model.clone(), config.train.seed)?;
    let wanted: Vec<(String, Vec<usize>)> =
        model.params.iter().map(|p| (p.name.to_string(), p.shape.to_vec())).collect();
    for (name, shape) in wanted {
        let data: Vec<D::Elem> = tensor(store, path, &name, &shape)?;
        model.params.load(device, &name, &shape, &data)?;
    }
    Ok((config, state, model))
}

fn parameters(store: &Store) -> usize {
    let own = store.tensors.iter().filter(|(name, _)| !name.starts_with("adam."));
    own.map(|(_, t)| t.shape.iter().product::<usize>()).sum()
}

fn tensor<T: Scalar>(store: &Store, path: &Path, name: &str, shape: &[usize]) -> Result<Vec<T>> {
    let wrong = |reason: String| Error::file(path, format!("tensor {name}: {reason}"));
    let tensor = store.tensors.get(name).ok_or_else(|| wrong("missing; is this a checkpoint of this model?".into()))?;
    if tensor.shape != shape {
        return Err(wrong(format!("expected shape {shape:?}, found {:?}", tensor.shape)));
    }
    let data: Vec<T> =
        tensor.numbers().ok_or_else(|| wrong(format!("expected F32 or F64, found {:?}", tensor.dtype)))?;
    match data.iter().position(|x| !x.finite()) {
        Some(i) => Err(wrong(format!("element {i} is not finite"))),
        None => Ok(data),
    }
}

fn text<'a>(store: &'a Store, path: &Path, name: &str) -> Result<&'a str> {
    let text = store.text.get(name).map(String::as_str);
    text.ok_or_else(|| Error::file(path, format!("the entry {name} is missing; it is not a checkpoint of a run")))
}

fn json<V: DeserializeOwned>(store: &Store, path: &Path, name: &str) -> Result<V> {
    serde_json::from_str(text(store, path, name)?).map_err(|e| Error::file(path, format!("{name}: {e}")))
}
