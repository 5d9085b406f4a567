//! Many agents in one process: `cargo xtask simulate`.
//!
//! Each is what `deployd run` runs: its own session with ZooKeeper, alive mark, inputs, plan, leases, download, extraction,
//! journal and reports. What is left out is in one place, `perform::program::Restarts`: the restart command is not
//! run, time passes instead. And all sessions share a few threads ([`Tasks::Shared`]), where a deployd has one for its own.
//!
//! There is no lock, signal, socket or metrics address: a process has those once. It must never be part of what a server runs.

use std::time::Duration;

use anyhow::{Context as _, bail};
use deploy_core::wire::report::Report;
use deploy_zk::config::Tasks;
use deploy_zk::stats::Stats;
use deploy_zk::zk::Zk;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::agent::{Run, wait};
use crate::config;
use crate::crew::{Crew, Ground};
use crate::drains::Drains;
use crate::metrics::Metrics;
use crate::perform::program::Restarts;
use crate::setup::{host, state_dir, zookeeper};

/// What is not as on a server.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Where the sessions' tasks run: a runtime with one worker, for nothing else.
    pub sessions: Handle,
    /// How long a restart takes.
    pub restart: Duration,
}

/// One host: all that a deployd runs. Dropped, it is gone like a host without power.
pub struct Host {
    crew: Crew,
    zk: Zk,
}

impl Host {
    /// Starts the agents of a host with this configuration, the text of a deployd.toml. It must name the host.
    ///
    /// # Errors
    /// What is wrong with the configuration; the state directory that can't be made.
    pub async fn start(configuration: &str, simulated: &Simulated) -> anyhow::Result<Host> {
        let config = match config::parse(configuration) {
            Ok(config) => config,
            Err(problems) => bail!("the configuration is not valid: {problems:?}"),
        };
        let host = host(&config)?;
        state_dir(&config.state_dir)?;
        let mut reach = zookeeper(&config)?;
        reach.tasks = Tasks::Shared(simulated.sessions.clone());
        let zk = Zk::start(reach);
        let ground = Ground {
            host,
            zk: zk.clone(),
            drains: Drains::start(),
            metrics: Metrics::new(),
            mode: Run::On,
            looks: wait::looks(),
            restarts: Restarts::Simulated(simulated.restart),
        };
        let mut crew = Crew::new(config, ground);
        crew.begin().await;
        Ok(Host { crew, zk })
    }

    /// What it says of its first service: what it publishes, before it is published.
    ///
    /// # Errors
    /// Where it has none.
    pub fn report(&self) -> anyhow::Result<watch::Receiver<Option<Report>>> {
        let reports = self.crew.reports();
        let reports = reports.borrow();
        let first = reports
            .values()
            .next()
            .context("a host without a service")?;
        Ok(first.clone())
    }

    /// What its session has been through.
    pub fn stats(&self) -> Stats {
        self.zk.stats()
    }

    /// Whether its link to ZooKeeper is up, to look at or to wait for.
    pub fn link(&self) -> watch::Receiver<deploy_zk::link::Link> {
        self.zk.link()
    }
}
