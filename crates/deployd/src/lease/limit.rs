//! How many hosts may be out of service at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use deploy_core::name::HostName;
use deploy_core::wire::policy::{Concurrency, Policy};
use deploy_zk::error::Error;
use tokio::time::Instant;

use super::LeaseQueue;

/// How long all who live are taken to have a mark, where that was so. Others would not be counted meanwhile: that is safe, and to
/// look costs as much as there are hosts.
const ALL_MARKED_TIME: Duration = Duration::from_secs(600);

impl LeaseQueue {
    /// How many hosts may be out of service, as far as it matters to who has so many before it.
    ///
    /// Nobody asks for the sign of life of each host: all of a fleet that restarts would do so. ZooKeeper counts the children of
    /// `alive`, and at least so many live; it counts those of `hosts`, and no more do. Only where our turn lies between,
    /// those are asked for who have no mark: the dead, and agents that don't make one.
    pub(super) async fn limit(&mut self, policy: &Policy, before: u64) -> Result<u64, Error> {
        let concurrency = policy.restart_concurrency;
        let lets_in = |limit: u64| limit > before;
        if lets_in(concurrency.hosts(0)) || matches!(concurrency, Concurrency::Hosts(_)) {
            return Ok(concurrency.hosts(0));
        }
        let least = self.least(policy).await?;
        let all_marked = self.all_marked.map(|since| since.elapsed());
        if lets_in(least) || all_marked.is_some_and(|since| since < ALL_MARKED_TIME) {
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
        let limit = concurrency.hosts(alive);
        if !lets_in(limit) && alive == marked.len() as u64 {
            self.all_marked = Some(Instant::now());
        }
        Ok(limit)
    }

    /// How many hosts may be out of service where nobody lives who has no mark.
    pub(super) async fn least(&self, policy: &Policy) -> Result<u64, Error> {
        match policy.restart_concurrency {
            Concurrency::Hosts(_) => Ok(policy.restart_concurrency.hosts(0)),
            share => Ok(share.hosts(self.count(&self.tree.marks()).await?)),
        }
    }

    /// How many hosts may be out of service where all that are known are alive.
    pub(super) async fn most(&self, policy: &Policy) -> Result<u64, Error> {
        match policy.restart_concurrency {
            Concurrency::Hosts(_) => Ok(policy.restart_concurrency.hosts(0)),
            share => Ok(share.hosts(self.count(&self.tree.hosts()).await?)),
        }
    }

    /// Children of a znode, as ZooKeeper counts them.
    pub(super) async fn count(&self, path: &str) -> Result<u64, Error> {
        let znode = self.zk.get(path).await?;
        let children = znode.map_or(0, |znode| znode.stat.num_children);
        Ok(children.unsigned_abs().into())
    }
}
