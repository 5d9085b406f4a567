//! The journal of a service: what can't be observed.
//!
//! Each change here is written before or after the step that it belongs to, as its comment says;
//! the order is what makes a crash in between harmless.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::artifact::Digest;
use crate::name::BuildName;
use crate::step::Step;
use crate::wire::report::ErrorReport;

/// What the journal remembers of a service on this host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Whether the host is in service at a release that works.
    pub service: InService,
    /// The releases that passed here, the last one last.
    pub verified: Vec<BuildName>,
    /// The releases that failed here.
    pub rejected: BTreeMap<BuildName, Rejection>,
    /// The digests of the archives that the releases came from.
    pub digests: BTreeMap<BuildName, Digest>,
    /// The releases whose `post_extract` has passed.
    pub prepared: Vec<BuildName>,
    /// The release whose `post_install` has passed since it was activated.
    pub installed: Option<BuildName>,
    /// The release that was watched for its time since instances were restarted.
    pub burned_in: Option<BuildName>,
    /// The release whose `post_restart` has run since it was activated.
    pub finished: Option<BuildName>,
    /// Per unit.
    pub units: BTreeMap<String, UnitRecord>,
    /// How often steps were begun that did not end, by their text.
    pub begun: BTreeMap<String, u64>,
}

/// Whether a host is in service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InService {
    /// Nothing was ever deployed by us: what is there, is taken as it is.
    #[default]
    AsFound,
    /// It left service for a deployment that has not ended.
    Left,
    /// It is in service at this release.
    At(BuildName),
}

/// Why a release is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The rollout in which it failed. Another rollout of the same build is another try.
    pub rollout: Option<u64>,
    /// The newest wish to try again that was known then, by its transaction; a newer one is
    /// another try.
    pub retry: i64,
    /// What is reported as long as it stands.
    pub error: ErrorReport,
}

/// What is remembered of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitRecord {
    /// The release that it was started from, and which start that was; none while it is restarted.
    pub started: Option<Started>,
    /// Whether it has not passed its probe since.
    pub unproven: bool,
    /// The last restart number that it was restarted for.
    pub restarted: Option<u64>,
    /// Whether it was told to take no new connections; where the packet filter does that, what is
    /// found there counts.
    pub drained: bool,
}

/// One start of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The release that `current` pointed to.
    pub build: BuildName,
    /// Tells this start from others, as far as the host can: an invocation id, or a process id
    /// with its start time.
    pub identity: Option<String>,
}

impl Stored for Record {
    const WHAT: &'static str = "journal";
    /// It is a file, and grows with the instances of a service. What is larger is none of ours.
    const BYTES_MAX: usize = 16 << 20;
}

impl Record {
    /// Counts the begin of a step, and returns how often it was begun; written before it. Steps
    /// that can't take us down are not counted: each count is a durable write.
    pub fn begin(&mut self, step: &Step) -> u64 {
        if !counts(step) {
            return 1;
        }
        let count = self.begun.entry(step.to_string()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// Forgets the begin of a step that has ended, well or not. A restart has ended well only
    /// when its instances still run at [`Record::verify`].
    pub fn end(&mut self, step: &Step) {
        if !matches!(step, Step::Restart(_)) {
            self.begun.remove(&step.to_string());
        }
    }

    /// A release came from this archive; written before it is renamed into place. Where there was
    /// one of this name before, what had passed is gone with it.
    pub fn extract(&mut self, build: &BuildName, digest: &Digest) {
        self.digests.insert(build.clone(), digest.clone());
        self.prepared.retain(|prepared| prepared != build);
        self.verified.retain(|verified| verified != build);
    }

    /// `post_extract` has passed; written after it.
    pub fn prepare(&mut self, build: &BuildName) {
        self.prepared.retain(|prepared| prepared != build);
        self.prepared.push(build.clone());
    }

    /// The host leaves service to activate a release; written before the flip.
    pub fn activate(&mut self, build: &BuildName) {
        self.leave();
        self.installed = None;
        self.rejected.remove(build);
        self.begun.clear();
    }

    /// `post_install` has passed; written after it.
    pub fn install(&mut self, build: &BuildName) {
        self.installed = Some(build.clone());
    }

    /// An instance is drained or restarted; written before it.
    pub fn leave(&mut self) {
        self.service = InService::Left;
        self.finished = None;
        self.burned_in = None;
    }

    /// An instance is drained; written before it.
    pub fn drain(&mut self, unit: &str) {
        self.units.entry(unit.to_owned()).or_default().drained = true;
    }

    /// An instance takes new connections again; written after it.
    pub fn undrain(&mut self, unit: &str) {
        self.units.entry(unit.to_owned()).or_default().drained = false;
    }

    /// An instance is restarted; written before it.
    pub fn restart(&mut self, unit: &str) {
        self.leave();
        let record = self.units.entry(unit.to_owned()).or_default();
        record.started = None;
        record.unproven = true;
    }

    /// An instance was restarted; written after it.
    pub fn restarted(&mut self, unit: &str, started: Started, number: Option<u64>) {
        let record = self.units.entry(unit.to_owned()).or_default();
        record.started = Some(started);
        record.restarted = number.max(record.restarted);
    }

    /// An instance has passed its probe; written after it.
    pub fn prove(&mut self, unit: &str) {
        self.units.entry(unit.to_owned()).or_default().unproven = false;
    }

    /// The host was watched for its time; written after it.
    pub fn burn_in(&mut self, build: &BuildName) {
        self.burned_in = Some(build.clone());
    }

    /// The host is in service at a release that works; written after everything else.
    pub fn verify(&mut self, build: &BuildName) {
        if self.service == InService::AsFound {
            // It was not us who restarted it: no hook is owed.
            self.installed = Some(build.clone());
            self.finished = Some(build.clone());
        }
        self.service = InService::At(build.clone());
        self.verified.retain(|verified| verified != build);
        self.verified.push(build.clone());
        self.rejected.remove(build);
        self.begun.clear();
    }

    /// `post_restart` has run; written after it.
    pub fn finish(&mut self, build: &BuildName) {
        self.finished = Some(build.clone());
    }

    /// A release has failed here. Of those that failed before it is remembered that they did, but not what they said, and the
    /// oldest are forgotten: never this one, which is wanted, and would be tried again at once.
    pub fn reject(&mut self, build: &BuildName, rejection: Rejection) {
        self.rejected.remove(build);
        let before = self.rejected.values_mut();
        before.for_each(|before| before.error.log.clear());
        while self.rejected.len() >= REJECTIONS_MAX
            && let Some(oldest) = self.oldest_rejected()
        {
            self.rejected.remove(&oldest);
        }
        self.rejected.insert(build.clone(), rejection);
        self.begun.clear();
    }

    fn oldest_rejected(&self) -> Option<BuildName> {
        let rejected = self.rejected.iter();
        let oldest = rejected.min_by_key(|(_, rejection)| rejection.rollout);
        oldest.map(|(build, _)| build.clone())
    }

    /// Forgets what is known of releases that are not on disk, but for those that were rejected, and of units that
    /// are not configured: the journal doesn't grow with the years.
    pub fn forget(&mut self, releases: &[BuildName], units: &[&str]) {
        let known = |build: &BuildName| releases.contains(build);
        self.verified.retain(known);
        self.prepared.retain(known);
        self.digests.retain(|build, _| known(build));
        self.units.retain(|unit, _| units.contains(&unit.as_str()));
    }
}

/// Unpacking, and what runs programs of others.
fn counts(step: &Step) -> bool {
    matches!(
        step,
        Step::Extract(_)
            | Step::Prepare(_)
            | Step::PostInstall(_)
            | Step::Restart(_)
            | Step::PostRestart(_)
    )
}

/// Rejections that are remembered: of a build that is wanted again years later, it doesn't matter.
const REJECTIONS_MAX: usize = 50;
