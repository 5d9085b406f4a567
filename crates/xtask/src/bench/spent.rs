//! What running a program costs.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Runs a program to its end, and returns how long that took, and its processor time with all that it started. Nobody else may be waited for
/// meanwhile: the system tells it of all children together.
pub(crate) fn spent(command: &mut Command) -> Result<(Duration, Duration)> {
    let before = used()?;
    let since = Instant::now();
    let output = command.output().context("failed to start it")?;
    let wall = since.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}: {}", output.status, said.trim());
    }
    Ok((wall, used()?.saturating_sub(before)))
}

/// Returns the processor time of this thread, and of all processes that were waited for.
pub(super) fn used() -> Result<Duration> {
    let of = |usage: Usage| time(usage.user_time()) + time(usage.system_time());
    let ask = |who| getrusage(who).context("failed to read the processor time");
    Ok(of(ask(UsageWho::RUSAGE_THREAD)?) + of(ask(UsageWho::RUSAGE_CHILDREN)?))
}

fn time(time: TimeVal) -> Duration {
    let seconds = Duration::from_secs(time.tv_sec().unsigned_abs());
    seconds + Duration::from_micros(time.tv_usec().unsigned_abs())
}
