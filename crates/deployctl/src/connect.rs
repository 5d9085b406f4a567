//! From `--zk` to a session, or to a message that says of each server why there is none.

use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use deploy_core::znode::{DEFAULT_ROOT, Root};
use deploy_zk::config::{Config, DigestAuth};
use deploy_zk::link::{Link, Reason};
use deploy_zk::zk::Zk;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

use crate::out::Out;
use crate::problem::Problem;

/// How long the first connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// After this long the user is told what is being waited for.
const SILENT_MAX: Duration = Duration::from_millis(500);
/// How long one server may take to accept a connection when the cause is looked for.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// By when a single call has ended.
const OPERATION_MAX: Duration = Duration::from_secs(10);
/// ZooKeeper's port.
const PORT: u16 = 2181;

/// Where the tree is: `HOSTS[/ROOT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Servers, each `host:port`.
    pub(crate) servers: Vec<String>,
    /// The tree.
    pub(crate) root: Root,
}

impl Address {
    /// Parses `zk1,zk2:2182/deploy`. Without a port it is 2181, without a root `/deploy`.
    ///
    /// # Errors
    /// Where a server or the root is none; the text says which.
    pub(crate) fn parse(text: &str) -> Result<Address, String> {
        let (servers, root) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, DEFAULT_ROOT),
        };
        let root = if root == "/" { DEFAULT_ROOT } else { root };
        let servers: Vec<String> = servers
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(with_port)
            .collect();
        let config = Config::new(&servers.iter().map(String::as_str).collect::<Vec<_>>());
        config.check().map_err(|error| error.to_string())?;
        let root = Root::parse(root).map_err(|error| error.to_string())?;
        Ok(Address { servers, root })
    }

    /// Returns it as the user would write it.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.servers.join(","), self.root.path())
    }
}

/// Connects.
///
/// # Errors
/// `Unreachable` after five seconds, with the cause for each server.
pub(crate) async fn connect(
    address: &Address,
    credentials: &[DigestAuth],
    out: &Out,
) -> Result<Zk, Problem> {
    let servers: Vec<&str> = address.servers.iter().map(String::as_str).collect();
    let mut config = Config::new(&servers);
    config.op_timeout = OPERATION_MAX;
    config.auth = credentials.to_vec();
    let zk = Zk::start(config);
    let mut link = zk.link();
    let up = async { link.wait_for(Link::is_up).await.is_ok() };
    let notice = async {
        sleep(SILENT_MAX).await;
        if std::io::stderr().is_terminal() {
            out.say(&format!("connecting to {}…", address.servers.join(",")));
        }
        std::future::pending::<bool>().await
    };
    // Cancel-safe: both only wait.
    let waited = async {
        tokio::select! { up = up => up, never = notice => never }
    };
    if timeout(CONNECT_MAX, waited).await == Ok(true) {
        // What another deployctl was told is done must be seen, whichever server this one asks.
        zk.barrier().await?;
        return Ok(zk);
    }
    let reason = zk.link().borrow().clone();
    if let Link::Down {
        reason: Reason::AuthFailed,
    } = reason
    {
        return Err(Problem::unreachable(
            "ZooKeeper refused the credentials of --auth-file",
        ));
    }
    Err(unreachable(address, &reason).await)
}

async fn unreachable(address: &Address, link: &Link) -> Problem {
    let probes = address
        .servers
        .iter()
        .map(|server| async move { format!("{server} {}", probe(server).await) });
    let causes = futures_util::future::join_all(probes).await;
    let mut problem =
        Problem::unreachable(format!("cannot reach ZooKeeper at {}", address.shown()))
            .facts(causes);
    if let Link::Down { reason } = link
        && !matches!(
            reason,
            Reason::Starting | Reason::NoServer | Reason::NoAddress
        )
    {
        problem = problem.fact(reason.to_string());
    }
    problem
        .fact("running services are not affected; this says nothing about any rollout")
        .tip("is it the right address? --zk HOSTS[/ROOT], or DEPLOYCTL_ZK")
}

/// Says why a server can't be used, as far as a connection tells.
async fn probe(server: &str) -> String {
    let connecting = async {
        let addresses: Vec<_> = match lookup_host(server).await {
            Ok(found) => found.collect(),
            Err(_) => return "has no address: the name is unknown".to_owned(),
        };
        match TcpStream::connect(addresses.as_slice()).await {
            Ok(_) => "takes connections, but does not serve ZooKeeper sessions".to_owned(),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                ErrorKind::TimedOut => "timed out".to_owned(),
                _ => error.to_string(),
            },
        }
    };
    match timeout(PROBE_MAX, connecting).await {
        Ok(cause) => cause,
        Err(_) => format!("timed out after {}s", PROBE_MAX.as_secs()),
    }
}

/// Reads who we are from a file that others can't read: lines of `user:password`.
///
/// # Errors
/// Where it can't be read, others can read it, or a line is something else.
pub(crate) fn read_credentials(path: &Path) -> Result<Vec<DigestAuth>, Problem> {
    use std::os::unix::fs::PermissionsExt;
    let shown = PathBuf::from(path).display().to_string();
    let failed = |error: std::io::Error| Problem::usage(format!("failed to read {shown}: {error}"));
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(Problem::usage(format!(
            "{shown} can be read by others (mode {:o})",
            mode & 0o777
        ))
        .tip(format!("chmod 600 {shown}")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let credentials: Option<Vec<DigestAuth>> =
        text.trim_end().lines().map(DigestAuth::parse).collect();
    match credentials {
        Some(credentials) if !credentials.is_empty() => Ok(credentials),
        Some(_) | None => Err(Problem::usage(format!(
            "{shown} must hold lines of user:password, one for each that we are"
        ))),
    }
}

fn with_port(server: &str) -> String {
    let after_host = server.rsplit_once(']').map_or(server, |(_, rest)| rest);
    if after_host.contains(':') {
        server.to_owned()
    } else {
        format!("{server}:{PORT}")
    }
}

#[cfg(test)]
mod tests;
