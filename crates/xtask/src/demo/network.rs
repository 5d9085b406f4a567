//! The private network of the demo: a hub, where ZooKeeper and the operator are, and hosts, each with
//! an address and a packet filter of its own.
//!
//! ```text
//! hub     10.78.0.1   this process: ZooKeeper, builds, deployctl, traffic
//!   bridge `hub`
//!     host-1  10.78.0.11   its deployd and its instances
//!     host-2  10.78.0.12
//! ```
//!
//! Root or not: who is not root becomes root of a user namespace, and of networks in it only.
//! Nothing has a name in the file system: all of it is gone with the last process in it.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

use crate::netns::{Cable, Netns};

/// The address of the hub. Two demos don't see each other.
pub(crate) const HUB: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const BRIDGE: &str = "hub";

/// A host's place in the network.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) address: Ipv4Addr,
    pub(crate) netns: Netns,
}

/// Takes this process out of the machine's network, for good, and makes one of its own with a place
/// for each of these hosts. To be called before any thread is started: a user namespace is for
/// processes of one thread.
pub(crate) fn make(hosts: &[&str]) -> Result<Vec<Place>> {
    leave_the_machine()?;
    let hub = Netns::of_this_thread()?;
    hub.raise_loopback()?;
    hub.add_bridge(BRIDGE, &with_prefix(HUB))?;
    (11..)
        .zip(hosts)
        .map(|(last, name)| {
            let address = Ipv4Addr::new(10, 78, 0, last);
            let netns = Netns::make()?;
            netns.raise_loopback()?;
            let cable = Cable {
                bridge: BRIDGE,
                name,
                address: &with_prefix(address),
            };
            hub.lay(&cable, &netns)?;
            Ok(Place { address, netns })
        })
        .collect()
}

fn with_prefix(address: Ipv4Addr) -> String {
    format!("{address}/24")
}

fn leave_the_machine() -> Result<()> {
    // Root in a container may have no right to it, and still be allowed what everybody is.
    if Uid::effective().is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    let (user, group) = (Uid::effective(), Gid::effective());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .context("this user may not make user and network namespaces")?;
    // Without the first the kernel refuses the last.
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), text)
            .with_context(|| format!("failed to set the {file} of a user namespace"))?;
    }
    Ok(())
}

/// Tells whether this process is in a user namespace that [`make`] made: with one user.
pub(crate) fn has_own_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2) == Some("1")
}
