//! A host to be measured: a ZooKeeper, a deployd and its instances, in a network of their own where that is allowed.

use std::fs;
use std::io::{BufRead, BufReader, pipe};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::journey::{Journey, LOG_LEVEL};
use crate::bench::ground::Ground;
use crate::bench::rounds::timed;
use crate::demo::builds::{BuildServer, V1, V2, archive_name};
use crate::demo::http;
use crate::demo::ports;
use crate::demo::processes::{Process, Processes};
use crate::demo::supervisor::Supervisor;
use crate::demo::zookeeper;
use crate::netns::Netns;
use crate::tool;

/// How long one deployment may take before something is wrong.
const DEPLOYMENT_MAX: Duration = Duration::from_secs(60);

/// A host, its ZooKeeper and its builds.
pub(super) struct Site {
    dir: PathBuf,
    instances: Vec<(String, u16)>,
    zookeeper: SocketAddr,
    deployctl: PathBuf,
    agent: Arc<Process>,
    /// What it logs, and when that came.
    log: Receiver<(Duration, String)>,
    processes: Arc<Processes>,
    /// The network of the host; `None`: that of the machine, and nothing is drained.
    netns: Option<Netns>,
    /// What is deployed next: the one of the two builds that does not serve.
    next: &'static str,
}

impl Site {
    /// Starts everything, and deploys the first build.
    pub(super) fn start(ground: &Ground, netns: Option<Netns>, count: usize) -> Result<Site> {
        let dir = ground.scratch().join(format!("flip-{count}"));
        fs::create_dir_all(dir.join("srv"))
            .with_context(|| format!("failed to make {}", dir.display()))?;
        let own_program = std::env::current_exe().context("this program has no path")?;
        let processes = Arc::new(Processes::new(&own_program));
        let found = ports::free(count + 2)?;
        let addresses = [found[0], found[1]].map(|port| (Ipv4Addr::LOCALHOST, port).into());
        let units = found[2..].iter();
        let instances: Vec<_> = units
            .map(|port| (format!("hello@{port}.service"), *port))
            .collect();
        let drain = if netns.is_some() { "iptables" } else { "none" };
        let start = || {
            begin(
                &dir,
                (&processes, &ground.deployd),
                (&instances, addresses),
                drain,
            )
        };
        let started = match &netns {
            Some(netns) => netns.within(start),
            None => start(),
        };
        let (agent, log, url) = started.inspect_err(|_| processes.end_all())?;
        let mut site = Site {
            dir,
            instances,
            zookeeper: addresses[0],
            deployctl: ground.deployctl.clone(),
            agent,
            log,
            processes,
            netns,
            next: V1.name,
        };
        site.register(&url)?;
        site.deploy()?;
        Ok(site)
    }

    /// Deploys the other build, and returns what became of that.
    pub(super) fn deploy(&mut self) -> Result<Journey> {
        let build = self.next;
        self.log.try_iter().for_each(drop);
        self.ctl(&["deploy", "hello", build, "--detach", "--yes"])?;
        let deadline = Instant::now() + DEPLOYMENT_MAX;
        let mut journey = Journey::default();
        while !journey.is_over() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((at, line)) = self.log.recv_timeout(left) else {
                bail!("build {build} did not come to serve: {journey:?}");
            };
            let entry: Option<Value> = serde_json::from_str(&line).ok();
            let message = entry.as_ref().map(|entry| &entry["fields"]["message"]);
            journey.told(at, message.and_then(Value::as_str).unwrap_or_default());
        }
        self.next = if build == V1.name { V2.name } else { V1.name };
        Ok(journey)
    }

    /// Does by hand what each instance itself needs: the restart command, and one request of the probe.
    pub(super) fn by_hand(&self) -> Result<Duration> {
        timed(|| self.restart_by_hand())
    }

    fn restart_by_hand(&self) -> Result<()> {
        let act = || {
            self.instances.iter().try_for_each(|(unit, port)| {
                let mut ask = Command::new(self.processes.own_program());
                ask.arg("demo-restart")
                    .arg(self.dir.join("supervisor.sock"));
                ask.args([unit, &port.to_string()]).stdin(Stdio::null());
                tool::succeed(&mut ask)?;
                let answer = http::fetch((Ipv4Addr::LOCALHOST, *port).into(), "/healthz")?;
                match answer.status {
                    200 => Ok(()),
                    other => bail!("{unit} answers {other}"),
                }
            })
        };
        match &self.netns {
            Some(netns) => netns.within(act),
            None => act(),
        }
    }

    /// The processor time of the agent and of all programs that it ran.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.agent.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        // User and system, its own and those of its children, in hundredths of a second.
        let fields = after_name.split(' ').skip(11).take(4);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    fn register(&self, url: &str) -> Result<()> {
        self.ctl(&["init"])?;
        for build in [V1, V2] {
            let archive = archive_name(build);
            let url = format!("{url}{archive}");
            let file = self.dir.join("builds").join(&archive);
            let file = file.to_string_lossy();
            self.ctl(&[
                "build", "add", "hello", build.name, "--url", &url, "--file", &file,
            ])?;
        }
        Ok(())
    }

    fn ctl(&self, arguments: &[&str]) -> Result<()> {
        let act = || {
            let mut command = Command::new(&self.deployctl);
            command.args(arguments).arg("--quiet");
            command.env("DEPLOYCTL_ZK", self.zookeeper.to_string());
            command.stdin(Stdio::null()).stdout(Stdio::null());
            tool::succeed(&mut command)
        };
        match &self.netns {
            Some(netns) => netns.within(act),
            None => act(),
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.processes.end_all();
    }
}

type Begun = (Arc<Process>, Receiver<(Duration, String)>, String);

/// Starts what there is on a site: in the network that this thread is in.
fn begin(
    dir: &Path,
    (processes, deployd): (&Arc<Processes>, &Path),
    (instances, [zookeeper, builds]): (&[(String, u16)], [SocketAddr; 2]),
    drain: &str,
) -> Result<Begun> {
    zookeeper::start(processes, &dir.join("zookeeper"), zookeeper)?;
    let builds = BuildServer::start(&dir.join("builds"), builds)?;
    let supervisor = Supervisor {
        processes: Arc::clone(processes),
        service_dir: dir.join("srv"),
        log_dir: dir.to_owned(),
        listen: Ipv4Addr::LOCALHOST,
        instances: instances.to_vec(),
    };
    supervisor.start(&dir.join("supervisor.sock"))?;
    let config = dir.join("deployd.toml");
    let text = config_text(
        dir,
        (instances, zookeeper),
        (&builds.url, drain),
        processes.own_program(),
    );
    fs::write(&config, text).with_context(|| format!("failed to write {}", config.display()))?;
    let (reader, writer) = pipe().context("failed to make a pipe")?;
    let agent = processes.start("deployd", deployd, |command| {
        command.args(["run", "--config"]).arg(&config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(writer);
    })?;
    let (sender, log) = channel();
    thread::spawn(move || {
        let started = Instant::now();
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            if sender.send((started.elapsed(), line)).is_err() {
                return;
            }
        }
    });
    Ok((agent, log, builds.url))
}

fn config_text(
    dir: &Path,
    (instances, zookeeper): (&[(String, u16)], SocketAddr),
    (builds, drain): (&str, &str),
    xtask: &Path,
) -> String {
    let instances = instances.iter();
    let instances: Vec<String> = instances
        .map(|(unit, port)| format!("{{ unit = {unit:?}, port = {port} }}"))
        .collect();
    format!(
        r#"[agent]
host = "host-1"
state_dir = {state_dir:?}

[zookeeper]
hosts = ["{zookeeper}"]

[builds]
sources = [{builds:?}]
allow_http = true
min_free_bytes = 1048576

[[service]]
name = "hello"
dir = {service_dir:?}
instances = [{instances}]

  [service.restart]
  method = "command"
  command = [{xtask:?}, "demo-restart", {socket:?}, "{{unit}}", "{{port}}"]

  [service.drain]
  method = {drain:?}
  settle_s = 0

  [service.probe]
  http = "http://127.0.0.1:{{port}}/healthz"
  interval_s = 0.05
  successes = 1

[log]
level = {LOG_LEVEL:?}
format = "json"
"#,
        state_dir = dir.join("state"),
        service_dir = dir.join("srv"),
        instances = instances.join(", "),
        socket = dir.join("supervisor.sock"),
    )
}
