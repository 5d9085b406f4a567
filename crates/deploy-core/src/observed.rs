//! What a host is, for one service: what was seen, and from the journal what can't be seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::BuildName;
use crate::wanted::Problem;
use crate::wire::record::{InService, Record};

/// A snapshot of one service on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The complete releases on disk.
    pub releases: Vec<BuildName>,
    /// What `current` points to, whether or not that is still there.
    pub current: Option<BuildName>,
    /// What is in the place of `current` or `releases`, and not ours to replace.
    pub foreign: Option<Problem>,
    /// The artifact that is downloaded, verified and held open.
    pub fetched: Option<BuildName>,
    /// Names in the directory of the releases that something else has, and what: no release can get them.
    pub taken: BTreeMap<BuildName, String>,
    /// The releases that could not be deleted a while ago, and why.
    pub undeleted: BTreeMap<BuildName, String>,
    /// The instances, in the order of the configuration.
    pub instances: Vec<Instance>,
    /// Our place in the restart queue.
    pub lease: Lease,
    /// What can't be observed.
    pub journal: Record,
}

/// One running copy of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What its processes run.
    pub runs: Runs,
    /// Whether a rule of ours refuses it new connections.
    pub drained: bool,
    /// Whether that drain has come to an end: nothing is left that a restart would cut, or it has had its time.
    pub emptied: bool,
    /// Whether it was restarted and has not passed its probe since.
    pub unproven: bool,
    /// The last restart number that it was restarted for.
    pub restarted: Option<u64>,
    /// What would keep it from being restarted, as that its unit is masked; for people.
    pub obstacle: Option<String>,
}

/// Whether instances are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probes {
    /// They are.
    Configured,
    /// There is no probe.
    None,
}

/// Whether new connections reach an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// They do.
    Open,
    /// Not any more, and some may have been there before.
    Refused,
    /// Nor is one left of before that a restart would cut, or those had their time.
    Emptied,
}

/// What an instance is judged by, besides what was seen of it.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What is remembered.
    pub journal: &'a Record,
    /// What `current` points to.
    pub current: Option<&'a BuildName>,
    /// Whether instances are probed.
    pub probes: Probes,
}

/// What the processes of an instance run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// This build.
    Build(BuildName),
    /// Something; which build can't be told.
    Something,
    /// No process.
    Nothing,
}

impl Runs {
    /// Says what an instance runs whose processes are of these builds; `None` where there are none.
    ///
    /// Of several it is one that is not `current`: an instance is the new build's only when nothing
    /// of the old one is left in it.
    pub fn of(builds: &BTreeSet<BuildName>, current: Option<&BuildName>) -> Option<Runs> {
        let old = builds.iter().find(|build| Some(*build) != current);
        old.or(builds.first()).cloned().map(Runs::Build)
    }
}

/// A host's place in the restart queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lease {
    /// It has no lease.
    #[default]
    None,
    /// Its lease is not granted yet.
    Queued,
    /// It may be out of service.
    Held,
}

impl Observed {
    /// Returns the release that a rollback of this host goes to: the last one that passed.
    pub fn last_verified(&self) -> Option<&BuildName> {
        self.journal
            .verified
            .iter()
            .rev()
            .find(|build| self.releases.contains(build))
    }

    /// Tells whether instances are out of service or differ: somebody has to go on.
    pub fn half_restarted(&self) -> bool {
        let mut running = self.instances.iter().map(|instance| &instance.runs);
        let first = running.next();
        let differ = running.any(|runs| Some(runs) != first);
        self.journal.service == InService::Left
            && (differ || self.instances.iter().any(Instance::out_of_service))
    }
}

impl Instance {
    /// Puts together what was seen of an instance and what is remembered of its unit.
    ///
    /// Without probes there is nothing that it could prove. A host that is taken as it was found
    /// proves itself once.
    ///
    /// Halfway in a deployment a host may lose its power, or an instance may die: then systemd
    /// starts from `current` what was not its turn, before the hooks or unprobed. That is not what
    /// a deployment makes of an instance, so it counts as something, and is restarted.
    pub fn new(runs: Runs, traffic: Traffic, unit: &str, context: Context<'_>) -> Instance {
        let Context {
            journal,
            current,
            probes,
        } = context;
        let record = journal.units.get(unit);
        let as_found = journal.service == InService::AsFound;
        let begun_by_us = record.is_some_and(|record| {
            let started = record.started.as_ref().map(|started| &started.build);
            record.unproven || started == current
        });
        let new = |build: &BuildName| {
            journal.service == InService::Left
                && Some(build) == current
                && !journal.verified.contains(build)
        };
        let runs = match runs {
            Runs::Build(build) if new(&build) && !begun_by_us => Runs::Something,
            runs => runs,
        };
        Instance {
            runs,
            drained: traffic != Traffic::Open,
            emptied: traffic == Traffic::Emptied,
            unproven: probes == Probes::Configured
                && record.map_or(as_found, |record| record.unproven),
            restarted: record.and_then(|record| record.restarted),
            obstacle: None,
        }
    }

    /// Tells whether clients can't reach it, or might reach something that doesn't work.
    pub fn out_of_service(&self) -> bool {
        self.drained || self.unproven || self.runs == Runs::Nothing
    }
}

#[cfg(test)]
mod tests;
