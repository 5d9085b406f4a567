//! `xtask sweep`: removes what a command leaves behind when it is gone, even by SIGKILL.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tempfile::TempDir;

/// The file that says that a directory is to be swept.
const MARK: &str = ".deployd-sweep";
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Waits for the end of its standard input, then removes the directory.
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    dir: PathBuf,
    /// What this program is to do before, such as `fleet down`.
    #[arg(last = true)]
    before: Vec<String>,
}

/// The running sweeper; the end of whoever started it, of whatever kind, closes its standard input.
#[derive(Debug)]
pub(crate) struct Sweeper {
    child: Child,
}

impl Sweeper {
    /// Starts the sweeper of a directory, which removes it from now on; what `before` tells this program is done before.
    pub(crate) fn start(
        own_program: &Path,
        dir: TempDir,
        before: &[&str],
    ) -> Result<(Sweeper, PathBuf)> {
        fs::write(dir.path().join(MARK), "")
            .with_context(|| format!("failed to write to {}", dir.path().display()))?;
        let child = Command::new(own_program)
            .arg("sweep")
            .arg(dir.path())
            .arg("--")
            .args(before)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("failed to start the sweeper")?;
        Ok((Sweeper { child }, dir.keep()))
    }

    /// Returns its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has all done, and waits for it.
    pub(crate) fn sweep(&mut self) {
        drop(self.child.stdin.take());
        // What the sweeper can't remove, it says itself.
        let _ = self.child.wait();
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.sweep();
    }
}

impl Sweep {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        if !self.dir.join(MARK).exists() {
            bail!("{} is not to be swept", self.dir.display());
        }
        // Whether the pipe ends or breaks, nobody is there any more.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        if !self.before.is_empty() {
            let program = env::current_exe().context("this program has no path")?;
            let status = Command::new(program).args(&self.before).status();
            // What it can't do, it says itself.
            status.with_context(|| format!("failed to start {:?}", self.before))?;
        }
        remove(&self.dir)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Removes a directory in which dying processes may still make files.
fn remove(dir: &Path) -> Result<()> {
    let mut tries = 1;
    loop {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound && tries < TRIES => tries += 1,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("failed to remove {}", dir.display()));
            }
            _ => return Ok(()),
        }
        thread::sleep(BETWEEN_TRIES);
    }
}
