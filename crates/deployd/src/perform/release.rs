//! Downloads artifacts and unpacks them into releases.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deploy_core::artifact::Artifact;
use deploy_core::name::BuildName;
use deploy_core::plan::Plan;
use deploy_core::step::Step;
use deploy_core::verdict::Failure;
use nix::unistd::{Gid, Uid};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use url::Url;

use super::room::of_the_disk;
use super::{Order, Performer, Progress, StepError, of_the_build, passing};
use crate::chain::Chain;
use crate::host::archive::error::UnpackError;
use crate::host::archive::{self, Limits, Options, Owner};
use crate::host::download;
use crate::host::tree::{Tree, TreeError};
use crate::host::{ErrorKind, disk};

/// An artifact that was downloaded and verified: the open file, and what its bytes hash to.
pub(crate) struct Fetched {
    /// It has no name, and goes with this handle.
    file: File,
    artifact: Artifact,
}

/// Why there is no release, where that is not the archive's fault.
#[derive(Debug, thiserror::Error)]
#[error("failed to unpack build {build} into {releases}", releases = releases.display())]
struct NotUnpacked {
    build: BuildName,
    releases: PathBuf,
    #[source]
    source: UnpackError,
}

impl Performer {
    /// Downloads an artifact. Done anew after a crash: nothing of it has a name.
    pub(super) async fn fetch(
        &mut self,
        build: &BuildName,
        order: &Order,
    ) -> Result<(), StepError> {
        let artifact = order.artifacts.iter().find(|(name, _)| name == build);
        let Some((_, artifact)) = artifact else {
            let message = format!("nothing says where the archive of build {build} is");
            return Err(StepError {
                failure: Failure::Passing,
                message,
                log: Vec::new(),
            });
        };
        let url = Url::parse(&artifact.url).map_err(|error| {
            let message = format!("the artifact of build {build} has no usable URL: {error}");
            StepError {
                failure: Failure::Passing,
                message,
                log: Vec::new(),
            }
        })?;
        let claim = self.claim(build, (artifact, &url)).await?;
        let directory = self.state_dir.join("downloads");
        private_dir(&directory).map_err(|error| of_the_disk(&self.state_dir, &error))?;
        let request = download::Request {
            url,
            sha256: artifact.sha256.clone(),
            size_bytes: artifact.size,
            directory,
        };
        let limits = limits(self.builds.min_free_bytes);
        let (sender, receiver) = watch::channel(download::Progress::default());
        let downloading = download::download(&request, &self.builds.sources, &limits, &sender);
        let telling = tell(receiver, self.progress.clone());
        // Cancel-safe: dropping a download drops its file, and it is awaited to its end here.
        let result = tokio::select! {
            result = downloading => result,
            () = telling => unreachable!("progress is told for ever"),
        };
        let file = result.map_err(|error| of_the_disk(&self.state_dir, &error))?;
        self.metrics.downloaded(&self.service.name, artifact.size);
        let file = self.prove(build, claim, file).await?;
        self.fetched = Some((
            build.clone(),
            Fetched {
                file: file.into_file(),
                artifact: artifact.clone(),
            },
        ));
        Ok(())
    }

    /// Lets a download go that is not unpacked any more: it has no name, and takes room for as long as it is held.
    pub(crate) fn keep_fetched_for(&mut self, plan: &Plan) {
        let unpacks =
            |step: &Step, build: &BuildName| matches!(step, Step::Extract(it) if it == build);
        self.fetched
            .take_if(|(build, _)| !plan.steps.iter().any(|step| unpacks(step, build)));
    }

    /// Unpacks the downloaded archive, from the very file that was verified, into a partial
    /// directory that is synced once and then renamed. After a crash the partial directory is
    /// removed and the download done anew; after a failure of the disk it is still here.
    pub(super) async fn extract(&mut self, build: &BuildName) -> Result<(), StepError> {
        let tree = self.tree();
        let failed =
            |error: &(dyn std::error::Error + 'static)| of_the_disk(&tree.releases(), error);
        let mut releases = tree.prepare().map_err(|error| failed(&error))?;
        releases = self.empty_trash(releases).await?;
        // Before the download is let go: it is not made again for want of room.
        let size = self
            .fetched
            .as_ref()
            .map_or(0, |(_, fetched)| fetched.artifact.size);
        self.room(&tree, size)?;
        let fetched = self.fetched.take().filter(|(name, _)| name == build);
        let Some((_, Fetched { file, artifact })) = fetched else {
            let message = format!("the archive of build {build} is not here any more");
            return Err(StepError {
                failure: Failure::Passing,
                message,
                log: Vec::new(),
            });
        };
        let owner = self.owner()?;
        self.write(|record| record.extract(build, &artifact.sha256))?;
        let limits = Limits {
            unpacked_bytes_max: self.builds.max_unpacked_bytes,
            entries_max: self.builds.max_entries,
            ..Limits::default()
        };
        let release = tree.release(build.as_str());
        let parent = releases.handle().map_err(|error| failed(&error))?;
        drop(releases);
        let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&stop.0);
        let unpacking = spawn_blocking(move || {
            let options = Options {
                limits,
                owner,
                stop: &flag,
            };
            archive::unpack(file, (parent, &release), &options)
        });
        match unpacking.await {
            Ok(Ok(unpacked)) => {
                let synced_ms = unpacked.synced_in.as_millis();
                tracing::debug!(%build, entries = unpacked.entries, bytes = unpacked.bytes, synced_ms, "unpacked");
                Ok(())
            }
            Ok(Err((error, _))) if error.kind() == ErrorKind::Reject => {
                let message = format!("the archive of build {build} is refused: {}", Chain(&error));
                Err(of_the_build(message, Vec::new()))
            }
            Ok(Err((source, file))) => {
                let again = |file| (build.clone(), Fetched { file, artifact });
                self.fetched = file.map(again);
                Err(failed(&NotUnpacked {
                    build: build.clone(),
                    releases: tree.releases(),
                    source,
                }))
            }
            Err(error) => Err(passing(&error)),
        }
    }

    /// Who gets the release, where that is not who deployd runs as.
    fn owner(&self) -> Result<Option<Owner>, StepError> {
        if self.service.user.is_none() {
            return Ok(None);
        }
        let user = self.user()?;
        Ok(Some(Owner {
            user: Uid::from_raw(user.uid()),
            group: Gid::from_raw(user.gid()),
        }))
    }

    /// A release takes at least the room of its archive.
    fn room(&self, tree: &Tree, size: u64) -> Result<(), StepError> {
        let needed = size.saturating_add(self.builds.min_free_bytes);
        match disk::free_bytes(&tree.releases()) {
            Ok(free) if free < needed => {
                let path = tree.releases();
                let message = format!(
                    "no space in {}: {needed} bytes are needed (builds.min_free_bytes included), \
                     {free} are free",
                    path.display()
                );
                Err(StepError {
                    failure: Failure::Passing,
                    message,
                    log: Vec::new(),
                })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn private_dir(path: &Path) -> Result<(), TreeError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(TreeError::Io {
            attempt: "make",
            path: path.to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The agent's patience with a build server. A download that ends in an error is tried again by
/// the agent, with pauses of its own.
pub(super) fn limits(free_bytes_min: u64) -> download::Limits {
    download::Limits {
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(30),
        rate_window: Duration::from_secs(60),
        rate_bytes_min: 10 * 1024,
        total_timeout: Duration::from_secs(30 * 60),
        attempts_max: 5,
        pause_max: Duration::from_secs(10),
        retry_after_max: Duration::from_secs(60),
        timeouts_retried_within: Duration::from_secs(120),
        free_bytes_min,
    }
}

async fn tell(mut from: watch::Receiver<download::Progress>, to: watch::Sender<Progress>) {
    while from.changed().await.is_ok() {
        let progress = *from.borrow_and_update();
        to.send_replace(Progress {
            done: progress.bytes,
            total: progress.total_bytes,
            connections: None,
        });
    }
    std::future::pending().await
}

/// Tells the thread that unpacks to stop when nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
