//! This host's place in the restart queue.
//!
//! A lease is a persistent znode that belongs to the host, not to a session: it outlives a crash
//! and a lost session, and is found again at start.
//!
//! Who wants one joins the queue where there is room in it, and waits outside where there is none: what each of them asks for
//! does not depend on how many there are. See `deploy_core::lease::crowd`.
//!
//! ```text
//! lease    joins, looks, leaves: what the list of names says
//! counted  what the number of leases says: waiting outside of a queue, or for a long one to get short
//! limit    how many hosts may be out of service
//! lapsed   the leases of the dead
//! own      our znode: made, found again, given back
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use deploy_core::lease::crowd::{self, Joined, Tally};
use deploy_core::lease::{self, Follow};
use deploy_core::name::HostName;
use deploy_core::observed::Lease;
use deploy_core::wire::policy::{Concurrency, Policy};
use deploy_core::wire::{self, WireError};
use deploy_core::znode::ServiceTree;
use deploy_zk::error::Error;
use deploy_zk::seen::{Seen, View};
use deploy_zk::zk::Zk;
use deploy_zk::znode::Znode;
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, sleep_until};

use self::counted::{Outside, Pace};

mod counted;
mod lapsed;
mod limit;
mod own;

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
    /// Whether the queue was looked at for a lease of ours that we don't know of.
    searched: bool,
    /// When we look by ourselves, where nothing tells us to.
    pace: Pace,
    /// What was counted a little before the queue was read last.
    counted: Option<Tally>,
    /// Names among the leases that are none, as the list said last.
    strangers: u64,
    /// What we asked for a lease for.
    rollout: Option<u64>,
    /// By which policy our place was judged last.
    judged_by: Option<i64>,
    /// When it was found that all who live have a mark.
    all_marked: Option<Instant>,
    /// When to look again, where the last look has failed.
    again: Option<Instant>,
}

/// What is followed in ZooKeeper.
enum Followed {
    Nothing,
    /// The number of leases: whether there is room.
    Outside(Outside),
    /// The same: we are in a queue since then that is long, and most likely gets short by itself.
    Length(Instant),
    Queue(watch::Receiver<Seen<Vec<String>>>),
    /// Our own lease, or one ahead, and how many were before ours when the queue was read.
    One(String, watch::Receiver<Seen<Znode>>, usize),
}

impl Followed {
    /// Completes when it has changed, or with an error when the session is closed. Cancel-safe.
    async fn changed(&mut self) -> Result<(), RecvError> {
        match self {
            // Nobody tells of these.
            Followed::Nothing | Followed::Outside(_) | Followed::Length(_) => {
                std::future::pending().await
            }
            Followed::Queue(queue) => queue.changed().await,
            Followed::One(_, one, _) => one.changed().await,
        }
    }
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
            pace: Pace::begin(),
            counted: None,
            strangers: 0,
            rollout: None,
            judged_by: None,
            all_marked: None,
            again: None,
        }
    }

    /// Our place, as it was when [`LeaseQueue::look`] was called last.
    pub(crate) fn state(&self) -> Lease {
        self.state
    }

    /// Asks for a lease: a place at the end of the queue, unless we have one; outside of it, where it is full. A reply that is
    /// lost makes no second one.
    ///
    /// # Errors
    /// Where ZooKeeper says no, or nothing.
    pub(crate) async fn ask(&mut self, rollout: Option<u64>) -> Result<(), LeaseError> {
        self.search().await?;
        if self.own.is_some() {
            return Ok(());
        }
        self.rollout = rollout;
        let tally = self.tally().await?;
        match tally {
            Some(tally) if tally.leases >= crowd::ROOM => {
                let (_, room) = self.room().await?;
                if tally.leases < room {
                    self.join(tally).await
                } else {
                    self.stay_outside((tally, room), None).await
                }
            }
            Some(tally) => self.join(tally).await,
            None => {
                let prefix = self.tree.lease_prefix(&self.host);
                self.zk.create_parents(&prefix).await?;
                self.join(Tally::default()).await
            }
        }
    }

    /// Takes a place at the end of the queue, in which so much was counted a moment ago. Leaves it again, where others did so at the
    /// same time, and it is one of too many.
    async fn join(&mut self, counted: Tally) -> Result<(), LeaseError> {
        let outside = self.outside();
        let number = self.create().await?;
        let (limit, room) = self.room().await?;
        let Some(tally) = self.tally().await? else {
            return Ok(());
        };
        match crowd::joined(number, (counted, tally), (limit, room)) {
            Joined::Granted => self.hold(),
            Joined::Queued => {}
            // It was never granted: only who has just joined may leave.
            Joined::Crowded => {
                self.give_back().await?;
                self.stay_outside((tally, room), outside).await?;
            }
        }
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
        if self.own.is_none() {
            self.look_from_outside().await?;
        }
        let Some(name) = self.own.clone() else {
            return Ok(());
        };
        if self.is_told_by_length(&name).await? {
            return Ok(());
        }
        let Some(children) = self.queue().await? else {
            return Ok(());
        };
        self.strangers = lease::strangers(&children);
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
        self.follow(follow, name, before.len());
        Ok(())
    }

    /// Returns the queue, where there is something new in it.
    async fn queue(&mut self) -> Result<Option<Vec<String>>, LeaseError> {
        match &mut self.followed {
            Followed::Queue(queue) => Ok(match queue.borrow_and_update().view.clone() {
                View::Present(children) => Some(children),
                View::Absent => Some(Vec::new()),
                View::Unknown => None,
            }),
            Followed::One(_, one, before) => {
                let is_gone = matches!(one.borrow_and_update().view, View::Absent);
                let before = *before;
                if self.state == Lease::Held {
                    let lost = if is_gone {
                        Some(self.children().await?)
                    } else {
                        None
                    };
                    return Ok(lost);
                }
                if is_gone || self.is_judged_anew()? || self.is_near(before).await? {
                    // Followed from now on; what it says comes by itself. First how many were given back, then who is
                    // left: so what is given back in between counts twice, and a host that is near is never taken
                    // for one that is far.
                    self.counted = self.tally().await?;
                    self.followed = Followed::Queue(self.zk.watch_children(&self.tree.leases()));
                }
                Ok(None)
            }
            Followed::Nothing | Followed::Outside(_) | Followed::Length(_) => {
                Ok(Some(self.children().await?))
            }
        }
    }

    async fn children(&self) -> Result<Vec<String>, Error> {
        Ok(self
            .zk
            .children(&self.tree.leases())
            .await?
            .unwrap_or_default())
    }

    /// Our lease is granted.
    fn hold(&mut self) {
        self.state = Lease::Held;
        if let Some(own) = self.own.clone() {
            self.follow(Follow::Own, own, 0);
        }
    }

    fn follow(&mut self, follow: Follow, own: String, before: usize) {
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
            Followed::One(followed, _, known) if *followed == name => *known = before,
            _ => {
                let path = format!("{}/{name}", self.tree.leases());
                let one = self.zk.watch_until_gone(&path);
                self.followed = Followed::One(name, one, before);
            }
        }
        self.pace.go_on();
    }

    /// Completes when our standing may have changed, or it is time to look. Never, where we have no lease.
    ///
    /// Only a look takes it further: where none follows, as without a link, it must not be waited for again.
    pub(crate) async fn changed(&mut self) {
        if self.own.is_none() && self.outside().is_none() {
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
            (None, Followed::Nothing | Followed::Queue(_)) => None,
            (None, Followed::Outside(_) | Followed::Length(_) | Followed::One(..)) => {
                (self.state == Lease::Queued).then(|| self.pace.next())
            }
        }
    }

    /// Tells whether the policy is another one than our place was judged by.
    fn is_judged_anew(&mut self) -> Result<bool, WireError> {
        let before = self.judged_by;
        self.policy()?;
        Ok(self.judged_by != before)
    }

    fn policy(&mut self) -> Result<Policy, WireError> {
        let view = &self.policy.borrow_and_update().view;
        self.judged_by = view.present().map(|znode| znode.stat.mzxid);
        match view {
            View::Present(znode) => wire::decode::<Policy>(&znode.data),
            // Not read yet: the least that any policy allows.
            View::Unknown => Ok(Policy {
                restart_concurrency: Concurrency::Hosts(1),
                ..Policy::default()
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
