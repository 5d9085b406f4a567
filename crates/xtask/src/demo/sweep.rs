//! `xtask demo-sweep`: removes the demo's directory when the demo is gone, even by SIGKILL.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

/// The file that says that a directory is a demo's.
const MARK: &str = ".deployd-demo";
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Waits for the end of its standard input, then removes the directory.
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    dir: PathBuf,
}

/// The running sweeper; the demo's death, of whatever kind, closes its standard input.
#[derive(Debug)]
pub(crate) struct Sweeper {
    child: Child,
}

impl Sweeper {
    /// Marks the directory as ours and starts its sweeper.
    pub(crate) fn start(own_program: &Path, dir: &Path) -> Result<Sweeper> {
        fs::write(dir.join(MARK), "")
            .with_context(|| format!("failed to write to {}", dir.display()))?;
        let child = Command::new(own_program)
            .arg("demo-sweep")
            .arg(dir)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("failed to start the sweeper")?;
        Ok(Sweeper { child })
    }

    /// Returns its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has the directory removed, and waits for it.
    pub(crate) fn sweep(&mut self) {
        drop(self.child.stdin.take());
        // What the sweeper can't remove, it says itself.
        let _ = self.child.wait();
    }
}

impl Sweep {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        if !self.dir.join(MARK).exists() {
            bail!("{} is not a directory of the demo", self.dir.display());
        }
        // Whether the pipe ends or breaks, the demo is gone.
        let _ = io::stdin().read_to_end(&mut Vec::new());
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
