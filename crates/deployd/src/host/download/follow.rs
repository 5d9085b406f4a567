//! Sends a request, and follows the redirects that it leads to: only to where the first one could
//! have gone.

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, IF_RANGE, LOCATION, RANGE};
use reqwest::{Response, StatusCode};
use url::Url;

use super::Limits;
use super::error::{DownloadError, shown};
use super::sources::Sources;

/// Redirects of one request.
const REDIRECTS_MAX: u32 = 5;

/// From which byte on, and by which validator.
pub(super) type From<'a> = (u64, &'a str);

/// Returns the first answer that is no redirect. The time for that is the caller's to limit.
pub(super) async fn follow(
    limits: &Limits,
    (url, sources): (&Url, &Sources),
    from: Option<From<'_>>,
) -> Result<Response, DownloadError> {
    let first = url;
    let mut url = first.clone();
    let mut client = super::client(limits, &url)?;
    for _ in 0..=REDIRECTS_MAX {
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
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
        let to = redirected(&url, response.headers(), sources)?;
        if to.scheme() != url.scheme() {
            client = super::client(limits, &to)?;
        }
        url = to;
    }
    Err(DownloadError::Redirect {
        url: shown(first),
        why: "too often",
    })
}

fn redirected(from: &Url, headers: &HeaderMap, sources: &Sources) -> Result<Url, DownloadError> {
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
    sources.check_redirect(from, &to)?;
    Ok(to)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
