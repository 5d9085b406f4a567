//! The ZooKeeper servers, each asked by itself.
//!
//! A session is with one of them and tells nothing of the others. `srvr` is the one word of four
//! letters that servers answer by default.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::Finding;
use crate::text::{self, clean};

/// How long a server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Server {
    /// It serves.
    Serves {
        /// `3.8.0`.
        version: String,
        /// `leader`, `follower`, `standalone`, ….
        mode: String,
    },
    /// It takes connections and does not say more.
    Mute,
    /// Why it does not serve.
    Down(String),
}

/// Asks each server, and says how they are.
pub(super) async fn check(servers: &[String]) -> Finding {
    let asked = servers
        .iter()
        .map(|server| async move { (server.clone(), ask(server).await) });
    judge(&join_all(asked).await)
}

async fn ask(server: &str) -> Server {
    let asking = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(b"srvr").await?;
        let mut answer = Vec::new();
        // A server that closes the connection roughly has said what it had to say.
        let _ = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(ANSWER_MAX, asking).await {
        Ok(Ok(answer)) => read(&String::from_utf8_lossy(&answer)),
        Ok(Err(error)) => Server::Down(match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => clean(&error.to_string()),
        }),
        Err(_) => Server::Down(format!("no answer within {}s", ANSWER_MAX.as_secs())),
    }
}

/// Reads the answer to `srvr`.
pub(super) fn read(answer: &str) -> Server {
    let field = |name: &str| {
        let value = answer.lines().find_map(|line| line.strip_prefix(name))?;
        Some(clean(value.trim()))
    };
    if answer.contains("not currently serving") {
        return Server::Down("it is not serving: it has no quorum".to_owned());
    }
    let (Some(version), Some(mode)) = (field("Zookeeper version:"), field("Mode:")) else {
        return Server::Mute;
    };
    let end = version.find(['-', ',', ' ']).unwrap_or(version.len());
    Server::Serves {
        version: version[..end].to_owned(),
        mode,
    }
}

/// Says how the servers are.
pub(super) fn judge(servers: &[(String, Server)]) -> Finding {
    const CHECK: &str = "zookeeper";
    let down: Vec<String> = servers
        .iter()
        .filter_map(|(name, server)| match server {
            Server::Down(why) => Some(format!("{name}: {why}")),
            _ => None,
        })
        .collect();
    let with = |wanted: &str| {
        let mode =
            move |server: &Server| matches!(server, Server::Serves { mode, .. } if mode == wanted);
        let names = servers.iter().filter(move |(_, server)| mode(server));
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let mut versions: Vec<&str> = servers
        .iter()
        .filter_map(|(_, server)| match server {
            Server::Serves { version, .. } => Some(version.as_str()),
            _ => None,
        })
        .collect();
    versions.sort_unstable();
    versions.dedup();
    let alone = with("standalone");
    if servers.len() > 1 && !alone.is_empty() {
        let what = format!("each has a tree of its own: {}", text::list(alone, 5));
        return Finding::fail(CHECK, format!("not one ensemble; {what}"))
            .facts(down)
            .tip("name the servers of one ensemble: --zk HOSTS/ROOT; the same in deployd.toml");
    }
    let up = servers.len() - down.len();
    let mut what = format!("{up} of {} answer", servers.len());
    match versions.as_slice() {
        [] => what.push_str("; their version is not told (srvr is not in 4lw.commands.whitelist)"),
        [version] => what.push_str(&format!(", {version}")),
        versions => what.push_str(&format!(", of different versions: {}", versions.join(", "))),
    }
    if let [leader] = with("leader").as_slice() {
        what.push_str(&format!(", {leader} leads"));
    } else if servers.len() == 1 && !alone.is_empty() {
        what.push_str(", standalone");
    }
    if !down.is_empty() {
        return Finding::warn(CHECK, what).facts(down).tip(
            "without most of them nothing can be changed; look at the log of the one that is down",
        );
    }
    if versions.len() > 1 {
        return Finding::warn(CHECK, what).tip("bring all servers to one version");
    }
    Finding::ok(CHECK, what)
}
