//! Deletes releases, and what is left of them.
//!
//! ```text
//! releases/.r2400.trash/     renamed first, so that none is ever half there under its own name
//! ```

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use deploy_core::name::BuildName;
use tokio::task::spawn_blocking;

use super::room::of_the_disk;
use super::{Performer, StepError, passing};
use crate::host::archive::remove;
use crate::host::files;
use crate::host::tree::Tree;

/// What the names of directories that are being deleted end with.
const TRASH: &str = ".trash";
/// What the names of directories that are no releases (yet, or any more) end with.
const UNFINISHED: [&str; 2] = [".partial", TRASH];

/// What could not be deleted.
#[derive(Debug, thiserror::Error)]
#[error("failed to delete {path}", path = path.display())]
pub(crate) struct PruneError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Performer {
    /// Deletes releases. What a crash or an error leaves of that is deleted at the next start, and
    /// before the next release is unpacked.
    pub(super) async fn prune(&mut self, builds: &[BuildName]) -> Result<(), StepError> {
        let (tree, pruned) = (self.tree(), builds.to_vec());
        let prune = move || pruned.iter().try_for_each(|build| delete(&tree, build));
        match spawn_blocking(prune).await {
            Ok(result) => result.map_err(|error| of_the_disk(&self.service.dir, &error))?,
            Err(error) => return Err(passing(&error)),
        }
        tracing::info!(service = %self.service.name, builds = ?builds, "pruned");
        let releases = self.on_disk()?;
        let units: Vec<String> = self
            .service
            .instances
            .iter()
            .map(|i| i.unit.clone())
            .collect();
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        self.write(|record| record.forget(&releases, &units))
    }

    fn on_disk(&self) -> Result<Vec<BuildName>, StepError> {
        let listed = self.tree().list().map_err(|error| passing(&error))?;
        Ok(listed
            .iter()
            .filter_map(|(name, _)| BuildName::parse(name).ok())
            .collect())
    }
}

/// Deletes one release. Safe to repeat, whatever is left of it.
///
/// # Errors
/// Where something of it can't be deleted: nothing has its name then, or all of it has.
pub(super) fn delete(tree: &Tree, build: &BuildName) -> Result<(), PruneError> {
    let name = format!(".{build}{TRASH}");
    let (release, trash) = (tree.release(build.as_str()), tree.releases().join(&name));
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| PruneError { path, source }
    };
    remove_in(&tree.releases(), OsStr::new(&name)).map_err(failed(&trash))?;
    fs::rename(&release, &trash).map_err(failed(&release))?;
    remove_in(&tree.releases(), OsStr::new(&name)).map_err(failed(&trash))
}

/// Deletes what is left of releases that could not be deleted whole.
///
/// # Errors
/// Where some of it still can't; the rest is.
pub(super) fn empty_trash(tree: &Tree) -> Result<(), PruneError> {
    remove_all(tree, &[TRASH])
}

/// Removes what a dead run has left of releases: partial ones, half-deleted ones, fresh links.
///
/// # Errors
/// Where something can't be removed; the rest is.
pub(crate) fn sweep(tree: &Tree) -> Result<(), PruneError> {
    let removed = remove_all(tree, &UNFINISHED);
    let releases = tree.releases();
    for dir in [Some(releases.as_path()), releases.parent()]
        .into_iter()
        .flatten()
    {
        match files::sweep(dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                let path = dir.to_owned();
                return Err(PruneError { path, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    removed
}

/// Removes what has a name that begins with a dot and has one of these ends.
fn remove_all(tree: &Tree, ends: &[&str]) -> Result<(), PruneError> {
    let releases = tree.releases();
    let entries = match fs::read_dir(&releases) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(PruneError {
                path: releases,
                source,
            });
        }
    };
    let mut first_error = None;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let unfinished = name.to_str().is_some_and(|name| {
            name.starts_with('.') && ends.iter().any(|end| name.ends_with(end))
        });
        if unfinished && let Err(source) = remove_in(&releases, &name) {
            let path = entry.path();
            first_error = first_error.or(Some(PruneError { path, source }));
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn remove_in(dir: &Path, name: &OsStr) -> io::Result<()> {
    let dir = File::open(dir)?;
    remove::remove_tree(dir.as_fd(), name).map_err(io::Error::other)
}
