//! Why an artifact was not downloaded.

use std::io;
use std::time::Duration;

use deploy_core::wire::time;
use jiff::Timestamp;
use reqwest::StatusCode;
use url::Url;

use crate::host::ErrorKind;

/// Why an artifact was not downloaded. URLs are shown without user, password, query and fragment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The URL, or one that it redirects to, is not one to download from.
    #[error("{url} is refused: {why}")]
    Refused {
        /// Which.
        url: String,
        /// The rule.
        why: &'static str,
    },
    /// No HTTP client could be made.
    #[error("failed to set up the HTTP client")]
    Client {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The request, or the body, failed on the way.
    #[error("failed to fetch {url}")]
    Transfer {
        /// From where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server did not prove who it is. A certificate is good from one time to another, so the
    /// clock may be what is wrong.
    #[error("failed to fetch {url}: no trust in the server, at {at} by the clock of this host")]
    Tls {
        /// From where.
        url: String,
        /// What time it was.
        at: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No bytes came for too long.
    #[error("{url} stalled: nothing for {limit_s} s while waiting for {what}")]
    Stalled {
        /// From where.
        url: String,
        /// The limit.
        limit_s: u64,
        /// What should have come.
        what: &'static str,
    },
    /// Bytes came too slowly.
    #[error("{url} is too slow: {bytes} bytes in {window_s} s")]
    Slow {
        /// From where.
        url: String,
        /// How many came.
        bytes: u64,
        /// In how long.
        window_s: u64,
    },
    /// Everything together took too long.
    #[error("{url} was not fetched within {limit_s} s")]
    Deadline {
        /// From where.
        url: String,
        /// The limit.
        limit_s: u64,
    },
    /// The server answered with something else than the file.
    #[error("{url} answered {status}, 200 is wanted{wait}", wait = shown_wait(*retry_after))]
    Status {
        /// From where.
        url: String,
        /// What it answered.
        status: StatusCode,
        /// How long it asked us to wait.
        retry_after: Option<Duration>,
    },
    /// A redirect that can't be followed.
    #[error("{url} redirects {why}")]
    Redirect {
        /// From where.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The size that the server announces is not the target's.
    #[error("{url} has {announced} bytes, the target says {wanted}")]
    SizeDiffers {
        /// From where.
        url: String,
        /// What the server says.
        announced: String,
        /// What the target says.
        wanted: u64,
    },
    /// The body goes on after its last byte.
    #[error("{url} sends more than the {wanted} bytes that the target says")]
    TooLong {
        /// From where.
        url: String,
        /// What the target says.
        wanted: u64,
    },
    /// The body ended too early.
    #[error("{url} ended after {received} of {wanted} bytes")]
    TooShort {
        /// From where.
        url: String,
        /// What came.
        received: u64,
        /// What the target says.
        wanted: u64,
    },
    /// The server answered another range than the one asked for.
    #[error("{url} answered a range that was not asked for")]
    RangeDiffers {
        /// From where.
        url: String,
    },
    /// The bytes are not those of the artifact.
    #[error("{url} is not the artifact: its SHA-256 is {found}, the target says {wanted}")]
    DigestDiffers {
        /// From where.
        url: String,
        /// Of the bytes that came.
        found: String,
        /// What the target says.
        wanted: String,
    },
    /// There is not enough space, or there will not be.
    #[error("no space in {directory}: {needed} bytes are needed, {free} are free")]
    NoSpace {
        /// Where.
        directory: String,
        /// What it takes, with what must stay free.
        needed: u64,
        /// What is there.
        free: u64,
    },
    /// The file could not be made, written or read.
    #[error("failed to {action}")]
    Disk {
        /// What was tried, with its object.
        action: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// There is something where the file is to be.
    #[error("{path} exists already; it was left alone")]
    Exists {
        /// Where.
        path: String,
    },
}

impl DownloadError {
    /// Returns what is to be done about it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Transfer { .. }
            | Self::Stalled { .. }
            | Self::Slow { .. }
            | Self::Deadline { .. }
            | Self::TooShort { .. }
            | Self::RangeDiffers { .. } => ErrorKind::Retry,
            Self::Status { status, .. } if passes_by_itself(*status) => ErrorKind::Retry,
            Self::Refused { .. }
            | Self::SizeDiffers { .. }
            | Self::TooLong { .. }
            | Self::DigestDiffers { .. } => ErrorKind::Reject,
            Self::Client { .. }
            | Self::Tls { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::NoSpace { .. }
            | Self::Disk { .. }
            | Self::Exists { .. } => ErrorKind::Stuck,
        }
    }

    /// Returns how long the server asked us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Says whether time was all that was missing.
    pub(super) fn is_timeout(&self) -> bool {
        match self {
            Self::Stalled { .. } | Self::Slow { .. } | Self::Deadline { .. } => true,
            Self::Transfer { source, .. } => source.is_timeout(),
            _ => false,
        }
    }

    /// Sorts what reqwest says.
    pub(super) fn transfer(url: &Url, source: reqwest::Error) -> Self {
        let source = source.without_url();
        let url = shown(url);
        if mentions_certificate(&source) {
            let at = time::render(Timestamp::now());
            return Self::Tls { url, at, source };
        }
        Self::Transfer { url, source }
    }

    pub(super) fn disk(action: &str, source: impl Into<io::Error>) -> Self {
        Self::Disk {
            action: action.to_owned(),
            source: source.into(),
        }
    }
}

fn passes_by_itself(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

/// rustls' errors are not ours to name: they are known by their text.
fn mentions_certificate(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.to_string().contains("certificate") {
            return true;
        }
        source = error.source();
    }
    false
}

fn shown_wait(retry_after: Option<Duration>) -> String {
    retry_after.map_or(String::new(), |wait| {
        format!(", and asks to wait {} s", wait.as_secs())
    })
}

/// Returns a URL without anything that may be secret.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}
