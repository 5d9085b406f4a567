//! Reads the body of a response, as long as it behaves.

use std::time::{Duration, Instant};

use reqwest::Response;
use tokio::time::timeout;

use super::error::{DownloadError, shown};
use super::sink::Sink;
use super::{Call, Limits, Progress};

/// Reads the body, which starts at byte `start` of the file, into `sink`, to its end.
///
/// It stops at the first byte that is too many. A body that ends early is no error here: the sink
/// knows how much it took.
pub(super) async fn receive(
    mut response: Response,
    start: u64,
    sink: &mut Sink,
    call: Call<'_>,
) -> Result<(), DownloadError> {
    let (request, limits) = (call.request, call.limits);
    let url = response.url().clone();
    let mut received = start;
    let mut rate = Rate::default();
    loop {
        let asked = Instant::now();
        let chunk = timeout(limits.idle_timeout, response.chunk())
            .await
            .map_err(|_| DownloadError::Stalled {
                url: shown(&url),
                limit_s: limits.idle_timeout.as_secs(),
                what: "data",
            })?
            .map_err(|source| DownloadError::transfer(&url, source))?;
        let Some(bytes) = chunk else {
            return Ok(());
        };
        received += bytes.len() as u64;
        if received > request.size_bytes {
            return Err(DownloadError::TooLong {
                url: shown(&url),
                wanted: request.size_bytes,
            });
        }
        if let Some(slow) = rate.add(bytes.len() as u64, asked.elapsed(), limits) {
            return Err(DownloadError::Slow {
                url: shown(&url),
                bytes: slow,
                window_s: limits.rate_window.as_secs(),
            });
        }
        sink.push(&bytes).await?;
        call.progress.send_replace(Progress {
            bytes: received,
            total_bytes: request.size_bytes,
        });
    }
}

/// Bytes, and the time that was spent waiting for them: a slow disk is not the server's fault.
#[derive(Default)]
struct Rate {
    bytes: u64,
    waited: Duration,
}

impl Rate {
    /// Adds what came. At the end of a window with too little, returns how little it was.
    fn add(&mut self, bytes: u64, waited: Duration, limits: &Limits) -> Option<u64> {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < limits.rate_window {
            return None;
        }
        let Self { bytes, waited } = std::mem::take(self);
        let wanted = waited.as_secs_f64() * limits.rate_bytes_min as f64;
        ((bytes as f64) < wanted).then_some(bytes)
    }
}
