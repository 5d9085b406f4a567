//! Which change the targets of a service come from.

use jiff::Timestamp;

use super::Targets;
use crate::wire::history::Entry;
use crate::wire::target::Target;
use crate::wire::time;

/// Seconds in which a change may be in the history and not yet in a target.
const UNDER_WAY_S: i64 = 10;

/// Which change the targets of a service come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Nothing was wanted yet.
    Nothing,
    /// This one: it wrote a target, or took the canary away.
    Rollout(u64),
    /// None that is in the history: somebody wrote a target with something else than deployctl.
    ByHand,
}

/// Returns where the targets come from. `history` is the newest entries, newest first. One without
/// any, which somebody has tidied, says nothing against a target that has a number.
pub fn version(targets: &Targets, history: &[(u64, Entry)], now: Timestamp) -> Version {
    let newest = history.iter().find(|(_, entry)| entry.changes_targets());
    let mut wanted = [&targets.enabled, &targets.canary].into_iter().flatten();
    if wanted.any(|target| !is_from(target, history, newest)) {
        return Version::ByHand;
    }
    match (newest, targets.newest_rollout()) {
        (None, None) => Version::Nothing,
        (None, Some(number)) => Version::Rollout(number),
        (Some((number, entry)), _) => {
            let is_there = is_written(targets, (*number, entry)) || is_under_way(entry, now);
            match is_there {
                true => Version::Rollout(*number),
                false => Version::ByHand,
            }
        }
    }
}

/// Tells whether a target is what the change of its number wrote, as far as the history tells.
fn is_from(target: &Target, history: &[(u64, Entry)], newest: Option<&(u64, Entry)>) -> bool {
    let Some(number) = target.rollout else {
        return false;
    };
    let entry = history.iter().find(|(found, _)| *found == number);
    match (entry, newest) {
        // A restart writes its number into both targets, whatever their builds are.
        (Some((_, entry)), _) => {
            let is_its = entry.to.as_ref().is_none_or(|to| *to == target.build);
            is_its || target.restart == Some(number)
        }
        (None, Some((newest, _))) => number < *newest,
        (None, None) => true,
    }
}

fn is_written(targets: &Targets, (number, entry): (u64, &Entry)) -> bool {
    let enabled = targets.enabled.as_ref();
    let mut wanted = [enabled, targets.canary.as_ref()].into_iter().flatten();
    // A canary that was taken away is in no target.
    let is_left = entry.kind == "rollback"
        && targets.canary.is_none()
        && enabled.map(|target| &target.build) == entry.to.as_ref();
    is_left || wanted.any(|target| target.rollout == Some(number))
}

fn is_under_way(entry: &Entry, now: Timestamp) -> bool {
    let at = entry.at.as_deref().and_then(time::parse);
    at.is_some_and(|at| now.duration_since(at).as_secs() < UNDER_WAY_S)
}

#[cfg(test)]
mod tests;
