//! Where a plan leads: what is wanted, beside what the host has begun and what has failed on it.

use super::{Rest, Way};
use crate::name::BuildName;
use crate::observed::{Observed, Runs};
use crate::wanted::{Goal, Share, Wanted, WantedTarget};
use crate::wire::record::InService;

/// Where to go, and what the host is when it is there.
pub(super) struct Course {
    pub(super) to: Option<BuildName>,
    pub(super) way: Way,
    pub(super) rest: Rest,
    /// A build that is made ready besides.
    pub(super) stage: Option<BuildName>,
}

/// Says where to go: to the target, or to an end of what was begun, or back.
pub(super) fn course(wanted: &Wanted, observed: &Observed) -> Course {
    let staying = |rest| {
        let (to, way) = match unfinished(observed).or_else(|| unverified(observed, &rest)) {
            Some((to, way)) => (Some(to), way),
            None => (None, Way::Forward),
        };
        Course {
            to,
            way,
            rest,
            stage: None,
        }
    };
    match &wanted.target {
        WantedTarget::Unknown => staying(Rest::Waiting),
        WantedTarget::Nothing => staying(Rest::Idle),
        WantedTarget::Unreadable(problem) => staying(Rest::Blocked(problem.clone())),
        WantedTarget::Build(goal) => course_to(goal, observed),
    }
}

/// What has to be brought to an end though nobody says what is wanted.
fn unfinished(observed: &Observed) -> Option<(BuildName, Way)> {
    let current = observed
        .current
        .as_ref()
        .filter(|it| observed.releases.contains(it))?;
    if observed.journal.service != InService::Left {
        None
    } else if observed.journal.rejected.contains_key(current) {
        observed
            .last_verified()
            .map(|last| (last.clone(), Way::Back))
    } else if observed.half_restarted() {
        Some((current.clone(), Way::Finish))
    } else {
        None
    }
}

/// Where all instances run already, though the host has not come to the end of a deployment, and nobody says what is wanted
/// instead: it is in service there.
fn unverified(observed: &Observed, rest: &Rest) -> Option<(BuildName, Way)> {
    if *rest == Rest::Waiting || observed.journal.service != InService::Left {
        return None;
    }
    let rejected = &observed.journal.rejected;
    let current = observed.current.as_ref();
    let current = current.filter(|it| !rejected.contains_key(it));
    let run_by_all = |build: &&BuildName| {
        let mut running = observed.instances.iter().map(|instance| &instance.runs);
        running.all(|runs| *runs == Runs::Build((*build).clone()))
    };
    let there = [current, observed.last_verified()].into_iter().flatten();
    let mut there = there.filter(|build| observed.releases.contains(build));
    let build = there.find(run_by_all)?;
    Some((build.clone(), Way::Finish))
}

fn course_to(goal: &Goal, observed: &Observed) -> Course {
    let last_verified = observed.last_verified();
    if rejected(goal, observed) {
        let to = last_verified.cloned();
        return Course {
            to,
            way: Way::Back,
            rest: Rest::Failed,
            stage: None,
        };
    }
    let target = goal.build.clone();
    let (to, rest, stage) = match (goal.share, &goal.previous) {
        (Share::Inside, _) => (Some(target), Rest::Serving, None),
        (Share::Outside, Some((previous, _)))
            if !observed.journal.rejected.contains_key(previous) =>
        {
            (Some(previous.clone()), Rest::Staged, Some(target))
        }
        // A host that is there already has nowhere to go back to.
        (Share::Outside, _) if observed.current.as_ref() == Some(&target) => {
            (Some(target), Rest::Serving, None)
        }
        (Share::Outside, _) => (None, Rest::Staged, Some(target)),
    };
    // A third build is never started on top of a half-restarted one; going back to what instances
    // still run is not a third.
    if let Some((unfinished, way)) = unfinished(observed)
        && to.as_ref() != Some(&unfinished)
        && (to.as_ref() != last_verified || to.is_none())
    {
        return Course {
            to: Some(unfinished),
            way,
            rest,
            stage,
        };
    }
    Course {
        to,
        way: Way::Forward,
        rest,
        stage,
    }
}

fn rejected(goal: &Goal, observed: &Observed) -> bool {
    let rejection = observed.journal.rejected.get(&goal.build);
    rejection
        .is_some_and(|rejection| rejection.rollout == goal.rollout && goal.retry <= rejection.retry)
}
