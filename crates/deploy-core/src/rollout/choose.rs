//! What a change writes: the build before, and the build to go back to.

use std::collections::BTreeMap;

use super::State;
use super::judge::{Goal, Verdict, judge};
use crate::name::BuildName;
use crate::percent::Percent;
use crate::wire::build::Build;
use crate::wire::history::Entry;
use crate::wire::target::{Previous, Target};

/// Returns what hosts outside the percent of a new target for `build` stay on, and what a rollback
/// goes to: the build that the whole fleet was on last.
///
/// That is the build of `enabled` where every live host is there, and where nobody is alive to say how it went. While it
/// is still on its way, it is the build before it, if there was one; where it has failed somewhere or has a percent below 100, that or
/// none: nobody stays on, or goes back to, what has not worked. For the build that is wanted already, it stays what it was.
pub fn previous_of(state: &State, build: &BuildName) -> Option<Previous> {
    let enabled = state.targets.enabled.as_ref()?;
    // Never the build itself, as when going back to the build before halfway.
    let before = enabled
        .previous
        .clone()
        .filter(|previous| previous.build != *build);
    if enabled.build == *build || enabled.percent < Percent::ALL {
        return before;
    }
    let whole = Previous {
        build: enabled.build.clone(),
        artifact: enabled.artifact.clone(),
    };
    match judge(state, &Goal::of(enabled)).verdict {
        Verdict::Done | Verdict::NobodyLive | Verdict::Superseded => Some(whole),
        Verdict::Going => before.or(Some(whole)),
        Verdict::Failed => before,
    }
}

/// Returns the build that a rollback of the fleet goes to: the last good one. `enabled` is what it
/// leaves; where that can't be read or is gone, it leaves nothing.
///
/// That is `previous` of the target, unless it is marked bad. Else it is the newest build in
/// `history` (newest first) that was wanted of the whole fleet, did not fail and was not rolled back,
/// is still registered, is not marked bad, and is not the one to leave. One that something else took
/// the place of before it was everywhere counts only where there is no other; so does one that nobody
/// has watched, and that failed another time. `None` where there is no such build.
pub fn last_good(
    enabled: Option<&Target>,
    history: &[Entry],
    builds: &BTreeMap<BuildName, Build>,
) -> Option<BuildName> {
    let is_bad = |build: &BuildName| builds.get(build).is_some_and(|known| known.bad.is_some());
    let is_left = |build: &BuildName| enabled.is_some_and(|target| target.build == *build);
    let previous = enabled.and_then(|target| target.previous.as_ref());
    let previous = previous.map(|previous| &previous.build);
    if let Some(previous) = previous.filter(|build| !is_left(build) && !is_bad(build)) {
        return Some(previous.clone());
    }
    let of_the_fleet = of_the_fleet(history);
    let newest = |wanted: Arrival| {
        of_the_fleet
            .iter()
            .filter(|entry| arrival(entry, &of_the_fleet) == wanted)
            .filter_map(|entry| entry.to.as_ref())
            .find(|build| !is_left(build) && builds.contains_key(*build) && !is_bad(build))
    };
    let found = newest(Arrival::Everywhere).or_else(|| newest(Arrival::Overtaken));
    found.cloned()
}

/// How far a build of the history came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// To every host, as far as anybody knows.
    Everywhere,
    /// Something else took its place before, or nobody knows, and it failed another time.
    Overtaken,
    /// It failed, or was rolled back.
    Nowhere,
}

/// Who has not watched has not written how it ended; that alone is no reason against a build.
fn arrival(entry: &Entry, all: &[&Entry]) -> Arrival {
    match result(entry) {
        Some("failed" | "rolled back") => Arrival::Nowhere,
        Some("superseded") => Arrival::Overtaken,
        None if has_failed(entry.to.as_ref(), all) => Arrival::Overtaken,
        _ => Arrival::Everywhere,
    }
}

fn result(entry: &Entry) -> Option<&str> {
    let outcome = entry.outcome.as_ref();
    outcome.map(|outcome| outcome.result.as_str())
}

fn has_failed(build: Option<&BuildName>, all: &[&Entry]) -> bool {
    all.iter()
        .any(|entry| entry.to.as_ref() == build && result(entry) == Some("failed"))
}

/// The entries that gave the whole fleet another build, newest first. A rollback that takes a canary away is none, though
/// it says what the canary hosts go back to.
fn of_the_fleet(history: &[Entry]) -> Vec<&Entry> {
    let mut enabled = None;
    let mut found = Vec::new();
    for entry in history.iter().rev() {
        let to = entry.to.as_ref();
        let gives = match entry.kind.as_str() {
            "promote" | "deploy" | "stage" => true,
            "rollback" => to != enabled,
            _ => false,
        };
        if gives {
            enabled = to;
            found.push(entry);
        }
    }
    let is_of_all = |entry: &Entry| entry.percent.is_none_or(|percent| percent == Percent::ALL);
    found.retain(|entry| entry.kind != "stage" && is_of_all(entry));
    found.reverse();
    found
}

#[cfg(test)]
mod tests;
