//! What a load balancer does: checks its servers, takes them in turn, and gives a refused
//! connection to the next.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::super::http;
use super::CHECK_INTERVAL;

/// Checks in a row until a server is taken out, and until it is taken back.
const FALL: u32 = 2;
const RISE: u32 = 2;

/// The servers, and which of them get requests.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) servers: Vec<Server>,
    turn: AtomicUsize,
    is_over: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    is_up: AtomicBool,
}

impl Balancer {
    /// Returns a balancer that takes all servers for healthy until a check says otherwise.
    pub(crate) fn new(addresses: impl Iterator<Item = SocketAddr>) -> Balancer {
        let servers = addresses.map(|address| Server {
            address,
            is_up: AtomicBool::new(true),
        });
        Balancer {
            servers: servers.collect(),
            turn: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Returns the numbers of the servers that are up, the one whose turn it is first.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> {
        let count = self.servers.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..count)
            .map(move |offset| (first + offset) % count)
            .filter(|number| self.servers[*number].is_up.load(Ordering::Relaxed))
    }

    /// Checks a server until the end.
    pub(crate) fn check(&self, number: usize) {
        let Server { address, is_up } = &self.servers[number];
        // How many checks in a row said the contrary of what is taken for true.
        let mut contrary = 0;
        while !self.is_over() {
            let was_up = is_up.load(Ordering::Relaxed);
            let answer = http::fetch(*address, "/healthz");
            let is_well = answer.is_ok_and(|answer| answer.status == 200);
            contrary = if is_well == was_up { 0 } else { contrary + 1 };
            if contrary >= if was_up { FALL } else { RISE } {
                is_up.store(is_well, Ordering::Relaxed);
                contrary = 0;
            }
            thread::sleep(CHECK_INTERVAL);
        }
    }

    /// Ends the checks, and lets clients see that it is over.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}
