//! One deployd per state directory.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
        /// The file.
        path: PathBuf,
        /// Who, as the file says.
        pid: String,
    },
    /// It can't be asked for.
    #[error("failed to lock {path}")]
    Io {
        /// The file.
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
        writeln!(file, "{}", std::process::id())
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
