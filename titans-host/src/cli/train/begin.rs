//! What a run is and where it lies, before it begins or goes on.

use super::Args;
use crate::cli::output;
use crate::error::{Error, Result, plain};
use crate::task::TaskConfig;
use crate::train::checkpoint::{self, RunState};
use crate::train::ranks::expect_parts;
use crate::train::run::{CONFIG, FILES};
use crate::train::{Owner, RunConfig};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What `config.toml` may change of a run that goes on: where its data lie, when it ends and is saved, and what changes
/// no bit.
const EDITABLE: [&str; 10] = [
    "task.data",
    "task.valid",
    "task.test",
    "task.tokenizer",
    "train.steps",
    "train.minutes",
    "train.most_steps",
    "train.save_every",
    "train.boundaries",
    "train.recompute",
];

/// A run on its way.
pub(super) struct Begun {
    pub(super) folder: PathBuf,
    pub(super) config: RunConfig,
    /// What `config.toml` says already.
    written: Option<RunConfig>,
    owner: Option<Owner>,
}

impl Args {
    /// What the run is. One that goes on is owned from here on, a new one has no folder yet; a new one's steps have a
    /// part for each of the `processes`, where nothing else is said.
    pub(super) fn begin(&self, processes: u64) -> Result<Begun> {
        let mut begun = match &self.resume {
            None => {
                let mut config = self.config.run_config()?;
                if !self.config.names_parts() {
                    config.train.accumulate = config.train.accumulate.max(processes);
                }
                Begun { folder: PathBuf::new(), config, written: None, owner: None }
            }
            Some(run) => self.continue_run(run)?,
        };
        let config = &mut begun.config;
        let train = &mut config.train;
        if let Some(steps) = self.steps {
            (train.steps, train.minutes, train.most_steps) = (steps, None, None);
        }
        if let (Some(minutes), resumed) = (self.minutes, self.resume.is_some()) {
            // Who prolongs a run wants more of it.
            (train.minutes, train.most_steps) = (Some(minutes), train.most_steps.filter(|_| !resumed));
        }
        config.validate()?;
        expect_parts(processes, config.train.accumulate)?;
        Ok(begun)
    }

    fn continue_run(&self, run: &Path) -> Result<Begun> {
        if let Some(name) = self.config.given() {
            return Err(Error::usage(format!("{name} describes a new run; --resume keeps the run as it is")));
        }
        if !run.is_dir() {
            return Err(Error::file(run, "is no run folder; --resume takes the folder that holds latest.safetensors"));
        }
        let owner = own(run)?;
        let (mut config, state) = checkpoint::load_config(run)?;
        let path = run.join(CONFIG);
        let written = written(&path)?;
        let told = match &written {
            Some(edited) => honour(&path, &mut config, edited, |name| self.overrides(name))?,
            None => Vec::new(),
        };
        let mut task = TaskConfig::of(&config)?;
        if self.config.moved(&mut task)? {
            config = task.run(config.model, config.train)?;
        }
        self.expect_a_later_end(&config, &state)?;
        told.iter().for_each(|sentence| output::complain(sentence));
        Ok(Begun { folder: run.into(), config, written, owner: Some(owner) })
    }

    /// The option that is given instead of what `config.toml` says under that name.
    fn overrides(&self, name: &str) -> Option<&'static str> {
        match name {
            "train.steps" | "train.minutes" if self.steps.is_some() => Some("--steps"),
            "train.steps" | "train.minutes" if self.minutes.is_some() => Some("--minutes"),
            "task.data" if self.config.names_data() => Some("--data"),
            "task.tokenizer" if self.config.names_tokenizer() => Some("--tokenizer"),
            _ => None,
        }
    }

    /// The end must lie behind what is done.
    fn expect_a_later_end(&self, config: &RunConfig, state: &RunState) -> Result<()> {
        let steps = self.steps.or(Some(config.train.steps).filter(|_| config.train.minutes.is_none()));
        if let Some(steps) = steps.filter(|&steps| steps < state.step && self.minutes.is_none()) {
            let (done, name) = (state.step, if self.steps.is_some() { "--steps" } else { "train.steps" });
            return Err(Error::usage(format!("{name}: expected {done} or more, the steps done, found {steps}")));
        }
        if let Some(minutes) = self.minutes.filter(|minutes| 60.0 * minutes <= state.seconds) {
            let done = state.seconds / 60.0;
            return Err(Error::usage(format!(
                "--minutes: expected more than {done:.2}, the minutes of training done (they count from the run's beginning), \
                 found {minutes}"
            )));
        }
        Ok(())
    }

    /// An error in the words of the options that were given, if options say what the run is.
    pub(super) fn spoken(&self, error: Error) -> Error {
        if self.resume.is_some() { error } else { self.config.spoken(error) }
    }

    /// What to do about data that are not where a run had them.
    pub(super) fn missing(&self, error: Error) -> Error {
        match error {
            Error::Io { path, source, .. } if self.resume.is_some() && source.kind() == ErrorKind::NotFound => {
                let reason =
                    "the run's data or vocabulary is no longer there; say where it lies now with --data or --tokenizer";
                Error::file(path, reason)
            }
            error => error,
        }
    }
}

impl Begun {
    /// The run as one goes through it that does not lead: without a folder.
    pub(super) fn told(config: RunConfig) -> Self {
        Self { folder: PathBuf::new(), config, written: None, owner: None }
    }

    /// Finds a new run its folder, `out` or one of `runs/`, makes it and owns it.
    pub(super) fn take_folder(&mut self, out: Option<&Path>) -> Result<()> {
        if let Some(out) = out {
            make(out)?;
            self.owner = Some(own(out)?);
            self.folder = out.into();
            return Ok(());
        }
        let name = TaskConfig::of(&self.config)?.name();
        for n in 1..10_000 {
            let folder = Path::new("runs").join(if n == 1 { name.to_owned() } else { format!("{name}-{n}") });
            if checkpoint::are_in(&folder) {
                continue;
            }
            make(&folder)?;
            match own(&folder) {
                Err(Error::Held { .. }) => continue, // a run that begins just now
                Ok(_) if checkpoint::are_in(&folder) => continue,
                owned => self.owner = Some(owned?),
            }
            self.folder = folder;
            return Ok(());
        }
        Err(Error::usage("runs/ is full of runs; name a folder with --out"))
    }

    /// Brings `config.toml` up to date; one that says the same is left as its author wrote it.
    pub(super) fn write_config(&self) -> Result<()> {
        if self.written.as_ref().is_some_and(|written| same(written, &self.config)) {
            return Ok(());
        }
        self.config.write(&self.folder.join(CONFIG))
    }
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "making the run folder", e))
}

fn own(folder: &Path) -> Result<Owner> {
    let owner = Owner::of_folder(folder, &FILES)?;
    if let Some(why) = owner.unlocked() {
        output::complain(why);
    }
    Ok(owner)
}

/// What the folder's `config.toml` says; nothing where there is none.
fn written(path: &Path) -> Result<Option<RunConfig>> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| Error::io(path, "reading the configuration", e))?,
    };
    // Today's defaults would say another model for it.
    let table = text.parse::<toml::Table>();
    if table.is_ok_and(|table| table.get("model").is_some_and(|model| model.get("wiring").is_none())) {
        output::complain(&format!(
            "{}: it names no wiring, as in versions of before: the checkpoint's configuration is taken, and written anew",
            path.display()
        ));
        return Ok(None);
    }
    RunConfig::read(path).map(Some)
}

/// Takes over what was changed in `config.toml`. Returns sentences that name it, and what does not count because an
/// option or another entry goes before it; what may not change is refused by name.
fn honour(
    path: &Path,
    config: &mut RunConfig,
    edited: &RunConfig,
    overrides: impl Fn(&str) -> Option<&'static str>,
) -> Result<Vec<String>> {
    let differences = differences(&value(config)?, &value(edited)?);
    if differences.is_empty() {
        return Ok(Vec::new());
    }
    if let Some((name, was, is)) = differences.iter().find(|(name, ..)| !EDITABLE.contains(&name.as_str())) {
        return Err(Error::file(
            path,
            format!(
                "{name}: expected {was}, with which the run began, found {is}; a run that goes on keeps its model, data and recipe: put \
                 it back, or begin a new run with --config (of a run that goes on, {} may change)",
                EDITABLE.join(", ")
            ),
        ));
    }
    let minutes = edited.train.minutes.map(|_| "train.minutes");
    let (mut used, mut idle) = (Vec::new(), Vec::new());
    for (name, was, is) in &differences {
        let change = format!("{name} ({is}, was {was})");
        match overrides(name).or(minutes.filter(|_| name == "train.steps")) {
            None => used.push(change),
            Some(instead) => idle.push(format!("{change}: {instead} counts instead")),
        }
    }
    let told = [("and used", used), ("but not used", idle)].into_iter().filter(|(_, changes)| !changes.is_empty());
    let told = told.map(|(what, changes)| {
        plain(format_args!("{}: changed by hand, {what}: {}", path.display(), changes.join(", ")))
    });
    *config = edited.clone();
    Ok(told.collect())
}

fn same(a: &RunConfig, b: &RunConfig) -> bool {
    matches!((value(a), value(b)), (Ok(a), Ok(b)) if a == b)
}

/// A configuration as a tree with every default in it.
fn value(config: &RunConfig) -> Result<Value> {
    let whole = TaskConfig::of(config)?.run(config.model.clone(), config.train.clone())?;
    serde_json::to_value(whole).map_err(|e| Error::usage(format!("the configuration: {e}")))
}

/// Where two trees differ: the name, and what each says there.
fn differences(a: &Value, b: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    differ("", Some(a), Some(b), &mut found);
    found
}

fn differ(name: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<(String, String, String)>) {
    let say = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    match (a, b) {
        (Some(Value::Object(x)), Some(Value::Object(y))) => {
            let mut keys: Vec<&String> = x.keys().chain(y.keys().filter(|key| !x.contains_key(*key))).collect();
            keys.sort();
            for key in keys {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                differ(&name, x.get(key), y.get(key), found);
            }
        }
        _ if a == b => {}
        _ => found.push((name.to_owned(), say(a), say(b))),
    }
}

#[cfg(test)]
mod tests {
    use super::differences;
    use serde_json::json;

    #[test]
    fn differences_are_named_by_their_path() {
        let a = json!({"task": {"data": ["x"], "context": 3}, "train": {"steps": 4, "minutes": 1.5}});
        assert_eq!(differences(&a, &a), []);
        let b = json!({"task": {"data": ["y"], "context": 3, "new": true}, "train": {"steps": 4}});
        let of = |name: &str, was: &str, is: &str| (name.to_owned(), was.to_owned(), is.to_owned());
        let expected = [
            of("task.data", "[\"x\"]", "[\"y\"]"),
            of("task.new", "nothing", "true"),
            of("train.minutes", "1.5", "nothing"),
        ];
        assert_eq!(differences(&a, &b), expected);
    }
}
