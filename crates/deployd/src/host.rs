//! What deployd knows of Linux and of the network. It knows nothing of deployments: no module
//! here decides what is to be deployed, or when.

use nix::fcntl::OFlag;

pub(crate) mod archive;
pub(crate) mod cgroup;
pub(crate) mod disk;
pub(crate) mod download;
pub(crate) mod files;
pub(crate) mod firewall;
pub(crate) mod lock;
pub(crate) mod probe;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod signature;
pub(crate) mod sockets;
pub(crate) mod systemd;
pub(crate) mod tree;
pub(crate) mod user;

/// Flags of the handle of a directory, which must be one itself, and no link to one.
pub(crate) const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// What is to be done about an error of this part: the only thing that callers match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// It may pass by itself: try again after a pause.
    Retry,
    /// The build's fault: the same bytes fail again, so it is not tried before the target changes.
    Reject,
    /// The host's or the server's fault, and no quick retry helps: report it, and look again
    /// slowly.
    Stuck,
}
