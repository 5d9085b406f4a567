//! The steps from what a host is to what is wanted of it.
//!
//! One pure function. Rollback, recovery after a crash, a changed target and a changed role are
//! this function on another snapshot: nothing is resumed from memory. The caller performs the
//! first step, looks again, and asks again; the steps behind the first are an outlook.

use crate::name::BuildName;
use crate::observed::{Lease, Observed, Probes};
use crate::step::{Step, WaitFor};
use crate::wanted::{Problem, Wanted};
use crate::wire::report::Phase;

mod course;
mod planner;

use course::course;
use planner::Planner;

/// How a service is deployed on this host: what its configuration says, as far as it decides
/// which steps there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Whether instances are restarted at all.
    pub restarts: bool,
    /// Whether they are drained before.
    pub drains: bool,
    /// Whether they are probed after.
    pub probes: Probes,
    /// Instances at a time, at least 1.
    pub batch: usize,
    /// Whether the host is watched for a while before it counts as good.
    pub burns_in: bool,
    /// Whether there is a `post_extract` hook.
    pub post_extract: bool,
    /// Whether there is a `post_install` hook.
    pub post_install: bool,
    /// Whether there is a `post_restart` hook.
    pub post_restart: bool,
    /// Releases kept besides those that must be.
    pub keep: usize,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The release that the steps lead to; `None` where the host stays as it is.
    pub goal: Option<BuildName>,
    /// Where that is.
    pub way: Way,
    /// The steps. Only the first is sure.
    pub steps: Vec<Step>,
    /// What the host is when no steps are left.
    pub rest: Rest,
}

/// Where the steps lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the target, or to the build before it for a host outside the percent.
    Forward,
    /// Into service at the release that it was leaving service for, before anything else.
    Finish,
    /// To the last verified release, because the target failed here.
    Back,
}

/// What a host is when there is nothing left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// Nothing is wanted.
    Idle,
    /// At its target.
    Serving,
    /// Ready, outside the percent.
    Staged,
    /// The target was rejected here.
    Failed,
    /// ZooKeeper was not read yet.
    Waiting,
    /// Something outside the build is wrong.
    Blocked(Problem),
}

/// Says what is to be done.
pub fn plan(wanted: &Wanted, shape: &Shape, observed: &Observed) -> Plan {
    let course = course(wanted, observed);
    let planner = Planner {
        wanted,
        shape,
        observed,
        course: &course,
    };
    let plan = match &observed.foreign {
        // Nothing is begun that could not be finished.
        Some(problem) => Plan::blocked(problem.clone()),
        None => planner.plan(),
    };
    if planner.owes_lease(&plan) {
        return without_lease(wanted, shape, observed);
    }
    match wanted
        .refused
        .iter()
        .find(|problem| plan.waits_for(problem))
    {
        Some(problem) => Plan::blocked(problem.clone()),
        None => plan,
    }
}

/// What is to be done once the lease is given back, after that.
fn without_lease(wanted: &Wanted, shape: &Shape, observed: &Observed) -> Plan {
    let observed = Observed {
        lease: Lease::None,
        ..observed.clone()
    };
    let mut plan = plan(wanted, shape, &observed);
    plan.steps.insert(0, Step::ReleaseLease);
    plan
}

impl Plan {
    /// The plan of a host that nothing can be done with.
    pub fn blocked(problem: Problem) -> Plan {
        Plan {
            goal: None,
            way: Way::Forward,
            steps: Vec::new(),
            rest: Rest::Blocked(problem),
        }
    }

    /// Tells whether what may not be read is what keeps the host from going on.
    fn waits_for(&self, refused: &Problem) -> bool {
        match (self.steps.first(), &self.rest) {
            (Some(step), _) => *step == Step::Wait(WaitFor::ZooKeeper),
            (None, Rest::Waiting) => true,
            (None, Rest::Blocked(known)) => known.object == refused.object,
            (None, _) => false,
        }
    }

    /// Returns the phase that a report of this plan has: giving a lease back is nothing that anybody waits for.
    pub fn phase(&self) -> Phase {
        let mut steps = self.steps.iter();
        let next = steps.find(|step| **step != Step::ReleaseLease);
        match (next, self.way) {
            (None | Some(Step::Prune(_) | Step::PostRestart(_)), _) => match &self.rest {
                Rest::Idle => Phase::Idle,
                Rest::Serving => Phase::Serving,
                Rest::Staged => Phase::Staged,
                Rest::Failed => Phase::Failed,
                Rest::Waiting => Phase::Waiting,
                Rest::Blocked(_) => Phase::Blocked,
            },
            (Some(_), Way::Back) => Phase::RollingBack,
            (Some(step), Way::Forward | Way::Finish) => match step {
                Step::Fetch(_) => Phase::Fetching,
                Step::Extract(_) => Phase::Extracting,
                Step::Prepare(_) => Phase::Preparing,
                Step::Wait(_) | Step::AcquireLease => Phase::Waiting,
                Step::Activate(_) | Step::PostInstall(_) => Phase::Activating,
                Step::Drain(_) | Step::Restart(_) | Step::Undrain(_) => Phase::Restarting,
                _ => Phase::Probing,
            },
        }
    }
}

#[cfg(test)]
mod tests;
