//! Where log lines go, and how many.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// What is logged: what the configuration says, or for a while what somebody asked for.
pub(crate) struct Level {
    handle: Handle<Targets, Registry>,
    configured: String,
    /// What was asked for, and until when.
    asked: Option<(String, Instant)>,
}

/// Starts logging: journald under systemd, text on a terminal, JSON otherwise, unless the
/// configuration says. What is for journald goes to its socket, and lines of text, where there is no such
/// socket, go where text and JSON go: to standard error.
pub(crate) fn start(log: &Log) -> Level {
    let (filter, handle) = reload::Layer::new(levels(&log.level).unwrap_or_default());
    let format = match log.format {
        LogFormat::Auto if under_systemd() => LogFormat::Journald,
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    };
    let stderr = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(layer) => layer.with_field_prefix(Some("DEPLOYD".to_owned())).boxed(),
            Err(_) => stderr.with_ansi(false).boxed(),
        },
        LogFormat::Text | LogFormat::Auto => {
            stderr.with_ansi(std::io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => stderr.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
    Level {
        handle,
        configured: log.level.clone(),
        asked: None,
    }
}

/// What is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`level` is \"{0}\"; expected error, warn, info, debug or trace, or a list such as \
     \"info,deployd::perform=debug\""
)]
pub(crate) struct LevelError(String);

/// For how long other levels may be asked for: who wants more than a day wants the configuration.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(86_400);

/// Parses `error`, `warn`, `info`, `debug`, `trace`, or a list of modules and their levels.
///
/// # Errors
/// Where it is none of these.
pub(crate) fn levels(text: &str) -> Result<Targets, LevelError> {
    let wrong = || LevelError(text.to_owned());
    // A word that is no level would be taken for a module.
    let is_directive = |part: &str| {
        if part.trim().is_empty() || part.trim().starts_with("zookeeper_async") {
            return false;
        }
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        level.trim().parse::<LevelFilter>().is_ok()
    };
    if !text.split(',').all(is_directive) {
        return Err(wrong());
    }
    let filter: Targets = text.parse().map_err(|_| wrong())?;
    // The client logs session passwords, and what matters of its life deploy-zk says itself.
    Ok(filter.with_target("zookeeper_async", LevelFilter::OFF))
}

impl Level {
    /// What is logged now.
    pub(crate) fn now(&self) -> &str {
        self.asked
            .as_ref()
            .map_or(self.configured.as_str(), |(level, _)| level)
    }

    /// Logs something else for a while.
    ///
    /// # Errors
    /// Where it is no level.
    pub(crate) fn set_for(&mut self, level: &str, time: Duration) -> Result<(), LevelError> {
        self.apply(levels(level)?);
        self.asked = Some((level.to_owned(), Instant::now() + time));
        Ok(())
    }

    /// Takes what the configuration says now; what somebody asked for stays until its end.
    pub(crate) fn configure(&mut self, log: &Log) {
        log.level.clone_into(&mut self.configured);
        if self.asked.is_none() {
            self.fall_back();
        }
    }

    /// Completes when what somebody asked for is over, and has fallen back. Cancel-safe.
    pub(crate) async fn expire(&mut self) {
        let Some((_, until)) = &self.asked else {
            return std::future::pending().await;
        };
        sleep_until(*until).await;
        self.asked = None;
        self.fall_back();
    }

    fn fall_back(&self) {
        self.apply(levels(&self.configured).unwrap_or_default());
    }

    fn apply(&self, filter: Targets) {
        // It fails only where nobody logs any more.
        let _ = self.handle.reload(filter);
    }
}

/// systemd says which stream of ours is its journal's.
fn under_systemd() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}
