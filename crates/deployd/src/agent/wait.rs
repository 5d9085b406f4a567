//! Waiting until there is something to look at.

use std::time::Duration;

use deploy_core::wanted::{Gate, Wanted};
use deploy_zk::rhythm::Rhythm;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Agent, Stop};

/// How often a host that has nothing to do looks at itself: somebody may have changed it.
const LOOK_TIME: Duration = Duration::from_secs(30);

/// The same of one that is to end, and waits for what brings it back into service.
const LAST_LOOK_TIME: Duration = Duration::from_secs(1);

/// When the agents of a host that have nothing to do look: all at the same moments, which no other host has.
pub(crate) fn looks() -> Rhythm {
    Rhythm::new(LOOK_TIME)
}

impl Agent {
    /// Waits until there is something to look at.
    pub(super) async fn wait(&mut self, until: Option<Instant>) -> Woken {
        let is_told = self.stop.borrow().is_some();
        let look = match is_told {
            true => Instant::now() + LAST_LOOK_TIME,
            false => self.looks.next(),
        };
        let until = until.map_or(look, |until| until.min(look));
        let is_up = self.link.borrow().is_up();
        // Cancel-safe: they only wait for a version of a watch, or for a time.
        tokio::select! {
            () = told(&mut self.stop), if !is_told => Woken::ToStop,
            () = self.inputs.changed() => Woken::ByZooKeeper,
            // Without a link nobody can look, and its time would come again and again.
            () = self.performer.lease.changed(), if is_up => Woken::ByZooKeeper,
            changed = self.link.changed() => {
                if changed.is_err() {
                    sleep(LOOK_TIME).await;
                }
                Woken::ByLink
            }
            () = sleep_until(until) => Woken::ByTime,
        }
    }

    /// When the hold that is waited for ends by itself.
    pub(super) fn hold_ends(&mut self, wanted: &Wanted) -> Option<Instant> {
        let Gate::Held(hold) = &wanted.gate else {
            return None;
        };
        let left = hold.ends()?.duration_since(self.inputs.now());
        Some(Instant::now() + Duration::try_from(left).unwrap_or_default())
    }
}

/// Completes when an agent is told to end, whichever way. Cancel-safe.
pub(super) async fn told(stop: &mut watch::Receiver<Option<Stop>>) {
    if stop.wait_for(Option::is_some).await.is_err() {
        std::future::pending().await
    }
}

/// Completes when deployd is to end, with when it was told. Cancel-safe.
pub(super) async fn told_to_end(stop: &mut watch::Receiver<Option<Stop>>) -> Instant {
    let is_end = |stop: &Option<Stop>| matches!(stop, Some(Stop::End(_)));
    let told = stop.wait_for(is_end).await.map(|stop| *stop);
    match told {
        Ok(Some(Stop::End(at))) => at,
        Ok(Some(Stop::Reload) | None) | Err(_) => std::future::pending().await,
    }
}

/// What has ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    ByZooKeeper,
    ByLink,
    ByTime,
    ToStop,
}
