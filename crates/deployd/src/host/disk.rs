//! Room on a file system.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Returns the bytes that are free for us where `path` is; `None` where that can't be told.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let found = statvfs(path).ok()?;
    Some(
        found
            .blocks_available()
            .saturating_mul(found.fragment_size()),
    )
}
