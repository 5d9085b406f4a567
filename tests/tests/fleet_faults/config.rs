//! The services of the hosts, and what is asked about them.

use serde_json::Value;
use tests::eventually::eventually;
use tests::fleet::{Fleet, PORTS, ROLLOUT_MAX, Said};

use crate::gate::HOOK_WAITS;

/// What deployctl exits with where it can't reach ZooKeeper.
const NO_ZOOKEEPER: i32 = 7;

/// One service of the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// The ports of its instances, on each host.
    pub(crate) ports: [u16; 2],
}

/// The service of every fleet.
pub(crate) const HELLO: Service = Service {
    name: "hello",
    ports: PORTS,
};
/// A second one, with the same program.
pub(crate) const SALUT: Service = Service {
    name: "salut",
    ports: [8003, 8004],
};

impl Service {
    /// Returns the hosts that have a lease or wait for one, in their order.
    pub(crate) fn leases(self, fleet: &Fleet) -> Vec<String> {
        let line = format!("inspect {} --output json", self.name);
        let tree: Value = serde_json::from_str(&fleet.ctl(&line).stdout).unwrap_or_default();
        let below = format!("/{}/leases/", self.name);
        let znodes = tree["znodes"].as_array().into_iter().flatten();
        let mut leases: Vec<(&str, &str)> = znodes
            .filter_map(|znode| znode["path"].as_str()?.split_once(&below))
            .filter_map(|(_, lease)| lease.rsplit_once('-'))
            .collect();
        leases.sort_by_key(|(_, number)| *number);
        leases
            .into_iter()
            .map(|(host, _)| host.to_owned())
            .collect()
    }

    /// Returns what a host reports, or null.
    pub(crate) fn report(self, fleet: &Fleet, host: &str) -> Value {
        let said = fleet.ctl(&format!("host show {host} {} --output json", self.name));
        let found: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
        found["services"][0]["report"].clone()
    }

    /// Tells whether all instances of a host answer with a build.
    ///
    /// # Errors
    /// What one of them says instead.
    pub(crate) fn answers(self, fleet: &Fleet, host: &str, build: &str) -> Result<(), String> {
        for port in self.ports {
            let answer = fleet.get("hub", (host, port), "/")?;
            if answer != format!("{build} {port} {host}") {
                return Err(answer);
            }
        }
        Ok(())
    }

    /// Sets the restart concurrency.
    pub(crate) fn may_be_out(self, fleet: &Fleet, hosts: usize) {
        let line = format!("policy {} restart_concurrency={hosts}", self.name);
        patiently(&line, || fleet.ctl(&line));
    }

    /// Begins to deploy a build, whatever else is under way.
    pub(crate) fn begin(self, fleet: &Fleet, build: &str) {
        let line = format!("deploy {} {build} --detach --force", self.name);
        patiently(&line, || fleet.ctl(&line));
    }
}

/// Makes a build of a kind, and registers it.
pub(crate) fn make_build(fleet: &Fleet, build: &str, kind: &str) {
    let words = ["build", build, "--kind", kind];
    patiently(&words.join(" "), || fleet.ask(&words));
}

/// Gives an order that may be given twice, again where ZooKeeper is too busy to take it.
fn patiently(what: &str, mut order: impl FnMut() -> Said) {
    eventually(what, ROLLOUT_MAX, || match order() {
        said if said.code == NO_ZOOKEEPER => Err(said.to_string()),
        said => Ok(said),
    })
    .well();
}

/// Adds a hook to the configuration of `hello`, whose end the test decides.
pub(crate) fn hook() -> String {
    format!(
        "\n  [service.hooks]\n  post_install = [\"/bin/sh\", \"-c\", \
         \"while test -e {HOOK_WAITS}; do sleep 0.05; done\"]\n"
    )
}

/// The configuration of the second service, which goes behind that of `hello`.
pub(crate) fn second_service() -> String {
    let Service { name, ports } = SALUT;
    let instances =
        ports.map(|port| format!("{{ unit = \"{name}@{port}.service\", port = {port} }}"));
    format!(
        "\n[[service]]\nname = \"{name}\"\ndir = \"/srv/{name}\"\nuser = \"hello\"\n\
         instances = [{}]\n\
         [service.restart]\nmethod = \"systemd\"\ntimeout_s = 10\n\
         [service.drain]\nmethod = \"iptables\"\ntimeout_s = 60\nsettle_s = 0.2\n\
         [service.probe]\nhttp = \"http://127.0.0.1:{{port}}/healthz\"\ninterval_s = 0.2\n\
         successes = 2\ntimeout_s = 6\n",
        instances.join(", ")
    )
}

/// Where the units of `hello` are, on each host.
pub(crate) const UNIT_FILE: &str = "/etc/systemd/system/hello@.service";
