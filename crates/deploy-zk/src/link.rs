//! The state of the link to ZooKeeper.

use std::fmt;

use crate::config::ConfigError;

/// Whether ZooKeeper can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It can't; it is tried again for as long as the session is open.
    Down {
        /// Why.
        reason: Reason,
    },
    /// It can.
    Up {
        /// Grows each time the link comes up. What was read in another epoch may be out of date.
        epoch: u64,
        /// Grows with each new session: the ephemeral znodes of older ones go away.
        generation: u64,
    },
    /// We closed the session.
    Closed,
}

/// Why the link is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was not up yet.
    Starting,
    /// It is never tried with such a config.
    Config(ConfigError),
    /// The system has no thread or file left for a client.
    NoThread,
    /// None of the names has an address.
    NoAddress,
    /// No server took a connection in time.
    NoServer,
    /// The connection broke.
    ConnectionLost,
    /// The connection broke and did not come back in time; a new session is made.
    ReconnectTimedOut,
    /// The server was silent for too long; a new session is made.
    HeartbeatMissed,
    /// The server ended the session.
    SessionLost,
    /// The server did not take our authentication.
    AuthFailed,
    /// Answers made no sense, so that the connection can't be trusted; a new session is made.
    Garbled,
}

impl Link {
    /// Tells whether it is up.
    pub fn is_up(&self) -> bool {
        matches!(self, Link::Up { .. })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Link::Down { reason } => write!(f, "down: {reason}"),
            Link::Up { .. } => f.write_str("up"),
            Link::Closed => f.write_str("closed"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Starting => "not connected yet",
            Reason::Config(problem) => return problem.fmt(f),
            Reason::NoThread => "the system has no thread or file left for a ZooKeeper client",
            Reason::NoAddress => "none of the ZooKeeper servers' names has an address",
            Reason::NoServer => "no ZooKeeper server answers",
            Reason::ConnectionLost => "the connection to ZooKeeper broke",
            Reason::ReconnectTimedOut => "the connection to ZooKeeper broke and did not come back",
            Reason::HeartbeatMissed => "ZooKeeper is silent",
            Reason::SessionLost => "ZooKeeper ended our session",
            Reason::AuthFailed => "ZooKeeper refused our authentication",
            Reason::Garbled => "ZooKeeper's answers made no sense",
        })
    }
}
