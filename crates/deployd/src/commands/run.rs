//! `deployd run`: the agent.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use deploy_core::name::HostName;
use deploy_core::wire::alive::Alive;
use deploy_core::wire::report::Report;
use deploy_core::wire::{self, time};
use deploy_zk::config::{self as zk_config, DigestAuth};
use deploy_zk::ephemeral::Ephemeral;
use deploy_zk::link::Link;
use deploy_zk::zk::Zk;
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Exit;
use crate::agent::{self, Agent, End, Run};
use crate::chain::Chain;
use crate::config::{Config, DrainMethod, Service};
use crate::drains::Drains;
use crate::host::signature::Keys;
use crate::host::{firewall, lock, probe, proc};
use crate::inputs::Inputs;
use crate::journal::Journal;
use crate::lease::LeaseQueue;
use crate::perform::hook::MARK;
use crate::perform::program::{HOOK_UNITS, Programs};
use crate::perform::{Performer, Progress, release};
use crate::publish::{Places, publish};

/// How long ZooKeeper may take to be told that we end.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Run the agent: watch ZooKeeper, and bring the services of this host to their targets
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// End when nothing is left to do: exit 0 at the target, 3 if it failed or can't be reached
    #[arg(long)]
    once: bool,
}

/// Runs the agent until SIGTERM or SIGINT, or, with `--once`, until nothing is left to do.
///
/// # Errors
/// Where it can't start: another deployd has the state directory, a journal can't be read.
pub(crate) async fn run(config: Config, arguments: &Arguments) -> anyhow::Result<Exit> {
    let host = host(&config)?;
    state_dir(&config.state_dir)?;
    // Held until the end.
    let _lock = match lock::lock(&config.state_dir) {
        Ok(lock) => lock,
        Err(error @ lock::LockError::Held { .. }) => {
            eprintln!("error: {error}\n  tip: deployd status");
            return Ok(Exit::Refused);
        }
        Err(error) => return Err(error.into()),
    };
    tidy_up(&config);
    let zk = Zk::start(zookeeper(&config)?);
    let (stop, stopping) = watch::channel(None);
    let mode = if arguments.once { Run::Once } else { Run::On };
    let mut crew = crew(&config, (&host, &zk), (mode, stopping)).await?;
    tracing::info!(%host, services = config.services.len(), "deployd started");
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let ends = crew.attend(&zk, &stop).await?;
    // The agents have dropped their ends: each publisher writes the last report and ends.
    while crew.publishers.join_next().await.is_some() {}
    drop(crew);
    zk.close(CLOSE_TIME).await;
    tracing::info!("deployd ended");
    Ok(
        match ends
            .iter()
            .find(|end| !matches!(end, End::Stopped | End::Converged))
        {
            Some(End::NoZooKeeper) => Exit::ZooKeeper,
            Some(_) => Exit::Failed,
            None => Exit::Done,
        },
    )
}

/// All that runs: an agent, a publisher and an alive mark for each service.
struct Crew {
    agents: JoinSet<End>,
    publishers: JoinSet<()>,
    alive: Vec<Ephemeral>,
    reports: Vec<Reported>,
}

/// What is said of a service, newest.
type Reported = watch::Receiver<Option<Report>>;

/// Starts all that runs.
async fn crew(
    config: &Config,
    (host, zk): (&HostName, &Zk),
    (mode, stopping): (Run, watch::Receiver<Option<Instant>>),
) -> anyhow::Result<Crew> {
    let drains = Drains::start();
    let found = found_rules(config).await;
    let mut crew = Crew {
        agents: JoinSet::new(),
        publishers: JoinSet::new(),
        alive: Vec::new(),
        reports: Vec::new(),
    };
    let trust = match config.builds.trusted_keys.is_empty() {
        true => "zookeeper",
        false => "signed",
    };
    for service in &config.services {
        let tree = config.zookeeper.root.service(&service.name);
        let report = crew.publish_for(config, service, (host, zk));
        let mut performer = match performer(config, service, (host, zk, &drains)) {
            Ok(performer) => performer,
            Err(error) => {
                // The others are none the worse for it.
                tracing::error!(service = %service.name, error = %format!("{error:#}"), "the service is left alone");
                let stuck = agent::stuck(format!("{error:#}"), (host, service, trust));
                report.send_replace(Some(stuck));
                crew.agents
                    .spawn(agent::stay((mode, stopping.clone()), report));
                continue;
            }
        };
        if let Err(error) = performer.adopt_rules(&found).await {
            tracing::warn!(service = %service.name, error = %error.message, "drained ports of an earlier run can't be taken over");
        }
        let agent = Agent {
            inputs: Inputs::new(zk, &tree, host),
            performer,
            link: zk.link(),
            reports: report,
            stop: stopping.clone(),
            trust,
        };
        crew.agents.spawn(agent.run(mode));
    }
    Ok(crew)
}

impl Crew {
    /// Starts the publisher and the alive mark of a service; returns where its reports go.
    fn publish_for(
        &mut self,
        config: &Config,
        service: &Service,
        (host, zk): (&HostName, &Zk),
    ) -> watch::Sender<Option<Report>> {
        let tree = config.zookeeper.root.service(&service.name);
        let (report, reported) = watch::channel(None);
        let name = format!("{}.json", service.name);
        let file = config.state_dir.join("status").join(name);
        let znode = tree.host(host);
        let places = Places { znode, file };
        let publishing = publish(zk.clone(), places, reported.clone());
        self.publishers.spawn(publishing);
        self.reports.push(reported);
        let mark = Alive {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            since: Some(time::render(Timestamp::now())),
        };
        let alive = zk.ephemeral(&tree.alive(host), &wire::encode(&mark));
        self.alive.push(alive);
        report
    }

    /// Attends to signals and to systemd until all agents have ended.
    async fn attend(
        &mut self,
        zk: &Zk,
        stop: &watch::Sender<Option<Instant>>,
    ) -> anyhow::Result<Vec<End>> {
        let mut ends = Vec::new();
        let mut terminate = signal(SignalKind::terminate()).context("failed to watch signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch signals")?;
        loop {
            // Cancel-safe: signals and ends are kept until they are asked for.
            tokio::select! {
                end = self.agents.join_next() => match end {
                    Some(end) => ends.push(end.context("an agent died, which is a bug")?),
                    None => return Ok(ends),
                },
                _ = terminate.recv() => begin_stop(stop),
                _ = interrupt.recv() => begin_stop(stop),
                () = say_status(zk, &self.reports) => {}
            }
        }
    }
}

fn begin_stop(stop: &watch::Sender<Option<Instant>>) {
    tracing::info!("deployd is told to stop");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    // Told again, it has no more time.
    stop.send_if_modified(|at| {
        let is_first = at.is_none();
        at.get_or_insert_with(Instant::now);
        is_first
    });
}

/// Says, about once a second, in `systemctl status` what goes on, and that we are alive.
async fn say_status(zk: &Zk, reports: &[Reported]) {
    let text = |receiver: &Reported| {
        let report = receiver.borrow();
        let report = report.as_ref()?;
        let build = report.current.as_ref().map_or("-", |build| build.as_str());
        let target = report
            .target
            .as_ref()
            .filter(|target| Some(*target) != report.current.as_ref());
        let target = target
            .map(|target| format!(" -> {target}"))
            .unwrap_or_default();
        Some(format!(
            "{} {build}{target} {}",
            report.service, report.phase
        ))
    };
    let mut parts: Vec<String> = reports.iter().filter_map(text).collect();
    parts.push(match &*zk.link().borrow() {
        Link::Up { .. } => "zk ok".to_owned(),
        link => format!("zk {link}"),
    });
    let status = parts.join("; ");
    let _ = sd_notify::notify(&[NotifyState::Status(&status), NotifyState::Watchdog]);
    sleep(Duration::from_secs(1)).await;
}

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

fn state_dir(dir: &Path) -> anyhow::Result<()> {
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

/// Puts right what a dead run may have left, before anything is looked at. A hook that is a unit is
/// not what is killed here: its end may be waited for yet.
fn tidy_up(config: &Config) {
    let entry = format!("{MARK}={}", config.state_dir.display());
    let killed = proc::kill_marked(&entry, Some(HOOK_UNITS));
    if killed > 0 {
        tracing::warn!(processes = killed, "killed hooks of an earlier run");
    }
    for service in &config.services {
        let tree = crate::host::tree::Tree::new(&service.dir);
        if let Err(error) = release::sweep(&tree) {
            let dir = service.dir.display();
            tracing::warn!(%dir, error = %Chain(&error), "leftovers of an earlier run can't be removed");
        }
    }
}

/// The rules of our chain that an earlier run has left; it is asked only where some service drains
/// so.
async fn found_rules(config: &Config) -> Vec<firewall::Found> {
    let drains = |service: &Service| matches!(service.drain.method, DrainMethod::Iptables(_));
    if !config.services.iter().any(drains) {
        return Vec::new();
    }
    firewall::list().await.unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), "the packet filter can't be read");
        Vec::new()
    })
}

/// Makes what the steps of a service are done with.
///
/// # Errors
/// Where its journal or a trusted key can't be read.
pub(crate) fn performer(
    config: &Config,
    service: &Service,
    (host, zk, drains): (&HostName, &Zk, &Drains),
) -> anyhow::Result<Performer> {
    let tree = config.zookeeper.root.service(&service.name);
    let probe_source = match service.drain.method {
        DrainMethod::Iptables(_) => firewall::PROBE_SOURCE.parse().ok(),
        DrainMethod::Command(_) | DrainMethod::None => None,
    };
    Ok(Performer {
        host: host.clone(),
        service: service.clone(),
        builds: config.builds.clone(),
        keys: Keys::read(&config.builds.trusted_keys).context("builds.trusted_keys")?,
        state_dir: config.state_dir.clone(),
        journal: Journal::open(&config.state_dir, &service.name)?,
        lease: LeaseQueue::new(zk.clone(), tree, host.clone()),
        fetched: None,
        drains: drains.clone(),
        drained: Vec::new(),
        probes: probe::client(probe_source).context("failed to set up the HTTP client")?,
        probe_source,
        programs: Programs::new(&service.name, &config.state_dir),
        progress: watch::channel(Progress::default()).0,
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
