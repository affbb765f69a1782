//! `--checkpoint`: which checkpoint of a run folder a verb takes.

use super::output;
use crate::device::Device;
use crate::error::{Result, plain};
use crate::model::Model;
use crate::train::RunConfig;
use crate::train::checkpoint::{self, RunState};
use crate::train::run::FILES;
use crate::train::which::{Found, Which, find};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::path::{Path, PathBuf};

/// Which checkpoint of a run.
#[derive(Args, Clone, Debug)]
pub struct CheckpointArgs {
    /// Of a run folder: best (lowest validation loss), latest, or a checkpoint's file, sought in the folder first
    /// [default: best; latest while nothing was validated]
    #[arg(long, value_name = "best|latest|FILE", value_parser = OsStringValueParser::new().map(Which::from))]
    pub checkpoint: Option<Which>,
}

impl CheckpointArgs {
    /// The file that RUN stands for. Where it is the latest checkpoint only because there is no best one, standard
    /// error says so.
    ///
    /// # Errors
    /// As [`find`].
    pub fn file(&self, run: &Path) -> Result<PathBuf> {
        let found = find(run, self.checkpoint.as_ref())?;
        tell(run, &found, None);
        Ok(found.path)
    }

    /// The model that RUN stands for; of a run folder, standard error says which checkpoint that is.
    ///
    /// # Errors
    /// As [`find`] and [`checkpoint::load_model`].
    pub fn load<D: Device>(&self, device: &D, run: &Path) -> Result<(RunConfig, RunState, Model<D>)> {
        let found = find(run, self.checkpoint.as_ref())?;
        let loaded = checkpoint::load_model(device, &found.path)?;
        if run.is_dir() {
            tell(run, &found, Some(loaded.1.step));
        }
        Ok(loaded)
    }
}

/// Refuses outputs, where they are given, that would be written over RUN's own files or over one another.
///
/// # Errors
/// As [`output::expect_distinct`].
pub fn spare(run: &Path, outputs: &[(&str, Option<&Path>)]) -> Result<()> {
    let own = if run.is_dir() { FILES.iter().map(|name| run.join(name)).collect() } else { vec![run.to_path_buf()] };
    let mut files: Vec<(&str, &Path)> = own.iter().map(|path| ("RUN", path.as_path())).collect();
    files.extend(outputs.iter().filter_map(|&(name, path)| Some((name, path?))));
    output::expect_distinct(&files)
}

/// Says which checkpoint of a run is taken, as far as that is known or not expected.
pub fn tell(run: &Path, found: &Found, step: Option<u64>) {
    let what = match &found.which {
        _ if found.for_want_of_best => {
            "no best.safetensors, nothing was validated yet: taking the latest checkpoint".into()
        }
        _ if step.is_none() => return,
        Which::Best if step == Some(0) => {
            "no step of training was better in validation than none: best checkpoint".into()
        }
        Which::Best => "best checkpoint".into(),
        Which::Latest => "latest checkpoint".into(),
        Which::File(_) => format!("checkpoint {}", found.path.display()),
    };
    let step = step.map_or(String::new(), |step| format!(", step {step}"));
    output::complain(&plain(format_args!("{}: {what}{step}", run.display())));
}
