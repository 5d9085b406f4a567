//! The directory of a service.
//!
//! ```text
//! <dir>/releases/<build>/          complete: only ever renamed into place
//! <dir>/releases/.<build>.partial/ being unpacked; removed at start
//! <dir>/current -> releases/<build>
//! ```

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, open, renameat2};
use nix::sys::stat::{Mode, fchmod};

use self::releases::{Listed, Releases};
use super::{DIRECTORY, files};

pub(crate) mod releases;

/// Mode of the directories that are made: 0755, as that of a release.
const MODE: Mode = Mode::S_IRWXU
    .union(Mode::S_IRGRP)
    .union(Mode::S_IXGRP)
    .union(Mode::S_IROTH)
    .union(Mode::S_IXOTH);

/// The directory of a service.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    dir: PathBuf,
}

/// What `current` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Current {
    /// Not there.
    Absent,
    /// A symlink to something with this name in `releases`.
    Release(String),
    /// A file, a directory, or a link to somewhere else: not ours to replace.
    Foreign(String),
}

/// Why the directory of a service can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// The directory, or what is above it, is not there.
    #[error("{path} does not exist")]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// Something can't be made, read or replaced.
    #[error("failed to {attempt} {path}")]
    Io {
        /// What was tried.
        attempt: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `current` is not a symlink into `releases`, or that no directory.
    #[error("{path} is {found}, not {expected}; move it away")]
    Foreign {
        /// `current` or `releases`.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Tree {
    /// Returns the tree in a directory; looks at nothing.
    pub(crate) fn new(dir: &Path) -> Tree {
        Tree {
            dir: dir.to_owned(),
        }
    }

    /// Returns the directory itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where releases are.
    pub(crate) fn releases(&self) -> PathBuf {
        self.dir.join("releases")
    }

    /// Where one release is.
    pub(crate) fn release(&self, build: &str) -> PathBuf {
        self.dir.join("releases").join(build)
    }

    /// The symlink to the release in service.
    pub(crate) fn current(&self) -> PathBuf {
        self.dir.join("current")
    }

    /// Makes the directory and `releases`, where the directory above exists: a mount that is
    /// missing is not papered over. Returns the latter, open.
    ///
    /// # Errors
    /// Where the directory above does not exist, `releases` is something else, or they can't be
    /// made.
    pub(crate) fn prepare(&self) -> Result<Releases, TreeError> {
        let above = self.dir.parent().unwrap_or(Path::new("/"));
        if !above.is_dir() {
            return Err(TreeError::Missing {
                path: above.to_owned(),
            });
        }
        for path in [self.dir.clone(), self.releases()] {
            make(&path).map_err(|source| TreeError::Io {
                attempt: "make",
                path,
                source,
            })?;
        }
        Releases::open(self.releases())
    }

    /// Opens `releases`; `None` where it is not there.
    ///
    /// # Errors
    /// Where it is something else, or can't be opened.
    pub(crate) fn open(&self) -> Result<Option<Releases>, TreeError> {
        match Releases::open(self.releases()) {
            Ok(releases) => Ok(Some(releases)),
            Err(TreeError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a release.
    ///
    /// # Errors
    /// Where it is not there, `releases` is something else, or they can't be opened.
    pub(crate) fn open_release(&self, build: &str) -> Result<OwnedFd, TreeError> {
        Releases::open(self.releases())?.open_release(build)
    }

    /// Returns what is in `releases`.
    ///
    /// # Errors
    /// Where it can't be read, or is something else; a missing one is empty.
    pub(crate) fn list(&self) -> Result<Listed, TreeError> {
        self.open()?
            .map_or(Ok(Listed::default()), |mut releases| releases.list())
    }

    /// Says what has the name of a release and is none; `None` where nothing has it.
    pub(crate) fn in_place_of(&self, build: &str) -> Option<String> {
        let path = self.release(build);
        Some(format!("{} is {}", path.display(), what_is(&path)?))
    }

    /// Returns what `current` is.
    ///
    /// # Errors
    /// Where that can't be told.
    pub(crate) fn read_current(&self) -> Result<Current, TreeError> {
        let path = self.current();
        match fs::read_link(&path) {
            Ok(target) => Ok(match release_name(&target, &self.releases()) {
                Some(name) => Current::Release(name),
                None => Current::Foreign(format!("a symlink to {}", target.display())),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Current::Absent),
            Err(source) => match what_is(&path) {
                Some(found) if source.kind() == io::ErrorKind::InvalidInput => {
                    Ok(Current::Foreign(found))
                }
                Some(_) | None => Err(TreeError::Io {
                    attempt: "read",
                    path,
                    source,
                }),
            },
        }
    }

    /// Points `current` at a release: a fresh symlink is renamed over it, and the directory is
    /// synced. A reader finds the old or the new release, at every instant and after any crash.
    /// Safe to repeat.
    ///
    /// # Errors
    /// Where the release is not there, where `current` is something that is not ours to replace,
    /// or where the file system refuses; `current` is as it was then.
    pub(crate) fn activate(&self, build: &str) -> Result<(), TreeError> {
        let path = self.current();
        self.open_release(build)?;
        let before = self.read_current()?;
        if let Current::Foreign(found) = before {
            return Err(self.foreign(found));
        }
        self.point_at(build)?;
        files::sync_dir(&self.dir).map_err(|source| {
            // Left there, it would be found and count as done, and nobody would sync it again.
            let undone = match &before {
                Current::Release(old) => self.point_at(old),
                Current::Absent | Current::Foreign(_) => fs::remove_file(&path).or(Ok(())),
            };
            if let Err(error) = undone {
                tracing::error!(error = %error, "current can't be pointed back");
            }
            TreeError::Io {
                attempt: "sync the directory of",
                path,
                source,
            }
        })
    }

    /// Says what is in the place of `current`.
    pub(crate) fn foreign(&self, found: String) -> TreeError {
        TreeError::Foreign {
            path: self.current(),
            found,
            expected: "a symlink into releases",
        }
    }

    fn point_at(&self, build: &str) -> Result<(), TreeError> {
        let path = self.current();
        let failed = |source| TreeError::Io {
            attempt: "point",
            path: path.clone(),
            source,
        };
        let fresh = files::beside(&path).map_err(failed)?;
        // A dead run may have left one; if it can't be removed, the next call says so.
        let _ = fs::remove_file(&fresh);
        symlink(Path::new("releases").join(build), &fresh).map_err(failed)?;
        fs::rename(&fresh, &path).map_err(|error| {
            let _ = fs::remove_file(&fresh);
            failed(error)
        })
    }
}

/// Makes a directory that everybody may enter, whatever the umask says; what is there stays as it is. It is renamed into
/// place when it has its mode, so that no crash leaves it closed: what that leaves is taken up by the next call.
fn make(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let fresh = files::beside(path)?;
    match fs::create_dir(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fchmod(open(&fresh, DIRECTORY, Mode::empty())?, MODE)?;
    match renameat2(
        AT_FDCWD,
        &fresh,
        AT_FDCWD,
        path,
        RenameFlags::RENAME_NOREPLACE,
    ) {
        // Somebody was faster.
        Err(Errno::EEXIST) => fs::remove_dir(&fresh),
        renamed => Ok(renamed?),
    }
}

/// Says what has a path, without following it; `None` where that can't be told.
fn what_is(path: &Path) -> Option<String> {
    let kind = path.symlink_metadata().ok()?.file_type();
    Some(match fs::read_link(path) {
        Ok(target) => format!("a symlink to {}", target.display()),
        Err(_) if kind.is_dir() => "a directory".to_owned(),
        Err(_) if kind.is_file() => "a file".to_owned(),
        Err(_) => "neither a file nor a directory".to_owned(),
    })
}

/// Returns the name of the release that a link points to, relative or absolute.
fn release_name(target: &Path, releases: &Path) -> Option<String> {
    let inside = target
        .strip_prefix("releases")
        .or_else(|_| target.strip_prefix(releases))
        .ok()?;
    let mut parts = inside.components();
    match (parts.next(), parts.next()) {
        (Some(std::path::Component::Normal(name)), None) => name.to_str().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
