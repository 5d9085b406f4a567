//! What a change writes: the build before, and the build to go back to.

use std::collections::BTreeMap;

use crate::name::BuildName;
use crate::percent::Percent;
use crate::wire::build::Build;
use crate::wire::history::Entry;
use crate::wire::target::{Previous, Target};

/// Returns what hosts outside the percent of a new target for `build` stay on: the build that the
/// whole fleet is on before the change.
///
/// While `enabled` has a percent below 100, that is the build before `enabled`. For the build that
/// is wanted already, it stays what it was.
pub fn previous_of(enabled: Option<&Target>, build: &BuildName) -> Option<Previous> {
    let enabled = enabled?;
    if enabled.build == *build || enabled.percent < Percent::ALL {
        // Never the build itself, as when going back to the build before halfway.
        return enabled
            .previous
            .clone()
            .filter(|previous| previous.build != *build);
    }
    Some(Previous {
        build: enabled.build.clone(),
        artifact: enabled.artifact.clone(),
    })
}

/// Returns the build that a rollback of the fleet goes to: the last good one.
///
/// That is `previous` of the target, unless it is marked bad. Else it is the newest build in
/// `history` (newest first) that was wanted of the whole fleet, did not fail, is still registered,
/// is not marked bad, and is not the one to leave. `None` where there is no such build.
pub fn last_good(
    enabled: &Target,
    history: &[Entry],
    builds: &BTreeMap<BuildName, Build>,
) -> Option<BuildName> {
    let is_bad = |build: &BuildName| builds.get(build).is_some_and(|known| known.bad.is_some());
    let previous = enabled.previous.as_ref().map(|previous| &previous.build);
    if let Some(previous) = previous.filter(|build| **build != enabled.build && !is_bad(build)) {
        return Some(previous.clone());
    }
    history
        .iter()
        .filter(|entry| was_of_the_fleet(entry))
        .filter_map(|entry| entry.to.as_ref())
        .find(|build| **build != enabled.build && builds.contains_key(*build) && !is_bad(build))
        .cloned()
}

fn was_of_the_fleet(entry: &Entry) -> bool {
    let failed = entry
        .outcome
        .as_ref()
        .is_some_and(|outcome| outcome.result == "failed");
    matches!(entry.kind.as_str(), "promote" | "deploy" | "rollback") && !failed
}

#[cfg(test)]
mod tests;
