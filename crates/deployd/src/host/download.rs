//! Downloads an artifact into a file and proves that it is the right one.
//!
//! The file has no name while it is written (or loses it at once, where the file system can't do
//! that), so that a killed run leaves nothing, nobody else can swap or read it, and whoever takes
//! the answer reads exactly the bytes that were checked.
//!
//! It must never hand out a file whose size and digest were not checked, never follow a redirect
//! to where the first URL could not have gone, and never put a query, a user or a password into a
//! message.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use deploy_core::artifact::Digest;
use reqwest::Client;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use url::Url;

use self::attempt::Attempt;
use self::error::DownloadError;
use self::part::{Part, Verified};
use self::sink::Sink;
use self::sources::Sources;
use super::ErrorKind;

mod attempt;
pub(crate) mod error;
mod follow;
pub(crate) mod part;
mod receive;
mod retry_after;
mod sink;
pub(crate) mod small;
pub(crate) mod sources;

/// What is to be downloaded.
#[derive(Debug)]
pub(crate) struct Request {
    /// Where it is.
    pub(crate) url: Url,
    /// What its bytes hash to.
    pub(crate) sha256: Digest,
    /// How many they are.
    pub(crate) size_bytes: u64,
    /// Where the file is to live: a directory that only its owner can write to.
    pub(crate) directory: PathBuf,
}

/// How long and how often it is tried.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Looking up the name, connecting, and the TLS handshake.
    pub(crate) connect_timeout: Duration,
    /// From the request to the end of the response's headers.
    pub(crate) response_timeout: Duration,
    /// Without any byte of the body.
    pub(crate) idle_timeout: Duration,
    /// The window over which the slowest rate is measured.
    pub(crate) rate_window: Duration,
    /// Bytes a second that must come in on the average of a window.
    pub(crate) rate_bytes_min: u64,
    /// Everything together.
    pub(crate) total_timeout: Duration,
    /// Requests at most, redirects not counted.
    pub(crate) attempts_max: u32,
    /// Pauses between attempts are random between one second and this, doubling up to it.
    pub(crate) pause_max: Duration,
    /// Longest `Retry-After` that is waited for; a longer one ends the download.
    pub(crate) retry_after_max: Duration,
    /// After a timeout, a new attempt starts only within this time.
    pub(crate) timeouts_retried_within: Duration,
    /// Bytes that must stay free on the file system besides the file.
    pub(crate) free_bytes_min: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Bytes that are here.
    pub(crate) bytes: u64,
    /// Bytes that there will be.
    pub(crate) total_bytes: u64,
}

/// What one call of [`download`] was given.
#[derive(Clone, Copy)]
struct Call<'a> {
    request: &'a Request,
    sources: &'a Sources,
    limits: &'a Limits,
    progress: &'a watch::Sender<Progress>,
}

/// The shortest pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Downloads `request` from where `sources` allow, and returns the open file, complete, with the
/// right size and digest.
///
/// Resumes after a fault only within one call, where the server has a strong `ETag` and answers
/// the range that was asked for; from one call to the next nothing is kept. May be dropped at any
/// time: the file goes with it.
///
/// # Errors
/// The last one, once it is final or its limit is reached. No file is left then.
pub(crate) async fn download(
    request: &Request,
    sources: &Sources,
    limits: &Limits,
    progress: &watch::Sender<Progress>,
) -> Result<Verified, DownloadError> {
    sources.check(&request.url)?;
    let part = Part::create(
        &request.directory,
        request.size_bytes,
        limits.free_bytes_min,
    )?;
    let call = Call {
        request,
        sources,
        limits,
        progress,
    };
    let all = repeat(Attempt::new(call), Sink::new(part), call);
    timeout(limits.total_timeout, all)
        .await
        .unwrap_or_else(|_| {
            Err(DownloadError::Deadline {
                url: error::shown(&request.url),
                limit_s: limits.total_timeout.as_secs(),
            })
        })
}

async fn repeat(
    mut attempt: Attempt<'_>,
    mut sink: Sink,
    call: Call<'_>,
) -> Result<Verified, DownloadError> {
    let started = Instant::now();
    let mut digests_differed = 0;
    let limits = call.limits;
    for count in 1.. {
        let error = match attempt.run(&mut sink).await {
            Ok(()) => match sink.verify(call.request).await {
                Ok(verified) => return Ok(verified),
                Err(error) => error,
            },
            Err(error) => error,
        };
        // One fresh download: a cache on the way may have been at fault.
        let differed = matches!(error, DownloadError::DigestDiffers { .. });
        digests_differed += u32::from(differed);
        let again = error.kind() == ErrorKind::Retry || digests_differed == 1 && differed;
        let late = error.is_timeout() && started.elapsed() >= limits.timeouts_retried_within;
        if !again || late || count >= limits.attempts_max {
            return Err(error);
        }
        let Some(pause) = pause(&error, count, limits) else {
            return Err(error);
        };
        tracing::debug!(error = %error, pause_ms = pause.as_millis(), "download failed, will retry");
        sleep(pause).await;
    }
    unreachable!("the loop ends by itself")
}

/// Full jitter, so that a thousand hosts don't come back at once; `None` where the server wants
/// more time than we have.
fn pause(error: &DownloadError, count: u32, limits: &Limits) -> Option<Duration> {
    if let Some(wanted) = error.retry_after() {
        return (wanted <= limits.retry_after_max).then_some(wanted.max(PAUSE_MIN));
    }
    let doubled = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(count));
    let range = doubled.min(limits.pause_max).saturating_sub(PAUSE_MIN);
    Some(PAUSE_MIN + range.mul_f64(fastrand::f64()))
}

/// Makes a client for the scheme of `url`.
fn client(limits: &Limits, url: &Url) -> Result<Client, DownloadError> {
    let mut builder = Client::builder();
    if url.scheme() != "https" {
        // Reading all that this machine trusts, some 290 files, comes before the first byte is asked for.
        builder = builder.tls_certs_only([]);
    }
    builder
        .user_agent(concat!("deployd/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect_timeout)
        .http1_only()
        .no_proxy()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        // A connection is as good as the answer that came over it: never used again.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|source| DownloadError::Client { source })
}
