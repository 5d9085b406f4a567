//! Ours: a ZooKeeper, real agents, and `deployctl deploy`.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::archive::{Archive, FILES};
use super::cost::{Cost, Whose, processor_time};
use super::hosts;
use crate::bench::ground::Ground;
use crate::bench::spent::spent;
use crate::demo::processes::{Process, Processes};
use crate::demo::{ports, zookeeper};
use crate::tool::output;

const SERVICE: &str = "bench";
/// How long the agents may take to appear, or to come to rest.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);
/// Processor time within one poll of an agent that has nothing to do, at most.
const AT_REST: Duration = Duration::from_millis(1);

/// Real agents, one for each host.
pub(crate) struct Agents<'a> {
    ground: &'a Ground,
    processes: &'a Processes,
    archive: &'a Archive,
    url: &'a str,
    dir: PathBuf,
    services: PathBuf,
    address: SocketAddr,
    zookeeper: u32,
    agents: RefCell<Vec<Arc<Process>>>,
    deployed: Cell<u32>,
}

impl<'a> Agents<'a> {
    /// Starts ZooKeeper, and no agent yet.
    pub(crate) fn start(
        (ground, processes): (&'a Ground, &'a Processes),
        (dir, disk): (&Path, &Path),
        (archive, url): (&'a Archive, &'a str),
    ) -> Result<Agents<'a>> {
        let port = ports::free(1)?[0];
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = zookeeper::start(processes, &dir.join("zookeeper"), address)?;
        let agents = Agents {
            ground,
            processes,
            archive,
            url,
            dir: dir.join("agents"),
            services: disk.join("agents"),
            address,
            zookeeper: server.process.id(),
            agents: RefCell::default(),
            deployed: Cell::new(0),
        };
        output(agents.quietly().arg("init"))?;
        let build = agents.register()?;
        // As those who push: all hosts at once.
        output(
            agents
                .quietly()
                .args(["policy", SERVICE, "restart_concurrency=100%"]),
        )?;
        output(
            agents
                .quietly()
                .args(["deploy", SERVICE, &build, "--detach"]),
        )?;
        Ok(agents)
    }

    /// Starts agents until there are so many, and waits until all serve and have nothing more to do.
    pub(crate) fn grow(&self, count: usize) -> Result<()> {
        let names = hosts::names(count);
        let running = self.agents.borrow().len();
        for name in &names[running..] {
            let agent = self.start_agent(name)?;
            self.agents.borrow_mut().push(agent);
        }
        let deadline = Instant::now() + LIMIT;
        let mut status = self.quietly();
        status.args(["status", SERVICE, "--output", "json"]);
        loop {
            let said: serde_json::Value = serde_json::from_str(&output(&mut status)?)?;
            let there = &said["services"][0]["hosts"]["there"];
            if there.as_u64() == Some(count as u64) {
                return self.rest().map(|_| ());
            }
            if Instant::now() > deadline {
                bail!(
                    "{there} of {count} agents are there after {} s",
                    LIMIT.as_secs()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Deploys a build of a new name with `deployctl deploy`, on all hosts there are.
    pub(crate) fn deploy(&self, count: usize) -> Result<Cost> {
        let build = self.register()?;
        // What others have written must not be waited for.
        nix::unistd::sync();
        let before = (self.rest()?, self.zookeeper_time()?);
        let mut deploy = self.deployctl();
        deploy.args(["deploy", SERVICE, &build, "-m", "bench"]);
        let (wall, controller) = spent(&mut deploy)?;
        let zookeeper = self.zookeeper_time()?.saturating_sub(before.1);
        let services: Vec<PathBuf> = hosts::names(count)
            .iter()
            .map(|name| self.services.join(name))
            .collect();
        hosts::serve(&services, (&build, FILES))?;
        // What is tidied up afterwards counts as well.
        let hosts = self.rest()?.saturating_sub(before.0);
        Ok(Cost {
            wall,
            controller,
            host: hosts / u32::try_from(count)?,
            zookeeper: Some(zookeeper),
        })
    }

    fn register(&self) -> Result<String> {
        self.deployed.set(self.deployed.get() + 1);
        let build = format!("r{}", self.deployed.get());
        let url = format!("{}{build}.tar.gz", self.url);
        let size = self.archive.size.to_string();
        let mut add = self.quietly();
        add.args(["build", "add", SERVICE, &build, "--url", &url]);
        output(add.args(["--sha256", &self.archive.sha256, "--size", &size]))?;
        Ok(build)
    }

    fn deployctl(&self) -> Command {
        let mut command = Command::new(&self.ground.deployctl);
        let address = self.address.to_string();
        command
            .args(["--zk", &address, "--yes"])
            .stdin(Stdio::null());
        command
    }

    fn quietly(&self) -> Command {
        let mut command = self.deployctl();
        command.arg("--quiet");
        command
    }

    fn start_agent(&self, name: &str) -> Result<Arc<Process>> {
        let dir = self.dir.join(name);
        let service = self.services.join(name);
        let state = dir.join("state");
        for needed in [&service, &state] {
            fs::create_dir_all(needed)?;
        }
        let config = dir.join("deployd.toml");
        let text = format!(
            "[agent]\nhost = {name:?}\nstate_dir = {state:?}\n\
             [zookeeper]\nhosts = [\"{address}\"]\n\
             [builds]\nsources = [{url:?}]\nallow_http = true\nkeep = 1\n\
             [[service]]\nname = \"{SERVICE}\"\ndir = {service:?}\n\
             [service.restart]\nmethod = \"none\"\n\
             [service.drain]\nmethod = \"none\"\n",
            address = self.address,
            url = self.url,
        );
        fs::write(&config, text)?;
        let log = File::create(dir.join("log"))?;
        self.processes
            .start(
                &format!("deployd of {name}"),
                &self.ground.deployd,
                |command| {
                    command.args(["run", "--config"]).arg(&config);
                    command
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(log);
                },
            )
            .with_context(|| format!("see the log in {}", dir.display()))
    }

    fn zookeeper_time(&self) -> Result<Duration> {
        processor_time(self.zookeeper, Whose::Own)
    }

    /// Waits until the agents have nothing to do, and returns the processor time that they have used so far, together.
    fn rest(&self) -> Result<Duration> {
        let agents = self.agents.borrow();
        let sum = || -> Result<Duration> {
            let times = agents.iter();
            times
                .map(|agent| processor_time(agent.id(), Whose::Own))
                .sum()
        };
        let deadline = Instant::now() + LIMIT;
        let idle = AT_REST * u32::try_from(agents.len())?;
        let mut before = sum()?;
        loop {
            thread::sleep(POLL);
            let now = sum()?;
            if now.saturating_sub(before) <= idle {
                return Ok(now);
            }
            if Instant::now() > deadline {
                bail!(
                    "the agents do not come to rest within {} s",
                    LIMIT.as_secs()
                );
            }
            before = now;
        }
    }
}
