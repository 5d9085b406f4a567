//! `hold`: nothing new starts while it exists.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Stored, time};

/// Who holds a service, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hold {
    /// Who.
    pub by: Option<String>,
    /// Since when.
    pub at: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
    /// When it ends by itself; without it, never.
    pub until: Option<String>,
}

impl Stored for Hold {
    const WHAT: &'static str = "hold";
}

impl Hold {
    /// Reads a hold. A hold that can't be read still holds: its existence is what counts. Why it
    /// can't be read is then its `why`.
    pub fn read(data: &[u8]) -> Hold {
        super::decode(data).unwrap_or_else(|error| Hold {
            why: Some(error.to_string()),
            ..Hold::default()
        })
    }

    /// Tells whether it holds at `now`. An end that is no time is no end.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.ends().is_none_or(|until| now < until)
    }

    /// Returns when it ends by itself.
    pub fn ends(&self) -> Option<Timestamp> {
        self.until.as_deref().and_then(time::parse)
    }
}
