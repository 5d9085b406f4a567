//! Refuses builds that no trusted key has signed.

use deploy_core::artifact::Artifact;
use deploy_core::name::BuildName;
use deploy_core::verdict::Failure;
use reqwest::StatusCode;
use tokio::task::spawn_blocking;
use url::Url;

use super::release::limits;
use super::{Performer, StepError, passing};
use crate::chain::Chain;
use crate::host::download::error::DownloadError;
use crate::host::download::part::Verified;
use crate::host::download::small::small;
use crate::host::signature::BYTES_MAX;

/// A signature that was downloaded, and what it must say.
pub(super) struct Claim {
    text: String,
    comment: String,
    url: Url,
}

impl Performer {
    /// Downloads the signature of an artifact, from beside it; nothing, where no build has to be
    /// signed. Before the artifact: a build without one costs no download.
    pub(super) async fn claim(
        &self,
        build: &BuildName,
        (artifact, url): (&Artifact, &Url),
    ) -> Result<Option<Claim>, StepError> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let mut url = url.clone();
        url.set_path(&format!("{}.minisig", url.path()));
        let limits = limits(self.builds.min_free_bytes);
        let comment = deploy_core::signature::comment(&self.service.name, build, artifact);
        match small((&url, &self.builds.sources), BYTES_MAX, &limits).await {
            Ok(bytes) => Ok(Some(Claim {
                text: String::from_utf8_lossy(&bytes).into_owned(),
                comment,
                url,
            })),
            Err(
                error @ DownloadError::Status {
                    status: StatusCode::NOT_FOUND | StatusCode::GONE,
                    ..
                },
            ) => {
                let why = format!(
                    "{}; sign it: minisign -Sm FILE -t '{comment}'",
                    Chain(&error)
                );
                Err(untrusted(build, "is not signed", &why))
            }
            Err(error) => Err(passing(&error)),
        }
    }

    /// Checks the bytes of an artifact, from the very file that is unpacked.
    pub(super) async fn prove(
        &self,
        build: &BuildName,
        claim: Option<Claim>,
        file: Verified,
    ) -> Result<Verified, StepError> {
        let Some(Claim { text, comment, url }) = claim else {
            return Ok(file);
        };
        let keys = self.keys.clone();
        let checking = spawn_blocking(move || {
            let checked = keys.check((&text, &comment), file.file());
            checked.map(|key| (key.to_owned(), file))
        });
        match checking.await {
            Ok(Ok((key, file))) => {
                tracing::info!(%build, key = %key.display(), "build {build} is signed");
                Ok(file)
            }
            Ok(Err(error)) => {
                // Like all URLs in messages: where, and nothing that may be secret.
                let signature = url.path().rsplit('/').next().unwrap_or_default();
                let why = format!("{signature}: {}", Chain(&error));
                Err(untrusted(build, "has no good signature", &why))
            }
            Err(error) => Err(passing(&error)),
        }
    }
}

/// Nothing of the build is unpacked; it is looked again later, a good signature may come.
fn untrusted(build: &BuildName, what: &str, why: &str) -> StepError {
    StepError {
        failure: Failure::Passing,
        message: format!("build {build} {what}: {why}"),
        log: Vec::new(),
    }
}
