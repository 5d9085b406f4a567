//! The share of hosts that activate a build, and which hosts those are.
//!
//! The rule is part of the contract (docs/znodes.md has test vectors): anybody can compute who is
//! next. It differs from build to build, and a larger number only ever adds hosts.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::name::{BuildName, HostName, ServiceName};

/// A share of the hosts: 0 to 100, decimals allowed.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

/// Why a number is not a percentage.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("percent is {0}; it must be from 0 to 100")]
pub struct PercentError(f64);

impl Percent {
    /// Every host.
    pub const ALL: Percent = Percent(100.0);
    /// No host: staged everywhere, activated nowhere.
    pub const NONE: Percent = Percent(0.0);

    /// Returns the share, if it is one.
    ///
    /// # Errors
    /// Below 0, above 100, or not a number.
    pub fn new(value: f64) -> Result<Self, PercentError> {
        if (0.0..=100.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(PercentError(value))
        }
    }

    /// Returns the number, 0 to 100.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Tells whether `host` is among those that activate `build`.
    ///
    /// It is where the first 8 bytes of SHA-256(service NUL build NUL host), big-endian, as a
    /// fraction of 2^64, are below percent/100.
    pub fn includes(self, service: &ServiceName, build: &BuildName, host: &HostName) -> bool {
        // 2^64 as a float is exact, and so is the product's conversion: 100 % is 2^64 itself,
        // which every u64 is below.
        let threshold = (self.0 / 100.0 * 2f64.powi(64)) as u128;
        u128::from(place(service, build, host)) < threshold
    }
}

/// Returns where `host` stands in the order in which hosts activate `build`: the fraction of 2^64.
pub fn place(service: &ServiceName, build: &BuildName, host: &HostName) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(service.as_str());
    hasher.update([0]);
    hasher.update(build.as_str());
    hasher.update([0]);
    hasher.update(host.as_str());
    let digest = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

impl Default for Percent {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // `100`, not `100.0`: people read this with zkCli.
        if self.0.fract() == 0.0 {
            serializer.serialize_u64(self.0 as u64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::new(value).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
