//! How many hosts may be out of service at a time.

use std::collections::BTreeSet;

use deploy_core::name::HostName;
use deploy_core::wire::policy::{Concurrency, Policy};
use deploy_zk::error::Error;

use super::LeaseQueue;

impl LeaseQueue {
    /// How many hosts may be out of service, as far as it matters to who has so many before it.
    ///
    /// Nobody asks for the sign of life of each host: all of a fleet that restarts would do so. ZooKeeper counts the children of
    /// `alive`, and at least so many live; it counts those of `hosts`, and no more do. Only where our turn lies between,
    /// those are asked for who have no mark: the dead, and agents that don't make one.
    pub(super) async fn limit(&self, policy: &Policy, before: u64) -> Result<u64, Error> {
        let concurrency = policy.restart_concurrency;
        let lets_in = |limit: u64| limit > before;
        if lets_in(concurrency.hosts(0)) || matches!(concurrency, Concurrency::Hosts(_)) {
            return Ok(concurrency.hosts(0));
        }
        let least = concurrency.hosts(self.count(&self.tree.marks()).await?);
        if lets_in(least) {
            return Ok(least);
        }
        let most = self.most(policy).await?;
        if !lets_in(most) {
            return Ok(most);
        }
        let marked = self.zk.children(&self.tree.marks()).await?;
        let marked: BTreeSet<String> = marked.unwrap_or_default().into_iter().collect();
        let known = self.zk.children(&self.tree.hosts()).await?;
        let known = known.unwrap_or_default();
        let mut alive = marked.len() as u64;
        for host in known.iter().filter(|host| !marked.contains(*host)) {
            if lets_in(concurrency.hosts(alive)) {
                break;
            }
            if let Ok(host) = HostName::parse(host) {
                alive += u64::from(self.zk.get(&self.tree.alive(&host)).await?.is_some());
            }
        }
        Ok(concurrency.hosts(alive))
    }

    /// How many hosts may be out of service where all that are known are alive.
    pub(super) async fn most(&self, policy: &Policy) -> Result<u64, Error> {
        match policy.restart_concurrency {
            Concurrency::Hosts(hosts) => Ok(hosts),
            share => Ok(share.hosts(self.count(&self.tree.hosts()).await?)),
        }
    }

    /// Children of a znode, as ZooKeeper counts them.
    async fn count(&self, path: &str) -> Result<u64, Error> {
        let znode = self.zk.get(path).await?;
        let children = znode.map_or(0, |znode| znode.stat.num_children);
        Ok(children.unsigned_abs().into())
    }
}
