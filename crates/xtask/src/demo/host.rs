//! A host of the demo: a real agent with directories and a supervisor of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::unistd::{Uid, User};

use super::ground::Site;
use super::processes::{Process, Processes};
use super::supervisor::Supervisor;

/// A host, and where it is.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) site: Site,
    dir: PathBuf,
}

/// What every agent must be told.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) zookeeper: &'a str,
    pub(crate) builds_url: &'a str,
    pub(crate) deployd: &'a Path,
    /// `[service.drain]`: its method, and what the balancer needs to see an instance up again.
    pub(crate) drain: &'a str,
    pub(crate) processes: &'a Arc<Processes>,
}

impl Host {
    /// Returns a host below `parent`. Nothing is started.
    pub(crate) fn new(parent: &Path, site: Site) -> Host {
        Host {
            name: site.name,
            dir: parent.join(site.name),
            site,
        }
    }

    /// Returns the directory of the service: `current` and the releases.
    pub(crate) fn service_dir(&self) -> PathBuf {
        self.dir.join("srv")
    }

    /// Returns the log of the agent.
    pub(crate) fn agent_log(&self) -> PathBuf {
        self.dir.join("deployd.log")
    }

    /// Returns the logs of the instances.
    pub(crate) fn instance_logs(&self) -> Vec<PathBuf> {
        self.site
            .ports
            .iter()
            .map(|port| self.dir.join(format!("{}.log", unit(*port))))
            .collect()
    }

    /// Makes the directories, and starts the supervisor and the agent, in the network of the host.
    pub(crate) fn start(&self, setting: &Setting) -> Result<Arc<Process>> {
        for dir in [self.service_dir(), self.dir.join("state")] {
            fs::create_dir_all(&dir)
                .with_context(|| format!("failed to make {}", dir.display()))?;
        }
        let config = self.dir.join("deployd.toml");
        fs::write(&config, self.config_text(setting))
            .with_context(|| format!("failed to write {}", config.display()))?;
        let log = self.agent_log();
        let log =
            File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
        let supervisor = Supervisor {
            processes: Arc::clone(setting.processes),
            service_dir: self.service_dir(),
            log_dir: self.dir.clone(),
            listen: self.site.listen,
            instances: self.units(),
        };
        self.site.within(|| {
            supervisor.start(&self.socket())?;
            setting.processes.start(
                &format!("deployd of {}", self.name),
                setting.deployd,
                |command| {
                    command.args(["run", "--config"]).arg(&config);
                    command
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(log);
                },
            )
        })
    }

    fn units(&self) -> Vec<(String, u16)> {
        let ports = self.site.ports.iter();
        ports.map(|port| (unit(*port), *port)).collect()
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("supervisor.sock")
    }

    fn config_text(&self, setting: &Setting) -> String {
        let instances: Vec<String> = self
            .units()
            .iter()
            .map(|(unit, port)| format!("{{ unit = {unit:?}, port = {port} }}"))
            .collect();
        format!(
            r#"[agent]
host = {host:?}
state_dir = {state_dir:?}

[zookeeper]
hosts = [{zookeeper:?}]
session_timeout_s = 10

[builds]
sources = [{builds_url:?}]
allow_http = true
min_free_bytes = 1048576

[[service]]
name = "hello"
dir = {service_dir:?}
user = {user:?}
instances = [{instances}]

  [service.hooks]
  post_extract = ["bin/prepare"]
  timeout_s = 10

  [service.restart]
  method = "command"
  command = [{xtask:?}, "demo-restart", {socket:?}, "{{unit}}", "{{port}}"]
  timeout_s = 10

  [service.drain]
{drain}

  [service.probe]
  http = "http://127.0.0.1:{{port}}/healthz"
  interval_s = 0.1
  successes = 2
  timeout_s = 2

[log]
format = "text"
"#,
            host = self.name,
            state_dir = self.dir.join("state"),
            zookeeper = setting.zookeeper,
            drain = setting.drain,
            builds_url = setting.builds_url,
            service_dir = self.service_dir(),
            user = own_user(),
            instances = instances.join(", "),
            xtask = setting.processes.own_program(),
            socket = self.socket(),
        )
    }
}

fn unit(port: u16) -> String {
    format!("hello@{port}.service")
}

/// Returns the name of the user that runs the demo, so that the agent never changes its user.
fn own_user() -> String {
    let uid = Uid::effective();
    User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name)
}
