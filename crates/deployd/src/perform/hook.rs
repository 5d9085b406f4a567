//! The operator's programs at named points.

use std::io;
use std::path::PathBuf;

use deploy_core::name::BuildName;
use deploy_core::verdict::Failure;
use nix::unistd::syncfs;
use tokio::task::spawn_blocking;

use super::program::Program;
use super::prune;
use super::room::of_the_disk;
use super::{Order, Performer, StepError, passing};
use crate::chain::Chain;
use crate::host::process::{Job, Leftovers};
use crate::host::tree::releases::Releases;
use crate::host::tree::{Current, TreeError};

/// The entry of a hook's environment that names the state directory of its deployd: by it, what a
/// dead run has left behind is found.
pub(crate) const MARK: &str = "DEPLOYD_STATE_DIR";

impl Performer {
    /// Runs a hook in a release, as the service's user; no arguments, no hook. What it leaves
    /// behind is killed with it. Must be able to run again after a crash halfway.
    pub(super) async fn hook(
        &mut self,
        (name, arguments): (&str, &[String]),
        build: &BuildName,
        order: &Order,
    ) -> Result<(), StepError> {
        if arguments.is_empty() {
            return Ok(());
        }
        let user = self.user()?;
        let release = self.tree().release(build.as_str());
        let rollout = order
            .rollout
            .map(|number| number.to_string())
            .unwrap_or_default();
        let environment = [
            (MARK, self.state_dir.display().to_string()),
            ("DEPLOYD_HOOK", name.to_owned()),
            ("DEPLOYD_HOST", self.host.to_string()),
            ("DEPLOYD_SERVICE", self.service.name.to_string()),
            ("DEPLOYD_BUILD", build.to_string()),
            ("DEPLOYD_ROLLOUT", rollout),
            ("DEPLOYD_DIR", self.service.dir.display().to_string()),
        ];
        let job = Job {
            arguments,
            dir: &release,
            user: Some(&user),
            environment: &environment,
            limit: self.service.hooks.timeout,
            leftovers: Leftovers::Killed,
            input: "",
        };
        let program = Program {
            job,
            what: format!("{name} hook `{}` of build {build}", arguments.join(" ")),
            failure: Failure::OfTheBuild,
        };
        tracing::debug!(hook = name, %build, arguments = ?arguments, "running a hook");
        self.programs.hook(name, &program).await
    }

    /// Makes what a hook has written durable, before anybody says that it is done. Where that fails,
    /// the release is deleted and made anew: the kernel tells once of what it could not write, and
    /// a second sync of the same tree would succeed.
    pub(super) async fn sync(&self, build: &BuildName) -> Result<(), StepError> {
        let (tree, build) = (self.tree(), build.clone());
        let sync = move || {
            let releases = Releases::open(tree.releases())?;
            let release = releases.open_release(build.as_str())?;
            let synced = syncfs(&release).map_err(|errno| NotSynced::Sync {
                release: tree.release(build.as_str()),
                source: errno.into(),
            });
            // What is current is not ours to delete, however it came to be so.
            let ours = match tree.read_current() {
                Ok(Current::Absent) => true,
                Ok(Current::Release(name)) => name != build.as_str(),
                Ok(Current::Foreign(_)) | Err(_) => false,
            };
            if synced.is_err()
                && ours
                && let Err(error) = prune::delete(&releases, &build)
            {
                tracing::warn!(%build, error = %Chain(&error), "a release that could not be synced is still there");
            }
            synced
        };
        match spawn_blocking(sync).await {
            Ok(result) => result.map_err(|error| of_the_disk(&self.service.dir, &error)),
            Err(error) => Err(passing(&error)),
        }
    }
}

/// What may not be on the disk.
#[derive(Debug, thiserror::Error)]
enum NotSynced {
    #[error(transparent)]
    Release(#[from] TreeError),
    #[error("failed to sync {release}", release = release.display())]
    Sync {
        release: PathBuf,
        #[source]
        source: io::Error,
    },
}
