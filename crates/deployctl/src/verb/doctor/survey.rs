//! Everything below the root, read once, with who may do what. Nothing is written.

use std::collections::BTreeMap;

use deploy_core::lease::host_of;
use deploy_core::name::HostName;
use deploy_core::wire::alive::Alive;
use deploy_core::wire::hold::Hold;
use deploy_core::wire::policy::Policy;
use deploy_core::wire::report::Report;
use deploy_core::wire::{self};
use deploy_core::znode::kind::Kind;
use deploy_core::znode::sequence;
use deploy_zk::acl::Grant;
use deploy_zk::error::Error;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Stat, Znode};

use crate::tree::walk;

/// Znodes looked at.
pub(super) const ZNODES_MAX: usize = 200_000;

/// The tree.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The path of the root.
    pub(super) root: String,
    /// In the order of paths, the root first.
    pub(super) znodes: Vec<Found>,
    /// Whether there are more.
    pub(super) is_cut: bool,
}

/// A znode.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) path: String,
    /// Its data; nothing where we may not read it.
    pub(super) znode: Option<Znode>,
    /// Who may do what; nothing where we may not know it.
    pub(super) grants: Option<Vec<Grant>>,
}

/// A service, put together from its znodes.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) hosts: BTreeMap<HostName, Host>,
    pub(super) hold: Option<Hold>,
    pub(super) policy: Policy,
    /// The hosts in the restart queue, first come first.
    pub(super) queue: Vec<String>,
}

/// A host of a service.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// The version of its agent, while that has a session.
    pub(super) alive: Option<String>,
    pub(super) report: Option<(Report, Stat)>,
    /// Whether there is a report that we may not read.
    pub(super) is_hidden: bool,
}

impl Survey {
    /// Reads the tree at `root`. What we may not read is told as such.
    ///
    /// # Errors
    /// Those of the session; not `NoAuth`.
    pub(super) async fn read(zk: &Zk, root: &str) -> Result<Survey, Error> {
        let visit = |path: String| async move {
            let (znode, children, grants) =
                tokio::join!(zk.get(&path), zk.children(&path), zk.acl(&path));
            let (znode, children, grants) = (may(znode)?, may(children)?, may(grants)?);
            if matches!(znode, Some(None)) {
                return Ok(None);
            }
            let found = (znode.flatten(), grants.flatten());
            Ok(Some((found, children.flatten().unwrap_or_default())))
        };
        let walk = walk(root, ZNODES_MAX, visit).await?;
        let found = |(path, (znode, grants))| Found {
            path,
            znode,
            grants,
        };
        Ok(Survey {
            root: root.to_owned(),
            znodes: walk.found.into_iter().map(found).collect(),
            is_cut: walk.is_cut,
        })
    }

    /// Returns the names of a path below the root.
    pub(super) fn names<'a>(&self, path: &'a str) -> Vec<&'a str> {
        let below = path.strip_prefix(&self.root).unwrap_or_default();
        below.split('/').filter(|name| !name.is_empty()).collect()
    }

    /// Puts the services together.
    pub(super) fn services(&self) -> BTreeMap<String, Service> {
        let mut services: BTreeMap<String, Service> = BTreeMap::new();
        let mut queues: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
        for found in &self.znodes {
            let names = self.names(&found.path);
            let kind = Kind::of(&names);
            let Some(name) = names.first().filter(|_| kind != Kind::Unknown) else {
                continue;
            };
            let service = services.entry((*name).to_owned()).or_default();
            if let (Kind::Lease, Some(lease)) = (kind, names.last()) {
                let place = sequence(lease).zip(host_of(lease));
                let queue = queues.entry((*name).to_owned()).or_default();
                queue.extend(place.map(|(number, host)| (number, host.to_owned())));
            }
            service.add(kind, &names, found);
        }
        for (name, queue) in queues {
            services.entry(name).or_default().queue = queue.into_values().collect();
        }
        services
    }
}

impl Service {
    fn add(&mut self, kind: Kind, names: &[&str], found: &Found) {
        let data = found.znode.as_ref().map_or(&[][..], |znode| &znode.data);
        let host = names.get(2).and_then(|name| HostName::parse(name).ok());
        match (kind, host) {
            (Kind::Hold, _) => self.hold = Some(Hold::read(data)),
            (Kind::Policy, _) => self.policy = wire::decode(data).unwrap_or_default(),
            (Kind::Role, Some(host)) => {
                self.hosts.entry(host).or_default();
            }
            (Kind::Report, Some(host)) => {
                let stat = found.znode.as_ref().map(|znode| znode.stat);
                let known = self.hosts.entry(host).or_default();
                known.report = wire::decode(data).ok().zip(stat);
                known.is_hidden = found.znode.is_none();
            }
            (Kind::Alive, Some(host)) => {
                let agent = wire::decode::<Alive>(data).map(|alive| alive.agent);
                self.hosts.entry(host).or_default().alive = Some(agent.unwrap_or_default());
            }
            _ => {}
        }
    }

    /// Returns how many hosts may be out of service at a time.
    pub(super) fn lease_limit(&self) -> usize {
        let alive = self.hosts.values().filter(|host| host.alive.is_some());
        let limit = self.policy.restart_concurrency.hosts(alive.count() as u64);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }
}

/// What we may not do is nothing, not an error.
fn may<T>(done: Result<T, Error>) -> Result<Option<T>, Error> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Error::NoAuth(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
