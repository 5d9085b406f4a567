//! Who may do what with what is unpacked: owners and modes.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{fchown, fchownat};

use super::Owner;
use super::error::{UnpackError, quoted};
use super::name::EntryPath;

/// What all entries of a release are given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    owner: Option<Owner>,
    umask: Umask,
}

/// Whether the modes given to the creating calls arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Umask {
    /// It takes away nothing that we ever set.
    Harmless,
    /// Modes must be set again, by a call of their own.
    InTheWay,
}

impl Access {
    /// Reads what there is to know of this process.
    pub(super) fn new(owner: Option<Owner>) -> Result<Self, UnpackError> {
        Ok(Self {
            owner,
            umask: Umask::of_this_process()?,
        })
    }

    /// Gives what was just made with this mode to its owner, and the mode that the umask may have taken.
    pub(super) fn finish(
        &self,
        fd: BorrowedFd<'_>,
        mode: u32,
        path: &EntryPath,
    ) -> Result<(), UnpackError> {
        self.own(fd, path)?;
        match self.umask {
            Umask::Harmless => Ok(()),
            Umask::InTheWay => set_mode(fd, mode, path),
        }
    }

    /// Gives something to its owner.
    pub(super) fn own(&self, fd: BorrowedFd<'_>, path: &EntryPath) -> Result<(), UnpackError> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        fchown(fd, Some(owner.user), Some(owner.group))
            .map_err(|errno| unset(errno, path, "set the owner of"))
    }

    /// Gives a symbolic link to its owner.
    pub(super) fn own_link(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &EntryPath,
    ) -> Result<(), UnpackError> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        fchownat(parent, name, Some(owner.user), Some(owner.group), flags)
            .map_err(|errno| unset(errno, path, "set the owner of"))
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

/// Sets a mode, whatever there was before.
pub(super) fn set_mode(fd: BorrowedFd<'_>, mode: u32, path: &EntryPath) -> Result<(), UnpackError> {
    fchmod(fd, mode_of(mode)).map_err(|errno| unset(errno, path, "set the mode of"))
}

/// The mode as the kernel takes it.
pub(super) fn mode_of(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

/// What is there has no owner or mode because of the disk, or of who runs this: never because of the archive.
fn unset(errno: Errno, path: &EntryPath, action: &str) -> UnpackError {
    let shown = quoted(path.as_bytes());
    UnpackError::io(format!("{action} {shown}"), errno)
}
