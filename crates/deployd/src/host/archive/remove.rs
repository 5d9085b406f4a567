//! Removes a whole directory, and nothing else.
//!
//! It must never follow a symbolic link and never leave the mount that it starts on, whatever is
//! in the tree: a hook of a build may have made anything.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OpenHow, RenameFlags, ResolveFlag, openat2, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::quoted;
use crate::host::DIRECTORY;

/// Directories that are open at once. What is deeper is first moved up to the top of the tree.
const OPEN_MAX: usize = 64;

/// Names that are read of a directory at once.
const NAMES_MAX: usize = 1024;

/// Failures after which the rest is not tried: something is wrong with all of it.
const FAILURES_MAX: u64 = 1000;

/// What could not be removed. Everything else was.
#[derive(Debug)]
pub(crate) struct RemoveError {
    /// The first of it, quoted and escaped.
    name: String,
    /// How many there are.
    failures: u64,
    /// Why the first one could not be removed.
    source: Errno,
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to remove {}", self.name)?;
        match self.failures {
            0 | 1 => Ok(()),
            more => write!(f, " and {} more", more - 1),
        }
    }
}

impl std::error::Error for RemoveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Removes `name` in `parent` with everything in it. What does not exist is removed already.
///
/// Entries that can't be removed (immutable files, mount points) don't keep it from going on with
/// the others. It holds a bounded number of handles, however deep the tree is. Safe to repeat after
/// a crash halfway.
///
/// # Errors
/// Where something is left, naming the first of it.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), RemoveError> {
    let mut removal = Removal {
        failure: None,
        moved: 0,
    };
    match CString::new(name.as_bytes()) {
        Ok(name) => removal.remove(parent, name),
        Err(_) => removal.failed(c"", Errno::EINVAL),
    }
    removal.failure.map_or(Ok(()), Err)
}

struct Removal {
    failure: Option<RemoveError>,
    /// Directories that were moved up so far: what their new names count.
    moved: u64,
}

/// One directory that is being emptied.
struct Level {
    name: CString,
    directory: Dir,
    /// Names that were read and are still to be removed.
    names: Vec<Name>,
    /// Names that can't be removed, and are passed over when the directory is read again.
    stuck: BTreeSet<CString>,
}

struct Name {
    name: CString,
    kind: Option<Type>,
}

impl Removal {
    fn remove(&mut self, parent: BorrowedFd<'_>, name: CString) {
        let top = Name { name, kind: None };
        let mut levels = Vec::new();
        match remove_or_open(parent, &top) {
            Ok(None) => return,
            Ok(Some(level)) => levels.push(level),
            Err(errno) => return self.failed(&top.name, errno),
        }
        while let Some(level) = levels.last_mut() {
            if self
                .failure
                .as_ref()
                .is_some_and(|it| it.failures > FAILURES_MAX)
            {
                return;
            }
            match level.next_name() {
                Ok(Some(name)) => self.remove_below(&mut levels, name),
                Ok(None) => self.leave(parent, &mut levels),
                Err(errno) => {
                    let name = level.name.clone();
                    level.stuck.insert(CString::default());
                    self.failed(&name, errno);
                    self.leave(parent, &mut levels);
                }
            }
        }
    }

    /// Removes one name of the innermost level, or makes it the innermost level.
    fn remove_below(&mut self, levels: &mut Vec<Level>, name: Name) {
        let Some(level) = levels.last() else { return };
        let removed = if levels.len() < OPEN_MAX || name.kind != Some(Type::Directory) {
            remove_or_open(level.fd(), &name)
        } else {
            self.move_up(levels[0].fd(), level.fd(), &name.name)
                .map(|()| None)
        };
        match removed {
            Ok(None) => {}
            Ok(Some(below)) => levels.push(below),
            Err(errno) => {
                self.failed(&name.name, errno);
                if let Some(level) = levels.last_mut() {
                    level.stuck.insert(name.name);
                }
            }
        }
    }

    /// Removes the innermost level itself, which is empty but for what is stuck.
    fn leave(&mut self, parent: BorrowedFd<'_>, levels: &mut Vec<Level>) {
        let Some(done) = levels.pop() else { return };
        let above = levels.last().map_or(parent, Level::fd);
        let removed = match done.stuck.is_empty() {
            true => unlink(above, &done.name, UnlinkatFlags::RemoveDir),
            false => Err(Errno::ENOTEMPTY),
        };
        let Err(errno) = removed else { return };
        if done.stuck.is_empty() {
            self.failed(&done.name, errno);
        }
        if let Some(above) = levels.last_mut() {
            above.stuck.insert(done.name);
        }
    }

    /// Moves a directory to the top of the tree, where its turn comes later.
    fn move_up(
        &mut self,
        top: BorrowedFd<'_>,
        from: BorrowedFd<'_>,
        name: &CStr,
    ) -> nix::Result<()> {
        loop {
            self.moved += 1;
            let moved = format!(".deep-{}", self.moved);
            match renameat2(
                from,
                name,
                top,
                moved.as_str(),
                RenameFlags::RENAME_NOREPLACE,
            ) {
                Err(Errno::EEXIST) => {}
                other => return other,
            }
        }
    }

    fn failed(&mut self, name: &CStr, source: Errno) {
        match &mut self.failure {
            Some(failure) => failure.failures += 1,
            None => {
                self.failure = Some(RemoveError {
                    name: quoted(name.to_bytes()),
                    failures: 1,
                    source,
                });
            }
        }
    }
}

impl Level {
    fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Returns the next name; `None` once nothing is left but what is stuck.
    fn next_name(&mut self) -> nix::Result<Option<Name>> {
        if self.names.is_empty() {
            // Reading starts at the beginning again: entries may be passed over when a directory
            // is read while it changes.
            for entry in self.directory.iter() {
                let entry = entry?;
                let name = entry.file_name();
                if name == c"." || name == c".." || self.stuck.contains(name) {
                    continue;
                }
                self.names.push(Name {
                    name: name.to_owned(),
                    kind: entry.file_type(),
                });
                if self.names.len() == NAMES_MAX {
                    break;
                }
            }
        }
        Ok(self.names.pop())
    }
}

/// Removes what is no directory; opens what is one.
fn remove_or_open(parent: BorrowedFd<'_>, name: &Name) -> nix::Result<Option<Level>> {
    if name.kind != Some(Type::Directory) {
        match unlink(parent, &name.name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {}
            other => return other.map(|()| None),
        }
    }
    let directory = match open_here(parent, &name.name) {
        Err(Errno::EACCES) => {
            let mode = Mode::S_IRWXU;
            fchmodat(parent, &*name.name, mode, FchmodatFlags::NoFollowSymlink)?;
            open_here(parent, &name.name)?
        }
        other => other?,
    };
    Ok(Some(Level {
        name: name.name.clone(),
        directory,
        names: Vec::new(),
        stuck: BTreeSet::new(),
    }))
}

/// Opens a directory that is on the same mount: a bind mount of the same file system is refused
/// too, which comparing device numbers would not see.
fn open_here(parent: BorrowedFd<'_>, name: &CStr) -> nix::Result<Dir> {
    let how = OpenHow::new().flags(DIRECTORY).resolve(
        ResolveFlag::RESOLVE_NO_XDEV
            | ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS,
    );
    Dir::from_fd(openat2(parent, name, how)?)
}

fn unlink(parent: BorrowedFd<'_>, name: &CStr, flags: UnlinkatFlags) -> nix::Result<()> {
    let removed = match unlinkat(parent, name, flags) {
        // A read-only directory, and we are not root.
        Err(Errno::EACCES) if fchmod(parent, Mode::S_IRWXU).is_ok() => {
            unlinkat(parent, name, flags)
        }
        removed => removed,
    };
    match removed {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests;
