//! One fleet for several faults, each in a rollout of its own and under the sampler.

use std::thread;
use std::time::{Duration, Instant};

use tests::eventually::eventually;
use tests::fleet::sampler::Sampler;
use tests::fleet::{Fleet, ROLLOUT_MAX};

use crate::config::{self, HELLO, Service};
use crate::gate::{Gate, Moment};

const HOSTS: u8 = 6;
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A fleet on which one fault comes after the other.
pub(crate) struct Rig {
    pub(crate) fleet: Fleet,
    /// Hosts that may be out of service at a time.
    pub(crate) concurrency: usize,
    /// What serves everywhere, before each fault and after it.
    pub(crate) build: String,
    builds: u32,
    most: usize,
}

/// A rollout in the middle, in which something breaks.
pub(crate) struct Rollout<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) concurrency: usize,
    /// A host that has a lease, and that is at the moment that the fault is about.
    pub(crate) host: String,
    /// What served everywhere before.
    pub(crate) before: String,
    /// What is to serve everywhere at the end.
    pub(crate) wanted: String,
    pub(crate) sampler: Sampler,
    gate: Option<Gate>,
}

impl Rig {
    /// Boots six hosts with a build that serves; `None`, aloud, where fleets are not asked for.
    pub(crate) fn start(theme: &str, concurrency: usize) -> Option<Rig> {
        let fleet = Fleet::boot_all(&format!("{theme}-{concurrency}"), HOSTS)?;
        start_agents(&fleet, &config::hook());
        let mut rig = Rig {
            fleet,
            concurrency,
            build: String::new(),
            builds: 0,
            most: 0,
        };
        rig.build = rig.new_build();
        HELLO.may_be_out(&rig.fleet, HOSTS.into());
        HELLO.begin(&rig.fleet, &rig.build);
        is_whole(&rig.fleet, HELLO, &rig.build);
        HELLO.may_be_out(&rig.fleet, concurrency);
        Some(rig)
    }

    /// Breaks something in the middle of a rollout, and checks that it ends as it should, with
    /// never more hosts out of service than may be.
    pub(crate) fn fault(
        &mut self,
        name: &str,
        moment: Moment,
        fault: impl FnOnce(&mut Rollout<'_>),
    ) {
        let build = self.new_build();
        self.fault_with(&build, (name, moment), fault);
    }

    /// Like [`Rig::fault`], in the rollout of this build.
    pub(crate) fn fault_with(
        &mut self,
        build: &str,
        (name, moment): (&str, Moment),
        fault: impl FnOnce(&mut Rollout<'_>),
    ) {
        let named = Named(format!("{name} (restart concurrency {})", self.concurrency));
        let began = Instant::now();
        let wanted = build.to_owned();
        let sampler = Sampler::start(&self.fleet, &HELLO.ports);
        let gate = Gate::close(&self.fleet, HELLO, moment);
        HELLO.begin(&self.fleet, &wanted);
        let host = gate.reached(&self.fleet, self.concurrency);
        let mut rollout = Rollout {
            fleet: &self.fleet,
            concurrency: self.concurrency,
            host,
            before: self.build.clone(),
            wanted,
            sampler,
            gate: Some(gate),
        };
        fault(&mut rollout);
        rollout.go_on();
        let Rollout {
            wanted, sampler, ..
        } = rollout;
        is_whole(&self.fleet, HELLO, &wanted);
        let samples = sampler.finish();
        samples.never_more_than(self.concurrency);
        self.most = self.most.max(samples.most());
        self.build = wanted;
        let seconds = began.elapsed().as_secs_f64();
        println!("{}: {seconds:.1} s; {samples}", named.0);
    }

    /// Checks that as many hosts were out of service at a time as may be, now and then: else the
    /// sampler saw nothing, or they went one by one.
    pub(crate) fn ends(self) {
        assert_eq!(self.most, self.concurrency, "the most that were out");
    }

    /// Makes a build, registers it, and returns its name.
    pub(crate) fn new_build(&mut self) -> String {
        self.new_build_of("waits")
    }

    /// Makes a build of a kind, registers it, and returns its name.
    pub(crate) fn new_build_of(&mut self, kind: &str) -> String {
        self.builds += 1;
        let build = format!("b{}", self.builds);
        config::make_build(&self.fleet, &build, kind);
        build
    }
}

impl Rollout<'_> {
    /// Lets all hosts go on, if they don't yet.
    pub(crate) fn go_on(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.open(self.fleet);
        }
    }

    /// Returns what the hosts stop at.
    pub(crate) fn gate(&self) -> &Gate {
        self.gate.as_ref().expect("they don't go on yet")
    }

    /// Returns the other hosts.
    pub(crate) fn others(&self, host: &str) -> Vec<String> {
        let mut hosts = self.fleet.hosts();
        hosts.retain(|other| other != host);
        hosts
    }

    /// The host will not give its lease back. With another lease the others get to the build, and
    /// the host's is the one that is left; without, they all stay where they were.
    pub(crate) fn others_do_without(&self, host: &str) {
        if self.concurrency == 1 {
            for other in self.others(host) {
                let stays = HELLO.answers(self.fleet, &other, &self.before);
                assert_eq!(stays, Ok(()), "{other}");
            }
            assert_eq!(HELLO.leases(self.fleet)[0], host);
            return;
        }
        for other in self.others(host) {
            self.fleet.serves(&other, &self.wanted);
        }
        self.leases_are(&[host]);
    }

    /// Waits until these have a lease, or wait for one, and nobody else.
    pub(crate) fn leases_are(&self, hosts: &[&str]) {
        leases_are(self.fleet, HELLO, hosts);
    }

    /// Waits until the session of a host is over.
    pub(crate) fn is_gone(&self, host: &str) {
        eventually(&format!("{host} is gone"), SOON, || {
            let said = self.fleet.ctl("host list hello --output json");
            let found = serde_json::from_str(&said.stdout).unwrap_or_default();
            if is_dead(&found, host) {
                Ok(())
            } else {
                Err(said.stdout)
            }
        });
    }

    /// Waits until all instances of a host answer with a build.
    pub(crate) fn answers(&self, host: &str, build: &str) {
        eventually(&format!("{host} answers with {build}"), ROLLOUT_MAX, || {
            HELLO.answers(self.fleet, host, build)
        });
    }
}

/// Adds to the configuration of each host, and starts deployd there. No load balancer waits for
/// ports to settle here.
pub(crate) fn start_agents(fleet: &Fleet, config: &str) {
    for host in fleet.hosts() {
        let line = format!(
            "cat >> /etc/deployd/deployd.toml <<'EOF'\n{config}\nEOF\n\
             sed -i 's/^  settle_s = .*/  settle_s = 0.2/' /etc/deployd/deployd.toml\n\
             systemctl enable --quiet --now deployd"
        );
        fleet.on(&host, &line).well();
    }
}

/// Waits until a build serves on every host, and checks that nothing else is left of the rollout.
pub(crate) fn is_whole(fleet: &Fleet, service: Service, build: &str) {
    // Only so that nobody is asked over and over meanwhile: what is so, is looked at below.
    let _ = fleet.ctl(&format!("watch {} --timeout 60s", service.name));
    for host in fleet.hosts() {
        eventually(&format!("{host} serves {build}"), ROLLOUT_MAX, || {
            let report = service.report(fleet, &host);
            if report["phase"] == "serving" && report["serving"] == build {
                Ok(())
            } else {
                Err(report.to_string())
            }
        });
    }
    leases_are(fleet, service, &[]);
    for host in fleet.hosts() {
        assert_eq!(service.answers(fleet, &host, build), Ok(()), "{host}");
        let rules = fleet.on(&host, "iptables -S; ip6tables -S").well().stdout;
        for port in service.ports {
            assert!(!rules.contains(&format!("--dport {port} ")), "{rules}");
        }
    }
}

fn leases_are(fleet: &Fleet, service: Service, hosts: &[&str]) {
    eventually(&format!("leases: {hosts:?}"), SOON, || {
        match service.leases(fleet) {
            leases if leases == hosts => Ok(()),
            leases => Err(leases),
        }
    });
}

/// Tells whether a host of this name is shown as not alive, wherever in the answer.
fn is_dead(value: &serde_json::Value, host: &str) -> bool {
    let here = value["host"] == host && value["alive"] == false;
    let listed = value.as_array().into_iter().flatten();
    let named = value.as_object().into_iter().flatten();
    here || listed
        .chain(named.map(|(_, part)| part))
        .any(|part| is_dead(part, host))
}

/// Says which fault it was when something is wrong.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("fault: {}", self.0);
        }
    }
}
