//! How a call can fail. The one question a caller has to ask is whether a write may have happened.

use std::fmt;

/// Why a call failed, and to which znode.
///
/// A write that ended in [`Error::Unavailable`] certainly has not happened; one that ended in
/// [`Error::Unknown`] may have, and the only way to learn it is to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The znode, or the parent of the one to create, does not exist.
    #[error("failed to {0}: no such znode")]
    NoNode(Call),
    /// The znode exists already.
    #[error("failed to {0}: it exists already")]
    NodeExists(Call),
    /// The znode has another version than expected: somebody was faster.
    #[error("failed to {0}: it was changed meanwhile")]
    BadVersion(Call),
    /// The znode has children.
    #[error("failed to {0}: it has children")]
    NotEmpty(Call),
    /// The ACL of the znode, or of its parent, does not let us.
    #[error("failed to {0}: not authorized")]
    NoAuth(Call),
    /// The server did not take our authentication.
    #[error("failed to {0}: ZooKeeper refused our authentication")]
    AuthFailed(Call),
    /// The path is not one, or the server refuses the request for what it is.
    #[error("failed to {call}: {why}")]
    BadArguments {
        /// What was called.
        call: Call,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More data than a server takes (H13: it would cut the connection, and with it every watch).
    #[error("failed to {call}: {bytes} bytes are more than a znode holds")]
    TooLarge {
        /// What was called.
        call: Call,
        /// The size of the data.
        bytes: usize,
    },
    /// No link to ZooKeeper within the time for an operation. The write was surely not done.
    #[error("failed to {0}: ZooKeeper is not reachable")]
    Unavailable(Call),
    /// The answer got lost. The write may or may not have been done.
    #[error("failed to {0}: ZooKeeper did not answer, it may have been done")]
    Unknown(Call),
    /// The session was closed by us.
    #[error("failed to {0}: the ZooKeeper session is closed")]
    Closed(Call),
}

/// A call: what was tried, and on which znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The operation, as the text of an error names it.
    pub op: Op,
    /// The znode.
    pub path: String,
}

/// The operations there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read the data of a znode.
    Read,
    /// List the children of a znode.
    List,
    /// Create a znode.
    Create,
    /// Replace the data of a znode.
    Write,
    /// Delete a znode.
    Delete,
    /// Read, decide and write.
    Update,
    /// Wait until reads see every acknowledged write.
    Catch,
}

impl Call {
    pub(crate) fn new(op: Op, path: &str) -> Call {
        Call {
            op,
            path: path.to_owned(),
        }
    }
}

impl Error {
    /// Returns the call that failed.
    pub fn call(&self) -> &Call {
        match self {
            Error::NoNode(call)
            | Error::NodeExists(call)
            | Error::BadVersion(call)
            | Error::NotEmpty(call)
            | Error::NoAuth(call)
            | Error::AuthFailed(call)
            | Error::BadArguments { call, .. }
            | Error::TooLarge { call, .. }
            | Error::Unavailable(call)
            | Error::Unknown(call)
            | Error::Closed(call) => call,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, self.path)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Read => "read",
            Op::List => "list",
            Op::Create => "create",
            Op::Write => "write",
            Op::Delete => "delete",
            Op::Update => "update",
            Op::Catch => "catch up before reading",
        })
    }
}
