//! Ports for servers that must be told their port.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// The first port given out.
const FIRST: u16 = 10_000;
/// How many a process takes at a time.
const BLOCK: u16 = 50;
/// How many times that there is: up to 20,000, where those of the demo begin. The kernel takes its own from 32768 up: a
/// client that hammers a closed port in that range will sooner or later connect to itself.
const BLOCKS: u16 = 200;

/// What this process has taken.
struct Taken {
    /// Ports of the newest block that were not given out.
    left: std::ops::Range<u16>,
    /// The name of each block, which is nobody else's until this process ends.
    names: Vec<UnixListener>,
}

static TAKEN: Mutex<Taken> = Mutex::new(Taken {
    left: 0..0,
    names: Vec::new(),
});

/// Returns a port of the loopback interface that nobody listens on, and that no process of the tests
/// in this network namespace is given as long as this one lives: not even to see whether it is free,
/// which would make it be taken for a moment.
///
/// # Panics
/// If all ports are given out.
pub fn free() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        if let Some(port) = taken.left.find(is_free) {
            return port;
        }
        taken.take();
    }
}

impl Taken {
    /// Takes a block that no process has.
    fn take(&mut self) {
        // Not always the first: what listened there may be ending with the process that had it.
        let begin = (std::process::id() % u32::from(BLOCKS)) as u16;
        let mut starts = (0..BLOCKS).map(|block| FIRST + (begin + block) % BLOCKS * BLOCK);
        let (start, name) = starts
            .find_map(|start| Some((start, name(start).ok()?)))
            .expect("fewer ports are in use");
        self.left = start..start + BLOCK;
        self.names.push(name);
    }
}

/// Takes the name of a block. A name is bound to the network namespace, as its ports are, and goes
/// with the process, however it ends.
fn name(start: u16) -> std::io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!(
        "deploy-test-ports-{start}"
    ))?)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, free, name};

    #[test]
    fn nobody_is_given_a_port_of_somebody_else() {
        let port = free();
        assert_ne!(free(), port);
        // What another process asks for first.
        let error = name(port - port % BLOCK).expect_err("its block is taken");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    }

    #[test]
    fn ports_are_below_those_of_the_kernel() {
        assert!((0..100).all(|_| free() < 32_768));
    }
}
