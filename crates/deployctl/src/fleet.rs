//! Everything of a service, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use deploy_core::lease;
use deploy_core::name::{BuildName, HostName, ServiceName};
use deploy_core::rollout::version::{Version, version};
use deploy_core::rollout::{Host, State, Targets};
use deploy_core::wire::build::Build;
use deploy_core::wire::history::Entry;
use deploy_core::wire::hold::Hold;
use deploy_core::wire::lease::LeaseClaim;
use deploy_core::wire::policy::Policy;
use deploy_core::wire::role::{Assignment, Role};
use deploy_core::wire::target::Target;
use deploy_core::wire::{self, WireError};
use deploy_core::znode::{ServiceTree, sequence};
use deploy_zk::error::Error;
use deploy_zk::zk::Zk;
use deploy_zk::znode::Znode;
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use jiff::Timestamp;

use crate::context::Context;
use crate::problem::Problem;

/// Reads that are begun at once: some more than ZooKeeper is sent at a time, which is 16.
const READS_AT_ONCE: usize = 64;

/// History entries that say what happened last: whoever only looks reads no more.
pub(crate) const HISTORY_NEWEST: usize = 10;

/// History entries searched for a build to go back to, for a rollout that nobody saw the end of, and for the number that a
/// change is based on.
pub(crate) const HISTORY_MAX: usize = 200;

/// A service, as it was at one moment or so: znodes are read one by one.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// Its name.
    pub(crate) service: ServiceName,
    /// Where it is.
    pub(crate) tree: ServiceTree,
    /// `enabled`.
    pub(crate) enabled: Slot,
    /// `enabled/canary`.
    pub(crate) canary: Slot,
    /// Targets, roles and reports.
    pub(crate) state: State,
    /// The hold that is in force.
    pub(crate) hold: Option<Hold>,
    /// How rollouts go, or why that can't be read: agents grant nobody a lease then.
    pub(crate) policy: Result<Policy, String>,
    /// The restart queue, first come first.
    pub(crate) leases: Vec<Lease>,
    /// The newest rollouts, newest first: as many as were asked for.
    pub(crate) history: Vec<(u64, Entry)>,
}

/// A target znode with what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The znode, if it exists.
    pub(crate) znode: Option<Znode>,
    /// What it says.
    pub(crate) target: Result<Option<Target>, WireError>,
}

/// A place in the restart queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lease {
    /// The name of the znode.
    pub(crate) name: String,
    /// The number at its end.
    pub(crate) number: u64,
    /// The host.
    pub(crate) host: String,
    /// What is in it, where it can be read.
    pub(crate) claim: Option<LeaseClaim>,
}

impl Fleet {
    /// Reads a service, which must exist, and what happened to it last.
    ///
    /// # Errors
    /// `NotFound` where it does not exist; `Unreachable`.
    pub(crate) async fn read(context: &Context, service: &ServiceName) -> Result<Fleet, Problem> {
        Fleet::read_back(context, service, HISTORY_NEWEST).await
    }

    /// Reads a service with so many entries of its history.
    ///
    /// # Errors
    /// Those of [`Fleet::read`].
    pub(crate) async fn read_back(
        context: &Context,
        service: &ServiceName,
        entries: usize,
    ) -> Result<Fleet, Problem> {
        let tree = context.service(service).await?;
        let zk = &context.zk;
        let (enabled_path, canary_path) = (tree.enabled(), tree.canary());
        let (hold_path, policy_path) = (tree.hold(), tree.policy());
        let (enabled, canary, hold, policy, hosts, leases, history) = tokio::try_join!(
            zk.get(&enabled_path),
            zk.get(&canary_path),
            zk.get(&hold_path),
            zk.get(&policy_path),
            hosts(zk, &tree),
            leases(zk, &tree),
            history(zk, &tree, entries),
        )?;
        let (enabled, canary) = (Slot::new(enabled), Slot::new(canary));
        let targets = Targets {
            enabled: enabled.wanted(),
            canary: canary.wanted(),
        };
        let now = Timestamp::now();
        Ok(Fleet {
            state: State {
                service: service.clone(),
                targets,
                hosts,
            },
            service: service.clone(),
            tree,
            enabled,
            canary,
            hold: hold
                .map(|znode| Hold::read(&znode.data))
                .filter(|hold| hold.holds(now)),
            policy: policy_of(policy.as_ref()),
            leases,
            history,
        })
    }

    /// Returns the newest number that was given out for a change of a target, or for the taking away of a canary.
    pub(crate) fn newest_number(&self) -> Option<u64> {
        let newest = self.last_change().map(|(number, _)| *number);
        newest.max(self.state.targets.newest_rollout())
    }

    /// Returns which change the targets come from.
    pub(crate) fn version(&self) -> Version {
        let is_garbage = [&self.enabled, &self.canary]
            .into_iter()
            .any(|slot| slot.target.is_err());
        match is_garbage {
            true => Version::ByHand,
            false => version(&self.state.targets, &self.history, Timestamp::now()),
        }
    }

    /// Returns the newest entry of the history that changed a target.
    pub(crate) fn last_change(&self) -> Option<&(u64, Entry)> {
        self.history
            .iter()
            .find(|(_, entry)| entry.changes_targets())
    }

    /// Returns how many hosts may restart at a time, where the policy can be read.
    pub(crate) fn lease_limit(&self) -> Option<usize> {
        let policy = self.policy.as_ref().ok()?;
        Some(self.lease_limit_of(policy))
    }

    /// Returns how many hosts may restart at a time by this policy.
    pub(crate) fn lease_limit_of(&self, policy: &Policy) -> usize {
        let alive = self.state.hosts.values().filter(|host| host.alive).count();
        let limit = policy.restart_concurrency.hosts(alive as u64);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Returns the leases that are held, where the policy can be read.
    pub(crate) fn held_leases(&self) -> Option<&[Lease]> {
        let limit = self.lease_limit()?;
        Some(&self.leases[..limit.min(self.leases.len())])
    }

    /// Returns how many leases are held of how many: `1/2`, or `?`.
    pub(crate) fn shown_leases(&self) -> String {
        match (self.held_leases(), self.lease_limit()) {
            (Some(held), Some(limit)) => format!("{}/{limit}", held.len()),
            _ => "?".to_owned(),
        }
    }
}

impl Lease {
    /// Returns the place of a znode named `<host>-` and ten digits, without its claim. One of no host has a place as well:
    /// agents count it.
    pub(crate) fn of_name(name: String) -> Option<Lease> {
        let number = sequence(&name)?;
        let host = lease::host_of(&name).unwrap_or(&name).to_owned();
        Some(Lease {
            name,
            number,
            host,
            claim: None,
        })
    }
}

impl Slot {
    /// Decodes a target znode.
    pub(crate) fn new(znode: Option<Znode>) -> Slot {
        let target = znode
            .as_ref()
            .map_or(Ok(None), |znode| Target::read(&znode.data));
        Slot { znode, target }
    }

    /// Returns the target, if there is one that can be read.
    pub(crate) fn wanted(&self) -> Option<Target> {
        self.target.clone().ok().flatten()
    }

    /// Tells whether somebody wrote something into it, readable or not.
    pub(crate) fn is_written(&self) -> bool {
        !matches!(self.target, Ok(None))
    }
}

/// Decodes a policy; an absent one is the default.
pub(crate) fn policy_of(znode: Option<&Znode>) -> Result<Policy, String> {
    znode.map_or_else(
        || Ok(Policy::default()),
        |znode| wire::decode(&znode.data).map_err(|error| error.to_string()),
    )
}

/// Decodes a role; one that can't be read counts as `fleet`, where its host starts nothing.
pub(crate) fn role_of(data: Option<&[u8]>) -> Role {
    data.and_then(|data| wire::decode::<Assignment>(data).ok())
        .map_or(Role::Fleet, |assignment| assignment.role)
}

/// Puts a host together from its role and its report, as they were read last.
pub(crate) fn host_of(role: Option<&Znode>, report: Option<&Znode>) -> Host {
    // A report has no child but the sign of life: that there is one stands in what was read.
    let children = report.map_or(0, |znode| znode.stat.num_children);
    // Only a host that was never up has none; the parent of its sign of life is made empty.
    let decoded = report
        .filter(|znode| !znode.data.is_empty())
        .map(|znode| wire::decode(&znode.data));
    let (decoded, unreadable) = match decoded {
        Some(Ok(decoded)) => (Some(Arc::new(decoded)), None),
        Some(Err(error)) => (None, Some(WireError::to_string(&error))),
        None => (None, None),
    };
    Host {
        role: role_of(role.map(|znode| znode.data.as_slice())),
        alive: children > 0,
        report: decoded,
        unreadable,
        report_mzxid: report.map_or(0, |znode| znode.stat.mzxid),
    }
}

/// Waits for all of these, in their order. Each has a time to be answered in, which begins when it is begun: so not all are
/// begun at once, or the last of thousands would be given up, far from ZooKeeper, before it was sent.
async fn all<T>(
    reads: impl Iterator<Item = impl Future<Output = Result<T, Error>>>,
) -> Result<Vec<T>, Error> {
    iter(reads).buffered(READS_AT_ONCE).try_collect().await
}

async fn hosts(zk: &Zk, tree: &ServiceTree) -> Result<BTreeMap<HostName, Host>, Error> {
    let (hosts_path, roles_path) = (tree.hosts(), tree.roles());
    let (reporting, with_role) =
        tokio::try_join!(zk.children(&hosts_path), zk.children(&roles_path))?;
    let with_role = host_names(with_role);
    let names: BTreeSet<HostName> = &host_names(reporting) | &with_role;
    let reads = names.into_iter().map(|name| async {
        let report = tree.host(&name);
        // Most hosts of a large fleet have no role: what is not in the list is not asked for.
        let role = async {
            match with_role.contains(&name) {
                true => zk.get(&tree.role(&name)).await,
                false => Ok(None),
            }
        };
        let (role, report) = tokio::try_join!(role, zk.get(&report))?;
        Ok((name, host_of(role.as_ref(), report.as_ref())))
    });
    all(reads).await.map(BTreeMap::from_iter)
}

/// Returns those of the children that are hosts.
pub(crate) fn host_names(children: Option<Vec<String>>) -> BTreeSet<HostName> {
    let names = children.into_iter().flatten();
    names
        .filter_map(|name| HostName::parse(&name).ok())
        .collect()
}

async fn leases(zk: &Zk, tree: &ServiceTree) -> Result<Vec<Lease>, Error> {
    let path = tree.leases();
    let names = zk.children(&path).await?.unwrap_or_default();
    let reads = names.into_iter().filter_map(Lease::of_name).map(|lease| {
        let znode = format!("{path}/{}", lease.name);
        async move {
            let claim = zk
                .get(&znode)
                .await?
                .and_then(|znode| wire::decode(&znode.data).ok());
            Ok(Lease { claim, ..lease })
        }
    });
    let mut leases = all(reads).await?;
    leases.sort_by_key(|lease| lease.number);
    Ok(leases)
}

/// Reads the newest `limit` entries of the history, newest first. What can't be read is kept, with
/// the kind `?`: its number was given out.
///
/// # Errors
/// Those of the session.
pub(crate) async fn history(
    zk: &Zk,
    tree: &ServiceTree,
    limit: usize,
) -> Result<Vec<(u64, Entry)>, Error> {
    let names = zk.children(&tree.history()).await?.unwrap_or_default();
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| sequence(name)).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let reads = numbers.into_iter().take(limit).map(|number| async move {
        let znode = zk.get(&tree.rollout(number)).await?;
        Ok(znode.map(|znode| (number, entry_of(&znode.data))))
    });
    Ok(all(reads).await?.into_iter().flatten().collect())
}

/// Decodes an entry of the history; one that can't be read has the kind `?`.
pub(crate) fn entry_of(data: &[u8]) -> Entry {
    wire::decode(data).unwrap_or_else(|_| Entry {
        kind: "?".to_owned(),
        from: None,
        to: None,
        percent: None,
        host: None,
        by: None,
        at: None,
        why: None,
        nonce: None,
        outcome: None,
    })
}

/// Reads every build that is registered, with the time of registration in milliseconds.
///
/// # Errors
/// Those of the session.
pub(crate) async fn builds(
    zk: &Zk,
    tree: &ServiceTree,
) -> Result<BTreeMap<BuildName, (Result<Build, WireError>, i64)>, Error> {
    let names = zk.children(&tree.builds()).await?.unwrap_or_default();
    let names = names
        .into_iter()
        .filter_map(|name| BuildName::parse(&name).ok());
    let reads = names.map(|name| async move { Ok((zk.get(&tree.build(&name)).await?, name)) });
    let mut builds = BTreeMap::new();
    for (znode, name) in all(reads).await? {
        if let Some(znode) = znode {
            let build = wire::decode::<Build>(&znode.data);
            builds.insert(name, (build, znode.stat.ctime_ms));
        }
    }
    Ok(builds)
}

#[cfg(test)]
mod tests;
