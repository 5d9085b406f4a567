//! Files that are replaced whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// What temporary files of ours start with; [`sweep`] deletes them.
pub(crate) const TEMPORARY: &str = ".deployd-tmp-";

/// Replaces a file: written beside, synced, renamed over it, directory synced. A reader sees the
/// old or the new content, also after a crash.
///
/// # Errors
/// Those of the file system; the old content is untouched then.
pub(crate) fn replace(path: &Path, data: &[u8]) -> io::Result<()> {
    let beside = beside(path)?;
    let result = write_new(&beside, data).and_then(|()| fs::rename(&beside, path));
    if result.is_err() {
        // It is ours, and of no use; that it may be gone already is fine.
        let _ = fs::remove_file(&beside);
    }
    result?;
    sync_dir(parent(path))
}

/// Replaces a file as [`replace`] does, but without syncing: for what is of no use after a crash.
///
/// # Errors
/// Those of the file system; the old content is untouched then.
pub(crate) fn swap(path: &Path, data: &[u8]) -> io::Result<()> {
    let beside = beside(path)?;
    let result = fs::write(&beside, data).and_then(|()| fs::rename(&beside, path));
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result
}

/// Returns a name for a temporary file or link in the directory of `path`.
///
/// # Errors
/// Where `path` has no directory.
pub(crate) fn beside(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{TEMPORARY}{}-{count}", process::id());
    path.parent()
        .map(|dir| dir.join(name))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a directory"))
}

/// Deletes the temporary files and links that a crash left in a directory.
///
/// # Errors
/// Where the directory can't be read; what can't be deleted is left.
pub(crate) fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        if ours && !entry.file_type()?.is_dir() {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// Those of the file system.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn write_new(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(data)?;
    file.sync_all()
}
