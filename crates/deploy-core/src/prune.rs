//! Which releases may go.

use crate::name::BuildName;
use crate::observed::{Observed, Runs};
use crate::step::Step;

/// Returns the releases to delete, so that at most `keep` stay besides those that must.
///
/// Never among them: `current`, what an instance runs, the last verified release, and the builds
/// in `wanted`, and what could not be deleted a while ago. A release whose `post_extract` failed goes first: a new try starts from the archive. `observed.releases` is in the order of use, last used first.
pub fn prunable(observed: &Observed, wanted: &[&BuildName], keep: usize) -> Vec<BuildName> {
    let running = |build: &BuildName| {
        observed
            .instances
            .iter()
            .any(|instance| instance.runs == Runs::Build(build.clone()))
    };
    let pinned = |build: &BuildName| {
        observed.current.as_ref() == Some(build)
            || observed.last_verified() == Some(build)
            || running(build)
            || observed.undeleted.contains_key(build)
    };
    let spent = |build: &BuildName| {
        let rejection = observed.journal.rejected.get(build);
        rejection
            .is_some_and(|rejection| rejection.error.step == Step::Prepare(build.clone()).name())
    };
    let (mut kept, mut gone) = (0, Vec::new());
    for build in observed.releases.iter().filter(|build| !pinned(build)) {
        if spent(build) {
            gone.push(build.clone());
        } else if wanted.contains(&build) {
        } else if kept < keep {
            kept += 1;
        } else {
            gone.push(build.clone());
        }
    }
    gone
}

#[cfg(test)]
mod tests;
