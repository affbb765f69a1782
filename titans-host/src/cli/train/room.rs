//! Whether a run fits into this machine: its data before they are read, its steps and validations before they run.

use crate::cli::inspect::{self, PlannedOn};
use crate::device::MemoryUse;
use crate::error::{Error, Result};
use crate::task::TaskConfig;
use crate::train::RunConfig;
use crate::train::task::Load;
use std::path::{Path, PathBuf};

/// Refuses data that take more memory than there is. Where the system does not say how much that is, everything passes.
///
/// # Errors
/// [`Error::File`] with the bytes needed and those there.
pub(in crate::cli) fn expect_data(task: &TaskConfig) -> Result<()> {
    let Some((there, by)) = available(Path::new("/")) else { return Ok(()) };
    let (files, needed) = task.reading();
    match files.first().filter(|_| needed > there) {
        None => Ok(()),
        Some(first) => Err(Error::file(
            first,
            format!(
                "the data do not fit: reading them needs {needed} bytes ({}) or more, expected {there} ({}) at most, what {by}; give \
                 less data",
                gib(needed),
                gib(there)
            ),
        )),
    }
}

/// Refuses a configuration that takes more memory than there is, by what its task holds already and by what measures
/// it.
///
/// # Errors
/// [`Error::Usage`] with the bytes needed and those there; as [`inspect::peak`].
pub(in crate::cli) fn expect(config: &RunConfig, threads: Option<usize>, held: usize, loads: &[Load]) -> Result<()> {
    let Some((left, by)) = available(Path::new("/")) else { return Ok(()) };
    let (peak, of) = inspect::peak(config, PlannedOn::Cpu(threads), loads)?;
    fits((peak as u64, of), held as u64, (left, by))
}

/// Refuses a configuration that takes more memory than a CUDA device has left. One that does not say passes.
///
/// # Errors
/// As [`expect`].
pub(in crate::cli) fn expect_on_device(config: &RunConfig, there: Option<MemoryUse>, loads: &[Load]) -> Result<()> {
    let Some(MemoryUse { free, .. }) = there else { return Ok(()) };
    let (peak, of) = inspect::peak(config, PlannedOn::Cuda, loads)?;
    fits((peak as u64, of), 0, (free, "the device has left"))
}

/// The data are in memory: what is left there is without them.
fn fits((peak, of): (u64, &str), held: u64, (left, by): (u64, &str)) -> Result<()> {
    if peak <= left {
        return Ok(());
    }
    let (needed, there) = (peak.saturating_add(held), left.saturating_add(held));
    let data = if held > 0 { format!(" with {held} bytes of data") } else { String::new() };
    let remedy =
        if of == "a validation" { "a shorter task.window (config.toml) or --lengths" } else { "--batch or --context" };
    Err(Error::usage(format!(
        "this configuration does not fit: {of}{data} needs {needed} bytes ({}), expected {there} ({}) at most, what {by}; a smaller \
         --width or {remedy} needs less, and in a step so do --recompute and --boundaries sqrt (titans inspect --memory says where it \
         goes)",
        gib(needed),
        gib(there),
    )))
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Bytes that may still be taken, and who says so: the machine, a control group around this process (containers, batch
/// systems), or the limit of its addresses. `root` is the root of the file system.
fn available(root: &Path) -> Option<(u64, &'static str)> {
    let machine = machine(root).map(|bytes| (bytes, "this machine has left"));
    let group = group(root).map(|bytes| (bytes, "the control group of this process has left (cgroup memory limit)"));
    let limit = addresses(root).map(|bytes| (bytes, "the limit of this process leaves (ulimit -v)"));
    [machine, group, limit].into_iter().flatten().min()
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The kibibytes of an entry of /proc/meminfo or /proc/self/status, as bytes.
fn entry(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn machine(root: &Path) -> Option<u64> {
    let info = text(&root.join("proc/meminfo"))?;
    Some(entry(&info, "MemAvailable")?.saturating_add(entry(&info, "SwapFree").unwrap_or(0)))
}

/// What is left under the tightest of the control groups that this process is in.
fn group(root: &Path) -> Option<u64> {
    let groups = text(&root.join("proc/self/cgroup"))?;
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (mount, files) = match controllers {
            "" => ("sys/fs/cgroup", ["memory.max", "memory.current"]),
            _ if controllers.split(',').any(|c| c == "memory") => {
                ("sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.usage_in_bytes"])
            }
            _ => continue,
        };
        let (mount, path) = (root.join(mount), PathBuf::from(path.trim_start_matches('/')));
        // The groups above limit it too; inside a container the path may be that of the host, and only the root is
        // there.
        for above in path.ancestors() {
            least = [least, left(&mount.join(above), files)].into_iter().flatten().min();
        }
    }
    least
}

/// What a group has left: pages of files that nobody needs now are given back before anybody is killed.
fn left(group: &Path, [most, now]: [&str; 2]) -> Option<u64> {
    let number = |name: &str| text(&group.join(name))?.trim().parse::<u64>().ok();
    let (most, now) = (number(most)?, number(now)?);
    let stat = text(&group.join("memory.stat")).unwrap_or_default();
    let given_back = ["total_inactive_file ", "inactive_file "]
        .iter()
        .find_map(|name| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()));
    Some(most.saturating_sub(now.saturating_sub(given_back.unwrap_or(0))))
}

/// What `ulimit -v` leaves.
fn addresses(root: &Path) -> Option<u64> {
    let limits = text(&root.join("proc/self/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let most: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(most.saturating_sub(entry(&text(&root.join("proc/self/status"))?, "VmSize")?))
}

#[cfg(test)]
mod tests {
    use super::{available, fits};
    use std::path::Path;

    #[test]
    fn what_is_needed_is_named_with_the_data() {
        let machine = (500, "this machine has left");
        fits((500, "a training step"), 1 << 40, machine).unwrap();
        let refused = |of, held| fits((501, of), held, machine).unwrap_err().to_string();
        let step = refused("a training step", 0);
        assert!(step.contains("a training step needs 501 bytes") && step.contains("expected 500"), "{step}");
        let validation = refused("a validation", 100);
        assert!(validation.contains("a validation with 100 bytes of data needs 601 bytes"), "{validation}");
        assert!(validation.contains("expected 600") && validation.contains("task.window"), "{validation}");
    }

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_tightest_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let told = || available(root).map(|(bytes, by)| (bytes, by.split(' ').nth(1).unwrap()));
        assert_eq!(told(), None, "a system that says nothing");
        write(root, &[("proc/meminfo", "MemTotal: 999 kB\nMemAvailable:   800 kB\nSwapFree: 100 kB\n")]);
        assert_eq!(told(), Some((900 * 1024, "machine")));
        write(root, &[("proc/self/cgroup", "0::/a.slice/b\n"), ("sys/fs/cgroup/a.slice/b/memory.max", "max\n")]);
        assert_eq!(told(), Some((900 * 1024, "machine")), "a group without a limit");
        let group = "sys/fs/cgroup/a.slice/memory";
        write(root, &[(&format!("{group}.max"), "500000\n"), (&format!("{group}.current"), "200000\n")]);
        write(root, &[(&format!("{group}.stat"), "anon 7\ninactive_file 50000\n")]);
        assert_eq!(told(), Some((350_000, "control")), "that of a group above");
        write(root, &[("proc/self/cgroup", "3:cpu:/x\n2:memory,x:/host/path\n0::/\n")]);
        assert_eq!(told(), Some((900 * 1024, "machine")));
        let group = "sys/fs/cgroup/memory/memory";
        write(root, &[(&format!("{group}.limit_in_bytes"), "300000\n"), (&format!("{group}.usage_in_bytes"), "100\n")]);
        assert_eq!(told(), Some((299_900, "control")), "the older kind, seen from inside a container");
        write(root, &[("proc/self/limits", "Max address space         unlimited   unlimited   bytes\n")]);
        write(root, &[("proc/self/status", "VmSize:\t   100 kB\n")]);
        assert_eq!(told(), Some((299_900, "control")));
        write(root, &[("proc/self/limits", "Max address space         204800   unlimited   bytes\n")]);
        assert_eq!(told(), Some((102_400, "limit")));
    }
}
