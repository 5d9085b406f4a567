//! A znode as it is read, and the words to write one with.

/// The most data that is sent to a server, in bytes.
///
/// Servers take a little less than 1 MiB, whole request included, and cut the connection above it.
pub const DATA_BYTES_MAX: usize = 1_000_000;

/// The data of a znode with what ZooKeeper knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Znode {
    /// The bytes somebody wrote.
    pub data: Vec<u8>,
    /// Versions, times, owner.
    pub stat: Stat,
}

/// What ZooKeeper knows about a znode. Times are the server's wall clock, for display only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that created it.
    pub czxid: i64,
    /// The transaction that last changed its data.
    pub mzxid: i64,
    /// The transaction that last added or removed a child.
    pub pzxid: i64,
    /// When it was created, in milliseconds since 1970.
    pub ctime_ms: i64,
    /// When its data last changed, in milliseconds since 1970.
    pub mtime_ms: i64,
    /// How often its data changed.
    pub version: i32,
    /// How often its children changed.
    pub children_version: i32,
    /// The session it ends with; 0 if it is persistent.
    pub ephemeral_owner: i64,
    /// The size of its data.
    pub data_bytes: i32,
    /// How many children it has.
    pub num_children: i32,
}

/// How long a created znode stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until it is deleted.
    Persistent,
    /// Until it is deleted, or the session ends. See also [`Zk::ephemeral`](crate::zk::Zk::ephemeral),
    /// which brings it back after that.
    Ephemeral,
}

/// The version a write is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Any,
    /// The version that was read; another one fails with `BadVersion`.
    Version(i32),
}

/// What the closure given to [`Zk::update`](crate::zk::Zk::update) wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replace the data, or create the znode with it.
    Write(Vec<u8>),
    /// Delete the znode.
    Delete,
    /// Nothing is to be done.
    Leave,
}

/// What [`Zk::update`](crate::zk::Zk::update) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The data is in place, with this stat.
    Written(Stat),
    /// The znode is gone.
    Deleted,
    /// The closure wanted nothing.
    Left,
}

impl Expect {
    pub(crate) fn version(self) -> Option<i32> {
        match self {
            Expect::Any => None,
            Expect::Version(version) => Some(version),
        }
    }
}
