//! Counters, for logs and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a session has been through since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Clients made, connected or not; a hung or expired one is replaced.
    pub clients: u64,
    /// Times the link came up again, after the first time.
    pub reconnects: u64,
    /// Heartbeats that were not answered in time.
    pub heartbeat_failures: u64,
    /// Changes found by the slow re-read that no watch had told of. Should be 0 for ever.
    pub missed_events: u64,
    /// Requests sent, heartbeats included.
    pub requests: u64,
    /// Of those, heartbeats.
    pub heartbeats: u64,
    /// Requests waiting for their answer.
    pub in_flight: u64,
    /// Watches given to clients. A client keeps each until it fires, so this should stay far behind
    /// the number of reads.
    pub watches_made: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) clients: AtomicU64,
    pub(crate) epochs: AtomicU64,
    pub(crate) heartbeat_failures: AtomicU64,
    pub(crate) missed_events: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) heartbeats: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) watches_made: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            clients: read(&self.clients),
            reconnects: read(&self.epochs).saturating_sub(1),
            heartbeat_failures: read(&self.heartbeat_failures),
            missed_events: read(&self.missed_events),
            requests: read(&self.requests),
            heartbeats: read(&self.heartbeats),
            in_flight: read(&self.in_flight),
            watches_made: read(&self.watches_made),
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
