//! Points of a deployment at which hosts stop until the test lets them go on.

use std::time::Duration;

use tests::eventually::eventually;
use tests::fleet::{Fleet, Held, ROLLOUT_MAX};

use crate::config::Service;

/// While it is on a host, the `post_install` hook does not end.
pub(crate) const HOOK_WAITS: &str = "/run/hook-waits";
/// While it is on a host, builds of the kind `waits` do not get ready.
const SERVICE_WAITS: &str = "/run/hello-waits";
const SOON: Duration = Duration::from_secs(20);

/// A point of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It holds its lease, and `current` points to the new build.
    Leased,
    /// Its first instance is drained, and a request keeps it from being restarted.
    Drained,
    /// Its first instance is being restarted, and not ready.
    Restarting,
}

/// Hosts stop at a point of their deployments until this is opened.
#[derive(Debug)]
pub(crate) struct Gate {
    service: Service,
    moment: Moment,
    held: Vec<Held>,
}

impl Gate {
    /// Lets all hosts stop at a point.
    pub(crate) fn close(fleet: &Fleet, service: Service, moment: Moment) -> Gate {
        let hosts = fleet.hosts();
        let mut held = Vec::new();
        match moment {
            Moment::Drained => {
                let first = |host| fleet.hold("hub", (host, service.ports[0]));
                held.extend(hosts.iter().map(|host| first(host)));
            }
            Moment::Leased => touch(fleet, HOOK_WAITS),
            Moment::Restarting => touch(fleet, SERVICE_WAITS),
        }
        Gate {
            service,
            moment,
            held,
        }
    }

    /// Waits until a host with a lease is there, and returns it.
    pub(crate) fn reached(&self, fleet: &Fleet, concurrency: usize) -> String {
        let what = format!("a host is {:?}", self.moment);
        eventually(&what, ROLLOUT_MAX, || {
            let leases = self.service.leases(fleet);
            let mut holders = leases.iter().take(concurrency);
            match holders.find(|host| self.is_at(fleet, host)) {
                Some(host) => Ok(host.clone()),
                None => Err(leases),
            }
        })
    }

    fn is_at(&self, fleet: &Fleet, host: &str) -> bool {
        let report = self.service.report(fleet, host);
        let step = match self.moment {
            Moment::Leased => "post_install",
            Moment::Drained => "drain",
            Moment::Restarting => "restart",
        };
        report["lease"] == true
            && report["step"]["name"] == step
            && (self.moment != Moment::Drained || self.refuses(fleet, host))
    }

    /// Tells whether the first instance of a host refuses new connections.
    pub(crate) fn refuses(&self, fleet: &Fleet, host: &str) -> bool {
        let answer = fleet.get("hub", (host, self.service.ports[0]), "/");
        answer.is_err_and(|why| why.contains("refused"))
    }

    /// Lets all hosts go on, those without power excepted.
    pub(crate) fn open(self, fleet: &Fleet) {
        for host in fleet.hosts() {
            // A host that is off has lost its /run.
            let _ = fleet.on(&host, &format!("rm -f {HOOK_WAITS} {SERVICE_WAITS}"));
        }
        drop(self.held);
    }

    /// Waits until the first instance of a host refuses new connections.
    #[track_caller]
    pub(crate) fn is_refused(&self, fleet: &Fleet, host: &str) {
        eventually(&format!("{host} refuses"), SOON, || {
            if self.refuses(fleet, host) {
                Ok(())
            } else {
                Err("it answers")
            }
        });
    }
}

fn touch(fleet: &Fleet, file: &str) {
    for host in fleet.hosts() {
        fleet.on(&host, &format!("touch {file}")).well();
    }
}
