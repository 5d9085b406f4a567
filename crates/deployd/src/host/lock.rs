//! One deployd per state directory, and one per directory of a service.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fs, process};

use nix::sys::stat::{major, minor};

/// The right to be the one deployd here; given up when it is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    // Held, never read: closing it unlocks.
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Somebody else has it.
    #[error("another deployd runs here: pid {pid} holds {path}")]
    Held {
        /// The file, or the directory.
        path: PathBuf,
        /// Who, as the file or the kernel says.
        pid: String,
    },
    /// It can't be asked for.
    #[error("failed to lock {path}")]
    Io {
        /// The file, or the directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Locks `<dir>/lock`.
///
/// # Errors
/// Where another process holds it, or it can't be made.
pub(crate) fn lock(dir: &Path) -> Result<Lock, LockError> {
    let path = dir.join("lock");
    let failed = |source| LockError::Io {
        path: path.clone(),
        source,
    };
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(LockError::Held {
                path,
                pid: pid.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", process::id())
    };
    write(&mut file).map_err(failed)?;
    Ok(Lock { _file: file })
}

/// Returns the process that holds `<dir>/lock`, if any does.
pub(crate) fn holder(dir: &Path) -> Option<String> {
    let mut file = File::open(dir.join("lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).ok()?;
            Some(pid.trim().to_owned())
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// The right to be the one who works in a directory; given up when it is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct DirLock {
    dir: File,
}

impl DirLock {
    /// Whether it is of the directory that is at a path now: another one may have been made or mounted there.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        match (self.dir.metadata(), fs::metadata(path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing it would do, but for a child that is just being made and holds it for a moment more.
        let _ = self.dir.unlock();
    }
}

/// Locks a directory itself: nothing is written into it.
///
/// # Errors
/// Where somebody else holds it, or it can't be opened or locked, as where it does not exist.
pub(crate) fn lock_dir(path: &Path) -> Result<DirLock, LockError> {
    let failed = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let mut options = File::options();
    options.read(true).custom_flags(nix::libc::O_DIRECTORY);
    let dir = options.open(path).map_err(failed)?;
    match dir.try_lock() {
        Ok(()) => Ok(DirLock { dir }),
        Err(TryLockError::WouldBlock) => {
            let pid = locker(&dir).unwrap_or_else(|| "unknown".to_owned());
            let path = path.to_owned();
            Err(LockError::Held { path, pid })
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Returns the process that has locked a file, as the kernel tells.
fn locker(file: &File) -> Option<String> {
    let file = file.metadata().ok()?;
    let device = file.dev();
    let id = format!("{:02x}:{:02x}:{}", major(device), minor(device), file.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:246951 0 EOF
    let pid = locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_flock = words.next() == Some("FLOCK");
        let (pid, locked) = (words.nth(2)?, words.next()?);
        (is_flock && locked == id).then(|| pid.to_owned())
    })?;
    Some(pid)
}

#[cfg(test)]
mod tests;
