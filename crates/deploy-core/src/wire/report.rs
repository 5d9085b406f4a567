//! `hosts/<host>`: what a host says of itself, and what `deployd status` prints.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::role::Role;
use super::{Nulls, Stored};
use crate::name::{BuildName, HostName, ServiceName};

pub mod fit;

/// What a host is, for one service: what was observed, never what was intended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The host.
    pub host: HostName,
    /// The service.
    pub service: ServiceName,
    /// The role that it follows; null where the role znode can't be read.
    pub role: Option<Role>,
    /// The agent's version.
    pub agent: String,
    /// What it is doing.
    pub phase: Phase,
    /// The rollout of the target that it follows.
    pub rollout: Option<u64>,
    /// The build of the target that it follows.
    pub target: Option<BuildName>,
    /// What `current` points to.
    pub current: Option<BuildName>,
    /// The build that the running processes were started from; null where instances differ.
    pub serving: Option<BuildName>,
    /// The last verified release besides `current`: where a rollback of the host goes.
    pub previous: Option<BuildName>,
    /// The step under way.
    pub step: Option<StepReport>,
    /// The instances, in the order of the configuration.
    #[serde(default)]
    pub instances: Vec<InstanceReport>,
    /// Whether it holds a restart lease.
    #[serde(default)]
    pub lease: bool,
    /// `signed` or `zookeeper`: what vouches for the builds.
    pub trust: Option<String>,
    /// The complete releases on disk, last used first.
    #[serde(default)]
    pub releases: Vec<BuildName>,
    /// What is wrong.
    pub error: Option<ErrorReport>,
    /// Bytes free where the releases are.
    pub disk_free: Option<u64>,
    /// When this was observed.
    pub at: Option<String>,
}

impl Stored for Report {
    const WHAT: &'static str = "report";
    const NULLS: Nulls = Nulls::Written;
}

/// The step under way, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// `fetch`, `extract`, `post_extract`, `activate`, ….
    pub name: String,
    /// 1 for the first try.
    pub attempt: u64,
    /// Bytes, instances or hosts done; see `name`.
    pub done: Option<u64>,
    /// Of how many.
    pub total: Option<u64>,
    /// Since when.
    pub since: Option<String>,
    /// What it waits for, where it waits.
    pub detail: Option<String>,
}

/// One running copy of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Its unit.
    pub unit: String,
    /// Its port.
    pub port: Option<u16>,
    /// The build that its processes were started from; null where that can't be told.
    pub build: Option<BuildName>,
    /// `serving`, `draining`, `drained`, `restarting`, `probing` or `down`; `unknown` where nothing was seen.
    pub state: String,
    /// Established connections, while draining.
    pub connections: Option<u64>,
}

/// What is wrong, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The step that failed, or the znode that can't be read.
    pub step: String,
    /// `rejected`: the build failed here, and is tried again when somebody asks. `blocked`:
    /// something outside the build is wrong; it is tried again by itself.
    pub kind: String,
    /// What happened, to what, why.
    pub message: String,
    /// The last lines of output: at most 20, at most 4 KiB.
    #[serde(default)]
    pub log: Vec<String>,
}

/// What a host is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is wanted yet.
    Idle,
    /// Downloading the artifact.
    Fetching,
    /// Unpacking it.
    Extracting,
    /// Running `post_extract`.
    Preparing,
    /// Ready, outside the percent.
    Staged,
    /// For a lease, under hold, or for ZooKeeper.
    Waiting,
    /// Flipping, and running `post_install`.
    Activating,
    /// Draining and restarting instances.
    Restarting,
    /// Probing, and watching before the host counts as good.
    Probing,
    /// At its target.
    Serving,
    /// Going back to the last verified release.
    RollingBack,
    /// Gone back, or never gone: the target was rejected here.
    Failed,
    /// Something outside the build is wrong; it is tried again.
    Blocked,
    /// What a newer agent calls a phase that this program doesn't know.
    Other(String),
}

/// Every known phase and its word, in the order of a deployment.
pub const PHASES: [(Phase, &str); 13] = [
    (Phase::Idle, "idle"),
    (Phase::Fetching, "fetching"),
    (Phase::Extracting, "extracting"),
    (Phase::Preparing, "preparing"),
    (Phase::Staged, "staged"),
    (Phase::Waiting, "waiting"),
    (Phase::Activating, "activating"),
    (Phase::Restarting, "restarting"),
    (Phase::Probing, "probing"),
    (Phase::Serving, "serving"),
    (Phase::RollingBack, "rolling_back"),
    (Phase::Failed, "failed"),
    (Phase::Blocked, "blocked"),
];

impl Phase {
    /// Returns the word of the phase, as in reports.
    pub fn as_str(&self) -> &str {
        match self {
            Phase::Other(word) => word,
            known => PHASES
                .iter()
                .find(|(phase, _)| phase == known)
                .map(|(_, word)| *word)
                .expect("every phase but Other is in PHASES, as the tests check"),
        }
    }

    /// Returns the phase of a word; every word is one.
    pub fn of_word(word: &str) -> Phase {
        PHASES
            .iter()
            .find(|(_, known)| *known == word)
            .map_or_else(|| Phase::Other(word.to_owned()), |(phase, _)| phase.clone())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Phase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| Phase::of_word(&word))
    }
}
