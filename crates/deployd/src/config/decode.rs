//! From text to [`Config`]: the sections, their keys and their bounds.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deploy_core::name::HostName;
use deploy_core::znode::Root;
use deploy_zk::config::is_host_port;
use toml::de::DeTable;

use super::keys::service;
use super::places::{Harm, Places, Whose, clashes};
use super::table::{Flag, Problems, Table};
use super::{
    Builds, Config, DEFAULT_STATE_DIR, Log, LogFormat, Owners, Problem, Service, ZooKeeper,
};
use crate::host::download::sources::{PlainHttp, Sources};
use crate::log::levels as log_levels;

/// A day: no wait is longer.
pub(super) const DAY_S: f64 = 86_400.0;

pub(super) fn decode(text: &str) -> Result<Config, Vec<Problem>> {
    let problems = Problems::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    // What is there twice is no reason not to read the rest.
    let mut is_read = true;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let is_twice = error.message() == "duplicate key";
        let message = match text.get(span.clone()).filter(|_| is_twice) {
            Some(key) => format!("`{}` is there twice", key.trim()),
            None => error.message().to_owned(),
        };
        problems.add(span, message);
        is_read &= is_twice;
    }
    if !is_read {
        return Err(problems.found());
    }
    let root = Table::new("", 0..0, Some(document.get_ref()), &problems);
    let config = sections(&root);
    root.finish();
    let found = problems.found();
    match config {
        Some(mut config) if found.is_empty() => {
            config.warnings = problems.warnings();
            Ok(config)
        }
        _ => Err(found),
    }
}

fn sections(root: &Table<'_, '_>) -> Option<Config> {
    let agent = root.table("agent");
    let host = host(&agent);
    let state_dir =
        absolute(&agent, "state_dir").unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIR));
    agent.finish();
    let zookeeper = zookeeper(&root.table("zookeeper"));
    let builds = builds(&root.table("builds"));
    let mut owners = Owners::new();
    let mut services = Vec::new();
    let tables = root.tables("service");
    if tables.is_empty() {
        root.problem(0..0, "no service: at least one `[[service]]` is needed");
    }
    let mut dirs = Vec::new();
    for table in tables {
        let Some(service) = service(&table, &mut owners) else {
            continue;
        };
        table.finish();
        services.push(service);
        dirs.push(table.place("dir"));
    }
    apart(&agent, &state_dir, (&services, &dirs));
    let metrics = root.table("metrics");
    let metrics_listen = listen(&metrics);
    metrics.finish();
    let log = log(&root.table("log"));
    Some(Config {
        host,
        state_dir,
        zookeeper: zookeeper?,
        builds: builds?,
        services,
        metrics_listen,
        log,
        warnings: Vec::new(),
    })
}

/// Complains of directories that are in each other's way. Their paths are clean: see [`absolute`].
fn apart(agent: &Table<'_, '_>, state_dir: &Path, (services, dirs): (&[Service], &[Range<usize>])) {
    let places = Places {
        state_dir: state_dir.to_owned(),
        services: services
            .iter()
            .map(|it| (&it.name, it.dir.clone()))
            .collect(),
    };
    for clash in clashes(&places) {
        let place = match clash.whose {
            Whose::Agent => agent.place("state_dir"),
            Whose::Service(index) => dirs[index].clone(),
        };
        match clash.harm {
            Harm::Destroys => agent.problem(place, clash.message),
            Harm::Doubtful => agent.warning(place, clash.message),
        }
    }
}

fn host(agent: &Table<'_, '_>) -> Option<HostName> {
    let (span, text) = agent.text("host")?;
    if text.is_empty() {
        return None;
    }
    HostName::parse(text)
        .map_err(|error| agent.problem(span, error.to_string()))
        .ok()
}

fn zookeeper(table: &Table<'_, '_>) -> Option<ZooKeeper> {
    let mut hosts = Vec::new();
    match table.texts("hosts") {
        None => hosts.push("127.0.0.1:2181".to_owned()),
        Some(texts) if texts.is_empty() => table.problem(table.span(), "`hosts` is empty"),
        Some(texts) => {
            for (span, text) in texts {
                match is_host_port(text) {
                    true => hosts.push(text.to_owned()),
                    false => {
                        table.problem(span, format!("`{text}` is not host:port of one server"))
                    }
                }
            }
        }
    }
    let root = match table.text("root") {
        None => Root::parse(deploy_core::znode::DEFAULT_ROOT).ok(),
        Some((span, text)) => Root::parse(text)
            .map_err(|error| table.problem(span, error.to_string()))
            .ok(),
    };
    let session_timeout = duration(table, "session_timeout_s", (4.0, 300.0), 15.0);
    let auth_file = absolute(table, "auth_file");
    table.finish();
    Some(ZooKeeper {
        hosts,
        root: root?,
        session_timeout,
        auth_file,
    })
}

fn builds(table: &Table<'_, '_>) -> Option<Builds> {
    let plain_http = match table.flag("allow_http", Flag::No) {
        Flag::Yes => PlainHttp::Allowed,
        Flag::No => PlainHttp::Refused,
    };
    let mut prefixes = Vec::new();
    match table.texts("sources") {
        Some(texts) if !texts.is_empty() => {
            for (span, text) in texts {
                // One by one, so that each problem has its place.
                match Sources::parse(&[text.to_owned()], plain_http) {
                    Ok(_) => prefixes.push(text.to_owned()),
                    Err(errors) => errors
                        .iter()
                        .for_each(|e| table.problem(span.clone(), e.to_string())),
                }
            }
        }
        Some(_) | None => table.problem(table.span(), MUST_SOURCES),
    }
    let keys = table.texts("trusted_keys").unwrap_or_default();
    let mut trusted_keys = Vec::new();
    for (span, text) in keys {
        if !text.starts_with('/') {
            table.problem(span.clone(), format!("`{text}` is not an absolute path"));
        }
        trusted_keys.push(PathBuf::from(text));
    }
    let builds = Builds {
        sources: Sources::parse(&prefixes, plain_http).ok()?,
        trusted_keys,
        keep: usize::try_from(table.number("keep", (0, 1000), 5)).unwrap_or(5),
        min_free_bytes: table.number("min_free_bytes", (0, u64::MAX), 1 << 30),
        max_unpacked_bytes: table.number("max_unpacked_bytes", (1, u64::MAX), 8 << 30),
        max_entries: table.number("max_entries", (1, 100_000_000), 1_000_000),
    };
    table.finish();
    Some(builds)
}

const MUST_SOURCES: &str = "`builds.sources` is missing: the URL prefixes that artifacts may come \
                            from, as in sources = [\"https://builds.internal/\"]";

fn listen(table: &Table<'_, '_>) -> Option<SocketAddr> {
    let (span, text) = table.text("listen")?;
    if text.is_empty() {
        return None;
    }
    let address = text.parse();
    if address.is_err() {
        table.problem(span, format!("`{text}` is not address:port"));
    }
    address.ok()
}

fn log(table: &Table<'_, '_>) -> Log {
    let level = match table.text("level") {
        None => "info".to_owned(),
        Some((span, text)) => {
            if let Err(error) = log_levels(text) {
                table.problem(span, error.to_string());
            }
            text.to_owned()
        }
    };
    let format = table.word(
        "format",
        &[
            ("auto", LogFormat::Auto),
            ("journald", LogFormat::Journald),
            ("text", LogFormat::Text),
            ("json", LogFormat::Json),
        ],
    );
    table.finish();
    Log { level, format }
}

/// Returns an absolute path; an empty text is none.
pub(super) fn absolute(table: &Table<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let (span, text) = table.text(key)?;
    if text.is_empty() {
        return None;
    }
    let clean = text.starts_with('/')
        && !text.contains('\0')
        && !text.split('/').any(|part| matches!(part, "." | ".."));
    if !clean {
        table.problem(
            span,
            format!("`{key}` is \"{text}\"; expected an absolute path without `..`"),
        );
    }
    // Without slashes that say nothing, so that the same is the same.
    Some(PathBuf::from(text).components().collect())
}

pub(super) fn duration(
    table: &Table<'_, '_>,
    key: &'static str,
    bounds: (f64, f64),
    default: f64,
) -> Duration {
    Duration::from_secs_f64(table.seconds(key, bounds, default))
}
