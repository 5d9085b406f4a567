//! Who is drained, of all services: one owner of the chain in the packet filter.
//!
//! The chain is replaced as a whole, so the services of a host must not write it behind each
//! other's back: each tells what of it is drained, and this task writes all of it.

use std::collections::BTreeMap;

use deploy_core::name::ServiceName;
use tokio::sync::{mpsc, oneshot};

use crate::host::firewall::{self, FirewallError, Rule};

/// Changes that may wait; each service waits for its own.
const QUEUE: usize = 64;

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
    while let Some(Change {
        service,
        rules,
        done,
    }) = changes.recv().await
    {
        let before = services.insert(service.clone(), rules);
        let all: Vec<Rule> = services.values().flatten().cloned().collect();
        let result = firewall::apply(&all).await;
        if result.is_err() {
            services.insert(service, before.unwrap_or_default());
        }
        // Who asked may have been stopped meanwhile.
        let _ = done.send(result);
    }
}
