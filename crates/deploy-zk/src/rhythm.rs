//! Moments that many wait for at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::jittered;

/// When something is done again that several have to do: all at the same moments, so that a process with nothing to do wakes up
/// once, and not for each of them.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    since: Instant,
    /// From then to its first moment.
    phase: Duration,
    every: Duration,
}

impl Rhythm {
    /// Begins now, with a first moment after half to one and a half of `every`: the rhythms of a fleet that begin together must
    /// not meet, and who begins has just done it.
    pub fn new(every: Duration) -> Rhythm {
        Rhythm {
            since: Instant::now(),
            phase: jittered(every),
            every,
        }
    }

    /// Returns the next of its moments.
    pub fn next(&self) -> Instant {
        self.since + self.after(self.since.elapsed())
    }

    /// Returns when the first moment after this one is, both counted from the begin.
    fn after(&self, elapsed: Duration) -> Duration {
        let Some(since_first) = elapsed.checked_sub(self.phase) else {
            return self.phase;
        };
        let beats = since_first.div_duration_f64(self.every).floor();
        self.phase + self.every.mul_f64(beats + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Rhythm;

    #[test]
    fn its_moments_are_whole_beats_from_the_first_and_the_next_is_ahead() {
        let (beat, phase) = (Duration::from_secs(1_000), Duration::from_secs(300));
        let since = Instant::now();
        let rhythm = Rhythm {
            since,
            phase,
            every: beat,
        };
        let next = |elapsed_s| rhythm.after(Duration::from_secs(elapsed_s)).as_secs();
        assert_eq!(next(0), 300);
        assert_eq!(next(299), 300);
        assert_eq!(next(301), 1_300);
        assert_eq!(next(1_299), 1_300);
        assert_eq!(next(1_301), 2_300);
        assert_eq!(rhythm.next(), since + phase);
    }

    #[test]
    fn those_that_begin_together_do_not_meet() {
        let beat = Duration::from_secs(1_000);
        let firsts: Vec<_> = (0..100).map(|_| Rhythm::new(beat).phase).collect();
        let early = firsts.iter().filter(|first| **first < beat).count();
        assert!((20..=80).contains(&early), "{firsts:?}");
    }
}
