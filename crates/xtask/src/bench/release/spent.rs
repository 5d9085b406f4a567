//! Processor time of what is measured: what else the machine does shows in it far less than in the time by the clock.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Result;

use crate::bench::rounds::{Samples, timed};
use crate::bench::spent::used;

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
