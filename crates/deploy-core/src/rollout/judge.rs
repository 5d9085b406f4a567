//! Whether a rollout is at its end, and how it ended.

use std::collections::BTreeMap;

use super::{Standing, State};
use crate::name::{BuildName, HostName};
use crate::wire::role::Role;
use crate::wire::target::Target;

/// What a wait waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Every live host that follows a target of this rollout and build is where it puts the host.
    Target {
        /// The rollout; a target written by hand has none.
        rollout: Option<u64>,
        /// The build.
        build: BuildName,
    },
    /// The canary was taken away: every live canary host is at the fleet's target again.
    Returned {
        /// The fleet's build, if it has one.
        to: Option<BuildName>,
    },
    /// One host gets there, after somebody asked it to try again.
    Retried {
        /// The host.
        host: HostName,
        /// The rollout that it tries.
        rollout: Option<u64>,
        /// The transaction of the wish. Reports up to it tell of the failure before.
        since_mzxid: i64,
    },
}

impl Goal {
    /// That of a target.
    pub fn of(target: &Target) -> Goal {
        Goal::Target {
            rollout: target.rollout,
            build: target.build.clone(),
        }
    }
}

/// How a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Some live host is not there yet.
    Going,
    /// Every live host is there.
    Done,
    /// A live host failed.
    Failed,
    /// No target asks for this any more.
    Superseded,
    /// Nobody is alive to do it.
    NobodyLive,
}

/// A verdict, and the hosts that it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// How it stands.
    pub verdict: Verdict,
    /// Every host that it is about, dead ones too.
    pub hosts: BTreeMap<HostName, Standing>,
}

/// Judges how the rollout of `goal` stands.
pub fn judge(state: &State, goal: &Goal) -> Judgement {
    let Some(hosts) = concerned(state, goal) else {
        return Judgement {
            verdict: Verdict::Superseded,
            hosts: BTreeMap::new(),
        };
    };
    let live: Vec<Standing> = hosts
        .values()
        .copied()
        .filter(|standing| *standing != Standing::Offline)
        .collect();
    let verdict = if live.contains(&Standing::Failed) {
        Verdict::Failed
    } else if live.is_empty() {
        Verdict::NobodyLive
    } else if live
        .iter()
        .all(|standing| standing.is_there() || *standing == Standing::Idle)
    {
        Verdict::Done
    } else {
        Verdict::Going
    };
    Judgement { verdict, hosts }
}

/// Returns the hosts that the goal is about; `None` where no target asks for it any more.
fn concerned(state: &State, goal: &Goal) -> Option<BTreeMap<HostName, Standing>> {
    match goal {
        Goal::Target { rollout, build } => concerned_by_target(state, *rollout, build),
        Goal::Returned { to } => {
            let enabled = state.targets.enabled.as_ref().map(|target| &target.build);
            if state.targets.canary.is_some() || enabled != to.as_ref() {
                return None;
            }
            let canary_hosts = state.standings().into_iter();
            Some(
                canary_hosts
                    .filter(|(name, _)| state.hosts[name].role == Role::Canary)
                    .collect(),
            )
        }
        Goal::Retried {
            host,
            rollout,
            since_mzxid,
        } => {
            let found = state.hosts.get(host)?;
            let target = state.targets.followed(found.role)?;
            if target.rollout != *rollout {
                return None;
            }
            let mut standing = state.standing(host, found, Some(target));
            if standing == Standing::Failed && found.report_mzxid <= *since_mzxid {
                standing = Standing::Unseen;
            }
            Some(BTreeMap::from([(host.clone(), standing)]))
        }
    }
}

/// A restart writes its number into both targets, so either may ask for it.
fn concerned_by_target(
    state: &State,
    rollout: Option<u64>,
    build: &BuildName,
) -> Option<BTreeMap<HostName, Standing>> {
    let asks = |target: &Target| {
        target.rollout == rollout && (rollout.is_some() || target.build == *build)
    };
    let targets = [&state.targets.enabled, &state.targets.canary];
    if !targets.into_iter().flatten().any(asks) {
        return None;
    }
    let follows = |name: &HostName| {
        state
            .targets
            .followed(state.hosts[name].role)
            .is_some_and(asks)
    };
    Some(
        state
            .standings()
            .into_iter()
            .filter(|(name, _)| follows(name))
            .collect(),
    )
}

#[cfg(test)]
mod tests;
