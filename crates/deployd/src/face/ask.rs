//! Asking a deployd that runs here, by its socket.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::socket;

/// How long an answer may take.
const TIME: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens there.
    #[error("deployd does not answer at {path}")]
    NoAnswer {
        /// The socket.
        path: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
}

/// Returns what the agent with this state directory answers to a GET.
///
/// # Errors
/// See [`AskError`].
pub(crate) async fn get(state_dir: &Path, path: &str) -> Result<String, AskError> {
    ask(state_dir, |client, origin| {
        client.get(format!("{origin}{path}"))
    })
    .await
}

/// Returns what the agent with this state directory answers to a POST.
///
/// # Errors
/// See [`AskError`].
pub(crate) async fn post(
    state_dir: &Path,
    (path, body): (&str, Value),
) -> Result<String, AskError> {
    ask(state_dir, |client, origin| {
        client
            .post(format!("{origin}{path}"))
            .body(body.to_string())
    })
    .await
}

async fn ask(
    state_dir: &Path,
    request: impl FnOnce(&reqwest::Client, &str) -> reqwest::RequestBuilder,
) -> Result<String, AskError> {
    let path = socket(state_dir);
    let no_answer = |source| AskError::NoAnswer {
        path: path.display().to_string(),
        source,
    };
    let client = reqwest::Client::builder()
        .unix_socket(path.as_path())
        // Else all that this machine trusts, some 290 files, is read first.
        .tls_certs_only([])
        .timeout(TIME);
    let client = client.no_proxy().build().map_err(no_answer)?;
    let answer = request(&client, "http://deployd")
        .send()
        .await
        .map_err(no_answer)?;
    let status = answer.status();
    let text = answer.text().await.map_err(no_answer)?;
    if status.is_success() {
        Ok(text)
    } else {
        Err(AskError::Refused(text.trim_end().to_owned()))
    }
}
