//! Who is drained, of all services: one owner of the chain in the packet filter.
//!
//! The chain is replaced as a whole, so the services of a host must not write it behind each
//! other's back: each tells what of it is drained, and this task writes all of it. While anything
//! is drained it looks whether the rules are still there, and puts them back: a firewall that is
//! reloaded takes them away without a word.

use std::collections::BTreeMap;
use std::time::Duration;

use deploy_core::name::ServiceName;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::chain::Chain;
use crate::host::firewall::{self, FirewallError, Rule};

/// Changes that may wait; each service waits for its own.
const QUEUE: usize = 64;
/// More than this between the time of day and the time that has passed is no drift: the clock was
/// set.
const DRIFT_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether the rules are still there.
const LOOK_TIME: Duration = Duration::from_secs(1);
/// A rule that ends so soon is given more time: its end is for when nobody is left who could.
const NEAR: SignedDuration = SignedDuration::from_secs(60);
/// How much more.
const MORE: SignedDuration = SignedDuration::from_mins(5);

/// A handle on the task that owns the chain.
#[derive(Debug, Clone)]
pub(crate) struct Drains(mpsc::Sender<Change>);

struct Change {
    rules: BTreeMap<ServiceName, Vec<Rule>>,
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
        Drains::start_by(Timestamp::now)
    }

    /// Like [`Drains::start`], by another clock than that of the host.
    fn start_by(time_of_day: fn() -> Timestamp) -> Drains {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(own(receiver, WallClock::new(time_of_day)));
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
        self.set_all(BTreeMap::from([(service.clone(), rules)]))
            .await
    }

    /// Makes these all the rules of some services, at once; the others keep theirs.
    ///
    /// # Errors
    /// Where the packet filter says no.
    pub(crate) async fn set_all(
        &self,
        rules: BTreeMap<ServiceName, Vec<Rule>>,
    ) -> Result<(), DrainError> {
        let (done, made) = oneshot::channel();
        let change = Change { rules, done };
        self.0.send(change).await.map_err(|_| DrainError::Ended)?;
        Ok(made.await.map_err(|_| DrainError::Ended)??)
    }
}

/// The time of day, by which the kernel ends rules: whoever sets it must not open a drained port.
struct WallClock {
    time_of_day: fn() -> Timestamp,
    last: (Timestamp, Instant),
}

impl WallClock {
    fn new(time_of_day: fn() -> Timestamp) -> WallClock {
        WallClock {
            time_of_day,
            last: (time_of_day(), Instant::now()),
        }
    }

    /// By how much it was set since this was asked last.
    fn set_by(&mut self) -> Option<SignedDuration> {
        let now = ((self.time_of_day)(), Instant::now());
        let (last, at) = std::mem::replace(&mut self.last, now);
        let passed = SignedDuration::try_from(now.1.duration_since(at)).unwrap_or_default();
        let by = now.0.duration_since(last).saturating_sub(passed);
        (by.unsigned_abs() > DRIFT_MAX).then_some(by)
    }
}

/// Moves the ends of all rules with the clock; tells whether any has moved.
fn follow(clock: &mut WallClock, services: &mut BTreeMap<ServiceName, Vec<Rule>>) -> bool {
    let Some(by) = clock.set_by() else {
        return false;
    };
    let all = services.values_mut().flatten();
    let moved = all.map(|rule| {
        rule.until = rule.until.saturating_add(by).unwrap_or(rule.until);
    });
    moved.count() > 0
}

/// Moves the ends that are near; tells whether any has moved.
fn renew(now: Timestamp, services: &mut BTreeMap<ServiceName, Vec<Rule>>) -> bool {
    let near = |rule: &&mut Rule| rule.until.duration_since(now) < NEAR;
    let ending = services.values_mut().flatten().filter(near);
    let moved = ending.map(|rule| rule.until = now.saturating_add(MORE).unwrap_or(rule.until));
    moved.count() > 0
}

async fn own(mut changes: mpsc::Receiver<Change>, mut clock: WallClock) {
    let mut services: BTreeMap<ServiceName, Vec<Rule>> = BTreeMap::new();
    let mut troubled = false;
    // Whether the ends of rules have moved, and the packet filter does not know it yet.
    let mut moved = false;
    loop {
        let all = rules(&services);
        // Cancel-safe: a change that was not taken stays in the queue.
        tokio::select! {
            change = changes.recv() => match change {
                Some(change) => {
                    // What it brings was made by the clock as it is now.
                    moved |= follow(&mut clock, &mut services);
                    make(change, &mut services, (clock.time_of_day)()).await;
                }
                None => return,
            },
            () = sleep(LOOK_TIME), if !all.is_empty() => {
                if follow(&mut clock, &mut services) {
                    tracing::warn!("the clock of this host was set; the ends of our rules in the packet filter move with it");
                    moved = true;
                }
                moved |= renew((clock.time_of_day)(), &mut services);
                let kept = if moved {
                    firewall::apply(&rules(&services)).await
                } else {
                    keep(&all).await
                };
                moved &= kept.is_err();
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
async fn make(change: Change, services: &mut BTreeMap<ServiceName, Vec<Rule>>, now: Timestamp) {
    let before = services.clone();
    services.extend(change.rules);
    // Who keeps a rule of before tells the end that it had then.
    renew(now, services);
    let result = firewall::apply(&rules(services)).await;
    if result.is_err() {
        *services = before;
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
