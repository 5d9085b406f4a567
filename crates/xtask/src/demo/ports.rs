//! Free ports.

use std::net::{Ipv4Addr, TcpListener};
use std::process;

use anyhow::{Context, Result};

/// Below the range from which the system takes the ports of outgoing connections: a client that
/// hammers a closed port inside that range may end up connected to itself.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;
/// Two demos at the same time start their search this far apart, most likely.
const STRIDE: u32 = 40;

/// Returns as many ports on the loopback address as asked for, nobody listening on any of them.
pub(crate) fn free(count: usize) -> Result<Vec<u16>> {
    let span = u32::from(LAST - FIRST);
    let start = process::id().wrapping_mul(STRIDE) % span;
    let ports: Vec<u16> = (0..span)
        .filter_map(|offset| u16::try_from((start + offset) % span).ok())
        .map(|offset| FIRST + offset)
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .take(count)
        .collect();
    (ports.len() == count)
        .then_some(ports)
        .with_context(|| format!("there are no {count} free ports between {FIRST} and {LAST}"))
}
