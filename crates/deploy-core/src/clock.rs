//! The time of day, for ends that somebody has written down, as that of a hold.
//!
//! Deadlines of our own are counted on a clock that nobody sets. An end that is a time of day needs
//! the other one, which may be wrong, and may be set: by a year, when somebody mistypes it. So where
//! the two have come apart, the earlier time counts for a while: what is held stays held, and never
//! starts because a clock was set. Should the new time stand, it is believed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The clocks drift apart; more than this between two looks is no drift.
pub const DRIFT_MAX: Duration = Duration::from_secs(5);
/// So long a clock that was set is in doubt.
pub const DOUBT: Duration = Duration::from_secs(15 * 60);

/// Compares the time of day with the time that has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// A time of day that was believed, and how much time had passed then.
    believed: (Timestamp, Duration),
    doubt: Option<Doubt>,
}

/// The clock was set, so far from the time that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubt {
    since: Duration,
    by: SignedDuration,
}

/// What the clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The time that counts.
    pub now: Timestamp,
    /// By how much the clock was just set.
    pub set_by: Option<SignedDuration>,
}

impl Clock {
    /// Begins with a time of day that is believed; `passed` is counted from anywhere.
    pub fn new(time_of_day: Timestamp, passed: Duration) -> Clock {
        Clock {
            believed: (time_of_day, passed),
            doubt: None,
        }
    }

    /// Returns the time that counts, given both clocks. To be asked about every minute, or seldomer
    /// drift could be taken for more.
    pub fn told(&mut self, time_of_day: Timestamp, passed: Duration) -> Told {
        let (at, at_passed) = self.believed;
        let since = SignedDuration::try_from(passed.saturating_sub(at_passed));
        let expected = at.saturating_add(since.unwrap_or(SignedDuration::MAX));
        let expected = expected.unwrap_or(Timestamp::MAX);
        let by = time_of_day.duration_since(expected);
        if is_drift(by) {
            *self = Clock::new(time_of_day, passed);
            return Told {
                now: time_of_day,
                set_by: None,
            };
        }
        let known = self.doubt.filter(|doubt| is_drift(by - doubt.by));
        let doubt = known.unwrap_or(Doubt { since: passed, by });
        if passed.saturating_sub(doubt.since) >= DOUBT {
            *self = Clock::new(time_of_day, passed);
            return Told {
                now: time_of_day,
                set_by: None,
            };
        }
        self.doubt = Some(doubt);
        Told {
            now: time_of_day.min(expected),
            set_by: known.is_none().then_some(by),
        }
    }
}

fn is_drift(by: SignedDuration) -> bool {
    by.unsigned_abs() <= DRIFT_MAX
}

#[cfg(test)]
mod tests;
