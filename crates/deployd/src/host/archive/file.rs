//! Makes the files of a release, in directories that are there, and fills them.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

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

/// A file that is to be made.
pub(super) struct Wanted {
    /// Where.
    pub(super) place: Place,
    /// Its final mode.
    pub(super) mode: u32,
    /// Seconds and nanoseconds of its change, where they make sense.
    pub(super) modified: Option<(i64, u32)>,
}

/// A file that is being written. It gets its time of change when nobody writes any more.
pub(super) struct NewFile {
    file: File,
    path: EntryPath,
    modified: Option<(i64, u32)>,
}

impl NewFile {
    /// Makes an empty file.
    pub(super) fn create(wanted: Wanted, access: Access) -> Result<Self, UnpackError> {
        let Wanted {
            place: Place { parent, path },
            mode,
            modified,
        } = wanted;
        let made = openat(&parent, path.name(), NEW_FILE, mode_of(mode));
        let file = made.map_err(|errno| match errno {
            Errno::EEXIST => UnpackError::twice(path.as_bytes()),
            errno => UnpackError::refused(errno, &path, "make the file"),
        })?;
        access.finish(file.as_fd(), mode, &path)?;
        Ok(Self {
            file: File::from(file),
            path,
            modified,
        })
    }

    /// Writes bytes to where they belong.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), UnpackError> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|source| UnpackError::refused(source, &self.path, "write"))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some((seconds, nanoseconds)) = self.modified {
            let modified = TimeSpec::new(seconds, i64::from(nanoseconds));
            // Never worth an error.
            let _ = futimens(&self.file, &TimeSpec::UTIME_OMIT, &modified);
        }
    }
}
