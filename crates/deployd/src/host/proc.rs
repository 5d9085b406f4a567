//! What processes run, from /proc.
//!
//! Everything here may vanish while it is read: then it is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::sockets;

/// A line of `/proc/PID/stat` is shorter: 52 numbers and a name of at most 64 bytes. The kernel hands it out at once, and
/// who doesn't know how long it is reads six times.
const STAT_BYTES_MAX: usize = 2048;

/// A process, told apart from a later one of the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: i32,
    /// Its number and start time.
    pub(crate) identity: String,
}

/// The processes that run a release of one service, and who listens, at one moment: all of the host's are looked
/// at, once for all of its instances, and only where somebody asks.
#[derive(Debug)]
pub(crate) struct Running {
    releases: PathBuf,
    /// The same without symlinks, where it is there.
    real: OnceLock<Option<PathBuf>>,
    found: OnceLock<BTreeMap<i32, String>>,
    /// Those of [`listening_sockets`]; none where the kernel can't tell.
    sockets: OnceLock<Option<BTreeMap<u16, BTreeSet<PathBuf>>>>,
}

impl Running {
    /// Those that run a release in this directory. Looks at nothing yet.
    pub(crate) fn new(releases: &Path) -> Running {
        Running {
            releases: releases.to_owned(),
            real: OnceLock::new(),
            found: OnceLock::new(),
            sockets: OnceLock::new(),
        }
    }

    /// Returns the processes that listen on a TCP port, lowest number first. Those of other users
    /// are seen by root only. One that did `before`, by its identity, still does and runs a release, is
    /// all that is returned.
    ///
    /// Looked for there first, which costs a look at one process; then among those that run a
    /// release, which costs one at each process of this host; and then at each of their files.
    pub(crate) fn listeners(&self, port: u16, before: Option<&str>) -> Vec<Process> {
        let listening = self.sockets().and_then(|sockets| sockets.get(&port));
        let Some(sockets) = listening else {
            return Vec::new();
        };
        let holds = |pid: &i32| holds(*pid, sockets);
        let known = before.and_then(same_process);
        let is_it = |known: &Process| self.release_of(known.pid).is_some() && holds(&known.pid);
        if let Some(known) = known.filter(is_it) {
            return vec![known];
        }
        let mut found: Vec<_> = self.all().keys().copied().filter(holds).collect();
        if found.is_empty() {
            found = pids().filter(holds).collect();
            found.sort_unstable();
        }
        found.into_iter().filter_map(process).collect()
    }

    /// Tells whether anything listens on a TCP port, whoever it is; `None` where the kernel can't tell.
    pub(crate) fn is_listening(&self, port: u16) -> Option<Listening> {
        let listens = self.sockets()?.contains_key(&port);
        Some(match listens {
            true => Listening::Somebody,
            false => Listening::Nobody,
        })
    }

    fn sockets(&self) -> Option<&BTreeMap<u16, BTreeSet<PathBuf>>> {
        let sockets = self.sockets.get_or_init(|| {
            let told = |error: &io::Error| {
                tracing::warn!(%error, "the kernel can't be asked who listens");
            };
            listening_sockets().inspect_err(told).ok()
        });
        sockets.as_ref()
    }

    /// Returns the name of the release that a process runs: the one that it was started in, or that
    /// its program is in.
    pub(crate) fn release_of(&self, pid: i32) -> Option<String> {
        match self.found.get() {
            Some(found) => found.get(&pid).cloned(),
            None => self.look_at(pid),
        }
    }

    /// Returns the names of all releases that these processes run.
    pub(crate) fn releases_of(&self, pids: impl IntoIterator<Item = i32>) -> BTreeSet<String> {
        let pids = pids.into_iter();
        pids.filter_map(|pid| self.look_at(pid)).collect()
    }

    fn all(&self) -> &BTreeMap<i32, String> {
        let running = |pid| Some((pid, self.look_at(pid)?));
        self.found
            .get_or_init(|| pids().filter_map(running).collect())
    }

    fn look_at(&self, pid: i32) -> Option<String> {
        // What the kernel shows has no symlinks; neither must what it is compared with. Without the
        // directory there are no releases.
        let real = || fs::canonicalize(&self.releases).ok();
        let releases = self.real.get_or_init(real).as_deref()?;
        ["cwd", "exe"].iter().find_map(|what| {
            let path = fs::read_link(format!("/proc/{pid}/{what}")).ok()?;
            release_in(&path, releases)
        })
    }
}

/// Whether anything listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    /// Yes.
    Somebody,
    /// No.
    Nobody,
}

/// Returns a running process by its number.
pub(crate) fn process(pid: i32) -> Option<Process> {
    let mut stat = [0; STAT_BYTES_MAX];
    let bytes = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut stat));
    let stat = String::from_utf8_lossy(&stat[..bytes.ok()?]);
    // The name is in parentheses and may hold anything; the state is the first field behind it,
    // the start time the 20th.
    let fields: Vec<_> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let (state, start) = (fields.first()?, fields.get(19)?);
    if matches!(*state, "Z" | "X") {
        return None;
    }
    Some(Process {
        pid,
        identity: format!("{pid}@{start}"),
    })
}

/// Returns the process of an identity, if it still runs.
fn same_process(identity: &str) -> Option<Process> {
    let pid = identity.split('@').next()?.parse().ok()?;
    process(pid).filter(|process| process.identity == identity)
}

fn release_in(path: &Path, releases: &Path) -> Option<String> {
    let name = path.strip_prefix(releases).ok()?.components().next()?;
    let name = name.as_os_str().to_str()?;
    let gone = path
        .to_str()
        .is_some_and(|text| text.ends_with(" (deleted)"));
    (!gone && !name.starts_with('.')).then(|| name.to_owned())
}

/// Kills the processes whose environment has this entry, except those in units of names that begin
/// so; returns how many. So what a dead run of ours has left behind is found, whatever it became.
pub(crate) fn kill_marked(entry: &str, spared_units: Option<&str>) -> usize {
    let spared = |pid: &i32| spared_units.is_some_and(|prefix| is_in_unit(*pid, prefix));
    let marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|found| found == entry.as_bytes())
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let victims = pids()
        .filter(|pid| *pid != own)
        .filter(marked)
        .filter(|pid| !spared(pid));
    victims
        .filter(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok())
        .count()
}

/// Tells whether a process is in the cgroup of a systemd unit whose name begins so.
fn is_in_unit(pid: i32, prefix: &str) -> bool {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    names_unit(&cgroups, prefix)
}

fn names_unit(cgroups: &str, prefix: &str) -> bool {
    let paths = cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2));
    let mut parts = paths.flat_map(|path| path.split('/'));
    parts.any(|part| part.starts_with(prefix) && part.ends_with(".service"))
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds(pid: i32, sockets: &BTreeSet<PathBuf>) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| sockets.contains(&link))
}

/// The sockets that listen, by port, as `/proc/<pid>/fd` shows them.
fn listening_sockets() -> io::Result<BTreeMap<u16, BTreeSet<PathBuf>>> {
    let shown = |inode| PathBuf::from(format!("socket:[{inode}]"));
    let by_port = sockets::listening()?.into_iter();
    Ok(by_port
        .map(|(port, inodes)| (port, inodes.into_iter().map(shown).collect()))
        .collect())
}

#[cfg(test)]
mod tests;
