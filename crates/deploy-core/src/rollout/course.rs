//! How a rollout of the history ended, or how far it is.

use super::State;
use super::judge::{Goal, Verdict, judge};
use crate::wire::history::Entry;

/// How a rollout stands, or stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The recorded result: `done`, `failed`, `rolled back`, `superseded`; else what can be seen:
    /// `running`, `done`, `failed`, `nobody live`, or `superseded` where no target asks for it.
    pub result: String,
    /// Hosts that are, or were, where it puts them.
    pub there: Option<u64>,
    /// Hosts that it is, or was, about.
    pub total: Option<u64>,
    /// Seconds that it took; unknown where nobody saw the end.
    pub seconds: Option<u64>,
}

/// Tells how the entry with this number stands. `newest` is the number of the newest change of a
/// target. `None` for what is no change of a target, as a hold.
pub fn course(
    state: &State,
    newest: Option<u64>,
    (number, entry): (u64, &Entry),
) -> Option<Course> {
    if let Some(outcome) = &entry.outcome {
        return Some(Course {
            result: outcome.result.clone(),
            there: Some(outcome.hosts),
            total: outcome.total,
            seconds: outcome.seconds,
        });
    }
    if !entry.changes_targets() {
        return None;
    }
    let judgement = judge(state, &goal(state, newest, (number, entry))?);
    let result = match judgement.verdict {
        Verdict::Going => "running",
        Verdict::Done => "done",
        Verdict::Failed => "failed",
        Verdict::Superseded => "superseded",
        Verdict::NobodyLive => "nobody live",
    };
    let there = judgement.hosts.values().filter(|host| host.is_there());
    let is_about_hosts = judgement.verdict != Verdict::Superseded;
    Some(Course {
        result: result.to_owned(),
        there: is_about_hosts.then_some(there.count() as u64),
        total: is_about_hosts.then_some(judgement.hosts.len() as u64),
        seconds: None,
    })
}

/// A canary that was taken away is in no target: its hosts go back to the fleet's.
fn goal(state: &State, newest: Option<u64>, (number, entry): (u64, &Entry)) -> Option<Goal> {
    if entry.kind == "rollback" && newest == Some(number) && !is_wanted(state, number) {
        return Some(Goal::Returned {
            to: entry.to.clone(),
        });
    }
    Some(Goal::Target {
        rollout: Some(number),
        build: entry.to.clone()?,
    })
}

fn is_wanted(state: &State, number: u64) -> bool {
    let targets = [&state.targets.enabled, &state.targets.canary];
    let mut wanted = targets.into_iter().flatten();
    wanted.any(|target| target.rollout == Some(number))
}

#[cfg(test)]
mod tests;
