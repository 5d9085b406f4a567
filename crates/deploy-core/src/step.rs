//! The steps of a deployment.

use std::fmt;

use crate::name::BuildName;

/// One idempotent change to a host. Each can be repeated after a crash halfway; how, is said where
/// it is performed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Download the artifact to a file and verify it.
    Fetch(BuildName),
    /// Unpack that file into a release, synced and then renamed into place.
    Extract(BuildName),
    /// Run `post_extract` in the release.
    Prepare(BuildName),
    /// Nothing may go on before this is over. Never ends by itself.
    Wait(WaitFor),
    /// Ask for the right to be out of service.
    AcquireLease,
    /// Point `current` at the release.
    Activate(BuildName),
    /// Run `post_install` in the release.
    PostInstall(BuildName),
    /// Refuse new connections to these instances and let the old ones end.
    Drain(Vec<usize>),
    /// Restart these instances, so that they run the release that `current` points to.
    Restart(Vec<usize>),
    /// Wait until these instances work.
    Probe(Vec<usize>),
    /// Let connections to these instances in again.
    Undrain(Vec<usize>),
    /// Watch all instances for a while.
    BurnIn(BuildName),
    /// Write down that the host is in service at this release, which works.
    Verify(BuildName),
    /// Give the lease back.
    ReleaseLease,
    /// Delete these releases.
    Prune(Vec<BuildName>),
    /// Run `post_restart` in the release.
    PostRestart(BuildName),
}

/// What a host waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// The end of a hold.
    Unhold,
    /// Its turn in the restart queue.
    Lease,
    /// ZooKeeper.
    ZooKeeper,
}

impl Step {
    /// Returns the word for reports and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Fetch(_) => "fetch",
            Step::Extract(_) => "extract",
            Step::Prepare(_) => "post_extract",
            Step::Wait(_) => "wait",
            Step::AcquireLease => "lease",
            Step::Activate(_) => "activate",
            Step::PostInstall(_) => "post_install",
            Step::Drain(_) => "drain",
            Step::Restart(_) => "restart",
            Step::Probe(_) => "probe",
            Step::Undrain(_) => "undrain",
            Step::BurnIn(_) => "burn_in",
            Step::Verify(_) => "verify",
            Step::ReleaseLease => "release_lease",
            Step::Prune(_) => "prune",
            Step::PostRestart(_) => "post_restart",
        }
    }

    /// Returns the instances that the step is about: none where it is about the service.
    pub fn instances(&self) -> &[usize] {
        match self {
            Step::Drain(batch)
            | Step::Restart(batch)
            | Step::Probe(batch)
            | Step::Undrain(batch) => batch,
            Step::Fetch(_)
            | Step::Extract(_)
            | Step::Prepare(_)
            | Step::Wait(_)
            | Step::AcquireLease
            | Step::Activate(_)
            | Step::PostInstall(_)
            | Step::BurnIn(_)
            | Step::Verify(_)
            | Step::ReleaseLease
            | Step::Prune(_)
            | Step::PostRestart(_) => &[],
        }
    }

    /// Tells whether the step may be dropped halfway when something else is wanted. The others
    /// leave a host out of service and are finished first.
    pub fn interruption(&self) -> Interruption {
        match self {
            Step::Fetch(_)
            | Step::Extract(_)
            | Step::Prepare(_)
            | Step::Wait(_)
            | Step::BurnIn(_)
            | Step::PostRestart(_) => Interruption::Harmless,
            Step::AcquireLease
            | Step::Activate(_)
            | Step::PostInstall(_)
            | Step::Drain(_)
            | Step::Restart(_)
            | Step::Probe(_)
            | Step::Undrain(_)
            | Step::Verify(_)
            | Step::ReleaseLease
            | Step::Prune(_) => Interruption::FinishFirst,
        }
    }
}

/// What becomes of a step when something else is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// It is dropped.
    Harmless,
    /// It is finished, and then planned anew.
    FinishFirst,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instances = |f: &mut fmt::Formatter<'_>, batch: &[usize]| {
            write!(f, "{}", self.name())?;
            batch
                .iter()
                .try_for_each(|index| write!(f, " {}", index + 1))
        };
        match self {
            Step::Fetch(build)
            | Step::Extract(build)
            | Step::Prepare(build)
            | Step::Activate(build)
            | Step::PostInstall(build)
            | Step::BurnIn(build)
            | Step::Verify(build)
            | Step::PostRestart(build) => write!(f, "{} {build}", self.name()),
            Step::Wait(WaitFor::Unhold) => write!(f, "wait for the end of the hold"),
            Step::Wait(WaitFor::Lease) => write!(f, "wait for the lease"),
            Step::Wait(WaitFor::ZooKeeper) => write!(f, "wait for ZooKeeper"),
            Step::AcquireLease => write!(f, "ask for a lease"),
            Step::ReleaseLease => write!(f, "give the lease back"),
            Step::Drain(batch)
            | Step::Restart(batch)
            | Step::Probe(batch)
            | Step::Undrain(batch) => instances(f, batch),
            Step::Prune(builds) => {
                write!(f, "prune")?;
                builds.iter().try_for_each(|build| write!(f, " {build}"))
            }
        }
    }
}
