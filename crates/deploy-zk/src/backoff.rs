//! How long to wait before the next attempt.

use std::time::Duration;

/// The first wait, and the shortest.
pub(crate) const WAIT_MIN: Duration = Duration::from_millis(50);
/// The longest wait, before jitter.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);

/// Doubles from [`WAIT_MIN`] to [`WAIT_MAX`]. Jitter keeps a fleet from coming back all at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the next wait, between half and one and a half of its step.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let step = WAIT_MIN
            .saturating_mul(1 << self.failures.min(10))
            .min(WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        jittered(step)
    }
}

/// Returns something between half of `wait` and one and a half of it.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64())
}
