//! Ports for servers that must be told their port.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port given out.
const FIRST: u16 = 10_000;
/// The end of the ports given out. The kernel takes its own from 32768 up: a client that hammers a
/// closed port in that range will sooner or later connect to itself.
const END: u16 = 32_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Returns a port of the loopback interface that nobody listens on, and that this process was not
/// given before.
///
/// Another process may take it before it is used: a server that can't bind should ask again.
pub fn free() -> u16 {
    // Processes begin at places of their own, so that they seldom meet.
    let start = (std::process::id() % 440) as u16 * 50;
    for _ in FIRST..END {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % (END - FIRST);
        let port = FIRST + (start + step) % (END - FIRST);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port between {FIRST} and {END} is free");
}
