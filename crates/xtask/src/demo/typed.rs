//! `deployctl`, as somebody would type it.

use std::io::{BufRead, BufReader, pipe};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::processes::Processes;
use super::screen::Screen;

/// No command of the demo takes longer; one that hangs must not hang the demo.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the commands are typed.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) processes: Arc<Processes>,
    pub(crate) screen: Arc<Screen>,
    pub(crate) deployctl: PathBuf,
    /// Where it is typed: the directory of the archives.
    pub(crate) dir: PathBuf,
    /// `DEPLOYCTL_ZK`.
    pub(crate) zookeeper: String,
}

impl Terminal {
    /// Prints a command, runs it, prints what it says, and returns its exit code.
    pub(crate) fn type_in(&self, args: &[&str]) -> Result<i32> {
        let words: Vec<String> = args.iter().map(|word| quoted(word)).collect();
        self.screen
            .command(&format!("deployctl {}", words.join(" ")));
        // Both outputs into one pipe: they stay in the order in which they were written.
        let (reader, writer) = pipe().context("failed to make a pipe")?;
        let second = writer.try_clone().context("failed to share a pipe")?;
        let screen = Arc::clone(&self.screen);
        let printer = thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                screen.line(&line);
            }
        });
        let status = self.run(
            args,
            Outputs {
                out: writer.into(),
                error: second.into(),
            },
        );
        printer.join().ok().context("the thread that prints died")?;
        status?.code().context("deployctl was ended by a signal")
    }

    /// Runs a command without showing it, and returns the JSON that it prints.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<Value> {
        let mut args = args.to_vec();
        args.extend(["--output", "json"]);
        let (reader, writer) = pipe().context("failed to make a pipe")?;
        let parser = thread::spawn(move || serde_json::from_reader(BufReader::new(reader)));
        let status = self.run(
            &args,
            Outputs {
                out: writer.into(),
                error: Stdio::inherit(),
            },
        )?;
        let line = args.join(" ");
        if !status.success() {
            bail!("`deployctl {line}` failed: {status}");
        }
        let parsed = parser.join().ok().context("the thread that reads died")?;
        parsed.with_context(|| format!("`deployctl {line}` wrote something that is not JSON"))
    }

    fn run(&self, args: &[&str], outputs: Outputs) -> Result<ExitStatus> {
        let process = self
            .processes
            .start("deployctl", &self.deployctl, |command| {
                command
                    .args(args)
                    .env("DEPLOYCTL_ZK", &self.zookeeper)
                    .current_dir(&self.dir)
                    .stdin(Stdio::null())
                    .stdout(outputs.out)
                    .stderr(outputs.error);
            })?;
        process.wait(LIMIT)
    }
}

struct Outputs {
    out: Stdio,
    error: Stdio,
}

/// Returns a word as it must be typed in a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=%@,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
