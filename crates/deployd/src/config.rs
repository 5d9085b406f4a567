//! deployd.toml: what the operator of this host decides, whatever ZooKeeper says.
//!
//! [`parse`] is pure and tells every problem at once, each with line, column and what was expected.
//! Behind it nobody checks again.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};

use deploy_core::name::{HostName, ServiceName};
use deploy_core::znode::Root;

use self::places::Places;
use crate::host::download::sources::Sources;

mod decode;
mod keys;
pub(crate) mod places;
mod table;

/// Where the configuration is, unless `--config` says otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/deployd/deployd.toml";

/// The least that a probe must have left before its deadline to ask once more.
pub(crate) const CHECK_TIME_MIN: Duration = Duration::from_millis(50);

/// Where journals and downloads are, unless `agent.state_dir` says otherwise.
pub(crate) const DEFAULT_STATE_DIR: &str = "/var/lib/deployd";

/// The configuration of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// The host's name in ZooKeeper; `None`: the machine's host name.
    pub(crate) host: Option<HostName>,
    /// Journals, downloads, the lock.
    pub(crate) state_dir: PathBuf,
    /// Where ZooKeeper is.
    pub(crate) zookeeper: ZooKeeper,
    /// Which builds are accepted.
    pub(crate) builds: Builds,
    /// What is deployed here, in the order of the file; at least one.
    pub(crate) services: Vec<Service>,
    /// Where metrics are served; `None`: nowhere.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// What is logged, and how.
    pub(crate) log: Log,
    /// What is likely not meant as it is, in the order of the file: `deployd check` warns of it.
    pub(crate) warnings: Vec<Problem>,
}

/// Where ZooKeeper is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ZooKeeper {
    /// `host:port` each.
    pub(crate) hosts: Vec<String>,
    /// The tree of all services.
    pub(crate) root: Root,
    /// How long ZooKeeper keeps the session without hearing of us.
    pub(crate) session_timeout: Duration,
    /// A file with one line, `user:password`.
    pub(crate) auth_file: Option<PathBuf>,
}

/// Which builds are accepted, and how many stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Builds {
    /// Where artifacts may come from.
    pub(crate) sources: Sources,
    /// minisign public keys; not empty: an unsigned build is refused.
    pub(crate) trusted_keys: Vec<PathBuf>,
    /// Releases kept besides the current and the last verified one.
    pub(crate) keep: usize,
    /// Bytes that a download and its release must leave free.
    pub(crate) min_free_bytes: u64,
    /// Bytes that an archive may unpack to.
    pub(crate) max_unpacked_bytes: u64,
    /// Files, directories and links that an archive may hold.
    pub(crate) max_entries: u64,
}

/// One service on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its name.
    pub(crate) name: ServiceName,
    /// Where `current` and `releases/` are.
    pub(crate) dir: PathBuf,
    /// Owns the releases and runs the hooks; `None`: whoever runs deployd.
    pub(crate) user: Option<String>,
    /// The running copies.
    pub(crate) instances: Vec<Instance>,
    /// The operator's programs.
    pub(crate) hooks: Hooks,
    /// How instances are restarted.
    pub(crate) restart: Restart,
    /// How they are drained.
    pub(crate) drain: Drain,
    /// How it is known that they work.
    pub(crate) probe: Probe,
}

/// One running copy of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Its systemd unit, or what the restart command knows it by.
    pub(crate) unit: String,
    /// The port that it listens on.
    pub(crate) port: Option<u16>,
}

/// The operator's programs at named points: argument lists, empty for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hooks {
    /// In the new release, before the flip.
    pub(crate) post_extract: Vec<String>,
    /// After the flip, before the restart.
    pub(crate) post_install: Vec<String>,
    /// When the host is in service again.
    pub(crate) post_restart: Vec<String>,
    /// How long each may take.
    pub(crate) timeout: Duration,
}

/// How instances are restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restart {
    /// By what.
    pub(crate) method: RestartMethod,
    /// Instances at a time, at least 1.
    pub(crate) batch: usize,
    /// How long one may take.
    pub(crate) timeout: Duration,
}

/// By what instances are restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RestartMethod {
    /// `systemctl restart UNIT`.
    Systemd,
    /// `systemctl reload UNIT`.
    Reload,
    /// The operator's program; `{unit}` and `{port}` are filled in.
    Command(Vec<String>),
    /// Not at all.
    None,
}

/// How instances are drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drain {
    /// By what.
    pub(crate) method: DrainMethod,
    /// How long old connections are waited for; then restart anyway.
    pub(crate) timeout: Duration,
    /// The pause after an instance is let in again, before the next batch.
    pub(crate) settle: Duration,
}

/// By what instances are drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DrainMethod {
    /// Packet-filter rules of our own.
    Iptables(DrainAction),
    /// The operator's program, called with `drain` or `undrain`, unit and port.
    Command(Vec<String>),
    /// Not at all.
    None,
}

impl DrainMethod {
    /// Whether the packet filter drains.
    pub(crate) fn filters(&self) -> bool {
        matches!(self, DrainMethod::Iptables(_))
    }
}

/// What happens to new connections to a drained instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainAction {
    /// They are refused: a load balancer tries another instance.
    Reject,
    /// They are dropped: a client tries again.
    Drop,
}

/// How it is known that an instance works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    /// By what; `None`: nothing is asked.
    pub(crate) check: Option<Check>,
    /// The pause between two checks.
    pub(crate) interval: Duration,
    /// Good answers in a row that are wanted, at least 1.
    pub(crate) successes: u32,
    /// How long to wait for them.
    pub(crate) timeout: Duration,
    /// How long the host is watched after the last instance.
    pub(crate) burn_in: Duration,
}

/// What is asked of an instance; `{unit}` and `{port}` are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// A GET.
    Http {
        /// What.
        url: String,
        /// The status that is good.
        status: u16,
        /// A word that must be in the body; empty: any.
        body: String,
    },
    /// A connection to `host:port`.
    Tcp(String),
    /// The operator's program; exit 0 is good.
    Command(Vec<String>),
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter as of `tracing`.
    pub(crate) level: String,
    /// As what.
    pub(crate) format: LogFormat,
}

/// As what lines are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// journald under systemd, text on a terminal, JSON otherwise.
    Auto,
    /// Fields of journald.
    Journald,
    /// Lines for people.
    Text,
    /// One object a line.
    Json,
}

/// Something wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Line, from 1; 0 where it is about the whole file.
    pub(crate) line: usize,
    /// Column, from 1.
    pub(crate) column: usize,
    /// What is wrong, and what was expected.
    pub(crate) message: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is wrong.
    #[error("{path} is not valid{}", list(.text, .problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its text.
        text: String,
        /// All that is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// Reads and parses the file.
///
/// # Errors
/// See [`ConfigError`]; its text has all problems, with the lines that they are in.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|problems| ConfigError::Invalid {
        path: path.to_owned(),
        text,
        problems,
    })
}

/// The largest configuration, in bytes.
const BYTES_MAX: u64 = 1 << 20;

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

/// Parses a configuration.
///
/// # Errors
/// All problems, in the order of the text: syntax, unknown keys with the nearest known one, wrong
/// types, values out of bounds, missing keys, contradictions.
pub(crate) fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    decode::decode(text)
}

fn list(text: &str, problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("\n{}", Shown { text, problem }))
        .collect()
}

/// A problem with the line that it is in and a caret below it.
struct Shown<'a> {
    text: &'a str,
    problem: &'a Problem,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            line,
            column,
            message,
        } = self.problem;
        let Some(source) = line
            .checked_sub(1)
            .and_then(|index| self.text.lines().nth(index))
        else {
            return write!(f, "  {message}");
        };
        let margin = " ".repeat(line.to_string().len());
        writeln!(f, "  line {line}, column {column}: {message}")?;
        writeln!(f, "  {margin} |")?;
        writeln!(f, "  {line} | {source}")?;
        write!(f, "  {margin} | {}^", " ".repeat(column.saturating_sub(1)))
    }
}

impl Instance {
    /// Whether it is of this unit: `web` and `web.service` are the same to systemd.
    pub(crate) fn has_unit(&self, unit: &str) -> bool {
        bare(&self.unit) == bare(unit)
    }

    /// Fills `{unit}` and `{port}` in.
    pub(crate) fn fill(&self, text: &str) -> String {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        text.replace("{unit}", &self.unit).replace("{port}", &port)
    }
}

impl Config {
    /// Where the directories are, each as `look` finds it.
    pub(crate) fn places(&self, look: impl Fn(&Path) -> PathBuf) -> Places<'_> {
        let services = self.services.iter();
        Places {
            state_dir: look(&self.state_dir),
            services: services.map(|it| (&it.name, look(&it.dir))).collect(),
        }
    }
}

impl Probe {
    /// The time that the probe of an instance takes which answers well at once and each time, and has to be less than
    /// the timeout; `None` where it may take any.
    pub(crate) fn time_min(&self) -> Option<Duration> {
        let pauses = self.successes.checked_sub(1).filter(|pauses| *pauses > 0)?;
        Some(self.interval * pauses + CHECK_TIME_MIN)
    }
}

/// A unit without the end that systemd adds where there is none.
fn bare(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}

/// The units of all services, for the check that none is named twice.
type Owners = BTreeMap<String, String>;

#[cfg(test)]
pub(crate) mod tests;
