//! `xtask demo-launch`: the last thing between the demo and a program that it starts.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;

/// Becomes the program, so that it dies with the demo however the demo dies.
#[derive(Debug, Args)]
pub(crate) struct Launch {
    /// The process that must still be our parent.
    #[arg(long)]
    parent: i32,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

impl Launch {
    /// Returns the command that becomes `program`.
    ///
    /// The kernel kills the child when the *thread* that started it ends, so it must be started
    /// from a thread that lives as long as the demo.
    pub(crate) fn command(own_program: &Path, program: &Path) -> Command {
        let mut command = Command::new(own_program);
        command.args([
            "demo-launch",
            "--parent",
            &std::process::id().to_string(),
            "--",
        ]);
        command.arg(program).process_group(0);
        command
    }

    /// Never returns but with an error.
    pub(crate) fn exec(&self) -> Result<ExitCode> {
        prctl::set_pdeathsig(Signal::SIGKILL).context("failed to tie a process to the demo")?;
        // The parent may have died before that took effect.
        if getppid().as_raw() != self.parent {
            bail!("the demo is gone");
        }
        // The demo blocks the signals that end it; what it starts must hear them.
        SigSet::empty()
            .thread_set_mask()
            .context("failed to unblock signals")?;
        let (program, args) = self.program.split_first().context("no program to start")?;
        let error = Command::new(program).args(args).exec();
        Err(error).with_context(|| format!("failed to start {}", program.display()))
    }
}
