//! Our own znode among the leases: made, found again, given back.

use deploy_core::lease::{self, of_host};
use deploy_core::observed::Lease;
use deploy_core::wire;
use deploy_core::wire::lease::LeaseClaim;
use deploy_core::znode::sequence;
use deploy_zk::error::Error;
use deploy_zk::znode::Expect;
use jiff::Timestamp;

use super::counted::Pace;
use super::{Followed, LeaseError, LeaseQueue};

impl LeaseQueue {
    /// Makes a lease of our own, and returns its number.
    pub(super) async fn create(&mut self) -> Result<u64, Error> {
        let claim = LeaseClaim {
            host: self.host.clone(),
            machine_id: read("/etc/machine-id"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            nonce: format!("{:032x}", fastrand::u128(..)),
            rollout: self.rollout,
            since: Some(wire::time::render(Timestamp::now())),
        };
        let prefix = self.tree.lease_prefix(&self.host);
        // If it fails, one may have been made all the same: it is ours, and is looked for.
        self.searched = false;
        let path = self
            .zk
            .create_sequential(&prefix, &wire::encode(&claim))
            .await?;
        self.searched = true;
        self.take(&path);
        tracing::debug!(lease = %path, "asked for a lease");
        self.pace = Pace::begin();
        // A name without one is nobody's that ZooKeeper made: it counts as the last of all.
        Ok(sequence(&path).unwrap_or(u64::MAX))
    }

    /// Gives the lease back. One that is gone already was broken by an operator.
    ///
    /// # Errors
    /// Where ZooKeeper says no, or nothing.
    pub(crate) async fn give_back(&mut self) -> Result<(), LeaseError> {
        self.search().await?;
        let Some(name) = &self.own else {
            self.drop_own();
            return Ok(());
        };
        let path = format!("{}/{name}", self.tree.leases());
        match self.zk.delete(&path, Expect::Any).await {
            Ok(()) | Err(Error::NoNode(_)) => {}
            Err(error) => return Err(error.into()),
        }
        tracing::debug!(lease = %path, "gave the lease back");
        self.drop_own();
        Ok(())
    }

    /// Finds the lease of an earlier run, or one that we don't know to be made, once.
    pub(super) async fn search(&mut self) -> Result<(), Error> {
        if self.searched {
            return Ok(());
        }
        let children = self.children().await?;
        self.strangers = lease::strangers(&children);
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

    /// There is none any more.
    pub(super) fn drop_own(&mut self) {
        self.own = None;
        self.followed = Followed::Nothing;
        self.state = Lease::None;
        self.dead.clear();
        self.pace = Pace::begin();
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}
