//! The restart queue: who may be out of service.
//!
//! A lease is a persistent sequential znode; it is granted where its rank among all of them is
//! below the restart concurrency. A list that is old is safe: it holds every lower number, and a
//! deletion that was not seen yet only makes a host wait.

use crate::name::HostName;
use crate::znode::sequence;

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

/// Waiting hosts that are woken by each change of the queue. Each of the others waits for one lease, and becomes one of these
/// when that goes: so one lease that is given back wakes few, however many wait.
pub const NEAR: usize = 8;

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

/// What was seen of the queue without reading it: how many leases are in it, and the transaction that last changed that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// Leases in it.
    pub leases: u64,
    /// The transaction that last made or deleted one.
    pub changed_by: i64,
}

/// Tells whether the lease that this transaction made is granted because all in the queue are, whoever is first. Only a length
/// that was seen after it was made says that: then all before it are counted, but for those that are given back.
pub fn all_are_granted(length: Length, own_made_by: i64, limit: u64) -> bool {
    length.changed_by >= own_made_by && length.leases <= limit
}

/// Tells whether a host that had so many leases before it is surely not near its turn, since too few of all have been given
/// back after that.
pub fn is_far(before: usize, given_back: u32, limit: u64) -> bool {
    let before = (before as u64).saturating_sub(u64::from(given_back));
    before >= limit.saturating_add(NEAR as u64)
}

/// Returns how many of the children of a znode were ever deleted: what ZooKeeper says of it counts the changes, each of which
/// made a child or deleted one. Wraps with ZooKeeper's counter.
pub fn given_back(children_version: i32, children: i32) -> u32 {
    // Changes less those children that are there: each other child was made and deleted.
    children_version.wrapping_sub(children).cast_unsigned() / 2
}

/// Returns the host in the name of a lease.
pub fn host_of(name: &str) -> Option<&str> {
    sequence(name)?;
    name.get(..name.len() - 10)?.strip_suffix('-')
}

#[cfg(test)]
mod tests;
