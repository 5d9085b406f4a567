//! The restart queue: who may be out of service.
//!
//! A lease is a persistent sequential znode; it is granted where its rank among all of them is
//! below the restart concurrency. A list that is old is safe: it holds every lower number, and a
//! deletion that was not seen yet only makes a host wait.
//!
//! A list costs as much as there are names in it. What can be told without one: [`crowd`].

use crate::name::HostName;
use crate::znode::sequence;

pub mod crowd;

/// Returns the names of the leases of `host` among the children of `leases`, lowest first.
pub fn of_host<'a>(host: &HostName, children: &'a [String]) -> Vec<&'a String> {
    let mut own: Vec<_> = children
        .iter()
        .filter(|name| host_of(name) == Some(host.as_str()))
        .collect();
    own.sort_by_key(|name| sequence(name));
    own
}

/// Returns the leases that are before the one called `own`, first come first; `None` where it is not
/// among them.
pub fn before<'a>(own: &str, children: &'a [String]) -> Option<Vec<&'a String>> {
    let number = sequence(own)?;
    if !children.iter().any(|name| name == own) {
        return None;
    }
    let is_before = |name: &&String| sequence(name).is_some_and(|other| other < number);
    let mut before: Vec<_> = children.iter().filter(is_before).collect();
    // Cached: with thousands of them, reading the numbers is what takes long.
    before.sort_by_cached_key(|name| sequence(name));
    Some(before)
}

/// Waiting hosts that are woken by each change of the queue, and read it. Each of the others waits for one lease, and becomes one of
/// these when that goes, or when it counts that enough others went: so one lease that is given back wakes few, however many wait.
pub const NEAR: usize = 2;

/// What a host has to follow to learn when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    /// Its own lease: it holds it, until somebody takes it away.
    Own,
    /// The whole queue: its turn is near.
    Queue,
    /// This lease, that of a host further to the front.
    Ahead(String),
}

/// Says what a host follows that has these leases before it, when `limit` hosts may be out of
/// service.
pub fn follow(before: &[&String], limit: u64) -> Follow {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if before.len() < limit {
        Follow::Own
    } else if before.len() < limit.saturating_add(NEAR) {
        Follow::Queue
    } else {
        // When that one goes, first come first served, our turn is as near as that.
        Follow::Ahead(before[before.len() - limit - NEAR].clone())
    }
}

/// Returns how many leases must surely be given back before a host that had so many before it is near its turn, when some of all
/// were given back after that; 0 where its turn may be near.
pub fn ahead(before: usize, given_back: u32, limit: u64) -> u64 {
    let before = (before as u64).saturating_sub(u64::from(given_back));
    let near = limit.saturating_add(NEAR as u64);
    (before + 1).saturating_sub(near)
}

/// Returns how many of the names in `leases` are no leases.
pub fn strangers(children: &[String]) -> u64 {
    let strangers = children.iter().filter(|name| sequence(name).is_none());
    strangers.count() as u64
}

/// Returns the host in the name of a lease.
pub fn host_of(name: &str) -> Option<&str> {
    sequence(name)?;
    name.get(..name.len() - 10)?.strip_suffix('-')
}

#[cfg(test)]
mod tests;
