//! Who is drained, of all services: one owner of the chain in the packet filter.
//!
//! The chain is replaced as a whole, so the services of a host must not write it behind each
//! other's back: each tells what of it is drained, and this task writes all of it. While anything
//! is drained it looks whether the rules are still there, and puts them back: a firewall that is
//! reloaded takes them away without a word.

use std::collections::BTreeMap;
use std::time::Duration;

use deploy_core::name::ServiceName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::chain::Chain;
use crate::host::firewall::{self, FirewallError, Rule};

/// Changes that may wait; each service waits for its own.
const QUEUE: usize = 64;
/// How often it is looked whether the rules are still there.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// A handle on the task that owns the chain.
#[derive(Debug, Clone)]
pub(crate) struct Drains(mpsc::Sender<Change>);

struct Change {
    service: ServiceName,
    rules: Vec<Rule>,
    done: oneshot::Sender<Result<(), FirewallError>>,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    /// The packet filter says no.
    #[error("failed to change the packet filter")]
    Firewall(#[from] FirewallError),
    /// deployd is ending.
    #[error("the packet filter is not changed any more: deployd is ending")]
    Ended,
}

impl Drains {
    /// Starts the task; it ends with its last handle.
    pub(crate) fn start() -> Drains {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(own(receiver));
        Drains(sender)
    }

    /// Makes these all the rules of a service.
    ///
    /// # Errors
    /// Where the packet filter says no.
    pub(crate) async fn set(
        &self,
        service: &ServiceName,
        rules: Vec<Rule>,
    ) -> Result<(), DrainError> {
        let (done, made) = oneshot::channel();
        let change = Change {
            service: service.clone(),
            rules,
            done,
        };
        self.0.send(change).await.map_err(|_| DrainError::Ended)?;
        Ok(made.await.map_err(|_| DrainError::Ended)??)
    }
}

async fn own(mut changes: mpsc::Receiver<Change>) {
    let mut services: BTreeMap<ServiceName, Vec<Rule>> = BTreeMap::new();
    let mut troubled = false;
    loop {
        let all = rules(&services);
        // Cancel-safe: a change that was not taken stays in the queue.
        tokio::select! {
            change = changes.recv() => match change {
                Some(change) => make(change, &mut services).await,
                None => return,
            },
            () = sleep(LOOK_TIME), if !all.is_empty() => {
                let kept = keep(&all).await;
                if let (Err(error), false) = (&kept, troubled) {
                    tracing::warn!(error = %Chain(error), "nobody can say whether our rules are still in the packet filter");
                }
                troubled = kept.is_err();
            }
        }
    }
}

fn rules(services: &BTreeMap<ServiceName, Vec<Rule>>) -> Vec<Rule> {
    services.values().flatten().cloned().collect()
}

/// Makes a change, whole or not at all.
async fn make(change: Change, services: &mut BTreeMap<ServiceName, Vec<Rule>>) {
    let before = services.insert(change.service.clone(), change.rules);
    let result = firewall::apply(&rules(services)).await;
    if result.is_err() {
        services.insert(change.service, before.unwrap_or_default());
    }
    // Who asked may have been stopped meanwhile.
    let _ = change.done.send(result);
}

/// Puts the rules back where somebody has taken them away.
async fn keep(rules: &[Rule]) -> Result<(), FirewallError> {
    if firewall::stands(rules).await? {
        return Ok(());
    }
    tracing::warn!("our rules are gone from the packet filter; they are put back");
    firewall::apply(rules).await
}

#[cfg(test)]
mod tests;
