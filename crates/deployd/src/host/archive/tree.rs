//! Makes the directories and the links of an archive, beneath the handle of one fresh directory, and says where files belong.
//!
//! Every call takes a directory handle and a single component, with `O_NOFOLLOW` and `O_EXCL`, so
//! that no link in the tree is ever followed. The directory is fresh and closed to everybody else,
//! so what is found in it was made by this archive: the file system itself is the table of names,
//! and memory does not grow with the number of entries.
//!
//! Files are made by another thread, a little later ([`super::fill`]), but never after a directory or a link of their name that
//! comes later in the archive.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{linkat, symlinkat};

use super::Options;
use super::access::{Access, mode_of, set_mode};
use super::error::{UnpackError, quoted};
use super::name::EntryPath;
use crate::host::DIRECTORY;

/// Directories that no entry of the archive names, beyond as many as it may have entries: enough
/// for the one that is as deep as allowed, too few for a bomb made of depth.
const UNNAMED_DIRECTORIES_MIN: u64 = 1024;

/// Mode of the release, and of directories that no entry of the archive names.
const DIRECTORY_MODE: u32 = 0o755;

const NO_FILE: &str = "the target of the hard link is no file that comes before it";

/// The tree that is being written.
pub(super) struct Tree {
    root: Arc<OwnedFd>,
    /// Handles along the path that was entered last. Archives keep a directory together, so most
    /// entries need no walk. At most as many as a name may be deep.
    open: Vec<(Vec<u8>, Arc<OwnedFd>)>,
    access: Access,
    unnamed_directories_left: u64,
}

/// Where an entry belongs: its directory is there, and open.
pub(super) struct Place {
    /// The directory.
    pub(super) parent: Arc<OwnedFd>,
    /// The entry.
    pub(super) path: EntryPath,
}

impl Tree {
    pub(super) fn new(root: OwnedFd, access: Access, options: &Options<'_>) -> Self {
        Self {
            root: Arc::new(root),
            open: Vec::new(),
            access,
            unnamed_directories_left: options
                .limits
                .entries_max
                .saturating_add(UNNAMED_DIRECTORIES_MIN),
        }
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
            return Err(UnpackError::refused(errno, path, "make the directory"));
        }
        let directory = openat(parent, name, DIRECTORY, Mode::empty()).map_err(|errno| {
            match (made, errno) {
                (Err(Errno::EEXIST), Errno::ENOTDIR | Errno::ELOOP) => {
                    UnpackError::twice(path.as_bytes())
                }
                (_, errno) => UnpackError::refused(errno, path, "open the directory"),
            }
        })?;
        match made {
            Ok(()) => self.access.finish(directory.as_fd(), mode, path)?,
            Err(_) => set_mode(directory.as_fd(), mode, path)?,
        }
        self.open.push((name.to_vec(), Arc::new(directory)));
        Ok(())
    }

    /// Makes the directories above a file that is to be made.
    pub(super) fn place(&mut self, path: EntryPath) -> Result<Place, UnpackError> {
        let (depth, _) = self.enter_parent(&path)?;
        let parent = Arc::clone(self.handle(depth));
        Ok(Place { parent, path })
    }

    /// Makes a symbolic link; nothing here ever looks where it points.
    pub(super) fn symlink(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), UnpackError> {
        let (depth, name) = self.enter_parent(path)?;
        let parent = self.handle(depth);
        symlinkat(target, parent, name).map_err(|errno| match errno {
            Errno::EEXIST => UnpackError::twice(path.as_bytes()),
            errno => UnpackError::refused(errno, path, "make the symbolic link"),
        })?;
        self.access.own_link(parent.as_fd(), name, path)
    }

    /// Gives a file of this archive, which must have been made, another name.
    pub(super) fn hard_link(
        &mut self,
        path: &EntryPath,
        target: &EntryPath,
    ) -> Result<(), UnpackError> {
        let no_file = || UnpackError::entry(path.as_bytes(), NO_FILE);
        let no_file_or = |errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => no_file(),
            errno => UnpackError::refused(errno, path, "find the target of the hard link"),
        };
        let (parents, target_name) = target.split().ok_or_else(no_file)?;
        // The target's directory is walked apart, so that the open handles stay useful.
        let mut from = Arc::clone(&self.root);
        for component in parents {
            let next = openat(&from, component, DIRECTORY, Mode::empty()).map_err(no_file_or)?;
            from = Arc::new(next);
        }
        let found =
            fstatat(&from, target_name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(no_file_or)?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(no_file());
        }
        let (depth, name) = self.enter_parent(path)?;
        let parent = self.handle(depth);
        linkat(&from, target_name, parent, name, AtFlags::empty()).map_err(|errno| match errno {
            Errno::EEXIST => UnpackError::twice(path.as_bytes()),
            errno => UnpackError::refused(errno, path, "make the hard link"),
        })
    }

    /// Opens the tree to everybody who may read, as the last thing.
    pub(super) fn finish(self) -> Result<(), UnpackError> {
        let release = EntryPath::of_directory(b".").map_err(UnpackError::archive)?;
        self.access.own(self.root.as_fd(), &release)?;
        set_mode(self.root.as_fd(), DIRECTORY_MODE, &release)
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

    fn open_or_make(&mut self, path: &EntryPath, name: &[u8]) -> Result<Arc<OwnedFd>, UnpackError> {
        let parent = self.handle(self.open.len());
        match openat(parent, name, DIRECTORY, Mode::empty()) {
            Ok(directory) => return Ok(Arc::new(directory)),
            Err(Errno::ENOENT) => {}
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(self.not_a_directory(name, path)),
            Err(errno) => return Err(UnpackError::refused(errno, path, "open a directory above")),
        }
        let made = mkdirat(parent, name, mode_of(DIRECTORY_MODE))
            .and_then(|()| openat(parent, name, DIRECTORY, Mode::empty()))
            .map_err(|errno| UnpackError::refused(errno, path, "make a directory above"))?;
        self.access.finish(made.as_fd(), DIRECTORY_MODE, path)?;
        self.unnamed_directories_left = self
            .unnamed_directories_left
            .checked_sub(1)
            .ok_or_else(|| UnpackError::archive("it has too many directories without an entry"))?;
        Ok(Arc::new(made))
    }

    /// What is where a directory should be, in the one that was entered last, is none.
    fn not_a_directory(&self, name: &[u8], path: &EntryPath) -> UnpackError {
        let parent = self.handle(self.open.len());
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

    /// Returns the handle of the directory that is `depth` components below the root.
    fn handle(&self, depth: usize) -> &Arc<OwnedFd> {
        match depth {
            0 => &self.root,
            depth => &self.open[depth - 1].1,
        }
    }
}
