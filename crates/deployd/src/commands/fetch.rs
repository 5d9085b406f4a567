//! `deployd fetch`: the agent's own download, by hand.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use deploy_core::artifact::Digest;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use url::Url;

use crate::host::download::error::DownloadError;
use crate::host::download::sources::Sources;
use crate::host::download::{Limits, Progress, Request, download};

/// Download an artifact as the agent would
///
/// FILE must not exist; it exists afterwards (mode 0600) only if every byte came, and size and
/// digest are right. Proxy variables are ignored, and redirects are followed only on the same
/// server. Exits with 1 and one line that says why otherwise, and leaves nothing behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An http or https URL
    url: Url,
    /// The file to make; its directory must exist
    file: PathBuf,
    /// What its bytes must hash to
    #[arg(long, value_name = "HEX", value_parser = Digest::parse)]
    sha256: Digest,
    /// How many bytes it must have
    #[arg(long, value_name = "N")]
    size: u64,
    /// Seconds after which it is given up, retries included
    #[arg(long, value_name = "N", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout_s: u64,
}

/// Patient enough for a server that thinks, and short enough for somebody who waits.
fn limits(timeout_s: u64) -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(10),
        rate_window: Duration::from_secs(20),
        rate_bytes_min: 10_000,
        total_timeout: Duration::from_secs(timeout_s),
        attempts_max: 3,
        pause_max: Duration::from_secs(2),
        retry_after_max: Duration::from_secs(5),
        timeouts_retried_within: Duration::from_secs(12),
        free_bytes_min: 0,
    }
}

/// Runs the command.
///
/// # Errors
/// Where the file could not be downloaded, or is not the one that was asked for.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to watch signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch signals")?;
    // Cancel-safe: a dropped download takes its file with it, which never had a name.
    tokio::select! {
        done = fetch(arguments) => done,
        _ = terminate.recv() => bail!("stopped before the file was complete"),
        _ = interrupt.recv() => bail!("stopped before the file was complete"),
    }
}

async fn fetch(arguments: Arguments) -> anyhow::Result<()> {
    let path = arguments.file;
    let exists = || DownloadError::Exists {
        path: path.display().to_string(),
    };
    if path.symlink_metadata().is_ok() {
        bail!(exists());
    }
    // `/`, `.` and `..` have no name, and exist.
    let name = PathBuf::from(path.file_name().ok_or_else(exists)?);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let request = Request {
        url: arguments.url,
        sha256: arguments.sha256,
        size_bytes: arguments.size,
        directory: directory.to_owned(),
    };
    let progress = watch::Sender::new(Progress::default());
    let limits = limits(arguments.timeout_s);
    let verified = download(&request, &Sources::as_typed(), &limits, &progress).await?;
    tokio::task::spawn_blocking(move || verified.publish(&name))
        .await
        .context("the writing thread died")??;
    // Nobody reading it is no failure.
    let _ = writeln!(
        std::io::stdout(),
        "fetched {} bytes into {}",
        request.size_bytes,
        path.display()
    );
    Ok(())
}
