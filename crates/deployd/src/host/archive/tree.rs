//! Writes the entries of an archive beneath the handle of one fresh directory.
//!
//! Every call takes a directory handle and a single component, with `O_NOFOLLOW` and `O_EXCL`, so
//! that no link in the tree is ever followed. The directory is fresh and closed to everybody else,
//! so what is found in it was made by this archive: the file system itself is the table of names,
//! and memory does not grow with the number of entries.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{fchown, fchownat, linkat, symlinkat};

use super::error::{UnpackError, quoted};
use super::name::EntryPath;
use super::{Options, Owner};

/// Directories that no entry of the archive names, beyond as many as it may have entries: enough
/// for the one that is as deep as allowed, too few for a bomb made of depth.
const UNNAMED_DIRECTORIES_MIN: u64 = 1024;

/// Mode of the release, and of directories that no entry of the archive names.
const DIRECTORY_MODE: u32 = 0o755;

/// Flags of a directory handle.
const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Flags of a file that is being made.
const NEW_FILE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Whether the modes given to the creating calls arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Umask {
    /// It takes away nothing that we ever set.
    Harmless,
    /// Modes must be set again, by a call of their own.
    InTheWay,
}

/// The tree that is being written.
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// Handles along the path that was entered last. Archives keep a directory together, so most
    /// entries need no walk. At most as many as a name may be deep.
    open: Vec<(Vec<u8>, OwnedFd)>,
    owner: Option<Owner>,
    umask: Umask,
    unnamed_directories_left: u64,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, options: &Options<'_>) -> Result<Self, UnpackError> {
        Ok(Self {
            root,
            open: Vec::new(),
            owner: options.owner,
            umask: Umask::of_this_process()?,
            unnamed_directories_left: options
                .limits
                .entries_max
                .saturating_add(UNNAMED_DIRECTORIES_MIN),
        })
    }

    /// Makes a directory, or sets the mode of one that is there.
    pub(super) fn directory(&mut self, path: &EntryPath, mode: u32) -> Result<(), UnpackError> {
        let Some((parents, name)) = path.split() else {
            return Ok(()); // The release itself, whose mode is not the archive's to say.
        };
        let depth = self.enter(path, parents)?;
        // From here on the handles of other directories at this depth are of no use.
        self.open.truncate(depth);
        let parent = self.handle(depth);
        let made = mkdirat(parent, name, mode_of(mode));
        if let Err(errno) = made
            && errno != Errno::EEXIST
        {
            return Err(failed(errno, path, "make the directory"));
        }
        let directory = openat(parent, name, DIRECTORY, Mode::empty()).map_err(|errno| {
            match (made, errno) {
                (Err(Errno::EEXIST), Errno::ENOTDIR | Errno::ELOOP) => twice(path),
                (_, errno) => failed(errno, path, "open the directory"),
            }
        })?;
        if made.is_err() || self.umask == Umask::InTheWay {
            fchmod(&directory, mode_of(mode))
                .map_err(|errno| unset(errno, path, "set the mode of"))?;
        }
        self.own(directory.as_fd(), path)?;
        self.open.push((name.to_vec(), directory));
        Ok(())
    }

    /// Makes a file, to be filled and closed by the caller.
    pub(super) fn file(&mut self, path: EntryPath, mode: u32) -> Result<NewFile, UnpackError> {
        let (depth, name) = self.enter_parent(&path)?;
        let parent = self.handle(depth);
        let file = openat(parent, name, NEW_FILE, mode_of(mode)).map_err(|errno| match errno {
            Errno::EEXIST => twice(&path),
            errno => failed(errno, &path, "make the file"),
        })?;
        self.own(file.as_fd(), &path)?;
        if self.umask == Umask::InTheWay {
            fchmod(&file, mode_of(mode)).map_err(|errno| unset(errno, &path, "set the mode of"))?;
        }
        Ok(NewFile {
            file: File::from(file),
            path,
        })
    }

    /// Makes a symbolic link; nothing here ever looks where it points.
    pub(super) fn symlink(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), UnpackError> {
        let (depth, name) = self.enter_parent(path)?;
        let parent = self.handle(depth);
        symlinkat(target, parent, name).map_err(|errno| match errno {
            Errno::EEXIST => twice(path),
            errno => failed(errno, path, "make the symbolic link"),
        })?;
        let Some(owner) = self.owner else {
            return Ok(());
        };
        fchownat(
            parent,
            name,
            Some(owner.user),
            Some(owner.group),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| unset(errno, path, "set the owner of"))
    }

    /// Gives a file of this archive another name.
    pub(super) fn hard_link(
        &mut self,
        path: &EntryPath,
        target: &EntryPath,
    ) -> Result<(), UnpackError> {
        let no_file = || UnpackError::entry(path.as_bytes(), NO_FILE);
        let (parents, target_name) = target.split().ok_or_else(no_file)?;
        // The target's directory is walked apart, so that the open handles stay useful.
        let mut target_parent: Option<OwnedFd> = None;
        for component in parents {
            let from = target_parent.as_ref().map_or(self.root, |fd| fd.as_fd());
            let next = openat(from, component, DIRECTORY, Mode::empty())
                .map_err(|errno| no_file_or(errno, path))?;
            target_parent = Some(next);
        }
        let from = target_parent.as_ref().map_or(self.root, |fd| fd.as_fd());
        let found = fstatat(from, target_name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|errno| no_file_or(errno, path))?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(no_file());
        }
        let (depth, name) = self.enter_parent(path)?;
        let parent = self.handle(depth);
        linkat(from, target_name, parent, name, AtFlags::empty()).map_err(|errno| match errno {
            Errno::EEXIST => twice(path),
            errno => failed(errno, path, "make the hard link"),
        })
    }

    /// Opens the tree to everybody who may read, as the last thing.
    pub(super) fn finish(self) -> Result<(), UnpackError> {
        let release = EntryPath::of_directory(b".").map_err(UnpackError::archive)?;
        self.own(self.root, &release)?;
        fchmod(self.root, mode_of(DIRECTORY_MODE))
            .map_err(|errno| unset(errno, &release, "set the mode of"))
    }

    fn enter_parent<'p>(&mut self, path: &'p EntryPath) -> Result<(usize, &'p [u8]), UnpackError> {
        let (parents, name) = path
            .split()
            .ok_or_else(|| UnpackError::entry(b".", "the release itself must be a directory"))?;
        let depth = self.enter(path, parents)?;
        Ok((depth, name))
    }

    /// Opens, or makes, the directories above an entry. Returns how many they are.
    fn enter<'p>(
        &mut self,
        path: &EntryPath,
        parents: impl Iterator<Item = &'p [u8]>,
    ) -> Result<usize, UnpackError> {
        let mut depth = 0;
        for component in parents {
            if self
                .open
                .get(depth)
                .is_none_or(|(name, _)| name != component)
            {
                self.open.truncate(depth);
                let directory = self.open_or_make(path, component)?;
                self.open.push((component.to_vec(), directory));
            }
            depth += 1;
        }
        Ok(depth)
    }

    fn open_or_make(&mut self, path: &EntryPath, name: &[u8]) -> Result<OwnedFd, UnpackError> {
        let parent = self.handle(self.open.len());
        match openat(parent, name, DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(not_a_directory(parent, name, path)),
            other => return other.map_err(|errno| failed(errno, path, "open a directory above")),
        }
        let made = mkdirat(parent, name, mode_of(DIRECTORY_MODE))
            .and_then(|()| openat(parent, name, DIRECTORY, Mode::empty()))
            .map_err(|errno| failed(errno, path, "make a directory above"))?;
        if self.umask == Umask::InTheWay {
            fchmod(&made, mode_of(DIRECTORY_MODE))
                .map_err(|errno| unset(errno, path, "set the mode of a directory above"))?;
        }
        self.own(made.as_fd(), path)?;
        self.unnamed_directories_left = self
            .unnamed_directories_left
            .checked_sub(1)
            .ok_or_else(|| UnpackError::archive("it has too many directories without an entry"))?;
        Ok(made)
    }

    /// Returns the handle of the directory that is `depth` components below the root.
    fn handle(&self, depth: usize) -> BorrowedFd<'_> {
        match depth {
            0 => self.root,
            depth => self.open[depth - 1].1.as_fd(),
        }
    }

    fn own(&self, fd: BorrowedFd<'_>, path: &EntryPath) -> Result<(), UnpackError> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        fchown(fd, Some(owner.user), Some(owner.group))
            .map_err(|errno| unset(errno, path, "set the owner of"))
    }
}

/// A file that is being written. Whoever writes to it need not be who made it.
pub(super) struct NewFile {
    file: File,
    path: EntryPath,
}

impl NewFile {
    /// Writes the next bytes.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), UnpackError> {
        (&self.file)
            .write_all(bytes)
            .map_err(|source| io_failed(source, &self.path, "write"))
    }

    /// Sets the time of change, which is never worth an error.
    pub(super) fn stamp(&self, modified: Option<(i64, u32)>) {
        if let Some((seconds, nanoseconds)) = modified {
            let modified = TimeSpec::new(seconds, i64::from(nanoseconds));
            let _ = futimens(&self.file, &TimeSpec::UTIME_OMIT, &modified);
        }
    }
}

impl Umask {
    /// Reads it without changing it, since that would show in other threads.
    fn of_this_process() -> Result<Self, UnpackError> {
        let status = std::fs::read_to_string("/proc/self/status")
            .map_err(|source| UnpackError::io("read /proc/self/status".to_owned(), source))?;
        let umask = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))
            .and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
        Ok(match umask {
            Some(umask) if umask & 0o755 == 0 => Self::Harmless,
            _ => Self::InTheWay,
        })
    }
}

const NO_FILE: &str = "the target of the hard link is no file that comes before it";

fn mode_of(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

fn twice(path: &EntryPath) -> UnpackError {
    UnpackError::entry(path.as_bytes(), "it is in the archive twice")
}

fn no_file_or(errno: Errno, path: &EntryPath) -> UnpackError {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => {
            UnpackError::entry(path.as_bytes(), NO_FILE)
        }
        errno => failed(errno, path, "find the target of the hard link"),
    }
}

fn not_a_directory(parent: BorrowedFd<'_>, name: &[u8], path: &EntryPath) -> UnpackError {
    let link = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|found| {
        SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK
    });
    let what = if link {
        "a symbolic link"
    } else {
        "no directory"
    };
    let rule = format!("it is beneath {}, which is {what}", quoted(name));
    UnpackError::entry(path.as_bytes(), rule)
}

/// What is there has no owner or mode because of the disk, or of who runs this: never because of the archive.
fn unset(errno: Errno, path: &EntryPath, action: &str) -> UnpackError {
    let shown = quoted(path.as_bytes());
    UnpackError::io(format!("{action} {shown}"), errno)
}

fn failed(errno: Errno, path: &EntryPath, action: &str) -> UnpackError {
    io_failed(errno.into(), path, action)
}

/// Tells what the file system cannot hold, the archive's fault, from what just failed.
fn io_failed(source: io::Error, path: &EntryPath, action: &str) -> UnpackError {
    let code = source.raw_os_error().map(Errno::from_raw);
    let rule = match code {
        Some(Errno::ENAMETOOLONG) => "the file system has no room for a name that long",
        Some(Errno::EMLINK) => "the file system has no room for so many links",
        Some(Errno::EINVAL | Errno::EILSEQ) => "the file system refuses the name",
        Some(Errno::EFBIG) => "the file system refuses a file that large",
        _ => {
            let shown = quoted(path.as_bytes());
            return UnpackError::io(format!("{action} {shown}"), source);
        }
    };
    UnpackError::entry(path.as_bytes(), rule)
}
