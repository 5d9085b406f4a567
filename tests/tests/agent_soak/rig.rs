//! Three hosts with two services on one ZooKeeper, each behind a proxy of its own; and one
//! deployment on them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deploy_core::artifact::Artifact;
use deploy_core::wire;
use deploy_core::wire::report::{Phase, Report};
use serde_json::{Value, json};
use tests::agent::{Agent, LIMIT, ServiceSettings, Settings};
use tests::builds::{Builds, Health};
use tests::eventually::eventually;
use tests::proxy::Proxy;
use tests::service::{Service, named};
use tests::zookeeper::Server;

use crate::dice::Dice;
use crate::last;
use crate::outside::Outside;
use crate::private::SmallDisk;

/// The services. The first has hooks.
pub(crate) const SERVICES: [&str; 2] = ["web", "api"];
/// Releases kept besides those that must be.
pub(crate) const KEEP: usize = 2;
/// How many hosts may be out of service at a time.
pub(crate) const CONCURRENCY: usize = 1;
/// The policy of both services.
pub(crate) const POLICY: &str = r#"{"v":1,"restart_concurrency":1}"#;
/// The longest that a fault waits before it strikes, or lasts.
const MOMENT: Duration = Duration::from_millis(400);

/// One host.
pub(crate) struct Host {
    /// Its deployd.
    pub(crate) agent: Agent,
    /// Its way to ZooKeeper.
    pub(crate) proxy: Proxy,
    /// What its services are on, for the last one.
    pub(crate) disk: Option<SmallDisk>,
}

/// All of it.
pub(crate) struct Rig {
    /// Host 0 is never stopped: its figures are those of one life.
    pub(crate) hosts: Vec<Host>,
    /// ZooKeeper.
    pub(crate) server: Arc<Server>,
}

impl Rig {
    /// Starts three hosts; `None`, aloud, where there is no ZooKeeper.
    pub(crate) fn start() -> Option<Rig> {
        let server = Arc::new(Server::start()?);
        let proxies: Vec<Proxy> = (0..3).map(|_| Proxy::start(server.port())).collect();
        let mut hosts: Vec<Host> = Vec::new();
        for (number, proxy) in proxies.into_iter().enumerate() {
            let settle = |settings: &mut Settings| {
                settings.host = format!("h{number}");
                settings.zookeeper = proxy.address();
                settings.services = SERVICES.map(service).to_vec();
                settings.builds = format!("keep = {KEEP}");
            };
            let agent = match hosts.first() {
                None => Agent::prepare(Arc::clone(&server), settle),
                Some(first) => first.agent.neighbour(settle),
            };
            let disk = (number == 2).then(|| SmallDisk::mount(&agent.path("srv")));
            for name in SERVICES {
                let service = agent.service(name);
                service.put(&service.znodes.policy(), POLICY);
            }
            agent.run();
            hosts.push(Host {
                agent,
                proxy,
                disk: disk.flatten(),
            });
        }
        Some(Rig { hosts, server })
    }

    /// The server of all builds.
    pub(crate) fn builds(&self) -> &Builds {
        &self.hosts[0].agent.builds
    }

    /// A service on all hosts.
    pub(crate) fn services(&self, name: &str) -> Vec<Service<'_>> {
        let hosts = self.hosts.iter();
        hosts.map(|host| host.agent.service(name)).collect()
    }

    /// Waits until the test itself reaches ZooKeeper again.
    pub(crate) fn is_reachable(&self) {
        eventually("the test reaches ZooKeeper", LIMIT, || {
            let mut all = self.hosts.iter();
            all.all(|host| host.agent.znodes.is_up())
                .then_some(())
                .ok_or(())
        });
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Before the directory below it is removed.
        for host in &mut self.hosts {
            host.agent.kill();
            host.disk = None;
        }
    }
}

fn service(name: &'static str) -> ServiceSettings {
    let hooks: &'static [&'static str] = match name {
        "web" => &["post_extract", "post_install", "post_restart"],
        _ => &[],
    };
    ServiceSettings {
        hooks,
        hook_timeout_s: 4.0,
        ..ServiceSettings::new(name)
    }
}

/// How far a service is.
pub(crate) struct Progress {
    /// The service.
    pub(crate) service: &'static str,
    /// The rollout that `enabled` has.
    rollout: u64,
    /// The number that the next rollout gets.
    next: u64,
    /// Where the hosts are, and where they were before.
    at: String,
    before: Option<String>,
    artifacts: BTreeMap<String, Artifact>,
}

impl Progress {
    /// Brings the first build of a service to all hosts.
    pub(crate) fn first(rig: &Rig, service: &'static str) -> Progress {
        let build = format!("{service}-0");
        let artifact = rig.builds().add(&build, Health::Ok);
        let mut progress = Progress {
            service,
            rollout: 0,
            next: 1,
            at: build.clone(),
            before: None,
            artifacts: BTreeMap::from([(build.clone(), artifact)]),
        };
        let target = progress.target(&build);
        rig.services(service)[0].enable(&target);
        for service in rig.services(service) {
            service.serves(&build);
        }
        progress
    }

    /// Returns a target, with a rollout of its own.
    fn target(&mut self, build: &str) -> Value {
        self.rollout = self.next;
        self.next += 1;
        let artifact = &self.artifacts[build];
        json!({ "v": 1, "build": build, "rollout": self.rollout, "artifact": artifact })
    }

    /// Notes where the hosts are now.
    pub(crate) fn is_at(&mut self, build: &str) {
        if self.at != build {
            self.before = Some(std::mem::replace(&mut self.at, build.to_owned()));
        }
    }

    /// Returns how many rollouts there were.
    pub(crate) fn rollouts(&self) -> u64 {
        self.next - 1
    }
}

/// One deployment of one service.
pub(crate) struct Case<'a> {
    /// Where.
    pub(crate) rig: &'a Rig,
    /// What clients see.
    pub(crate) outside: &'a Outside,
    /// Of what.
    pub(crate) progress: &'a mut Progress,
    /// The host that a fault concerns, where it is one: never host 0.
    pub(crate) victim: usize,
    /// What is left to chance.
    pub(crate) dice: RefCell<Dice>,
}

impl<'a> Case<'a> {
    /// Makes one.
    pub(crate) fn new(
        (rig, outside): (&'a Rig, &'a Outside),
        progress: &'a mut Progress,
        mut dice: Dice,
    ) -> Case<'a> {
        Case {
            rig,
            outside,
            progress,
            victim: 1 + dice.below(2),
            dice: RefCell::new(dice),
        }
    }

    /// The service on all hosts.
    pub(crate) fn services(&self) -> Vec<Service<'a>> {
        self.rig.services(self.progress.service)
    }

    /// The service on one host.
    pub(crate) fn service(&self, host: usize) -> Service<'a> {
        self.rig.hosts[host].agent.service(self.progress.service)
    }

    /// The host that a fault concerns.
    pub(crate) fn victim(&self) -> &'a Host {
        &self.rig.hosts[self.victim]
    }

    /// Any host.
    pub(crate) fn any(&self) -> usize {
        self.dice.borrow_mut().below(self.rig.hosts.len())
    }

    /// The build that all hosts serve before it begins.
    pub(crate) fn at(&self) -> String {
        self.progress.at.clone()
    }

    /// The build that they served before that.
    pub(crate) fn before(&self) -> Option<String> {
        self.progress.before.clone()
    }

    /// The rollout that `enabled` has.
    pub(crate) fn rollout(&self) -> u64 {
        self.progress.rollout
    }

    /// Puts a new build on the shelf, and returns its name.
    pub(crate) fn build(&mut self, health: Health) -> String {
        let build = self.name();
        let artifact = self.rig.builds().add(&build, health);
        self.progress.artifacts.insert(build.clone(), artifact);
        build
    }

    /// Puts any archive on the shelf as a new build, and returns its name.
    pub(crate) fn archive(&mut self, bytes: Vec<u8>) -> String {
        let build = self.name();
        let artifact = self.rig.builds().add_archive(&build, bytes);
        self.progress.artifacts.insert(build.clone(), artifact);
        build
    }

    fn name(&self) -> String {
        let number = self.progress.artifacts.len();
        format!("{}-{number}", self.progress.service)
    }

    /// Returns a target for a build, of a new rollout.
    pub(crate) fn target(&mut self, build: &str) -> Value {
        self.progress.target(build)
    }

    /// Writes `enabled`.
    pub(crate) fn enable(&self, target: &Value) {
        self.service(0).enable(target);
    }

    /// Makes a build the target.
    pub(crate) fn go_to(&mut self, build: &str) {
        let target = self.target(build);
        self.enable(&target);
    }

    /// Makes a new build, that works, the target.
    pub(crate) fn deploy(&mut self) -> String {
        let build = self.build(Health::Ok);
        self.go_to(&build);
        build
    }

    /// Lets some time pass: a fault strikes at any moment, and lasts for any time.
    pub(crate) fn moment(&self) {
        self.for_a_while(MOMENT);
    }

    /// Lets some time pass, up to `most`.
    pub(crate) fn for_a_while(&self, most: Duration) {
        let time = self.dice.borrow_mut().time(most);
        std::thread::sleep(time);
    }

    /// Writes the target again, as it is: the hosts look at everything.
    pub(crate) fn poke(&self) {
        let service = self.service(0);
        let enabled = service.znodes.enabled();
        let target = service.agent.znodes.get(&enabled).expect("it is there");
        service.put(&enabled, target.data);
    }

    /// Returns the report of a host, if it is one.
    pub(crate) fn report(&self, host: usize) -> Option<Report> {
        let service = self.service(host);
        let znode = service
            .agent
            .znodes
            .get(&service.znodes.host(&service.host))?;
        wire::decode(&znode.data).ok()
    }

    /// Waits until a host is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, host: usize, mut wanted: impl FnMut(&Report) -> bool) {
        eventually(&format!("host {host}: {what}"), LIMIT, || {
            match self.report(host) {
                Some(report) if wanted(&report) => Ok(()),
                report => Err(Box::new(report)),
            }
        });
    }

    /// Waits until all hosts are as wanted.
    #[track_caller]
    pub(crate) fn until_all(&self, what: &str, mut wanted: impl FnMut(&Report) -> bool) {
        for host in 0..self.rig.hosts.len() {
            self.until(what, host, &mut wanted);
        }
    }

    /// Waits until a host is in a phase.
    #[track_caller]
    pub(crate) fn is_in(&self, phase: &Phase, host: usize) {
        let rollout = self.progress.rollout;
        self.until(&format!("{phase}"), host, |report| {
            report.phase == *phase && report.rollout == Some(rollout)
        });
    }

    /// Waits until a host has nothing more to do, and serves a build of the last rollout.
    #[track_caller]
    pub(crate) fn serves(&self, build: &str, host: usize) {
        let (service, name) = (self.service(host), named(build));
        let rollout = self.progress.rollout;
        self.until(&format!("{build} is served"), host, |report| {
            report.phase == Phase::Serving
                && report.rollout == Some(rollout)
                && report.target == name
                && report.serving == name
                && !report.lease
                && report.step.is_none()
                && service.differs_from(build).is_none()
        });
    }

    /// Waits until all hosts serve a build.
    #[track_caller]
    pub(crate) fn is_served(&self, build: &str) {
        for host in 0..self.rig.hosts.len() {
            self.serves(build, host);
        }
    }

    /// Says what is tried when the test fails.
    pub(crate) fn tell(&self, fault: &'static str, beside: &'static str) -> Story<'a> {
        Story {
            services: self.services(),
            text: format!(
                "in the deployment of {} after {} (rollout {} and on): {fault} (host {}); \
                 {beside}",
                self.progress.service, self.progress.at, self.progress.next, self.victim
            ),
            begin: Instant::now(),
        }
    }
}

/// What is told of a deployment that fails.
pub(crate) struct Story<'a> {
    services: Vec<Service<'a>>,
    text: String,
    begin: Instant,
}

impl Story<'_> {
    /// It did not fail.
    pub(crate) fn over(mut self) {
        self.text.clear();
    }
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            last::keep(format!("after {:?} {}", self.begin.elapsed(), self.text));
            self.services.iter().for_each(last::keep_host);
        }
    }
}
