//! A study's folder: a new one, or one that goes on.

use super::{Args, NewArgs};
use crate::cli::{Failure, output};
use crate::error::{Error, Result};
use crate::task::TaskName;
use crate::task::study::{Study, StudyFile, StudyOptions, describe, tasks_of_options};
use crate::train::{Owner, atomic};
use std::path::{Path, PathBuf};
use titans_kernel::Choice;

/// The file in a study's folder that says what it is.
const FILE: &str = "study.toml";
/// What a study writes into its folder.
const FILES: [&str; 6] = [FILE, "results.json", "table.txt", "ablation.svg", "by-length.svg", "throughput.svg"];

impl Args {
    /// The study in `folder`, which this process owns from now on: as its file says there, which a new study writes.
    pub(super) fn begin(&self, folder: &Path) -> std::result::Result<(Study, Owner), Failure> {
        let path = folder.join(FILE);
        let there = if path.exists() { Some(StudyFile::read(&path)?.with_steps()?) } else { None };
        let file = match there {
            None => {
                if self.file.is_none() && self.new.given().is_none() && folder.exists() {
                    return Err(Error::file(
                        folder,
                        "holds no study: expected study.toml in it, found none; say what the study is with --file or --task",
                    )
                    .into());
                }
                let file = self.described()?;
                if self.file.is_none() && self.new.given().is_none() {
                    output::complain(&format!("{}: no study is there; a new one of recall begins", folder.display()));
                }
                let task = file.task_name().filter(|task| task.facts().from_files);
                if let (Some(task), false) = (task, file.task.contains_key("data")) {
                    return Err(without_data(task).into());
                }
                file
            }
            Some(there) => self.same(&path, there)?,
        };
        let study = Study::new(file)?;
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "making the study's folder", e))?;
        let owner = Owner::of_folder(folder, &FILES)?;
        if let Some(why) = owner.unlocked() {
            output::complain(why);
        }
        if !path.exists() {
            let text = written(&study.file)?;
            atomic::write(&path, "writing the study", |out| out.write_all(text.as_bytes()))?;
        }
        Ok((study, owner))
    }

    /// What the options, or the file that they name, say.
    pub(super) fn described(&self) -> Result<StudyFile> {
        let Some(path) = &self.file else {
            return describe(self.kind, &self.new.options()?)?.with_steps();
        };
        if let Some(name) = self.new.given() {
            return Err(Error::usage(format!("{name} describes a new study, and so does --file; leave one out")));
        }
        let mut file = StudyFile::read(path)?;
        self.expect_kind(path, &file)?;
        anchor(&mut file)?;
        file.with_steps()
    }

    /// The study that is there, if nothing else is asked for.
    fn same(&self, path: &Path, there: StudyFile) -> Result<StudyFile> {
        self.expect_kind(path, &there)?;
        if self.file.is_none() && self.new.given().is_none() {
            return Ok(there);
        }
        if self.described()? == there {
            return Ok(there);
        }
        Err(Error::file(
            path,
            "another study is in this folder than the options describe; leave them out to go on with it, or name another folder",
        ))
    }

    fn expect_kind(&self, path: &Path, file: &StudyFile) -> Result<()> {
        if file.kind == self.kind {
            return Ok(());
        }
        let (asked, found) = (self.kind.name(), file.kind.name());
        Err(Error::file(path, format!("kind: expected {asked}, which is asked for, found {found}")))
    }
}

impl NewArgs {
    /// The first option that is given, by name.
    fn given(&self) -> Option<&'static str> {
        let options = [
            ("--task", self.task.is_some()),
            ("--data", !self.data.is_empty()),
            ("--tokenizer", self.tokenizer.is_some()),
            ("--seeds", !self.seeds.is_empty()),
            ("--steps", self.steps.is_some()),
            ("--context", self.context.is_some()),
            ("--batch", self.batch.is_some()),
            ("--blocks", self.blocks.is_some()),
            ("--width", self.width.is_some()),
            ("--lengths", !self.lengths.is_empty()),
            ("--parameters", self.parameters.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    fn options(&self) -> Result<StudyOptions> {
        let task = self.task.unwrap_or(TaskName::Recall);
        let from_files: Vec<_> = tasks_of_options().into_iter().filter(|task| task.facts().from_files).collect();
        let foreign: [(&str, bool, &[TaskName]); 2] = [
            ("--data", !self.data.is_empty(), &from_files),
            ("--tokenizer", self.tokenizer.is_some(), &[TaskName::Text]),
        ];
        if let Some((name, _, of)) = foreign.into_iter().find(|(_, given, of)| *given && !of.contains(&task)) {
            let (of, task) = (output::tasks(of, "and"), task.name());
            return Err(Error::usage(format!("{name} is for the {of} task, this study is of {task}")));
        }
        // Their recipes follow from the rows.
        if self.data.is_empty() && task.facts().from_files && task != TaskName::Text {
            return Err(without_data(task));
        }
        if task == TaskName::Forecast && self.data.len() > 1 {
            return Err(Error::usage(format!("--data: expected one file of numbers, found {}", self.data.len())));
        }
        Ok(StudyOptions {
            task,
            data: self.data.iter().map(|path| absolute(path)).collect(),
            tokenizer: self.tokenizer.as_deref().map(absolute),
            seeds: self.seeds.clone(),
            steps: self.steps,
            context: self.context,
            batch: self.batch,
            blocks: self.blocks,
            width: self.width,
            lengths: self.lengths.clone(),
            parameters: self.parameters,
        })
    }
}

fn without_data(task: TaskName) -> Error {
    let task = task.name();
    Error::usage(format!("a study of {task} needs --data FILE: what to learn from"))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// So that the study goes on from anywhere: the files that its task names.
fn anchor(file: &mut StudyFile) -> Result<()> {
    let whole = |value: &mut toml::Value| -> Result<()> {
        let Some(text) = value.as_str() else { return Ok(()) };
        let path = absolute(Path::new(text));
        let text = path.to_str().ok_or_else(|| Error::file(&path, "expected a path in UTF-8"))?;
        *value = text.into();
        Ok(())
    };
    for name in ["data", "valid", "test", "haystack", "noise", "facts", "tokenizer"] {
        match file.task.get_mut(name) {
            Some(toml::Value::Array(files)) => files.iter_mut().try_for_each(whole)?,
            Some(path) => whole(path)?,
            None => {}
        }
    }
    Ok(())
}

/// A study as TOML.
pub(super) fn written(file: &StudyFile) -> Result<String> {
    toml::to_string(file).map_err(|e| Error::usage(format!("the study cannot be put into TOML: {e}")))
}
