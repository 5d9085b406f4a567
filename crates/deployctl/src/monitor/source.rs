//! Everything that the monitor shows, followed: services come and go, and of each the targets, the
//! reports, the restart queue, the policy and the newest rollouts are under a watch.
//!
//! It reads, and never writes. A change is passed on as a whole service, at most ten times a second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use deploy_core::name::ServiceName;
use deploy_core::rollout::{State, Targets};
use deploy_core::wire::policy::Policy;
use deploy_core::wire::{self};
use deploy_core::znode::{Root, ServiceTree, sequence};
use deploy_zk::bell::Bell;
use deploy_zk::link::Link;
use deploy_zk::seen::{Seen, View};
use deploy_zk::zk::Zk;
use deploy_zk::znode::Znode;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use crate::context::Context;
use crate::fleet::{Fleet, HISTORY_NEWEST, Lease, entry_of, policy_of};
use crate::problem::Problem;
use crate::watches::{Look, Watches};

/// The shortest time between two looks: a large fleet reports hundreds of times a second.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Which services are followed.
pub(crate) enum Wanted {
    /// All that there are, whenever they come.
    All,
    /// These.
    Named(BTreeSet<ServiceName>),
}

/// What a look brings.
#[derive(Debug)]
pub(crate) enum News {
    /// A service, as it is now.
    Fleet(Box<Fleet>),
    /// A service that may not be read, and why.
    Refused(ServiceName, String),
    /// A service is gone.
    Gone(ServiceName),
    /// The view of ZooKeeper changed.
    Link(LinkSeen),
}

/// How good the view of ZooKeeper is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkSeen {
    /// Everything that was read is what there is.
    Current,
    /// The link is up, and not everything was read over it yet.
    Reading,
    /// There is no link.
    Down,
}

/// The watches.
pub(crate) struct Source {
    zk: Zk,
    root: Root,
    bell: Bell,
    link: Receiver<Link>,
    wanted: Wanted,
    /// The children of the root; of use only where all services are wanted.
    names: Receiver<Seen<Vec<String>>>,
    services: BTreeMap<ServiceName, Followed>,
    told: Option<LinkSeen>,
    /// The link over which everything was read once. A host or a rollout that is new then is news, and
    /// makes nothing else old.
    read_over: Option<u64>,
    next_look: Instant,
}

struct Followed {
    zk: Zk,
    service: ServiceName,
    tree: ServiceTree,
    watches: Watches,
    policy: Receiver<Seen<Znode>>,
    leases: Receiver<Seen<Vec<String>>>,
    history: Receiver<Seen<Vec<String>>>,
    entries: BTreeMap<u64, Receiver<Seen<Znode>>>,
    is_current: bool,
}

impl Source {
    /// Starts to follow.
    pub(crate) fn start(context: &Context, wanted: Wanted) -> Source {
        Source {
            zk: context.zk.clone(),
            root: context.root.clone(),
            bell: context.zk.bell(),
            link: context.zk.link(),
            wanted,
            names: context.zk.watch_children(context.root.path()),
            services: BTreeMap::new(),
            told: None,
            read_over: None,
            next_look: Instant::now(),
        }
    }

    /// Waits for news and returns them with itself: so the wait can go on while other things happen.
    pub(crate) async fn next(mut self) -> (Source, Vec<News>) {
        loop {
            sleep_until(self.next_look).await;
            if self.told.is_some() {
                self.bell.rings().await;
            }
            self.next_look = Instant::now() + LOOK_PAUSE;
            let news = self.look();
            if !news.is_empty() {
                return (self, news);
            }
        }
    }

    fn look(&mut self) -> Vec<News> {
        self.bell.silence();
        let mut news = self.follow_services();
        for followed in self.services.values_mut() {
            if followed.has_news() || !followed.is_current {
                news.extend(followed.look());
            }
        }
        let has_names = match &self.wanted {
            Wanted::All => !matches!(self.names.borrow().view, View::Unknown),
            Wanted::Named(_) => true,
        };
        let all_read = has_names && self.services.values().all(|followed| followed.is_current);
        let link = match &*self.link.borrow_and_update() {
            Link::Up { epoch, .. } => {
                if all_read {
                    self.read_over = Some(*epoch);
                }
                if self.read_over == Some(*epoch) {
                    LinkSeen::Current
                } else {
                    LinkSeen::Reading
                }
            }
            Link::Down { .. } | Link::Closed => LinkSeen::Down,
        };
        if self.told.replace(link) != Some(link) {
            news.push(News::Link(link));
        }
        news
    }

    /// Begins with services that are new, and leaves those that are gone.
    fn follow_services(&mut self) -> Vec<News> {
        let names = match &self.wanted {
            Wanted::Named(names) => names.clone(),
            Wanted::All => match &self.names.borrow_and_update().view {
                View::Present(names) => names
                    .iter()
                    .filter_map(|name| ServiceName::parse(name).ok())
                    .collect(),
                View::Absent => BTreeSet::new(),
                View::Unknown => return Vec::new(),
            },
        };
        let gone: Vec<ServiceName> = self
            .services
            .extract_if(.., |name, _| !names.contains(name))
            .map(|(name, _)| name)
            .collect();
        for name in names {
            let (zk, root) = (&self.zk, &self.root);
            self.services
                .entry(name)
                .or_insert_with_key(|name| Followed::start(zk, root, name));
        }
        gone.into_iter().map(News::Gone).collect()
    }
}

impl Followed {
    fn start(zk: &Zk, root: &Root, service: &ServiceName) -> Followed {
        let tree = root.service(service);
        Followed {
            watches: Watches::start(zk, &tree, service),
            policy: zk.watch(&tree.policy()),
            leases: zk.watch_children(&tree.leases()),
            history: zk.watch_children(&tree.history()),
            entries: BTreeMap::new(),
            zk: zk.clone(),
            service: service.clone(),
            tree,
            is_current: false,
        }
    }

    fn has_news(&self) -> bool {
        let is_new = |watch: &Receiver<Seen<Znode>>| watch.has_changed().unwrap_or(false);
        let lists = [&self.leases, &self.history];
        self.watches.has_news()
            || is_new(&self.policy)
            || lists.iter().any(|list| list.has_changed().unwrap_or(false))
            || self.entries.values().any(is_new)
    }

    fn look(&mut self) -> Option<News> {
        let policy = policy(&self.policy.borrow_and_update());
        let all_read = self.follow_history() && policy.is_some();
        let leases = self.leases.borrow_and_update().view.present().cloned();
        let look = self.watches.look();
        self.is_current = matches!(look, Look::Current(_) | Look::Refused(_)) && all_read;
        let (sight, policy) = match (look, policy) {
            (Look::Current(sight), Some(policy)) if all_read => (sight, policy),
            (Look::Refused(error), _) => {
                let why = Problem::from(error).what;
                return Some(News::Refused(self.service.clone(), why));
            }
            (Look::Current(_) | Look::Loading | Look::Down, _) => return None,
        };
        let [enabled, canary] = self.watches.slots();
        let targets = Targets {
            enabled: enabled.wanted(),
            canary: canary.wanted(),
        };
        Some(News::Fleet(Box::new(Fleet {
            service: self.service.clone(),
            tree: self.tree.clone(),
            enabled,
            canary,
            state: State {
                targets,
                ..sight.state
            },
            hold: sight.hold,
            policy,
            leases: queue(leases.unwrap_or_default()),
            history: self.newest_entries(),
        })))
    }

    /// Follows the newest entries, and tells whether all of them were read.
    fn follow_history(&mut self) -> bool {
        let (mut numbers, is_known): (Vec<u64>, bool) = {
            let seen = self.history.borrow_and_update();
            let names = seen.view.present().map_or(&[][..], |names| names);
            let numbers = names.iter().filter_map(|name| sequence(name)).collect();
            let is_known = !matches!(seen.view, View::Unknown) || seen.refused.is_some();
            (numbers, is_known)
        };
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.truncate(HISTORY_NEWEST);
        self.entries.retain(|number, _| numbers.contains(number));
        for number in numbers {
            let (zk, tree) = (&self.zk, &self.tree);
            self.entries
                .entry(number)
                .or_insert_with(|| zk.watch_present(&tree.rollout(number)));
        }
        let is_read = |entry: &mut Receiver<Seen<Znode>>| {
            let seen = entry.borrow_and_update();
            !matches!(seen.view, View::Unknown) || seen.refused.is_some()
        };
        // Not `all`, which stops at the first: each of them is to be marked as seen.
        let read = self.entries.values_mut().map(is_read);
        read.fold(is_known, |all, one| all && one)
    }

    fn newest_entries(&self) -> Vec<(u64, wire::history::Entry)> {
        let newest_first = self.entries.iter().rev();
        newest_first
            .filter_map(|(number, entry)| {
                let seen = entry.borrow();
                let znode = seen.view.present()?;
                Some((*number, entry_of(&znode.data)))
            })
            .collect()
    }
}

/// Returns the policy, or why it can't be read; `None` before it was read.
fn policy(seen: &Seen<Znode>) -> Option<Result<Policy, String>> {
    match (&seen.refused, &seen.view) {
        (Some(error), _) => {
            let why = Problem::from(error.clone()).what;
            Some(Err(format!("the policy can't be read: {why}")))
        }
        (None, View::Unknown) => None,
        (None, view) => Some(policy_of(view.present())),
    }
}

/// Returns the restart queue, first come first; the claims themselves are not read.
fn queue(names: Vec<String>) -> Vec<Lease> {
    let mut leases: Vec<Lease> = names.into_iter().filter_map(Lease::of_name).collect();
    leases.sort_by_key(|lease| lease.number);
    leases
}
