//! Processor time of what is measured: what else the machine does shows in it far less than in the time by the clock.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::bench::rounds::{Samples, timed};

/// Processor time of one contender, round by round.
#[derive(Debug, Default)]
pub(super) struct Spent(RefCell<Vec<Duration>>);

impl Spent {
    /// Does something, notes its processor time, and returns its time by the clock. Counted are this thread and the programs
    /// that have ended: what a program left behind is not, nor is the kernel's writing to the disk.
    pub(super) fn timed(&self, act: impl FnOnce() -> Result<()>) -> Result<Duration> {
        let before = used()?;
        let time = timed(act)?;
        self.0.borrow_mut().push(used()?.saturating_sub(before));
        Ok(time)
    }

    /// Returns what was noted. The first round does not count.
    pub(super) fn samples(&self) -> Samples {
        Samples::of("spent", self.0.borrow().iter().skip(1).copied().collect())
    }
}

fn used() -> Result<Duration> {
    let of = |usage: Usage| seconds(usage.user_time()) + seconds(usage.system_time());
    let ask = |who| getrusage(who).context("failed to read the processor time");
    Ok(of(ask(UsageWho::RUSAGE_THREAD)?) + of(ask(UsageWho::RUSAGE_CHILDREN)?))
}

fn seconds(time: TimeVal) -> Duration {
    let seconds = Duration::from_secs(time.tv_sec().unsigned_abs());
    seconds + Duration::from_micros(time.tv_usec().unsigned_abs())
}
