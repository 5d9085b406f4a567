//! `alive/<host>`: there while the agent's session is.

use serde::{Deserialize, Serialize};

use super::Stored;

/// What the ephemeral znode of a live agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// The agent's version.
    pub agent: String,
    /// When this agent started.
    pub since: Option<String>,
}

impl Stored for Alive {
    const WHAT: &'static str = "alive mark";
}
