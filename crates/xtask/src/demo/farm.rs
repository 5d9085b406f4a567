//! All that the demo runs: ZooKeeper, a server of builds, three hosts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Context, Result};

use super::builds::BuildServer;
use super::door::Door;
use super::ground::{Draining, Ground};
use super::host::{Host, Setting};
use super::processes::Process;
use super::sandbox::Sandbox;
use super::screen::Screen;
use super::typed::Terminal;
use super::{builds, network, zookeeper};

/// How much of a log is shown where something failed.
const LOG_LINES_MAX: usize = 15;

/// What runs.
#[derive(Debug)]
pub(crate) struct Farm {
    pub(crate) hosts: Vec<Host>,
    pub(crate) builds: BuildServer,
    pub(crate) terminal: Terminal,
    pub(crate) screen: Arc<Screen>,
    pub(crate) draining: Draining,
    zookeeper: SocketAddr,
    agents: Vec<Arc<Process>>,
    programs: PathBuf,
}

/// What a farm is started with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) screen: &'a Arc<Screen>,
    /// Where deployd and deployctl are.
    pub(crate) programs: &'a Path,
    /// Where somebody at another terminal finds ZooKeeper.
    pub(crate) zookeeper: SocketAddr,
}

impl Farm {
    /// Starts everything, below the sandbox.
    pub(crate) fn start(start: &Start, ground: Ground) -> Result<Farm> {
        let (processes, screen) = (start.sandbox.processes(), start.screen);
        let dir = start.sandbox.dir();
        screen.started("network", &ground.describe());
        let zookeeper = ground.zookeeper;
        let version = zookeeper::start(processes, &dir.join("zookeeper"), zookeeper)?.version;
        screen.started("zookeeper", &format!("{version} at {zookeeper}"));

        let builds = BuildServer::start(&dir.join("builds"), ground.builds)?;
        let last = builds::ALL.last().map_or("", |build| build.name);
        screen.started("builds", &format!("hello v1 to {last} at {}", builds.url));

        let setting = Setting {
            zookeeper: &zookeeper.to_string(),
            builds_url: &builds.url,
            deployd: &start.programs.join("deployd"),
            drain: ground.draining.settings(),
            processes,
        };
        let hosts: Vec<Host> = ground
            .sites
            .into_iter()
            .map(|site| Host::new(dir, site))
            .collect();
        let agents = hosts.iter().map(|host| host.start(&setting));
        let agents = agents.collect::<Result<_>>()?;
        let names: Vec<String> = hosts
            .iter()
            .map(|host| format!("{} {}", host.name, host.site.address))
            .collect();
        let text = format!(
            "{}: one deployd and two instances of hello each",
            names.join(", ")
        );
        screen.started("hosts", &text);
        let deployctl = start.programs.join("deployctl");
        let text = format!(
            "in another terminal: {} --zk {} monitor",
            deployctl.display(),
            start.zookeeper
        );
        screen.started("watch", &text);
        let terminal = Terminal {
            processes: Arc::clone(processes),
            screen: Arc::clone(screen),
            deployctl,
            dir: builds.dir.clone(),
            zookeeper: zookeeper.to_string(),
        };
        Ok(Farm {
            hosts,
            builds,
            terminal,
            screen: Arc::clone(screen),
            draining: ground.draining,
            zookeeper: start.zookeeper,
            agents,
            programs: start.programs.to_owned(),
        })
    }

    /// Returns the addresses of all instances.
    pub(crate) fn instances(&self) -> impl Iterator<Item = SocketAddr> {
        self.hosts.iter().flat_map(|host| host.site.instances())
    }

    /// Prints what to type to play on; the door leads into a private network.
    pub(crate) fn invite(&self, to_instance: Option<Door>) -> Result<()> {
        let mut instance = self.instances().next().context("there is no instance")?;
        let mut look = String::new();
        if let Some(to_instance) = to_instance {
            instance = to_instance.open(instance)?;
            if let Draining::Iptables = self.draining {
                look = self.look_at_rules();
            }
        }
        let last = builds::archive_name(builds::V5);
        self.screen.line(&format!(
            "\nstill running. in another terminal:\n\n  \
             export PATH={}:$PATH DEPLOYCTL_ZK={}\n  \
             deployctl monitor\n  \
             deployctl status --hosts\n  \
             deployctl build add hello v5 --url {}{last} --file {}\n  \
             deployctl canary hello v5\n  \
             curl http://{instance}/\n{look}\n\
             ctrl-c stops everything and removes its directory",
            self.programs.display(),
            self.zookeeper,
            self.builds.url,
            self.builds.dir.join(&last).display(),
        ));
        Ok(())
    }

    /// Returns the lines that show what host-1 refuses while it drains.
    fn look_at_rules(&self) -> String {
        let Some(agent) = self.agents.first() else {
            return String::new();
        };
        let user = match network::has_own_users() {
            true => " --user --preserve-credentials",
            false => "",
        };
        format!(
            "\n  # what {} refuses; a rule is there while an instance is drained\n  \
             nsenter --target {}{user} --net /usr/sbin/iptables -S DEPLOYD-DRAIN\n",
            self.hosts.first().map_or("it", |host| host.name),
            agent.id()
        )
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
