//! A rollout as deployctl sees it: which hosts follow which target, and how far each of them is.
//!
//! Hosts are judged by what they report of themselves, and only by reports that name the very
//! rollout and build: a host that has not seen the new target yet is never taken for done.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::{BuildName, HostName, ServiceName};
use crate::wire::report::{Phase, Report};
use crate::wire::role::Role;
use crate::wire::target::Target;

pub mod choose;
pub mod course;
pub mod judge;
pub mod phase;
pub mod preview;
pub mod vanished;
pub mod version;

/// Everything of a service that decides how far its rollouts are.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The service.
    pub service: ServiceName,
    /// What is wanted.
    pub targets: Targets,
    /// Every host that ever reported, or that has a role.
    pub hosts: BTreeMap<HostName, Host>,
}

/// The targets of a service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets {
    /// Of the fleet.
    pub enabled: Option<Target>,
    /// Of the canary hosts.
    pub canary: Option<Target>,
}

/// One host, for one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Host {
    /// Which target it follows. A role that can't be read counts as `fleet`: such a host starts
    /// nothing, so it is waited for, and its report says why.
    pub role: Role,
    /// Whether its agent has a session.
    pub alive: bool,
    /// What it says of itself, if it ever did and it can be read. Shared: each look at a fleet has all of them.
    pub report: Option<Arc<Report>>,
    /// Why its report can't be read, where it has one that can't.
    pub unreadable: Option<String>,
    /// The transaction that wrote the report; 0 without one.
    pub report_mzxid: i64,
}

/// How far a host is on the way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It serves the build.
    Done,
    /// The build is ready, and the percent leaves this host out.
    Staged,
    /// It is at work.
    Working,
    /// It has not said yet that it saw the target.
    Unseen,
    /// It waits for a lease, or under hold.
    Waiting,
    /// The build failed there: it went back, or its way back fails too.
    Failed,
    /// Something outside the build is wrong there; it is tried again.
    Blocked,
    /// No agent has a session.
    Offline,
    /// It has no target.
    Idle,
}

impl Targets {
    /// Returns the target that hosts of `role` follow.
    pub fn followed(&self, role: Role) -> Option<&Target> {
        match role {
            Role::Canary => self.canary.as_ref().or(self.enabled.as_ref()),
            Role::Fleet => self.enabled.as_ref(),
        }
    }

    /// Returns the largest rollout number in the targets.
    pub fn newest_rollout(&self) -> Option<u64> {
        [&self.enabled, &self.canary]
            .into_iter()
            .flatten()
            .filter_map(|target| target.rollout)
            .max()
    }
}

impl State {
    /// Tells how far each host is on the way to the target that it follows.
    pub fn standings(&self) -> BTreeMap<HostName, Standing> {
        self.hosts
            .iter()
            .map(|(name, host)| {
                let target = self.targets.followed(host.role);
                (name.clone(), self.standing(name, host, target))
            })
            .collect()
    }

    /// Tells how far `host` is on the way to `target`.
    pub fn standing(&self, name: &HostName, host: &Host, target: Option<&Target>) -> Standing {
        if !host.alive {
            return Standing::Offline;
        }
        let report = host.report.as_ref();
        // Whatever it is about, it keeps the host from going on. Where the target can't be read there is none to follow.
        if report.is_some_and(|report| report.phase == Phase::Blocked) {
            return Standing::Blocked;
        }
        let Some(target) = target else {
            return Standing::Idle;
        };
        let Some(report) = report else {
            return Standing::Unseen;
        };
        if report.rollout != target.rollout || report.target.as_ref() != Some(&target.build) {
            return Standing::Unseen;
        }
        match report.phase {
            Phase::Serving if serves(report, &target.build) => Standing::Done,
            Phase::Staged if !target.percent.includes(&self.service, &target.build, name) => {
                Standing::Staged
            }
            Phase::Failed => Standing::Failed,
            // Nobody is helped by waiting for that: it is out of service, and its lease is kept.
            Phase::RollingBack if is_held_up(report) => Standing::Failed,
            Phase::Waiting => Standing::Waiting,
            _ => Standing::Working,
        }
    }

    /// Tells whether the target that a host follows has failed there, so that it can be asked to try it again. It need
    /// not be back for that: it may be on its way, or try the way back once more.
    pub fn has_failed(&self, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(name) else {
            return false;
        };
        let report = host.report.as_ref();
        let is_on_its_way_back =
            report.is_some_and(|it| it.phase == Phase::RollingBack && it.error.is_some());
        match self.standing(name, host, self.targets.followed(host.role)) {
            Standing::Failed => true,
            Standing::Working => is_on_its_way_back,
            _ => false,
        }
    }

    /// Returns the hosts whose role is `canary`.
    pub fn canary_hosts(&self) -> impl Iterator<Item = (&HostName, &Host)> {
        self.hosts
            .iter()
            .filter(|(_, host)| host.role == Role::Canary)
    }
}

impl Standing {
    /// Tells whether the host is where its target puts it.
    pub fn is_there(self) -> bool {
        matches!(self, Standing::Done | Standing::Staged)
    }

    /// Returns what orders hosts by who needs somebody's eyes: the smallest first.
    pub fn urgency(self) -> u8 {
        match self {
            Standing::Failed => 0,
            Standing::Blocked => 1,
            Standing::Offline => 2,
            Standing::Working => 3,
            Standing::Unseen => 4,
            Standing::Waiting => 5,
            Standing::Idle => 6,
            Standing::Staged => 7,
            Standing::Done => 8,
        }
    }

    /// Returns the word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Done => "serving",
            Standing::Staged => "staged",
            Standing::Working => "working",
            Standing::Unseen => "not seen",
            Standing::Waiting => "waiting",
            Standing::Failed => "failed",
            Standing::Blocked => "blocked",
            Standing::Offline => "offline",
            Standing::Idle => "idle",
        }
    }
}

/// On the way back a host tells why it left the build, until the way back fails as well: then it tells of that, and tries
/// it again.
fn is_held_up(report: &Report) -> bool {
    report
        .error
        .as_ref()
        .is_some_and(|error| error.kind == "blocked")
}

/// A service without instances has no processes to look at; there `current` is what counts.
fn serves(report: &Report, build: &BuildName) -> bool {
    let what = if report.instances.is_empty() && report.serving.is_none() {
        &report.current
    } else {
        &report.serving
    };
    what.as_ref() == Some(build)
}
