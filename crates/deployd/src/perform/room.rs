//! What is said of a disk that fails.

use std::error::Error;
use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::{StepError, passing};
use crate::host::disk;

/// A failure of the disk that `path` is on: it may pass. Where room is what is wanting, it says how
/// much there is, since bytes, files and quotas run out one by one.
pub(super) fn of_the_disk(path: &Path, error: &(dyn Error + 'static)) -> StepError {
    let mut failed = passing(error);
    if wants_room(error)
        && let Ok(free) = disk::free(path)
    {
        let path = path.display();
        let free = format!(
            "; {} bytes and {} files are free in {path}",
            free.bytes, free.files
        );
        failed.message += &free;
    }
    failed
}

fn wants_room(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let errno = match error.downcast_ref::<io::Error>() {
            Some(error) => error.raw_os_error().map(Errno::from_raw),
            None => error.downcast_ref::<Errno>().copied(),
        };
        if matches!(errno, Some(Errno::ENOSPC | Errno::EDQUOT)) {
            return true;
        }
        cause = error.source();
    }
    false
}
