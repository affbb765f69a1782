//! From a study's file to whole runs.

use super::file::{Entry, StudyFile, StudyKind, folder_name, no_study_of};
use super::sizes::match_size;
use crate::data::track::Group;
use crate::error::{Error, Result, plain};
use crate::model::{Kind, Kinds, ModelConfig};
use crate::task::{TaskConfig, babilong, classify, forecast, needle, recall, text, track};
use crate::train::RunConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// One of the things that are compared, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// What the paper has in its place.
    pub paper: Option<f64>,
    /// Its run, of the first seed.
    pub run: RunConfig,
    /// Parameters of its model.
    pub parameters: usize,
}

/// A study, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// What it was made from.
    pub file: StudyFile,
    /// What is compared, all of one size and as many steps.
    pub arms: Vec<Arm>,
    /// The size.
    pub parameters: usize,
}

impl Study {
    /// Puts recipe and file together, and gives all models one size and all runs as many steps
    /// ([`StudyFile::with_steps`]).
    ///
    /// # Errors
    /// [`Error::Usage`] naming the configuration that cannot be, or that cannot have the size.
    pub fn new(file: StudyFile) -> Result<Self> {
        let (file, mut runs, mut largest) = (file.with_steps()?, Vec::new(), 0);
        for entry in &file.configuration {
            let run = run(&file, entry).map_err(|e| named(entry, e))?;
            largest = largest.max(run.model.parameters().map_err(|e| named(entry, e))?);
            runs.push((entry, run));
        }
        let (target, mut arms) = (file.parameters.unwrap_or(largest), Vec::new());
        for (entry, mut run) in runs {
            let parameters = match_size(&mut run.model, target, file.tolerance).map_err(|e| named(entry, e))?;
            run.validate().map_err(|e| named(entry, e))?;
            arms.push(Arm { name: entry.name.clone(), paper: entry.paper, run, parameters });
        }
        Ok(Self { parameters: target, file, arms })
    }

    /// Whether its models are trained.
    pub fn learns(&self) -> bool {
        self.file.kind != StudyKind::Throughput
    }

    /// Whether the time of its steps is taken.
    pub fn is_timed(&self) -> bool {
        matches!(self.file.kind, StudyKind::Depth | StudyKind::Throughput)
    }

    /// The seeds of its runs: time does not depend on them.
    pub fn seeds(&self) -> &[u64] {
        if self.learns() { &self.file.seeds } else { &self.file.seeds[..self.file.seeds.len().min(1)] }
    }
}

impl StudyFile {
    /// The same, with the steps of its runs: where it says none, the most that a recipe has (deep memories of recall
    /// take twice as many as linear ones).
    ///
    /// # Errors
    /// [`Error::Usage`] naming the configuration that cannot be, or for lengths that the task has none of.
    pub fn with_steps(mut self) -> Result<Self> {
        if let Some(reason) = self.task_name().and_then(|task| self.without_lengths(task)) {
            return Err(Error::usage(reason));
        }
        if !self.train.contains_key("steps") {
            let steps = |entry| run(&self, entry).map(|run| run.train.steps).map_err(|e| named(entry, e));
            let all = self.configuration.iter().map(steps).collect::<Result<Vec<u64>>>()?;
            let most = all.into_iter().max().unwrap_or(0);
            self.train.insert("steps".into(), Value::Integer(i64::try_from(most).unwrap_or(i64::MAX)));
        }
        Ok(self)
    }
}

fn named(entry: &Entry, e: Error) -> Error {
    Error::usage(format!("configuration {:?}: {e}", plain(&entry.name)))
}

impl Arm {
    /// Its run of a seed.
    pub fn of_seed(&self, seed: u64) -> RunConfig {
        let mut run = self.run.clone();
        run.train.seed = seed;
        run
    }

    /// The folder of that run.
    pub fn folder(&self, seed: u64) -> String {
        format!("{}-seed-{seed}", folder_name(&self.name))
    }
}

/// The recipe of the task for such memories and blocks, with what the file says put over it.
fn run(file: &StudyFile, entry: &Entry) -> Result<RunConfig> {
    let mut task = file.task.clone();
    let asked: TaskConfig = read("task", &Value::Table(task.clone()))?;
    let mut over = file.model.clone();
    merge(&mut over, &entry.model);
    let said: ModelConfig = read("model", &Value::Table(over.clone()))?;
    let kinds: Vec<Kind> = if over.contains_key("block") { kinds(&said.block) } else { Vec::new() };
    let mut run = match &asked {
        TaskConfig::Recall(_) => recall::default_run(entry.layers, &kinds)?,
        TaskConfig::Track(c) => track::default_run(Group::clone(&c.group), entry.layers)?,
        TaskConfig::Text(_) => layered(text::default_run(Vec::new())?, entry.layers),
        TaskConfig::Needle(_) => needle::default_run(asked.clone(), entry.layers, &kinds)?,
        TaskConfig::Babilong(_) => babilong::default_run(asked.clone(), entry.layers, &kinds)?,
        TaskConfig::Forecast(c) => layered(forecast::recipe(c.clone())?.0, entry.layers),
        TaskConfig::Classify(c) => {
            layered(classify::recipe(c.clone(), classify::ChosenReading::default())?.0, entry.layers)
        }
        // A task that no study is of needs nothing here.
        _ => return Err(no_study_of(&asked)),
    };
    // A field that is given goes before the recipe's, one that is not is the recipe's.
    let recipe = table("task", &TaskConfig::of(&run)?)?;
    let given = std::mem::replace(&mut task, recipe);
    merge(&mut task, &given);
    let task: TaskConfig = read("task", &Value::Table(task))?;
    run.model = put("model", &run.model, &over)?;
    run.train = put("train", &run.train, &file.train)?;
    task.fit(&mut run.model)?;
    task.run(run.model, run.train)
}

/// A recipe with memories of so many layers.
fn layered(mut run: RunConfig, layers: usize) -> RunConfig {
    run.model.set_layers(layers);
    run
}

fn kinds(kinds: &Kinds) -> Vec<Kind> {
    match kinds {
        Kinds::All(kind) => vec![*kind],
        Kinds::Each(kinds) => kinds.clone(),
    }
}

/// A configuration with some of its fields changed.
fn put<T: Serialize + DeserializeOwned>(name: &str, base: &T, over: &Table) -> Result<T> {
    let mut base = table(name, base)?;
    merge(&mut base, over);
    read(name, &Value::Table(base))
}

fn table(name: &str, value: &impl Serialize) -> Result<Table> {
    Table::try_from(value).map_err(|e| Error::usage(format!("{name}: {e}")))
}

fn read<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T> {
    value.clone().try_into().map_err(|e: toml::de::Error| Error::usage(format!("{name}: {}", e.message())))
}

/// Puts the fields of a table over those of another, tables within them likewise.
fn merge(base: &mut Table, over: &Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::StudyFile;
    use super::Study;
    use crate::model::{Kind, Kinds};

    fn study(text: &str) -> crate::Result<Study> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study.toml");
        std::fs::write(&path, text).unwrap();
        Study::new(StudyFile::read(&path)?)
    }

    const GOOD: &str = "kind = \"ablation\"\n[task]\nname = \"recall\"\nlength = 64\npairs = 2\n[model]\nwidth = 32\npersistent = 4\n\
                        [train]\nsteps = 3\n\
                        [[configuration]]\nname = \"deep\"\nlayers = 2\n\
                        [[configuration]]\nname = \"mac\"\nmodel.block = \"mac\"\n\
                        [[configuration]]\nname = \"bare\"\nmodel = { momentum = false, persistent = 0, memory.clip = 2.0 }\n";

    #[test]
    fn arms_are_the_recipe_with_what_the_file_says_and_of_one_size() {
        let study = study(GOOD).unwrap();
        let [deep, mac, bare] = &study.arms[..] else { panic!("{study:?}") };
        assert_eq!(
            (deep.run.model.memory.layers, deep.run.model.memory.clip, deep.run.model.width),
            (2, Some(0.5), 32)
        );
        assert_eq!((&mac.run.model.block, mac.run.model.persistent), (&Kinds::All(Kind::Mac), 4));
        assert_eq!((deep.run.model.theta_bias, mac.run.model.theta_bias, bare.run.model.theta_bias), (0.0, 0.0, -4.0));
        assert_eq!((bare.run.model.momentum, bare.run.model.persistent), (false, 0));
        assert_eq!(bare.run.model.memory.clip, Some(2.0));
        let largest = [deep, mac, bare].map(|arm| arm.parameters).into_iter().max();
        assert!(
            study.arms.iter().all(|arm| arm.run.model.feed_forward >= 128),
            "nobody gives anything up: {largest:?}"
        );
        for arm in &study.arms {
            assert_eq!(arm.parameters, arm.run.model.parameters().unwrap());
            assert!(arm.parameters.abs_diff(study.parameters) as f64 <= 0.01 * study.parameters as f64);
            assert_eq!((arm.run.train.steps, arm.run.task["length"].as_u64()), (3, Some(64)));
            assert_eq!(arm.run.task["pairs"], 2);
        }
        assert_eq!((mac.folder(3), mac.of_seed(3).train.seed), ("mac-seed-3".into(), 3));
    }

    #[test]
    fn steps_that_nobody_says_are_the_most_of_a_recipe_for_all() {
        let study = study(&GOOD.replacen("[train]\nsteps = 3\n", "", 1)).unwrap();
        assert!(study.arms.iter().all(|arm| arm.run.train.steps == 4000), "{study:?}");
        assert_eq!(study.file.train["steps"].as_integer(), Some(4000));
    }

    #[test]
    fn what_cannot_be_one_size_is_named() {
        let with = |parameters: usize| GOOD.replacen("[task]", &format!("parameters = {parameters}\n[task]"), 1);
        let found = study(&with(40_000)).unwrap();
        assert!(found.arms.iter().all(|arm| arm.parameters.abs_diff(40_000) <= 400), "{found:?}");
        let error = study(&with(10)).unwrap_err().to_string();
        assert!(error.contains("configuration \"deep\"") && error.contains("10 parameters"), "{error}");
        let wrong = GOOD.replacen("width = 32", "heads = 7\nattention.heads = 3", 1);
        let error = study(&wrong).unwrap_err().to_string();
        assert!(error.contains("configuration \"mac\"") && error.contains("attention.heads"), "{error}");
    }
}
