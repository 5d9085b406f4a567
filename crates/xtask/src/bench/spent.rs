//! What running a program costs.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Runs a program to its end, and returns how long that took, and its processor time with all that it started. Nobody else may be waited for
/// meanwhile: the system tells it of all children together.
pub(crate) fn spent(command: &mut Command) -> Result<(Duration, Duration)> {
    let before = children()?;
    let since = Instant::now();
    let output = command.output().context("failed to start it")?;
    let wall = since.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}: {}", output.status, said.trim());
    }
    Ok((wall, children()?.saturating_sub(before)))
}

/// Returns the processor time of all processes that we have waited for.
fn children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("failed to ask for processor time")?;
    let time = |time: TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.unsigned_abs())
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}
