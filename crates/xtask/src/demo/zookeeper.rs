//! A ZooKeeper of the demo's own: Debian's server.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::processes::{Process, Processes};

const JARS: &str = "/usr/share/java";
/// The server, and what it asks for before it serves its first client.
const JAR_NAMES: [&str; 4] = ["zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple"];
const MORE_JAR_NAMES: [&str; 3] = ["snappy-java", "metrics-core", "commons-cli"];
const READY_LIMIT: Duration = Duration::from_secs(30);
/// A question asked while the server starts is never answered: ask again, soon.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(20);

/// A server that serves.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Arc<Process>,
    pub(crate) version: String,
}

/// Starts the server, and waits until it serves.
pub(crate) fn start(processes: &Processes, dir: &Path, address: SocketAddr) -> Result<Server> {
    fs::create_dir(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    let config = dir.join("zoo.cfg");
    fs::write(&config, config_text(dir, address))
        .with_context(|| format!("failed to write {}", config.display()))?;
    let log = dir.join("zookeeper.log");
    let log_file =
        File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
    let class_path = class_path()?;
    let process = processes.start("ZooKeeper", Path::new("java"), |command| {
        command
            .args([
                // As much as it takes to hold 10,000 hosts; the demo needs a fraction.
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                &class_path,
            ])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file);
    })?;
    let version = wait_until_ready(&process, address).with_context(|| {
        format!(
            "ZooKeeper did not start: {}",
            fs::read_to_string(&log).unwrap_or_default()
        )
    })?;
    Ok(Server { process, version })
}

fn config_text(dir: &Path, address: SocketAddr) -> String {
    let data = dir.join("data");
    // Without the last lines the server takes port 8080 too, and few connections of one address.
    format!(
        "tickTime=500\n\
         dataDir={}\n\
         clientPort={}\n\
         clientPortAddress={}\n\
         4lw.commands.whitelist=srvr\n\
         admin.enableServer=false\n\
         maxClientCnxns=0\n",
        data.display(),
        address.port(),
        address.ip()
    )
}

pub(crate) fn class_path() -> Result<String> {
    let mut jars: Vec<PathBuf> = JAR_NAMES
        .iter()
        .chain(&MORE_JAR_NAMES)
        .map(|name| Path::new(JARS).join(format!("{name}.jar")))
        .collect();
    for entry in fs::read_dir(JARS).with_context(|| format!("failed to list {JARS}"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Each is there twice: with its version, and as a link without.
        if name.starts_with("netty-") && name.ends_with(".jar") && !name.contains(".Final") {
            jars.push(path);
        }
    }
    let jars: Vec<String> = jars.iter().map(|jar| jar.display().to_string()).collect();
    Ok(jars.join(":"))
}

fn wait_until_ready(process: &Process, address: SocketAddr) -> Result<String> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        if let Ok(answer) = ask(address)
            && let Some(version) = version_if_serving(&answer)
        {
            return Ok(version.to_owned());
        }
        if let Some(status) = process.status() {
            bail!("it ended: {status}");
        }
        if Instant::now() > deadline {
            bail!("it does not serve after {} s", READY_LIMIT.as_secs());
        }
        thread::sleep(POLL);
    }
}

fn ask(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(b"srvr")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The port is open, and `ruok` answered, before the server serves; only then it has a mode.
fn version_if_serving(answer: &str) -> Option<&str> {
    let (_, version) = answer.split_once("Zookeeper version: ")?;
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    answer.contains("Mode: ").then_some(&version[..end])
}

#[cfg(test)]
mod tests;
