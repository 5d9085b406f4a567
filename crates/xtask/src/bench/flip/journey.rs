//! What the log of an agent says of one deployment, and when it said so.

use std::collections::BTreeMap;
use std::time::Duration;

/// What an agent logs, so that each step tells when it begins.
pub(super) const LOG_LEVEL: &str = "info,deployd::agent=debug";
/// The last step of a deployment. The report before it says `serving`.
const LAST: &str = "give the lease back";

/// One deployment.
#[derive(Debug, Default)]
pub(super) struct Journey {
    flipped: Option<Duration>,
    serving: Option<Duration>,
    is_over: bool,
    /// When the step before was done, or this one began.
    last: Option<Duration>,
    steps: BTreeMap<String, Taken>,
}

/// The time that steps of one name took in a deployment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// From the end of the step before: observing, planning, and the journal.
    pub(super) before: Duration,
    /// Performing it.
    pub(super) performing: Duration,
}

impl Journey {
    /// Takes in a message, and when it was logged, by whatever clock.
    pub(super) fn told(&mut self, at: Duration, message: &str) {
        let Some((what @ ("step begun" | "step done"), step)) = message.split_once(": ") else {
            return;
        };
        let since_last = at.saturating_sub(self.last.unwrap_or(at));
        self.last = Some(at);
        let name = step.split(' ').next().unwrap_or_default();
        let taken = self.steps.entry(name.to_owned()).or_default();
        if what == "step begun" {
            taken.before += since_last;
            self.serving = self.serving.or((step == LAST).then_some(at));
        } else {
            taken.performing += since_last;
            self.flipped = self.flipped.or((name == "activate").then_some(at));
            self.is_over |= step == LAST;
        }
    }

    /// Tells whether the host serves, and has given its lease back.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.serving.is_some()
    }

    /// From the flip to the report that says `serving`.
    pub(super) fn flip_to_serving(&self) -> Duration {
        let both = self.flipped.zip(self.serving);
        both.map(|(flipped, serving)| serving.saturating_sub(flipped))
            .unwrap_or_default()
    }

    /// What steps of this name took.
    pub(super) fn step(&self, name: &str) -> Taken {
        self.steps.get(name).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Journey;

    #[test]
    fn steps_are_timed_from_line_to_line() {
        let mut journey = Journey::default();
        for (ms, message) in [
            (1000, "step begun: activate v2"),
            (1005, "step done: activate v2"),
            (1007, "drained: no new connections"),
            (1008, "step begun: drain 1"),
            (1010, "step done: drain 1"),
            (1012, "step begun: drain 2"),
            (1015, "step done: drain 2"),
            (1019, "step begun: give the lease back"),
            (1020, "step done: give the lease back"),
        ] {
            assert!(!journey.is_over());
            journey.told(Duration::from_millis(ms), message);
        }
        let drain = journey.step("drain");
        assert_eq!(drain.before.as_millis(), 5);
        assert_eq!(drain.performing.as_millis(), 5);
        assert_eq!(journey.flip_to_serving().as_millis(), 14);
        assert!(journey.is_over());
    }
}
