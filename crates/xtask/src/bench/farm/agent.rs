//! An agent of the farm: a real `deployd run` with directories and supervisors of its own.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::Size;
use super::builds::BuildServer;
use crate::bench::ground::Ground;
use crate::demo::processes::{Process, Processes};
use crate::demo::supervisor::Supervisor;
use crate::tool::root;

/// An agent, and where it is.
#[derive(Debug)]
pub(in crate::bench) struct Agent {
    /// The name of its host.
    pub(in crate::bench) host: String,
    dir: PathBuf,
    metrics: u16,
    ports: Vec<u16>,
    process: Option<Arc<Process>>,
}

impl Agent {
    /// An agent that does not run yet; the first of its ports is that of its metrics.
    pub(super) fn new(parent: &Path, number: usize, ports: &[u16]) -> Agent {
        let host = format!("host-{number}");
        let (metrics, ports) = ports.split_first().expect("there is one for the metrics");
        Agent {
            dir: parent.join(&host),
            host,
            metrics: *metrics,
            ports: ports.to_vec(),
            process: None,
        }
    }

    /// Where it tells its figures.
    pub(in crate::bench) fn metrics(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.metrics))
    }

    /// The number of its process; 0: it was never started.
    pub(in crate::bench) fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, |process| process.id())
    }

    /// Makes the directories, and starts the supervisors and the agent.
    pub(super) fn start(
        &mut self,
        ground: &Ground,
        (processes, zookeeper): (&Arc<Processes>, SocketAddr),
        (size, builds): (Size, &BuildServer),
    ) -> Result<()> {
        let mut text = self.head((zookeeper, &builds.prefix()));
        for (service, ports) in size.services.iter().zip(self.ports.chunks(size.instances)) {
            let dir = self.dir.join(service);
            fs::create_dir_all(&dir)
                .with_context(|| format!("failed to make {}", dir.display()))?;
            let instances: Vec<(String, u16)> = ports
                .iter()
                .map(|port| (format!("{service}@{port}.service"), *port))
                .collect();
            text.push_str(&self.service(service, &instances, processes.own_program()));
            let supervisor = Supervisor {
                processes: Arc::clone(processes),
                service_dir: dir,
                log_dir: self.dir.clone(),
                listen: Ipv4Addr::LOCALHOST,
                instances,
            };
            supervisor.start(&self.socket(service))?;
        }
        let config = self.dir.join("deployd.toml");
        fs::write(&config, text)
            .with_context(|| format!("failed to write {}", config.display()))?;
        let log = self.dir.join("deployd.log");
        let log =
            File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
        let environment = environment()?;
        let process = processes.start(&self.host, &ground.deployd, |command| {
            command.args(["run", "--config"]).arg(&config);
            command.envs(environment);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(log);
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn socket(&self, service: &str) -> PathBuf {
        self.dir.join(format!("{service}.sock"))
    }

    fn head(&self, (zookeeper, builds): (SocketAddr, &str)) -> String {
        format!(
            r#"[agent]
host = {host:?}
state_dir = {state_dir:?}

[zookeeper]
hosts = ["{zookeeper}"]

[builds]
sources = [{builds:?}]
allow_http = true
min_free_bytes = 1048576

[metrics]
listen = "{metrics}"

[log]
format = "json"
"#,
            host = self.host,
            state_dir = self.dir.join("state"),
            metrics = self.metrics(),
        )
    }

    fn service(&self, name: &str, instances: &[(String, u16)], own: &Path) -> String {
        let mut list = String::new();
        for (unit, port) in instances {
            let _ = write!(list, "{{ unit = {unit:?}, port = {port} }}, ");
        }
        format!(
            r#"
[[service]]
name = {name:?}
dir = {dir:?}
instances = [{list}]

  [service.restart]
  method = "command"
  command = [{own:?}, "demo-restart", {socket:?}, "{{unit}}", "{{port}}"]

  [service.drain]
  method = "none"

  [service.probe]
  http = "http://127.0.0.1:{{port}}/healthz"
  interval_s = 0.1
"#,
            dir = self.dir.join(name),
            socket = self.socket(name),
        )
    }
}

/// What the unit gives it.
fn environment() -> Result<Vec<(String, String)>> {
    let unit = root().join("systemd/deployd.service");
    let text = fs::read_to_string(&unit);
    let text = text.with_context(|| format!("failed to read {}", unit.display()))?;
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    let entries = lines.flat_map(str::split_whitespace);
    let entries = entries.filter_map(|entry| entry.split_once('='));
    Ok(entries
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}
