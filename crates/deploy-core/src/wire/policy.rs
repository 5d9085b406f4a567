//! `policy`: how a service's rollouts go.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Stored;

/// How a service's rollouts go. An absent znode is the default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Policy {
    /// How many hosts may be out of service at a time.
    #[serde(default)]
    pub restart_concurrency: Concurrency,
    /// Seconds after which the lease of a host that is not alive counts no more; absent: never.
    pub lease_reclaim_s: Option<u64>,
    /// Who changed it last.
    pub by: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
}

impl Stored for Policy {
    const WHAT: &'static str = "policy";
}

/// A number of hosts, or a share of those alive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Concurrency {
    /// That many hosts.
    Hosts(u64),
    /// That share of the hosts that are alive, rounded down, at least 1.
    Share(f64),
}

impl Concurrency {
    /// Parses `2` or `10%`.
    ///
    /// # Errors
    /// Zero hosts, a share outside 0 to 100 (0 % of the hosts is 1, too), or anything else; the text says what is wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || format!("`{text}` is not a restart concurrency: `2` or `10%` is wanted");
        match text.trim().strip_suffix('%') {
            Some(share) => match share.trim().parse::<f64>() {
                Ok(share) if (0.0..=100.0).contains(&share) => Ok(Self::Share(share)),
                _ => Err(wanted()),
            },
            None => match text.trim().parse::<u64>() {
                Ok(hosts) if hosts >= 1 => Ok(Self::Hosts(hosts)),
                _ => Err(wanted()),
            },
        }
    }

    /// Returns how many of `alive` hosts may be out of service at a time: at least 1.
    pub fn hosts(self, alive: u64) -> u64 {
        match self {
            Self::Hosts(hosts) => hosts.max(1),
            Self::Share(share) => ((alive as f64 * share / 100.0) as u64).max(1),
        }
    }
}

impl Default for Concurrency {
    /// A tenth of the fleet.
    fn default() -> Self {
        Self::Share(10.0)
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(hosts) => write!(f, "{hosts}"),
            Self::Share(share) => write!(f, "{share}%"),
        }
    }
}

impl Serialize for Concurrency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Hosts(hosts) => serializer.serialize_u64(*hosts),
            Self::Share(_) => serializer.serialize_str(&self.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Concurrency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = match &value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
