//! Makes the files of a release, in directories that are there, and fills them.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::access::{Access, mode_of};
use super::error::UnpackError;
use super::name::EntryPath;
use super::tree::Place;

/// Flags of a file that is being made.
const NEW_FILE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// A file that is being written.
pub(super) struct NewFile {
    file: File,
    path: EntryPath,
}

impl NewFile {
    /// Makes an empty file.
    pub(super) fn create(place: Place, mode: u32, access: Access) -> Result<Self, UnpackError> {
        let name = place.path.name();
        let file =
            openat(&place.parent, name, NEW_FILE, mode_of(mode)).map_err(|errno| match errno {
                Errno::EEXIST => UnpackError::twice(place.path.as_bytes()),
                errno => UnpackError::refused(errno, &place.path, "make the file"),
            })?;
        access.finish(file.as_fd(), mode, &place.path)?;
        Ok(Self {
            file: File::from(file),
            path: place.path,
        })
    }

    /// Writes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), UnpackError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| UnpackError::refused(source, &self.path, "write"))
    }

    /// Sets the time of change, which is never worth an error.
    pub(super) fn stamp(&self, modified: Option<(i64, u32)>) {
        if let Some((seconds, nanoseconds)) = modified {
            let modified = TimeSpec::new(seconds, i64::from(nanoseconds));
            let _ = futimens(&self.file, &TimeSpec::UTIME_OMIT, &modified);
        }
    }
}
