//! The restart queue: who may be out of service.
//!
//! A lease is a persistent sequential znode; it is granted where its rank among all of them is
//! below the restart concurrency. A list that is old is safe: it holds every lower number, and a
//! deletion that was not seen yet only makes a host wait.

use crate::name::HostName;
use crate::observed::Lease;
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

/// Says where the lease called `own` stands when `limit` hosts may be out of service.
pub fn standing(own: Option<&str>, children: &[String], limit: u64) -> Lease {
    let Some(number) = own.and_then(sequence) else {
        return Lease::None;
    };
    if !children.iter().any(|name| Some(name.as_str()) == own) {
        return Lease::None;
    }
    let before = children
        .iter()
        .filter_map(|name| sequence(name))
        .filter(|other| *other < number);
    if (before.count() as u64) < limit {
        Lease::Held
    } else {
        Lease::Queued
    }
}

/// Returns the host in the name of a lease.
pub fn host_of(name: &str) -> Option<&str> {
    sequence(name)?;
    name.get(..name.len() - 10)?.strip_suffix('-')
}

#[cfg(test)]
mod tests;
