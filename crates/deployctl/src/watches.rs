//! A service, followed: every target, role, report and sign of life under a watch.

use std::collections::{BTreeMap, BTreeSet};

use deploy_core::name::{HostName, ServiceName};
use deploy_core::rollout::{Host, State, Targets};
use deploy_core::wire::hold::Hold;
use deploy_core::znode::ServiceTree;
use deploy_zk::error::Error;
use deploy_zk::link::Link;
use deploy_zk::seen::{Seen, View};
use deploy_zk::zk::Zk;
use deploy_zk::znode::Znode;
use jiff::Timestamp;
use tokio::sync::watch::Receiver;

use crate::fleet::{Slot, host_names, host_of};

/// Watches on everything that decides how far a rollout is.
pub(crate) struct Watches {
    zk: Zk,
    tree: ServiceTree,
    service: ServiceName,
    link: Receiver<Link>,
    enabled: Receiver<Seen<Znode>>,
    canary: Receiver<Seen<Znode>>,
    hold: Receiver<Seen<Znode>>,
    roles: Receiver<Seen<Vec<String>>>,
    reporting: Receiver<Seen<Vec<String>>>,
    hosts: BTreeMap<HostName, HostWatches>,
}

struct HostWatches {
    /// Only where the list of roles has it: most hosts of a large fleet have none.
    role: Option<Receiver<Seen<Znode>>>,
    report: Receiver<Seen<Znode>>,
    alive: Receiver<Seen<Znode>>,
    /// What they said last: a look at a large fleet decodes only what is new.
    host: Host,
    /// The role came or went.
    is_other: bool,
}

/// What a look at a service finds.
#[derive(Debug)]
pub(crate) enum Look {
    /// The service as it is now.
    Current(Box<Sight>),
    /// Something was not read yet, or not since the link is back.
    Loading,
    /// There is no link; what was seen last may be out of date.
    Down,
    /// A znode must not be read.
    Refused(Error),
}

/// A service at one moment.
#[derive(Debug)]
pub(crate) struct Sight {
    /// Targets, roles and reports.
    pub(crate) state: State,
    /// The hold in force.
    pub(crate) hold: Option<Hold>,
}

impl Watches {
    /// Starts to follow a service.
    pub(crate) fn start(zk: &Zk, tree: &ServiceTree, service: &ServiceName) -> Watches {
        Watches {
            link: zk.link(),
            enabled: zk.watch_present(&tree.enabled()),
            canary: zk.watch(&tree.canary()),
            hold: zk.watch(&tree.hold()),
            roles: zk.watch_children(&tree.roles()),
            reporting: zk.watch_children(&tree.hosts()),
            hosts: BTreeMap::new(),
            zk: zk.clone(),
            tree: tree.clone(),
            service: service.clone(),
        }
    }

    /// Looks at what there is now.
    pub(crate) fn look(&mut self) -> Look {
        let link = self.link.borrow_and_update().clone();
        let mut gaze = Gaze {
            link,
            loading: false,
            refused: None,
        };
        let enabled = gaze.at(&mut self.enabled);
        let canary = gaze.at(&mut self.canary);
        let hold = gaze.at(&mut self.hold);
        let with_role = host_names(gaze.at(&mut self.roles));
        let reporting = host_names(gaze.at(&mut self.reporting));
        self.follow_hosts(&with_role, &reporting);
        for watches in self.hosts.values_mut() {
            watches.look(&mut gaze);
        }
        if !gaze.link.is_up() {
            return Look::Down;
        }
        if let Some(error) = gaze.refused {
            return Look::Refused(error);
        }
        if gaze.loading {
            return Look::Loading;
        }
        let hosts = self.hosts.iter();
        let hosts = hosts
            .map(|(name, watches)| (name.clone(), watches.host.clone()))
            .collect();
        let targets = Targets {
            enabled: Slot::new(enabled).wanted(),
            canary: Slot::new(canary).wanted(),
        };
        let now = Timestamp::now();
        Look::Current(Box::new(Sight {
            state: State {
                service: self.service.clone(),
                targets,
                hosts,
            },
            hold: hold
                .map(|znode| Hold::read(&znode.data))
                .filter(|hold| hold.holds(now)),
        }))
    }

    /// Returns the two target znodes as they were seen last: `enabled` and `enabled/canary`.
    pub(crate) fn slots(&self) -> [Slot; 2] {
        [&self.enabled, &self.canary].map(|watch| Slot::new(watch.borrow().view.present().cloned()))
    }

    /// Tells whether there is something new to look at.
    pub(crate) fn has_news(&self) -> bool {
        is_new(&self.link)
            || [&self.enabled, &self.canary, &self.hold]
                .into_iter()
                .any(is_new)
            || [&self.roles, &self.reporting].into_iter().any(is_new)
            || self.hosts.values().any(HostWatches::has_news)
    }

    fn follow_hosts(&mut self, with_role: &BTreeSet<HostName>, reporting: &BTreeSet<HostName>) {
        let names = with_role | reporting;
        self.hosts.retain(|name, _| names.contains(name));
        let (zk, tree) = (&self.zk, &self.tree);
        for name in names {
            let has_role = with_role.contains(&name);
            let role = has_role.then(|| tree.role(&name));
            let watches = self
                .hosts
                .entry(name)
                .or_insert_with_key(|name| HostWatches {
                    role: None,
                    report: zk.watch_present(&tree.host(name)),
                    alive: zk.watch_present(&tree.alive(name)),
                    host: Host::default(),
                    is_other: false,
                });
            if watches.role.is_some() != has_role {
                watches.role = role.map(|path| zk.watch_present(&path));
                watches.is_other = true;
            }
        }
    }
}

impl HostWatches {
    fn has_news(&self) -> bool {
        let watches = [&self.report, &self.alive].into_iter().chain(&self.role);
        self.is_other || watches.into_iter().any(is_new)
    }

    fn look(&mut self, gaze: &mut Gaze) {
        let is_new = self.has_news();
        self.is_other = false;
        let watches = [&mut self.report, &mut self.alive].into_iter();
        for watch in watches.chain(&mut self.role) {
            gaze.glance(watch);
        }
        if is_new {
            let role = self.role.as_ref().map(Receiver::borrow);
            let [report, alive] = [&self.report, &self.alive].map(Receiver::borrow);
            let role = role.as_ref().and_then(|role| role.view.present());
            self.host = Host {
                // A watch on the report tells nothing of its children.
                alive: alive.view.present().is_some(),
                ..host_of(role, report.view.present())
            };
        }
    }
}

/// A watch whose session is closed has no news.
fn is_new<T>(watch: &Receiver<T>) -> bool {
    watch.has_changed().unwrap_or(false)
}

/// One look over many watches.
struct Gaze {
    link: Link,
    loading: bool,
    refused: Option<Error>,
}

impl Gaze {
    fn at<T: Clone>(&mut self, watch: &mut Receiver<Seen<T>>) -> Option<T> {
        self.glance(watch);
        watch.borrow().view.present().cloned()
    }

    /// Looks whether it is known, and does not take it along.
    fn glance<T>(&mut self, watch: &mut Receiver<Seen<T>>) {
        let seen = watch.borrow_and_update();
        if let Some(error) = &seen.refused {
            self.refused.get_or_insert_with(|| error.clone());
        }
        if !seen.is_current(&self.link) || matches!(seen.view, View::Unknown) {
            self.loading = true;
        }
    }
}
