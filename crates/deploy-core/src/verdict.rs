//! What a failed step means.

use std::time::Duration;

use crate::name::BuildName;
use crate::observed::Observed;
use crate::step::Step;

/// What kind of failure a step had, as the one who performed it knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It may work the next time: the network, a full disk, a busy lock.
    Passing,
    /// It is the build's fault: the hook, the start, the probe, what is in the archive.
    OfTheBuild,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The release is not tried again until somebody asks, and the host goes back.
    Reject(BuildName),
    /// The step is tried again after a pause.
    TryAgain,
    /// It is said and otherwise ignored: the host is in service all the same.
    GoOn,
}

/// Says what a failed step of a deployment to `goal` means.
///
/// The last verified release is never rejected: there is nothing better to go to, so it is tried
/// again for as long as it takes.
pub fn verdict(step: &Step, failure: Failure, goal: &BuildName, observed: &Observed) -> Verdict {
    let way_back = observed.last_verified() == Some(goal);
    match (step, failure) {
        (Step::PostRestart(_), _) | (Step::PostInstall(_), Failure::OfTheBuild) if way_back => {
            Verdict::GoOn
        }
        (Step::PostRestart(_), _) => Verdict::GoOn,
        // A lease that somebody takes away each time says nothing of the build.
        (Step::AcquireLease | Step::ReleaseLease | Step::Prune(_), _) => Verdict::TryAgain,
        (Step::Fetch(build) | Step::Extract(build) | Step::Prepare(build), Failure::OfTheBuild) => {
            Verdict::Reject(build.clone())
        }
        (_, Failure::OfTheBuild) if !way_back => Verdict::Reject(goal.clone()),
        (_, Failure::OfTheBuild | Failure::Passing) => Verdict::TryAgain,
    }
}

/// How often a step may be begun without an end that lasts.
pub const BEGUN_MAX: u64 = 3;

/// Whether a step may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Yes.
    Go,
    /// It takes the agent with it each time, or leaves its instances dead: it failed.
    TooOften,
}

/// Says whether a step that is begun for the `count`-th time may begin. The way to the last
/// verified release is never given up.
pub fn begin(count: u64, goal: &BuildName, observed: &Observed) -> Begin {
    let way_back = observed.last_verified() == Some(goal);
    if count > BEGUN_MAX && !way_back {
        Begin::TooOften
    } else {
        Begin::Go
    }
}

/// The first pause before a step is tried again.
pub const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause before a step is tried again. Short enough that a host goes on by itself soon
/// after the cause is gone, long enough that a thousand of them don't hammer a build server.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Returns the upper bound of the pause after `failures` failures in a row: doubling. The caller
/// takes a random part of it, so that hosts spread.
pub fn pause_max(failures: u32) -> Duration {
    PAUSE_MIN
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(PAUSE_MAX)
}

#[cfg(test)]
mod tests;
