//! A fleet that no machine could hold: many agents in few processes, a real ZooKeeper, a real build server.
//!
//! ```text
//! Farm    what there is: servers, the parts of the fleet, and what was done to it so far
//! acts    what happens to it: a rollout, a hundred changes, a restart of ZooKeeper, a queue
//! counts  what that took: requests, bytes, watches
//! part    a process that plays some of the hosts
//! talk    what is said to it and what it answers
//! player  what it does
//! ```
//!
//! What of an agent is not real is told in `deployd::simulate`. All of it is on 127.0.0.1; its files
//! are where temporary ones are, which should be memory.

use std::path::Path;
use std::time::Duration;

use deploy_core::artifact::Artifact;
use deploy_core::name::{HostName, ServiceName};
use deploy_core::znode::{Root, ServiceTree};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::archives::{Tar, gzip};
use crate::builds::Builds;
use crate::simulation::part::{HOSTS_MAX, Part, open_files_up_to};
use crate::simulation::talk::{Answer, Ask, Traffic};
use crate::znodes::Znodes;
use crate::zookeeper::Server;

pub mod acts;
pub mod counts;
pub mod part;
pub mod player;
pub mod talk;

const SERVICE: &str = "web";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Hosts that are started at a time.
const STARTED_AT_A_TIME: usize = 100;
/// How much memory ZooKeeper may take, and how much more for each host, in MiB and KiB.
const HEAP_MIB: usize = 256;
const HEAP_KIB_PER_HOST: usize = 200;
/// Files of the build server and of whoever looks on, besides one for each host that downloads.
const FILES: u64 = 1000;

/// The servers and the hosts of a simulation.
pub struct Farm {
    /// ZooKeeper.
    pub server: Server,
    /// How many hosts there are.
    hosts: usize,
    /// Who plays them, some each.
    parts: Vec<Part>,
    tree: ServiceTree,
    znodes: Znodes,
    builds: Builds,
    /// What the newest target is numbered.
    rollouts: u64,
    /// The build that was rolled out last, and the one before.
    now: Option<(String, Artifact)>,
    before: Option<(String, Artifact)>,
    dir: TempDir,
}

/// How the hosts of a simulated fleet are.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
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
    pub fn start(hosts: usize) -> Option<Farm> {
        open_files_up_to(hosts as u64 + FILES);
        let heap = HEAP_MIB + hosts * HEAP_KIB_PER_HOST / 1024;
        let server = Server::start_large(heap)?;
        let mut dir = tempfile::Builder::new();
        let dir = dir.prefix("deploy-simulation-").tempdir();
        let dir = dir.expect("there is room for files");
        let service = ServiceName::parse(SERVICE).expect("it is a name");
        let root = Root::parse("/deploy").expect("it is a root");
        Some(Farm {
            tree: root.service(&service),
            builds: Builds::start(),
            hosts,
            parts: Vec::new(),
            rollouts: 0,
            now: None,
            before: None,
            znodes: Znodes::connect(&server.address()),
            server,
            dir,
        })
    }

    /// Starts all hosts, some at a time, and waits until each has its link. The program is `simulate`, which plays them.
    ///
    /// # Panics
    /// If one can't be started.
    pub fn populate(&mut self, program: &Path, shape: Shape) {
        for first in (0..self.hosts).step_by(HOSTS_MAX) {
            let numbers: Vec<_> = (first..self.hosts.min(first + HOSTS_MAX)).collect();
            let mut part = Part::start(program, numbers.len(), shape.restart);
            for some in numbers.chunks(STARTED_AT_A_TIME) {
                let texts = some.iter();
                let texts = texts.map(|number| self.configuration(*number, shape.session_timeout));
                part.ask(&Ask::Start(texts.collect()));
                part.answer();
            }
            self.parts.push(part);
        }
    }

    /// Asks all parts at once, and waits until each has answered.
    fn ask(&mut self, ask: &Ask) -> Vec<Answer> {
        for part in &mut self.parts {
            part.ask(ask);
        }
        self.parts.iter_mut().map(Part::answer).collect()
    }

    /// Requests and connects of all hosts, and how many have their link: cheap enough to be asked ten times a second.
    fn traffic(&mut self) -> Traffic {
        let answers = self.ask(&Ask::Count).into_iter();
        let counted = answers.map(|answer| match answer {
            Answer::Counted(traffic) => traffic,
            other => panic!("who was to count said {other:?}"),
        });
        counted.fold(Traffic::default(), |sum, part| sum + part)
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
command = ["true"]
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
