//! What a znode of the tree is, from its path, and whether what is in it can be read.

use crate::lease;
use crate::name::{BuildName, HostName, ServiceName};
use crate::wire::alive::Alive;
use crate::wire::build::Build;
use crate::wire::history::Entry;
use crate::wire::hold::Hold;
use crate::wire::lease::LeaseClaim;
use crate::wire::policy::Policy;
use crate::wire::report::Report;
use crate::wire::retry::Retry;
use crate::wire::role::Assignment;
use crate::wire::target::Target;
use crate::wire::{WireError, decode};

use super::sequence;

/// What a znode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The root, a service, or the parent of what there are many of. Its data means nothing.
    Folder,
    /// `enabled` or `enabled/canary`.
    Target,
    /// `roles/<host>`.
    Role,
    /// `policy`.
    Policy,
    /// `hold`.
    Hold,
    /// `builds/<build>`.
    Build,
    /// `history/<10 digits>`.
    Rollout,
    /// `retry/<host>`.
    Retry,
    /// `leases/<host>-<10 digits>`.
    Lease,
    /// `hosts/<host>`.
    Report,
    /// `hosts/<host>/alive` and `alive/<host>`.
    Alive,
    /// Nothing of ours, or a name that is none.
    Unknown,
}

impl Kind {
    /// Returns what a znode is whose path below the root has these names.
    pub fn of(names: &[&str]) -> Kind {
        let Some((service, parts)) = names.split_first() else {
            return Kind::Folder;
        };
        let kind = match parts {
            [] | ["roles" | "builds" | "history" | "retry" | "leases" | "hosts" | "alive"] => {
                Kind::Folder
            }
            ["enabled"] | ["enabled", "canary"] => Kind::Target,
            ["policy"] => Kind::Policy,
            ["hold"] => Kind::Hold,
            ["builds", build] if BuildName::parse(build).is_ok() => Kind::Build,
            ["history", name] if name.len() == 10 && sequence(name).is_some() => Kind::Rollout,
            ["leases", name] if lease::host_of(name).is_some_and(is_host) => Kind::Lease,
            ["roles", host] if is_host(host) => Kind::Role,
            ["retry", host] if is_host(host) => Kind::Retry,
            ["hosts", host] if is_host(host) => Kind::Report,
            ["hosts", host, "alive"] | ["alive", host] if is_host(host) => Kind::Alive,
            _ => Kind::Unknown,
        };
        match ServiceName::parse(service) {
            Ok(_) => kind,
            Err(_) => Kind::Unknown,
        }
    }

    /// Reads the data as what it should be.
    ///
    /// # Errors
    /// Where those who need it can't read it.
    pub fn check(self, data: &[u8]) -> Result<(), WireError> {
        match self {
            Kind::Folder | Kind::Unknown => Ok(()),
            // Whoever makes a sign of life or a report, makes what is missing above it, empty.
            Kind::Report | Kind::Policy if data.is_empty() => Ok(()),
            Kind::Target => Target::read(data).map(drop),
            Kind::Role => decode::<Assignment>(data).map(drop),
            Kind::Policy => decode::<Policy>(data).map(drop),
            Kind::Hold => decode::<Hold>(data).map(drop),
            Kind::Build => decode::<Build>(data).map(drop),
            Kind::Rollout => decode::<Entry>(data).map(drop),
            Kind::Retry => decode::<Retry>(data).map(drop),
            Kind::Lease => decode::<LeaseClaim>(data).map(drop),
            Kind::Report => decode::<Report>(data).map(drop),
            Kind::Alive => decode::<Alive>(data).map(drop),
        }
    }
}

fn is_host(name: &str) -> bool {
    HostName::parse(name).is_ok()
}

#[cfg(test)]
mod tests;
