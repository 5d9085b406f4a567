//! Does one step. Decides nothing: what is to be done, and what a failure means, is
//! `deploy_core`'s.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use deploy_core::artifact::Artifact;
use deploy_core::name::{BuildName, HostName};
use deploy_core::step::Step;
use deploy_core::verdict::Failure;
use tokio::sync::watch;

use crate::chain::Chain;
use crate::config::{Builds, Instance, Service};
use crate::drains::Drains;
use crate::host::firewall::Rule;
use crate::host::lock::{DirLock, LockError, lock_dir};
use crate::host::signature::Keys;
use crate::host::systemd::answers::Answers;
use crate::host::tree::Tree;
use crate::host::user::User;
use crate::journal::Journal;
use crate::lease::LeaseQueue;
use crate::metrics::Metrics;
use program::Programs;

pub(crate) mod drain;
pub(crate) mod hook;
mod patience;
mod probe;
pub(crate) mod program;
pub(crate) mod prune;
pub(crate) mod release;
mod restart;
mod room;
mod signature;

/// How far a step is: bytes or instances done, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Done.
    pub(crate) done: u64,
    /// In all; 0 where that isn't known.
    pub(crate) total: u64,
    /// Connections of the instances that are drained.
    pub(crate) connections: Option<u64>,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepError {
    /// Whose fault it is.
    pub(crate) failure: Failure,
    /// What happened, to what, why.
    pub(crate) message: String,
    /// The last lines of output, where there was any.
    pub(crate) log: Vec<String>,
}

/// What a service is deployed with.
pub(crate) struct Performer {
    /// The host's name.
    pub(crate) host: HostName,
    /// The service.
    pub(crate) service: Service,
    /// Which builds are accepted.
    pub(crate) builds: Builds,
    /// Keys of which one must have signed a build; none: any build is taken.
    pub(crate) keys: Keys,
    /// Downloads are below it.
    pub(crate) state_dir: PathBuf,
    /// That nobody else works in the directory of the service; none: it was not there yet, or can't be locked.
    pub(crate) dir: Option<DirLock>,
    /// What can't be observed.
    pub(crate) journal: Journal,
    /// The restart queue.
    pub(crate) lease: LeaseQueue,
    /// The artifact that was downloaded and verified, held open until it is unpacked.
    pub(crate) fetched: Option<(BuildName, release::Fetched)>,
    /// What could not be deleted.
    pub(crate) undeleted: prune::Undeleted,
    /// The owner of the chain in the packet filter.
    pub(crate) drains: Drains,
    /// Our rules in it.
    pub(crate) drained: Vec<Rule>,
    /// The units whose drain has come to its end, in this run.
    pub(crate) emptied: BTreeSet<String>,
    /// For http probes.
    pub(crate) probes: reqwest::Client,
    /// Where probes come from, so that a drained instance answers them.
    pub(crate) probe_source: Option<IpAddr>,
    /// What systemd has said of the units.
    pub(crate) units: Answers,
    /// The programs that run apart from us.
    pub(crate) programs: Programs,
    /// How far the step under way is.
    pub(crate) progress: watch::Sender<Progress>,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

/// What the target says, as far as a step needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    /// The archives of the builds that are wanted.
    pub(crate) artifacts: Vec<(BuildName, Artifact)>,
    /// The number of the rollout.
    pub(crate) rollout: Option<u64>,
    /// The restart number.
    pub(crate) restart: Option<u64>,
}

impl Performer {
    /// Does one step. Each can be repeated after a crash halfway: what was done is seen, or done
    /// again to the same end.
    ///
    /// # Errors
    /// What failed, and whether it is the build's fault.
    pub(crate) async fn perform(&mut self, step: &Step, order: &Order) -> Result<(), StepError> {
        self.progress.send_replace(Progress::default());
        if self.dir.is_none() {
            // Before anything else is done for it. Why it can't be made, the step tells that needs it.
            let _ = self.tree().prepare();
        }
        self.hold_dir().map_err(|error| passing(&error))?;
        match step {
            Step::Fetch(build) => self.fetch(build, order).await,
            Step::Extract(build) => self.extract(build).await,
            Step::Prepare(build) => {
                let arguments = self.service.hooks.post_extract.clone();
                self.hook(("post_extract", &arguments), build, order)
                    .await?;
                self.sync(build).await?;
                self.write(|record| record.prepare(build))
            }
            Step::Wait(_) => std::future::pending().await,
            Step::AcquireLease => self.lease.ask(order.rollout).await.map_err(|e| passing(&e)),
            Step::Activate(build) => {
                // The journal first: a host that is found here later knows that it left service.
                self.write(|record| record.activate(build))?;
                self.tree()
                    .activate(build.as_str())
                    .map_err(|error| room::of_the_disk(&self.service.dir, &error))
            }
            Step::PostInstall(build) => {
                let arguments = self.service.hooks.post_install.clone();
                self.hook(("post_install", &arguments), build, order)
                    .await?;
                self.write(|record| record.install(build))
            }
            Step::Drain(batch) => self.drain(batch).await,
            Step::Restart(batch) => self.restart(batch, order.restart).await,
            Step::Probe(batch) => self.probe(batch).await,
            Step::Undrain(batch) => self.undrain(batch).await,
            Step::BurnIn(build) => {
                self.burn_in().await?;
                self.write(|record| record.burn_in(build))
            }
            Step::Verify(build) => self.write(|record| record.verify(build)),
            Step::ReleaseLease => self
                .lease
                .give_back()
                .await
                .map_err(|error| passing(&error)),
            Step::Prune(builds) => self.prune(builds).await,
            Step::PostRestart(build) => {
                let arguments = self.service.hooks.post_restart.clone();
                self.hook(("post_restart", &arguments), build, order)
                    .await?;
                self.write(|record| record.finish(build))
            }
        }
    }

    /// Sees to it that nobody else works in the directory of the service, if it is there and can be locked. Another one
    /// may be there than before: a mount that was missing.
    ///
    /// # Errors
    /// Where another deployd does.
    pub(crate) fn hold_dir(&mut self) -> Result<(), LockError> {
        let dir = &self.service.dir;
        if self.dir.as_ref().is_some_and(|lock| lock.is_of(dir)) {
            return Ok(());
        }
        self.dir = match lock_dir(dir) {
            Ok(lock) => Some(lock),
            Err(error @ LockError::Held { .. }) => return Err(error),
            Err(LockError::Io { source, .. }) => {
                tracing::debug!(dir = %dir.display(), error = %source, "the directory is not locked");
                None
            }
        };
        Ok(())
    }

    /// Changes the journal.
    ///
    /// # Errors
    /// Where it can't be written, which is not the build's fault.
    pub(crate) fn write(
        &mut self,
        change: impl FnOnce(&mut deploy_core::wire::record::Record),
    ) -> Result<(), StepError> {
        self.journal
            .write(change)
            .map_err(|error| room::of_the_disk(&self.state_dir, &error))
    }

    /// Changes the journal for a success that is had again where a power loss undoes that.
    ///
    /// # Errors
    /// As [`Performer::write`].
    pub(crate) fn note(
        &mut self,
        change: impl FnOnce(&mut deploy_core::wire::record::Record),
    ) -> Result<(), StepError> {
        self.journal
            .note(change)
            .map_err(|error| room::of_the_disk(&self.state_dir, &error))
    }

    /// The directory of the service.
    pub(crate) fn tree(&self) -> Tree {
        Tree::new(&self.service.dir)
    }

    fn user(&self) -> Result<User, StepError> {
        User::find(self.service.user.as_deref()).map_err(|error| passing(&error))
    }

    /// The instances of a batch.
    pub(crate) fn instances(&self, batch: &[usize]) -> Vec<Instance> {
        batch
            .iter()
            .filter_map(|index| self.service.instances.get(*index))
            .cloned()
            .collect()
    }
}

/// A failure that may pass: nothing that the build could help.
fn passing(error: &(dyn std::error::Error + 'static)) -> StepError {
    let message = Chain(error).to_string();
    StepError {
        failure: Failure::Passing,
        message,
        log: Vec::new(),
    }
}

/// A failure of the build.
fn of_the_build(message: String, log: Vec<String>) -> StepError {
    StepError {
        failure: Failure::OfTheBuild,
        message,
        log,
    }
}
