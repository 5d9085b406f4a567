//! The directory that a release is written to before it is one.
//!
//! ```text
//! releases/
//!     .r2431.partial/     mode 0700, locked for as long as its writer lives
//! ```
//!
//! A partial directory that nobody has locked was left by a killed run, and is removed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, openat, renameat2};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{fsync, syncfs};

use super::error::UnpackError;
use super::remove::{RemoveError, remove_tree};
use crate::host::DIRECTORY;

/// Bytes of a component.
const COMPONENT_BYTES_MAX: usize = 255;

/// A directory that is being written.
#[derive(Debug)]
pub(super) struct Partial {
    parent: File,
    root: File,
    name: OsString,
    release: PathBuf,
    release_name: OsString,
}

impl Partial {
    /// Makes the partial directory of `release`, in the same parent, which is open.
    pub(super) fn create((parent, release): (OwnedFd, &Path)) -> Result<Self, UnpackError> {
        let exists = || UnpackError::Exists {
            path: release.to_owned(),
        };
        // `/`, `.` and `..` have no name, and exist.
        let release_name = release.file_name().ok_or_else(exists)?.to_owned();
        match fstatat(&parent, &*release_name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                let action = format!("look for {}", release.display());
                return Err(UnpackError::io(action, errno));
            }
            Ok(_) => return Err(exists()),
        }
        let parent = File::from(parent);
        let name = partial_name(&release_name);
        let path = release.with_file_name(&name);
        let root = make_locked(&parent, &name, &path)?;
        Ok(Self {
            parent,
            root,
            name,
            release: release.to_owned(),
            release_name,
        })
    }

    /// Returns a handle of the directory.
    pub(super) fn root(&self) -> Result<OwnedFd, UnpackError> {
        let failed = |source| UnpackError::io("share a directory handle".to_owned(), source);
        self.root.as_fd().try_clone_to_owned().map_err(failed)
    }

    /// Makes everything in it durable, and only then gives it its final name. Returns how long the
    /// disk took.
    ///
    /// After an error the final name does not exist. Killed before the rename, it leaves a partial
    /// directory; after it, a complete release.
    pub(super) fn publish(&self) -> Result<Duration, UnpackError> {
        let failed = |action: &str, errno: Errno| {
            UnpackError::io(format!("{action} {}", self.release.display()), errno)
        };
        let started = Instant::now();
        syncfs(&self.root).map_err(|errno| failed("sync", errno))?;
        self.rename(&self.name, &self.release_name)
            .map_err(|errno| match errno {
                Errno::EEXIST => UnpackError::Exists {
                    path: self.release.clone(),
                },
                errno => failed("rename the partial directory to", errno),
            })?;
        fsync(&self.parent).map_err(|errno| {
            // What may not be durable is no release: `discard` finds it under its partial name.
            let _ = self.rename(&self.release_name, &self.name);
            failed("sync the directory of", errno)
        })?;
        Ok(started.elapsed())
    }

    /// Removes it with everything in it.
    pub(super) fn discard(self) -> Result<(), RemoveError> {
        remove_tree(self.parent.as_fd(), &self.name)
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        renameat2(
            &self.parent,
            from,
            &self.parent,
            to,
            RenameFlags::RENAME_NOREPLACE,
        )
    }
}

fn partial_name(release_name: &OsStr) -> OsString {
    const AROUND_BYTES: usize = ".".len() + ".partial".len();
    let kept = release_name.len().min(COMPONENT_BYTES_MAX - AROUND_BYTES);
    let mut name = b".".to_vec();
    name.extend_from_slice(&release_name.as_bytes()[..kept]);
    name.extend_from_slice(b".partial");
    OsString::from_vec(name)
}

fn make_locked(parent: &File, name: &OsStr, path: &Path) -> Result<File, UnpackError> {
    let failed =
        |action: &str, errno: Errno| UnpackError::io(format!("{action} {}", path.display()), errno);
    let make = || mkdirat(parent, name, Mode::S_IRWXU);
    match make() {
        Err(Errno::EEXIST) => {
            // Held until the end of this block, so that two who find it don't both remove it.
            let _leftover = lock(parent, name, path)?;
            remove_tree(parent.as_fd(), name).map_err(|source| UnpackError::Io {
                action: format!("remove {}", path.display()),
                source: std::io::Error::other(source),
            })?;
            make().map_err(|errno| failed("make", errno))?;
        }
        made => made.map_err(|errno| failed("make", errno))?,
    }
    let root = lock(parent, name, path)?;
    // A set-group-ID bit of the parent is inherited otherwise, by the whole tree; and the umask
    // may have been in the way.
    fchmod(&root, Mode::S_IRWXU).map_err(|errno| failed("set the mode of", errno))?;
    Ok(root)
}

/// Opens and locks a directory; [`UnpackError::Busy`] where another process has it.
fn lock(parent: &File, name: &OsStr, path: &Path) -> Result<File, UnpackError> {
    let failed = |errno: Errno| UnpackError::io(format!("open {}", path.display()), errno);
    let busy = || UnpackError::Busy {
        path: path.to_owned(),
    };
    let root = File::from(openat(parent, name, DIRECTORY, Mode::empty()).map_err(failed)?);
    match root.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy()),
        Err(TryLockError::Error(source)) => {
            return Err(UnpackError::io(format!("lock {}", path.display()), source));
        }
    }
    // Between the two calls another process may have removed it, and made its own.
    let opened = fstat(&root).map_err(failed)?;
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(named) if same(&opened, &named) => Ok(root),
        _ => Err(busy()),
    }
}

fn same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}
