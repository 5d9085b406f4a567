//! The leases of hosts that are dead.

use std::collections::BTreeSet;
use std::time::Duration;

use deploy_core::lease::{self, Follow};
use deploy_core::name::HostName;
use deploy_zk::error::Error;
use tokio::time::Instant;

use super::LeaseQueue;

impl LeaseQueue {
    /// Those leases before ours that count no more, because their hosts are dead for so many
    /// seconds: counted from when we saw them dead. Without that, a lease counts until it is broken.
    ///
    /// Asked only by who is near its turn, or follows somebody dead: whoever is alive ahead asks for
    /// us.
    pub(super) async fn lapsed(
        &mut self,
        (before, limit): (&[&String], u64),
        seconds: u64,
    ) -> Result<BTreeSet<String>, Error> {
        let asks = match lease::follow(before, limit) {
            Follow::Own => false,
            Follow::Queue => true,
            Follow::Ahead(name) => self.is_dead(&name).await?,
        };
        if !asks {
            self.dead.clear();
            return Ok(BTreeSet::new());
        }
        self.dead.retain(|name, _| before.contains(&name));
        for name in before {
            if self.is_dead(name).await? {
                self.dead
                    .entry((*name).clone())
                    .or_insert_with(Instant::now);
            } else {
                self.dead.remove(*name);
            }
        }
        let lapsed = |since: &Instant| since.elapsed() >= Duration::from_secs(seconds);
        let dead = self.dead.iter().filter(|(_, since)| lapsed(since));
        Ok(dead.map(|(name, _)| name.clone()).collect())
    }

    /// Tells whether no agent says that it lives on the host of a lease.
    async fn is_dead(&self, lease: &str) -> Result<bool, Error> {
        let Some(Ok(host)) = lease::host_of(lease).map(HostName::parse) else {
            return Ok(false);
        };
        Ok(self.zk.get(&self.tree.alive(&host)).await?.is_none())
    }
}
