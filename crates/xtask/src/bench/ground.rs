//! What all parts of the bench share: the programs, places for files, and the words for this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::sweep::Sweeper;
use crate::tool::{memory_kib, output, root};

/// What all parts of the bench share.
#[derive(Debug)]
pub(crate) struct Ground {
    /// How often each contender is measured.
    pub(crate) rounds: u32,
    /// The agent, as it is shipped.
    pub(crate) deployd: PathBuf,
    /// The command line, as it is shipped.
    pub(crate) deployctl: PathBuf,
    /// What is kept from one run to the next, such as builds that take minutes to make.
    pub(crate) kept: PathBuf,
    scratch: PathBuf,
    _sweeper: Sweeper,
}

impl Ground {
    /// Makes the places for files.
    pub(crate) fn new(rounds: u32, own_program: &Path) -> Result<Ground> {
        let target = root().join("target");
        let kept = target.join("bench");
        fs::create_dir_all(&kept).with_context(|| format!("failed to make {}", kept.display()))?;
        let programs = target.join("release");
        // Beneath target: on a disk, as releases are.
        let scratch = TempDir::new_in(&kept).context("failed to make a scratch directory")?;
        let (sweeper, scratch) = Sweeper::start(own_program, scratch, &[])?;
        Ok(Ground {
            rounds,
            deployd: programs.join("deployd"),
            deployctl: programs.join("deployctl"),
            kept,
            scratch,
            _sweeper: sweeper,
        })
    }

    /// A directory on disk, for this run alone.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Says what is measured on: date, commit, processors, memory, kernel.
    pub(crate) fn machine(&self) -> String {
        let first = |program: &str, args: &[&str]| {
            let said = output(Command::new(program).args(args).current_dir(root()));
            said.unwrap_or_default().trim().to_owned()
        };
        let gib = memory_kib("MemTotal").unwrap_or_default().div_ceil(1 << 20);
        let cores = available_parallelism().map_or(0, usize::from);
        format!(
            "{date}, at {commit}, {cores} cores ({model}), {gib} GiB, Linux {kernel}",
            date = first("date", &["-u", "+%Y-%m-%d"]),
            commit = first("git", &["describe", "--always", "--dirty"]),
            model = model(),
            kernel = first("uname", &["-r"]),
        )
    }
}

fn model() -> String {
    let all = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = all.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned())
}
