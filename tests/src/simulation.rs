//! A fleet that no machine could hold: many agents in this process, a real ZooKeeper, a real build server.
//!
//! ```text
//! Farm    what there is: servers, hosts, and what was done to them so far
//! acts    what happens to it: a rollout, a hundred changes, a restart of ZooKeeper, a queue
//! counts  what that took: requests, bytes, watches
//! ```
//!
//! What of an agent is not real is told in `deployd::simulate`. All of it is on 127.0.0.1 and in memory.

use std::time::Duration;

use deploy_core::artifact::Artifact;
use deploy_core::name::{HostName, ServiceName};
use deploy_core::znode::{Root, ServiceTree};
use deploy_zk::link::Link;
use deployd::simulate::{Host, Simulated};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::archives::{Tar, gzip};
use crate::builds::Builds;
use crate::eventually::eventually_in;
use crate::znodes::Znodes;
use crate::zookeeper::Server;

pub mod acts;
pub mod counts;

const SERVICE: &str = "web";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Where the hosts' files are: in memory, since the disk is not what is looked at.
const PLACE: &str = "/dev/shm";
/// Hosts that are started at a time.
const STARTED_AT_A_TIME: usize = 100;
/// How much memory ZooKeeper may take, and how much more for each host, in MiB and KiB.
const HEAP_MIB: usize = 256;
const HEAP_KIB_PER_HOST: usize = 200;
/// Files that are open at once, per host and besides: a session has a connection and a timer, a download three more.
const FILES_PER_HOST: u64 = 6;
const FILES: u64 = 1000;
/// With less than that per host it can't be done; not all download at once.
const FILES_PER_HOST_MIN: u64 = 3;

/// The servers and the hosts of a simulation.
pub struct Farm {
    /// ZooKeeper.
    pub server: Server,
    /// The hosts.
    pub hosts: Vec<Host>,
    tree: ServiceTree,
    znodes: Znodes,
    builds: Builds,
    /// What the newest target is numbered.
    rollouts: u64,
    /// The build that was rolled out last, and the one before.
    now: Option<(String, Artifact)>,
    before: Option<(String, Artifact)>,
    /// Runs the agents, and whoever waits for them.
    agents: Runtime,
    sessions: Runtime,
    dir: TempDir,
}

/// How a simulated fleet is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many hosts.
    pub hosts: usize,
    /// How long a restart takes.
    pub restart: Duration,
    /// How long ZooKeeper keeps a session that it hears nothing of.
    pub session_timeout: Duration,
}

impl Farm {
    /// Starts the servers, and no host yet; `None`, aloud, where there is no ZooKeeper.
    ///
    /// # Panics
    /// If something can't be started.
    pub fn start(shape: Shape) -> Option<Farm> {
        raise_file_limit(shape.hosts as u64);
        let heap = HEAP_MIB + shape.hosts * HEAP_KIB_PER_HOST / 1024;
        let server = Server::start_large(heap)?;
        let mut dir = tempfile::Builder::new();
        let dir = dir.prefix("deploy-simulation-").tempdir_in(PLACE);
        let dir = dir.expect("there is room in memory");
        let service = ServiceName::parse(SERVICE).expect("it is a name");
        let root = Root::parse("/deploy").expect("it is a root");
        Some(Farm {
            tree: root.service(&service),
            builds: Builds::start(),
            hosts: Vec::new(),
            rollouts: 0,
            now: None,
            before: None,
            znodes: Znodes::connect(&server.address()),
            server,
            agents: runtime("agents", 2),
            sessions: runtime("sessions", 1),
            dir,
        })
    }

    /// Starts all hosts, some at a time, and waits until each has its link.
    ///
    /// # Panics
    /// If one can't be started.
    pub fn populate(&mut self, shape: Shape) {
        let simulated = Simulated {
            sessions: self.sessions.handle().clone(),
            restart: shape.restart,
        };
        while self.hosts.len() < shape.hosts {
            let first = self.hosts.len();
            let last = shape.hosts.min(first + STARTED_AT_A_TIME);
            for number in first..last {
                let text = self.configuration(number, shape.session_timeout);
                let host = self.agents.block_on(Host::start(&text, &simulated));
                self.hosts.push(host.expect("a host starts"));
            }
            self.await_links();
        }
    }

    /// Waits until every host has its link to ZooKeeper.
    ///
    /// # Panics
    /// If one does not get it.
    pub fn await_links(&self) {
        for host in &self.hosts {
            let mut link = host.link();
            let up = eventually_in("a host has its link", LIMIT, &mut link, Link::is_up);
            self.agents.block_on(up);
        }
    }

    /// The name of a host.
    fn name(number: usize) -> HostName {
        HostName::parse(&format!("host-{number:05}")).expect("it is a name")
    }

    fn configuration(&self, number: usize, session_timeout: Duration) -> String {
        let dir = self.dir.path().join(Farm::name(number).as_str());
        format!(
            r#"
[agent]
host = "{host}"
state_dir = "{dir}/state"
[zookeeper]
hosts = ["{zookeeper}"]
session_timeout_s = {session_timeout_s}
[builds]
sources = ["{source}"]
allow_http = true
keep = 1
min_free_bytes = 1
[[service]]
name = "{SERVICE}"
dir = "{dir}/{SERVICE}"
instances = [ {{ unit = "{SERVICE}.service" }} ]
[service.restart]
method = "command"
command = ["simulated"]
[service.drain]
method = "none"
"#,
            host = Farm::name(number),
            dir = dir.display(),
            zookeeper = self.server.address(),
            session_timeout_s = session_timeout.as_secs(),
            source = self.builds.source(),
        )
    }

    /// Makes a build that is as small as can be, and returns its name and its artifact.
    fn build(&mut self) -> (String, Artifact) {
        self.rollouts += 1;
        let build = format!("r{}", self.rollouts);
        let tar = Tar::new().file("build", build.as_bytes());
        let artifact = self.builds.add_archive(&build, gzip(&tar.end()));
        (build, artifact)
    }

    /// Writes the target of the fleet: the newest build.
    fn enable(&self, (build, artifact): &(String, Artifact)) {
        let target = json!({
            "v": 1, "build": build, "rollout": self.rollouts,
            "artifact": { "url": artifact.url, "sha256": artifact.sha256.to_string(), "size": artifact.size },
        });
        self.znodes.put(&self.tree.enabled(), target.to_string());
    }

    /// Says how many hosts may be out of service.
    fn concurrency(&self, concurrency: Value) {
        let policy = json!({ "v": 1, "restart_concurrency": concurrency });
        self.znodes.put(&self.tree.policy(), policy.to_string());
    }
}

fn runtime(name: &str, workers: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).thread_name(name);
    // Archives are unpacked by these.
    builder.max_blocking_threads(4).enable_all();
    builder.build().expect("a runtime can be made")
}

/// Sees to it that so many hosts can have their files open.
fn raise_file_limit(hosts: u64) {
    let files = hosts * FILES_PER_HOST + FILES;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    // Who may not raise the upper limit has to do with it.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, files, most.max(files))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, files.min(most), most));
    let (had, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    let needed = hosts * FILES_PER_HOST_MIN + FILES;
    assert!(
        had >= needed,
        "{hosts} hosts have {needed} files open, and this process may have {had} (`ulimit -n`)"
    );
}
