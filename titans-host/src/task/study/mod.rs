//! Studies: a set of configurations by equal parameters and steps, for several seeds, as one file of TOML describes it.

mod arms;
mod built_in;
mod file;
mod measure;
mod rate;
mod report;
mod sizes;

pub use arms::{Arm, Study};
pub use built_in::{StudyOptions, describe, tasks_of_options};
pub use file::{Entry, StudyFile, StudyKind};
pub use measure::{ArmResult, LengthScore, by_length, load, save};
pub use rate::{Rate, rate};
pub use report::StudyReport;
pub use sizes::match_size;
