//! `retry/<host>`: somebody asks a host to try a failed rollout again.

use serde::{Deserialize, Serialize};

use super::Stored;

/// The wish. Which wish it is, is told by the znode's mzxid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The rollout to try again.
    pub rollout: Option<u64>,
    /// Who asks.
    pub by: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
}

impl Stored for Retry {
    const WHAT: &'static str = "retry wish";
}
