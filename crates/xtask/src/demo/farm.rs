//! All that the demo runs: ZooKeeper, a server of builds, three hosts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Context, Result};

use super::builds::BuildServer;
use super::host::{Host, Setting};
use super::sandbox::Sandbox;
use super::screen::Screen;
use super::typed::Terminal;
use super::{builds, ports, zookeeper};

const HOSTS: [&str; 3] = ["host-1", "host-2", "host-3"];
const INSTANCES_PER_HOST: usize = 2;
/// How much of a log is shown where something failed.
const LOG_LINES_MAX: usize = 15;

/// What runs.
#[derive(Debug)]
pub(crate) struct Farm {
    pub(crate) hosts: Vec<Host>,
    pub(crate) builds: BuildServer,
    pub(crate) terminal: Terminal,
    pub(crate) screen: Arc<Screen>,
    programs: PathBuf,
}

impl Farm {
    /// Starts everything, below the sandbox; `programs` is where deployd and deployctl are.
    pub(crate) fn start(sandbox: &Sandbox, screen: &Arc<Screen>, programs: &Path) -> Result<Farm> {
        let dir = sandbox.dir();
        let ports = ports::free(1 + HOSTS.len() * INSTANCES_PER_HOST)?;
        let (zookeeper_port, instance_ports) = ports.split_first().context("no free ports")?;
        let version =
            zookeeper::start(sandbox.processes(), &dir.join("zookeeper"), *zookeeper_port)?;
        let zookeeper = format!("127.0.0.1:{zookeeper_port}");
        screen.started("zookeeper", &format!("{version} at {zookeeper}"));

        let builds = BuildServer::start(&dir.join("builds"))?;
        let last = builds::ALL.last().map_or("", |build| build.name);
        screen.started("builds", &format!("hello v1 to {last} at {}", builds.url));

        let deployd = programs.join("deployd");
        let setting = Setting {
            zookeeper: &zookeeper,
            builds_url: &builds.url,
            deployd: &deployd,
            processes: sandbox.processes(),
        };
        let mut hosts = Vec::new();
        for (name, ports) in HOSTS.iter().zip(instance_ports.chunks(INSTANCES_PER_HOST)) {
            let host = Host::new(dir, name, ports);
            host.start(&setting)?;
            hosts.push(host);
        }
        let text = format!(
            "{}: one deployd and two instances of hello each",
            HOSTS.join(", ")
        );
        screen.started("hosts", &text);
        let terminal = Terminal {
            processes: Arc::clone(sandbox.processes()),
            screen: Arc::clone(screen),
            deployctl: programs.join("deployctl"),
            dir: builds.dir.clone(),
            zookeeper,
        };
        let (screen, programs) = (Arc::clone(screen), programs.to_owned());
        Ok(Farm {
            hosts,
            builds,
            terminal,
            screen,
            programs,
        })
    }

    /// Prints what to type to play on.
    pub(crate) fn invite(&self) {
        let port = self.hosts[0].ports[0];
        let last = builds::archive_name(builds::V5);
        self.screen.line(&format!(
            "\nstill running. in another terminal:\n\n  \
             export PATH={}:$PATH DEPLOYCTL_ZK={}\n  \
             deployctl status --hosts\n  \
             deployctl build add hello v5 --url {}{last} --file {}\n  \
             deployctl canary hello v5\n  \
             curl http://127.0.0.1:{port}/\n\n\
             ctrl-c stops everything and removes its directory",
            self.programs.display(),
            self.terminal.zookeeper,
            self.builds.url,
            self.builds.dir.join(&last).display(),
        ));
    }

    /// Prints the last lines of every agent's log.
    pub(crate) fn print_logs(&self) {
        for host in &self.hosts {
            let text = fs::read_to_string(host.agent_log()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
            self.screen
                .line(&format!("\nlast lines of deployd on {}:", host.name));
            for line in tail {
                self.screen.line(&format!("  {line}"));
            }
        }
    }
}

/// Returns the directory of the programs, built with the profile that this program has.
pub(crate) fn program_dir(own_program: &Path) -> Result<PathBuf> {
    let dir = own_program
        .parent()
        .context("this program is in no directory")?;
    Ok(env::current_dir()
        .context("failed to find the current directory")?
        .join(dir))
}
