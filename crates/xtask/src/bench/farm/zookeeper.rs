//! A ZooKeeper that thousands of sessions fit into: Debian's server, as it is run on servers.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::jute::Session;
use crate::demo::processes::Processes;
use crate::demo::zookeeper::class_path;

const READY_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// The server's own defaults, but for the number of clients of one address, and port 8080.
const CONFIG: &str = "tickTime=2000\nadmin.enableServer=false\nmaxClientCnxns=0\n\
                      4lw.commands.whitelist=srvr,mntr\n";

/// Starts the server, and waits until it serves.
pub(super) fn start(
    processes: &Processes,
    dir: &Path,
    (address, heap): (SocketAddr, &str),
) -> Result<()> {
    fs::create_dir(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    let (ip, port, data) = (address.ip(), address.port(), dir.join("data"));
    let data = data.display();
    let text = format!("{CONFIG}dataDir={data}\nclientPort={port}\nclientPortAddress={ip}\n");
    let config = dir.join("zoo.cfg");
    fs::write(&config, text).with_context(|| format!("failed to write {}", config.display()))?;
    let log = dir.join("zookeeper.log");
    let log = File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
    let class_path = class_path()?;
    let process = processes.start("ZooKeeper", Path::new("java"), |command| {
        command.args([&format!("-Xmx{heap}"), "-cp", &class_path]);
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
        command.arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log);
    })?;
    let deadline = Instant::now() + READY_LIMIT;
    while Session::connect(address).is_err() {
        if let Some(status) = process.status() {
            bail!("ZooKeeper ended: {status}");
        }
        if Instant::now() > deadline {
            bail!("ZooKeeper does not serve after {} s", READY_LIMIT.as_secs());
        }
        thread::sleep(POLL);
    }
    Ok(())
}
