//! The directory of the releases, open.
//!
//! Who may write to the directory of a service can put a symlink in the place of `releases` at any
//! moment. A path would lead elsewhere then, a handle does not: what is made, renamed or deleted is
//! so beneath the handle, and `releases` must never be followed when it is opened.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use super::{TreeError, what_is};
use crate::host::DIRECTORY;
use crate::host::archive::remove::{RemoveError, remove_tree};

/// The directory of the releases, open.
pub(crate) struct Releases {
    directory: Dir,
    path: PathBuf,
}

/// What is in it.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// The names of the complete releases with the time of their directories, newest first.
    pub(crate) releases: Vec<(String, SystemTime)>,
    /// Names of what is no directory.
    pub(crate) others: Vec<String>,
}

impl Releases {
    /// Opens it. The directories above may be reached through links, it itself may not be one.
    ///
    /// # Errors
    /// Where it is not there, something else, or can't be opened.
    pub(crate) fn open(path: PathBuf) -> Result<Releases, TreeError> {
        let errno = match Dir::open(&path, DIRECTORY, Mode::empty()) {
            Ok(directory) => return Ok(Releases { directory, path }),
            Err(errno) => errno,
        };
        let foreign = match errno {
            Errno::ENOENT => return Err(TreeError::Missing { path }),
            Errno::ENOTDIR | Errno::ELOOP => what_is(&path),
            _ => None,
        };
        Err(match foreign {
            Some(found) => TreeError::Foreign {
                path,
                found,
                expected: "a directory",
            },
            None => TreeError::Io {
                attempt: "open",
                path,
                source: errno.into(),
            },
        })
    }

    /// Returns its path: for messages, and for what does no harm elsewhere.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns one more handle of it.
    ///
    /// # Errors
    /// Where there is none left.
    pub(crate) fn handle(&self) -> Result<OwnedFd, TreeError> {
        let cloned = self.directory.as_fd().try_clone_to_owned();
        cloned.map_err(|source| self.failed("open", source))
    }

    /// Opens a release.
    ///
    /// # Errors
    /// Where it is not there, no directory, or can't be opened.
    pub(crate) fn open_release(&self, build: &str) -> Result<OwnedFd, TreeError> {
        let path = self.path.join(build);
        openat(&self.directory, build, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => TreeError::Missing { path },
            errno => TreeError::Io {
                attempt: "open",
                path,
                source: errno.into(),
            },
        })
    }

    /// Gives one of its names another.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.directory, from, &self.directory, to)?)
    }

    /// Removes one of its names, with everything in it. What does not exist is removed already.
    ///
    /// # Errors
    /// Where something is left of it.
    pub(crate) fn remove(&self, name: &OsStr) -> Result<(), RemoveError> {
        remove_tree(self.directory.as_fd(), name)
    }

    /// Returns the names in it; those that are no text are left out.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(crate) fn names(&mut self) -> Result<Vec<String>, TreeError> {
        let entries: Result<Vec<_>, _> = self.directory.iter().collect();
        let entries = entries.map_err(|errno| self.failed("list", errno.into()))?;
        let names = entries.iter().filter_map(|it| it.file_name().to_str().ok());
        let own = names.filter(|name| ![".", ".."].contains(name));
        Ok(own.map(str::to_owned).collect())
    }

    /// Returns what is in it. Names that start with a dot are never releases, and never in their way.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(super) fn list(&mut self) -> Result<Listed, TreeError> {
        let names = self.names()?;
        let mut listed = Listed::default();
        for name in names.into_iter().filter(|name| !name.starts_with('.')) {
            let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
            // It may go while we look: then it is not listed.
            let Ok(found) = fstatat(&self.directory, name.as_str(), flags) else {
                continue;
            };
            if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
                listed.releases.push((name, modified(&found)));
            } else {
                listed.others.push(name);
            }
        }
        let newest_first = |a: &(String, SystemTime), b: &(String, SystemTime)| {
            b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0))
        };
        listed.releases.sort_by(newest_first);
        Ok(listed)
    }

    fn failed(&self, attempt: &'static str, source: io::Error) -> TreeError {
        TreeError::Io {
            attempt,
            path: self.path.clone(),
            source,
        }
    }
}

/// When a directory was changed last; of one from before 1970, that is the time.
fn modified(found: &FileStat) -> SystemTime {
    let seconds = u64::try_from(found.st_mtime).unwrap_or_default();
    let nanoseconds = u32::try_from(found.st_mtime_nsec).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}
