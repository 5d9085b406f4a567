//! `xtask demo-restart`: what an agent calls to have an instance restarted.
//!
//! One line goes to the supervisor, `unit port`; one comes back, `ok` or what went wrong.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

/// Asks the supervisor of a host.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    socket: PathBuf,
    unit: String,
    port: u16,
}

impl Ask {
    /// Returns once the instance was restarted, or failed to.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let socket = self.socket.display();
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("failed to connect to the supervisor at {socket}"))?;
        writeln!(stream, "{} {}", self.unit, self.port)?;
        let mut answer = String::new();
        BufReader::new(stream)
            .read_line(&mut answer)
            .with_context(|| format!("no answer from the supervisor at {socket}"))?;
        match answer.trim_end() {
            "ok" => Ok(ExitCode::SUCCESS),
            "" => bail!("the supervisor at {socket} went away"),
            problem => bail!("failed to restart {}: {problem}", self.unit),
        }
    }
}
