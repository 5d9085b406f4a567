//! What a service on this host is: from the disk, the processes and the packet filter.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::time::Duration;

use deploy_core::name::BuildName;
use deploy_core::observed::{Context, Instance, Lease, Observed, Probes, Runs, Traffic};
use deploy_core::wanted::Problem;
use deploy_core::wire::record::{InService, Record, Started, UnitRecord};

use crate::chain::Chain;
use crate::config::{self, DrainMethod, RestartMethod, Service};
use crate::host::firewall;
use crate::host::proc::{Listening, Process, Running};
use crate::host::process::missing;
use crate::host::systemd::answers::Answers;
use crate::host::systemd::{SystemdError, Unit};
use crate::host::tree::releases::Listed;
use crate::host::tree::{Current, Tree, TreeError};

/// What was seen of a service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// What decides.
    pub(crate) observed: Observed,
    /// More about the instances, for the report.
    pub(crate) instances: Vec<Seen>,
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

/// What is known besides what is seen.
#[derive(Debug, Clone)]
pub(crate) struct Known<'a> {
    /// The journal.
    pub(crate) record: &'a Record,
    /// The artifact that is held open.
    pub(crate) fetched: Option<&'a BuildName>,
    /// The units whose drain has come to its end.
    pub(crate) emptied: &'a BTreeSet<String>,
    /// The releases that could not be deleted, and why.
    pub(crate) undeleted: BTreeMap<BuildName, String>,
    /// Our place in the restart queue.
    pub(crate) lease: Lease,
    /// What was seen of each instance by the look before: a hint at where to look.
    pub(crate) before: &'a [Seen],
    /// What systemd has said.
    pub(crate) units: Units<'a>,
}

/// What systemd has said of units, and how old it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Units<'a> {
    /// All that it has said.
    pub(crate) answers: &'a Answers,
    /// What was said longer ago is asked anew.
    pub(crate) age: Duration,
}

impl<'a> Units<'a> {
    /// Asks for all anew.
    pub(crate) fn afresh(answers: &'a Answers) -> Units<'a> {
        let age = Duration::ZERO;
        Units { answers, age }
    }
}

/// Looks at a service of which nothing is remembered, as when its journal can't be read: what there is to see.
pub(crate) async fn glance(service: &Service) -> Sight {
    let answers = Answers::default();
    let known = Known {
        record: &Record::default(),
        fetched: None,
        emptied: &BTreeSet::new(),
        undeleted: BTreeMap::new(),
        lease: Lease::None,
        before: &[],
        units: Units::afresh(&answers),
    };
    observe(service, known).await.unwrap_or_default()
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
        Current::Foreign(found) => (None, Some(in_the_way("current", &tree.foreign(found)))),
    };
    let (listed, foreign) = match tree.list() {
        Ok(listed) => (listed, foreign),
        Err(error @ TreeError::Foreign { .. }) => {
            (Listed::default(), Some(in_the_way("releases", &error)))
        }
        Err(error) => return Err(error),
    };
    let releases = releases(&listed, known.record, current.as_ref());
    let mut instances = Vec::new();
    // At once: either starts programs, and there is a look before every step.
    let place = (service.instances.as_slice(), known.before);
    let looks = look_near((service, known.units), place, known.record);
    let (drained, seen) = tokio::join!(drained(service, known.record), looks);
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
        let unit = &instance.unit;
        let traffic = match (drained.contains(unit), known.emptied.contains(unit)) {
            (true, true) => Traffic::Emptied,
            (true, false) => Traffic::Refused,
            (false, _) => Traffic::Open,
        };
        instances.push(Instance {
            obstacle: looked.obstacle.clone(),
            ..Instance::new(looked.runs.clone(), traffic, &instance.unit, context)
        });
    }
    let observed = Observed {
        releases,
        taken: taken(&tree, &listed),
        current,
        foreign,
        fetched: known.fetched.cloned(),
        undeleted: known.undeleted,
        instances,
        lease: known.lease,
        journal: known.record.clone(),
    };
    Ok(Sight {
        observed,
        instances: seen,
    })
}

fn in_the_way(name: &str, error: &TreeError) -> Problem {
    Problem {
        object: name.to_owned(),
        message: error.to_string(),
    }
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
fn releases(listed: &Listed, record: &Record, current: Option<&BuildName>) -> Vec<BuildName> {
    let names = listed.releases.iter();
    let mut builds: Vec<_> = names
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
    builds
}

/// What has names that releases could have.
fn taken(tree: &Tree, listed: &Listed) -> BTreeMap<BuildName, String> {
    let names = listed.others.iter();
    names
        .filter_map(|name| {
            let build = BuildName::parse(name).ok()?;
            Some((build, tree.in_place_of(name)?))
        })
        .collect()
}

/// Looks at one instance.
pub(crate) async fn look(
    of: (&Service, Units<'_>),
    instance: &config::Instance,
    record: &Record,
) -> Seen {
    let seen = look_at(of, slice::from_ref(instance), record).await;
    seen.into_iter()
        .next()
        .expect("each instance that is looked at is seen")
}

/// Looks at instances, in their order.
pub(crate) async fn look_at(
    of: (&Service, Units<'_>),
    instances: &[config::Instance],
    record: &Record,
) -> Vec<Seen> {
    look_near(of, (instances, &[]), record).await
}

/// Looks at instances, in their order, where they were seen before. systemd is asked once for all of them, and the
/// processes of the host are walked through once.
async fn look_near(
    (service, Units { answers, age }): (&Service, Units<'_>),
    (instances, before): (&[config::Instance], &[Seen]),
    record: &Record,
) -> Vec<Seen> {
    let tree = Tree::new(&service.dir);
    let running = Running::new(&tree.releases());
    let remembered = |instance: &config::Instance| record.units.get(&instance.unit);
    if let RestartMethod::Systemd | RestartMethod::Reload = service.restart.method {
        let names: Vec<_> = instances.iter().map(|it| it.unit.as_str()).collect();
        let units = answers.units(&names, age).await;
        let seen = instances.iter().zip(units).map(|(instance, unit)| {
            let remembered = remembered(instance);
            look_at_unit((instance, unit), &tree, &running, remembered)
        });
        return seen.collect();
    }
    let seen = instances.iter().enumerate().map(|(at, instance)| {
        let before = before.get(at).and_then(|seen| seen.identity.as_deref());
        let listeners = instance.port.map(|port| running.listeners(port, before));
        look_at_port(
            (instance, listeners.unwrap_or_default()),
            &running,
            remembered(instance),
        )
    });
    match &service.restart.method {
        RestartMethod::None => seen.map(not_ours_to_mend).collect(),
        RestartMethod::Command(command) => {
            let obstacle = command.first().and_then(|program| missing(program));
            let with = |seen| Seen {
                obstacle: obstacle.clone(),
                ..seen
            };
            seen.map(with).collect()
        }
        RestartMethod::Systemd | RestartMethod::Reload => seen.collect(),
    }
}

/// Of an instance that nobody restarts: that it is down is not ours to mend.
fn not_ours_to_mend(seen: Seen) -> Seen {
    match seen.runs {
        Runs::Nothing => Seen {
            runs: Runs::Something,
            ..seen
        },
        Runs::Build(_) | Runs::Something => seen,
    }
}

/// All processes of the unit are looked at, since its main process may be a wrapper that is
/// elsewhere.
fn look_at_unit(
    (instance, unit): (&config::Instance, Result<Unit, SystemdError>),
    tree: &Tree,
    running: &Running,
    remembered: Option<&UnitRecord>,
) -> Seen {
    let unit = match unit {
        Ok(unit) => unit,
        Err(error) => {
            tracing::warn!(unit = %instance.unit, %error, "a unit can't be looked at");
            return Seen {
                runs: Runs::Something,
                up: Up::Unknown,
                identity: None,
                restarts: 0,
                obstacle: None,
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
        };
    }
    let identity = (!unit.invocation.is_empty()).then(|| unit.invocation.clone());
    let current = match tree.read_current() {
        Ok(Current::Release(name)) => BuildName::parse(&name).ok(),
        Ok(_) | Err(_) => None,
    };
    let builds = running.releases_of(unit.processes());
    let builds = builds.iter().filter_map(|name| BuildName::parse(name).ok());
    let told = Runs::of(&builds.collect(), current.as_ref());
    Seen {
        runs: runs(told, identity.as_deref(), remembered),
        up: Up::Yes,
        identity,
        restarts: unit.restarts,
        obstacle,
    }
}

fn look_at_port(
    (instance, listeners): (&config::Instance, Vec<Process>),
    running: &Running,
    remembered: Option<&UnitRecord>,
) -> Seen {
    let started = remembered.and_then(|record| record.started.as_ref());
    let told = listeners
        .iter()
        .find_map(|process| Some((process, running.release_of(process.pid)?)));
    let (process, build) = match told {
        Some((process, build)) => (Some(process), Some(build)),
        None => (listeners.first(), None),
    };
    let identity = process.map(|process| process.identity.clone());
    let listening = || running.is_listening(instance.port?);
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
