//! Downloads a small text, as a signature: into memory, once, in little time.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::timeout;
use url::Url;

use super::Limits;
use super::error::{DownloadError, shown};
use super::follow::follow;
use super::sources::Sources;

/// Everything together.
const TOTAL_TIME: Duration = Duration::from_secs(30);

/// Returns what is at `url`, where `sources` allow it: at most `bytes_max`.
///
/// # Errors
/// Where it can't be had, or is longer.
pub(crate) async fn small(
    (url, sources): (&Url, &Sources),
    bytes_max: u64,
    limits: &Limits,
) -> Result<Vec<u8>, DownloadError> {
    sources.check(url)?;
    let reading = async {
        let mut response = follow(limits, (url, sources), None).await?;
        if response.status() != StatusCode::OK {
            return Err(DownloadError::Status {
                url: shown(url),
                status: response.status(),
                retry_after: None,
            });
        }
        let mut body = Vec::new();
        let failed = |source| DownloadError::transfer(url, source);
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > bytes_max {
                return Err(DownloadError::TooLong {
                    url: shown(url),
                    wanted: bytes_max,
                });
            }
        }
        Ok(body)
    };
    timeout(TOTAL_TIME, reading).await.unwrap_or_else(|_| {
        Err(DownloadError::Deadline {
            url: shown(url),
            limit_s: TOTAL_TIME.as_secs(),
        })
    })
}
