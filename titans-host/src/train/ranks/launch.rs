//! Which of several processes this one is: what mpirun, torchrun, srun and their like put into its environment.

use crate::{Error, Result};

/// How processes of a launcher reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The library of which the launcher is a part: a build with the feature `mpi`.
    Mpi,
    /// Connections of their own ([`super::tcp`]): any build.
    Tcp,
}

/// A launcher, by the variables that it sets.
struct Launcher {
    name: &'static str,
    over: Transport,
    rank: &'static str,
    size: &'static str,
    local: &'static str,
    /// Without this variable the others mean something else.
    only_with: Option<&'static str>,
}

/// The nearest one first: a launcher may run inside an allocation of another, or beside variables that a shell has
/// kept.
const LAUNCHERS: [Launcher; 4] = [
    Launcher {
        name: "mpirun (Open MPI)",
        over: Transport::Mpi,
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local: "OMPI_COMM_WORLD_LOCAL_RANK",
        only_with: None,
    },
    Launcher {
        name: "mpiexec (PMI)",
        over: Transport::Mpi,
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        local: "MPI_LOCALRANKID",
        only_with: None,
    },
    Launcher {
        name: "torchrun",
        over: Transport::Tcp,
        rank: "RANK",
        size: "WORLD_SIZE",
        local: "LOCAL_RANK",
        only_with: None,
    },
    // A batch script has the number of tasks too, and runs once: a step is what srun started.
    Launcher {
        name: "srun",
        over: Transport::Mpi,
        rank: "SLURM_PROCID",
        size: "SLURM_STEP_NUM_TASKS",
        local: "SLURM_LOCALID",
        only_with: Some("SLURM_STEP_ID"),
    },
];

/// With this variable a process is by itself, whatever started it.
const BY_ITSELF: &str = "TITANS_ALONE";

/// One of the processes that a launcher started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Who started it.
    pub by: &'static str,
    /// How they reach each other.
    pub over: Transport,
    /// Its number, 0 to size − 1.
    pub rank: usize,
    /// How many were started.
    pub size: usize,
    /// Its number among those of its machine, where the launcher says it.
    pub local: Option<usize>,
}

impl Launch {
    /// A process that nobody started as one of several.
    pub const ALONE: Self = Self { by: "nobody", over: Transport::Mpi, rank: 0, size: 1, local: None };

    /// What this process's environment says.
    ///
    /// # Errors
    /// As [`Launch::of`].
    pub fn of_environment() -> Result<Self> {
        Self::of(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))
    }

    /// What the variables say that `get` knows: the first launcher that started several; [`Launch::ALONE`] where none
    /// did, or where `TITANS_ALONE` is set.
    ///
    /// # Errors
    /// [`Error::Usage`] naming a variable that is no number, or a rank that is not below the number of processes.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        if get(BY_ITSELF).is_some() {
            return Ok(Self::ALONE);
        }
        for launcher in &LAUNCHERS {
            let there = launcher.only_with.is_none_or(|name| get(name).is_some());
            let (Some(rank), Some(size), true) = (get(launcher.rank), get(launcher.size), there) else { continue };
            let (rank, size) = (number(launcher.rank, &rank)?, number(launcher.size, &size)?);
            if rank >= size {
                return Err(Error::usage(format!(
                    "{}: expected a number below {} ({size}), found {rank}; unset both, or let {} set them",
                    launcher.rank, launcher.size, launcher.name
                )));
            }
            if size == 1 {
                continue;
            }
            let local = get(launcher.local).map(|local| number(launcher.local, &local)).transpose()?;
            return Ok(Self { by: launcher.name, over: launcher.over, rank, size, local });
        }
        Ok(Self::ALONE)
    }

    /// For one process only: what cannot train in several says so.
    ///
    /// # Errors
    /// [`Error::Usage`] with what to do, when there are others.
    pub fn expect_alone(&self) -> Result<()> {
        let Self { by, rank, size, .. } = self;
        if *size == 1 {
            return Ok(());
        }
        Err(Error::usage(format!(
            "{by} started this process as number {rank} of {size}, and this build of titans trains in one: expected a \
             build with the feature `mpi` (cargo build --release -p titans-host --features mpi), or torchrun, or one process, or \
             {BY_ITSELF}=1 in the environment, with which each is a run of its own"
        )))
    }
}

fn number(name: &str, text: &str) -> Result<usize> {
    text.parse().map_err(|_| Error::usage(format!("{name}: expected a whole number from 0, found {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::{Launch, Transport};

    fn of(variables: &[(&str, &str)]) -> crate::Result<Launch> {
        Launch::of(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn every_launcher_is_known_by_its_variables() {
        let numbers = |launch: Launch| (launch.rank, launch.size, launch.local);
        assert_eq!(of(&[]).unwrap(), Launch::ALONE);
        assert_eq!(of(&[("LOCAL_RANK", "3"), ("RANK", "3"), ("WORLD_SIZE", "")]).unwrap(), Launch::ALONE);
        let torchrun = of(&[("RANK", "3"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "a")]).unwrap();
        assert_eq!((torchrun.by, torchrun.over, numbers(torchrun)), ("torchrun", Transport::Tcp, (3, 8, Some(1))));
        let mpirun =
            of(&[("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2"), ("SLURM_PROCID", "0")]).unwrap();
        assert_eq!(numbers(mpirun), (1, 2, None));
        let kept = [("RANK", "0"), ("WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")];
        assert_eq!(numbers(of(&kept).unwrap()), (1, 2, None), "one process is none of several");
        assert_eq!(of(&[&kept[..], &[("TITANS_ALONE", "1")]].concat()).unwrap(), Launch::ALONE);
        let pmi = of(&[("PMI_RANK", "0"), ("PMI_SIZE", "4"), ("MPI_LOCALRANKID", "0")]).unwrap();
        assert_eq!(numbers(pmi), (0, 4, Some(0)));
    }

    #[test]
    fn a_batch_script_is_no_step_of_its_tasks() {
        let script = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("SLURM_LOCALID", "0")];
        assert_eq!(of(&script).unwrap(), Launch::ALONE);
        let step =
            [("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "2"), ("SLURM_LOCALID", "1")];
        let step = of(&step).unwrap();
        assert_eq!((step.by, step.rank, step.size, step.local), ("srun", 2, 4, Some(1)));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_variable() {
        let error = of(&[("RANK", "x"), ("WORLD_SIZE", "2")]).unwrap_err().to_string();
        assert!(error.contains("RANK: expected a whole number from 0, found \"x\""), "{error}");
        let error = of(&[("PMI_RANK", "2"), ("PMI_SIZE", "2")]).unwrap_err().to_string();
        assert!(error.contains("PMI_RANK: expected a number below PMI_SIZE (2), found 2"), "{error}");
        let error = of(&[("RANK", "1"), ("WORLD_SIZE", "2")]).unwrap().expect_alone().unwrap_err().to_string();
        assert!(error.contains("number 1 of 2") && error.contains("--features mpi"), "{error}");
        Launch::ALONE.expect_alone().unwrap();
    }
}
