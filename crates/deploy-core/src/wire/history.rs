//! `history/<10 digits>`: one change of a service; its sequence number is the rollout number.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::name::{BuildName, HostName};
use crate::percent::Percent;

/// What was done, by whom, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// `canary`, `promote`, `deploy`, `stage`, `rollback`, `restart`, `hold`, `unhold`, `break` (of
    /// a lease), `forget` (of a host), …. A newer deployctl may write others.
    pub kind: String,
    /// The build that was wanted before.
    pub from: Option<BuildName>,
    /// The build that is wanted since.
    pub to: Option<BuildName>,
    /// The share of the hosts that it was wanted of; absent: all.
    pub percent: Option<Percent>,
    /// The host that it is about, where it is about one.
    pub host: Option<HostName>,
    /// Who did it.
    pub by: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
    /// Distinguishes two entries that are the same in everything else.
    pub nonce: Option<String>,
    /// How it ended; filled in by the first deployctl that sees the end.
    pub outcome: Option<Outcome>,
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// `done`, `failed`, `rolled back` or `superseded`.
    pub result: String,
    /// Hosts that were at the target then.
    pub hosts: u64,
    /// Hosts that it was about; entries of older versions don't tell.
    pub total: Option<u64>,
    /// Seconds from the change to the end; unknown where nobody saw it.
    pub seconds: Option<u64>,
}

impl Entry {
    /// Tells whether it is a change of a target, or the taking away of a canary.
    pub fn changes_targets(&self) -> bool {
        !matches!(self.kind.as_str(), "hold" | "unhold" | "break" | "forget")
    }
}

impl Stored for Entry {
    const WHAT: &'static str = "history entry";
}
