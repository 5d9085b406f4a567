//! Where log lines go.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts logging: journald under systemd, text on a terminal, JSON otherwise, unless the
/// configuration says. Lines go to standard error.
pub(crate) fn start(log: &Log) {
    let filter: Targets = log.level.parse().unwrap_or_default();
    // The client logs session passwords, and what matters of its life deploy-zk says itself.
    let filter = filter.with_target("zookeeper_async", LevelFilter::OFF);
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
}

/// systemd says which stream of ours is its journal's.
fn under_systemd() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}
