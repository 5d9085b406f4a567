//! What several commands make from the configuration before they begin.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::Context as _;
use deploy_core::name::HostName;
use deploy_zk::config::{self as zk_config, DigestAuth};
use deploy_zk::zk::Zk;
use tokio::sync::watch;

use crate::chain::Chain;
use crate::config::{Check, Config, DrainMethod, Service};
use crate::drains::Drains;
use crate::host::signature::Keys;
use crate::host::systemd::answers::Answers;
use crate::host::{firewall, probe};
use crate::journal::Journal;
use crate::lease::LeaseQueue;
use crate::metrics::Metrics;
use crate::perform::program::Programs;
use crate::perform::prune::Undeleted;
use crate::perform::{Performer, Progress};

/// Returns the name of this host in ZooKeeper.
///
/// # Errors
/// Where none is configured and the machine's is not usable.
pub(crate) fn host(config: &Config) -> anyhow::Result<HostName> {
    if let Some(host) = &config.host {
        return Ok(host.clone());
    }
    let name = nix::unistd::gethostname().context("failed to read the machine's host name")?;
    HostName::parse(&name.to_string_lossy())
        .context("the machine's host name is not usable; set agent.host in deployd.toml")
}

/// Makes the state directory, and what is in it.
///
/// # Errors
/// Where it can't be made.
pub(crate) fn state_dir(dir: &Path) -> anyhow::Result<()> {
    for dir in [dir.to_owned(), dir.join("status"), dir.join("journal")] {
        match DirBuilder::new().mode(0o700).recursive(true).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("failed to make {}", dir.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The rules of our chain that an earlier run has left.
pub(crate) async fn found_rules() -> Vec<firewall::Found> {
    firewall::list().await.unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), "the packet filter can't be read");
        Vec::new()
    })
}

/// Takes away what a run has left in the packet filter that was configured in another way, where nobody is drained by it now.
pub(crate) async fn open_ports(config: &Config) {
    let mut services = config.services.iter();
    if services.any(|service| service.drain.method.filters()) {
        return;
    }
    match firewall::list().await {
        Ok(found) if !found.is_empty() => match firewall::clear().await {
            Ok(()) => tracing::warn!("ports that an earlier run had drained are opened"),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "ports that an earlier run had drained can't be opened")
            }
        },
        // Who needs no packet filter need not have one.
        Ok(_) | Err(_) => {}
    }
}

/// Makes what the steps of a service are done with.
///
/// # Errors
/// Where its journal or a trusted key can't be read: which of them, and why.
pub(crate) fn performer(
    config: &Config,
    service: &Service,
    (host, zk, drains): (&HostName, &Zk, &Drains),
) -> Result<Performer, (&'static str, anyhow::Error)> {
    let tree = config.zookeeper.root.service(&service.name);
    let probe_source = match service.drain.method {
        DrainMethod::Iptables(_) => firewall::PROBE_SOURCE.parse().ok(),
        DrainMethod::Command(_) | DrainMethod::None => None,
    };
    let probed = match &service.probe.check {
        Some(Check::Http { url, .. }) => url,
        Some(_) | None => "",
    };
    Ok(Performer {
        host: host.clone(),
        service: service.clone(),
        builds: config.builds.clone(),
        keys: Keys::read(&config.builds.trusted_keys)
            .map_err(|error| ("builds.trusted_keys", error.into()))?,
        state_dir: config.state_dir.clone(),
        dir: None,
        journal: Journal::open(&config.state_dir, &service.name)
            .map_err(|error| ("journal", error.into()))?,
        lease: LeaseQueue::new(zk.clone(), tree, host.clone()),
        fetched: None,
        undeleted: Undeleted::default(),
        drains: drains.clone(),
        drained: Vec::new(),
        emptied: BTreeSet::new(),
        probes: probe::client(probe_source, probed)
            .context("failed to set up the HTTP client")
            .map_err(|error| ("probe", error))?,
        probe_source,
        units: Answers::default(),
        programs: Programs::new(&service.name, &config.state_dir),
        progress: watch::channel(Progress::default()).0,
        metrics: Metrics::new(),
    })
}

/// Returns how to reach ZooKeeper.
///
/// # Errors
/// Where the credentials can't be read, or others can read them.
pub(crate) fn zookeeper(config: &Config) -> anyhow::Result<zk_config::Config> {
    let settings = &config.zookeeper;
    let hosts: Vec<&str> = settings.hosts.iter().map(String::as_str).collect();
    let mut zookeeper = zk_config::Config::new(&hosts);
    zookeeper.session_timeout = settings.session_timeout;
    if let Some(path) = &settings.auth_file {
        zookeeper.auth.push(credentials(path)?);
    }
    zookeeper.check()?;
    Ok(zookeeper)
}

fn credentials(path: &Path) -> anyhow::Result<DigestAuth> {
    use std::os::unix::fs::MetadataExt;
    let what = || format!("failed to read zookeeper.auth_file {}", path.display());
    let metadata = std::fs::metadata(path).with_context(what)?;
    if metadata.mode() & 0o077 != 0 {
        anyhow::bail!("others can read {}; run chmod 600 {0}", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(what)?;
    DigestAuth::parse(text.trim_end())
        .with_context(|| format!("{} is not one line, user:password", path.display()))
}
