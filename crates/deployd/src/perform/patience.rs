//! Patience with others that does not run out while we stand still ourselves.
//!
//! A deployd that was stopped (SIGSTOP, a frozen cgroup, a paused machine) finds every deadline
//! passed when it goes on. Nobody was asked meanwhile, so nobody has failed.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often the time is counted.
const TICK: Duration = Duration::from_millis(100);
/// The most that counts between two ticks. A busy host is later than a tick, but not by that much.
const GAP_MAX: Duration = Duration::from_secs(1);

/// What is left of a time in which we were there to look.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    counted: Instant,
    gaps: u32,
}

impl Patience {
    /// Begins to count.
    pub(super) fn new(time: Duration) -> Patience {
        Patience {
            left: time,
            counted: Instant::now(),
            gaps: 0,
        }
    }

    /// What was left when it was counted last.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// How often we stood still.
    pub(super) fn gaps(&self) -> u32 {
        self.gaps
    }

    /// Does something, however long it takes, and counts the time.
    pub(super) async fn during<T>(&mut self, doing: impl Future<Output = T>) -> T {
        let mut doing = pin!(doing);
        loop {
            // Cancel-safe: what is done is kept, and the other only waits for a time.
            tokio::select! {
                result = &mut doing => {
                    self.count(Instant::now());
                    return result;
                }
                () = sleep(TICK) => self.count(Instant::now()),
            }
        }
    }

    fn count(&mut self, now: Instant) {
        let passed = now - self.counted;
        if passed > GAP_MAX {
            self.gaps += 1;
            tracing::warn!(seconds = passed.as_secs_f64(), "deployd stood still");
        }
        self.left = self.left.saturating_sub(passed.min(GAP_MAX));
        self.counted = now;
    }
}

#[cfg(test)]
mod tests;
