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

/// Returns what is free for us where `path` is.
///
/// # Errors
/// Where the file system does not say so.
pub(crate) fn free(path: &Path) -> nix::Result<Free> {
    let found = statvfs(path)?;
    let blocks = found.blocks_available();
    Ok(Free {
        bytes: blocks.saturating_mul(found.fragment_size()),
        files: found.files_available(),
    })
}

/// Returns the bytes that are free for us where `path` is.
///
/// # Errors
/// Where the file system does not say so.
pub(crate) fn free_bytes(path: &Path) -> nix::Result<u64> {
    free(path).map(|free| free.bytes)
}
