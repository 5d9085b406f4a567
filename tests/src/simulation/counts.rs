//! What something took: counted by the agents' sessions, by the kernel, and by ZooKeeper.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use super::{Farm, LIMIT};
use crate::eventually::eventually;

/// What was counted up to now, of all hosts together.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    at: Instant,
    /// Requests of the sessions, but for heartbeats.
    requests: u64,
    heartbeats: u64,
    /// Bytes that ZooKeeper was sent, over the connections that there are.
    bytes_to: u64,
    /// Bytes that it has sent.
    bytes_from: u64,
    /// Watches that ZooKeeper holds, for everybody.
    watches: u64,
}

/// What was counted between two moments, for each host.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Requests, but for heartbeats.
    pub requests: f64,
    /// Heartbeats.
    pub heartbeats: f64,
    /// Bytes sent to ZooKeeper.
    pub bytes_to: f64,
    /// Bytes got from it.
    pub bytes_from: f64,
    /// Watches that ZooKeeper holds in the end.
    pub watches: f64,
    /// Seconds in between.
    pub seconds: f64,
}

impl Cost {
    /// What it would be in this many seconds.
    pub fn in_seconds(self, seconds: f64) -> Cost {
        let factor = seconds / self.seconds;
        Cost {
            requests: self.requests * factor,
            heartbeats: self.heartbeats * factor,
            bytes_to: self.bytes_to * factor,
            bytes_from: self.bytes_from * factor,
            watches: self.watches,
            seconds,
        }
    }

    /// What it is without the other, of each so many.
    pub fn without(self, other: Cost, times: f64) -> Cost {
        Cost {
            requests: (self.requests - other.requests) * times,
            heartbeats: self.heartbeats * times,
            bytes_to: (self.bytes_to - other.bytes_to) * times,
            bytes_from: (self.bytes_from - other.bytes_from) * times,
            ..self
        }
    }
}

impl Farm {
    /// Counts.
    pub fn count(&mut self) -> Counts {
        let (bytes_to, bytes_from) = bytes(self.server.port());
        let traffic = self.traffic();
        Counts {
            at: Instant::now(),
            requests: traffic.requests - traffic.heartbeats,
            heartbeats: traffic.heartbeats,
            bytes_to,
            bytes_from,
            watches: self.server_says("zk_watch_count"),
        }
    }

    /// What was counted since then, for each host.
    pub fn cost_since(&mut self, before: Counts) -> Cost {
        let now = self.count();
        // As many hosts and requests as anybody simulates fit a float.
        let each = |before: u64, now: u64| now.saturating_sub(before) as f64 / self.hosts as f64;
        Cost {
            requests: each(before.requests, now.requests),
            heartbeats: each(before.heartbeats, now.heartbeats),
            bytes_to: each(before.bytes_to, now.bytes_to),
            bytes_from: each(before.bytes_from, now.bytes_from),
            watches: each(0, now.watches),
            seconds: now.at.duration_since(before.at).as_secs_f64(),
        }
    }

    /// A figure of ZooKeeper's own.
    ///
    /// # Panics
    /// If it does not say it.
    pub fn server_says(&self, figure: &str) -> u64 {
        eventually("ZooKeeper says how it is", LIMIT, || {
            let text = self.server.ask("mntr").ok_or("no answer")?;
            let figures: BTreeMap<&str, &str> = text
                .lines()
                .filter_map(|line| line.split_once('\t'))
                .collect();
            let value = figures.get(figure).ok_or("no such figure")?;
            value.trim().parse::<f64>().map_err(|_| "no number")
        }) as u64
    }
}

/// Bytes to and from a server, over the connections that this machine has to it, as the kernel counts them.
fn bytes(port: u16) -> (u64, u64) {
    let filter = format!("dport = :{port}");
    let said = Command::new("ss").args(["-tinH", &filter]).output();
    let said = said.expect("ss of iproute2 runs").stdout;
    let said = String::from_utf8_lossy(&said);
    let sum = |what: &str| {
        let found = said
            .split_whitespace()
            .filter_map(|word| word.strip_prefix(what));
        found.filter_map(|number| number.parse::<u64>().ok()).sum()
    };
    (sum("bytes_sent:"), sum("bytes_received:"))
}
