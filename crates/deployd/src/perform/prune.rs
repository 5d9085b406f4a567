//! Deletes releases, and what is left of them.
//!
//! ```text
//! releases/.r2400.trash/     renamed first, so that none is ever half there under its own name
//! ```

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

use deploy_core::name::BuildName;
use tokio::task::spawn_blocking;

use super::room::of_the_disk;
use super::{Performer, StepError, passing};
use crate::host::files;
use crate::host::tree::releases::Releases;
use crate::host::tree::{Tree, TreeError};

/// What the names of directories that are being deleted end with.
const TRASH: &str = ".trash";
/// What the names of directories that are no releases (yet, or any more) end with.
const UNFINISHED: [&str; 2] = [".partial", TRASH];

/// What could not be deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneError {
    /// The directory of the releases can't be worked in.
    #[error(transparent)]
    Releases(#[from] TreeError),
    /// Something in it, or beside it.
    #[error("failed to delete {path}", path = path.display())]
    Delete {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Performer {
    /// Deletes releases. What a crash or an error leaves of that is deleted at the next start, and
    /// before the next release is unpacked.
    pub(super) async fn prune(&mut self, builds: &[BuildName]) -> Result<(), StepError> {
        let (tree, pruned) = (self.tree(), builds.to_vec());
        let prune = move || {
            let Some(releases) = tree.open()? else {
                return Ok(());
            };
            pruned.iter().try_for_each(|build| delete(&releases, build))
        };
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
pub(super) fn delete(releases: &Releases, build: &BuildName) -> Result<(), PruneError> {
    let (build, trash) = (OsString::from(build.as_str()), format!(".{build}{TRASH}"));
    let trash = OsStr::new(&trash);
    remove(releases, trash)?;
    releases
        .rename(&build, trash)
        .map_err(|source| PruneError::Delete {
            path: releases.path().join(&build),
            source,
        })?;
    remove(releases, trash)
}

/// Deletes what is left of releases that could not be deleted whole.
///
/// # Errors
/// Where some of it still can't; the rest is.
pub(super) fn empty_trash(releases: &mut Releases) -> Result<(), PruneError> {
    remove_all(releases, &[TRASH])
}

/// Removes what a dead run has left of releases: partial ones, half-deleted ones, fresh links.
///
/// # Errors
/// Where something can't be removed; the rest is.
pub(crate) fn sweep(tree: &Tree) -> Result<(), PruneError> {
    let removed = match tree.open()? {
        Some(mut releases) => remove_all(&mut releases, &UNFINISHED),
        None => Ok(()),
    };
    match files::sweep(tree.dir()) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            let path = tree.dir().to_owned();
            Err(PruneError::Delete { path, source })
        }
        Ok(()) | Err(_) => removed,
    }
}

/// Removes what has a name that begins with a dot and has one of these ends.
fn remove_all(releases: &mut Releases, ends: &[&str]) -> Result<(), PruneError> {
    let unfinished =
        |name: &String| name.starts_with('.') && ends.iter().any(|end| name.ends_with(end));
    let names = releases.names()?.into_iter().filter(unfinished);
    // All of them, whatever becomes of one.
    let removed: Vec<_> = names
        .map(|name| remove(releases, OsStr::new(&name)))
        .collect();
    removed.into_iter().collect()
}

fn remove(releases: &Releases, name: &OsStr) -> Result<(), PruneError> {
    releases.remove(name).map_err(|error| PruneError::Delete {
        path: releases.path().join(name),
        source: io::Error::other(error),
    })
}
