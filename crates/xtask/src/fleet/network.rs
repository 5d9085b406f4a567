//! The network of a fleet: a bridge in a namespace of its own, and a cable to each host.

use std::process::{Command, Stdio};

use anyhow::Result;

use super::place::{HUB, HUB_ADDRESS, Place, host_address, host_number};
use crate::netns::{Cable, Netns};
use crate::tool;

const BRIDGE: &str = "fleet";

/// The states of a bridge's port: what the link reports to the host stays the same.
const PORT_DISABLED: &str = "0";
const PORT_FORWARDING: &str = "3";

/// Makes the bridge, in a namespace of its own.
pub(crate) fn make_hub(place: &Place) -> Result<()> {
    let hub = make_named(place, HUB)?;
    hub.add_bridge(BRIDGE, &format!("{HUB_ADDRESS}/24"))
}

/// Makes the namespace of a host, which has no packet filter rules, and its cable.
pub(crate) fn make_host(place: &Place, host: &str) -> Result<()> {
    let address = format!("{}/24", host_address(host_number(host)?));
    let own = make_named(place, host)?;
    let cable = Cable {
        bridge: BRIDGE,
        name: host,
        address: &address,
    };
    Netns::open(&place.netns_file(HUB))?.lay(&cable, &own)
}

fn make_named(place: &Place, host: &str) -> Result<Netns> {
    ip(&["netns", "add", &place.netns(host)])?;
    let made = Netns::open(&place.netns_file(host))?;
    made.raise_loopback()?;
    Ok(made)
}

/// Takes a namespace away, if it is there, and with it the cable.
pub(crate) fn remove(place: &Place, host: &str) -> Result<()> {
    if !place.netns_file(host).exists() {
        return Ok(());
    }
    // The kernel takes a namespace away in its own time, and the next boot lays a cable of the same name. There is
    // none where the hub is gone already.
    let hub = place.netns(HUB);
    let mut cut = Command::new("ip");
    cut.args(["-n", &hub, "link", "delete", host]);
    let _ = cut.stderr(Stdio::null()).status();
    ip(&["netns", "delete", &place.netns(host)])
}

/// Lets nothing through from or to a host; it sees no cable pulled.
pub(crate) fn partition(place: &Place, host: &str) -> Result<()> {
    set_port(place, host, PORT_DISABLED)
}

/// Undoes [`partition`].
pub(crate) fn heal(place: &Place, host: &str) -> Result<()> {
    set_port(place, host, PORT_FORWARDING)
}

fn set_port(place: &Place, host: &str, state: &str) -> Result<()> {
    place.check_host(host)?;
    let hub = place.netns(HUB);
    tool::succeed(
        Command::new("bridge").args(["-n", &hub, "link", "set", "dev", host, "state", state]),
    )
}

fn ip(arguments: &[&str]) -> Result<()> {
    tool::succeed(Command::new("ip").args(arguments))
}
