//! This host's place in the restart queue.
//!
//! A lease is a persistent znode that belongs to the host, not to a session: it outlives a crash
//! and a lost session, and is found again at start. Who has no lease watches nothing.

use deploy_core::lease::{of_host, standing};
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

/// This host's place in the restart queue of a service.
pub(crate) struct LeaseQueue {
    zk: Zk,
    tree: ServiceTree,
    host: HostName,
    /// The name of our lease, and the queue that it stands in.
    own: Option<(String, watch::Receiver<Seen<Vec<String>>>)>,
    policy: watch::Receiver<Seen<Znode>>,
    state: Lease,
    /// Whether the queue was looked at for a lease of an earlier run.
    searched: bool,
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
            policy,
            state: Lease::None,
            searched: false,
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
        self.state = Lease::Queued;
        Ok(())
    }

    /// Gives the lease back. One that is gone already was broken by an operator.
    ///
    /// # Errors
    /// Where ZooKeeper says no, or nothing.
    pub(crate) async fn give_back(&mut self) -> Result<(), LeaseError> {
        self.search().await?;
        let Some((name, _)) = &self.own else {
            return Ok(());
        };
        let path = format!("{}/{name}", self.tree.leases());
        match self.zk.delete(&path, Expect::Any).await {
            Ok(()) | Err(Error::NoNode(_)) => {}
            Err(error) => return Err(error.into()),
        }
        tracing::info!(lease = %path, "gave the lease back");
        self.own = None;
        self.state = Lease::None;
        Ok(())
    }

    /// Looks where we stand. Keeps what it knew where ZooKeeper can't be asked.
    ///
    /// # Errors
    /// Where ZooKeeper says no, or the policy can't be read: then nobody is granted anything new.
    pub(crate) async fn look(&mut self) -> Result<(), LeaseError> {
        self.search().await?;
        let Some((name, queue)) = &mut self.own else {
            self.state = Lease::None;
            return Ok(());
        };
        let seen = queue.borrow_and_update().clone();
        let children = match seen.view {
            View::Present(children) => children,
            View::Absent => Vec::new(),
            View::Unknown => return Ok(()),
        };
        let name = name.clone();
        // Held once is held: a smaller policy takes nothing away from who is out of service.
        if self.state == Lease::Held && children.contains(&name) {
            return Ok(());
        }
        if standing(Some(&name), &children, u64::MAX) == Lease::None {
            tracing::warn!(lease = %name, "the lease was broken by somebody");
            self.own = None;
            self.state = Lease::None;
            return Ok(());
        }
        let limit = self.limit().await?;
        self.state = standing(Some(&name), &children, limit);
        Ok(())
    }

    /// Completes when our standing may have changed. Never, where we have no lease.
    pub(crate) async fn changed(&mut self) {
        let LeaseQueue { own, policy, .. } = self;
        let Some((_, queue)) = own else {
            return std::future::pending().await;
        };
        // Cancel-safe: both only wait for a version of a watch.
        let result = tokio::select! {
            result = queue.changed() => result,
            result = policy.changed() => result,
        };
        if result.is_err() {
            // The session is closed: nothing will change any more.
            std::future::pending().await
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

    fn take(&mut self, path: &str) {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        self.own = Some((name, self.zk.watch_children(&self.tree.leases())));
    }

    /// How many hosts may be out of service.
    async fn limit(&mut self) -> Result<u64, LeaseError> {
        let policy = match &self.policy.borrow_and_update().view {
            View::Present(znode) => wire::decode::<Policy>(&znode.data)?,
            View::Absent => Policy::default(),
            // Not read yet: the least that any policy allows.
            View::Unknown => return Ok(1),
        };
        match policy.restart_concurrency {
            Concurrency::Hosts(hosts) => Ok(hosts),
            share @ Concurrency::Share(_) => Ok(share.hosts(self.alive().await?)),
        }
    }

    /// Hosts of the service that are alive.
    async fn alive(&self) -> Result<u64, Error> {
        let hosts = self
            .zk
            .children(&self.tree.hosts())
            .await?
            .unwrap_or_default();
        let mut alive = 0;
        for host in hosts.iter().filter_map(|name| HostName::parse(name).ok()) {
            alive += u64::from(self.zk.get(&self.tree.alive(&host)).await?.is_some());
        }
        Ok(alive)
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}
