//! All that runs: for each service an agent, who publishes its reports, and its alive mark.
//!
//! A new configuration ends the agents of the services that it changes, each at a point where nothing is
//! half done or nothing goes on, and starts theirs anew as soon as it has ended; the others don't notice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use deploy_core::name::{HostName, ServiceName};
use deploy_core::wire::alive::Alive;
use deploy_core::wire::report::Report;
use deploy_core::wire::{self, time};
use deploy_zk::ephemeral::Ephemeral;
use deploy_zk::rhythm::Rhythm;
use deploy_zk::zk::Zk;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::agent::{Agent, End, Run, Stop, stuck};
use crate::chain::Chain;
use crate::config::places::{Clash, Harm, clashes};
use crate::config::{Config, Instance, Service};
use crate::drains::Drains;
use crate::host::files;
use crate::host::firewall::Rule;
use crate::host::lock::{DirLock, LockError, lock_dir};
use crate::inputs::Inputs;
use crate::metrics::Metrics;
use crate::observe::{Sight, glance};
use crate::perform::drain::left_rules;
use crate::perform::program::Restarts;
use crate::publish::{Places, publish, write_file};
use crate::setup::{found_rules, performer};

/// What is said of each service, newest.
pub(crate) type Reports = BTreeMap<ServiceName, watch::Receiver<Option<Report>>>;

/// What all of them share.
pub(crate) struct Ground {
    /// The host's name.
    pub(crate) host: HostName,
    /// The session.
    pub(crate) zk: Zk,
    /// The owner of our chain in the packet filter.
    pub(crate) drains: Drains,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// How long they run.
    pub(crate) mode: Run,
    /// When they look though nothing has changed.
    pub(crate) looks: Rhythm,
    /// What a restart is.
    pub(crate) restarts: Restarts,
}

/// All that runs.
pub(crate) struct Crew {
    ground: Ground,
    /// What is followed. Who was told to end may still go by one before it.
    config: Config,
    stopping: bool,
    /// Who runs, by what, and how to end it.
    runners: BTreeMap<ServiceName, Runner>,
    running: JoinSet<(ServiceName, End)>,
    alive: BTreeMap<ServiceName, [Ephemeral; 2]>,
    reports: watch::Sender<Reports>,
    /// What the trusted keys hold that are followed.
    keys: Vec<Option<Vec<u8>>>,
    /// Services that could not be started.
    stuck: BTreeSet<ServiceName>,
    /// Whether one has ever been drained by the packet filter.
    filters: bool,
}

/// An agent that runs.
struct Runner {
    service: Service,
    stop: watch::Sender<Option<Stop>>,
}

/// What a new configuration changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Services that are new.
    pub(crate) added: Vec<ServiceName>,
    /// Services that are deployed in another way.
    pub(crate) changed: Vec<ServiceName>,
    /// Services that are left alone from now on.
    pub(crate) removed: Vec<ServiceName>,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("added", &self.added),
            ("changed", &self.changed),
            ("removed", &self.removed),
        ];
        let mut told = kinds
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .peekable();
        if told.peek().is_none() {
            return f.write_str("no service changes");
        }
        let names = |names: &[ServiceName]| {
            let names: Vec<&str> = names.iter().map(ServiceName::as_str).collect();
            names.join(", ")
        };
        let parts: Vec<String> = told
            .map(|(what, who)| format!("{what} {}", names(who)))
            .collect();
        f.write_str(&parts.join("; "))
    }
}

impl Crew {
    /// Nobody runs yet.
    pub(crate) fn new(config: Config, ground: Ground) -> Crew {
        Crew {
            ground,
            config,
            stopping: false,
            runners: BTreeMap::new(),
            running: JoinSet::new(),
            alive: BTreeMap::new(),
            reports: watch::channel(Reports::new()).0,
            keys: Vec::new(),
            stuck: BTreeSet::new(),
            filters: false,
        }
    }

    /// Starts all that the configuration names.
    pub(crate) async fn begin(&mut self) {
        self.keys = contents(&self.config);
        self.start_missing().await;
    }

    /// Who is told of, and what is said.
    pub(crate) fn reports(&self) -> watch::Receiver<Reports> {
        self.reports.subscribe()
    }

    /// Tells all to end; a host that is out of service comes back first.
    pub(crate) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            // Who is told twice has no more time than who is told once.
            return;
        }
        let end = Stop::End(Instant::now());
        for runner in self.runners.values() {
            runner.stop.send_replace(Some(end));
        }
    }

    /// Follows another configuration from now on. Each service that is changed takes it up when its agent has brought
    /// what it does to an end, or does nothing.
    ///
    /// # Errors
    /// The keys that can't be changed while deployd runs; nothing is changed then.
    pub(crate) async fn follow(&mut self, config: Config) -> Result<Changes, String> {
        if self.stopping {
            return Err("deployd is about to end".to_owned());
        }
        let fixed = fixed_keys(&self.config, &config);
        if !fixed.is_empty() {
            return Err(format!(
                "{} can't change while deployd runs; systemctl restart deployd takes them up, and leaves the services alone",
                fixed.join(", ")
            ));
        }
        let keys = contents(&config);
        let changes = self.changes(&config, &keys);
        for name in changes.changed.iter().chain(&changes.removed) {
            if let Some(runner) = self.runners.get(name) {
                runner.stop.send_replace(Some(Stop::Reload));
            }
        }
        self.config = config;
        self.keys = keys;
        self.settle().await;
        Ok(changes)
    }

    /// Completes when an agent ends; `None` when there is none left. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Option<Result<(ServiceName, End), JoinError>> {
        self.running.join_next().await
    }

    /// Takes note of an agent that ended; returns why, unless it is to be started anew.
    pub(crate) async fn note_end(&mut self, (name, end): (ServiceName, End)) -> Option<End> {
        self.runners.remove(&name);
        if self.stopping || end != End::Stopped {
            return Some(end);
        }
        self.settle().await;
        None
    }

    /// Clears away who has ended and is not wanted any more, and starts who is missing.
    async fn settle(&mut self) {
        let names: Vec<_> = self.reports.borrow().keys().cloned().collect();
        for name in names {
            let is_named = self.config.services.iter().any(|it| it.name == name);
            if !is_named && !self.runners.contains_key(&name) {
                self.clear_away(&name).await;
            }
        }
        self.start_missing().await;
    }

    async fn clear_away(&mut self, name: &ServiceName) {
        // Nobody is left who would open them. Who has no mark was left to another deployd, and so were its rules.
        if self.alive.remove(name).is_some() {
            self.open(name).await;
        }
        self.reports
            .send_modify(|reports| drop(reports.remove(name)));
    }

    /// Takes the rules of a service away, which nobody works on.
    async fn open(&self, name: &ServiceName) {
        if let Err(error) = self.ground.drains.set(name, Vec::new()).await {
            tracing::warn!(service = %name, error = %Chain(&error), "its ports can't be opened");
        }
    }

    /// Starts the agents that don't run; later, where one that ends still has what is theirs from now on.
    async fn start_missing(&mut self) {
        let can_start =
            |service: &&Service| !self.runners.values().any(|it| meet(&it.service, service));
        let services = self.config.services.iter().filter(can_start);
        let places = services.map(|service| (service.clone(), self.place(service)));
        let places: Vec<_> = places.collect();
        let ours = places.iter().filter(|(_, dir)| dir.is_ok());
        let mut left = self.take_over(ours.map(|(service, _)| service)).await;
        for (service, dir) in places {
            let (stop, stopping) = watch::channel(None);
            match dir {
                Ok(dir) => {
                    let rules = left.remove(&service.name).unwrap_or_default();
                    self.start_in(dir, (&service, rules), stopping).await;
                }
                Err(error) => self.leave_alone(&service, &error, stopping),
            }
            self.runners
                .insert(service.name.clone(), Runner { service, stop });
        }
    }

    /// Locks the directory of a service; says why it is not to be used for what the configuration says of it.
    fn place(&self, service: &Service) -> Result<Result<Option<DirLock>, String>, LockError> {
        // Who is in the way of another service of ours is so before anybody's lock.
        match self.apart(service) {
            Ok(()) => hold(service).map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Takes over the rules that were left in the packet filter, of all these services at once: none of them is opened
    /// because another one's turn comes first. What is on no port of theirs is taken away.
    async fn take_over(
        &mut self,
        services: impl Iterator<Item = &Service> + Clone,
    ) -> BTreeMap<ServiceName, Vec<Rule>> {
        self.filters |= services
            .clone()
            .any(|service| service.drain.method.filters());
        if !self.filters {
            return BTreeMap::new();
        }
        let found = found_rules().await;
        let left = services.map(|service| (service.name.clone(), left_rules(service, &found)));
        let left: BTreeMap<_, _> = left.collect();
        if !found.is_empty()
            && let Err(error) = self.ground.drains.set_all(left.clone()).await
        {
            tracing::warn!(error = %Chain(&error), "drained ports of an earlier run can't be taken over");
        }
        left
    }

    /// Starts what works on a service in its directory, which is ours, or not there yet, or not to be used for what it says.
    async fn start_in(
        &mut self,
        dir: Result<Option<DirLock>, String>,
        (service, rules): (&Service, Vec<Rule>),
        stopping: watch::Receiver<Option<Stop>>,
    ) {
        let (report, publishing) = self.publish_for(service);
        let (name, mode) = (service.name.clone(), self.ground.mode);
        let agent = match dir {
            Ok(dir) => self.agent(service, dir, (stopping.clone(), report.clone())),
            Err(why) => Err(("dir", why)),
        };
        match agent {
            Ok(mut agent) => {
                if let Err(error) = agent.performer.adopt_rules(rules) {
                    tracing::warn!(service = %name, error = %error.message, "drained ports of an earlier run can't be taken over");
                }
                drop(report);
                self.stuck.remove(&name);
                let work = agent.run(mode);
                self.running
                    .spawn(async { (name, tokio::join!(work, publishing).0) });
            }
            Err((object, error)) => {
                // The others are none the worse for it.
                tracing::error!(service = %name, %error, "the service is left alone");
                if !rules.is_empty() {
                    self.open(&name).await;
                }
                let place = (&self.ground.host, service, self.trust());
                let sight = glance(service).await;
                report.send_replace(Some(stuck::stuck((object, error), place, &sight)));
                self.stuck.insert(name.clone());
                let work = stuck::stay((mode, stopping), report, None);
                self.running
                    .spawn(async { (name, tokio::join!(work, publishing).0) });
            }
        }
    }

    /// Leaves a service to another deployd that works in its directory, until that has gone. It is told of here and nowhere
    /// else: what ZooKeeper has of this host may be what the other one says.
    fn leave_alone(
        &mut self,
        service: &Service,
        error: &LockError,
        stopping: watch::Receiver<Option<Stop>>,
    ) {
        let name = service.name.clone();
        self.alive.remove(&name);
        let why = Chain(error).to_string();
        if self.stuck.insert(name.clone()) {
            tracing::error!(service = %name, error = %why, "the service is left alone");
        }
        let place = (&self.ground.host, service, self.trust());
        let report = stuck::stuck(("dir", why), place, &Sight::default());
        write_file(&places(&self.config, service, &self.ground.host), &report);
        let (report, reported) = watch::channel(Some(report));
        self.reports
            .send_modify(|reports| drop(reports.insert(name.clone(), reported)));
        let again = self.ground.looks.next();
        let work = stuck::stay((self.ground.mode, stopping), report, Some(again));
        self.running.spawn(async { (name, work.await) });
    }

    /// What another configuration changes: also where it says the same, and could not be followed, or names keys that
    /// are others now.
    fn changes(&self, next: &Config, keys: &[Option<Vec<u8>>]) -> Changes {
        let mut changes = changes(&self.config, next);
        let other_keys = self.keys != keys;
        for service in &self.config.services {
            let name = &service.name;
            let is_named = next.services.iter().any(|next| next.name == *name);
            let anew = is_named && (other_keys || self.stuck.contains(name));
            if anew && !changes.changed.contains(name) {
                changes.changed.push(name.clone());
            }
        }
        changes
    }

    fn agent(
        &self,
        service: &Service,
        dir: Option<DirLock>,
        (stop, reports): (watch::Receiver<Option<Stop>>, watch::Sender<Option<Report>>),
    ) -> Result<Agent, (&'static str, String)> {
        let Ground {
            host,
            zk,
            drains,
            metrics,
            looks,
            restarts,
            ..
        } = &self.ground;
        let tree = self.config.zookeeper.root.service(&service.name);
        let made = performer(&self.config, service, (host, zk, drains));
        let mut performer = made.map_err(|(what, error)| (what, format!("{error:#}")))?;
        performer.dir = dir;
        performer.metrics = metrics.clone();
        performer.programs.restarts = *restarts;
        Ok(Agent {
            inputs: Inputs::new(zk, &tree, host),
            performer,
            link: zk.link(),
            reports,
            stop,
            looks: *looks,
            trust: self.trust(),
            seen: Vec::new(),
            units_age: Duration::ZERO,
        })
    }

    /// Whether the directory of a service, wherever symlinks lead, is in nobody's way.
    fn apart(&self, service: &Service) -> Result<(), String> {
        let places = self.config.places(files::resolve);
        let destroys =
            |clash: &Clash<'_>| clash.harm == Harm::Destroys && *clash.service == service.name;
        match clashes(&places).into_iter().find(destroys) {
            Some(clash) => Err(clash.message),
            None => Ok(()),
        }
    }

    fn trust(&self) -> &'static str {
        match self.config.builds.trusted_keys.is_empty() {
            true => "zookeeper",
            false => "signed",
        }
    }

    /// Says that the host is alive; returns where reports of a service go, and who publishes them until that
    /// is dropped.
    fn publish_for(
        &mut self,
        service: &Service,
    ) -> (
        watch::Sender<Option<Report>>,
        impl Future<Output = ()> + use<>,
    ) {
        let Ground { host, zk, .. } = &self.ground;
        let places = places(&self.config, service, host);
        let (report, reported) = watch::channel(None);
        let publishing = publish(zk.clone(), places, reported.clone());
        self.reports
            .send_modify(|reports| drop(reports.insert(service.name.clone(), reported)));
        let tree = self.config.zookeeper.root.service(&service.name);
        self.alive.entry(service.name.clone()).or_insert_with(|| {
            let mark = Alive {
                agent: env!("CARGO_PKG_VERSION").to_owned(),
                since: Some(time::render(Timestamp::now())),
            };
            // One for whoever looks at this host, and one among those of all, to be counted.
            [tree.alive(host), tree.mark(host)]
                .map(|path| zk.ephemeral(&path, &wire::encode(&mark)))
        });
        (report, publishing)
    }
}

/// Sees to it that nobody else works in the directory of a service, where that is there and can be locked.
fn hold(service: &Service) -> Result<Option<DirLock>, LockError> {
    match lock_dir(&service.dir) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ LockError::Held { .. }) => Err(error),
        Err(error @ LockError::Io { .. }) => {
            if service.dir.exists() {
                tracing::warn!(service = %service.name, error = %Chain(&error), "nothing keeps another deployd out of its directory");
            }
            Ok(None)
        }
    }
}

/// Whether two services can't run beside each other: they are the same, or have something in common.
fn meet(one: &Service, other: &Service) -> bool {
    let share = |instance: &Instance| {
        let same = |theirs: &Instance| {
            theirs.has_unit(&instance.unit) || theirs.port.is_some() && theirs.port == instance.port
        };
        other.instances.iter().any(same)
    };
    one.name == other.name || one.dir == other.dir || one.instances.iter().any(share)
}

/// What the files of the trusted keys hold: a key may change where its path stays.
fn contents(config: &Config) -> Vec<Option<Vec<u8>>> {
    let keys = config.builds.trusted_keys.iter();
    keys.map(|path| std::fs::read(path).ok()).collect()
}

fn places(config: &Config, service: &Service, host: &HostName) -> Places {
    let name = format!("{}.json", service.name);
    let file: PathBuf = config.state_dir.join("status").join(name);
    let znode = config.zookeeper.root.service(&service.name).host(host);
    Places { znode, file }
}

/// The keys that differ, and that only a start of deployd takes up.
fn fixed_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    let zookeeper = old.zookeeper != new.zookeeper;
    [
        ("agent.host", old.host != new.host),
        ("agent.state_dir", old.state_dir != new.state_dir),
        ("[zookeeper]", zookeeper),
        ("metrics.listen", old.metrics_listen != new.metrics_listen),
        ("log.format", old.log.format != new.log.format),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

fn changes(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes::default();
    let of = |config: &Config, name: &ServiceName| {
        let found = config.services.iter().find(|service| service.name == *name);
        found.cloned()
    };
    for service in &new.services {
        match of(old, &service.name) {
            None => changes.added.push(service.name.clone()),
            Some(known) if known != *service || old.builds != new.builds => {
                changes.changed.push(service.name.clone());
            }
            Some(_) => {}
        }
    }
    let gone = |service: &&Service| of(new, &service.name).is_none();
    let removed = old.services.iter().filter(gone);
    changes.removed = removed.map(|service| service.name.clone()).collect();
    changes
}

#[cfg(test)]
mod tests;
