//! One request for an artifact, with the redirects that it leads to.

use jiff::Timestamp;
use reqwest::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName,
    IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use super::error::{DownloadError, shown};
use super::receive::receive;
use super::sink::Sink;
use super::{Call, retry_after};

/// Redirects of one request.
const REDIRECTS_MAX: u32 = 5;

/// What all attempts of one download share.
pub(super) struct Attempt<'a> {
    client: Client,
    call: Call<'a>,
    /// Of the bytes that the sink holds, where the server can send the rest of them.
    etag: Option<String>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(client: Client, call: Call<'a>) -> Self {
        Self {
            client,
            call,
            etag: None,
        }
    }

    /// Brings the rest of the file into `sink`: all of it, where that can't be continued.
    pub(super) async fn run(&mut self, sink: &mut Sink) -> Result<(), DownloadError> {
        let taken = sink.taken().await?;
        let etag = self.etag.take();
        let resume = etag.filter(|_| taken > 0 && taken < self.call.request.size_bytes);
        let from = resume.as_deref().map(|etag| (taken, etag));
        let waiting = timeout(self.call.limits.response_timeout, self.follow(from));
        let response = waiting.await.map_err(|_| DownloadError::Stalled {
            url: shown(&self.call.request.url),
            limit_s: self.call.limits.response_timeout.as_secs(),
            what: "an answer",
        })??;
        let start = self.accept(&response, from)?;
        if start == 0 {
            sink.restart().await?;
        }
        self.etag = strong_etag(response.headers());
        receive(response, start, sink, self.call).await
    }

    /// Sends the request, and follows its redirects. The time limit is the caller's.
    async fn follow(&self, from: Option<(u64, &str)>) -> Result<Response, DownloadError> {
        let mut url = self.call.request.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self
                .client
                .get(url.clone())
                .header(ACCEPT_ENCODING, "identity");
            if let Some((start, etag)) = from {
                request = request
                    .header(RANGE, format!("bytes={start}-"))
                    .header(IF_RANGE, etag);
            }
            let response = request
                .send()
                .await
                .map_err(|source| DownloadError::transfer(&url, source))?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            url = self.redirected(&url, response.headers())?;
        }
        Err(DownloadError::Redirect {
            url: shown(&self.call.request.url),
            why: "too often",
        })
    }

    fn redirected(&self, from: &Url, headers: &HeaderMap) -> Result<Url, DownloadError> {
        let bad = |why| DownloadError::Redirect {
            url: shown(from),
            why,
        };
        let mut locations = headers.get_all(LOCATION).iter();
        let location = locations.next().ok_or_else(|| bad("to nowhere"))?;
        if locations.next().is_some() {
            return Err(bad("to two places"));
        }
        let mut to = location
            .to_str()
            .ok()
            .and_then(|text| from.join(text).ok())
            .ok_or_else(|| bad("to what is no URL"))?;
        // A relative one inherits them; whoever is redirected to has no claim on them.
        if to.set_username("").is_err() || to.set_password(None).is_err() {
            return Err(bad("to what is no http URL"));
        }
        self.call.sources.check_redirect(from, &to)?;
        Ok(to)
    }

    /// Checks what the response says of itself. Returns where in the file its body starts.
    fn accept(&self, response: &Response, from: Option<(u64, &str)>) -> Result<u64, DownloadError> {
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

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
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
