//! What a service on this host is: from the disk, the processes and the packet filter.

use std::path::Path;
use std::time::{Duration, Instant};

use deploy_core::name::BuildName;
use deploy_core::observed::{Context, Instance, Lease, Observed, Probes, Runs, Traffic};
use deploy_core::wire::record::{InService, Record, Started, UnitRecord};
use futures_util::future::join_all;

use crate::chain::Chain;
use crate::config::{self, DrainMethod, RestartMethod, Service};
use crate::host::firewall;
use crate::host::proc::{self, Listening};
use crate::host::systemd;
use crate::host::tree::{Current, Tree, TreeError};

/// How long the same start of a unit is taken at systemd's word. What may change meanwhile is whether it
/// could be started again.
const ASK_TIME: Duration = Duration::from_secs(300);

/// What was seen of a service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// What decides.
    pub(crate) observed: Observed,
    /// More about the instances, for the report.
    pub(crate) instances: Vec<Seen>,
    /// What `current` is, where it is not ours to replace.
    pub(crate) foreign: Option<String>,
}

/// What was seen of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What its processes run.
    pub(crate) runs: Runs,
    /// Whether there is anything.
    pub(crate) up: Up,
    /// Tells this start from others.
    pub(crate) identity: Option<String>,
    /// How often systemd has restarted it by itself.
    pub(crate) restarts: u64,
    /// What would keep it from being restarted.
    pub(crate) obstacle: Option<String>,
    /// What systemd has said of it, and when.
    pub(crate) unit: Option<(systemd::Unit, Instant)>,
}

/// Whether an instance is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Up {
    /// A process, a listening port or an active unit was seen.
    Yes,
    /// It was looked for and is not there.
    No,
    /// There is nothing to look for.
    Unknown,
}

impl Seen {
    /// Has everything asked anew the next time: somebody may have changed what systemd knows of it.
    pub(crate) fn forget_unit(&mut self) {
        self.unit = None;
    }
}

/// What is known besides what is seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The journal.
    pub(crate) record: &'a Record,
    /// The artifact that is held open.
    pub(crate) fetched: Option<&'a BuildName>,
    /// Our place in the restart queue.
    pub(crate) lease: Lease,
    /// What was seen of each instance by the look before: a hint at where to look, and what need not be asked again.
    pub(crate) before: &'a [Seen],
}

/// Looks at a service.
///
/// # Errors
/// Where its directory can't be read. An instance that can't be looked at is unknown.
pub(crate) async fn observe(service: &Service, known: Known<'_>) -> Result<Sight, TreeError> {
    let tree = Tree::new(&service.dir);
    let (current, foreign) = match tree.read_current()? {
        Current::Release(name) => (BuildName::parse(&name).ok(), None),
        Current::Absent => (None, None),
        Current::Foreign(found) => (None, Some(found)),
    };
    let releases = releases(&tree, known.record, current.as_ref())?;
    let mut instances = Vec::new();
    // At once: a look starts a program, and there is one before every step.
    let looks = service.instances.iter().enumerate();
    let looks = looks
        .map(|(at, instance)| look_near(service, instance, (known.record, known.before.get(at))));
    let seen = join_all(looks).await;
    let drained = drained(service, known.record).await;
    let probes = match service.probe.check {
        Some(_) => Probes::Configured,
        None => Probes::None,
    };
    for (instance, looked) in service.instances.iter().zip(&seen) {
        let context = Context {
            journal: known.record,
            current: current.as_ref(),
            probes,
        };
        let refused = drained.contains(&instance.unit);
        let traffic = if refused {
            Traffic::Refused
        } else {
            Traffic::Open
        };
        instances.push(Instance {
            obstacle: looked.obstacle.clone(),
            ..Instance::new(looked.runs.clone(), traffic, &instance.unit, context)
        });
    }
    let observed = Observed {
        releases,
        current,
        fetched: known.fetched.cloned(),
        instances,
        lease: known.lease,
        journal: known.record.clone(),
    };
    Ok(Sight {
        observed,
        instances: seen,
        foreign,
    })
}

/// The units that take no new connections: those whose ports our chain refuses, whatever is
/// remembered.
async fn drained(service: &Service, record: &Record) -> Vec<String> {
    let told = |unit: &String| record.units.get(unit).is_some_and(|record| record.drained);
    let units = service.instances.iter().map(|instance| &instance.unit);
    match service.drain.method {
        DrainMethod::None => Vec::new(),
        DrainMethod::Command(_) => units.filter(|unit| told(unit)).cloned().collect(),
        DrainMethod::Iptables(_) => {
            // Asked of the packet filter only where something may be drained: in the journal, or,
            // at start, by a run whose journal is lost.
            if !units.clone().any(told) && record.service != InService::AsFound {
                return Vec::new();
            }
            match firewall::list().await {
                Ok(found) => {
                    let refused = |instance: &&config::Instance| {
                        found.iter().any(|rule| Some(rule.port) == instance.port)
                    };
                    let instances = service.instances.iter().filter(refused);
                    instances.map(|instance| instance.unit.clone()).collect()
                }
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "the packet filter can't be read");
                    units.filter(|unit| told(unit)).cloned().collect()
                }
            }
        }
    }
}

/// The complete releases, last used first: `current`, then those that passed, then by age.
fn releases(
    tree: &Tree,
    record: &Record,
    current: Option<&BuildName>,
) -> Result<Vec<BuildName>, TreeError> {
    let on_disk = tree.list()?;
    let mut builds: Vec<_> = on_disk
        .iter()
        .filter_map(|(name, _)| BuildName::parse(name).ok())
        .collect();
    // Stable: within one rank the newest directory stays first.
    builds.sort_by_key(|build| {
        let passed = record
            .verified
            .iter()
            .rev()
            .position(|verified| verified == build);
        (current != Some(build), passed.unwrap_or(usize::MAX))
    });
    Ok(builds)
}

/// Looks at one instance.
pub(crate) async fn look(service: &Service, instance: &config::Instance, record: &Record) -> Seen {
    look_near(service, instance, (record, None)).await
}

/// Looks at one instance, where it was seen before.
async fn look_near(
    service: &Service,
    instance: &config::Instance,
    (record, before): (&Record, Option<&Seen>),
) -> Seen {
    let tree = Tree::new(&service.dir);
    let releases = tree.releases();
    let remembered = record.units.get(&instance.unit);
    match service.restart.method {
        RestartMethod::Systemd | RestartMethod::Reload => {
            look_at_unit(instance, &tree, (remembered, before)).await
        }
        RestartMethod::Command(_) => look_at_port(instance, &releases, (remembered, before)),
        RestartMethod::None => {
            let seen = look_at_port(instance, &releases, (remembered, before));
            // Nobody restarts it, so that it is down is not ours to mend.
            if seen.runs == Runs::Nothing {
                Seen {
                    runs: Runs::Something,
                    ..seen
                }
            } else {
                seen
            }
        }
    }
}

/// All processes of the unit are looked at, since its main process may be a wrapper that is
/// elsewhere.
async fn look_at_unit(
    instance: &config::Instance,
    tree: &Tree,
    (remembered, before): (Option<&UnitRecord>, Option<&Seen>),
) -> Seen {
    // Asking starts a program: most of what a host with nothing to do would cost. As long as it is the same
    // start, what systemd said of it is so.
    let known = before.and_then(|seen| seen.unit.as_ref());
    let known = known.filter(|(unit, asked)| {
        asked.elapsed() < ASK_TIME && systemd::is_same_start(&instance.unit, unit)
    });
    let asked = match known {
        Some((unit, asked)) => Ok((unit.clone(), *asked)),
        None => systemd::show(&instance.unit)
            .await
            .map(|unit| (unit, Instant::now())),
    };
    let (unit, asked) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            tracing::warn!(unit = %instance.unit, %error, "a unit can't be looked at");
            return Seen {
                runs: Runs::Something,
                up: Up::Unknown,
                identity: None,
                restarts: 0,
                obstacle: None,
                unit: None,
            };
        }
    };
    let obstacle = unit.obstacle(&instance.unit);
    if !unit.is_up() {
        return Seen {
            runs: Runs::Nothing,
            up: Up::No,
            identity: None,
            restarts: unit.restarts,
            obstacle,
            unit: None,
        };
    }
    let identity = (!unit.invocation.is_empty()).then(|| unit.invocation.clone());
    let current = match tree.read_current() {
        Ok(Current::Release(name)) => BuildName::parse(&name).ok(),
        Ok(_) | Err(_) => None,
    };
    let builds = proc::releases_of(unit.processes(), &tree.releases());
    let builds = builds.iter().filter_map(|name| BuildName::parse(name).ok());
    let told = Runs::of(&builds.collect(), current.as_ref());
    Seen {
        runs: runs(told, identity.as_deref(), remembered),
        up: Up::Yes,
        identity,
        restarts: unit.restarts,
        obstacle,
        unit: Some((unit, asked)),
    }
}

fn look_at_port(
    instance: &config::Instance,
    releases: &Path,
    (remembered, before): (Option<&UnitRecord>, Option<&Seen>),
) -> Seen {
    let started = remembered.and_then(|record| record.started.as_ref());
    let before = before.and_then(|seen| seen.identity.as_deref());
    let listeners = instance
        .port
        .map(|port| proc::listeners(port, releases, before))
        .unwrap_or_default();
    let told = listeners
        .iter()
        .find_map(|process| Some((process, proc::release_of(process.pid, releases)?)));
    let (process, build) = match told {
        Some((process, build)) => (Some(process), Some(build)),
        None => (listeners.first(), None),
    };
    let identity = process.map(|process| process.identity.clone());
    let listening = || instance.port.map(proc::is_listening);
    let up = match process.map_or_else(listening, |_| Some(Listening::Somebody)) {
        Some(Listening::Somebody) => Up::Yes,
        Some(Listening::Nobody) => Up::No,
        None => Up::Unknown,
    };
    let proven = remembered.is_some_and(|record| !record.unproven);
    let runs = match (up, started) {
        (Up::Yes, _) => {
            let build = build.and_then(|name| BuildName::parse(&name).ok());
            runs(build.map(Runs::Build), identity.as_deref(), remembered)
        }
        // It has answered since it was started, and is gone.
        (Up::No, Some(_)) if proven => Runs::Nothing,
        // It was started, and may be slow: whether it works is what the probe asks.
        (Up::No | Up::Unknown, Some(started)) => Runs::Build(started.build.clone()),
        (Up::No | Up::Unknown, None) => Runs::Nothing,
    };
    Seen {
        runs,
        up,
        identity,
        restarts: 0,
        obstacle: None,
        unit: None,
    }
}

/// What is seen counts; else what we remember of this very start.
fn runs(told: Option<Runs>, identity: Option<&str>, remembered: Option<&UnitRecord>) -> Runs {
    if let Some(told) = told {
        return told;
    }
    let same =
        |started: &Started| started.identity.is_none() || started.identity.as_deref() == identity;
    match remembered.and_then(|record| record.started.as_ref()) {
        Some(started) if same(started) => Runs::Build(started.build.clone()),
        Some(_) | None => Runs::Something,
    }
}
