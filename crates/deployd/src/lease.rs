//! This host's place in the restart queue.
//!
//! A lease is a persistent znode that belongs to the host, not to a session: it outlives a crash
//! and a lost session, and is found again at start. Who has no lease watches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use deploy_core::lease::{self, Follow, of_host};
use deploy_core::name::HostName;
use deploy_core::observed::Lease;
use deploy_core::wire::lease::LeaseClaim;
use deploy_core::wire::policy::{Concurrency, Policy};
use deploy_core::wire::{self, WireError};
use deploy_core::znode::ServiceTree;
use deploy_zk::error::Error;
use deploy_zk::seen::{Seen, View};
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Znode};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, sleep_until};

mod lapsed;
mod limit;

/// How often a host that waits far behind looks all the same: the one that it waits for may have failed, and keep its
/// lease for ever. It asks how many leases were given back, and reads the queue only where its turn may be near.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// How long after a look that has failed the next one is taken, if nothing changes before.
const AGAIN_TIME: Duration = Duration::from_secs(5);

/// This host's place in the restart queue of a service.
pub(crate) struct LeaseQueue {
    zk: Zk,
    tree: ServiceTree,
    host: HostName,
    /// The name of our lease.
    own: Option<String>,
    /// What tells that our turn may have come.
    followed: Followed,
    policy: watch::Receiver<Seen<Znode>>,
    state: Lease,
    /// Since when other hosts with a lease were seen dead.
    dead: BTreeMap<String, Instant>,
    /// Whether the queue was looked at for a lease of an earlier run.
    searched: bool,
    /// How many leases were given back ever, before the queue was read last.
    given_back: Option<u32>,
    /// When to look again, where the last look has failed.
    again: Option<Instant>,
}

/// What is followed in ZooKeeper.
enum Followed {
    Nothing,
    Queue(watch::Receiver<Seen<Vec<String>>>),
    /// Our own lease, or one ahead; and what is known of the queue.
    One(String, watch::Receiver<Seen<Znode>>, Place),
}

impl Followed {
    /// Completes when it has changed, or with an error when the session is closed. Cancel-safe.
    async fn changed(&mut self) -> Result<(), RecvError> {
        match self {
            Followed::Nothing => std::future::pending().await,
            Followed::Queue(queue) => queue.changed().await,
            Followed::One(_, one, _) => one.changed().await,
        }
    }
}

/// What is known of a place far behind.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// When we looked last.
    looked: Instant,
    /// How many leases were before ours.
    before: usize,
    /// How many were given back ever, at that time or a little earlier.
    given_back: Option<u32>,
}

/// Why a place in the queue can't be had, kept or told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    /// ZooKeeper says no, or nothing.
    #[error(transparent)]
    ZooKeeper(#[from] Error),
    /// How many hosts may be out of service can't be told.
    #[error(transparent)]
    Policy(#[from] WireError),
}

impl LeaseQueue {
    /// Starts without a lease; [`LeaseQueue::look`] finds one of an earlier run.
    pub(crate) fn new(zk: Zk, tree: ServiceTree, host: HostName) -> LeaseQueue {
        let policy = zk.watch(&tree.policy());
        LeaseQueue {
            zk,
            tree,
            host,
            own: None,
            followed: Followed::Nothing,
            policy,
            state: Lease::None,
            dead: BTreeMap::new(),
            searched: false,
            given_back: None,
            again: None,
        }
    }

    /// Our place, as it was when [`LeaseQueue::look`] was called last.
    pub(crate) fn state(&self) -> Lease {
        self.state
    }

    /// Asks for a lease: a place at the end of the queue, unless we have one. A reply that is lost
    /// makes no second one.
    ///
    /// # Errors
    /// Where ZooKeeper says no, or nothing.
    pub(crate) async fn ask(&mut self, rollout: Option<u64>) -> Result<(), LeaseError> {
        self.search().await?;
        if self.own.is_some() {
            return Ok(());
        }
        let claim = LeaseClaim {
            host: self.host.clone(),
            machine_id: read("/etc/machine-id"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            nonce: format!("{:032x}", fastrand::u128(..)),
            rollout,
            since: Some(wire::time::render(Timestamp::now())),
        };
        let prefix = self.tree.lease_prefix(&self.host);
        self.zk.create_parents(&prefix).await?;
        let path = self
            .zk
            .create_sequential(&prefix, &wire::encode(&claim))
            .await?;
        self.take(&path);
        tracing::info!(lease = %path, "asked for a lease");
        Ok(())
    }

    /// Gives the lease back. One that is gone already was broken by an operator.
    ///
    /// # Errors
    /// Where ZooKeeper says no, or nothing.
    pub(crate) async fn give_back(&mut self) -> Result<(), LeaseError> {
        self.search().await?;
        let Some(name) = &self.own else {
            return Ok(());
        };
        let path = format!("{}/{name}", self.tree.leases());
        match self.zk.delete(&path, Expect::Any).await {
            Ok(()) | Err(Error::NoNode(_)) => {}
            Err(error) => return Err(error.into()),
        }
        tracing::info!(lease = %path, "gave the lease back");
        self.drop_own();
        Ok(())
    }

    /// Looks where we stand. Keeps what it knew where ZooKeeper can't be asked.
    ///
    /// # Errors
    /// Where ZooKeeper says no, or the policy can't be read: then nobody is granted anything new.
    pub(crate) async fn look(&mut self) -> Result<(), LeaseError> {
        let result = self.look_now().await;
        self.again = result.is_err().then(|| Instant::now() + AGAIN_TIME);
        result
    }

    async fn look_now(&mut self) -> Result<(), LeaseError> {
        self.search().await?;
        let Some(name) = self.own.clone() else {
            self.state = Lease::None;
            return Ok(());
        };
        if self.all_are_granted(&name).await? {
            self.state = Lease::Held;
            let place = Place {
                looked: Instant::now(),
                before: 0,
                given_back: None,
            };
            self.follow(Follow::Own, name, place);
            return Ok(());
        }
        let Some(children) = self.queue().await? else {
            return Ok(());
        };
        let policy = self.policy()?;
        let Some(before) = lease::before(&name, &children) else {
            tracing::warn!(lease = %name, "the lease was broken by somebody");
            self.drop_own();
            return Ok(());
        };
        // Held once is held: a smaller policy takes nothing away from who is out of service.
        let limit = match self.state {
            Lease::Held => u64::MAX,
            Lease::None | Lease::Queued => self.limit(&policy, before.len() as u64).await?,
        };
        let lapsed = match policy.lease_reclaim_s {
            Some(seconds) => self.lapsed((&before, limit), seconds).await?,
            None => BTreeSet::new(),
        };
        let before: Vec<_> = before
            .into_iter()
            .filter(|name| !lapsed.contains(*name))
            .collect();
        let follow = lease::follow(&before, limit);
        self.state = if follow == Follow::Own {
            Lease::Held
        } else {
            Lease::Queued
        };
        let place = Place {
            looked: Instant::now(),
            before: before.len(),
            given_back: self.given_back,
        };
        self.follow(follow, name, place);
        Ok(())
    }

    /// Tells, of a new place in the queue, whether everybody in it is granted a lease: then nobody needs to read it, which is long
    /// where many may restart at a time.
    async fn all_are_granted(&mut self, own: &str) -> Result<bool, LeaseError> {
        if self.state == Lease::Held || !matches!(self.followed, Followed::Nothing) {
            return Ok(false);
        }
        let policy = self.policy()?;
        let own = format!("{}/{own}", self.tree.leases());
        let (Some(own), Some(queue)) = (
            self.zk.get(&own).await?,
            self.zk.get(&self.tree.leases()).await?,
        ) else {
            return Ok(false);
        };
        let length = lease::Length {
            leases: queue.stat.num_children.unsigned_abs().into(),
            changed_by: queue.stat.pzxid,
        };
        let before = length.leases.saturating_sub(1);
        let limit = self.limit(&policy, before).await?;
        Ok(lease::all_are_granted(length, own.stat.czxid, limit))
    }

    /// Returns the queue, where there is something new in it.
    async fn queue(&mut self) -> Result<Option<Vec<String>>, LeaseError> {
        match &mut self.followed {
            Followed::Queue(queue) => Ok(match queue.borrow_and_update().view.clone() {
                View::Present(children) => Some(children),
                View::Absent => Some(Vec::new()),
                View::Unknown => None,
            }),
            Followed::One(_, one, place) => {
                let gone = matches!(one.borrow_and_update().view, View::Absent);
                let patient = self.state == Lease::Held || place.looked.elapsed() < LOOK_TIME;
                if !gone && (patient || self.is_still_far().await?) {
                    Ok(None)
                } else {
                    Ok(Some(self.read_queue().await?))
                }
            }
            Followed::Nothing => Ok(Some(self.read_queue().await?)),
        }
    }

    async fn read_queue(&mut self) -> Result<Vec<String>, Error> {
        // First how many were given back, then who is left: so what is given back in between counts twice, and a host
        // that is near is never taken for one that is far.
        self.given_back = self.count_given_back().await?;
        self.children().await
    }

    async fn children(&self) -> Result<Vec<String>, Error> {
        Ok(self
            .zk
            .children(&self.tree.leases())
            .await?
            .unwrap_or_default())
    }

    /// How many leases of the service were given back ever.
    async fn count_given_back(&self) -> Result<Option<u32>, Error> {
        let queue = self.zk.get(&self.tree.leases()).await?;
        let stat = queue.map(|queue| queue.stat);
        Ok(stat.map(|stat| lease::given_back(stat.children_version, stat.num_children)))
    }

    /// Tells whether our turn can't be near, without reading the queue, which is long. Notes that we looked.
    async fn is_still_far(&mut self) -> Result<bool, LeaseError> {
        let policy = self.policy()?;
        let now = self.count_given_back().await?;
        let limit = self.most(&policy).await?;
        let Followed::One(_, _, place) = &mut self.followed else {
            return Ok(false);
        };
        let (Some(then), Some(now), None) = (place.given_back, now, policy.lease_reclaim_s) else {
            return Ok(false);
        };
        place.looked = Instant::now();
        Ok(lease::is_far(place.before, now.wrapping_sub(then), limit))
    }

    fn follow(&mut self, follow: Follow, own: String, place: Place) {
        let name = match follow {
            Follow::Queue => {
                if !matches!(self.followed, Followed::Queue(_)) {
                    let queue = self.zk.watch_children(&self.tree.leases());
                    self.followed = Followed::Queue(queue);
                }
                return;
            }
            Follow::Own => own,
            Follow::Ahead(name) => name,
        };
        match &mut self.followed {
            Followed::One(followed, _, known) if *followed == name => *known = place,
            _ => {
                let path = format!("{}/{name}", self.tree.leases());
                let one = self.zk.watch_until_gone(&path);
                self.followed = Followed::One(name, one, place);
            }
        }
    }

    fn drop_own(&mut self) {
        self.own = None;
        self.followed = Followed::Nothing;
        self.state = Lease::None;
        self.dead.clear();
    }

    /// Completes when our standing may have changed, or it is time to look. Never, where we have no lease.
    ///
    /// Only a look takes it further: where none follows, as without a link, it must not be waited for again.
    pub(crate) async fn changed(&mut self) {
        if self.own.is_none() {
            return std::future::pending().await;
        }
        let look = self.next_look();
        // Cancel-safe: all only wait for a version of a watch, or for a time.
        let result = tokio::select! {
            result = self.followed.changed() => result,
            result = self.policy.changed() => result,
            () = at(look) => return,
        };
        if result.is_err() {
            // The session is closed: nothing will change any more.
            std::future::pending().await
        }
    }

    /// When to look though nothing has changed.
    fn next_look(&self) -> Option<Instant> {
        match (self.again, &self.followed) {
            // The last look has failed: the next would, too, if it were taken at once.
            (Some(again), _) => Some(again),
            (None, Followed::One(_, _, place)) if self.state == Lease::Queued => {
                Some(place.looked + LOOK_TIME)
            }
            (None, _) => None,
        }
    }

    /// Finds the lease of an earlier run, once.
    async fn search(&mut self) -> Result<(), Error> {
        if self.searched {
            return Ok(());
        }
        let children = self
            .zk
            .children(&self.tree.leases())
            .await?
            .unwrap_or_default();
        self.searched = true;
        if let Some(name) = of_host(&self.host, &children).first() {
            let path = format!("{}/{name}", self.tree.leases());
            self.take(&path);
        }
        Ok(())
    }

    /// Who has a place is queued, whatever can or can't be told of it: else it would ask for one again.
    fn take(&mut self, path: &str) {
        self.own = Some(path.rsplit('/').next().unwrap_or(path).to_owned());
        self.followed = Followed::Nothing;
        self.state = Lease::Queued;
    }

    fn policy(&mut self) -> Result<Policy, WireError> {
        match &self.policy.borrow_and_update().view {
            View::Present(znode) => wire::decode::<Policy>(&znode.data),
            // Not read yet: the least that any policy allows.
            View::Unknown => Ok(Policy {
                restart_concurrency: Concurrency::Hosts(1),
                lease_reclaim_s: None,
            }),
            View::Absent => Ok(Policy::default()),
        }
    }
}

/// Completes at a time, if there is one. Cancel-safe.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}
