//! The file that an artifact is downloaded to.
//!
//! It has no name while it is written, so that nothing is left of it when the process dies. Where
//! the file system can't make such files, it is made under a random name that is removed at once.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{LinkatFlags, linkat, unlink};

use super::error::DownloadError;
use crate::host::disk::free_bytes;
use crate::host::files::TEMPORARY;

/// Mode of the file: it may hold what only its owner is to see.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// A file that is being downloaded.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    directory: PathBuf,
    written: u64,
    /// What it takes, with what must stay free.
    needed: u64,
}

/// A complete file whose size and digest are right.
#[derive(Debug)]
pub(crate) struct Verified {
    file: File,
    directory: PathBuf,
}

impl Part {
    /// Makes an empty one in `directory`, where there is space for `size_bytes`.
    pub(super) fn create(
        directory: &Path,
        size_bytes: u64,
        free_bytes_min: u64,
    ) -> Result<Self, DownloadError> {
        let needed = size_bytes.saturating_add(free_bytes_min);
        let free = free_bytes(directory).map_err(|errno| {
            DownloadError::disk(&format!("look at {}", directory.display()), errno)
        })?;
        if needed > free {
            return Err(DownloadError::NoSpace {
                directory: directory.display().to_string(),
                needed,
                free,
            });
        }
        let file = nameless(directory).map_err(|errno| {
            DownloadError::disk(&format!("make a file in {}", directory.display()), errno)
        })?;
        Ok(Self {
            file,
            directory: directory.to_owned(),
            written: 0,
            needed,
        })
    }

    /// Returns how many bytes it has.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Adds bytes at its end. Blocking.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Empties it. Blocking.
    pub(super) fn restart(&mut self) -> Result<(), DownloadError> {
        self.written = 0;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|source| self.failed(source))
    }

    /// Says in the operator's words why a write failed.
    pub(super) fn failed(&self, source: io::Error) -> DownloadError {
        // A quota is not what is free on the disk.
        let full = source.raw_os_error() == Some(Errno::ENOSPC as i32);
        match free_bytes(&self.directory) {
            Ok(free) if full => DownloadError::NoSpace {
                directory: self.directory.display().to_string(),
                needed: self.needed,
                free,
            },
            _ => DownloadError::disk(&format!("write in {}", self.directory.display()), source),
        }
    }

    /// Takes it as verified, at its first byte.
    pub(super) fn into_verified(mut self) -> Result<Verified, DownloadError> {
        self.file
            .rewind()
            .map_err(|source| DownloadError::disk("rewind the file", source))?;
        Ok(Verified {
            file: self.file,
            directory: self.directory,
        })
    }
}

impl Verified {
    /// Returns the file, open at its first byte.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Takes the file, open at its first byte. It has no name, and goes with its last handle.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Gives it a name in the directory it is in, durably. Blocking.
    ///
    /// # Errors
    /// Where something has that name already, which is left alone, or where the disk fails. The
    /// name does not exist then, or is as it was.
    pub(crate) fn publish(mut self, name: &Path) -> Result<(), DownloadError> {
        let path = self.directory.join(name);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => DownloadError::Exists {
                path: path.display().to_string(),
            },
            _ => DownloadError::disk(&format!("make {}", path.display()), source),
        };
        self.file.sync_all().map_err(failed)?;
        let nameless = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match linkat(
            AT_FDCWD,
            nameless.as_str(),
            AT_FDCWD,
            &path,
            LinkatFlags::AT_SYMLINK_FOLLOW,
        ) {
            // It had a name once, so it can't get another; or there is no /proc.
            Err(Errno::ENOENT | Errno::EXDEV) => copy(&mut self.file, &path).map_err(failed)?,
            linked => linked.map_err(|errno| failed(errno.into()))?,
        }
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }
}

fn nameless(directory: &Path) -> nix::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    match open(directory, flags | OFlag::O_TMPFILE, MODE) {
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => {
            let (file, path) = named(directory)?;
            unlink(&path)?;
            Ok(file)
        }
        opened => opened.map(File::from),
    }
}

fn named(directory: &Path) -> nix::Result<(File, PathBuf)> {
    // Killed before it is removed, it is found by this name at the next start.
    let path = directory.join(format!("{TEMPORARY}{:016x}.part", fastrand::u64(..)));
    let flags =
        OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    open(&path, flags, MODE).map(|fd| (File::from(fd), path))
}

fn copy(from: &mut File, to: &Path) -> io::Result<()> {
    let directory = to.parent().unwrap_or(Path::new("."));
    let (mut file, path) = named(directory)?;
    let copied = from
        .rewind()
        .and_then(|()| io::copy(from, &mut file))
        .and_then(|_| file.sync_all())
        .and_then(|()| {
            let flags = RenameFlags::RENAME_NOREPLACE;
            renameat2(AT_FDCWD, &path, AT_FDCWD, to, flags).map_err(io::Error::from)
        });
    if copied.is_err() {
        // The error that matters is the first one.
        let _ = unlink(&path);
    }
    copied
}
