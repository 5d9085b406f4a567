//! Cgroups: the set of processes that a fleet has started, whatever became of their parents.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, Result, bail};

const END_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Returns where the machine has the cgroups of version 2.
pub(crate) fn mounted_at() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("failed to read the mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(at))
    });
    found.context("this machine has no cgroups of version 2")
}

/// Makes a cgroup, and those above it.
pub(crate) fn make(cgroup: &Path) -> Result<()> {
    fs::create_dir_all(cgroup).with_context(|| format!("failed to make {}", cgroup.display()))
}

/// Moves this process into a cgroup.
pub(crate) fn join(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
        .with_context(|| format!("failed to enter {}", cgroup.display()))
}

/// Kills all that is in a cgroup and below, waits for the end, and removes it. One that is not
/// there is as good.
pub(crate) fn remove(cgroup: &Path) -> Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    fs::write(cgroup.join("cgroup.kill"), "1")
        .with_context(|| format!("failed to kill what is in {}", cgroup.display()))?;
    let deadline = Instant::now() + END_LIMIT;
    while let Err(error) = remove_all(cgroup) {
        if Instant::now() > deadline {
            let error = anyhow::Error::new(error);
            return Err(error.context(format!("failed to remove {}", cgroup.display())));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Directories of the kernel's are removed one by one, the deepest first.
fn remove_all(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_all(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

/// Freezes all that is in a cgroup and below (`1`), or thaws it (`0`), and waits until it is so.
pub(crate) fn set_frozen(cgroup: &Path, state: &str) -> Result<()> {
    fs::write(cgroup.join("cgroup.freeze"), state)
        .with_context(|| format!("failed to freeze or thaw {}", cgroup.display()))?;
    let deadline = Instant::now() + END_LIMIT;
    let wanted = format!("frozen {state}");
    loop {
        let events = fs::read_to_string(cgroup.join("cgroup.events"))
            .with_context(|| format!("failed to look at {}", cgroup.display()))?;
        if events.lines().any(|line| line == wanted) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{} does not become `{wanted}`", cgroup.display());
        }
        thread::sleep(POLL);
    }
}

/// Returns the processes that are in a cgroup itself.
pub(crate) fn members(cgroup: &Path) -> Result<Vec<u32>> {
    let listed = fs::read_to_string(cgroup.join("cgroup.procs"))
        .with_context(|| format!("failed to list what is in {}", cgroup.display()))?;
    Ok(listed
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect())
}

/// Returns the process that is 1 to itself in a cgroup.
pub(crate) fn first_process(cgroup: &Path) -> Result<u32> {
    // systemd moves itself there once it is up.
    let members = fs::read_to_string(cgroup.join("payload/init.scope/cgroup.procs"));
    for member in members.unwrap_or_default().lines() {
        let status = fs::read_to_string(format!("/proc/{member}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        if numbers.is_some_and(|numbers| numbers.split_whitespace().next_back() == Some("1")) {
            return member.parse().context("the kernel lists numbers");
        }
    }
    bail!("the host is not up")
}
