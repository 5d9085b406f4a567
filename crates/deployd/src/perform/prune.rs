//! Deletes releases, and what is left of them.
//!
//! ```text
//! releases/.r2400.trash/     renamed first, so that none is ever half there under its own name
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use deploy_core::name::BuildName;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::room::of_the_disk;
use super::{Performer, StepError, passing};
use crate::host::files::{self, TEMPORARY};
use crate::host::tree::releases::Releases;
use crate::host::tree::{Tree, TreeError};

/// What the names of directories that are being deleted end with.
const TRASH: &str = ".trash";
/// What the names of directories that are being unpacked end with.
const PARTIAL: &str = ".partial";

/// How long a release that could not be deleted is left alone.
const AGAIN_TIME: Duration = Duration::from_secs(600);

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

/// What could not be deleted, as an immutable file or what something is mounted in.
#[derive(Debug, Default)]
pub(crate) struct Undeleted {
    /// Releases, why each is still there, and when that was found out; none, where it is tried next time.
    releases: BTreeMap<BuildName, (String, Option<Instant>)>,
    /// What was told of trash.
    trash: Option<String>,
}

impl Undeleted {
    /// Returns the releases that are not tried now, with why.
    pub(crate) fn releases(&self) -> BTreeMap<BuildName, String> {
        let is_recent = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < AGAIN_TIME);
        let recent = self.releases.iter().filter(|(_, (_, at))| is_recent(at));
        let told = recent.map(|(build, (why, _))| (build.clone(), why.clone()));
        told.collect()
    }
}

impl Performer {
    /// Deletes releases. What a crash or an error leaves of that is deleted at the next start, and
    /// before the next release is unpacked. A release that can't be deleted holds nothing up: it is
    /// told of, passed over, and tried again after a while.
    pub(super) async fn prune(&mut self, builds: &[BuildName]) -> Result<(), StepError> {
        let (tree, pruned) = (self.tree(), builds.to_vec());
        let prune = move || -> Result<Vec<_>, TreeError> {
            let Some(releases) = tree.open()? else {
                return Ok(Vec::new());
            };
            let deleted = pruned.into_iter().map(|build| {
                let deleted = delete(&releases, &build);
                (build, deleted)
            });
            Ok(deleted.collect())
        };
        let deleted = match spawn_blocking(prune).await {
            Ok(result) => result.map_err(|error| of_the_disk(&self.service.dir, &error))?,
            Err(error) => return Err(passing(&error)),
        };
        for (build, deleted) in deleted {
            match deleted {
                Ok(()) => {
                    tracing::info!(service = %self.service.name, %build, "pruned");
                    self.undeleted.releases.remove(&build);
                }
                Err(error) => self.not_deleted(build, &error),
            }
        }
        let releases = self.on_disk()?;
        // Of what is trash by now, the name is free.
        self.undeleted
            .releases
            .retain(|build, _| releases.contains(build));
        let units: Vec<String> = self
            .service
            .instances
            .iter()
            .map(|i| i.unit.clone())
            .collect();
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        self.write(|record| record.forget(&releases, &units))
    }

    fn not_deleted(&mut self, build: BuildName, error: &PruneError) {
        let why = of_the_disk(&self.service.dir, error).message;
        let told = self.undeleted.releases.get(&build);
        if told.is_none_or(|(told, _)| *told != why) {
            tracing::warn!(service = %self.service.name, %build, error = %why, "a release can't be deleted, and is passed over");
        }
        self.undeleted
            .releases
            .insert(build, (why, Some(Instant::now())));
    }

    /// Deletes what could not be deleted before, ahead of another release: it takes room, and nothing
    /// else comes back to it. What still can't be is told of once, and in nobody's way.
    pub(super) async fn empty_trash(
        &mut self,
        mut releases: Releases,
    ) -> Result<Releases, StepError> {
        // It may be a million files.
        let emptying = spawn_blocking(move || {
            let removed = remove_all(&mut releases, is_trash);
            (releases, removed)
        });
        let (releases, removed) = emptying.await.map_err(|error| passing(&error))?;
        let why = match removed {
            Ok(()) => None,
            Err(error) => Some(of_the_disk(&self.service.dir, &error).message),
        };
        if let Some(why) = why
            .as_ref()
            .filter(|why| self.undeleted.trash.as_ref() != Some(why))
        {
            tracing::warn!(service = %self.service.name, error = %why, "what is left of a release can't be deleted, and stays");
        }
        self.undeleted.trash = why;
        // Their turn comes with the next that are pruned.
        self.undeleted
            .releases
            .values_mut()
            .for_each(|(_, at)| *at = None);
        Ok(releases)
    }

    fn on_disk(&self) -> Result<Vec<BuildName>, StepError> {
        let listed = self.tree().list().map_err(|error| passing(&error))?;
        Ok(listed
            .releases
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

/// Removes what a dead run has left of releases: partial ones, half-deleted ones, fresh links.
///
/// # Errors
/// Where something can't be removed; the rest is.
pub(crate) fn sweep(tree: &Tree) -> Result<(), PruneError> {
    let removed = match tree.open() {
        Ok(Some(mut releases)) => remove_all(&mut releases, is_unfinished),
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    match files::sweep(tree.dir()) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            let path = tree.dir().to_owned();
            Err(PruneError::Delete { path, source })
        }
        Ok(()) | Err(_) => removed,
    }
}

fn is_unfinished(name: &str) -> bool {
    name.starts_with(TEMPORARY)
        || name.starts_with('.') && name.ends_with(PARTIAL)
        || is_trash(name)
}

fn is_trash(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TRASH)
}

/// Removes what has such a name.
fn remove_all(releases: &mut Releases, is_such: fn(&str) -> bool) -> Result<(), PruneError> {
    let names = releases.names()?.into_iter();
    let names: BTreeSet<_> = names.filter(|name| is_such(name)).collect();
    // All of them, whatever becomes of one; of those that can't be, the first is told.
    let removed: Vec<_> = names
        .iter()
        .map(|name| remove(releases, OsStr::new(name)))
        .collect();
    removed.into_iter().collect()
}

fn remove(releases: &Releases, name: &OsStr) -> Result<(), PruneError> {
    releases.remove(name).map_err(|error| PruneError::Delete {
        path: releases.path().join(name),
        source: io::Error::other(error),
    })
}
