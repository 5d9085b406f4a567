//! A ZooKeeper, a server of builds and agents, for the parts that measure running agents.
//!
//! ```text
//! farm                          in the scratch directory
//!     zookeeper/                its configuration, data and log
//!     host-0/deployd.toml       of the first agent
//!     host-0/deployd.log
//!     host-0/state/             state_dir
//!     host-0/web/               dir of a service: releases, current
//!     host-0/web.sock           where the agent asks for restarts
//! ```

pub(super) mod agent;
pub(super) mod builds;
pub(super) mod jute;
mod zookeeper;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};

use self::agent::Agent;
use self::builds::{Build, BuildServer};
use super::ground::Ground;
use crate::debian;
use crate::demo::ports;
use crate::demo::processes::Processes;
use crate::tool::succeed;

/// How large a farm is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// How many agents there are.
    pub(super) agents: usize,
    /// The services of each.
    pub(super) services: &'static [&'static str],
    /// How many instances of each service a host has.
    pub(super) instances: usize,
    /// What ZooKeeper may take, as `-Xmx` has it.
    pub(super) heap: &'static str,
}

/// Everything that runs. Dropping it ends all of it.
#[derive(Debug)]
pub(super) struct Farm {
    /// Where ZooKeeper listens.
    pub(super) zookeeper: SocketAddr,
    /// Where builds come from.
    pub(super) builds: BuildServer,
    /// The agents.
    pub(super) agents: Vec<Agent>,
    processes: Arc<Processes>,
    deployctl: PathBuf,
}

impl Farm {
    /// Starts everything; the agents find nothing to do.
    pub(super) fn start(ground: &Ground, size: Size) -> Result<Farm> {
        debian::install(debian::FOR_DEMO)?;
        let own = std::env::current_exe().context("failed to find the path of this program")?;
        let processes = Arc::new(Processes::new(&own));
        let dir = ground.scratch().join("farm");
        // A part may have had one before.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
        let of_one = 1 + size.services.len() * size.instances;
        let mut free = ports::free(1 + size.agents * of_one)?;
        let port = free.pop().context("no free port")?;
        let zookeeper = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        zookeeper::start(&processes, &dir.join("zookeeper"), (zookeeper, size.heap))?;
        let mut farm = Farm {
            zookeeper,
            builds: BuildServer::start()?,
            agents: Vec::new(),
            processes,
            deployctl: ground.deployctl.clone(),
        };
        farm.tell(&["init"])?;
        for (number, ports) in free.chunks(of_one).enumerate() {
            let mut agent = Agent::new(&dir, number, ports);
            agent.start(ground, (&farm.processes, zookeeper), (size, &farm.builds))?;
            farm.agents.push(agent);
        }
        Ok(farm)
    }

    /// The processes of the farm, to which others may be added.
    pub(super) fn processes(&self) -> &Arc<Processes> {
        &self.processes
    }

    /// Runs `deployctl`, which waits for the outcome.
    pub(super) fn tell(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.deployctl);
        command.args(["--zk", &self.zookeeper.to_string(), "--yes", "--quiet"]);
        command.args(words);
        succeed(command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// Registers a build of a service.
    pub(super) fn register(&self, service: &str, build: &Build) -> Result<()> {
        let url = self.builds.url(build);
        let size = build.archive.len().to_string();
        let digest = ["--sha256", &build.sha256, "--size", &size];
        let words = ["build", "add", service, &build.name, "--url", &url];
        self.tell(&[words.as_slice(), &digest].concat())
    }

    /// Registers a build of a service, and brings it to all hosts.
    pub(super) fn deploy(&self, service: &str, build: &Build) -> Result<()> {
        self.register(service, build)?;
        self.tell(&["deploy", service, &build.name, "-m", "bench"])
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        self.processes.end_all();
    }
}
