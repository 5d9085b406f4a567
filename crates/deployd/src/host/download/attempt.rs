//! One request for an artifact: what is asked for, and whether the answer fits.

use jiff::Timestamp;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, RETRY_AFTER,
};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::error::{DownloadError, shown};
use super::follow::{From, follow};
use super::receive::receive;
use super::sink::Sink;
use super::{Call, retry_after};

/// What all attempts of one download share.
pub(super) struct Attempt<'a> {
    call: Call<'a>,
    /// Of the bytes that the sink holds, where the server can send the rest of them.
    etag: Option<String>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(call: Call<'a>) -> Self {
        Self { call, etag: None }
    }

    /// Brings the rest of the file into `sink`: all of it, where that can't be continued.
    pub(super) async fn run(&mut self, sink: &mut Sink) -> Result<(), DownloadError> {
        let taken = sink.taken().await?;
        // It stays as long as the bytes do, however often the server can't be reached meanwhile.
        let etag = self.etag.clone();
        let resume = etag.filter(|_| taken > 0 && taken < self.call.request.size_bytes);
        let from = resume.as_deref().map(|etag| (taken, etag));
        let (request, limits) = (self.call.request, self.call.limits);
        let answer = follow(limits, (&request.url, self.call.sources), from);
        let waiting = timeout(limits.response_timeout, answer);
        let response = waiting.await.map_err(|_| DownloadError::Stalled {
            url: shown(&request.url),
            limit_s: limits.response_timeout.as_secs(),
            what: "an answer",
        })??;
        let start = match self.accept(&response, from) {
            Err(error @ DownloadError::RangeDiffers { .. }) => {
                self.etag = None;
                return Err(error);
            }
            accepted => accepted?,
        };
        if start == 0 {
            sink.restart().await?;
        }
        self.etag = strong_etag(response.headers());
        receive(response, start, sink, self.call).await
    }

    /// Checks what the response says of itself. Returns where in the file its body starts.
    fn accept(&self, response: &Response, from: Option<From<'_>>) -> Result<u64, DownloadError> {
        let url = || shown(response.url());
        let (headers, size) = (response.headers(), self.call.request.size_bytes);
        let start = match (response.status(), from) {
            (StatusCode::OK, _) => 0,
            (StatusCode::PARTIAL_CONTENT, Some((start, etag))) => {
                let range = format!("bytes {start}-{}/{size}", size - 1);
                let same_range = one(headers, &CONTENT_RANGE) == Some(range.as_str());
                if !same_range || one(headers, &ETAG) != Some(etag) {
                    return Err(DownloadError::RangeDiffers { url: url() });
                }
                start
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                return Err(DownloadError::RangeDiffers { url: url() });
            }
            (status, _) => {
                let wait = one(headers, &RETRY_AFTER);
                return Err(DownloadError::Status {
                    url: url(),
                    status,
                    retry_after: wait.and_then(|text| retry_after::parse(text, Timestamp::now())),
                });
            }
        };
        for announced in headers.get_all(CONTENT_LENGTH) {
            if announced.as_bytes() != (size - start).to_string().as_bytes() {
                return Err(DownloadError::SizeDiffers {
                    url: url(),
                    announced: announced.as_bytes().escape_ascii().to_string(),
                    wanted: size - start,
                });
            }
        }
        Ok(start)
    }
}

/// Returns the only value of a header; two are none.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Returns the validator by which a download may be continued: a weak one does not say that the
/// bytes are the same.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = one(headers, &ETAG)?;
    let strong = etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"');
    (strong && one(headers, &ACCEPT_RANGES) != Some("none")).then(|| etag.to_owned())
}
