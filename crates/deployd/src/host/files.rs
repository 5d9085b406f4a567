//! Files that are replaced whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What temporary files of ours start with; [`sweep`] deletes them.
pub(crate) const TEMPORARY: &str = ".deployd-tmp-";

/// Replaces a file: written beside, synced, renamed over it, directory synced. A reader sees the
/// old or the new content, also after a crash.
///
/// # Errors
/// Those of the file system. A reader sees the old content then, or, where only the directory could not be synced, the new
/// one, which a power loss may undo.
pub(crate) fn replace(path: &Path, data: &[u8]) -> io::Result<()> {
    replace_whole(path, data)?;
    sync_dir(parent(path))
}

/// Replaces a file as [`replace`] does, but without syncing the directory: after a power loss a
/// reader may see the old content again, and never half of one.
///
/// # Errors
/// Those of the file system; the old content is untouched then.
pub(crate) fn replace_whole(path: &Path, data: &[u8]) -> io::Result<()> {
    let beside = beside(path)?;
    let result = write_new(&beside, data).and_then(|()| fs::rename(&beside, path));
    if result.is_err() {
        // It is ours, and of no use; that it may be gone already is fine.
        let _ = fs::remove_file(&beside);
    }
    result
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

/// Returns the name of the temporary file or link that becomes `path`, in the same directory. One
/// name each, so that a disk that lets nothing be deleted does not fill with them: there is one
/// writer of each path.
///
/// # Errors
/// Where `path` has no directory.
pub(crate) fn beside(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => {
            let mut temporary = OsString::from(TEMPORARY);
            temporary.push(name);
            Ok(dir.join(temporary))
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a path without a directory",
        )),
    }
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

/// Returns a path without the symlinks that are on it, as far as it exists.
pub(crate) fn resolve(path: &Path) -> PathBuf {
    let real = |there: &Path| {
        let missing = path.strip_prefix(there).ok()?;
        Some(there.canonicalize().ok()?.join(missing))
    };
    let real = path.ancestors().find_map(real);
    // Without the slash that nothing behind it leaves.
    real.map_or_else(|| path.to_owned(), |real| real.components().collect())
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
    let make = || {
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600).open(path)
    };
    let mut file = match make() {
        // Left by a dead run, or on a disk that could not delete it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            make()?
        }
        made => made?,
    };
    file.write_all(data)?;
    file.sync_all()
}
