//! Moments that many wait for at once.

use std::time::Duration;

use tokio::time::Instant;

/// When something is done again that several have to do: all at the same moments, so that a process with nothing to do wakes up
/// once, and not for each of them.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    since: Instant,
    every: Duration,
}

impl Rhythm {
    /// Begins now. `every` should be jittered: the rhythms of a fleet must not meet.
    pub fn new(every: Duration) -> Rhythm {
        Rhythm {
            since: Instant::now(),
            every,
        }
    }

    /// Returns the next of its moments.
    pub fn next(&self) -> Instant {
        self.since + self.after(self.since.elapsed())
    }

    /// Returns when the first moment after this one is, both counted from the begin.
    fn after(&self, elapsed: Duration) -> Duration {
        let beats = elapsed.div_duration_f64(self.every).floor();
        self.every.mul_f64(beats + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Rhythm;

    #[test]
    fn its_moments_are_whole_beats_from_its_begin_and_the_next_is_ahead() {
        let beat = Duration::from_secs(1_000);
        let since = Instant::now();
        let rhythm = Rhythm { since, every: beat };
        assert_eq!(rhythm.after(Duration::ZERO), beat);
        assert_eq!(rhythm.after(Duration::from_secs(999)), beat);
        assert_eq!(rhythm.after(Duration::from_secs(1_001)), beat * 2);
        assert_eq!(rhythm.next(), since + beat);
    }
}
