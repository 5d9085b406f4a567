//! Room on a file system.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// What is free on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Free {
    /// Bytes that we may write.
    pub(crate) bytes: u64,
    /// Files and directories that we may make.
    pub(crate) files: u64,
}

/// Returns what is free for us where `path` is; `None` where that can't be told.
pub(crate) fn free(path: &Path) -> Option<Free> {
    let found = statvfs(path).ok()?;
    let blocks = found.blocks_available();
    Some(Free {
        bytes: blocks.saturating_mul(found.fragment_size()),
        files: found.files_available(),
    })
}

/// Returns the bytes that are free for us where `path` is; `None` where that can't be told.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    free(path).map(|free| free.bytes)
}
