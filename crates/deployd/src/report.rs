//! What is said of a service on this host: what was seen, never what is intended.

use std::collections::BTreeSet;

use deploy_core::name::{BuildName, HostName};
use deploy_core::observed::{Lease, Runs};
use deploy_core::plan::{Plan, Rest, Way};
use deploy_core::step::{Step, WaitFor};
use deploy_core::wanted::{Wanted, WantedTarget};
use deploy_core::wire::report::{ErrorReport, InstanceReport, Phase, Report, StepReport};
use deploy_core::wire::time;
use jiff::Timestamp;

use crate::config::{RestartMethod, Service};
use crate::host::disk;
use crate::observe::{Sight, Up};
use crate::perform::{Progress, StepError};

/// What a report is made of.
pub(crate) struct Scene<'a> {
    /// What is wanted.
    pub(crate) wanted: &'a Wanted,
    /// What is to be done.
    pub(crate) plan: &'a Plan,
    /// What was seen.
    pub(crate) sight: &'a Sight,
    /// The step under way, how far it is, and since when.
    pub(crate) step: Option<(&'a Step, Progress, Timestamp)>,
    /// How often it failed before.
    pub(crate) failures: u32,
    /// The step that failed last and is tried again.
    pub(crate) error: Option<(&'a Step, &'a StepError)>,
}

/// Renders the report. The third of `place` is what vouches for the builds.
pub(crate) fn render(scene: &Scene<'_>, place: (&HostName, &Service, &str)) -> Report {
    let (host, service, trust) = place;
    let observed = &scene.sight.observed;
    let goal = match &scene.wanted.target {
        WantedTarget::Build(goal) => Some(goal),
        _ => None,
    };
    let instances = instances(scene, service);
    let error = error(scene);
    Report {
        host: host.clone(),
        service: service.name.clone(),
        role: scene.wanted.role,
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        phase: phase(scene),
        rollout: goal.and_then(|goal| goal.rollout),
        target: goal.map(|goal| goal.build.clone()),
        current: observed.current.clone(),
        serving: serving(&instances, observed.current.as_ref()),
        previous: previous(scene),
        step: step(scene),
        instances,
        lease: observed.lease == Lease::Held,
        trust: Some(trust.to_owned()),
        releases: observed.releases.clone(),
        error,
        disk_free: disk::free_bytes(&service.dir).ok(),
        at: Some(time::render(Timestamp::now())),
    }
}

fn phase(scene: &Scene<'_>) -> Phase {
    let planned = scene.plan.phase();
    // What is tried again is blocked, unless the host is on its way back: that says more.
    match (scene.error, scene.plan.way) {
        // A host that can't clean up behind itself, or remember that it did, serves all the same.
        (Some((Step::Prune(_) | Step::PostRestart(_), _)), _) => planned,
        (Some(_), Way::Forward | Way::Finish) => Phase::Blocked,
        (Some(_), Way::Back) | (None, _) => planned,
    }
}

fn error(scene: &Scene<'_>) -> Option<ErrorReport> {
    if let Some((step, error)) = scene.error {
        return Some(ErrorReport {
            step: step.name().to_owned(),
            kind: "blocked".to_owned(),
            message: error.message.clone(),
            log: error.log.clone(),
        });
    }
    match (&scene.plan.rest, &scene.wanted.target) {
        (Rest::Blocked(problem), _) => Some(blocked(&problem.object, problem.message.clone())),
        (Rest::Failed, WantedTarget::Build(goal)) => {
            let rejected = &scene.sight.observed.journal.rejected;
            rejected
                .get(&goal.build)
                .map(|rejection| rejection.error.clone())
        }
        _ => {
            let undeleted = scene.sight.observed.undeleted.values().next();
            undeleted.map(|why| blocked("prune", why.clone()))
        }
    }
}

/// Returns what is wrong outside the build.
pub(crate) fn blocked(step: &str, message: String) -> ErrorReport {
    ErrorReport {
        step: step.to_owned(),
        kind: "blocked".to_owned(),
        message,
        log: Vec::new(),
    }
}

fn step(scene: &Scene<'_>) -> Option<StepReport> {
    let attempt = u64::from(scene.failures) + 1;
    let (step, progress, since) = match scene.step {
        Some((step, progress, since)) => (step, progress, Some(time::render(since))),
        None => (scene.plan.steps.first()?, Progress::default(), None),
    };
    let known = (progress.total > 0).then_some((progress.done, progress.total));
    let (done, total) = known.or_else(|| through(scene, step)).unzip();
    let detail = match step {
        Step::Wait(WaitFor::Unhold) => Some("the service is held".to_owned()),
        Step::Wait(WaitFor::Lease) => Some("waits for a lease".to_owned()),
        Step::Wait(WaitFor::ZooKeeper) => Some("waits for ZooKeeper".to_owned()),
        _ => None,
    };
    Some(StepReport {
        name: step.name().to_owned(),
        attempt,
        done,
        total,
        since,
        detail,
    })
}

/// How many of all instances the plan is through with, where its first step is about instances.
fn through(scene: &Scene<'_>, first: &Step) -> Option<(u64, u64)> {
    if first.instances().is_empty() {
        return None;
    }
    let steps = scene.plan.steps.iter();
    let left: BTreeSet<usize> = steps.flat_map(Step::instances).copied().collect();
    let total = scene.sight.instances.len();
    Some((total.saturating_sub(left.len()) as u64, total as u64))
}

fn instances(scene: &Scene<'_>, service: &Service) -> Vec<InstanceReport> {
    let under_way = |index: usize| match scene.step {
        Some((Step::Drain(batch), ..)) if batch.contains(&index) => Some("draining"),
        Some((Step::Restart(batch), ..)) if batch.contains(&index) => Some("restarting"),
        Some((Step::Probe(batch), ..)) if batch.contains(&index) => Some("probing"),
        _ => None,
    };
    let all = service
        .instances
        .iter()
        .zip(&scene.sight.instances)
        .enumerate();
    all.map(|(index, (instance, seen))| {
        let observed = scene.sight.observed.instances.get(index);
        let (drained, emptied) = observed.map_or((false, false), |it| (it.drained, it.emptied));
        let state = match (seen.up, under_way(index)) {
            (_, Some(word)) => word,
            (Up::Yes | Up::Unknown, None) if emptied => "drained",
            (Up::Yes | Up::Unknown, None) if drained => "draining",
            (Up::Yes, None) => "serving",
            (Up::No, None) => "down",
            (Up::Unknown, None) if service.restart.method == RestartMethod::None => "unknown",
            (Up::Unknown, None) => "serving",
        };
        let build = match &seen.runs {
            Runs::Build(build) if seen.up != Up::No => Some(build.clone()),
            Runs::Build(_) | Runs::Something | Runs::Nothing => None,
        };
        InstanceReport {
            unit: instance.unit.clone(),
            port: instance.port,
            build,
            state: state.to_owned(),
            connections: match scene.step {
                Some((Step::Drain(batch), progress, _)) if batch.contains(&index) => {
                    progress.connections
                }
                _ => None,
            },
        }
    })
    .collect()
}

/// The build that all instances run. A service without instances is read through `current`.
fn serving(instances: &[InstanceReport], current: Option<&BuildName>) -> Option<BuildName> {
    let Some(first) = instances.first() else {
        return current.cloned();
    };
    let same = instances
        .iter()
        .all(|instance| instance.build == first.build);
    if same { first.build.clone() } else { None }
}

fn previous(scene: &Scene<'_>) -> Option<BuildName> {
    let observed = &scene.sight.observed;
    let verified = observed.journal.verified.iter().rev();
    let other = |build: &&BuildName| Some(*build) != observed.current.as_ref();
    verified
        .filter(|build| observed.releases.contains(build))
        .find(other)
        .cloned()
}
